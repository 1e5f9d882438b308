"""The logs of all processes of all nodes as one stream, each line with its node and process.

Printed logs are merged exactly by time. Followed ones are read by ``following``; both come in batches, as one write for
many lines is what makes 32 nodes of 1,000 lines a second cheap.
"""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import IO

from provision import clock
from provision.diagnose.merge import Clocks, Cursor, LogLine, Stamped, instant, shown, stamped
from provision.errors import ConnectionLost, Interrupted, ProvisionError, Unreachable
from provision.facts.docker import Container, Containers
from provision.facts.system import Clock
from provision.node import Cluster, Node
from provision.resources import shipped
from provision.secrets import redact
from provision.shell import quote

BATCH = 512
"""Lines that are printed at once."""

LANES = 4
"""Streams at the same time on one node (of the 8 sessions that a connection has). Each carries one log or several."""

TRIES = 3
"""How often a log is opened again, where its connection breaks, before the rest of it is given up."""

_PAUSE = 0.5


@dataclass(frozen=True, slots=True)
class Source:
    """One container's log on one node."""

    node: Node
    container: Container

    def script(self, *, follow: bool, since: str, tail: str) -> str:
        options = ["--timestamps", f"--tail {quote(tail)}"]
        options += ["--follow"] if follow else []
        options += [f"--since {quote(since)}"] if since else []
        return f"docker logs {' '.join(options)} {self.container.id} 2>&1\n"


@dataclass(frozen=True, slots=True)
class Part:
    """Which part of the logs is wanted: seconds since the epoch by our clock; the last lines of each, as docker takes
    their number (``all``)."""

    since: float | None = None
    until: float | None = None
    tail: str = "all"

    def begin(self, offset: float) -> str:
        """``since`` as the node's clock has it; empty where everything is wanted."""
        return "" if self.since is None else shown(self.since + offset)

    def holds(self, line: LogLine) -> bool:
        return (self.since is None or line.at >= self.since) and (self.until is None or line.at <= self.until)

    @property
    def whole(self) -> bool:
        return self.since is None and self.until is None


def sources(cluster: Cluster, processes: Sequence[str] = ()) -> list[Source]:
    """The containers of the cluster, of ``processes`` where given. Needs ``Containers`` observed."""
    return [
        Source(node, container)
        for node in cluster.nodes
        for container in node.get(Containers(node.settings.cluster)).containers
        if not processes or container.process in processes
    ]


class Reading:
    """Makes lines on our time line of what one container's log says, wherever it is opened again."""

    def __init__(self, order: int, node: str, process: str) -> None:
        self.order = order
        self.node = node
        self.process = process
        self.offset = 0.0
        self.cursor = Cursor()
        self._at = float("-inf")

    def lines(self, said: Sequence[Stamped]) -> list[LogLine]:
        """Those that are new. A line's time is never before that of the line above it."""
        fresh = self.cursor.take(said)
        texts = redacted([line.text for line in fresh])
        return [self._line(line, text) for line, text in zip(fresh, texts, strict=True)]

    def note(self, text: str, stamp: str = "") -> LogLine:
        """A word of ours, of the moment that the node's stamp tells, else of now."""
        when = instant(stamp)
        at = clock.now() if when is None else when[0] + when[1] / 1e9 - self.offset
        self._at = max(self._at, at)
        return LogLine(self._at, self.order, stamp, self.node, self.process, redact(text), note=True)

    def _line(self, line: Stamped, text: str) -> LogLine:
        if line.when is not None:
            self._at = max(self._at, line.when[0] + line.when[1] / 1e9 - self.offset)
        elif self._at == float("-inf"):
            self._at = clock.now()
        return LogLine(self._at, self.order, line.stamp, self.node, self.process, text)


def redacted(texts: Sequence[str]) -> list[str]:
    """The same lines with secrets masked: in one go, which is what makes it cheap."""
    masked = redact("\n".join(texts)).split("\n") if texts else []
    return masked if len(masked) == len(texts) else [redact(text).replace("\n", " ") for text in texts]


# ---- printed


def printed(found: Sequence[Source], part: Part) -> Iterator[list[LogLine]]:
    """All lines so far, merged by time, in batches. Where a log can't be read to its end a note says so."""
    offsets = _offsets(found)
    lines = heapq.merge(*_readers(found, part, offsets), key=lambda line: (line.at, line.order))
    wanted = lines if part.whole else (line for line in lines if line.note or part.holds(line))
    while batch := list(islice(wanted, BATCH)):
        yield batch


def _offsets(found: Iterable[Source]) -> dict[str, float]:
    clocks = Clocks()
    return {node.name: clocks.offset(node.get(Clock())) for node in {s.node.name: s.node for s in found}.values()}


def _readers(found: Sequence[Source], part: Part, offsets: dict[str, float]) -> Iterator[Iterator[LogLine]]:
    """One for each log: of a node's first ones as they are read, of others from a copy made before. A node runs only
    so many commands at a time."""
    streams: dict[str, int] = {}
    for order, source in enumerate(found):
        name = source.node.name
        streams[name] = streams.get(name, 0) + 1
        reading = Reading(order, name, source.container.process)
        reading.offset = offsets[name]
        lines = _whole(source, reading, part)
        yield lines if streams[name] <= LANES else _spooled(lines)


def _whole(source: Source, reading: Reading, part: Part) -> Iterator[LogLine]:
    """The log of one container, opened again where its connection breaks."""
    for attempt in range(TRIES):
        again = reading.cursor.reopen()
        script = source.script(
            follow=False, since=again or part.begin(reading.offset), tail="all" if again else part.tail
        )
        try:
            for batch in _batches(source.node, script):
                yield from reading.lines(batch)
            return
        except Interrupted:
            raise
        except (ConnectionLost, Unreachable) as error:
            if attempt == TRIES - 1:
                yield reading.note(f"log lost: {error}")
            else:
                clock.sleep(_PAUSE)
        except ProvisionError as error:
            yield reading.note(f"log lost: {error}")
            return


def _batches(node: Node, script: str) -> Iterator[list[Stamped]]:
    rest = b""
    for piece in node.pipe(script):
        whole, newline, rest = (rest + piece).rpartition(b"\n")
        if newline:
            yield [stamped(line) for line in whole.decode("utf-8", "replace").split("\n")]
    if rest:
        yield [stamped(rest.decode("utf-8", "replace"))]


def _spooled(lines: Iterator[LogLine]) -> Iterator[LogLine]:
    """The same lines, all of them read now and kept in a file."""
    import pickle

    file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by who reads it
    while batch := list(islice(lines, BATCH)):
        pickle.dump([tuple(line) for line in batch], file)
    end = file.tell()
    file.seek(0)

    def read() -> Iterator[LogLine]:
        with file:
            while file.tell() < end:
                yield from (LogLine(*line) for line in pickle.load(file))

    return read()


# ---- the script of a stream


def stream_script(logs: Sequence[tuple[str, str, str]]) -> str:
    """A script that follows containers (id, since, tail) in one stream. Several are told apart by a letter before each
    line: ``a`` for the first. Lines come whole, and many at a time where the node has Python."""
    commands = [_following(*log) for log in logs]
    program = quote((shipped("templates") / "logs" / "batch.py").read_text(encoding="utf-8"))
    return f"if command -v python3 >/dev/null; then\n{_batched(commands, program)}\nelse\n{_plain(commands)}\nfi\n"


def letter(place: int) -> str:
    """What marks the lines of a stream's log number ``place``."""
    return chr(ord("a") + place)


def _following(container: str, since: str, tail: str) -> str:
    begin = f" --since {quote(since)}" if since else ""
    return f"docker logs --timestamps --follow --tail {quote(tail)}{begin} {container} 2>&1 </dev/null"


def _batched(commands: Sequence[str], program: str) -> str:
    """All in one pipeline, since sh has no other way to give a program several pipes: each takes the one before it as
    a further file, from 3 on."""
    if len(commands) == 1:
        return f"{commands[0]} | python3 -c {program} 0"
    files = range(3, 3 + len(commands))
    script = f"python3 -c {program} {' '.join(map(str, files))} </dev/null"
    for file, command in reversed(list(zip(files, commands, strict=True))):
        closed = "".join(f" {other}<&-" for other in range(3, file))
        script = f"{command}{closed} | {{ exec {file}<&0\n{script}\n}}"
    return script


def _plain(commands: Sequence[str]) -> str:
    if len(commands) == 1:
        return commands[0]
    marked = [
        f"{command} | while IFS= read -r line; do printf '%s\\n' \"{letter(place)}$line\"; done &"
        for place, command in enumerate(commands)
    ]
    return "\n".join([*marked, "wait"])
