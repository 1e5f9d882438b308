"""A server for each rank: ranks, ports, devices, and what they wait for."""

from __future__ import annotations

from provision.serve.build import build_plan
from provision.serve.lint import lint
from provision.serve.plan import Wave
from tests.serve.clusters import options, pairs, settings


def test_ranks_ports_and_devices_follow_the_nodes() -> None:
    given = settings("atlas-800-a2", topology="external-dp", tensor_parallel_size=4, data_parallel_size=4)
    plan = build_plan(pairs(given, 2))
    found = [(s.node, s.rank, s.api_port, s.devices) for s in plan.servers]
    assert found == [
        ("node1", 0, 8100, (0, 1, 2, 3)),
        ("node1", 1, 8101, (4, 5, 6, 7)),
        ("node2", 2, 8100, (0, 1, 2, 3)),
        ("node2", 3, 8101, (4, 5, 6, 7)),
    ]
    assert [plan.behind(server) for server in plan.servers] == [(0,), (1,), (2,), (3,)]
    assert plan.units == (("rank0", "rank1", "rank2", "rank3"), ("router",))
    assert plan.waves[:2] == (Wave(("rank0",), "port:rpc"), Wave(("rank1", "rank2", "rank3")))
    assert plan.waves[2].front
    assert {options(s.argv)["--data-parallel-address"] for s in plan.servers} == {("10.0.0.1",)}


def test_privileged_servers_choose_among_all_devices() -> None:
    given = settings("atlas-800-a3", topology="external-dp", tensor_parallel_size=1, data_parallel_size=16)
    shared = given.model_copy(update={"install": given.install.model_copy(update={"privileged": True})})
    servers = build_plan(pairs(shared)).servers
    assert [server.env["ASCEND_RT_VISIBLE_DEVICES"] for server in servers] == [str(n) for n in range(16)]
    assert {server.devices for server in servers} == {tuple(range(16))}


def test_one_rank_alone_is_a_plain_server() -> None:
    plan = build_plan(pairs(settings("cpu", topology="external-dp")))
    assert not any(word.startswith("--data-parallel") for word in plan.servers[0].argv)
    assert plan.waves[0] == Wave(("rank0",))


def test_a_split_over_nodes_must_come_out_even() -> None:
    found = lint(pairs(settings("cpu", topology="external-dp", data_parallel_size=3), 2))
    assert "data_parallel_size 3 cannot be spread evenly over 2 nodes" in [violation.reason for violation in found]


def test_hybrid_needs_several_nodes() -> None:
    found = lint(pairs(settings("cpu", topology="hybrid-dp", data_parallel_size=2)))
    assert [violation.code for violation in found if violation.severity == "fail"] == ["S02"]
