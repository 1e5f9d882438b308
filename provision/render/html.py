"""``--html FILE``: a run as one page that can be mailed, printed and kept: no script, nothing loaded from elsewhere.

The page is written when the run ends, however it ends: of a run that broke off it says so. Every text is escaped by the
template, and stripped of what no page may hold; secrets were masked before anything gets here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import localtime, strftime
from typing import TYPE_CHECKING

from provision import __version__
from provision.events import (
    Checked,
    Event,
    Found,
    NodeConnected,
    NodeUnreachable,
    Note,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskStarted,
)
from provision.findings import Cell, CheckOutcome, CheckStatus, Matrix, Measure
from provision.render import heat
from provision.render.account import (
    WORST,
    entries,
    matrices,
    measures,
    repeats,
    sameness,
    tally,
    verdicts,
    worst,
)
from provision.render.fold import fold
from provision.render.lines import count, duration, figure, grouped, where
from provision.render.plain_text import printable
from provision.resources import shipped

if TYPE_CHECKING:
    from markupsafe import Markup

TEMPLATE = "page.html.j2"
MOST_COLUMNS = 256
"""Wider matrices are not drawn cell by cell."""
MOST_FIGURES = 20
"""Wider ones are drawn without figures: a pointer over a cell tells them."""
_STATUS = {0: "done", 3: "checks failed", 4: "nodes unreachable", 5: "locked", 6: "drift", 130: "interrupted"}


@dataclass(frozen=True, slots=True)
class NodeRow:
    """What the overview tells of a node."""

    name: str
    worst: str
    counts: dict[str, int]
    note: str


@dataclass(frozen=True, slots=True)
class Square:
    """A cell of a heat map as the page draws it."""

    kind: str
    text: str
    title: str


@dataclass(frozen=True, slots=True)
class Map:
    """A heat map as the page draws it: rows of a name and squares; none where it is too large. ``shaded``: from what to
    what its shades go, where it has some."""

    title: str
    words: str
    dead_ends: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Square, ...]], ...]
    legend: tuple[tuple[str, str], ...]
    narrow: bool
    shaded: str


@dataclass(slots=True)
class _Seen:
    """What a run has told so far."""

    started: RunStarted | None = None
    ended: RunEnded | None = None
    connected: dict[str, float] = field(default_factory=dict)
    unreachable: dict[str, NodeUnreachable] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    outcomes: list[CheckOutcome] = field(default_factory=list)
    modules: dict[str, str] = field(default_factory=dict)
    tasks: list[TaskEnded] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    first: float = 0.0
    last: float = 0.0


class HtmlReport:
    """Collects a run and writes its page to ``path`` at the end. Raises ``OSError`` where that can't be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _Seen()

    def handle(self, event: Event) -> None:
        seen = self._seen
        seen.first, seen.last = seen.first or event.at, event.at
        match event:
            case RunStarted():
                seen.started = event
            case RunEnded():
                seen.ended = event
            case NodeConnected():
                seen.connected[event.node] = event.seconds
            case NodeUnreachable():
                seen.unreachable[event.node] = event
            case Found():
                seen.found.append(event)
            case Checked():
                seen.outcomes.extend(event.outcomes)
            case TaskStarted():
                seen.modules[event.task] = event.module
            case TaskEnded():
                seen.tasks.append(event)
            case Note():
                seen.notes.append(event)
            case _:
                pass

    def close(self) -> None:
        self._path.write_text(page(self._seen), encoding="utf-8", errors="replace")


def page(seen: _Seen) -> str:
    """The page of what was seen."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(shipped("templates") / "report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(fold=fold, duration=duration, moment=_moment, code=_code)
    return printable(environment.get_template(TEMPLATE).render(_values(seen)))


def _values(seen: _Seen) -> dict[str, object]:
    """What the template shows, by name."""
    nodes = seen.started.nodes if seen.started else ()
    made = verdicts(seen.outcomes, nodes)
    told, rows = entries(seen.found, nodes), sameness(seen.outcomes)
    counts = tally(verdict.status for verdict in made)
    return {
        "version": __version__,
        "run": seen.started or RunStarted(run="", command="", inventory="", nodes=(), mode="apply", directory=""),
        "end": seen.ended,
        "verdict": _verdict(seen, counts),
        "mood": _mood(seen, counts),
        "began": seen.first,
        "seconds": seen.ended.seconds if seen.ended else seen.last - seen.first,
        "checks": made,
        "counts": counts,
        "order": WORST,
        "entries": told,
        "nodes": list(_overview(seen, nodes)),
        "unreachable": list(seen.unreachable.values()),
        "failures": list(_failures(seen, nodes)),
        "differing": [row for row in rows if row.effect],
        "agreeing": [row for row in rows if not row.effect],
        "maps": [_map(matrix) for matrix in matrices(seen.outcomes)],
        "measures": _figures(measures(seen.outcomes), nodes),
        "tasks": list(_tasks(seen, nodes)),
        "notes": [note for note in seen.notes if note.level == "warn"],
        "where": _placed(nodes),
    }


def _placed(order: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """Nodes as the page names them: "all nodes", ranges, or "the cluster"."""

    def placed(nodes: Sequence[str]) -> str:
        if order and len(order) > 1 and set(nodes) >= set(order):
            return f"all {count(len(order), 'node')}"
        return where(nodes, order) or "the cluster"

    return placed


def _verdict(seen: _Seen, counts: dict[str, int]) -> str:
    """How the run ended, in a few words."""
    if seen.ended is None:
        return "did not end: interrupted, or still running when this page was written"
    if seen.ended.exit_code == 0 and counts:
        return "passed" if not counts.get("warn") else f"passed with {count(counts['warn'], 'warning')}"
    if seen.ended.exit_code == 3 and seen.started and seen.started.command == "check":
        return "failed"
    return _STATUS.get(seen.ended.exit_code, "failed")


def _mood(seen: _Seen, counts: dict[str, int]) -> str:
    """The colour of the verdict: good, fair or bad."""
    if seen.ended is None or seen.ended.exit_code:
        return "bad"
    return "fair" if counts.get("warn") or counts.get("unknown") else "good"


def _overview(seen: _Seen, nodes: Sequence[str]) -> Iterator[NodeRow]:
    """A row for each node: its own checks, and findings of the cluster's checks that name it."""
    own: dict[str, list[CheckStatus]] = {node: [] for node in nodes}
    for outcome in seen.outcomes:
        own.setdefault(outcome.node, []).append(outcome.status)
        named = {finding.node: finding for finding in outcome.findings if not outcome.node}
        for node, finding in named.items():
            own.setdefault(node, []).append(_as_status(finding.level, finding.waived))
    own.pop("", None)
    for node, statuses in own.items():
        if lost := seen.unreachable.get(node):
            yield NodeRow(node, "unreachable", {}, lost.reason)
        else:
            status = worst(statuses) if statuses else "-"
            seconds = seen.connected.get(node)
            yield NodeRow(node, status, tally(statuses), f"connected in {duration(seconds)}" if seconds else "")


def _as_status(level: str, waived: str) -> CheckStatus:
    if waived:
        return "waived"
    return "fail" if level == "fail" else "warn" if level == "warn" else "pass"


def _failures(seen: _Seen, nodes: Sequence[str]) -> Iterator[tuple[TaskEnded, str]]:
    """Tasks that failed for something other than a finding, with their nodes."""
    ended = [task for task in seen.tasks if task.status in ("failed", "unknown")]
    bad = [task for task in ended if not repeats(task.message, seen.found)]
    for key, names in grouped((task.node, (task.task, task.message)) for task in bad):
        first = next(task for task in bad if (task.task, task.message) == key)
        yield first, where(names, nodes)


def _tasks(seen: _Seen, nodes: Sequence[str]) -> Iterator[tuple[str, str, str, str, float]]:
    """All tasks: task, status, nodes, message, seconds."""
    rows = [(task.node, (task.task, task.status, task.message)) for task in seen.tasks]
    seconds: dict[str, float] = {}
    for task in seen.tasks:
        seconds[task.task] = max(seconds.get(task.task, 0.0), task.seconds)
    for (name, status, message), names in grouped(rows):
        yield name, status, where(names, nodes), message, seconds[name]


# ---- maps and figures


def _map(matrix: Matrix) -> Map:
    low, high = limits = heat.bounds(matrix)
    states = [state for state in heat.MARKS if any(cell.state == state for row in matrix.cells for cell in row)]
    drawn = matrix.rows if len(matrix.columns) <= MOST_COLUMNS else ()
    return Map(
        matrix.title,
        heat.in_words(matrix),
        tuple(heat.dead_ends(matrix)),
        matrix.columns,
        tuple((name, _squares(name, row, matrix, limits)) for name, row in zip(drawn, matrix.cells, strict=False)),
        tuple((("heat0" if state == "ok" else state), heat.WORDS[state]) for state in states),
        len(matrix.columns) > MOST_FIGURES,
        f"{figure(low)} to {figure(high)} {matrix.unit}" if heat.uneven(low, high) else "",
    )


def _squares(name: str, row: Sequence[Cell], matrix: Matrix, limits: tuple[float, float]) -> tuple[Square, ...]:
    narrow = len(matrix.columns) > MOST_FIGURES
    return tuple(
        Square(
            heat.shade(cell, *limits),
            heat.MARKS[cell.state] if cell.state != "ok" and (narrow or cell.value is None) else _short(cell, narrow),
            _title(name, column, cell, matrix.unit),
        )
        for column, cell in zip(matrix.columns, row, strict=True)
    )


def _short(cell: Cell, narrow: bool) -> str:
    return "" if narrow or cell.value is None else figure(cell.value)


def _title(row: str, column: str, cell: Cell, unit: str) -> str:
    """What a pointer over the cell tells."""
    parts = [heat.WORDS[cell.state], f"{figure(cell.value)} {unit}" if cell.value is not None else "", cell.text]
    return f"{row} to {column}: {', '.join(part for part in parts if part)}"


def _figures(made: Sequence[Measure], nodes: Sequence[str]) -> list[tuple[str, str, str, str, float]]:
    """Name, figure with unit, nodes, note, and the share of the greatest of that name."""
    greatest: dict[tuple[str, str], float] = {}
    for measure in made:
        key = (measure.name, measure.unit)
        greatest[key] = max(greatest.get(key, 0.0), abs(measure.value))
    rows = [(measure.node, (measure.name, measure.unit, measure.value, measure.note)) for measure in made]
    return [
        (name, f"{figure(value)} {unit}", where(names, nodes), note, abs(value) / (greatest[name, unit] or 1.0))
        for (name, unit, value, note), names in grouped(rows)
    ]


def _code(text: str) -> Markup:
    """A text whose words in backticks are commands."""
    from markupsafe import Markup, escape

    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    marked = (Markup("<code>{}</code>").format(part) if odd % 2 else escape(part) for odd, part in enumerate(parts))
    return Markup("").join(marked)


def _moment(at: float) -> str:
    """A time as an operator writes it, with its zone."""
    return strftime("%Y-%m-%d %H:%M:%S %z", localtime(at)) if at else "-"
