"""Replicas: as many as fit, each alone with its devices and port."""

from __future__ import annotations

import pytest

from provision.errors import LayoutError
from provision.serve.build import build_plan
from tests.serve.clusters import pairs, settings


def test_a_node_holds_as_many_as_its_devices() -> None:
    plan = build_plan(pairs(settings("atlas-800-a3", topology="replicas", tensor_parallel_size=4), 2))
    servers = plan.servers
    assert [(server.node, server.api_port, server.devices[0]) for server in servers] == [
        (node, 8100 + slot, 4 * slot) for node in ("node1", "node2") for slot in range(4)
    ]
    assert {len(server.devices) for server in servers} == {4}
    assert plan.units == (*((server.name,) for server in servers), ("router",))


def test_whole_modules_are_taken() -> None:
    plan = build_plan(pairs(settings("atlas-800-a3", topology="replicas", tensor_parallel_size=1)))
    assert len(plan.servers) == 8
    assert plan.servers[1].devices == (2, 3)


def test_fewer_may_be_wanted_but_not_more() -> None:
    given = {"topology": "replicas", "tensor_parallel_size": 4}
    assert len(build_plan(pairs(settings("atlas-800-a2", **given, replicas_per_node=1), 2)).servers) == 2
    with pytest.raises(LayoutError, match="2 servers of 4 fit, 3 wanted"):
        build_plan(pairs(settings("atlas-800-a2", **given, replicas_per_node=3), 2))


def test_each_may_have_engines_of_its_own() -> None:
    given = settings("atlas-800-a3", topology="replicas", tensor_parallel_size=2, data_parallel_size=4)
    plan = build_plan(pairs(given))
    assert [(server.engines, plan.behind(server)) for server in plan.servers] == [((0, 1, 2, 3), (0, 1, 2, 3))] * 2
    assert plan.engines == 8


def test_a_single_host_needs_no_address() -> None:
    (site, given), *_ = pairs(settings("cpu", topology="replicas", replicas_per_node=2, router={"kind": "built-in"}))
    from dataclasses import replace

    plan = build_plan([(replace(site, address=""), given)])
    assert plan.entry.argv[-2:] == ("http://127.0.0.1:8100", "http://127.0.0.1:8101")
