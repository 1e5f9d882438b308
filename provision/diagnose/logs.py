"""The logs of all processes of all nodes as one stream, each line with its node and process.

Printed logs are merged by docker's time stamps; followed ones come as they come, since a live line has no later order.
"""

from __future__ import annotations

import heapq
import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from provision.errors import ProvisionError
from provision.facts.docker import Container, Containers
from provision.node import Cluster, Node
from provision.shell import quote


@dataclass(frozen=True, slots=True, order=True)
class LogLine:
    """``time`` as docker stamps it (RFC 3339, UTC). A ``note`` is ours: how a process or its connection ended."""

    time: str
    node: str
    process: str
    text: str
    note: bool = False


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


def sources(cluster: Cluster, processes: Sequence[str] = ()) -> list[Source]:
    """The containers of the cluster, of ``processes`` where given. Needs ``Containers`` observed."""
    return [
        Source(node, container)
        for node in cluster.nodes
        for container in node.get(Containers(node.settings.cluster)).containers
        if not processes or container.process in processes
    ]


def printed(found: Sequence[Source], *, since: str = "", tail: str = "all") -> Iterator[LogLine]:
    """All lines so far, merged by time."""
    return heapq.merge(*(_lines(s, follow=False, since=since, tail=tail) for s in found))


def followed(found: Sequence[Source], *, since: str = "", tail: str = "all") -> Iterator[LogLine]:
    """Lines as they come, until every process has ended."""
    inbox: queue.Queue[LogLine | None] = queue.Queue(maxsize=10_000)
    for source in found:
        threading.Thread(target=_pump, args=(source, inbox, since, tail), daemon=True).start()
    open_sources = len(found)
    while open_sources:
        line = inbox.get()
        if line is None:
            open_sources -= 1
        else:
            yield line


def _pump(source: Source, inbox: queue.Queue[LogLine | None], since: str, tail: str) -> None:
    try:
        for line in _lines(source, follow=True, since=since, tail=tail):
            inbox.put(line)
        inbox.put(_note(source, _end(source)))
    except ProvisionError as error:
        inbox.put(_note(source, f"log lost: {error}"))
    finally:
        inbox.put(None)


def _lines(source: Source, *, follow: bool, since: str, tail: str) -> Iterator[LogLine]:
    name, process = source.node.name, source.container.process
    for raw in source.node.stream(source.script(follow=follow, since=since, tail=tail)):
        time, _, text = raw.partition(" ")
        yield LogLine(time, name, process, text)


def _end(source: Source) -> str:
    own = Containers(source.node.settings.cluster)
    source.node.observe([own])
    now = source.node.get(own).process(source.container.process)
    if now is None or now.id != source.container.id:
        return "the container was removed"
    return f"{now.state}" + (f" with exit status {now.exit_code}" if not now.running else "")


def _note(source: Source, text: str) -> LogLine:
    return LogLine("", source.node.name, source.container.process, text, note=True)


def prefixes(found: Iterable[Source]) -> dict[tuple[str, str], str]:
    """``node/process`` of each source, padded to one width."""
    names = {(s.node.name, s.container.process): f"{s.node.name}/{s.container.process}" for s in found}
    width = max((len(n) for n in names.values()), default=0)
    return {key: name.ljust(width) for key, name in names.items()}
