"""What a plan says of several servers: which API answers for which engines, and what lives and dies together."""

from __future__ import annotations

from provision.serve.build import build_plan
from provision.serve.plan import LaunchPlan
from tests.serve.clusters import pairs, settings


def plan(topology: str, nodes: int = 2, hardware: str = "atlas-800-a3", **serve: object) -> LaunchPlan:
    given = {"tensor_parallel_size": 4, "topology": topology, **serve}
    return build_plan(pairs(settings(hardware, **given), nodes))


def test_the_only_api_of_a_group_answers_for_all_of_its_engines() -> None:
    made = plan("data-parallel", data_parallel_size=4)
    (head,) = made.servers
    assert (made.entry, made.behind(head)) == (head, (0, 1, 2, 3))
    assert made.units == (("head", "worker1"),)


def test_an_external_rank_answers_for_itself() -> None:
    made = plan("external-dp", data_parallel_size=4)
    assert [(server.name, made.behind(server)) for server in made.servers] == [
        (f"rank{rank}", (rank,)) for rank in range(4)
    ]
    assert made.entry.kind == "router"
    assert made.units == (("rank0", "rank1", "rank2", "rank3"), ("router",))


def test_a_node_of_hybrid_balancing_answers_for_its_own_engines() -> None:
    made = plan("hybrid-dp", data_parallel_size=4)
    assert [made.behind(server) for server in made.servers] == [(0, 1), (2, 3)]


def test_replicas_live_and_die_alone() -> None:
    made = plan("replicas", tensor_parallel_size=8)
    assert made.units == (("replica0",), ("replica1",), ("replica2",), ("replica3",), ("router",))
    assert [server.devices for server in made.servers] == [tuple(range(8)), tuple(range(8, 16))] * 2
    assert [server.api_port for server in made.servers] == [8100, 8101, 8100, 8101]
    assert made.engines == 4


def test_without_a_router_the_first_server_is_asked() -> None:
    made = plan("replicas", tensor_parallel_size=16, router={"kind": "none"})
    assert (made.entry.name, made.endpoint) == ("replica0", "http://10.0.0.1:8000")


def test_the_router_starts_when_the_servers_are_ready() -> None:
    made = plan("external-dp", data_parallel_size=2)
    assert [wave.front for wave in made.waves] == [False] * (len(made.waves) - 1) + [True]
    assert made.waves[-1].processes == ("router",)
