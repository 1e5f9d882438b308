"""Plans: who runs where, with which ranks, devices and arguments; golden plans for the layouts that people run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from provision import yamlio
from provision.serve.build import build_plan
from provision.serve.plan import LaunchPlan, Process, Wave
from provision.serve.render import command_lines
from tests.serve.clusters import options, pairs, settings, sites

GOLDEN = Path(__file__).with_name("golden")
CASES: dict[str, Any] = yamlio.parse(yamlio.read_text(GOLDEN / "clusters.yaml")).data


def plan_of(case: dict[str, Any]) -> LaunchPlan:
    hosts = case.get("hosts", [{}] * case["nodes"])
    given = [settings(case["hardware"], profile=case.get("profile"), **{**case["serve"], **host}) for host in hosts]
    placed = pairs(given[0], case["nodes"], interface=case.get("interface", ""))
    return build_plan([(site, own) for (site, _), own in zip(placed, given, strict=True)])


def shown(plan: LaunchPlan) -> str:
    """A plan as a text that a reviewer can read."""
    lines = [f"endpoint {plan.endpoint}, served as {plan.served_name}, {plan.engines} engines"]
    lines += [f"warning  {warning}" for warning in plan.warnings]
    lines += [f"wave     {', '.join(wave.processes)}; then when {wave.started}" for wave in plan.waves]
    for process in plan.processes:
        lines += [
            "",
            f"{process.name} on {process.node}: rank {process.rank}, engines {list(process.engines)}, "
            f"devices {list(process.devices)}, ports {dict(process.ports)}",
            *_apart(process),
            *("  " + " ".join(words) for words in command_lines(process.argv)),
            *(f"  {name}={value}" for name, value in process.env.items()),
            *(f"  {name}={prefix}(interface)" for name, prefix in process.interface_env.items()),
        ]
    return "\n".join(lines) + "\n"


def _apart(process: Process) -> list[str]:
    """What sets a process apart from the servers of a cluster's only group."""
    if process.kind == "server" and not process.group and not process.files:
        return []
    kept = {"kind": process.kind, "group": process.group, "role": process.role, "image": process.image}
    told = [f"{name} {value}" for name, value in kept.items() if value]
    return [", ".join([*told, f"health {process.health}", *(f"/qnext/{each.name}" for each in process.files)])]


@pytest.mark.parametrize("name", CASES)
def test_golden_plan(name: str) -> None:
    text, path = shown(plan_of(CASES[name])), GOLDEN / f"{name}.txt"
    if os.environ.get("QNEXT_UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8"), "if intended: QNEXT_UPDATE_GOLDEN=1, and review the difference"


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(CASES)


def test_data_parallel_ranks_are_prefix_sums_without_gap() -> None:
    given = settings("atlas-800-a3", topology="data-parallel", tensor_parallel_size=4, data_parallel_size=12)
    plan = build_plan(pairs(given, 3))
    assert [process.engines for process in plan.processes] == [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)]
    starts = [options(process.argv).get("--data-parallel-start-rank") for process in plan.processes]
    assert starts == [None, ("4",), ("8",)]
    assert [process.rank for process in plan.processes] == [0, 4, 8]
    assert plan.waves == (Wave(("head",), "port:rpc"), Wave(("worker1", "worker2")))


def test_only_the_head_has_an_api() -> None:
    for topology, sizes in {"data-parallel": {"data_parallel_size": 2}, "tensor-parallel": {}}.items():
        plan = build_plan(pairs(settings("cpu", topology=topology, tensor_parallel_size=2, **sizes), 2))
        head, worker = plan.processes
        assert (head.api_port, worker.api_port) == (8000, None)
        assert "--headless" not in head.argv
        assert options(worker.argv)["--headless"] == ()
        assert not {"--host", "--port"} & set(worker.argv)
        assert (plan.head, worker.headless, worker.ports) == ("head", True, {})


def test_api_servers_are_for_the_head_alone() -> None:
    given = settings("cpu", topology="data-parallel", data_parallel_size=2, engine_args={"api-server-count": 1})
    head, worker = build_plan(pairs(given, 2)).processes
    assert options(head.argv)["--api-server-count"] == ("1",)
    assert "--api-server-count" not in worker.argv


def test_on_one_node_no_rpc_port_is_opened_or_waited_for() -> None:
    plan = build_plan(pairs(settings(topology="data-parallel", tensor_parallel_size=4, data_parallel_size=4)))
    assert plan.processes[0].ports == {"api": 8000}
    assert plan.waves == (Wave(("head",), "running"),)


@pytest.mark.parametrize(
    ("hardware", "tp", "devices"),
    [("atlas-800-a2", 1, (0,)), ("atlas-800-a3", 1, (0, 1)), ("atlas-800-a3", 2, (0, 1)), ("cpu", 2, ())],
)
def test_devices_are_no_more_than_needed_in_whole_modules(hardware: str, tp: int, devices: tuple[int, ...]) -> None:
    assert build_plan(pairs(settings(hardware, tensor_parallel_size=tp))).processes[0].devices == devices


def test_devices_are_taken_from_those_given() -> None:
    given = settings(tensor_parallel_size=2, devices=(14, 15, 8, 9))
    assert build_plan(pairs(given)).processes[0].devices == (8, 9)


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [("0.0.0.0", "10.0.0.1:8000"), ("::", "10.0.0.1:8000"), ("127.0.0.1", "127.0.0.1:8000"), ("::1", "[::1]:8000")],
)
def test_endpoint_is_where_clients_reach_the_head(host: str, endpoint: str) -> None:
    assert build_plan(pairs(settings("cpu", host=host))).endpoint == f"http://{endpoint}"


def test_served_name_is_the_operators_then_the_profiles_then_the_folders() -> None:
    named = {"tensor_parallel_size": 4, "profile": "qwen3-next-80b-a3b-instruct"}
    assert build_plan(pairs(settings(**named, served_name="mine"))).served_name == "mine"
    assert build_plan(pairs(settings(**named))).served_name == "qwen3_next"
    assert build_plan(pairs(settings(path="/data/Qwen3-8B/"))).served_name == "Qwen3-8B"


def test_the_same_input_gives_the_same_plan() -> None:
    case = CASES["two-a3-dp8-tp4"]
    assert plan_of(case) == plan_of(case)


def test_the_order_of_settings_does_not_matter() -> None:
    one = settings("cpu", engine_args={"seed": 1, "max-num-seqs": 2}, env={"A": 1, "B": 2})
    two = settings("cpu", engine_args={"max_num_seqs": 2, "seed": 1}, env={"B": 2, "A": 1})
    assert build_plan(pairs(one)) == build_plan(pairs(two))


def test_a_plan_needs_nodes() -> None:
    with pytest.raises(ValueError, match="at least one site"):
        build_plan([])


def test_index_is_that_of_the_inventory() -> None:
    given = settings("cpu", topology="tensor-parallel", tensor_parallel_size=2)
    chosen = [(site, given) for site in sites("cpu", 5)[3:]]
    assert [(p.name, p.node_index, p.rank) for p in build_plan(chosen).processes] == [("head", 3, 0), ("worker1", 4, 1)]
