"""Watch the groups: look every few seconds, tell what changes, and do what ``serve.on_failure`` says where one fails.

A look is one exec a node and one request to each API and to the entry point. A process that has ended, or a server that
says that its engine is dead, has failed; one that only doesn't answer may be busy [gonka PR 1421], which is told and
not acted on. No agent is left on the nodes: nobody watches any more when this command ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import Field

from provision import clock
from provision.actions import JobProgress
from provision.diagnose import autopsy
from provision.errors import LaunchFailed
from provision.evaluate.prove import Readiness
from provision.events import ProcessChanged
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.inventory.model import Settings
from provision.modules import life, readiness
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Process

SCOPE = "cluster"


class Args(ModuleArgs):
    """How long and how often."""

    seconds: float | None = Field(None, gt=0, description="seconds after which watching ends; default: never")
    every: float = Field(5.0, ge=1, description="seconds between two looks")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [*launch.facts(settings), Containers(settings.cluster)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    watch = _Watch(cluster, launch.observed(cluster).plan)
    watch.require_something()
    return (yield from life.guarded(cluster, lambda: watch.go_on(args)))


@dataclass(slots=True)
class _Watch:
    """What was seen so far: ``states`` by process name. ``began`` on the monotonic clock."""

    cluster: Cluster
    plan: LaunchPlan
    began: float = field(default_factory=lambda: clock.monotonic())
    states: dict[str, str] = field(default_factory=dict)

    def require_something(self) -> None:
        """Raise where nothing is up: that is not a failure to act on."""
        if not any(self._containers().values()):
            raise LaunchFailed(
                f"no process of cluster {self.plan.cluster} is there to watch",
                hint="qnext-provision up starts the cluster",
            )

    def go_on(self, args: Args) -> ClusterRun:
        """Look until the time is over. Raises ``LaunchFailed`` where a process has failed."""
        yield from ()
        while True:
            self.look()
            watched = clock.monotonic() - self.began
            if args.seconds is not None and watched + args.every > args.seconds:
                self.cluster.pause(max(args.seconds - watched, 0.0))
                return self._outcome()
            self.cluster.pause(args.every)
            self.cluster.each(lambda node: node.observe([Containers(node.settings.cluster)]))

    def look(self) -> None:
        """Tell what has changed since the last look, then raise where something has failed."""
        containers = self._containers()
        running = [p for p in self.plan.processes if (found := containers.get(p.name)) and found.running]
        said = readiness.look(self.cluster, [p for p in running if p.api_port is not None and p.kind != "pool"])
        for process in self.plan.processes:
            if process.name in containers:
                self._tell(process, _state(containers[process.name], said.get(process.name)))
            else:
                self._tell(process, "not known: docker does not answer")
        self._fail(containers, said)

    def _containers(self) -> dict[str, Container | None]:
        """The container of each process of the plan, of the nodes whose docker answers: a busy one may not."""
        found = {n.name: n.get(Containers(n.settings.cluster)) for n in self.cluster.nodes}
        return {p.name: found[p.node].process(p.name) for p in self.plan.processes if found[p.node].reachable}

    def _tell(self, process: Process, state: str) -> None:
        before = self.states.get(process.name, "")
        self.states[process.name] = state
        if state != before:
            self.cluster.tell(ProcessChanged(node=process.node, process=process.name, state=state, before=before))
            node = next(n for n in self.cluster.nodes if n.name == process.node)
            own = [p.name for p in self.plan.processes if p.node == node.name]
            node.progress(JobProgress(None, "; ".join(f"{name} {self.states.get(name, '')}".strip() for name in own)))

    def _fail(self, containers: Mapping[str, Container | None], said: Mapping[str, Readiness]) -> None:
        for process in self.plan.processes:
            if process.name not in containers:
                continue
            container = containers[process.name]
            if container is None or not container.running:
                raise autopsy.ended(self.cluster, process, container)
            if process.name in said and said[process.name].dead:
                raise autopsy.not_ready(self.cluster, process, said[process.name].problem)

    def _outcome(self) -> Outcome:
        count = len(self.cluster.restarts)
        silent = [name for name, state in self.states.items() if state not in ("runs", "answers")]
        told = f"{len(self.states)} processes watched for {clock.monotonic() - self.began:.0f} s"
        told += f", {count} restart{'s' * (count != 1)}" if count else ", none failed"
        return Outcome(told + (f"; without an answer: {', '.join(silent)}" if silent else ""))


def _state(container: Container | None, said: Readiness | None) -> str:
    """In a few words."""
    if container is None:
        return "is missing"
    if not container.running:
        return f"{container.state} with exit status {container.exit_code}"
    if said is None:
        return "runs"
    if said.healthy:
        return "answers"
    return f"is dead: {said.problem}" if said.dead else f"does not answer: {said.problem}"
