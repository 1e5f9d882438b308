"""The checks where there are several servers: each is asked, what has nothing to do with each other is not compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.checks import ports, runner, serving
from provision.checks.policy import Choice
from provision.facts.firewall import Rules
from provision.facts.network import Listener
from provision.findings import CheckOutcome
from provision.http import Response
from provision.serve.plan import Group, LaunchPlan, Process
from tests.checks.several import REPLICAS, launched, nodes, of, without
from tests.checks.trying import all_say, driven
from tests.checks.world import cluster, healthy, settings


def judged(made: Any) -> dict[str, CheckOutcome]:
    return {outcome.check: outcome for outcome in runner.run_launched(made)}


def failing(made: Any) -> dict[str, list[str]]:
    return {n: [f.summary for f in o.findings] for n, o in judged(made).items() if o.status in ("fail", "warn")}


def compared(made: Any, name: str) -> CheckOutcome:
    (outcome,) = runner.run_cluster(made, Choice(only=(name,)))
    return outcome


# ---- running servers


@pytest.mark.parametrize(
    "serve", [REPLICAS, {"topology": "external-dp", "data_parallel_size": 4, "tensor_parallel_size": 8}]
)
def test_all_is_well(serve: dict[str, Any]) -> None:
    assert failing(launched(of(**serve))) == {}


def test_an_ill_replica_is_named_once_and_its_router_not_at_all() -> None:
    made = launched(of(**REPLICAS))
    made.nodes[1].servers[8101].pages["/health"] = Response(503)
    made.nodes[0].servers[8000].pages["/health"] = Response(503)
    assert failing(made) == {"api_health": ["replica3 on atlas-2 is not well: /health: HTTP 503"]}


def test_an_ill_router_is_told_where_its_servers_are_well() -> None:
    made = launched(of(**REPLICAS))
    made.nodes[0].servers[8000].pages = {"/health": Response(503)}
    assert failing(made)["api_health"] == ["http://10.0.0.1:8000 is not well: /health: HTTP 503"]


def test_a_dead_replica_needs_no_restart_of_the_others() -> None:
    made = without(launched(of(**REPLICAS)), 1, "replica2")
    (finding,) = judged(made)["processes_alive"].findings
    assert (finding.node, finding.summary) == ("atlas-2", "replica2 has no container, while others of the cluster run")
    assert finding.remedy == "`qnext-provision up` starts it again, and leaves the others as they are"


def test_engines_are_those_behind_each_api() -> None:
    made = launched(of(topology="external-dp", data_parallel_size=4, tensor_parallel_size=8))
    made.nodes[1].servers[8100].pages["/metrics"] = Response(200, b'vllm:generation_tokens_total{engine="0"} 1\n')
    assert judged(made)["engines"].status == "pass", "an engine may be numbered within its server"
    two = b'vllm:generation_tokens_total{engine="2"} 1\nvllm:generation_tokens_total{engine="3"} 1\n'
    made.nodes[1].servers[8100].pages["/metrics"] = Response(200, two)
    (finding,) = judged(made)["engines"].findings
    assert finding.summary == "rank2 on atlas-2 counts engines that are not of this cluster: 3"


def test_dies_of_privileged_containers_are_those_that_each_is_told_to_take() -> None:
    own = of(**REPLICAS)
    own = own.model_copy(update={"install": own.install.model_copy(update={"privileged": True})})
    made = launched(own)
    dies = made.nodes[0].facts["npu-smi"].dies
    made.nodes[0].alter("npu-smi", dies=tuple(replace(d, hbm_used_mb=60000) if d.device > 7 else d for d in dies))
    assert judged(made)["memory_symmetry"].status == "pass"


# ---- who works with whom


def plan(*groups: tuple[str, str, tuple[str, ...]], router: str = "a", pool: str = "") -> LaunchPlan:
    """Groups (name, role, nodes), each process with an API."""
    processes = [
        Process(f"{name}-{node}", node, ord(node), 0, (), {}, api_port=1, group=name, role=role)
        for name, role, own in groups
        for node in own
    ]
    made = tuple(Group(name, role, tuple(f"{name}-{node}" for node in own)) for name, role, own in groups)
    processes.append(Process("router", router, ord(router), 0, (), {}, api_port=2, kind="router"))
    processes += [Process("pool", pool, ord(pool), 0, (), {}, kind="pool")] if pool else []
    return LaunchPlan("q", "x", "cpu", "i", "/m", "m", tuple(processes), (), "router", "http://a:2", groups=made)


REPLICA_PAIR = (("r0", "", ("a",)), ("r1", "", ("b",)), ("r2", "", ("c",)))
SIDES = (("p", "prefill", ("a",)), ("d", "decode", ("b",)))


@pytest.mark.parametrize(
    ("made", "talks", "worlds"),
    [
        (plan(*REPLICA_PAIR), {"ab": "api", "ac": "api"}, ["a", "b", "c"]),
        (plan(("", "", ("a", "b"))), {"ab": "any", "ba": "any"}, ["ab"]),
        (plan(("", "", ("b", "c"))), {"ab": "api", "ac": "api", "bc": "any", "cb": "any"}, ["bc"]),
        (plan(*SIDES), {"ab": "any", "ba": "any"}, ["a", "b"]),
        (plan(*REPLICA_PAIR[:2], pool="b"), {"ab": "any", "ba": "any"}, ["a", "b"]),
        (plan(("x", "", ("a", "b")), ("y", "", ("b", "c")), router="b"), None, ["abc"]),
    ],
)
def test_who_connects_to_whom(made: LaunchPlan, talks: dict[str, str] | None, worlds: list[str]) -> None:
    assert [set(world) for world in serving.worlds(made)] == [set(world) for world in worlds]
    if talks is not None:
        assert serving.talks(made) == {(pair[0], pair[1]): how for pair, how in talks.items()}


@pytest.mark.parametrize("name", ["npu_link", "npu_addresses", "npu_uplink", "same_tls"])
def test_replicas_need_no_fabric(name: str) -> None:
    assert compared(nodes(of(**REPLICAS)), name).status == "skipped"


def test_a_replica_is_reached_from_the_router_alone() -> None:
    made = nodes(of(**REPLICAS), 3)
    for node in made.nodes:
        node.alter("firewall", rules=Rules("drop", "accept", accepts=("10.0.0.1",)))
    findings = compared(made, "firewall").findings
    assert [(f.node, f.level) for f in findings] == [("atlas-1", "info")], "only clients come to the router's node"
    made.nodes[2].alter("firewall", rules=Rules("drop", "accept", accepts=("10.0.0.2",)))
    assert ("atlas-3", "warn") in [(f.node, f.level) for f in compared(made, "firewall").findings]


def test_all_reduces_of_replicas_stay_on_their_nodes() -> None:
    made = nodes(of(**REPLICAS))
    for node in made.nodes:
        node.alter("image", present=True, id="sha256:1")
    asked: list[dict[str, str]] = []

    def answer(group: Any) -> Any:
        asked.append({name: action.script for name, action in group.actions.items()})
        return all_say("joined 0\nmeasured 1 0.001\n")(group)

    (outcome,) = driven(runner.run_trials(made, Choice(only=("collective",), deep=True)), answer)

    assert all("WORLD_SIZE=16" in script for script in asked[0].values())
    assert "MASTER_ADDR=10.0.0.2" in asked[0]["atlas-2"]
    assert [shown.name for shown in outcome.exhibits] == [
        "all-reduce of 1 MB on atlas-1",
        "all-reduce of 1 MB on atlas-2",
    ]


# ---- what must be the same


def test_replicas_may_be_told_different_things_but_one_model() -> None:
    own = of(**REPLICAS)
    odd = own.model_copy(update={"serve": own.serve.model_copy(update={"env": {"VLLM_ASCEND_X": "1"}})})
    outcome = compared(cluster(healthy(0, own), healthy(1, odd)), "same_environment")
    assert outcome.status in ("warn", "skipped"), outcome
    if outcome.status == "warn":
        assert [f.level for f in outcome.findings] == ["warn"]


def test_unlike_nodes_may_hold_replicas() -> None:
    made = nodes(of(**REPLICAS))
    made.nodes[1].alter("npu-smi", dies=made.nodes[1].facts["npu-smi"].dies[:8])
    made.nodes[1].alter("davinci", devices=tuple(range(8)))
    assert compared(made, "same_family").findings == ()


# ---- ports


@pytest.mark.parametrize(
    ("index", "port", "key"),
    [
        (0, 8000, "qnext.serve.port"),
        (0, 8101, "qnext.serve.server_port"),
        (1, 8100, "qnext.serve.server_port"),
        (1, 8000, ""),
        (1, 8102, ""),
    ],
)
def test_each_node_needs_the_ports_of_its_own_servers(index: int, port: int, key: str) -> None:
    node = healthy(index, of(**REPLICAS)).alter("ports", listeners=(Listener("0.0.0.0", port, 9, "other"),))
    found = [f for f in ports.run(ports.Args(), node) if f"port {port} " in f.summary and f.level != "warn"]
    assert [key in f.remedy for f in found] == ([True] if key else [])


def test_a_router_elsewhere_takes_its_port_there() -> None:
    own = of(**REPLICAS, router={"node": "atlas-2"})
    taken = (Listener("0.0.0.0", 8000, 9, "other"),)
    found = {n: list(ports.run(ports.Args(), healthy(n, own).alter("ports", listeners=taken))) for n in (0, 1)}
    assert [bool([f for f in found[n] if "8000" in f.summary]) for n in (0, 1)] == [False, True]


def test_one_server_is_as_before() -> None:
    made = nodes(settings())
    assert serving.talking(made) == {("atlas-1", "atlas-2"): "any", ("atlas-2", "atlas-1"): "any"}
