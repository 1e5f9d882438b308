"""What checks came to, put together for those who show it: the terminal, the HTML page, JUnit and ``check --json``.

Pure values. A check has an outcome for each node; what an operator asks is how the *check* stands, and on which nodes:
the worst of its outcomes decides. Findings that read the same on many nodes are one entry.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from provision.findings import CheckOutcome, CheckStatus, Comparison, Finding, Matrix, Measure
from provision.render.lines import grouped, place

WORST: tuple[CheckStatus, ...] = ("fail", "unknown", "warn", "waived", "pass", "skipped")
"""From what must be looked at to what needs no eye."""
_FINDINGS = re.compile(r"\d+ findings: ")
LEVELS = ("fail", "warn", "waived", "info", "off")


class Told(Protocol):
    """A finding, or the event that tells of one."""

    @property
    def node(self) -> str: ...
    @property
    def check(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def level(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def remedy(self) -> str: ...
    @property
    def expected(self) -> str: ...
    @property
    def observed(self) -> str: ...
    @property
    def fix(self) -> str: ...
    @property
    def waived(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding and all nodes that have it. ``level`` is "waived" where the operator waived it; ``observed`` are what
    was seen and by which nodes."""

    level: str
    code: str
    check: str
    summary: str
    expected: str
    remedy: str
    fix: str
    waived: str
    nodes: tuple[str, ...]
    observed: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a check stands over all nodes. ``parts``: status, reason and the nodes of which it holds, the worst first."""

    code: str
    check: str
    rule: str
    status: CheckStatus
    parts: tuple[tuple[CheckStatus, str, tuple[str, ...]], ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Sameness:
    """A row of the sameness table and what its difference means: "blocks", "differs", "waived", or "" where none."""

    row: Comparison
    effect: str
    code: str
    check: str

    @property
    def odd(self) -> frozenset[str]:
        """The nodes at odds with the majority."""
        return frozenset(self.row.odd)


def mendable(finding: Told) -> bool:
    """Whether ``check --fix`` would mend it: it leaves alone what is waived or told for information only."""
    return bool(finding.fix) and not finding.waived and finding.level in ("warn", "fail")


def entries(found: Iterable[Told], order: Sequence[str] = ()) -> list[Entry]:
    """Findings folded by node, failures first, then in the order of their codes."""
    groups: dict[_Key, list[Told]] = {}
    for finding in found:
        groups.setdefault(_same(finding), []).append(finding)
    made = [_entry(key, members, order) for key, members in groups.items()]
    return sorted(made, key=lambda entry: (LEVELS.index(entry.level), entry.code))


_Key = tuple[str, str, str, str, str, str, str, str]


def _same(finding: Told) -> _Key:
    level = "waived" if finding.waived else finding.level
    head = (level, finding.code, finding.check, finding.summary)
    return (*head, finding.expected, finding.remedy, finding.fix, finding.waived)


def _entry(key: _Key, members: Sequence[Told], order: Sequence[str]) -> Entry:
    nodes = _sorted((member.node for member in members), order)
    seen = grouped((member.node, member.observed) for member in members if member.observed)
    return Entry(*key, nodes, tuple((text, _sorted(names, order)) for text, names in seen))


def _sorted(nodes: Iterable[str], order: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({node for node in nodes if node}, key=place(order)))


def repeats(message: str, found: Iterable[Told]) -> bool:
    """Whether the message of a task's end says only what its findings say already."""
    return bool(_FINDINGS.match(message)) or message in {finding.summary for finding in found}


def verdicts(outcomes: Iterable[CheckOutcome], order: Sequence[str] = ()) -> list[Verdict]:
    """How each check stands, in the order of the codes."""
    by_check: dict[str, list[CheckOutcome]] = {}
    for outcome in outcomes:
        by_check.setdefault(outcome.check, []).append(outcome)
    return sorted((_verdict(many, order) for many in by_check.values()), key=lambda verdict: verdict.code)


def _verdict(outcomes: Sequence[CheckOutcome], order: Sequence[str]) -> Verdict:
    first = outcomes[0]
    groups = grouped((outcome.node, (outcome.status, outcome.reason)) for outcome in outcomes)
    parts = [(status, reason, _sorted(nodes, order)) for (status, reason), nodes in groups]
    parts.sort(key=lambda part: WORST.index(part[0]))
    seconds = sum(outcome.seconds for outcome in outcomes)
    rule = next((outcome.rule for outcome in outcomes if outcome.rule), "")
    return Verdict(first.code, first.check, rule, parts[0][0], tuple(parts), seconds)


def tally(statuses: Iterable[CheckStatus]) -> dict[str, int]:
    """How many of each status, the worst first; what there is none of is left out."""
    counts = Counter(statuses)
    return {status: counts[status] for status in WORST if counts[status]}


def in_words(counts: dict[str, int]) -> str:
    """``1 fail, 30 pass``."""
    return ", ".join(f"{number} {status}" for status, number in counts.items())


def sameness(outcomes: Iterable[CheckOutcome]) -> list[Sameness]:
    """The rows of the sameness table: those that block first, then those that differ, then the rest."""
    rows = [
        Sameness(shown, _effect(shown, outcome), outcome.code, outcome.check)
        for outcome in outcomes
        for shown in outcome.exhibits
        if isinstance(shown, Comparison)
    ]
    return sorted(rows, key=lambda row: ("blocks", "differs", "waived", "").index(row.effect))


def _effect(row: Comparison, outcome: CheckOutcome) -> str:
    """A difference blocks where its check failed: the operator may have lowered or waived that."""
    if row.same:
        return ""
    if outcome.status == "waived":
        return "waived"
    return "blocks" if row.level == "fail" and outcome.status == "fail" else "differs"


def matrices(outcomes: Iterable[CheckOutcome]) -> list[Matrix]:
    """What is drawn as heat maps."""
    return [shown for outcome in outcomes for shown in outcome.exhibits if isinstance(shown, Matrix)]


def measures(outcomes: Iterable[CheckOutcome]) -> list[Measure]:
    """Figures that were measured; one of an outcome for a node belongs to it."""
    return [shown for outcome in outcomes for shown in outcome.exhibits if isinstance(shown, Measure)]


def findings(outcomes: Iterable[CheckOutcome]) -> Iterator[Finding]:
    """All findings."""
    return (finding for outcome in outcomes for finding in outcome.findings)


def worst(statuses: Iterable[CheckStatus]) -> CheckStatus:
    """The worst of them; "pass" of none."""
    return min(statuses, key=WORST.index, default="pass")
