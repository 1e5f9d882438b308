"""What is said of a launch that failed: which process, where, how it ended, the first cause; logs are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from provision.diagnose import autopsy
from provision.errors import CommandFailed, ConnectionLost, LaunchFailed, ProofFailed
from provision.results import Result
from provision.serve import launch
from tests.modules.world import Node, cluster, container, containers, running

OOM = "RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB"


def process(made: Any, name: str) -> Any:
    return launch.observed(made).plan.process(name)


def texts(made: Any, **logs: str) -> Any:
    for node, (name, text) in zip(made.nodes, logs.items(), strict=False):
        node.texts = f"==> qnext process {name}\n{text}\n"
    return made


def test_the_cause_is_found_on_another_node_than_the_end() -> None:
    made = texts(running(cluster()), head="RuntimeError: Engine core initialization failed.", worker1=OOM)
    ended = container("head", state="exited", exit_code=1)

    error = autopsy.ended(made, process(made, "head"), ended)

    assert isinstance(error, LaunchFailed)
    assert error.message.startswith("head on atlas-1 exited with exit status 1; first cause: ")
    assert error.message.endswith("(worker1 on atlas-2)")
    assert error.node == "atlas-2"
    assert OOM in error.evidence
    assert error.hint
    assert [list(node.kept) for node in made.nodes] == [["head.log"], ["worker1.log"]]


def test_a_cause_in_the_own_log_needs_no_place() -> None:
    made = texts(running(cluster()), head=OOM)

    error = autopsy.ended(made, process(made, "head"), container("head", state="exited", exit_code=1))

    assert error.message.startswith("head exited with exit status 1; first cause: ")
    assert " on atlas" not in error.message
    assert error.node == "atlas-1"


def test_dockers_stamps_are_left_out() -> None:
    made = texts(running(cluster()), head=f"2026-01-31T08:00:00.123456789Z {OOM}")

    error = autopsy.ended(made, process(made, "head"), container("head", state="exited", exit_code=1))

    assert f"> {OOM}" in error.evidence.splitlines()
    assert "123456789Z" not in error.evidence


def test_without_a_cause_the_end_of_the_log_is_shown() -> None:
    made = texts(running(cluster()), head="\n".join(f"INFO line {n}" for n in range(40)))

    error = autopsy.not_ready(made, process(made, "head"), "no answer, 60 s after it was started")

    assert error.message == "head is not ready: no answer, 60 s after it was started"
    assert error.evidence.splitlines() == [f"INFO line {n}" for n in range(40 - autopsy.SHOWN, 40)]
    assert "logs/" in error.hint


def test_no_container_at_all() -> None:
    made = cluster()

    assert autopsy.ended(made, process(made, "worker1"), None).message == "worker1 has no container"


def test_a_process_that_the_kernel_ended() -> None:
    made = running(cluster(), head={"state": "exited", "exit_code": 137, "oom_killed": True})
    texts(made, head="INFO loading")

    error = autopsy.ended(made, process(made, "head"), made.nodes[0].facts["containers"].process("head"))

    assert "exit status 137, killed for lack of memory" in error.message


def test_a_remedy_names_the_container() -> None:
    made = running(cluster(), head={"state": "exited", "exit_code": 137})
    texts(made, head="INFO loading")

    error = autopsy.ended(made, process(made, "head"), made.nodes[0].facts["containers"].process("head"))

    assert "`docker inspect -f {{.State.OOMKilled}} qnext-qnext-head`" in error.hint


class Lost(Node):
    def pipe(self, script: str, *, deadline: float | None = None) -> Iterator[bytes]:
        raise ConnectionLost("the connection broke", node=self.name)


def test_a_node_whose_logs_cannot_be_read_does_not_hide_the_others() -> None:
    made = texts(running(cluster()), head=OOM)
    second = made.nodes[1]
    made.nodes[1] = Lost(second.index, second.settings, second.facts)

    error = autopsy.ended(made, process(made, "head"), container("head", state="exited", exit_code=1))

    assert OOM in error.evidence


def test_a_proof_that_failed_stays_one() -> None:
    made = texts(running(cluster()), head=OOM)

    error = autopsy.not_generating(made, launch.observed(made).plan, ProofFailed("HTTP 500", hint="look"))

    assert isinstance(error, ProofFailed)
    assert error.message.startswith("head does not generate: HTTP 500; first cause: ")


def test_a_container_that_restarted_since_is_as_it_is_now() -> None:
    made = running(cluster())
    made.nodes[0].facts["containers"] = containers(replace(container("head"), exit_code=1))
    texts(made, head="INFO")
    evidence = autopsy.observed(made, process(made, "head"))

    assert [log.exit_code for log in evidence.logs] == [None]


@pytest.mark.parametrize(
    ("said", "hint"),
    [("Error response from daemon: manifest for x not found: manifest unknown", "install.image"), ("?!", "by hand")],
)
def test_what_docker_refused_is_explained(said: str, hint: str) -> None:
    error = CommandFailed("pull", Result("pull", 1, "", said), hint="pull it by hand")

    assert hint in autopsy.explained(error).hint
