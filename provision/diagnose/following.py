"""Follow the logs of all processes of all nodes, whatever happens to their containers and to the connections.

Each node has a watcher: it looks every few seconds which containers there are, and opens a stream (a ``_Lane``) for
those that are new or were started again. A stream that breaks is opened again from the last line that it gave, for as
long as the operator waits. What the streams say goes through one inbox to the merger, in pieces of many lines. Who
reads slowly slows the streams down: each may have only so many lines under way, so nothing is lost and memory is
bounded.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from provision import clock
from provision.diagnose.logs import LANES, Part, Reading, letter, stream_script
from provision.diagnose.merge import Clocks, LogLine, Merger, Stamped, stamped
from provision.errors import CommandFailed, Interrupted, ProvisionError
from provision.facts.docker import Container, Containers
from provision.facts.system import Clock
from provision.node import Node

LOOK = 3.0
"""Seconds between two looks at a node's containers."""

LINGER = 6.0
"""Seconds in which a process may begin where none has run."""

REPLACED = 15.0
"""Seconds after the last process has ended in which another may: `restart` and `up` stop all before they start."""

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before a lost connection is tried again."""

ROOM = 4096
"""Lines of one stream that may be under way."""

TICK = 0.05
"""Seconds between two batches."""

_MOST = 8
"""Lanes at most: more would leave no session to look with."""

_REST = 1.0
"""Seconds before the log of a container that still runs is opened again, where docker ended it."""

_STEP = 0.5
"""Seconds by which stamps may go back before the node's clock is measured anew."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A node to follow. ``join`` gives it, and raises a ``ProvisionError`` as long as it can't be reached."""

    name: str
    join: Callable[[], Node]


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient following is, in seconds; see the constants."""

    look: float = LOOK
    linger: float = LINGER
    replaced: float = REPLACED
    pauses: tuple[float, ...] = PAUSES
    tick: float = TICK


class _Room:
    """How many lines of a stream are under way; who adds waits while there are too many."""

    def __init__(self) -> None:
        self._under_way = 0
        self._changed = threading.Condition()

    def take(self, lines: int, stop: threading.Event) -> None:
        with self._changed:
            while self._under_way >= ROOM and not stop.is_set():
                self._changed.wait(1.0)
            self._under_way += lines

    def give(self, lines: int) -> None:
        with self._changed:
            self._under_way -= lines
            self._changed.notify()


@dataclass(slots=True)
class _Log:
    """One container's log. ``started``: of the start that was read last; ``settled``: its end has been told.

    ``late``: it began while we followed, so all of it is wanted; ``closed``: when its stream ended, monotonic."""

    id: str
    reading: Reading
    started: str = ""
    late: bool = False
    open: bool = False
    settled: bool = True
    closed: float = 0.0


@dataclass(slots=True)
class _Hub:
    """What all watchers share."""

    wanted: Callable[[Container], bool]
    part: Part
    pace: Pace
    inbox: queue.Queue[tuple[int, list[LogLine] | None]] = field(default_factory=lambda: queue.Queue(maxsize=256))
    stop: threading.Event = field(default_factory=threading.Event)
    clocks: Clocks = field(default_factory=Clocks)
    orders: Iterator[int] = field(default_factory=itertools.count)
    rooms: dict[int, _Room] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, order: int, lines: list[LogLine] | None) -> None:
        """Wait for room in the inbox, unless nobody listens any more. None: the source begins."""
        while not self.stop.is_set():
            try:
                self.inbox.put((order, lines), timeout=0.5)
                break
            except queue.Full:
                continue


class _Watcher(threading.Thread):
    """Keeps the streams of one node open."""

    def __init__(self, watched: Watched, hub: _Hub) -> None:
        super().__init__(name=f"follow {watched.name}", daemon=True)
        self.watched = watched
        self.hub = hub
        self.changed = threading.Event()
        self.logs: dict[str, _Log] = {}
        self.lanes = 0
        self.first_look = True
        self.ran = False
        self._node: Node | None = None
        self._offset = 0.0
        self._lost = ""
        self._full = ""
        self._own = Reading(next(hub.orders), watched.name, "")

    @property
    def busy(self) -> bool:
        """Whether a log is open, an end still to be told, or the first look under way."""
        return self.first_look or any(log.open or not log.settled for log in list(self.logs.values()))

    def run(self) -> None:
        waits = self.waits()
        while not self.hub.stop.is_set():
            self.changed.clear()
            try:
                self._follow(self._look())
                waits, pause = self.waits(), self.hub.pace.look
            except Interrupted:
                return
            except ProvisionError as error:
                pause = next(waits)
                self.lost(error)
            self.first_look = False
            self.changed.wait(pause)

    # ---- losing a node and finding it again

    def lost(self, error: ProvisionError) -> None:
        """Say once that, and why, the node can't be read."""
        with self.hub.lock:
            new, self._lost = not self._lost, str(error)
        if new:
            what = "connection lost" if self._node else "out of reach"
            self._say(f"{what}, trying again: {error}")

    def found(self) -> None:
        """It answers."""
        with self.hub.lock:
            was, self._lost = self._lost, ""
        if was:
            self._say("connected again" if self.logs else "connected")

    def _say(self, text: str) -> None:
        self.hub.put(self._own.order, [self._own.note(text)])

    def waits(self) -> Iterator[float]:
        """The pauses before each further attempt, without an end."""
        yield from self.hub.pace.pauses
        while True:
            yield self.hub.pace.pauses[-1]

    # ---- looking

    def measure(self, *, anew: bool = True) -> float:
        """The offset of the node's clock, as of now, or where not ``anew`` as it was observed before."""
        assert self._node is not None
        if anew:
            self._node.observe([Clock()])
        with self.hub.lock:
            self._offset = self.hub.clocks.offset(self._node.get(Clock()))
        return self._offset

    def _look(self) -> Sequence[Container]:
        if self._node is None:
            self._node = self.watched.join()
        fact = Containers(self._node.settings.cluster)
        if self._lost or not self.first_look:
            self._node.observe([fact])
        if self._lost or self.first_look:
            self.measure(anew=bool(self._lost))
        found = self._node.get(fact).answered(self.watched.name).containers
        self.found()
        return [container for container in found if self.hub.wanted(container)]

    def _follow(self, found: Sequence[Container]) -> None:
        """Open what is new, tell what has ended."""
        there = {container.id: container for container in found}
        self.ran = self.ran or any(container.state == "running" for container in found)
        for log in self.logs.values():
            self._settle(log, there.get(log.id))
        new = [c for c in found if self._is_new(c)]
        if new and self.lanes >= _MOST - 1:
            self._say_full(new)
            return
        for container in new:
            self._begin(container)
        self._open([self.logs[c.id] for c in new])

    def _say_full(self, new: Sequence[Container]) -> None:
        names = ", ".join(container.process for container in new)
        if names != self._full:
            self._say(f"not followed until others have ended: {names}; one connection carries {_MOST - 1} streams")
        self._full = names

    def _is_new(self, container: Container) -> bool:
        log = self.logs.get(container.id)
        if log is None:
            return container.state != "created"
        again = log.started != container.started
        rested = clock.monotonic() - log.closed >= _REST
        return not log.open and (again or (container.running and rested))

    def _begin(self, container: Container) -> None:
        log = self.logs.get(container.id)
        if log is None:
            before = any(other.reading.process == container.process for other in self.logs.values())
            log = _Log(container.id, Reading(next(self.hub.orders), self.watched.name, container.process))
            log.late = not self.first_look
            log.reading.offset = self._offset
            self.logs[container.id] = log
            if log.late:
                self._tell(log, "a new container" if before else "started", container.started)
        elif log.started != container.started:
            self._tell(log, "started again", container.started)
        log.started = container.started

    def _settle(self, log: _Log, now: Container | None) -> None:
        """Tell how it ended, once its last line has been read."""
        if log.open or log.settled:
            return
        if now is None:
            self._tell(log, "the container was removed")
        elif now.running:
            return
        else:
            killed = ", killed for want of memory" if now.oom_killed else ""
            self._tell(log, f"{now.state} with exit status {now.exit_code}{killed}", now.finished)
        log.settled = True

    def _tell(self, log: _Log, text: str, stamp: str = "") -> None:
        self.hub.put(log.reading.order, [log.reading.note(text, stamp)])

    def _open(self, logs: Sequence[_Log]) -> None:
        """In as many streams as there may be; the first ones leave some for what begins later."""
        free = max(1, (LANES if self.first_look else _MOST - 2) - self.lanes)
        shares = [logs[place::free] for place in range(min(free, len(logs)))]
        for share in shares:
            for log in share:
                log.open, log.settled = True, False
                log.reading.offset = self._offset
            with self.hub.lock:
                self.lanes += 1
            assert self._node is not None
            _Lane(self, self._node, share).start()


class _Lane(threading.Thread):
    """One stream of one node: a log, or several."""

    def __init__(self, watcher: _Watcher, node: Node, logs: Sequence[_Log]) -> None:
        super().__init__(name=f"lane of {watcher.watched.name}", daemon=True)
        self.watcher = watcher
        self.hub = watcher.hub
        self.node = node
        self.logs = logs
        self.room = _Room()
        self.pauses = watcher.waits()
        for log in logs:
            self.hub.rooms[log.reading.order] = self.room

    def run(self) -> None:
        try:
            while not self.hub.stop.is_set() and not self._read():
                clock.sleep(next(self.pauses), self.hub.stop)
                self._measure()
        except Interrupted:
            return
        finally:
            with self.hub.lock:
                self.watcher.lanes -= 1
            for log in self.logs:
                log.open, log.closed = False, clock.monotonic()
            self.watcher.changed.set()

    def _read(self) -> bool:
        """Read to the end of the stream. False where it broke."""
        for log in self.logs:
            self.hub.put(log.reading.order, None)
        try:
            rest = b""
            for piece in self.node.pipe(self._script()):
                whole, newline, rest = (rest + piece).rpartition(b"\n")
                if newline:
                    self._take(whole.decode("utf-8", "replace").split("\n"))
            if rest:
                self._take([rest.decode("utf-8", "replace")])
        except Interrupted:
            raise
        except CommandFailed:  # docker can't read it: whether it should, the next look at the containers tells
            return True
        except ProvisionError as error:
            self.watcher.lost(error)
            return False
        return True

    def _script(self) -> str:
        return stream_script([self._wanted(log) for log in self.logs])

    def _wanted(self, log: _Log) -> tuple[str, str, str]:
        again, part = log.reading.cursor.reopen(), self.hub.part
        since = again or ("" if log.late else part.begin(log.reading.offset))
        return log.id, since, "all" if again or log.late else part.tail

    def _measure(self) -> None:
        """After a break the node's clock may be another."""
        try:
            offset = self.watcher.measure()
        except Interrupted:
            raise
        except ProvisionError:
            return
        for log in self.logs:
            log.reading.offset = offset

    def _take(self, lines: Sequence[str]) -> None:
        self.watcher.found()
        self.pauses = self.watcher.waits()
        for log, own in self._shares(lines):
            if own:
                self._give(log, own)

    def _shares(self, lines: Sequence[str]) -> Iterator[tuple[_Log, list[Stamped]]]:
        if len(self.logs) == 1:
            yield self.logs[0], [stamped(line) for line in lines]
            return
        for place, log in enumerate(self.logs):
            mark = letter(place)
            yield log, [stamped(line[1:]) for line in lines if line.startswith(mark)]

    def _give(self, log: _Log, said: Sequence[Stamped]) -> None:
        last, newest = log.reading.cursor.last, said[-1].when
        if last and last.when and newest and newest[0] + _STEP < last.when[0]:
            self._measure()
        lines = log.reading.lines(said)
        if not self.hub.part.whole:
            lines = [line for line in lines if self.hub.part.holds(line)]
        if lines:
            self.room.take(len(lines), self.hub.stop)
            self.hub.put(log.reading.order, lines)


def followed(
    nodes: Sequence[Watched],
    wanted: Callable[[Container], bool],
    part: Part,
    *,
    pace: Pace = Pace(),
) -> Iterator[list[LogLine]]:
    """Lines as they come, in batches (an empty one now and then), until all processes have ended and none has begun for
    some seconds, or ``part.until`` is over."""
    hub = _Hub(wanted, part, pace)
    watchers = [_Watcher(watched, hub) for watched in nodes]
    for watcher in watchers:
        watcher.start()
    try:
        yield from _merged(hub, watchers)
    finally:
        hub.stop.set()
        for watcher in watchers:
            watcher.changed.set()


def _merged(hub: _Hub, watchers: Sequence[_Watcher]) -> Iterator[list[LogLine]]:
    merger = Merger()
    quiet_since: float | None = None

    def told(order: int, count: int) -> None:
        if order in hub.rooms:
            hub.rooms[order].give(count)

    while True:
        heard = _drain(hub, merger)
        now = clock.now()
        yield merger.ready(now, told)
        busy = heard or any(watcher.busy for watcher in watchers)
        quiet_since = None if busy else quiet_since or clock.monotonic()
        patience = hub.pace.replaced if any(watcher.ran for watcher in watchers) else hub.pace.linger
        over = hub.part.until is not None and now > hub.part.until + hub.pace.look
        if over or (quiet_since is not None and clock.monotonic() - quiet_since > patience):
            break
    yield merger.rest(told)


def _drain(hub: _Hub, merger: Merger) -> bool:
    """Take from the inbox for one tick. Whether there was anything."""
    heard, until = False, clock.monotonic() + hub.pace.tick
    while (left := until - clock.monotonic()) > 0:
        try:
            order, lines = hub.inbox.get(timeout=left)
        except queue.Empty:
            break
        heard = True
        if lines is None:
            merger.expect(order, clock.now())
        else:
            merger.add(order, lines, clock.now())
    return heard
