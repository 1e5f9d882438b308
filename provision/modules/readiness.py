"""The wait until servers answer: every process is looked at meanwhile, and what each is doing is shown and told.

A look is one exec a node, for the state of its containers and the telling lines of their logs, and one request to each
API that has not answered yet. No module of its own: ``ready`` waits, and ``life`` after it has started a group again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from provision import clock
from provision.actions import JobProgress
from provision.diagnose import autopsy
from provision.evaluate import phases
from provision.evaluate.phases import Track
from provision.evaluate.prove import Readiness, probe_ready
from provision.events import Note, PhaseReached, StartMeasured
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.logs import LogTails
from provision.facts.system import Clock
from provision.node import Cluster, Node
from provision.serve.launch import Launch
from provision.serve.plan import LaunchPlan, Process

LOOK_EVERY = 2.0
"""Seconds between looks, at most: an ended process is known within 5 s. The first looks follow each other faster."""

ANSWER = 2.5
"""Seconds that an API may take to say that it is ready: one that hangs must not hide the end of another."""

FRESH = 30.0
"""Seconds that a process may run at the first look and still be measured: docker and the waves took them."""

LINES = 400
"""Lines at the end of each log in which a look searches for telling ones."""


def check_alive(cluster: Cluster, plan: LaunchPlan, names: Collection[str] | None = None) -> None:
    """Raise ``LaunchFailed`` where a process of the plan, of ``names`` where given, does not run. A docker that does
    not answer in time, on a node that is busy loading, says nothing of its containers."""
    for node in cluster.nodes:
        value = node.get(Containers(node.settings.cluster))
        if not value.reachable:
            continue
        for process in _on(node, plan, names):
            container = value.process(process.name)
            if container is None or not container.running:
                raise autopsy.ended(cluster, process, container)


def look(cluster: Cluster, processes: Sequence[Process], *, timeout: float = 10.0) -> dict[str, Readiness]:
    """What each of these says now within ``timeout`` seconds, by name: all at the same time, each node through its own
    connection."""

    def ask(node: Node) -> dict[str, Readiness]:
        own = [process for process in processes if process.node == node.name]
        if not own:
            return {}
        with ThreadPoolExecutor(len(own)) as pool:
            return dict(zip([p.name for p in own], pool.map(lambda p: one(node, p), own), strict=True))

    def one(node: Node, process: Process) -> Readiness:
        return probe_ready(node.http(process.api_port or node.settings.serve.port), process, timeout=timeout)

    return {name: said for answers in cluster.each(ask).values() for name, said in answers.items()}


def await_ready(
    cluster: Cluster, planned: Launch, wanted: Sequence[Process], alive: Collection[str], timeout: float
) -> float:
    """Wait until all of ``wanted`` answer, as long as all of ``alive`` run: the seconds it took. Raises
    ``LaunchFailed`` where one ends, says that its engine is dead, or does not answer within ``timeout`` seconds."""
    wait = _Wait(cluster, planned, alive)
    left = list(wanted)
    while True:
        check_alive(cluster, planned.plan, alive)
        said = look(cluster, left, timeout=ANSWER)
        left = [process for process in left if not said[process.name].healthy]
        waited = clock.monotonic() - wait.began
        if not left:
            wait.measured(wanted)
            return waited
        lost = next((p for p in left if said[p.name].dead or said[p.name].blocked), None)
        if lost or waited > timeout:
            process = lost or left[0]
            why = said[process.name].blocked or said[process.name].problem
            raise autopsy.not_ready(cluster, process, f"{why}, {waited:.0f} s after it was started{wait.story()}")
        cluster.pause(min(LOOK_EVERY, 0.4 + waited / 2))
        wait.see()


@dataclass(slots=True)
class _Wait:
    """What was seen of the processes that are waited for. ``began`` on the monotonic clock."""

    cluster: Cluster
    planned: Launch
    names: Collection[str]
    began: float = field(default_factory=lambda: clock.monotonic())
    tracks: dict[str, Track] = field(default_factory=dict)
    _usual: dict[str, float] | None = None

    def see(self) -> None:
        """Look at every node, and show how far its processes are."""
        first = not self.tracks
        tails = self.cluster.each(lambda node: _tails(node, first))
        moment = clock.monotonic()
        for node in self.cluster.nodes:
            own = [p for p in _on(node, self.planned.plan, self.names) if p.kind == "server"]
            for process in own:
                if first:
                    self.tracks[process.name] = _track(node, process, moment)
                self._follow(process, tails[node.name].get(process.name, ""), moment)
            if own:
                node.progress(JobProgress(None, self._shown(own, moment)))

    def _follow(self, process: Process, log: str, moment: float) -> None:
        track = self.tracks[process.name]
        before = moment - track.since
        usual = self._usual_of(process.name, track)
        if track.see(phases.progress_of(log), moment):
            now = track.now
            usual = self._usual_of(process.name, track)
            self.cluster.tell(PhaseReached(
                node=process.node, process=process.name, phase=now.phase, text=now.text, seconds=before, usual=usual
            ))  # fmt: skip
        if track.slow(moment, usual) and not track.told:
            track.told = True
            self.cluster.tell(Note(text=_slow(process, track, moment, usual or 0.0), level="warn"))

    def _usual_of(self, process: str, track: Track) -> float | None:
        if self._usual is None:
            self._usual = dict(self.cluster.usual(digest(self.planned)))
        return self._usual.get(f"{process}: {track.now.phase}")

    def _shown(self, processes: Sequence[Process], moment: float) -> str:
        """What is under way on a node; where that is one process, its name says nothing."""
        texts = {p.name: self._text(p, moment) for p in processes}
        return next(iter(texts.values())) if len(texts) == 1 else "; ".join(f"{n}: {t}" for n, t in texts.items())

    def _text(self, process: Process, moment: float) -> str:
        track = self.tracks[process.name]
        return track.text(moment, self._usual_of(process.name, track))

    def story(self) -> str:
        """What each process was doing last, for the error that ends the wait."""
        moment = clock.monotonic()
        told = [f"{name}: {track.text(moment, None)}" for name, track in self.tracks.items()]
        return f" ({'; '.join(told)})" if told else ""

    def measured(self, wanted: Sequence[Process]) -> None:
        """Tell what the phases took, where all was seen from the beginning."""
        moment = clock.monotonic()
        whole = {name: track for name, track in self.tracks.items() if track.whole and track.spent}
        durations = {f"{name}: {phase}": s for name, track in whole.items() for phase, s in track.spent.items()}
        for process in wanted:
            if (track := whole.get(process.name)) and track.now.phase != phases.READY:
                durations[f"{process.name}: {track.now.phase}"] = moment - track.since
        if durations:
            rounded = {name: round(seconds, 3) for name, seconds in durations.items()}
            self.cluster.tell(
                StartMeasured(cluster=self.planned.plan.cluster, launch=digest(self.planned), durations=rounded)
            )


def digest(planned: Launch) -> str:
    """The digest of all launch scripts: 16 hex digits."""
    return hashlib.sha256(" ".join(script.digest for script in planned.scripts).encode()).hexdigest()[:16]


def _tails(node: Node, first: bool) -> dict[str, str]:
    """One look: the telling lines of each process's log; at the first look the node's clock too."""
    tails = LogTails(node.settings.cluster, LINES, phases.MATCHING)
    facts: list[Fact[object]] = [Containers(node.settings.cluster), tails]
    node.observe([*facts, Clock()] if first else facts)
    return dict(node.get(tails).tails)


def _track(node: Node, process: Process, moment: float) -> Track:
    """The beginning of a process's way: when its container started, by its node's clock. Of one that has long been
    under way nobody knows when its present phase began."""
    container = node.get(Containers(node.settings.cluster)).process(process.name)
    age = (container.age(node.get(Clock()).epoch) if container else None) or 0.0
    return Track(moment - age) if age <= FRESH else Track(moment, whole=False)


def _on(node: Node, plan: LaunchPlan, names: Collection[str] | None) -> Iterable[Process]:
    return (p for p in plan.processes if p.node == node.name and (names is None or p.name in names))


def _slow(process: Process, track: Track, moment: float, usual: float) -> str:
    return (
        f"{process.name} on {process.node}: {track.now.text} for {moment - track.since:.0f} s, usually {usual:.0f} s: "
        "a slow disk, a busy node or a lost peer; `logs` shows what it says"
    )
