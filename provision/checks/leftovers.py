"""Nothing is left over from servers that are gone: processes outside of containers, shared memory, ended containers.

Processes hold memory, ports or NPUs, and survive the shell that started them; files in /dev/shm are memory, until a
reboot; an ended container of ours that the present launch does not know keeps its name and its log [domain 11].
Processes are only told, never ended. ``--fix`` removes from /dev/shm what belongs to root, has a name that vLLM, torch
or Python's multiprocessing gives, and is neither mapped nor open in any process; and ended containers that carry this
cluster's label.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

from provision.actions import Action, Run
from provision.checks.base import Finding
from provision.checks.support import MIB, listed, look, size, span_of_time
from provision.facts.base import Fact
from provision.facts.docker import Container, Containers
from provision.facts.files import Listing
from provision.facts.processes import Processes, ServerProcess
from provision.facts.shm import IN_USE, SharedFile, SharedMemory
from provision.inventory.model import Settings
from provision.node import Node
from provision.results import ActionResult
from provision.serve import launch
from provision.shell import join

CODE = "N21"
LEVEL = "warn"
SCOPE = "node"

SERVERS = ("python", "vllm", "torch", "collective")
"""Kinds of files in /dev/shm that a server makes for itself alone. A semaphore of another name, or Ray's store, may be
meant to outlive its process."""


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Processes(), SharedMemory(), Containers(settings.cluster), Listing(launch.script_folder(settings))


def run(node: Node) -> Iterable[Finding]:
    yield from _processes(look(node, Processes()).processes)
    ours = node.get(Containers(node.settings.cluster)).containers
    yield from _containers(_forgotten(node, ours))
    if not any(container.running for container in ours):
        yield from _shared_memory(_unused(node))


def fix(args: object, node: Node, findings: tuple[Finding, ...]) -> Generator[Action, ActionResult, None]:
    """Remove what the findings that can be mended name: looked at again on the node, just before."""
    names = {finding.fix for finding in findings}
    files = [file for file in _unused(node) if _removable(file)]
    if files and _remove_files(files) in names:
        yield Run(
            label=_remove_files(files),
            script=f"u=$({IN_USE})\n" + _REMOVE.format(names=join([file.name for file in files])),
            hint="fuser -v FILE on the node shows who uses one",
            affects=frozenset({"shared-memory", "memory", "disk"}),
        )
    gone = _forgotten(node, node.get(Containers(node.settings.cluster)).containers)
    if gone and _remove_containers(gone) in names:
        yield Run(
            label=_remove_containers(gone),
            script=f"docker rm {join([container.name for container in gone])}\n",
            hint="docker ps -a on the node shows what is left",
            affects=frozenset({"containers", "log-tails", "stale-secrets"}),
        )


# ---- processes


def _processes(found: Sequence[ServerProcess]) -> Iterator[Finding]:
    loose = [process for process in found if not process.container]
    if not loose:
        return
    pids = [str(process.pid) for process in loose]
    yield Finding(
        f"{len(loose)} server process{'es run' if len(loose) > 1 else ' runs'} outside of containers: "
        + listed([_told(process) for process in loose], 3),
        f"ps -fp {','.join(pids)} on the node; if nobody's: "
        + ("ray stop --force; " if any(process.kind == "ray" for process in loose) else "")
        + f"kill {' '.join(pids)}",
        expected="none",
        observed=f"pid {', '.join(pids)}",
    )


def _told(process: ServerProcess) -> str:
    about = [process.user, "" if process.age is None else f"for {span_of_time(process.age)}"]
    words = ", ".join(word for word in about if word)
    return f"{process.pid}{f' ({words})' if words else ''} {process.args[:50]}"


# ---- containers


def _forgotten(node: Node, ours: Iterable[Container]) -> list[Container]:
    """Ended containers of this cluster that no launch script on the node is for: of a layout that was another."""
    scripts = {name.removesuffix(".sh") for name in node.get(Listing(launch.script_folder(node.settings))).entries}
    return [c for c in ours if c.state in ("exited", "dead", "created") and c.process not in scripts]


def _containers(gone: list[Container]) -> Iterator[Finding]:
    if not gone:
        return
    names = [container.name for container in gone]
    yield Finding(
        f"{len(gone)} ended container{'s' if len(gone) > 1 else ''} of an earlier launch: {listed(names)}",
        f"docker logs {names[0]} if its end matters; then docker rm {' '.join(names)}",
        expected="none",
        observed=listed([f"{c.name}: {c.state} ({c.exit_code}) {c.finished}".strip() for c in gone], 3),
        fix=_remove_containers(gone),
    )


def _remove_containers(gone: Sequence[Container]) -> str:
    return f"docker rm {' '.join(container.name for container in gone)}"


# ---- shared memory


def _unused(node: Node) -> list[SharedFile]:
    """Files of servers in /dev/shm that no process uses. Who uses what is only asked where there are some."""
    if not any(file.kind in SERVERS for file in node.get(SharedMemory()).servers):
        return []
    found = look(node, SharedMemory(mapped=True)).servers
    return [file for file in found if file.kind in SERVERS and file.mapped is False]


def _removable(file: SharedFile) -> bool:
    return file.user == "root"


def _shared_memory(unused: list[SharedFile]) -> Iterator[Finding]:
    for own in (True, False):
        files = [file for file in unused if _removable(file) == own]
        if not files:
            continue
        owners = ", ".join(sorted({file.user for file in files}))
        total = sum(file.size or 0 for file in files)
        yield Finding(
            f"{len(files)} file{'s' if len(files) > 1 else ''} of {owners} in /dev/shm, {_bytes(total)}, "
            f"that no process uses: {listed([file.name for file in files])}",
            f"rm {join([f'/dev/shm/{file.name}' for file in files[:8]])}"
            + (" (and so on)" if len(files) > 8 else "")
            + ("" if own else f", if {owners} may miss them"),
            expected="none",
            observed=f"{len(files)} files, {_bytes(total)}",
            fix=_remove_files(files) if own else "",
        )


def _bytes(count: int) -> str:
    return size(count) if count >= MIB else f"{count} bytes"


def _remove_files(files: Sequence[SharedFile]) -> str:
    names = [f"/dev/shm/{file.name}" for file in files]
    return f"remove {listed(names, 8)}"


_REMOVE = """\
for f in {names}; do
  p=/dev/shm/$f
  [ -f "$p" ] && [ "$(stat -c %u "$p")" = 0 ] || continue
  if printf '%s\\n' "$u" | grep -qxF -e "$(stat -c %d:%i "$p")"; then echo "in use now: $p" >&2; else rm -f -- "$p"; fi
done
"""
