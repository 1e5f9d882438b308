"""The tournament of pings: every wanted pair once, nobody asked twice at once, the same each time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend.mesh import Devices, Pairs, Ping, rounds, schedule

CLUSTERS = st.lists(st.sets(st.integers(0, 15), max_size=6), max_size=7).map(
    lambda many: {f"n{place}": sorted(numbers) for place, numbers in enumerate(many)}
)
PAIRS = st.sampled_from(("rails", "rails+first", "all"))


def wanted(devices: Devices, pairs: Pairs) -> set[Ping]:
    every = (
        Ping(a, i, b, j) for a, own in devices.items() for b, theirs in devices.items() if a != b
        for i in own for j in theirs
    )  # fmt: skip
    return {
        ping
        for ping in every
        if ping.on_rail or pairs == "all" or (pairs == "rails+first" and ping.device == min(devices[ping.source]))
    }


@given(CLUSTERS, PAIRS)
def test_every_wanted_pair_is_asked_exactly_once(devices: Devices, pairs: Pairs) -> None:
    asked = [ping for group in rounds(devices, pairs) for ping in group]
    assert len(asked) == len(set(asked))
    assert set(asked) == wanted(devices, pairs)


@given(CLUSTERS, PAIRS)
def test_in_a_round_no_node_asks_twice_and_no_device_is_asked_twice(devices: Devices, pairs: Pairs) -> None:
    for group in rounds(devices, pairs):
        assert group, "no empty rounds"
        assert len({ping.source for ping in group}) == len(group)
        assert len({(ping.target, ping.to) for ping in group}) == len(group)


@given(st.integers(2, 8), PAIRS)
def test_with_as_many_devices_as_nodes_no_device_is_in_two_pings_of_a_round(nodes: int, pairs: Pairs) -> None:
    for group in rounds({f"n{node}": range(8) for node in range(nodes)}, pairs):
        ends = [end for ping in group for end in ((ping.source, ping.device), (ping.target, ping.to))]
        assert len(ends) == len(set(ends))


@given(CLUSTERS, PAIRS)
def test_the_plan_is_always_the_same(devices: Devices, pairs: Pairs) -> None:
    assert list(rounds(devices, pairs)) == list(rounds(devices, pairs))


@given(st.integers(2, 8))
def test_the_first_rounds_reach_every_node_from_every_node(nodes: int) -> None:
    asked = schedule({f"n{node}": range(8) for node in range(nodes)}, "rails")
    assert all(len({ping.target for ping in own[: nodes - 1]}) == nodes - 1 for own in asked.values())


@pytest.mark.parametrize(
    ("pairs", "calls"), [("rails", 15 * 16), ("rails+first", 15 * (16 + 15)), ("all", 15 * 16 * 16)]
)
def test_calls_of_a_node_among_sixteen_of_sixteen(pairs: Pairs, calls: int) -> None:
    asked = schedule({f"n{node}": range(16) for node in range(16)}, pairs)
    assert {len(own) for own in asked.values()} == {calls}
