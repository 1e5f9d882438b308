"""The evidence of a live cluster, read once: one exec observes a node, another brings the ends of its logs.

Nothing of it needs to be on disk. Logs bear docker's stamps, which are UTC by the node's clock; how far that clock is
from ours is observed at the same time. A node that can't be looked at is named with its reason, and the others tell
what they know.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from provision import __version__, clock
from provision.accel.ascend.kernel_log import PATTERN
from provision.diagnose.diagnosis import Evidence, ProcessLog, Source
from provision.diagnose.manifest import FileEntry, Manifest, NodeEntry, ProcessEntry
from provision.diagnose.versions import facts as version_facts
from provision.diagnose.versions import versions_of
from provision.errors import ProvisionError, RemoteError, Unreachable
from provision.facts.docker import Container, Containers, ContainersValue
from provision.facts.reading import integer
from provision.facts.system import Clock, ClockValue
from provision.inventory.model import Host, Inventory, Settings
from provision.node import Cluster, Node
from provision.serve import launch
from provision.serve.plan import LaunchPlan, Process
from provision.shell import quote

PLOGS = 8
"""Files of CANN's logs that are read of each container, the newest; all its device processes write their own."""
PLOG_BYTES = 512 * 1024
"""Bytes at the end of each of them."""
_TREE_BYTES = 32 * 1024 * 1024
_NODE_BYTES = 256 * 1024 * 1024
_DEADLINE = 120.0
_KERNEL_LINES = 400


def observe(
    cluster: Cluster,
    inventory: Inventory | None,
    *,
    keep: bool = False,
    hosts: Sequence[Host] | None = None,
    unreachable: Mapping[str, str] | None = None,
) -> Evidence:
    """All processes' logs, and the nodes and containers as they are now.

    ``keep``: also keep each log in the run directory. ``hosts``: those it is about, where not all; ``unreachable``: why
    some of them are not among the nodes.
    """
    if hosts is None:
        hosts = inventory.hosts if inventory else cluster.hosts
    manifest = manifest_of(cluster, hosts, unreachable=unreachable or {})
    restarts = len(cluster.restarts) if keep else 0
    brought = cluster.each(_read) if cluster.nodes else {}
    if keep:
        for node in cluster.nodes:
            _keep(node, brought[node.name], restarts)
    logs = [_as_log(manifest, node, text) for node, read in brought.items() for text in read.texts]
    return Evidence(_with_losses(manifest, brought), tuple(logs))


def manifest_of(
    cluster: Cluster,
    hosts: Sequence[Host],
    *,
    error: str = "",
    command: str = "",
    unreachable: Mapping[str, str] | None = None,
) -> Manifest:
    """What is known of the cluster, observed in one exec a node; processes by the plan where it can be made, else by
    their containers. Hosts that are no nodes of the cluster are missing, for the reason in ``unreachable``."""
    hosts = hosts or cluster.hosts
    seen = cluster.each(_look) if cluster.nodes else {}
    plan = _plan(cluster, hosts)
    names = [host.name for host in hosts] or [node.name for node in cluster.nodes]
    entries = tuple(_node_entry(cluster, name, hosts, seen, plan, unreachable or {}) for name in names)
    settings = cluster.settings if cluster.nodes else (hosts[0].settings if hosts else None)
    return Manifest(
        cluster=settings.cluster if settings else "",
        taken=clock.now(),
        tool=f"qnext-provision {__version__}",
        run=cluster.folder.name if cluster.folder else "",
        command=command,
        error=error,
        topology=settings.serve.topology if settings else "",
        hardware=settings.hardware if settings else "",
        model=plan.model_path if plan else settings.model.folder if settings else "",
        served_name=plan.served_name if plan else "",
        endpoint=plan.endpoint if plan else "",
        nodes=entries,
        processes=tuple(_processes(plan, names, seen)),
    )


def log_name(process: str, restarts: int) -> str:
    """What a process's log is called in the run directory: ``head.log``, and ``head.2.log`` after the first restart of
    a group."""
    return f"{process}.{restarts + 1}.log" if restarts else f"{process}.log"


# ---- what a node is


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a look at a node gave; ``missing``: why it gave nothing, or not all."""

    containers: ContainersValue = field(default_factory=ContainersValue)
    clock: ClockValue = field(default_factory=ClockValue)
    missing: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def offset(self) -> float | None:
        """Seconds that the node's clock is ahead of ours, by the middle of the time in which it was read; 0 where it
        may be ours, so that what is measured twice is the same."""
        if self.clock.epoch is None or self.clock.when is None:
            return None
        first, last = self.clock.when
        return 0.0 if first <= self.clock.epoch <= last else self.clock.epoch - (first + last) / 2

    @property
    def zone(self) -> float | None:
        """Seconds that its local time is ahead of UTC."""
        found = re.fullmatch(r"([+-])([0-9]{2})([0-9]{2})", self.clock.utc_offset, re.ASCII)
        if found is None:
            return None
        seconds = int(found[2]) * 3600.0 + int(found[3]) * 60.0
        return -seconds if found[1] == "-" else seconds


def _look(node: Node) -> _Seen:
    """One exec. What a failure looked at before is looked at again: it is no longer true."""
    own = Containers(node.settings.cluster)
    wanted = list(dict.fromkeys((own, Clock(), *launch.facts(node.settings), *version_facts(node.settings))))
    try:
        node.observe(wanted)
        found = node.get(own)
        silent = "" if found.reachable else f"docker does not answer: {'; '.join(found.problems) or 'no reason given'}"
        return _Seen(found, node.get(Clock()), silent, versions_of(node))
    except (Unreachable, RemoteError) as error:
        return _Seen(missing=error.message)


def _plan(cluster: Cluster, hosts: Sequence[Host]) -> LaunchPlan | None:
    """The plan of all hosts, for who is out of sight takes part too; None where it can't be made."""
    every = tuple(cluster.hosts or hosts)
    try:
        if not cluster.nodes:
            return launch.declared(Inventory("", every, {})).plan if every else None
        return (
            launch.partly_observed(Inventory("", every, {}), cluster).plan if every else launch.observed(cluster).plan
        )
    except (ProvisionError, KeyError):
        return None


def _node_entry(
    cluster: Cluster,
    name: str,
    hosts: Sequence[Host],
    seen: Mapping[str, _Seen],
    plan: LaunchPlan | None,
    unreachable: Mapping[str, str],
) -> NodeEntry:
    host = next((host for host in hosts if host.name == name), None)
    node = next((node for node in cluster.nodes if node.name == name), None)
    index = host.index if host else node.index if node else 0
    planned = [p.address for p in plan.processes if p.node == name and p.address] if plan else []
    address = planned[0] if planned else host.connection.host if host else ""
    look = seen.get(name) or _Seen(missing=unreachable.get(name, "it was not looked at"))
    return NodeEntry(name, index, f"worker-{index}", address, look.offset, look.zone, look.missing, look.versions)


def _processes(plan: LaunchPlan | None, names: Sequence[str], seen: Mapping[str, _Seen]) -> Iterator[ProcessEntry]:
    """Those of the plan on these nodes, and containers of ours that it does not name."""
    for name in names:
        look = seen.get(name) or _Seen()
        there = {container.process: container for container in look.containers.containers}
        for process in plan.processes if plan else ():
            if process.node == name and plan:
                yield _of_plan(plan, process, there.pop(process.name, None), look)
        for container in there.values():
            yield _of_container(container, ProcessEntry(container.process, name, container.kind or "server"), look)


def _of_plan(plan: LaunchPlan, process: Process, container: Container | None, look: _Seen) -> ProcessEntry:
    made = ProcessEntry(
        name=process.name,
        node=process.node,
        kind=process.kind,
        rank=process.rank if process.kind == "server" else None,
        group=process.group,
        role=process.role,
        headless=process.headless,
        state="missing" if look.containers.reachable else "unknown",
        image=process.image or plan.image,
        api=process.api_port,
        argv=process.argv,
        unit=plan.unit_of(process),
    )
    return _of_container(container, made, look) if container else made


def _of_container(container: Container, made: ProcessEntry, look: _Seen) -> ProcessEntry:
    return replace(
        made,
        rank=container.rank if made.rank is None and made.kind == "server" else made.rank,
        group=made.group or container.group,
        headless=made.headless or container.headless,
        container=container.name,
        state=container.state,
        exit_code=None if container.running else container.exit_code,
        oom_killed=container.oom_killed,
        started=_moment(container.started, look.offset),
        finished=None if container.running else _moment(container.finished, look.offset),
        image=container.image or made.image,
    )


def _moment(stamp: str, offset: float | None) -> float | None:
    """A time of docker's as seconds by our clock."""
    found = re.match(r"([0-9-]{10}T[0-9:]{8})(\.[0-9]{1,6})?[0-9]*(Z|[+-][0-9]{2}:[0-9]{2})", stamp, re.ASCII)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found[1] + found[3].replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
    return at + float(found[2] or 0) - (offset or 0.0)


# ---- what it says


@dataclass(frozen=True, slots=True)
class _Text:
    """A log as a node sent it. ``name``: of the file, where it was one."""

    kind: str
    process: str
    text: str
    name: str = ""
    cut: bool = False


@dataclass(frozen=True, slots=True)
class _Read:
    texts: tuple[_Text, ...] = ()
    problem: str = ""


def _script(settings: Settings) -> str:
    """Sections begin with ``==> ``, files in one with ``--> ``, lines of a log with ``|``, of a tar in base64 with
    ``=``: so no log can look like anything else."""
    label = quote(f"label=qnext.cluster={settings.cluster}")
    plogs = "" if settings.hardware == "cpu" else '  plogs "$id" "$process" "$state"\n'
    return f"""\
lines() {{ tr -d '\\000' | sed 's/^/|/'; echo; }}
pack() {{ if command -v gzip >/dev/null; then gzip -1 -c; else cat; fi; }}
plogs() {{
  printf '==> plog %s\\n' "$2"
  case $3 in
  running) timeout 30 docker exec "$1" sh -c {quote(_INSIDE)} 2>/dev/null </dev/null | grep -a '^[|-]' ;;
  *)
    f='{{{{range .Config.Env}}}}{{{{println .}}}}{{{{end}}}}'
    d=$(docker inspect --type container --format "$f" "$1" 2>/dev/null |
      sed -n 's/^ASCEND_PROCESS_LOG_PATH=//p')
    timeout 30 docker cp "$1:${{d:-/root/ascend/log}}" - 2>/dev/null </dev/null |
      head -c {_TREE_BYTES} | base64 | sed 's/^/=/' ;;
  esac
}}
{{
docker ps -a --filter {label} --format '{{{{.ID}}}} {{{{.Label "qnext.process"}}}} {{{{.State}}}}' 2>/dev/null |
while read -r id process state; do
  printf '==> stdout %s\\n' "$process"
  timeout 60 docker logs --timestamps --tail {launch.KEPT_LINES} "$id" 2>&1 </dev/null | lines
{plogs}done
{_HOST_PLOGS if settings.install.method == "source" and settings.hardware != "cpu" else ""}\
echo '==> kernel'
{{ dmesg -T 2>/dev/null || dmesg 2>/dev/null ||
  for f in /var/log/messages /var/log/kern.log /var/log/syslog; do
    if [ -r "$f" ]; then tail -n 20000 "$f"; break; fi
  done; }} | grep -aiE '{PATTERN}|Killed process|oom-kill|out of memory' |
  tail -n {_KERNEL_LINES} | cut -c 1-500 | lines
}} | pack
"""


_INSIDE = f"""\
cd "${{ASCEND_PROCESS_LOG_PATH:-$HOME/ascend/log}}" 2>/dev/null || exit 0
ls -t debug/plog/plog-*.log run/plog/plog-*.log debug/device-*/device-*.log 2>/dev/null | head -n {PLOGS} |
while IFS= read -r f; do
  echo "--> $f $(wc -c <"$f")"
  tail -c {PLOG_BYTES} "$f" | tr -d '\\000' | sed 's/^/|/'
  echo
done
"""
_HOST_PLOGS = f"echo '==> plog -'\nHOME=/root sh -c {quote(_INSIDE)} 2>/dev/null | grep -a '^[|-]'\n"


def _read(node: Node) -> _Read:
    """The ends of all logs of a node; what came before a connection broke counts."""
    unpacked = _Unpacked()
    problem = ""
    try:
        for piece in node.pipe(_script(node.settings), deadline=_DEADLINE):
            unpacked.take(piece)
            if len(unpacked.data) > _NODE_BYTES:
                problem = f"only the first {_NODE_BYTES >> 20} MiB of its logs were read"
                break
    except (Unreachable, RemoteError, OSError) as error:
        problem = f"reading its logs broke off: {error}"
    except zlib.error as error:
        problem = f"its logs came damaged: {error}"
    return _Read(tuple(texts_of(bytes(unpacked.data))), problem)


@dataclass(slots=True)
class _Unpacked:
    """Bytes as they come, unpacked where they are gzip's."""

    data: bytearray = field(default_factory=bytearray)
    _first: bytes = b""
    _gzip: zlib._Decompress | None = None
    _known: bool = False

    def take(self, piece: bytes) -> None:
        if not self._known:
            self._first += piece
            if len(self._first) < 2:
                return
            piece, self._known = self._first, True
            self._gzip = zlib.decompressobj(31) if piece[:2] == b"\x1f\x8b" else None
        self.data += self._gzip.decompress(piece) if self._gzip else piece


def texts_of(data: bytes) -> Iterator[_Text]:
    """The logs in a node's answer. Never raises: what is broken off is a shorter log."""
    for part in (b"\n" + data).split(b"\n==> ")[1:]:
        head, _, body = part.partition(b"\n")
        kind, _, process = head.decode("utf-8", "replace").partition(" ")
        if kind == "plog":
            yield from _plogs(process.strip("-"), body)
        elif text := _unquoted(body):
            yield _Text(kind, process, text, cut=kind == "stdout" and text.count("\n") + 1 >= launch.KEPT_LINES)


def _unquoted(body: bytes) -> str:
    lines = [line[1:] for line in body.split(b"\n") if line.startswith(b"|")]
    return b"\n".join(lines).decode("utf-8", "replace")


def _plogs(process: str, body: bytes) -> Iterator[_Text]:
    if body.startswith(b"="):
        yield from _of_tree(process, body)
        return
    for part in (b"\n" + body).split(b"\n--> ")[1:]:
        head, _, own = part.partition(b"\n")
        path, _, size = head.decode("utf-8", "replace").rpartition(" ")
        if text := _unquoted(own):
            yield _plog(process, path, text, cut=(integer(size) or 0) > PLOG_BYTES)


def _plog(process: str, path: str, text: str, *, cut: bool) -> _Text:
    name = path.rsplit("/", 1)[-1]
    return _Text("device" if name.startswith("device-") else "plog", process, text, name, cut)


def _of_tree(process: str, body: bytes) -> Iterator[_Text]:
    """The newest logs in what ``docker cp`` gave, as far as it came."""
    found: list[tuple[float, str, bytes]] = []
    try:
        encoded = b"".join(line[1:] for line in body.split(b"\n") if line.startswith(b"="))
        with tarfile.open(fileobj=io.BytesIO(_decoded(encoded)), mode="r|") as tree:
            for member in tree:
                if member.isreg() and re.search(r"/(plog|device)-[^/]*\.log$", member.name):
                    taken = tree.extractfile(member)
                    found.append((member.mtime, member.name, taken.read() if taken else b""))
    except (tarfile.TarError, EOFError, OSError, ValueError):
        pass  # broken off: the files before it are whole
    for _, name, content in sorted(found, reverse=True)[:PLOGS]:
        text = content[-PLOG_BYTES:].decode("utf-8", "replace")
        yield _plog(process, name, text, cut=len(content) > PLOG_BYTES)


def _decoded(encoded: bytes) -> bytes:
    from base64 import b64decode

    return b64decode(encoded[: len(encoded) // 4 * 4])


# ---- both together


def _as_log(manifest: Manifest, node: str, text: _Text) -> ProcessLog:
    entry, own = manifest.node(node), manifest.process(text.process, node) if text.process else None
    made = ProcessLog(
        node=node,
        process=text.process,
        text=text.text,
        source=_SOURCES.get(text.kind, "stdout"),
        offset=(entry.offset if entry else None) or 0.0,
        zone=(entry.zone if entry else None) or 0.0,
        path=text.name,
        cut=text.cut,
    )
    if own is None:
        return made
    rank = own.rank or 0
    return replace(made, exit_code=own.exit_code, rank=rank, oom_killed=own.oom_killed, container=own.container)


_SOURCES: Mapping[str, Source] = {"plog": "plog", "device": "device", "kernel": "kernel"}


def _with_losses(manifest: Manifest, brought: Mapping[str, _Read]) -> Manifest:
    """A node whose logs did not come whole says so, unless it has said worse."""
    nodes = (
        replace(node, missing=brought[node.name].problem) if node.name in brought and not node.missing else node
        for node in manifest.nodes
    )
    return replace(manifest, nodes=tuple(nodes), files=tuple(_files(brought)))


def _files(brought: Mapping[str, _Read]) -> Iterable[FileEntry]:
    for node, read in brought.items():
        for text in read.texts:
            size = len(text.text)
            problem = "only its end was read" if text.cut else ""
            path = "/".join(part for part in (node, text.process, text.name) if part)
            yield FileEntry(path, _SOURCES.get(text.kind, "stdout"), node, text.process, size, problem=problem)


def _keep(node: Node, read: _Read, restarts: int) -> None:
    for text in read.texts:
        if text.kind == "stdout":
            node.keep(log_name(text.process, restarts), text.text)
        elif text.kind in ("plog", "device"):
            node.keep(log_name(f"{text.process}.{text.name.removesuffix('.log')}", restarts), text.text)
        else:
            node.keep(log_name(text.kind, restarts), text.text)
