"""One archive of all that tells why a cluster failed, taken from all its nodes at the same time.

Each node sends one compressed stream; it is masked and written as it comes, so memory stays flat, and what has come
stays when a node is lost or the operator has enough. What could not be had is named in the manifest, with its reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast, get_args

from provision import __version__, clock
from provision.diagnose import items
from provision.diagnose.archive import Names, NodeRecord, Partial, default_name
from provision.diagnose.diagnosis import Diagnosis, Evidence
from provision.diagnose.examine import examine
from provision.diagnose.frames import BrokenStream, Frames, Header, Omitted, Tar, Trailer
from provision.diagnose.live import manifest_of
from provision.diagnose.manifest import FileEntry, Kind, Manifest, NodeEntry
from provision.diagnose.opening import open_evidence
from provision.errors import ProvisionError, UsageError
from provision.inventory.model import Host
from provision.node import Cluster, Node
from provision.secrets import redact, redact_bytes, redact_data

MOST_FILES = 20_000
"""Files of a node, at most."""

_SLACK = 64_000_000
"""Bytes that a node may send beyond its limit: its script counts before it sends."""

_HELD = 1 << 20
"""Bytes of a line, or of a key's block, that are held until its end comes."""

_ABSENT = "no such folder in the container"
_NOT_FOUND = "could not find the file|no such file|could not be found|no such container:path"
"""How docker, nerdctl and podman say so."""

_KINDS: Mapping[str, Kind] = {kind: kind for kind in get_args(Kind)}


@dataclass(frozen=True, slots=True)
class Options:
    """``max_file`` and ``max_node`` in bytes: of a longer file its end is kept. ``timeout``: seconds for a node.
    ``since``: as ``docker logs --since`` takes it. ``without``: parts (``items.PARTS``) that are left out.
    ``run``: a run directory whose record goes along. ``texts``: further files of the archive. ``afresh``: forget what
    an earlier call had. ``resumable``: keep the partial folder where nodes are missing. ``tools``: seconds that npu-smi
    and hccn_tool may take, half of ``timeout`` where 0; ``brief``: see ``items.Caps``."""

    max_file: int = 64_000_000
    max_node: int = 512_000_000
    timeout: float = 600.0
    since: str = ""
    without: frozenset[str] = frozenset()
    run: Path | None = None
    texts: Mapping[str, str] = field(default_factory=dict)
    afresh: bool = False
    resumable: bool = True
    tools: int = 0
    brief: bool = False


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a node is: ``files`` and ``bytes`` written so far, ``doing``: what runs there now."""

    node: str
    files: int = 0
    bytes: int = 0
    doing: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Collected:
    """``path``: the archive, ``size`` in bytes. ``resumed``: nodes that an earlier call had whole. ``partial``: the
    folder from which another call goes on; None where nothing is missing."""

    path: Path
    manifest: Manifest
    diagnosis: Diagnosis
    size: int = 0
    resumed: tuple[str, ...] = ()
    partial: Path | None = None

    @property
    def missing(self) -> dict[str, str]:
        """Nodes of which something is missing as a whole, and why."""
        return {node.name: node.missing for node in self.manifest.nodes if node.missing}


Finish = Callable[[Evidence, Diagnosis], Mapping[str, str]]
"""Makes further files of the archive from what was made of it: a report to read."""


def collect(
    cluster: Cluster,
    to: Path,
    options: Options | None = None,
    *,
    hosts: Sequence[Host] = (),
    unreachable: Mapping[str, str] | None = None,
    error: str = "",
    command: str = "",
    progress: Callable[[Progress], None] = lambda _: None,
    finish: Finish = lambda evidence, diagnosis: {},
) -> Collected:
    """Write the archive ``to``. Raises ``UsageError`` where it can't be written; nodes that fail are only named."""
    options = options or Options()
    hosts = hosts or cluster.hosts
    named = cluster.nodes[0].settings.cluster if cluster.nodes else hosts[0].settings.cluster if hosts else "cluster"
    partial = Partial.open(to, f"evidence-{default_name(named)}", afresh=options.afresh)
    try:
        return _collected(cluster, partial, options, hosts, dict(unreachable or {}), error, command, progress, finish)
    except OSError as failure:
        hint = f"what has come is kept in {partial.path}: make room, then call again to go on"
        raise UsageError(f"{to}: {failure.strerror or failure}", hint=hint) from failure
    finally:
        partial.close()


def _collected(
    cluster: Cluster,
    partial: Partial,
    options: Options,
    hosts: Sequence[Host],
    unreachable: dict[str, str],
    error: str,
    command: str,
    progress: Callable[[Progress], None],
    finish: Finish,
) -> Collected:
    manifest = manifest_of(cluster, hosts, error=redact(error), command=redact(command))
    manifest = cast("Manifest", redact_data(manifest))  # command lines of servers, too
    nodes = {entry.name: entry for entry in _entries(manifest, cluster, hosts)}
    before = {name: partial.record(name) for name in nodes}
    resumed = tuple(name for name, record in before.items() if record is not None and record.complete)
    asked = [node for node in cluster.nodes if node.name not in resumed]
    if asked:
        wanted = {node.name for node in asked}
        cluster.each(
            lambda node: (
                _fetch(node, nodes[node.name].folder, partial, options, progress) if node.name in wanted else None
            )
        )
    records = {name: partial.record(name) or NodeRecord(name, complete=False) for name in nodes}
    missing = {name: _missing(record, unreachable.get(name, "")) for name, record in records.items()}
    files = [file for record in records.values() for file in record.files]
    files += _own(partial, options)
    manifest = replace(
        manifest,
        taken=manifest.taken or clock.now(),
        tool=manifest.tool or f"qnext-provision {__version__}",
        run=manifest.run or (options.run.name if options.run else ""),
        nodes=tuple(replace(entry, missing=missing[name] or entry.missing) for name, entry in nodes.items()),
        files=tuple(files),
    )
    manifest, diagnosis = _summed_up(partial, manifest, finish)
    size = partial.pack()
    whole = all(record.complete for record in records.values())
    if whole or not options.resumable:
        partial.remove()
    return Collected(partial.target, manifest, diagnosis, size, resumed, None if whole else partial.path)


def _entries(manifest: Manifest, cluster: Cluster, hosts: Sequence[Host]) -> list[NodeEntry]:
    """All nodes, each in a folder that no other one has."""
    index = {host.name: host.index for host in hosts} | {node.name: node.index for node in cluster.nodes}
    return [
        replace(manifest.node(name) or NodeEntry(name, number, ""), folder=f"worker-{number}")
        for name, number in sorted(index.items(), key=lambda one: one[1])
    ]


def _missing(record: NodeRecord, unreachable: str) -> str:
    """Why not all of a node is here."""
    if record.complete:
        return ""
    why = record.problem or unreachable or "it was not asked"
    return f"{why}; what came before is here" if record.files else why


def kept(
    cluster: Cluster,
    folder: Path,
    options: Options,
    *,
    error: str = "",
    unreachable: Mapping[str, str] | None = None,
    finish: Finish = lambda evidence, diagnosis: {},
) -> Collected:
    """An archive in a run's own folder, under a name that is free there; nothing else is left of it."""
    names = ("evidence.tar.gz", *(f"evidence-{number}.tar.gz" for number in range(2, 1000)))
    to = next(folder / name for name in names if not (folder / name).exists())
    own = replace(options, run=options.run or folder, resumable=False, afresh=True)
    return collect(cluster, to, own, error=error, unreachable=unreachable, finish=finish)


# ---- a node


def _fetch(node: Node, folder: str, partial: Partial, options: Options, progress: Callable[[Progress], None]) -> None:
    """Take what a node sends, until its end or the end of its time; then write down what has come."""
    tools = options.tools or int(options.timeout / 2)
    caps = items.Caps(options.max_file, options.max_node, tools, options.brief)
    script = items.script(node.settings, caps, since=options.since, without=options.without)
    partial.clear(folder)
    partial.clear(f"launch/{folder_of(node.name)}")
    taken = NodeFiles(partial, node.name, folder, options, progress)
    frames = Frames(taken)
    problem = ""
    try:
        for piece in node.pipe(script, deadline=options.timeout):
            frames.feed(piece)
    except BrokenStream as broken:
        problem = f"what it sent can't be read: {broken}"
    except ProvisionError as error:
        problem = redact(error.message)
    finally:
        frames.end()
        if not frames.done and taken.at:
            problem = f"{problem or 'its answer broke off'} (at: {taken.at})"
        partial.keep(NodeRecord(node.name, frames.done, tuple(taken.files), problem))
    progress(Progress(node.name, len(taken.files), taken.bytes, problem, done=True))


def folder_of(node: str) -> str:
    """A node's name as one part of a path."""
    return Names().claim(node.replace("/", "_"))


class NodeFiles:
    """What a node sends, as files of the archive. ``files``: what came, and what did not; ``at``: what runs there."""

    def __init__(
        self, partial: Partial, node: str, folder: str, options: Options, progress: Callable[[Progress], None]
    ) -> None:
        self.files: list[FileEntry] = []
        self.bytes = 0
        self.at = ""
        self._partial = partial
        self._node = node
        self._folder = folder
        self._options = options
        self._progress = progress
        self._names = Names()
        self._header = Header("state", "file", "", "", "")
        self._tar: Tar | None = None
        self._tar_problem = ""
        self._from = 0
        self._sink: Sink | None = None
        self._skip = 0
        self._size = 0
        self._told = 0.0
        self._over = ""

    # the stream

    def doing(self, text: str) -> None:
        self.at = _plain(text)
        self._progress(Progress(self._node, len(self.files), self.bytes, self.at))

    def opened(self, header: Header) -> None:
        self._header = header
        self._skip, self._from, self._tar_problem = 0, len(self.files), ""
        self._tar = Tar(self._tree()) if header.form == "tar" else None
        if self._tar is None:
            self._open(header.path)

    def data(self, content: bytes) -> None:
        if self._tar is None:
            self.write(content)
        elif not self._tar_problem:
            try:
                self._tar.feed(content)
            except BrokenStream as broken:
                self._tar_problem = str(broken)

    def closed(self, trailer: Trailer | None) -> None:
        problem = "broken off" if trailer is None else trailer.problem or _ending(trailer.exit)
        if self._tar is not None:
            self._tar_closed(self._tar, trailer, problem)
        elif self._sink is not None:
            self._close(trailer, problem, trailer.whole if trailer else 0)

    def omitted(self, file: Omitted) -> None:
        path = self._names.claim(file.path)
        self._add(self._entry(path, file.kind, file.process, whole=file.whole, problem=_plain(file.problem)))

    # files

    def _open(self, path: str) -> None:
        placed = self._place(path)
        full = len(self.files) >= MOST_FILES or self.bytes > self._options.max_node + _SLACK
        self._over = "left out: the node's limit is reached" if full else ""
        self._sink = None if full else Sink(self._partial.create(placed), placed)
        if full:
            self._add(self._entry(placed, self._header.kind, self._header.process, problem=self._over))

    def _place(self, path: str) -> str:
        """Below the node's folder; launch scripts have one of their own."""
        if self._header.kind == "launch":
            return f"launch/{folder_of(self._node)}/{self._names.claim(path.removeprefix('@launch/'))}"
        return f"{self._folder}/{self._names.claim(path)}"

    def write(self, content: bytes) -> None:
        """Content of the file that is open, without what must be passed over of it."""
        if self._skip:
            content, self._skip = content[self._skip :], max(0, self._skip - len(content))
        if self._sink is None or not content:
            return
        room = self._options.max_node + _SLACK - self.bytes
        self._sink.write(content[: max(room, 0)])
        self.bytes += len(content)
        now = clock.monotonic()
        if now - self._told > 0.5:
            self._told = now
            self._progress(Progress(self._node, len(self.files), self.bytes, self.at))

    def _close(self, trailer: Trailer | None, problem: str, whole: int) -> None:
        sink, self._sink = self._sink, None
        if sink is None:
            return
        written = sink.close()
        entry = self._entry(sink.path, self._header.kind, self._header.process, problem=_plain(problem))
        self._add(
            replace(
                entry,
                bytes=written,
                whole=written + max(0, whole - sink.received),
                exit=(trailer.exit or 0) if trailer else 0,
                seconds=float(trailer.seconds) if trailer else 0.0,
            )
        )

    def _entry(self, path: str, kind: str, process: str, *, whole: int = 0, problem: str = "") -> FileEntry:
        told = _plain(self._header.command)
        return FileEntry(
            path, _KINDS.get(kind, "state"), self._node, _plain(process), whole=whole, command=told, problem=problem
        )

    def _add(self, entry: FileEntry) -> None:
        if len(self.files) < MOST_FILES:
            self.files.append(entry)

    # folders

    def _tree(self) -> _Members:
        return _Members(self)

    def member(self, name: str, size: int) -> None:
        """A plain file of a folder: its end, where it is longer than a file may be."""
        self.end_member()
        _, _, below = name.lstrip("./").partition("/")
        self._open(f"{self._header.path}/{below or name}")
        self._skip = max(0, size - self._options.max_file)
        self._size = size

    def end_member(self, problem: str = "") -> None:
        if self._sink is not None:
            self._close(None, problem, self._size)

    def passed_over(self, name: str, what: str) -> None:
        path = f"{self._folder}/{self._names.claim(f'{self._header.path}/{name}')}"
        self._add(self._entry(path, self._header.kind, self._header.process, problem=f"left out: it is {what}"))

    def _tar_closed(self, tar: Tar, trailer: Trailer | None, problem: str) -> None:
        whole = tar.ended or (not tar.members and problem)
        cut = "" if whole else "more than its limit: the rest of the folder was left out" if trailer else "broken off"
        self.end_member("" if whole else "cut off: its end is missing")
        problem = _ABSENT if re.search(_NOT_FOUND, problem, re.IGNORECASE) else problem
        told = self._tar_problem or (problem if not tar.members or trailer is None else "") or cut
        if told or len(self.files) == self._from:
            path = f"{self._folder}/{self._names.claim(self._header.path)}"
            told = told or "the folder is empty"
            self._add(self._entry(path, self._header.kind, self._header.process, problem=_plain(told)))


class _Members:
    """The files of a folder that comes as tar."""

    def __init__(self, files: NodeFiles) -> None:
        self._files = files

    def file(self, name: str, size: int, modified: int) -> None:
        self._files.member(name, size)

    def data(self, content: bytes) -> None:
        self._files.write(content)

    def passed_over(self, name: str, what: str) -> None:
        self._files.passed_over(name, what)


class Sink:
    """A file that is masked while it is written, in whole lines. ``received``: bytes before masking."""

    def __init__(self, file: BinaryIO, path: str) -> None:
        self.path = path
        self.received = 0
        self._file = file
        self._held = b""
        self._written = 0

    def write(self, content: bytes) -> None:
        self.received += len(content)
        data = self._held + content
        cut = data.rfind(b"\n") + 1
        begun = data.rfind(b"-----BEGIN ", 0, cut)
        if begun >= 0 and data.find(b"-----END ", begun, cut) < 0:
            cut = data.rfind(b"\n", 0, begun) + 1  # a key's lines are known by its first one
        if len(data) - cut > _HELD:
            cut = len(data)
        self._held = data[cut:]
        self._out(data[:cut])

    def _out(self, lines: bytes) -> None:
        if lines:
            masked = redact_bytes(lines)
            self._written += len(masked)
            self._file.write(masked)

    def close(self) -> int:
        """Bytes that were written."""
        self._out(self._held)
        self._held = b""
        self._file.close()
        return self._written


def _ending(code: int | None) -> str:
    if code in (0, 141):
        return ""
    if code in (124, 137):
        return "it had not ended after its time limit"
    return "how it ended is not known" if code is None else f"exit status {code}"


def _plain(text: str) -> str:
    """A node's words on one line that a terminal may show."""
    return redact("".join(char if char.isprintable() else " " for char in text))[:500].strip()


# ---- what is the controller's own


def _own(partial: Partial, options: Options) -> list[FileEntry]:
    """The record of the run, and further texts."""
    files = [_text(partial, path, text, "state") for path, text in options.texts.items()]
    for path in sorted(options.run.rglob("*")) if options.run and options.run.is_dir() else ():
        below = path.relative_to(options.run).as_posix() if options.run else ""
        if not path.is_file() or path.is_symlink() or not below.startswith(("run.json", "events.jsonl", "commands/")):
            continue
        if not below.endswith((".json", ".jsonl", ".log")):
            continue
        name = f"run/{Names().claim(below)}"
        size = partial.copy(name, path)
        files.append(FileEntry(name, "run", bytes=size, whole=size))
    return files


def _text(partial: Partial, path: str, text: str, kind: Kind) -> FileEntry:
    content = text.encode("utf-8", "replace")
    partial.write(path, content)
    return FileEntry(path, kind, bytes=len(content), whole=len(content))


def _summed_up(partial: Partial, manifest: Manifest, finish: Finish) -> tuple[Manifest, Diagnosis]:
    """Examine what has come, and add what was made of it."""
    partial.write("manifest.json", manifest.as_json().encode("utf-8", "replace"))
    try:
        evidence = open_evidence([partial.folder])
        diagnosis = examine(evidence)
        texts = {"diagnosis.json": _as_json(diagnosis), **finish(evidence, diagnosis)}
    except Exception as error:  # whatever goes wrong in reading logs, they must come home
        diagnosis = Diagnosis(
            False, False, f"what was collected could not be examined: {type(error).__name__}: {error}"
        )
        texts = {"diagnosis.json": _as_json(diagnosis)}
    added = [_text(partial, path, redact(text), "summary") for path, text in texts.items()]
    manifest = replace(manifest, files=(*manifest.files, *added))
    partial.write("manifest.json", manifest.as_json().encode("utf-8", "replace"))
    return manifest, diagnosis


def _as_json(diagnosis: Diagnosis) -> str:
    return json.dumps(asdict(diagnosis), indent=1, ensure_ascii=False) + "\n"
