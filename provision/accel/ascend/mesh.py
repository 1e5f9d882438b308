"""Who pings whom, and when: all NPUs of a cluster over their own network, planned as a tournament. Pure.

The tool must not run twice at a time on a host, so each node asks its pings one after the other, and all nodes ask at
the same time without waiting for each other. The order is that of rounds: in one round every node asks one ping, each
of another node (node a asks node a+r), so nobody is asked twice at once; and node a asks from another rail than node
b, so the rails' switches share the load and, up to as many nodes as a node has devices, no device is in two pings of
a round. The first N-1 rounds reach every node from every node; whoever has to stop early has seen a bit of everything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Pairs = Literal["rails", "rails+first", "all"]
"""Device i to device i of every other node; also the first device to all of theirs; every device to every device."""


@dataclass(frozen=True, slots=True)
class Ping:
    """From a device (davinci number) of one node to a device of another."""

    source: str
    device: int
    target: str
    to: int

    @property
    def on_rail(self) -> bool:
        """Whether both ends have the same number: HCCL's rings go along these."""
        return self.device == self.to


Round = tuple[Ping, ...]
Devices = Mapping[str, Sequence[int]]
"""The devices of each node, in the order of the nodes."""


def rounds(devices: Devices, pairs: Pairs) -> Iterator[Round]:
    """The rounds in order, each wanted ping in exactly one. A node has at most one ping in a round, a device is
    asked at most once."""
    yield from _kept(_rails(devices), devices)
    if pairs == "rails+first":
        yield from _kept(_from_first(devices), devices)
    elif pairs == "all":
        yield from _kept(_across(devices), devices)


def schedule(devices: Devices, pairs: Pairs) -> dict[str, list[Ping]]:
    """What each node asks, in order."""
    asked: dict[str, list[Ping]] = {node: [] for node in devices}
    for group in rounds(devices, pairs):
        for ping in group:
            asked[ping.source].append(ping)
    return asked


def _kept(group: Iterator[Round], devices: Devices) -> Iterator[Round]:
    """Without what does not exist: nodes may have different devices."""
    there = {node: frozenset(numbers) for node, numbers in devices.items()}
    for one in group:
        kept = tuple(p for p in one if p.device in there[p.source] and p.to in there[p.target])
        if kept:
            yield kept


def _turns(devices: Devices) -> Iterator[list[tuple[int, str, str]]]:
    """Who asks whom: N-1 turns of (position, node, other)."""
    nodes = list(devices)
    for shift in range(1, len(nodes)):
        yield [(place, node, nodes[(place + shift) % len(nodes)]) for place, node in enumerate(nodes)]


def _numbers(devices: Devices) -> list[int]:
    return sorted({number for numbers in devices.values() for number in numbers})


def _rails(devices: Devices) -> Iterator[Round]:
    numbers = _numbers(devices)
    for offset in range(len(numbers)):
        for turn in _turns(devices):
            rails = ((place, node, other, numbers[(place + offset) % len(numbers)]) for place, node, other in turn)
            yield tuple(Ping(node, rail, other, rail) for _, node, other, rail in rails)


def _from_first(devices: Devices) -> Iterator[Round]:
    first = {node: min(numbers) for node, numbers in devices.items() if numbers}
    for to in _numbers(devices):
        for turn in _turns(devices):
            yield tuple(Ping(a, first[a], b, to) for _, a, b in turn if a in first and first[a] != to)


def _across(devices: Devices) -> Iterator[Round]:
    """All but the rails. In a round all nodes ask from one number to one other, so no device asks and is asked."""
    numbers = _numbers(devices)
    for offset in range(1, len(numbers)):
        for place, number in enumerate(numbers):
            to = numbers[(place + offset) % len(numbers)]
            for turn in _turns(devices):
                yield tuple(Ping(a, number, b, to) for _, a, b in turn)
