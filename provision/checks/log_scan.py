"""The servers' logs hold no errors: neither HCCL, driver and memory codes nor what the failure catalogue knows.

A server may answer while a link fails and retries, or a rank is about to time out; its log says so first. The newest
lines of every process are searched; equal errors are told once a process, with their number and the newest line. What
the catalogue knows as harmless, what clients did wrong, and our own questions don't count [domain 12, 14.4].
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from provision.checks import serving
from provision.checks.base import Finding, Shown
from provision.checks.support import look
from provision.diagnose.catalogue import Entry, match
from provision.diagnose.logline import CALM, Line, parse, shown_time
from provision.facts.base import Fact
from provision.facts.logs import LogTails
from provision.inventory.model import Settings
from provision.node import Cluster, Node

CODE = "P06"
LEVEL = "warn"
SCOPE = "launched"

LINES = 5000
"""Newest lines of each process that are searched on its node."""

MOST = 5
"""Errors told of each process: the newest ones."""

CODES = r"E[1A-Z][0-9]{4}|ERR[0-9]{5}"
"""Codes of HCCL (EI, EJ), of memory and streams (EL), of CANN's parts (EZ9999, E19999) and of torch_npu (ERR)
[domain 12]."""

WANTED = (
    rf"\b({CODES})\b|(\b|[0-9]m)(ERROR|CRITICAL|FATAL)\b|\[ERROR\]|[A-Za-z]+(Error|Exception)\b|[Tt]ime(d )?out|"
    "out of memory|died|[Aa]ddress already in use"
)
"""What a line must have to leave its node: coarser than the catalogue, finer than a log. A level may follow the escape
sequence of its colour (vllm-router)."""

_CODE = re.compile(rf"\b(?:{CODES})\b")
_HARMLESS = re.compile(r"qnext-no-such-model|\b40[0-9] (?:Bad Request|Not Found|Unauthorized)\b")
_INSIDE = re.compile(r"\s|Traceback \(most|The above exception|During handling|$")
"""A traceback's lines but for its last one, which names the error."""

_VARIES = re.compile(r"0x[0-9a-fA-F]+|\d+")


@dataclass(frozen=True, slots=True)
class _Error:
    """A line that tells of an error; ``kind`` is equal for equal errors."""

    kind: str
    line: Line
    entry: Entry | None


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (*serving.facts(settings), _tails(settings))


def _tails(settings: Settings) -> LogTails:
    return LogTails(settings.cluster, LINES, WANTED)


def run(cluster: Cluster) -> Iterable[Shown]:
    for node in cluster.nodes:
        for process, text in look(node, _tails(node.settings)).tails.items():
            yield from _told(node, process, list(errors(text)))


def errors(text: str) -> Iterator[_Error]:
    """The lines of a log that tell of errors, in order."""
    for line in parse(text):
        entry = match(line.raw, calm=line.level in CALM)
        if _HARMLESS.search(line.raw) or (entry and (entry.role == "noise" or entry.scope == "client")):
            continue
        code = _CODE.search(line.raw)
        loud = line.level in ("ERROR", "CRITICAL") and not _INSIDE.match(line.text)
        known = entry is not None and line.level not in (*CALM, "WARNING")
        if (code and line.level not in CALM) or loud or known:
            kind = entry.id if entry else code[0] if code else _VARIES.sub("#", line.text.strip())[:80]
            yield _Error(kind, line, entry)


def _told(node: Node, process: str, found: list[_Error]) -> Iterator[Finding]:
    """One finding a kind: causes before their consequences, of which newer ones first."""
    by_kind: dict[str, list[_Error]] = {}
    for error in found:
        by_kind.setdefault(error.kind, []).append(error)
    known = [same for same in by_kind.values() if same[-1].entry and same[-1].entry.role != "consequence"]
    groups = known or list(by_kind.values())
    for same in sorted(groups, key=lambda group: -group[-1].line.number)[:MOST]:
        yield _finding(node, process, same)


def _finding(node: Node, process: str, same: list[_Error]) -> Finding:
    last = same[-1]
    title = last.entry.title if last.entry else f"an error: {last.line.text.strip()[:120]}"
    times = f", {len(same)} times" if len(same) > 1 else ""
    when = f", last at {shown_time(last.line.at)}" if last.line.at is not None else ""
    return Finding(
        f"the log of {process} tells of {title}{times}{when}",
        last.entry.remedy if last.entry else f"`qnext-provision logs` shows what stands around it in {process}'s log",
        node=node.name,
        expected="no errors",
        observed=last.line.raw.strip()[:300],
        source=last.entry.source if last.entry else "",
    )
