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
from provision.serve import launch
from provision.serve.plan import Group, LaunchPlan, Process
from tests.checks import several
from tests.checks.several import REPLICAS, nodes, of, without
from tests.checks.trying import all_say, driven
from tests.checks.world import FakeCluster, healthy, inventory, settings


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
    assert failing(several.launched(of(**serve))) == {}


def test_an_ill_replica_is_named_once_and_its_router_not_at_all() -> None:
    made = several.launched(of(**REPLICAS))
    made.nodes[1].servers[8101].pages["/health"] = Response(503)
    made.nodes[0].servers[8000].pages = {}
    assert failing(made) == {"api_health": ["replica3 on atlas-2 is not well: /health: HTTP 503"]}


def test_an_ill_router_is_told_where_its_servers_are_well() -> None:
    made = several.launched(of(**REPLICAS))
    health = launch.observed(made).plan.entry.health
    made.nodes[0].servers[8000].pages = {health: Response(503)}
    assert failing(made)["api_health"] == [f"http://10.0.0.1:8000 is not well: {health}: HTTP 503"]


def test_a_dead_replica_needs_no_restart_of_the_others() -> None:
    made = without(several.launched(of(**REPLICAS)), 1, "replica2")
    (finding,) = judged(made)["processes_alive"].findings
    assert (finding.node, finding.summary) == ("atlas-2", "replica2 has no container, while others of the cluster run")
    assert finding.remedy == "`qnext-provision up` starts it again, and leaves the others as they are"


def test_engines_are_those_behind_each_api() -> None:
    made = several.launched(of(topology="external-dp", data_parallel_size=4, tensor_parallel_size=8))
    made.nodes[1].servers[8100].pages["/metrics"] = Response(200, b'vllm:generation_tokens_total{engine="0"} 1\n')
    assert judged(made)["engines"].status == "pass", "an engine may be numbered within its server"
    two = b'vllm:generation_tokens_total{engine="2"} 1\nvllm:generation_tokens_total{engine="3"} 1\n'
    made.nodes[1].servers[8100].pages["/metrics"] = Response(200, two)
    (finding,) = judged(made)["engines"].findings
    assert finding.summary == "rank2 on atlas-2 counts engines that are not of this cluster: 3"


def test_dies_of_privileged_containers_are_those_that_each_is_told_to_take() -> None:
    own = of(**REPLICAS)
    own = own.model_copy(update={"install": own.install.model_copy(update={"privileged": True})})
    made = several.launched(own)
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


def told(*servers: Process) -> LaunchPlan:
    """Each server a group of its own role and name."""
    groups = tuple(Group(p.group, p.role, (p.name,)) for p in servers)
    return LaunchPlan("q", "x", "cpu", "i", "/m", "m", servers, (), servers[0].name, "http://a:2", groups=groups)


def server(number: int, *flags: str, role: str = "", **env: str) -> Process:
    words = ("vllm", "serve", "/m", *flags)
    return Process(f"s{number}", f"atlas-{number}", number, 0, words, env, api_port=1, group=f"s{number}", role=role)


SIDES_OF_PD = {"group_topology": "data-parallel", "topology": "prefill-decode"}


@pytest.mark.parametrize(
    ("serve", "made", "found"),
    [
        (REPLICAS, told(server(1), server(2, "--seed", "1")), {"warn": "--seed"}),
        (REPLICAS, told(server(1), server(2, "--served-model-name", "x")), {"fail": "--served-model-name"}),
        (SIDES_OF_PD, told(server(1, role="prefill"), server(2, "--enforce-eager", role="decode")), {}),
        (
            SIDES_OF_PD,
            told(server(1, "--block-size", "128", role="prefill"), server(2, "--block-size", "64", role="decode")),
            {"fail": "--block-size"},
        ),
        (
            SIDES_OF_PD,
            told(server(1, role="prefill", PYTHONHASHSEED="0"), server(2, role="decode")),
            {"fail": "env PYTHONHASHSEED"},
        ),
    ],
)
def test_what_servers_of_several_groups_must_agree_on(
    serve: dict[str, Any], made: LaunchPlan, found: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "planned", lambda cluster: launch.Launch(made, ()))
    outcome = compared(nodes(of(**serve)), "same_environment")
    assert {f.level: f.summary.partition(" is not")[0] for f in outcome.findings} == found
    assert all(finding.node in ("atlas-1", "atlas-2") for finding in outcome.findings)


def test_ranks_on_one_node_are_compared_too(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [replace(server(n, "--seed", str(n)), node="atlas-1", group="") for n in (1, 1, 2)]
    ranks = [replace(rank, name=f"rank{n}") for n, rank in enumerate(ranks)]
    made = replace(told(*ranks), groups=(Group("", "", tuple(rank.name for rank in ranks)),))
    monkeypatch.setattr(serving, "planned", lambda cluster: launch.Launch(made, ()))
    own = of(topology="external-dp", data_parallel_size=2, tensor_parallel_size=8)
    (finding,) = compared(nodes(own), "same_environment").findings
    assert (finding.node, finding.observed) == ("atlas-1", "2")
    assert "on atlas-1/rank2" in finding.summary


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


@pytest.mark.parametrize(
    ("role", "port", "key"),
    [
        ("prefill", 36000, "kv_transfer.port"),
        ("decode", 36007, "kv_transfer.port"),
        ("decode", 36016, ""),
        ("prefill", 50088, "kv_pool.master_port"),
    ],
)
def test_what_hands_over_kv_caches_has_ports_too(role: str, port: int, key: str) -> None:
    own = of(topology="prefill-decode", role=role, tensor_parallel_size=8, kv_pool={})
    node = healthy(0, own).alter("ports", listeners=(Listener("0.0.0.0", port, 9, "other"),))
    found = [f for f in ports.run(ports.Args(reserved=False), node) if f"port {port} " in f.summary]
    assert [f"qnext.serve.{key}" in f.remedy for f in found] == ([True] if key else [])


@pytest.mark.parametrize(
    ("transfer", "port", "wanted"),
    [
        ({}, 36003, True),
        ({"port": 30000}, 36003, False),
        ({"port": 30000}, 30003, True),
        ({"connector": "NixlConnector"}, 5601, True),
        ({"connector": "NixlConnector"}, 5602, False),
        ({"connector": "NixlConnector", "port": 7000}, 7001, True),
        ({"connector": "LMCacheConnectorV1"}, 36000, False),
    ],
)
def test_the_ports_checked_are_those_that_the_connector_opens(
    transfer: dict[str, Any], port: int, wanted: bool
) -> None:
    parts = {"topology": "prefill-decode", "tensor_parallel_size": 4, "data_parallel_size": 2, "kv_transfer": transfer}
    both = [of(**parts, role=role) for role in ("prefill", "decode")]
    made = FakeCluster([healthy(index, own) for index, own in enumerate(both)])
    opened = {p for process in launch.observed(made).plan.servers for p in process.ports.values()}
    assert (port in opened) == wanted, "by the plan itself"
    taken = (Listener("0.0.0.0", port, 9, "other"),)
    found = [list(ports.run(ports.Args(reserved=False), node.alter("ports", listeners=taken))) for node in made.nodes]
    named = ["qnext.serve.kv_transfer.port" in f.remedy for each in found for f in each if f.level != "warn"]
    assert named == ([True, True] if wanted else [])


def test_one_server_is_as_before() -> None:
    made = nodes(settings())
    assert serving.talking(made) == {("atlas-1", "atlas-2"): "any", ("atlas-2", "atlas-1"): "any"}


# ---- a part of the nodes


def part(*wanted: int, of_nodes: int = 3) -> Any:
    """Some nodes of a cluster of replicas, as ``--limit`` leaves them."""
    own = of(**REPLICAS, server_port=8100)
    made = several.launched(own, of_nodes)
    return FakeCluster([made.nodes[n] for n in wanted], hosts=inventory(own, of_nodes).hosts)


def test_a_part_of_the_replicas_has_the_names_and_ports_that_it_has_in_the_whole() -> None:
    whole = launch.observed(several.nodes(of(**REPLICAS), 3))
    seen = launch.observed(part(1))
    assert [p.name for p in seen.plan.processes] == ["replica2", "replica3"]
    assert [s.digest for s in seen.scripts] == [s.digest for s in whole.scripts_of("atlas-2")]
    assert (seen.plan.head, seen.plan.engines, len(seen.plan.groups)) == ("replica2", 2, 2)
    assert [wave.processes for wave in seen.plan.waves] == [("replica2", "replica3")]


def test_the_part_with_the_router_keeps_it_before_all_servers() -> None:
    whole = launch.observed(several.nodes(of(**REPLICAS), 3))
    seen = launch.observed(part(0))
    assert seen.plan.head == "router"
    assert [s.digest for s in seen.scripts] == [s.digest for s in whole.scripts_of("atlas-1")]


def test_a_part_of_the_replicas_is_checked_like_the_whole() -> None:
    assert failing(part(0, 1)) == {}
    assert judged(part(2))["engines"].status == "pass"


def test_the_first_nodes_of_a_layout_are_not_taken_for_the_whole() -> None:
    own = settings()
    made = FakeCluster([healthy(0, own)], hosts=inventory(own).hosts)
    assert judged(made)["engines"].reason == "only some of the cluster's hosts are looked at"
