"""What to say when a launch failed: which process, where, how it ended, and the first cause from the logs of all ranks.

The logs of every process on every node are read and kept before anything is cleaned up; the cause is searched in all of
them, since the process that ended is often only the one that noticed.
"""

from __future__ import annotations

from collections.abc import Sequence

from provision.diagnose.first_cause import Cause, ProcessLog, first_cause
from provision.errors import LaunchFailed, ProofFailed, ProvisionError
from provision.facts.docker import Container, Containers
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Process

SHOWN = 12
"""Lines of the first cause's log that an operator sees at once; the rest is in the run directory."""


def ended(cluster: Cluster, process: Process, container: Container | None) -> LaunchFailed:
    """The error for a process that does not run."""
    if container is None:
        how = f"{process.name} has no container"
    else:
        oom = ", killed for lack of memory" if container.oom_killed else ""
        how = f"{process.name} {container.state} with exit status {container.exit_code}{oom}"
    return LaunchFailed(**_told(how, process.node, gather(cluster), process.name))


def not_ready(cluster: Cluster, process: Process, reason: str) -> LaunchFailed:
    """The error for a process that runs and does not get ready."""
    return LaunchFailed(**_told(f"{process.name} is not ready: {reason}", process.node, gather(cluster), process.name))


def not_generating(cluster: Cluster, plan: LaunchPlan, error: ProofFailed) -> ProofFailed:
    """The error for a cluster that runs and does not generate."""
    head = plan.process(plan.head)
    return ProofFailed(**_told(f"{head.name} does not generate: {error.message}", head.node, gather(cluster), head.name))


def gather(cluster: Cluster) -> list[ProcessLog]:
    """The logs of all processes of all nodes, each also kept in the run directory."""
    return [log for logs in cluster.each(_logs_of).values() for log in logs]


def _logs_of(node: Node) -> list[ProcessLog]:
    try:
        texts = launch.read_logs(node)
        value = node.get(Containers(node.settings.cluster))
    except ProvisionError as error:
        return [ProcessLog(node=node.name, process="", text=f"logs could not be read: {error}")]
    logs = []
    for name, text in texts.items():
        node.keep(f"{name}.log", text)
        container = value.process(name)
        logs.append(
            ProcessLog(
                node=node.name,
                process=name,
                text=text,
                exit_code=container.exit_code if container and not container.running else None,
                rank=container.rank if container else None,
            )
        )
    return logs


def _told(how: str, node: str, logs: Sequence[ProcessLog], process: str) -> dict[str, str]:
    """Arguments of the error: one sentence, the place of the first cause, its lines and its remedy."""
    cause = first_cause(logs)
    if cause is None:
        return {"message": how, "node": node, "evidence": _tail(logs, node, process), "hint": _everywhere()}
    elsewhere = f" (first on {cause.node}, {cause.process})" if (cause.node, cause.process) != (node, process) else ""
    return {
        "message": f"{how}; first cause: {cause.title}{elsewhere}",
        "node": node,
        "evidence": _evidence(cause, logs),
        "hint": cause.remedy or _everywhere(),
    }


def _evidence(cause: Cause, logs: Sequence[ProcessLog]) -> str:
    lines = [f"{cause.node} {cause.process}: {cause.line}"]
    tail = _tail(logs, cause.node, cause.process)
    return "\n".join([*lines, *(t for t in tail.splitlines() if cause.line.strip() not in t)])


def _tail(logs: Sequence[ProcessLog], node: str, process: str) -> str:
    text = next((log.text for log in logs if (log.node, log.process) == (node, process)), "")
    return "\n".join(text.rstrip().splitlines()[-SHOWN:])


def _everywhere() -> str:
    return "the logs of every process are in the run directory, under logs/"
