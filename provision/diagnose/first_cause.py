"""The first cause of logs alone, without anything else that is known of a cluster: ``examine`` in short."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from provision.diagnose.diagnosis import Confidence, Diagnosis, Evidence, ProcessLog, Step
from provision.diagnose.examine import examine
from provision.diagnose.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Cause:
    """The first cause. ``line`` is "" where no line tells; ``id`` is "" where the catalogue doesn't know it.

    ``worker`` is the process inside the container. ``followers``: what the other processes said because of it.
    """

    node: str
    process: str
    line: str
    time: str
    title: str
    explanation: str
    remedy: str
    confidence: Confidence
    followers: tuple[str, ...] = ()
    id: str = ""
    worker: str = ""
    excerpt: str = ""
    source: str = ""

    def summary(self) -> str:
        """One line: who, what."""
        return f"{self.process} on {self.node}: {self.title}"


def first_cause(logs: Sequence[ProcessLog]) -> Cause | None:
    """The first cause of a failure. An error that the catalogue doesn't know is answered with its earliest line, and
    says so; None where no process shows any failure.

    ``logs`` in order of rank: where nothing else tells two errors apart, the first in the sequence wins.
    """
    found = examine(Evidence(Manifest(), tuple(logs)))
    return _cause(found) if found.failed else None


def _cause(found: Diagnosis) -> Cause:
    proof = found.proof[0] if found.proof else None
    return Cause(
        node=found.node,
        process=found.process,
        line=proof.line if proof else "",
        time=proof.time if proof else "",
        title=found.title,
        explanation=found.explanation,
        remedy=found.remedy,
        confidence=found.confidence,
        followers=tuple(map(_told, found.chain)),
        id=found.id,
        worker=proof.worker if proof else "",
        excerpt=proof.excerpt if proof else "",
        source=found.source,
    )


def _told(step: Step) -> str:
    """A follower in one line."""
    when = f" ({step.time})" if step.time and step.line else ""
    return f"{step.process} on {step.node}{when}: {step.title}"
