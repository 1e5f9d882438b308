"""What checks and proofs find, as values: findings, comparisons, matrices, measures. Renderers and scripts read these.

They lie below everything that makes them or shows them, so that an event can carry them whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["fail", "warn", "info", "off"]
CheckStatus = Literal["pass", "waived", "warn", "fail", "skipped", "unknown"]
CellState = Literal["ok", "slow", "partial", "lost", "untried", "self"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be. The runner fills ``level``, ``check``, ``code`` and ``waived``.

    ``fix`` says what ``check --fix`` would do about it on this node; empty: nothing that is safe. ``waived`` is the
    operator's reason and how long it holds; such a finding is shown and stops nothing. ``source``: who says that it is
    wrong, where that is not the check's own document.
    """

    summary: str
    remedy: str
    node: str = ""
    expected: str = ""
    observed: str = ""
    check: str = ""
    code: str = ""
    level: Level = "fail"
    fix: str = ""
    waived: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One thing that nodes should agree on: a row of the sameness table.

    ``values`` are what was seen and by which nodes, the commonest first. ``level`` tells what a difference means:
    fail blocks a launch.
    """

    subject: str
    values: tuple[tuple[str, tuple[str, ...]], ...]
    level: Level = "warn"

    @property
    def same(self) -> bool:
        """Whether all nodes agree."""
        return len(self.values) < 2

    @property
    def majority(self) -> str | None:
        """The value that more nodes have than any other; None where there is no such value."""
        counts = [len(nodes) for _, nodes in self.values]
        return self.values[0][0] if counts and (len(counts) == 1 or counts[0] > counts[1]) else None

    @property
    def odd(self) -> tuple[str, ...]:
        """The nodes at odds with the majority; all of them where there is none."""
        if self.same:
            return ()
        others = self.values if self.majority is None else self.values[1:]
        return tuple(node for _, nodes in others for node in nodes)


@dataclass(frozen=True, slots=True)
class Cell:
    """One pair of a matrix: how it went, ``value`` in the matrix's unit where it was measured, what there is to say."""

    state: CellState
    value: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """Who reaches whom: ``cells`` by row (from) and column (to). Drawn as a heat map."""

    title: str
    unit: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure that was measured on a node (empty: over all of them)."""

    name: str
    value: float
    unit: str
    node: str = ""
    note: str = ""


Exhibit = Comparison | Matrix | Measure
Shown = Finding | Exhibit
"""What a check may yield."""


@dataclass(frozen=True, slots=True)
class CheckOutcome:
    """What became of a check, on a node (empty for what compares nodes). ``reason``: why it was skipped or can't tell.
    ``rule`` is the check's first line. Seconds of wall time."""

    check: str
    code: str
    status: CheckStatus
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    node: str = ""
    reason: str = ""
    rule: str = ""
    exhibits: tuple[Exhibit, ...] = ()


def comparison(subject: str, values: Mapping[str, str], level: Level = "warn") -> Comparison:
    """A comparison of what each node has: node name to value. Values in the order of how many nodes have them."""
    nodes_by_value: dict[str, list[str]] = {}
    for node, value in values.items():
        nodes_by_value.setdefault(value, []).append(node)
    ordered = sorted(nodes_by_value.items(), key=lambda item: -len(item[1]))
    return Comparison(subject, tuple((value, tuple(nodes)) for value, nodes in ordered), level)
