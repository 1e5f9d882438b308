"""TCP between the hosts: how a connection fails is told apart, one cause is one finding, and the programs run."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from provision.actions import Call, On
from provision.checks import host_tcp
from provision.checks.base import Finding
from provision.errors import ConnectionLost
from provision.findings import Matrix, Shown
from provision.inventory.model import Serve, Settings
from provision.results import Result
from tests.checks.proof import Trial
from tests.checks.trying import driven
from tests.checks.wires import Way, connected
from tests.checks.world import FakeNode, cluster, healthy, settings


def own(count: int, **more: Any) -> Settings:
    serve = Serve(topology="data-parallel", data_parallel_size=2 * count, tensor_parallel_size=8)
    return settings(serve=serve, **more)


def nodes(count: int) -> Any:
    return cluster(*(healthy(index, own(count)) for index in range(count)))


def told(trial: Trial, **args: Any) -> list[Shown]:
    return list(driven(host_tcp.run(host_tcp.Args(**args), trial.cluster), trial.answer))


def findings(count: int, way: Way, toolless: tuple[str, ...] = ()) -> list[Finding]:
    return [each for each in told(connected(nodes(count), way, toolless)) if isinstance(each, Finding)]


def summaries(count: int, way: Way) -> list[tuple[str, str]]:
    return [(finding.node, finding.summary) for finding in findings(count, way)]


def test_all_is_well() -> None:
    (matrix,) = told(connected(nodes(3)))
    assert isinstance(matrix, Matrix)
    assert [(cell.state, cell.value) for cell in matrix.cells[1]] == [("ok", 0.1), ("self", None), ("ok", 0.1)]


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("refused", "a firewall rejects: on atlas-3"),
        ("timeout", "security group"),
        ("unreachable", "ip route get 10.0.0.3"),
        ("reset", "firewall or proxy"),
        ("silent", "firewall or proxy"),
        ("stranger", "arping"),
        ("forbidden", "a firewall of atlas-1 itself"),
        ("EMFILE", "iptables -S"),
    ],
)
def test_each_way_to_fail_has_its_remedy_and_the_culprit_is_named_once(word: str, remedy: str) -> None:
    (finding,) = findings(4, lambda source, target, port: word if target == "atlas-3" else "ok")
    assert finding.summary.startswith("TCP connections to atlas-3 are")
    assert (finding.node, finding.level) == ("atlas-3", "fail")
    assert remedy in finding.remedy
    assert finding.observed.endswith("3 ways in all")


def test_nodes_ways_and_all() -> None:
    assert summaries(4, lambda a, b, p: "timeout" if "atlas-3" in (a, b) else "ok") == [
        ("atlas-3", "TCP connections to and from atlas-3 are not answered")
    ]
    assert summaries(4, lambda a, b, p: "timeout" if a == "atlas-3" else "ok") == [
        ("atlas-3", "TCP connections from atlas-3 are not answered")
    ]
    assert summaries(4, lambda a, b, p: "timeout" if {a, b} == {"atlas-1", "atlas-3"} else "ok") == [
        ("atlas-1", "TCP connections between atlas-1 and atlas-3 are not answered")
    ]
    assert summaries(2, lambda a, b, p: "refused") == [
        ("atlas-2", "TCP connections between all nodes (atlas-1, atlas-2) are refused")
    ]


def test_some_ports_alone() -> None:
    (planned,) = findings(3, lambda a, b, p: "timeout" if (b, p) == ("atlas-1", 8000) else "ok")
    assert planned.summary == "port 8000 (api) of atlas-1: connections are not answered, on others they are well"
    assert planned.observed == "timeout on 8000 (api) from atlas-2, atlas-3"
    (others,) = findings(3, lambda a, b, p: "refused" if (b, p) == ("atlas-1", 40001) else "ok")
    assert others.summary.startswith("ports that are not of the launch plan of atlas-1: connections are refused")


def test_a_slow_pair_is_told_as_x09() -> None:
    (finding,) = findings(3, lambda a, b, p: "slow" if (a, b) == ("atlas-1", "atlas-2") else "ok")
    assert (finding.code, finding.level) == ("X09", "warn")
    assert finding.summary == "TCP connections from atlas-1 to atlas-2 are slow: 7.5 ms, elsewhere 0.1 ms"


@pytest.mark.parametrize("said", ["port 8000\n\nrandom 40001\n  \npid 7\n", "\nport 8000\nrandom 40001\npid 7 \n\n"])
def test_a_stray_empty_line_of_a_listener_is_no_trouble(said: str) -> None:
    host = host_tcp._listening(host_tcp._Host("atlas-1", "10.0.0.1", "word"), Result("listen", 0, said))
    assert (host.open, host.pids, host.trouble) == ((8000, 40001), (7,), "")


def test_a_node_that_can_try_nothing_is_said_once() -> None:
    (finding,) = findings(3, lambda a, b, p: "ok", toolless=("atlas-2",))
    assert (finding.level, finding.node) == ("warn", "atlas-2")
    assert "neither python3, nor nc or socat" in finding.summary


def test_a_broken_connection_does_not_keep_the_others_from_being_tried() -> None:
    trial = connected(nodes(3))

    def answer(group: On) -> Mapping[str, Result]:
        answers = dict(trial.answer(group))
        action = group.actions.get("atlas-2")
        if isinstance(action, Call):
            answers["atlas-2"] = action.do(Broken(1, trial.cluster.settings, {}))
        return answers

    (matrix, finding) = told(Trial(trial.cluster, answer))
    assert isinstance(matrix, Matrix)
    assert isinstance(finding, Finding)
    assert [cell.state for cell in matrix.cells[0]] == ["self", "untried", "ok"]
    assert "atlas-2 was not tried: nothing could listen there: the connection broke" in finding.summary


class Broken(FakeNode):
    def read(self, script: str, *, deadline: float = 30.0, label: str = "") -> Result:
        raise ConnectionLost("the connection broke")


# ---- the programs themselves, on loopback addresses


class Host(FakeNode):
    """Runs what it is told with sh; ``env`` may hide tools."""

    env: Mapping[str, str] = os.environ

    def read(self, script: str, *, deadline: float = 30.0, label: str = "") -> Result:
        done = subprocess.run(
            ["sh"], input=script, capture_output=True, text=True, timeout=deadline, env=dict(self.env)
        )
        return Result(label, done.returncode, done.stdout, done.stderr)


@pytest.fixture
def real() -> Iterator[Trial]:
    many = nodes(2)
    for index, node in enumerate(many.nodes):
        node.settings = own(2, data_address=f"127.90.7.{index + 1}")
    hosts = {node.name: Host(node.index, node.settings, node.facts) for node in many.nodes}
    started: list[int] = []

    def answer(group: On) -> Mapping[str, Result]:
        answers = {name: action.do(hosts[name]) for name, action in group.actions.items() if isinstance(action, Call)}
        started.extend(
            int(line.split()[1]) for a in answers.values() for line in a.stdout.splitlines() if "pid" in line
        )
        return answers

    yield Trial(many, answer)
    assert len(started) == 2
    until = time.monotonic() + 5
    while any(os.path.exists(f"/proc/{pid}/fd/0") for pid in started):
        assert time.monotonic() < until, "listeners stay behind"


@pytest.mark.rehearsal
def test_the_programs_listen_connect_measure_and_end(real: Trial) -> None:
    with socket.socket() as taken:
        taken.bind(("127.90.7.2", 8000))
        taken.listen()
        (matrix,) = told(real)
    assert isinstance(matrix, Matrix)
    assert [[cell.state for cell in row] for row in matrix.cells] == [["self", "ok"], ["ok", "self"]]
    assert 0 < (matrix.cells[0][1].value or 0) < 1000
