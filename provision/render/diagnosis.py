"""A diagnosis for the terminal, as somebody reads it at three in the morning: the sentence, its proof, what to do.

Lines of logs are shown as they are, but for the stamps before them, and are cut to the terminal's width around the
words that decide.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from provision.diagnose.diagnosis import Diagnosis, Odd, Proof, Step
from provision.render.fold import fold

FORMAT = 1
"""Of the JSON document."""

SHOWN = 6
"""Steps, and further proofs, that are shown without ``-v``."""
AROUND = 3
"""Lines of an excerpt before and after the decisive one."""
_COLUMN = 12
_LEAST = 40

_BOLD, _DIM, _RED, _GREEN, _YELLOW, _CYAN = "1", "2", "31", "32", "33", "36"

_CONFIDENCE = {
    "high": "high: the line itself says what failed",
    "medium": "medium: this is the earliest error, and it fits; read the lines around it",
    "low": "low: nothing says more; take it as where to begin reading",
}
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ")
_HEAD = re.compile(
    r"(?:\([\w.:+-]+(?: pid=\d+)?(?:, ip=[\d.]+)?\)\s*)*(?:(?:DEBUG|INFO|WARNING|ERROR|CRITICAL)\s+"
    r"\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\s+(?:\[[^\]]*\]\s?)?)?"
)
_DECISIVE = re.compile(r"[A-Za-z_.]*(?:Error|Exception)\b|\b(?:E[IJLZ]\d{4}|ERR\d{5})\b|(?i:\berror\b|\bfail)")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class _Page:
    """How it is shown. ``width``: 0 where lines may have any length."""

    colour: bool
    width: int
    verbose: bool
    id: str

    def paint(self, text: str, *codes: str) -> str:
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self.colour and text else text

    def words(self, name: str, text: str, *codes: str) -> Iterator[str]:
        """A named text, in as many lines as it takes."""
        lines = textwrap.wrap(text, max(self.width - _COLUMN, _LEAST)) if self.width else [text]
        for number, line in enumerate(lines):
            yield self.named(name if number == 0 else "", self.paint(line, *codes))

    def named(self, name: str, text: str) -> str:
        return (self.paint(f"{name:<{_COLUMN}}", _DIM) if name else " " * _COLUMN) + text

    def quote(self, before: str, line: str, *codes: str) -> str:
        """A line of a log after ``before``, cut to what is left of the width."""
        text = _clean(line) if self.verbose else _STAMP.sub("", _clean(line), count=1)
        if self.width:
            text = fit(text, max(self.width - len(before), _LEAST), self.id)
        return before + self.paint(text, *codes)


def lines(diagnosis: Diagnosis, *, colour: bool, width: int = 0, verbose: bool = False, report: str = "") -> list[str]:
    """What an operator reads. ``width`` of the terminal; 0: lines are never cut or wrapped. ``report``: the command
    that makes a report of a failure nobody knows."""
    page = _Page(colour, width, verbose, diagnosis.id)
    parts = (
        _sentence(page, diagnosis),
        _proof(page, diagnosis.proof),
        _earliest(page, diagnosis.earliest),
        _followed(page, diagnosis.chain),
        _odd(page, "silent", diagnosis.silent),
        _odd(page, "late", diagnosis.late),
        _missing(page, diagnosis),
        _todo(page, diagnosis, report),
    )
    return [line for part in parts for line in part]


def as_data(diagnosis: Diagnosis) -> dict[str, object]:
    """What ``--json`` gives: every part of the diagnosis under its own name (docs/diagnose.md)."""
    return {"format": FORMAT, **asdict(diagnosis)}


def _sentence(page: _Page, diagnosis: Diagnosis) -> Iterator[str]:
    codes = (_BOLD, _RED) if diagnosis.failed else (_BOLD, _GREEN)
    text = _clean(diagnosis.sentence)
    for line in textwrap.wrap(text, max(page.width, _LEAST)) if page.width else [text]:
        yield page.paint(line, *codes)


def _proof(page: _Page, proof: Sequence[Proof]) -> Iterator[str]:
    if not proof:
        return
    yield ""
    yield page.paint("proof", _BOLD)
    yield from _first(page, proof[0])
    further = [one for one in proof[1:] if one.line.strip()]
    shown = further if page.verbose else further[:SHOWN]
    yield from _rows(page, shown)
    yield from _more(page, len(further) - len(shown))


def _first(page: _Page, proof: Proof) -> Iterator[str]:
    """The decisive line among those around it."""
    where = " ".join(part for part in (proof.node, proof.process, proof.time) if part)
    inside = f" ({proof.worker})" if proof.worker else ""
    log = f" [{proof.source}]" if proof.source != "stdout" else ""
    place = f"  {proof.path}{f':{proof.number}' if proof.number else ''}" if proof.path and page.verbose else ""
    yield f"  {page.paint(where, _CYAN)}{inside}{log}{page.paint(place, _DIM)}"
    for line, decisive in _excerpt(proof, None if page.verbose else AROUND):
        yield page.quote("  > | " if decisive else "    | ", line, *((_BOLD, _RED) if decisive else (_DIM,)))


def _excerpt(proof: Proof, around: int | None) -> list[tuple[str, bool]]:
    """The lines, each with whether it is the one that proves. Without an excerpt it stands alone."""
    found = [line for line in proof.excerpt.splitlines() if line.strip()]
    own = proof.line.strip()
    at = next((n for n, line in enumerate(found) if own and (own in line or line.strip() in own)), None)
    if at is None:
        return [(line, False) for line in found] + ([(own, True)] if own else [])
    first, last = (0, len(found)) if around is None else (max(at - around, 0), at + around + 1)
    return [(line, n == at) for n, line in enumerate(found)][first:last]


def _rows(page: _Page, proof: Sequence[Proof]) -> Iterator[str]:
    """``node process time | line``, in columns."""
    heads = [" ".join(part for part in (one.node, one.process, one.time) if part) for one in proof]
    wide = max(map(len, heads), default=0)
    for head, one in zip(heads, proof, strict=True):
        yield page.quote(f"  {head:<{wide}} | ", one.line)


def _earliest(page: _Page, earliest: Sequence[Proof]) -> Iterator[str]:
    if earliest:
        yield ""
        yield page.paint("the earliest error of each", _BOLD)
        shown = earliest if page.verbose else earliest[: 2 * SHOWN]
        yield from _rows(page, shown)
        yield from _more(page, len(earliest) - len(shown))


def _followed(page: _Page, chain: Sequence[Step]) -> Iterator[str]:
    if not chain:
        return
    yield ""
    yield page.paint("what followed", _BOLD)
    shown = chain if page.verbose else chain[:SHOWN]
    heads = [f"{_after(step):>9}  {_who(step)}" for step in shown]
    wide = max(map(len, heads))
    for head, step in zip(heads, shown, strict=True):
        yield page.quote(f"{head:<{wide}} | ", step.title or step.line)
        if page.verbose and step.line:
            yield page.quote(f"{'':<{wide}} | ", step.line, _DIM)
    yield from _more(page, len(chain) - len(shown))


def _who(step: Step | Odd) -> str:
    """Files from anywhere may not tell their node, and a node's own log has no process."""
    return " on ".join(part for part in (step.process, step.node) if part)


def _after(step: Step) -> str:
    return step.time if step.after is None else f"{step.after:+.1f} s"


def _more(page: _Page, count: int) -> Iterator[str]:
    if count > 0:
        yield page.paint(f"  … and {count} more (-v shows them)", _DIM)


def _odd(page: _Page, name: str, found: Sequence[Odd]) -> Iterator[str]:
    """Equal reasons of several processes in one line."""
    by_reason: dict[str, list[str]] = {}
    for one in found:
        by_reason.setdefault(one.why, []).append(_who(one))
    if by_reason:
        yield ""
    for number, (why, names) in enumerate(by_reason.items()):
        yield from page.words(name if number == 0 else "", f"{_list(page, names)}: {_clean(why)}", _YELLOW)


def _list(page: _Page, names: Sequence[str]) -> str:
    if page.verbose or len(names) <= SHOWN:
        return ", ".join(names)
    return f"{', '.join(names[:SHOWN])} and {len(names) - SHOWN} more"


def _missing(page: _Page, diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.missing or diagnosis.offsets:
        yield ""
    if diagnosis.missing:
        nodes = [name for name in diagnosis.missing if " " not in name]
        others = [name for name in diagnosis.missing if " " in name]
        text = ", ".join([*([fold(nodes)] if nodes else []), *([_list(page, others)] if others else [])])
        yield from page.words("missing", f"no evidence of {text}", _YELLOW)
    if diagnosis.offsets:
        text = ", ".join(f"{node} {seconds:+.1f} s" for node, seconds in diagnosis.offsets.items())
        yield from page.words("clocks", f"corrected for clocks that differ: {text}")


def _todo(page: _Page, diagnosis: Diagnosis, report: str) -> Iterator[str]:
    if not diagnosis.failed:
        return
    yield ""
    for name, text in (("why", diagnosis.explanation), ("remedy", diagnosis.remedy)):
        if text:
            yield from page.words(name, " ".join(_clean(text).split()), *((_GREEN,) if name == "remedy" else ()))
    asked = [*diagnosis.commands, *([report] if report and not diagnosis.known else [])]
    for number, command in enumerate(dict.fromkeys(asked)):
        yield page.named("run" if number == 0 else "", page.paint(command, _BOLD))
    if diagnosis.evidence:
        yield from page.words("fetch", "; ".join(diagnosis.evidence))
    sure = _CONFIDENCE[diagnosis.confidence]
    yield from page.words("confidence", sure, _DIM)
    known = ", ".join(part for part in (diagnosis.id, f"[{diagnosis.source}]" if diagnosis.source else "") if part)
    if known:
        yield from page.words("known as", known, _DIM)


# ---- lines of logs


def _clean(text: str) -> str:
    """Without colours and control characters of somebody else: they could paint over what stands above."""
    return _CONTROL.sub("", text.replace("\t", "    "))


def fit(line: str, width: int, id: str = "") -> str:
    """``line`` in ``width`` characters: without what stands before the text where that is enough, else cut around the
    words that decide, which are those that the catalogue's entry ``id`` looks for."""
    if len(line) <= width:
        return line
    line = _STAMP.sub("", line, count=1)
    if len(line) <= width:
        return line
    head = _HEAD.match(line)
    line = (line[head.end() :] if head else "") or line
    if len(line) <= width:
        return line
    start, end = _decisive(line, id)
    if end <= width - 1:
        return line[: width - 1] + "…"
    first = max(min(start - (width - (end - start)) // 2, len(line) - width + 1), 1)
    first = min(first, start) if end - start > width - 2 else first
    piece = "…" + line[first:]
    return piece if len(piece) <= width else piece[: width - 1] + "…"


def _decisive(line: str, id: str) -> tuple[int, int]:
    from provision.diagnose.catalogue import entries

    entry = next((entry for entry in entries() if entry.id == id), None) if id else None
    found = (entry.signature.search(line) if entry else None) or _DECISIVE.search(line)
    return found.span() if found else (0, 0)
