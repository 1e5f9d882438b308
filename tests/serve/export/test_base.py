"""What a process waits for, and where APIs are asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.serve.export.base import asked_at, earlier, gates, image_of
from tests.serve.export.launches import launch_of


def urls(name: str, process: str) -> list[str]:
    plan = launch_of(name)[0].plan
    return [gate.url for gate in gates(plan, plan.process(process))]


@pytest.mark.parametrize(
    ("cluster", "process", "expected"),
    [
        ("two-a3-dp8-tp4", "head", []),
        ("two-a3-dp8-tp4", "worker1", ["tcp://10.0.0.1:13389"]),
        ("two-a2-tp8-over-nodes", "worker1", []),
        ("two-a2-ray", "worker1", ["tcp://10.0.0.1:6379"]),
        ("two-a3-prefill-decode", "decode-head", []),
        ("two-a3-prefill-decode", "router", [f"http://10.0.0.{n}:8100/health" for n in (1, 2)]),
    ],
)
def test_gates(cluster: str, process: str, expected: list[str]) -> None:
    assert urls(cluster, process) == expected


def test_all_servers_wait_for_the_pool_and_only_for_the_head_of_their_group() -> None:
    plan = launch_of("four-a2-prefill-decode-external-pool")[0].plan
    pool = next(process for process in plan.processes if process.kind == "pool")
    for server in plan.servers:
        waited = [plan.process(gate.process) for gate in gates(plan, server)]
        assert waited[0] == pool
        assert {each.group for each in waited[1:]} <= {server.group}
    assert not list(gates(plan, pool))


def test_the_front_starts_after_all_servers_of_its_node() -> None:
    plan = launch_of("two-a2-external-dp")[0].plan
    assert [each.name for each in earlier(plan, plan.entry)] == ["rank0", "rank1"]
    assert [each.name for each in earlier(plan, plan.process("rank1"))] == ["rank0"]
    assert not earlier(plan, plan.process("rank2"))


def test_a_server_is_asked_where_it_listens() -> None:
    process = launch_of("two-a3-dp8-tp4")[0].plan.entry
    assert asked_at(process) == "10.0.0.1"
    alone = tuple("127.0.0.1" if word == "0.0.0.0" else word for word in process.argv)
    assert asked_at(replace(process, argv=alone)) == "127.0.0.1"
    assert asked_at(replace(process, address="")) == "127.0.0.1"


def test_a_pinned_image_is_named_by_its_digest() -> None:
    launch, by_node = launch_of("two-a3-dp8-tp4")
    plan, digest = launch.plan, f"sha256:{'1' * 64}"
    head = plan.processes[0]
    own = by_node[head.node]
    pinned = own.model_copy(update={"install": own.install.model_copy(update={"digest": digest})})

    assert image_of(plan, head, own) == plan.image
    assert image_of(plan, head, pinned) == f"{own.install.repository}@{digest}"
    assert image_of(plan, replace(head, image="nginx:1.27"), pinned) == "nginx:1.27"
