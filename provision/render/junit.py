"""``--junit FILE``: a run as JUnit's XML, for CI: a test suite for each node and one for the cluster, a case a check.

Written when the run ends, however it ends. A finding that fails is a ``failure``; what could not be judged, an
unreachable node and a task that broke are an ``error``; warnings and waived findings stand in ``system-out``, for they
fail nothing. There is no official schema: this keeps to what Jenkins, GitLab and Azure read in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import gmtime, strftime
from xml.etree import ElementTree as Xml

from provision.events import Checked, Event, NodeUnreachable, RunEnded, RunStarted, TaskEnded, TaskStarted
from provision.findings import CheckOutcome, Finding
from provision.render.plain_text import printable

CLUSTER = "cluster"
"""The suite of what concerns no single node."""


@dataclass(frozen=True, slots=True)
class Case:
    """A test case. ``result``: "", failure, error or skipped, with its message and text."""

    suite: str
    classname: str
    name: str
    seconds: float = 0.0
    result: str = ""
    message: str = ""
    text: str = ""
    output: str = ""


@dataclass(slots=True)
class _Seen:
    started: RunStarted | None = None
    at: float = 0.0
    cases: list[Case] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)
    modules: dict[str, str] = field(default_factory=dict)
    ended: RunEnded | None = None


class JUnit:
    """Collects a run and writes ``path`` at the end. Raises ``OSError`` where that can't be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = _Seen()

    def handle(self, event: Event) -> None:
        seen = self._seen
        match event:
            case RunStarted():
                seen.started, seen.at = event, event.at
            case Checked():
                seen.checked.add(event.task)
                seen.cases.extend(of_check(outcome) for outcome in event.outcomes)
            case NodeUnreachable():
                hint = f"remedy: {event.hint}" if event.hint else ""
                seen.cases.append(Case(event.node, "node", "connection", 0.0, "error", event.reason, hint))
            case TaskStarted():
                seen.modules[event.task] = event.module
            case TaskEnded():
                seen.cases.extend(_of_task(event, seen))
            case RunEnded():
                seen.ended = event
            case _:
                pass

    def close(self) -> None:
        self._path.write_bytes(document([*self._seen.cases, *_end(self._seen)], self._seen.started, self._seen.at))


def _end(seen: _Seen) -> Iterator[Case]:
    """A run that broke off, or failed for what is no case: nobody may take it for green."""
    if seen.ended is None:
        yield Case(CLUSTER, "run", "end", 0.0, "error", "the run broke off before its end")
    elif seen.ended.exit_code and not any(case.result in ("failure", "error") for case in seen.cases):
        yield Case(CLUSTER, "run", "end", 0.0, "error", seen.ended.summary or f"exit code {seen.ended.exit_code}")


def of_check(outcome: CheckOutcome) -> Case:
    """A check's outcome on a node, or of the cluster."""
    results = {"fail": "failure", "unknown": "error", "skipped": "skipped"}
    failing = [finding for finding in outcome.findings if finding.level == "fail"]
    others = [finding for finding in outcome.findings if finding.level != "fail"]
    message = "; ".join(finding.summary for finding in failing) or outcome.reason
    return Case(
        suite=outcome.node or CLUSTER,
        classname=outcome.code,
        name=outcome.check,
        seconds=outcome.seconds,
        result=results.get(outcome.status, ""),
        message=message,
        text="\n\n".join(_told(finding) for finding in failing),
        output="\n\n".join(_told(finding) for finding in others),
    )


def _of_task(event: TaskEnded, seen: _Seen) -> Iterator[Case]:
    """A task on a node; not one of checks, which are cases of their own, nor one that only looks."""
    if event.task in seen.checked or seen.modules.get(event.task) == "facts":
        return
    result = {"failed": "error", "unreachable": "error", "unknown": "error", "skipped": "skipped"}.get(event.status, "")
    parts = (event.message, f"remedy: {event.hint}" if event.hint else "", event.evidence)
    text = "\n".join(part for part in parts if part)
    output = "" if result else event.message
    yield Case(
        event.node or CLUSTER, "task", event.task, event.seconds, result, event.message, text if result else "", output
    )


def _told(finding: Finding) -> str:
    where = f"{finding.node}: " if finding.node else ""
    level = "waived" if finding.waived else finding.level
    pairs = (("observed", finding.observed), ("expected", finding.expected), ("remedy", finding.remedy))
    lines = [f"{level} {finding.code} {where}{finding.summary}", *(f"  {name}: {text}" for name, text in pairs if text)]
    return "\n".join([*lines, f"  waived: {finding.waived}"] if finding.waived else lines)


# ---- the document


def document(cases: Sequence[Case], started: RunStarted | None, at: float) -> bytes:
    """The XML of these cases: suites in the order of the inventory, the cluster's first."""
    root = Xml.Element("testsuites", name=_fit(f"qnext-provision {started.command}" if started else "qnext-provision"))
    by_suite: dict[str, list[Case]] = {name: [] for name in (CLUSTER, *(started.nodes if started else ()))}
    for case in cases:
        by_suite.setdefault(case.suite, []).append(case)
    for name, members in by_suite.items():
        _suite(root, name, members, at)
    _totals(root, cases)
    Xml.indent(root)
    return b"<?xml version='1.0' encoding='utf-8'?>\n" + Xml.tostring(root, encoding="unicode").encode() + b"\n"


def _suite(root: Xml.Element, name: str, cases: Sequence[Case], at: float) -> None:
    suite = Xml.SubElement(root, "testsuite", name=_fit(name))
    _totals(suite, cases)
    suite.set("skipped", str(sum(case.result == "skipped" for case in cases)))
    suite.set("timestamp", strftime("%Y-%m-%dT%H:%M:%S", gmtime(at)))
    for case in cases:
        _case(suite, case)


def _totals(element: Xml.Element, cases: Sequence[Case]) -> None:
    element.set("tests", str(len(cases)))
    element.set("failures", str(sum(case.result == "failure" for case in cases)))
    element.set("errors", str(sum(case.result == "error" for case in cases)))
    element.set("time", f"{sum(case.seconds for case in cases):.3f}")


def _case(suite: Xml.Element, case: Case) -> None:
    made = Xml.SubElement(suite, "testcase", classname=_fit(case.classname), name=_fit(case.name))
    made.set("time", f"{case.seconds:.3f}")
    if case.result:
        result = Xml.SubElement(made, case.result, message=_fit(case.message))
        if case.result != "skipped":
            result.set("type", case.classname)
        result.text = _fit(case.text) or None
    if case.output:
        Xml.SubElement(made, "system-out").text = _fit(case.output)


def _fit(text: str) -> str:
    return printable(text)
