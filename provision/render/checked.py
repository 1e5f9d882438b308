"""What checks came to, in lines: what is wrong and what to do first, then what nodes disagree on, maps and figures.

``up`` tells only findings and how many checks there were; ``check`` (and ``-v``) gives the whole account. Nothing that
was found is left out: what the operator waived has its own lines, with the reason and how long it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from provision.findings import CheckOutcome, Measure
from provision.render.account import (
    Entry,
    Sameness,
    Told,
    Verdict,
    entries,
    in_words,
    matrices,
    measures,
    sameness,
    tally,
    verdicts,
)
from provision.render.account import mendable as is_mendable
from provision.render.heat import heat_map
from provision.render.lines import COLUMN, Line, count, figure, grouped, headline, pair, remedy, where

PROGRAM = "qnext-provision"
_GAP = 2
_NAMES = 28
"""Columns that the names of nodes may have beside a value."""


def found(told: Iterable[Told], order: Sequence[str], *, verbose: int = 0, explain: bool = False) -> Iterator[Line]:
    """Findings, failures first, each with what was seen, what was expected, and what to do. ``explain`` says where to
    read more, once; ``verbose`` shows what is only for information too."""
    shown = [entry for entry in entries(told, order) if entry.level in ("fail", "warn", "waived") or verbose]
    for entry in shown:
        yield from _entry(entry, order)
    codes = list(dict.fromkeys(entry.code for entry in shown if entry.code and entry.level in ("fail", "warn")))
    if explain and codes:
        yield pair("more", f"{PROGRAM} explain {codes[0]}", "command")
        yield from [pair("", f"or {', '.join(codes[1:])}")] if codes[1:] else []


def _entry(entry: Entry, order: Sequence[str]) -> Iterator[Line]:
    about = f"{entry.code} {where(entry.nodes, order)}".strip()
    yield headline(entry.level, ": ".join(part for part in (about, entry.summary) if part))
    if entry.waived:
        yield pair("waived", entry.waived)
        return
    yield from _observed(entry, order)
    if entry.expected:
        yield pair("expected", entry.expected)
    if entry.remedy:
        yield remedy(entry.remedy)


def _observed(entry: Entry, order: Sequence[str]) -> Iterator[Line]:
    """What was seen; with the nodes where they saw different things."""
    for number, (text, nodes) in enumerate(entry.observed):
        value = f"{text} ({where(nodes, order)})" if len(entry.observed) > 1 else text
        yield pair("" if number else "observed", value)


def mendable(told: Iterable[Told], order: Sequence[str]) -> Iterator[Line]:
    """What ``check --fix`` would do, once, and for which check."""
    fixes = grouped((finding.node, (finding.code, finding.fix)) for finding in told if is_mendable(finding))
    for number, ((code, fix), nodes) in enumerate(fixes):
        about = f"{code} {where(dict.fromkeys(nodes), order)}".strip()
        word = f"{'':<{COLUMN}}" if number else f"{'mendable':<{COLUMN}}"
        yield Line("note", f"{word}{about}: `check --fix` would {fix}")


def counted(outcomes: Sequence[CheckOutcome], kind: str = "note") -> Line:
    """How many checks there were and how they stand, in one line."""
    made = verdicts(outcomes)
    nodes = {outcome.node for outcome in outcomes if outcome.node}
    over = f" on {count(len(nodes), 'node')}" if nodes else ""
    return Line(kind, f"{'checks':<{COLUMN}}{len(made)}{over}: {in_words(tally(v.status for v in made))}")


def account(outcomes: Sequence[CheckOutcome], order: Sequence[str], *, width: int, verbose: int = 0) -> Iterator[Line]:
    """All but the findings: what passed and what could not be judged, what differs, maps, figures."""
    made = verdicts(outcomes, order)
    yield from _unjudged(made, "unknown", order)
    yield from _unjudged(made, "skipped", order)
    yield from _names("passed", [verdict for verdict in made if verdict.status == "pass"], width)
    yield from _sameness(sameness(outcomes), order, width, verbose)
    for matrix in matrices(outcomes):
        yield from heat_map(matrix, width)
    yield from _measures(measures(outcomes), order)
    yield counted(outcomes, "title")


def _names(word: str, made: Sequence[Verdict], width: int) -> Iterator[Line]:
    """Codes and names in columns."""
    names = [f"{verdict.code} {verdict.check}" for verdict in made]
    if not names:
        return
    cell = max(map(len, names)) + _GAP
    many = max((width - COLUMN + _GAP) // cell, 1)
    rows = -(-len(names) // many)
    for row in range(rows):
        text = "".join(f"{name:<{cell}}" for name in names[row::rows]).rstrip()
        yield Line("ok", f"{'' if row else word:<{COLUMN}}{text}")


def _unjudged(made: Sequence[Verdict], status: str, order: Sequence[str]) -> Iterator[Line]:
    """The checks with this status on some node, those with the same reason on one line: what passed on the others was
    not judged there."""
    reasons = [
        (f"{verdict.code} {verdict.check}", (reason, nodes if len(verdict.parts) > 1 else ()))
        for verdict in made
        for part, reason, nodes in verdict.parts
        if part == status
    ]
    for (reason, nodes), names in grouped(reasons):
        told = " ".join(part for part in (", ".join(names), f"({where(nodes, order)})" if nodes else "") if part)
        yield headline(status, f"{told}: {reason}" if reason else told)


# ---- what nodes should agree on


def _sameness(rows: Sequence[Sameness], order: Sequence[str], width: int, verbose: int) -> Iterator[Line]:
    if not rows:
        return
    differing = [row for row in rows if row.effect]
    more = "" if verbose or len(differing) == len(rows) else "; -v shows all"
    differ = f"{len(differing)} differ{'s' * (len(differing) == 1)}" if differing else "all agree"
    yield Line("title", f"{'same':<{COLUMN}}{count(len(rows), 'thing')} compared, {differ}{more}")
    for row in differing:
        yield from _difference(row, order, width)
    if verbose:
        for row in rows:
            if not row.effect:
                yield Line("ok", f"  {'agree':<{COLUMN - 2}}{row.row.subject}: {_value(row)}")


def _value(row: Sameness) -> str:
    return row.row.values[0][0] if row.row.values else "not known of any node"


def _difference(row: Sameness, order: Sequence[str], width: int) -> Iterator[Line]:
    """A subject and its values, the odd nodes' marked."""
    kind = {"blocks": "fail", "differs": "warn", "waived": "waived"}[row.effect]
    about = "" if row.row.majority else ": no value that most nodes have"
    yield Line(kind, f"  {row.effect:<{COLUMN - 2}}{row.code} {row.row.subject}{about}")
    values = [(text, where(nodes, order), bool(row.odd.intersection(nodes))) for text, nodes in row.row.values]
    longest = min(max(len(text) for text, _, _ in values), max(width - COLUMN - _NAMES, _GAP))
    for text, names, odd in values:
        mark = ">" if odd and row.row.majority is not None else " "
        tone, line = (kind if mark == ">" else "detail"), f"{mark:>{COLUMN}} {text:<{longest}}  {names}"
        if len(line) <= width:
            yield Line(tone, line)
        else:
            yield from (Line(tone, f"{mark:>{COLUMN}} {text}"), Line(tone, f"{'':>{COLUMN}}   {names}"))


# ---- figures


def _measures(made: Sequence[Measure], order: Sequence[str]) -> Iterator[Line]:
    """Figures by what they measure; nodes with the same one share a line."""
    if made:
        yield Line("title", "measured")
    for (name, unit), members in _by_name(made):
        figures = grouped((measure.node, (measure.value, measure.note)) for measure in members)
        for number, ((value, note), nodes) in enumerate(sorted(figures, key=lambda item: item[0][0])):
            told = [f"{figure(value)} {unit}".strip(), where(nodes, order), f"({note})" if note else ""]
            lead = "" if number else f"{name}: "
            yield Line("detail", f"  {lead or ' ' * (len(name) + 2)}{'  '.join(part for part in told if part)}")


def _by_name(made: Iterable[Measure]) -> Iterator[tuple[tuple[str, str], list[Measure]]]:
    groups: dict[tuple[str, str], list[Measure]] = {}
    for measure in made:
        groups.setdefault((measure.name, measure.unit), []).append(measure)
    yield from groups.items()
