"""Few causes for many lost pairs: the culprit is named, everything is explained once."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend.mesh import Pairs, Ping, rounds
from provision.diagnose.mesh import causes


def tried(nodes: int, devices: int = 8, pairs: Pairs = "rails+first") -> list[Ping]:
    cluster = {f"n{node}": range(devices) for node in range(nodes)}
    return [ping for group in rounds(cluster, pairs) for ping in group]


def touches(ping: Ping, node: str, device: int | None = None) -> bool:
    ends = ((ping.source, ping.device), (ping.target, ping.to))
    return any(name == node and device in (None, number) for name, number in ends)


CASES: dict[str, tuple[int, Callable[[Ping], bool], list[tuple[str, str, int, str]]]] = {
    "nothing at all": (4, lambda p: True, [("all", "", 0, "")]),
    "two nodes, nothing": (2, lambda p: True, [("all", "", 0, "")]),
    "a dead node": (4, lambda p: touches(p, "n2"), [("node", "n2", 0, "")]),
    "two dead nodes": (
        5,
        lambda p: touches(p, "n2") or touches(p, "n4"),
        [("node", "n2", 0, ""), ("node", "n4", 0, "")],
    ),
    "a dead device": (4, lambda p: touches(p, "n1", 3), [("device", "n1", 3, "")]),
    "a dead first device": (4, lambda p: touches(p, "n1", 0), [("device", "n1", 0, "")]),
    "a dead device of two nodes": (2, lambda p: touches(p, "n1", 3), [("device", "n1", 3, "")]),
    "a dead first device of two nodes": (2, lambda p: touches(p, "n0", 0), [("device", "n0", 0, "")]),
    "a rail": (4, lambda p: p.on_rail and p.device == 5, [("rail", "", 5, "")]),
    "deaf": (4, lambda p: (p.target, p.to) == ("n3", 2), [("hears", "n3", 2, "")]),
    "dumb": (4, lambda p: (p.source, p.device) == ("n3", 2), [("sends", "n3", 2, "")]),
    "two nodes of four": (4, lambda p: {p.source, p.target} == {"n0", "n2"}, [("nodes", "n0", 0, "n2")]),
    "one way": (4, lambda p: (p.source, p.target) == ("n0", "n2"), [("way", "n0", 0, "n2")]),
    "one pair": (4, lambda p: p == Ping("n0", 3, "n2", 3), [("pairs", "n0", 0, "n2")]),
    "rail-only network": (4, lambda p: not p.on_rail, [("across", "", 0, "")]),
    "dead device, rail-only network": (
        4,
        lambda p: not p.on_rail or touches(p, "n1", 3),
        [("device", "n1", 3, ""), ("across", "", 0, "")],
    ),
    "two nodes, rail-only network, a dead device": (
        2,
        lambda p: not p.on_rail or touches(p, "n1", 3),
        [("rail", "n0", 3, "n1"), ("across", "", 0, "")],
    ),
    "a dead device and a dead node": (
        5,
        lambda p: touches(p, "n1", 3) or touches(p, "n4"),
        [("node", "n4", 0, ""), ("device", "n1", 3, "")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_culprit_is_named(name: str) -> None:
    nodes, is_bad, expected = CASES[name]
    pings = tried(nodes)
    found = causes(pings, filter(is_bad, pings))
    assert [(c.kind, c.node, c.device, c.other) for c in found] == expected


def test_all_is_well() -> None:
    assert causes(tried(3), []) == []


@given(st.data())
def test_every_lost_ping_has_exactly_one_cause(data: st.DataObject) -> None:
    pings = tried(data.draw(st.integers(2, 4)), 3, data.draw(st.sampled_from(("rails", "rails+first", "all"))))
    bad = [ping for ping in pings if data.draw(st.booleans())]
    explained = [ping for cause in causes(pings, bad) for ping in cause.pings]
    assert sorted(explained, key=repr) == sorted(bad, key=repr)
