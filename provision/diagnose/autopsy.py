"""What to say when a launch failed: which process, where, how it ended, and the first cause from the logs of all ranks.

The logs of every process on every node are read and kept before anything is cleaned up; the cause is searched in those
of all that work together, since the process that ended is often only the one that noticed. Independent servers' logs
tell nothing of each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from provision.diagnose.catalogue import explain
from provision.diagnose.diagnosis import ProcessLog
from provision.diagnose.first_cause import Cause, first_cause
from provision.errors import CommandFailed, LaunchFailed, ProofFailed, ProvisionError
from provision.facts.docker import Container, Containers
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Process

E = TypeVar("E", LaunchFailed, ProofFailed)

SHOWN = 12
"""Lines of the first cause's log that an operator sees at once; the rest is in the run directory."""


_EVERYWHERE = "the logs of every process are in the run directory, under logs/"


def ended(cluster: Cluster, process: Process, container: Container | None) -> LaunchFailed:
    """The error for a process that does not run."""
    if container is None:
        how = f"{process.name} has no container"
    else:
        oom = ", killed for lack of memory" if container.oom_killed else ""
        how = f"{process.name} {container.state} with exit status {container.exit_code}{oom}"
    return _told(LaunchFailed, how, process, _logs(cluster, process))


def not_ready(cluster: Cluster, process: Process, reason: str) -> LaunchFailed:
    """The error for a process that runs and does not get ready."""
    return _told(LaunchFailed, f"{process.name} is not ready: {reason}", process, _logs(cluster, process))


def not_generating(cluster: Cluster, plan: LaunchPlan, error: ProofFailed) -> ProofFailed:
    """The error for a cluster that runs and does not generate."""
    asked = plan.process(error.process or plan.head)
    how = f"{asked.name} does not generate: {error.message}" if not error.process else error.message
    logs = _logs(cluster, asked)
    told = _told(ProofFailed, how, asked, logs)
    if first_cause(logs) is None:
        told.hint, told.evidence = error.hint or told.hint, error.evidence or told.evidence
    return told


def explained(error: CommandFailed) -> CommandFailed:
    """A failed docker command's error, with the catalogue's remedy where it knows docker's answer."""
    known = explain(f"{error.result.stdout}\n{error.result.stderr}")
    if known:
        error.hint = known.remedy
    return error


def gather(cluster: Cluster) -> list[ProcessLog]:
    """The logs of all processes of all nodes, each also kept in the run directory."""
    restarts = len(cluster.restarts)
    return [log for logs in cluster.each(lambda node: _logs_of(node, restarts)).values() for log in logs]


def log_name(process: str, restarts: int) -> str:
    """What a process's log is called in the run directory: ``head.log``, and ``head.2.log`` after the first restart of
    a group."""
    return f"{process}.{restarts + 1}.log" if restarts else f"{process}.log"


def _logs(cluster: Cluster, process: Process) -> list[ProcessLog]:
    """The logs in which the cause of a server's failure is: of those that live and die with it, and of a pool that
    they use. What stands before the servers fails by any of them."""
    logs = gather(cluster)
    if process.kind == "router":
        return logs
    plan = launch.observed(cluster).plan
    together = {*plan.unit_of(process), *(other.name for other in plan.processes if other.kind == "pool")}
    return [log for log in logs if log.process in together] or logs


def _logs_of(node: Node, restarts: int) -> list[ProcessLog]:
    try:
        texts = launch.read_logs(node)
        value = node.get(Containers(node.settings.cluster))
    except ProvisionError as error:
        return [ProcessLog(node=node.name, process="", text=f"logs could not be read: {error}")]
    for name, text in texts.items():
        node.keep(log_name(name, restarts), text)
    return [_log(node.name, name, text, value.process(name)) for name, text in texts.items()]


def _log(node: str, process: str, text: str, container: Container | None) -> ProcessLog:
    if container is None:
        return ProcessLog(node, process, text)
    status = None if container.running else container.exit_code
    return ProcessLog(node, process, text, status, container.rank or 0, container.oom_killed, container.name)


def _told(kind: type[E], how: str, process: Process, logs: Sequence[ProcessLog]) -> E:
    """The error: one sentence, the place of the first cause, its lines and its remedy."""
    node, name = process.node, process.name
    cause = first_cause(sorted(logs, key=lambda log: log.rank))
    if cause is None:
        return kind(how, node=node, process=name, evidence=_tail(logs, node, name), hint=_EVERYWHERE)
    elsewhere = f" (first on {cause.node}, {cause.process})" if (cause.node, cause.process) != (node, name) else ""
    return kind(
        f"{how}; first cause: {cause.title}{elsewhere}",
        node=cause.node,
        process=name,
        evidence=_evidence(cause, logs),
        hint=cause.remedy or _EVERYWHERE,
    )


def _evidence(cause: Cause, logs: Sequence[ProcessLog]) -> str:
    told = cause.excerpt or cause.line or _tail(logs, cause.node, cause.process)
    return "\n".join([f"{cause.process} on {cause.node}:", told, *cause.followers])


def _tail(logs: Sequence[ProcessLog], node: str, process: str) -> str:
    text = next((log.text for log in logs if (log.node, log.process) == (node, process)), "")
    return "\n".join(text.rstrip().splitlines()[-SHOWN:])
