"""Which layouts a cluster could have: every topology with the sizes that its nodes can hold.

Enumeration alone. Each candidate is what an operator would write below ``serve``, and becomes a ``Layout`` by the way
that an inventory becomes one, so that what is judged is what is advised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from provision.inventory.model import Settings
from provision.serve.layout import UNLIMITED, Layout, layout_of
from provision.serve.shape import tensor_parallel_obstacle
from provision.serve.topologies.base import groups_of

EVERY = (
    "single",
    "replicas",
    "data-parallel",
    "hybrid-dp",
    "external-dp",
    "tensor-parallel",
    "pipeline-parallel",
    "ray",
    "prefill-decode",
)

_POWERS = (1, 2, 4, 8, 16, 32, 64)
_CPU_ROOM = 1
"""Ranks a node where no devices limit them: processors are shared, so more engines a node gain nothing."""


@dataclass(frozen=True, slots=True)
class Side:
    """One role of prefill-decode: so many nodes, the first ones first."""

    nodes: int
    tp: int
    dp: int


@dataclass(frozen=True)
class Candidate:
    """A layout by its sizes over all nodes. ``prefill`` and ``decode`` are given for prefill-decode alone, whose other
    sizes don't count."""

    topology: str
    tp: int = 1
    dp: int = 1
    pp: int = 1
    prefill: Side | None = None
    decode: Side | None = None

    @cached_property
    def text(self) -> str:
        """In an operator's words."""
        if self.prefill and self.decode:
            return f"{self.topology} with {_side('prefill', self.prefill)} and {_side('decode', self.decode)}"
        if self.topology == "prefill-decode":
            return f"{self.topology} with several groups of a side"
        sizes = [f"tensor_parallel_size {self.tp}"]
        sizes += [f"pipeline_parallel_size {self.pp}"] if self.pp > 1 else []
        sizes += [f"data_parallel_size {self.dp}"] if self.dp > 1 or self.topology in _COUNTED else []
        return f"{self.topology} with {' and '.join(sizes)}"

    @cached_property
    def short(self) -> str:
        """In a table's words."""
        if self.prefill and self.decode:
            p, d = self.prefill, self.decode
            return f"{self.topology} {p.nodes}:{d.nodes}  P {p.dp}x{p.tp}  D {d.dp}x{d.tp}"
        if self.topology == "prefill-decode":
            return self.topology
        pp = f" x PP {self.pp}" if self.pp > 1 else ""
        dp = f"DP {self.dp} x " if self.dp > 1 or self.topology in _COUNTED else ""
        return f"{self.topology}  {dp}TP {self.tp}{pp}"

    @property
    def serve(self) -> Mapping[str, str | int]:
        """The keys of ``serve`` that make it, but for those of each role."""
        if self.topology == "prefill-decode":
            return {"topology": self.topology}
        return {"topology": self.topology, **_sizes(self.tp, self.dp, self.pp)}

    def of_role(self, role: str) -> Mapping[str, str | int]:
        """The keys of ``serve`` for hosts of a role."""
        side = self.prefill if role == "prefill" else self.decode
        return {"role": role, **_sizes(side.tp, side.dp)} if side else {}


_COUNTED = frozenset({"data-parallel", "hybrid-dp", "external-dp"})


def _side(name: str, side: Side) -> str:
    return f"{name} DP {side.dp} x TP {side.tp} on {side.nodes} node{'s' * (side.nodes > 1)}"


def _sizes(tp: int, dp: int, pp: int = 1) -> dict[str, str | int]:
    given: dict[str, str | int] = {"tensor_parallel_size": tp}
    given |= {"pipeline_parallel_size": pp} if pp > 1 else {}
    return given | ({"data_parallel_size": dp} if dp > 1 else {})


def asked(layout: Layout) -> Candidate:
    """What an inventory asks for, as a candidate. Prefill-decode with other than one group a role has no sizes."""
    if layout.topology == "prefill-decode":
        groups = {group.role: group for group in groups_of(layout)}
        if len(groups_of(layout)) != 2 or groups.keys() != {"prefill", "decode"}:
            return Candidate(layout.topology)
        sides = {role: Side(group.nodes, group.tp, group.dp) for role, group in groups.items()}
        return Candidate(layout.topology, prefill=sides["prefill"], decode=sides["decode"])
    return Candidate(layout.topology, layout.tp, layout.dp, layout.pp)


def made(layout: Layout, candidate: Candidate) -> Layout:
    """The layout of the same nodes and the same settings but for the candidate's keys."""
    copies: dict[tuple[int, str], Settings] = {}
    pairs = []
    for index, (site, settings) in enumerate(zip(layout.sites, layout.settings, strict=True)):
        role = _role(candidate, index)
        if (id(settings), role) not in copies:
            copies[id(settings), role] = _with(settings, candidate, role)
        pairs.append((site, copies[id(settings), role]))
    return layout_of(pairs, layout.shape)


def _role(candidate: Candidate, index: int) -> str:
    if candidate.prefill is None:
        return ""
    return "prefill" if index < candidate.prefill.nodes else "decode"


_RESET: Mapping[str, object] = {
    "tensor_parallel_size": 1,
    "pipeline_parallel_size": 1,
    "data_parallel_size": 1,
    "replicas_per_node": None,
    "role": None,
    "group": None,
    "group_topology": "data-parallel",
}


def _with(settings: Settings, candidate: Candidate, role: str) -> Settings:
    keys = {**_RESET, **candidate.serve, **candidate.of_role(role)}
    return settings.model_copy(update={"serve": settings.serve.model_copy(update=keys)})


def candidates(layout: Layout, names: tuple[str, ...] = EVERY) -> Iterator[Candidate]:
    """All candidates of these topologies for the nodes of a layout, whether or not the rules allow them."""
    makers = {
        "single": _single,
        "replicas": _replicas,
        "data-parallel": _data_parallel,
        "hybrid-dp": _an_api_more,
        "external-dp": _an_api_more,
        "tensor-parallel": _over_nodes,
        "pipeline-parallel": _stages,
        "ray": _ray,
        "prefill-decode": _prefill_decode,
    }
    for name in names:
        yield from makers[name](layout, name)


def room(layout: Layout) -> int:
    """Ranks that each node can hold."""
    available = layout.devices_available
    return available if available != UNLIMITED else _CPU_ROOM


def _widths(layout: Layout, most: int) -> list[int]:
    """Tensor-parallel sizes to try: powers of two, and what the model's heads allow besides."""
    most = most if layout.devices_available != UNLIMITED else max(most, 8)
    return sorted({size for size in (*_POWERS, *_legal(layout, most)) if size <= most})


def _legal(layout: Layout, most: int) -> list[int]:
    """The tensor-parallel sizes up to ``most`` that the profile names, or the model's heads allow. A config.json may
    claim any number of heads, so not all of its divisors are looked for."""
    if layout.profile and layout.profile.tensor_parallel.legal:
        return sorted(layout.profile.tensor_parallel.legal)
    shape = layout.shape
    if not shape or not shape.heads:
        return []
    return [n for n in range(1, min(shape.heads, most) + 1) if tensor_parallel_obstacle(shape, n) is None]


def _engines(layout: Layout, tp: int) -> list[int]:
    """Numbers of engines of a node to try: powers of two, and as many as it holds."""
    most = max(1, room(layout) // tp)
    return sorted({count for count in _POWERS if count <= most} | {most})


def _single(layout: Layout, name: str) -> Iterator[Candidate]:
    if layout.nodes == 1:
        for tp in _widths(layout, room(layout)):
            for dp in _engines(layout, tp):
                yield Candidate(name, tp, dp)


def _replicas(layout: Layout, name: str) -> Iterator[Candidate]:
    """Servers of one engine, and one server a node over all its devices."""
    for tp in _widths(layout, room(layout)):
        full = max(1, room(layout) // tp)
        for dp in sorted({1, full}):
            if layout.nodes * (full // dp) > 1:
                yield Candidate(name, tp, dp)


def _data_parallel(layout: Layout, name: str) -> Iterator[Candidate]:
    for tp in _widths(layout, room(layout)):
        for local in _engines(layout, tp):
            if layout.nodes * local > 1:
                yield Candidate(name, tp, layout.nodes * local)


def _an_api_more(layout: Layout, name: str) -> Iterator[Candidate]:
    for tp in _widths(layout, room(layout)):
        engines = layout.nodes * max(1, room(layout) // tp)
        if engines > 1 and (layout.nodes > 1 or name == "external-dp"):
            yield Candidate(name, tp, engines)


def _over_nodes(layout: Layout, name: str) -> Iterator[Candidate]:
    if layout.nodes > 1:
        for tp in _widths(layout, layout.nodes * room(layout)):
            if tp % layout.nodes == 0:
                yield Candidate(name, tp)


def _stages(layout: Layout, name: str) -> Iterator[Candidate]:
    if layout.nodes > 1:
        for tp in _widths(layout, room(layout)):
            yield Candidate(name, tp, pp=layout.nodes)


def _ray(layout: Layout, name: str) -> Iterator[Candidate]:
    yield from _over_nodes(layout, name)
    yield from _stages(layout, name)


def _prefill_decode(layout: Layout, name: str) -> Iterator[Candidate]:
    """Every node's devices in use; sizes that the model allows, prefill's tensor parallel a multiple of decode's."""
    widths = _widths(layout, room(layout))
    legal = _legal(layout, room(layout))
    usable = [size for size in widths if not legal or size in legal]
    for prefill in _splits(layout.nodes):
        for wide in usable:
            for narrow in (size for size in usable if wide % size == 0):
                yield Candidate(
                    name,
                    prefill=Side(prefill, wide, prefill * max(1, room(layout) // wide)),
                    decode=Side(
                        layout.nodes - prefill, narrow, (layout.nodes - prefill) * max(1, room(layout) // narrow)
                    ),
                )


def _splits(nodes: int) -> list[int]:
    """Numbers of prefill nodes to try: one, all but one, and a quarter, a third, half and so on of them."""
    shares = {1, nodes - 1, nodes // 4, nodes // 3, nodes // 2, nodes * 2 // 3, nodes * 3 // 4}
    return sorted(share for share in shares if 0 < share < nodes)
