"""What to say when a launch failed: which process, where, how it ended, and the first cause from the logs of all ranks.

The logs of every process on every node are read and kept before anything is cleaned up; the cause is searched in those
of all that work together, since the process that ended is often only the one that noticed. Independent servers' logs
tell nothing of each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from provision.diagnose import live
from provision.diagnose.catalogue import explain
from provision.diagnose.diagnosis import Diagnosis, Evidence, Odd, Proof, Step
from provision.diagnose.examine import examine
from provision.diagnose.live import log_name
from provision.errors import CommandFailed, LaunchFailed, ProofFailed
from provision.facts.docker import Container
from provision.node import Cluster
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Process

__all__ = ["ended", "examined", "explained", "log_name", "not_generating", "not_ready", "shown", "together"]

E = TypeVar("E", LaunchFailed, ProofFailed)

SHOWN = 12
"""Lines of the first cause's log that an operator sees at once; the rest is in the run directory."""

BEFORE = 4
"""Of those, lines before the decisive one, at most."""

FOLLOWED = 6
"""Others that failed, further proofs, silent ranks: so many of each are told at once."""

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ")

_EVERYWHERE = "the logs of every process are in the run directory, under logs/"


def ended(cluster: Cluster, process: Process, container: Container | None) -> LaunchFailed:
    """The error for a process that does not run."""
    return examined(cluster, noticed_end(process, container))


def not_ready(cluster: Cluster, process: Process, reason: str) -> LaunchFailed:
    """The error for a process that runs and does not get ready."""
    return examined(cluster, noticed_late(process, reason))


def noticed_end(process: Process, container: Container | None) -> LaunchFailed:
    """That a process does not run, as one node sees it, before any log was read."""
    if container is None:
        how = f"{process.name} has no container"
    else:
        oom = ", killed for lack of memory" if container.oom_killed else ""
        how = f"{process.name} {container.state} with exit status {container.exit_code}{oom}"
    return LaunchFailed(how, node=process.node, process=process.name)


def noticed_late(process: Process, reason: str) -> LaunchFailed:
    """That a process does not get ready, before any log was read."""
    return LaunchFailed(f"{process.name} is not ready: {reason}", node=process.node, process=process.name)


def examined(cluster: Cluster, noticed: LaunchFailed) -> LaunchFailed:
    """What was noticed of a process, with what the logs of all that work with it say."""
    process = launch.observed(cluster).plan.process(noticed.process)
    told = _told(LaunchFailed, noticed.message, process, observed(cluster, process))
    told.also = noticed.also
    return told


def not_generating(cluster: Cluster, plan: LaunchPlan, error: ProofFailed) -> ProofFailed:
    """The error for a cluster that runs and does not generate."""
    asked = plan.process(error.process or plan.head)
    how = f"{asked.name} does not generate: {error.message}" if not error.process else error.message
    told = _told(ProofFailed, how, asked, observed(cluster, asked))
    if not told.diagnosis or not told.diagnosis.title:
        told.hint, told.evidence = error.hint or told.hint, error.evidence or told.evidence
    return told


def explained(error: CommandFailed) -> CommandFailed:
    """A failed docker command's error, with the catalogue's remedy where it knows docker's answer."""
    known = explain(f"{error.result.stdout}\n{error.result.stderr}")
    if known:
        error.hint = known.remedy
    return error


def observed(cluster: Cluster, process: Process) -> Evidence:
    """What is known of a server's failure: all logs are read, and kept; those of its own unit count."""
    evidence = live.observe(cluster, None, keep=True)
    return together(evidence, launch.observed(cluster).plan, process)


def together(evidence: Evidence, plan: LaunchPlan, process: Process) -> Evidence:
    """The evidence of those that live and die with ``process``, of a pool that they use, and of their nodes. What
    stands before the servers fails by any of them."""
    if process.kind == "router":
        return evidence
    names = {*plan.unit_of(process), *(other.name for other in plan.processes if other.kind == "pool")}
    nodes = {plan.process(name).node for name in names}
    logs = tuple(log for log in evidence.logs if log.process in names or (not log.process and log.node in nodes))
    if not any(log.process for log in logs):
        return evidence
    own = replace(
        evidence.manifest,
        nodes=tuple(node for node in evidence.manifest.nodes if node.name in nodes),
        processes=tuple(one for one in evidence.manifest.processes if one.name in names),
    )
    return Evidence(own, logs)


def _told(kind: type[E], how: str, process: Process, evidence: Evidence) -> E:
    """The error: one sentence, the place of the first cause, what proves it and its remedy."""
    node, name = process.node, process.name
    found = examine(replace(evidence, manifest=replace(evidence.manifest, error=evidence.manifest.error or how)))
    last = tail(evidence, node, name)
    if not found.failed or not found.title:
        error = kind(how, node=node, process=name, evidence=last, hint=_EVERYWHERE)
    else:
        error = kind(
            f"{_placed(how, found, node, name)}; first cause: {found.title}{_elsewhere(found, node, name)}",
            node=found.node or node,
            process=name,
            evidence="\n".join(shown(found)) or last,
            hint=found.remedy or _EVERYWHERE,
        )
    error.diagnosis = found
    return error


def _elsewhere(found: Diagnosis, node: str, process: str) -> str:
    if not found.node or (found.node, found.process) in ((node, process), (node, "")):
        return ""
    return f" ({f'{found.process} ' if found.process else ''}on {found.node})"


def _placed(how: str, found: Diagnosis, node: str, process: str) -> str:
    """The error bears the node of the first cause; where that is another one, the process that was noticed has its own
    beside it."""
    how = how.removesuffix(".")
    known = found.node in ("", node) or not how.startswith(f"{process} ")
    return how if known else f"{process} on {node}{how.removeprefix(process)}"


def shown(found: Diagnosis) -> Iterator[str]:
    """A diagnosis as the evidence of an error: the sentence, its proof, what followed, who is conspicuous."""
    yield found.sentence
    for number, proof in enumerate(found.proof[:FOLLOWED]):
        yield from _proof(proof, whole=number == 0)
    yield from _few("silent", [_odd(one) for one in found.silent])
    yield from _few("late", [_odd(one) for one in found.late])
    yield from _few(
        "first error of", [f"{_place(one)}{_at(one.time)}: {_unstamped(one.line)}" for one in found.earliest]
    )
    yield from _few("then", [_step(step) for step in found.chain])
    if found.missing:
        yield f"no evidence of {', '.join(found.missing)}"


def _proof(proof: Proof, *, whole: bool) -> Iterator[str]:
    """Where and when, then the line; of the first proof those around it too."""
    around = [line for line in proof.excerpt.splitlines() if line.strip()] if whole else []
    yield f"{_place(proof)}{_at(proof.time)}:"
    decisive = proof.line.strip()
    for line in _near(around, decisive) if around else [proof.line]:
        yield ("> " if decisive and decisive in line else "  ") + _unstamped(line)


def _near(lines: Sequence[str], decisive: str) -> list[str]:
    """Not more than ``SHOWN`` lines, among them the decisive one; of what stands before it least is worth reading."""
    at = next((number for number, line in enumerate(lines) if decisive and decisive in line), len(lines) - 1)
    first = max(0, at - BEFORE)
    return list(lines[first : first + SHOWN])


def _unstamped(line: str) -> str:
    """Without docker's stamp: the time stands above, and the line is long enough."""
    return _STAMP.sub("", line, count=1)


def _place(proof: Proof) -> str:
    source = "" if proof.source == "stdout" else f" ({proof.source})"
    return f"{proof.process or 'the node'} on {proof.node}{source}"


def _at(time: str) -> str:
    return f", {time}" if time else ""


def _odd(one: Odd) -> str:
    return f"{one.process} on {one.node}: {one.why}" if one.process else f"{one.node}: {one.why}"


def _step(step: Step) -> str:
    after = f"{step.after:.1f} s later " if step.after is not None and step.after >= 0 else ""
    return f"{after}{step.process or 'the node'} on {step.node}: {step.title}"


def _few(name: str, texts: Sequence[str]) -> Iterator[str]:
    yield from (f"{name} {text}" for text in texts[:FOLLOWED])
    if len(texts) > FOLLOWED:
        yield f"and {len(texts) - FOLLOWED} more"


def tail(evidence: Evidence, node: str, process: str) -> str:
    """The last lines of what a process wrote."""
    logs = [log for log in evidence.logs if (log.node, log.process, log.source) == (node, process, "stdout")]
    return "\n".join(map(_unstamped, logs[0].text.rstrip().splitlines()[-SHOWN:])) if logs else _unread(evidence, node)


def _unread(evidence: Evidence, node: str) -> str:
    entry = evidence.manifest.node(node)
    return f"its log could not be read: {entry.missing}" if entry and entry.missing else ""
