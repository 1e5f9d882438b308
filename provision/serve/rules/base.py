"""How rules say what is wrong, and what each code of the domain's list is about."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from provision.inventory.model import Serve
from provision.serve.layout import Layout
from provision.serve.plan import Violation

Rule = Callable[[Layout], Iterator[Violation]]
"""Judges one group of engines, or a whole cluster as one."""

Together = Callable[[Layout, Sequence[Layout]], Iterator[Violation]]
"""Judges a cluster and the groups that its topology cuts it into, beside each other."""

CODES: Mapping[str, str] = {
    "S01": "every node has an address of its own",
    "S02": "ranks come out evenly over the nodes",
    "S03": "the ranks of a node fit its devices",
    "S04": "tensor and pipeline parallel fit the model",
    "S05": "experts come out evenly over the ranks",
    "S06": "the head, and only the head, serves the API",
    "S07": "all nodes of a group run with the same settings",
    "S08": "arguments are legal, given once, and don't contradict each other",
    "S09": "hardware, release and model go together",
    "S10": "the image is built for the hardware, and its tag doesn't move",
    "S11": "ports are distinct and out of ranges that others take",
    "S12": "prefill and decode fit each other",
    "S13": "kinds of parallelism that exclude each other are not mixed",
    "S14": "containers have the host's network",
    "S15": "time-outs and sizes are in their ranges",
    "S16": "weights and requests fit the memory",
    "S17": "multi-token prediction fits the release and the graphs",
    "S18": "nothing deprecated is used",
    "S19": "A3 devices are taken in whole modules",
    "S20": "no secret in clear, no variable that nobody fills",
    "T4": "hybrid load balancing is one that upstream tests, and has engines to balance",
    "T5": "external data parallel is one that upstream tests",
    "T6": "Ray is one that upstream tests, and that the platform has",
    "T7": "an engine over several nodes is one that upstream tests",
}
"""By code, what a layout must be. S01 to S20 are those of the domain's list of static checks."""


def fail(code: str, reason: str, source: str, remedy: str = "") -> Violation:
    """The layout cannot work. An empty remedy is filled with the layouts that would."""
    return Violation(code, "fail", reason, source, remedy)


def warn(code: str, reason: str, source: str, remedy: str) -> Violation:
    """The layout may work, and the operator should know."""
    return Violation(code, "warn", reason, source, remedy)


def representatives(layout: Layout) -> Iterator[int]:
    """One site of each kind of ``serve``: hosts of one inventory mostly have the same, and often share one object."""
    seen: list[Serve] = []
    for index, settings in enumerate(layout.settings):
        if not any(settings.serve is serve or settings.serve == serve for serve in seen):
            seen.append(settings.serve)
            yield index
