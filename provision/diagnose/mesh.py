"""Which few causes explain many pairs that don't reach each other: a node, a rail, a device, a way. Pure.

A dead device shows as a row and a column of a matrix, a dead switch as a rail in all of them. A cause is taken where
everything that was tried through it went wrong, the widest first, and what it explains is told no more. Where two
causes explain the same (two nodes, one pair of devices each way), both ends are named instead of one by guess.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from provision.accel.ascend.mesh import Ping

Kind = Literal["all", "node", "rail", "device", "hears", "sends", "nodes", "way", "pairs", "across"]
"""What is wrong: everything; a node; a device number on all nodes (or between two); a device in both directions; to
it; from it; two nodes in both directions; one direction of two nodes; some pairs; what is off the rails."""


@dataclass(frozen=True, slots=True)
class Cause:
    """``node`` and ``device`` are the culprit's as far as the kind has one, ``other`` the second node of a way.
    ``pings`` are those that it explains."""

    kind: Kind
    pings: tuple[Ping, ...]
    node: str = ""
    device: int = 0
    other: str = ""


def causes(tried: Iterable[Ping], bad: Iterable[Ping]) -> list[Cause]:
    """The causes of ``bad``, which are some of ``tried``: each of them is explained by exactly one."""
    case = _Case(list(tried), list(bad))
    for look in (_all, _node, _rail, _device, _one_way, _nodes, _across, _pairs):
        look(case)
    return case.found


def ends(ping: Ping) -> tuple[tuple[str, int], tuple[str, int]]:
    """Both ends of a ping, who asks first: node and device."""
    return (ping.source, ping.device), (ping.target, ping.to)


@dataclass(slots=True)
class _Case:
    """``left`` is what is bad and has no cause yet."""

    tried: list[Ping]
    left: list[Ping]
    found: list[Cause] = field(default_factory=list)
    explained: set[Ping] = field(default_factory=set)

    @property
    def rails(self) -> list[Ping]:
        return [ping for ping in self.tried if ping.on_rail]

    def failing(self, scope: Iterable[Ping]) -> list[Ping]:
        """Those of the scope that have no cause yet, where they are enough to judge by and all of them are bad."""
        pings, left = [ping for ping in scope if ping not in self.explained], set(self.left)
        return pings if len(pings) > 1 and left.issuperset(pings) else []

    def blame(self, kind: Kind, pings: Iterable[Ping], node: str = "", device: int = 0, other: str = "") -> None:
        explained = tuple(pings)
        self.found.append(Cause(kind, explained, node, device, other))
        self.explained.update(explained)
        self.left = [ping for ping in self.left if ping not in self.explained]


def _all(case: _Case) -> None:
    if case.failing(case.rails):
        case.blame("all", case.left)


def _node(case: _Case) -> None:
    nodes = list(dict.fromkeys(name for ping in case.tried for name, _ in ends(ping)))
    for node in nodes if len(nodes) > 2 else ():
        if case.failing(ping for ping in case.rails if node in (ping.source, ping.target)):
            case.blame("node", [ping for ping in case.left if node in (ping.source, ping.target)], node)


def _rail(case: _Case) -> None:
    """A rail of three nodes or more; of two, whose device is ill is looked at first."""
    for rail in sorted({ping.device for ping in case.left if ping.on_rail}):
        pings = case.failing(ping for ping in case.rails if ping.device == rail)
        if len({name for ping in pings for name, _ in ends(ping)}) > 2:
            case.blame("rail", [ping for ping in case.left if rail in (ping.device, ping.to)], device=rail)


def _device(case: _Case) -> None:
    suspects = {end: rails for end in _suspicious(case.left) if (rails := _both_ways(case, end))}
    for (node, device), rails in suspects.items():
        if rails <= case.explained:
            continue
        twins = [end for end, own in suspects.items() if end != (node, device) and own == rails]
        guilty = {(node, device), *twins}
        pings = [ping for ping in case.left if guilty.intersection(ends(ping))]
        names = sorted(name for name, _ in guilty)
        case.blame("rail" if twins else "device", pings, names[0], device, names[1] if twins else "")


def _suspicious(pings: Iterable[Ping]) -> dict[tuple[str, int], None]:
    return dict.fromkeys(end for ping in pings for end in ends(ping))


def _both_ways(case: _Case, end: tuple[str, int]) -> frozenset[Ping]:
    """The rail pings of a device where those to it and those from it all fail, and all else through it; or nothing."""
    rails = frozenset(ping for ping in case.failing(p for p in case.tried if end in ends(p)) if ping.on_rail)
    return rails if len({ping.source == end[0] for ping in rails}) == 2 else frozenset()


def _one_way(case: _Case) -> None:
    for end in _suspicious(case.left):
        into = case.failing(ping for ping in case.tried if ends(ping)[1] == end)
        out = case.failing(ping for ping in case.tried if ends(ping)[0] == end)
        if any(ping.on_rail for ping in into):
            case.blame("hears", into, *end)
        elif any(ping.on_rail for ping in out):
            case.blame("sends", out, *end)


def _nodes(case: _Case) -> None:
    for source, target in _ways(ping for ping in case.left if ping.on_rail):
        there = case.failing(ping for ping in case.rails if (ping.source, ping.target) == (source, target))
        back = case.failing(ping for ping in case.rails if (ping.source, ping.target) == (target, source))
        if there:
            pairs = {(source, target), (target, source)} if back else {(source, target)}
            pings = [ping for ping in case.left if (ping.source, ping.target) in pairs]
            case.blame("nodes" if back else "way", pings, source, other=target)


def _across(case: _Case) -> None:
    pings = [ping for ping in case.left if not ping.on_rail]
    if pings:
        case.blame("across", pings)


def _pairs(case: _Case) -> None:
    for source, target in _ways(case.left):
        pings = [ping for ping in case.left if (ping.source, ping.target) == (source, target)]
        case.blame("pairs", pings, source, other=target)


def _ways(pings: Iterable[Ping]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((ping.source, ping.target) for ping in pings))
