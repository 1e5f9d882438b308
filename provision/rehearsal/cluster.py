"""A rehearsal cluster: nodes on loopback addresses that an operator provisions like real ones.

``up`` starts it in the background, ``status`` looks, ``down`` ends everything that it or its nodes started. ``running``
is the same within one process, for tests. All there is to a cluster is its folder.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from provision.clock import monotonic, sleep
from provision.errors import ProvisionError, UsageError
from provision.rehearsal.addresses import claim, release
from provision.rehearsal.inventory import write_inventory
from provision.rehearsal.layout import make_node
from provision.rehearsal.node import MARK, Node
from provision.rehearsal.registry import shipped_images
from provision.rehearsal.standins.docker.images import write_registry
from provision.rehearsal.standins.docker.store import Store
from provision.rehearsal.standins.process import birth, server_pid
from provision.rehearsal.standins.ps import all_pids, environment

PORT = 2222
HARDWARE = {"a2": "atlas-800-a2", "a3": "atlas-800-a3", "cpu": "cpu"}
_OURS = ("nodes", "programs", "share", "shared", "keys",
         "pycache", "registry.json", "cluster.yaml", "known_hosts", "server.pid",
         "server.log", "generation", "applied", "ssh_config", "cluster.json")  # fmt: skip
_START_PATIENCE = 20.0
_END_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """A cluster that runs: ``inventory`` is what ``-i`` wants; ``key`` logs in as every user."""

    folder: Path
    inventory: Path
    known_hosts: Path
    key: Path
    port: int
    nodes: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """``accepting``: the node's sshd answers. ``containers`` are those that run; ``execs`` counts its commands."""

    name: str
    address: str
    port: int
    hardware: str
    accepting: bool
    containers: tuple[str, ...]
    faults: tuple[str, ...]
    execs: int


def up(
    folder: Path, nodes: int = 2, hardware: str = "a3", *, port: int = PORT, cluster: str = "rehearsal"
) -> ClusterInfo:
    """Make a cluster in ``folder`` and start it in the background; returns when every node accepts connections.

    A cluster that runs there already is left as it is. Raises ``UsageError`` for a folder in use by something else, or
    unknown hardware; ``ProvisionError`` when the nodes don't come up, with the server's log as evidence.
    """
    folder = folder.resolve()
    if server_pid(folder):
        return info(folder)
    if not (folder / "cluster.json").exists():
        create(folder, nodes, hardware, port=port, cluster=cluster)
    with open(folder / "server.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "provision.rehearsal.cluster", str(folder)], start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, MARK: str(folder), **_import_path()},
        )  # fmt: skip
    _await_start(folder, process)
    return info(folder)


def down(folder: Path, *, keep: bool = False) -> None:
    """End everything that runs for the cluster, crashed or not, and remove what ``up`` made (unless ``keep``)."""
    folder = folder.resolve()
    end_processes(folder)
    release(folder)
    (folder / "server.pid").unlink(missing_ok=True)
    if keep or not (folder / "cluster.json").exists():
        return
    for name in _OURS:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def status(folder: Path) -> tuple[NodeStatus, ...]:
    """Every node as it is. Raises ``UsageError`` where there is no cluster."""
    found = info(folder.resolve())
    return tuple(_status(found, name) for name in found.nodes)


def info(folder: Path) -> ClusterInfo:
    """The cluster in ``folder``. Raises ``UsageError`` where there is none."""
    nodes = _nodes(folder)
    if not nodes or not (folder / "cluster.json").exists():
        raise UsageError(f"no rehearsal cluster in {folder}", hint="qnext-provision rehearse up makes one")
    return ClusterInfo(
        folder=folder,
        inventory=folder / "cluster.yaml",
        known_hosts=folder / "known_hosts",
        key=folder / "keys" / "id_ed25519",
        port=int((folder / "cluster.json").read_text()),
        nodes=tuple(node.name for node in nodes),
        addresses=tuple(node.address for node in nodes),
    )


@contextmanager
def running(
    folder: Path, nodes: int = 2, hardware: str = "a3", *, port: int = PORT, cluster: str = "rehearsal"
) -> Iterator[ClusterInfo]:
    """A cluster served by a thread of this process, for the length of a block; nothing of it is left afterwards."""
    folder = folder.resolve()
    create(folder, nodes, hardware, port=port, cluster=cluster)
    thread = _ServerThread(folder)
    try:
        thread.start_and_wait()
        yield info(folder)
    finally:
        thread.end()
        down(folder)


def create(folder: Path, nodes: int, hardware: str, *, port: int, cluster: str) -> None:
    """Make the files of a cluster; nothing runs yet."""
    if hardware not in {*HARDWARE, *HARDWARE.values()}:
        raise UsageError(f"unknown hardware: {hardware}", hint=f"known is {', '.join(HARDWARE)}")
    if not re.fullmatch(r"[A-Za-z0-9._/+-]+", str(folder)):
        raise UsageError(f"a rehearsal cannot live in {folder}", hint="give a folder whose path has no spaces or signs")
    if not 1 <= nodes <= 64:
        raise UsageError(f"{nodes} nodes cannot be rehearsed", hint="between 1 and 64")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty", hint="give a new folder, or end the rehearsal that is in it")
    kind = HARDWARE.get(hardware, hardware)
    base = claim(folder, nodes, port)
    (folder / "keys").mkdir(parents=True)
    write_registry(str(folder), shipped_images())
    made = []
    for number in range(1, nodes + 1):
        name = f"node{number}"
        made.append(make_node(folder / "nodes" / name, number=number, hardware=kind, address=f"{base}.{number}"))
    _write_keys(folder, made, port)
    write_inventory(folder, made, port=port, cluster=cluster)
    (folder / "cluster.json").write_text(f"{port}\n")


def _nodes(folder: Path) -> list[Node]:
    """The cluster's nodes in their order."""
    return sorted((Node(str(path)) for path in (folder / "nodes").glob("*")), key=lambda node: node.number)


def _write_keys(folder: Path, nodes: list[Node], port: int) -> None:
    """A login key, a stranger's key, and two host keys a node, of which the first is known."""
    import asyncssh

    lines = []
    for name in (
        "id_ed25519",
        "stranger_ed25519",
        *(f"host_{n.name}" for n in nodes),
        *(f"host_{n.name}_other" for n in nodes),
    ):
        key = asyncssh.generate_private_key("ssh-ed25519", comment=f"qnext-rehearsal-{name}")
        path = folder / "keys" / name
        path.touch(mode=0o600)
        path.write_bytes(key.export_private_key())
        path.with_name(f"{name}.pub").write_bytes(key.export_public_key())
    for node in nodes:
        public = (folder / "keys" / f"host_{node.name}.pub").read_text().split()
        lines.append(f"[{node.address}]:{port} {public[0]} {public[1]}\n")
        (Path(node.root) / "etc/ssh").mkdir(parents=True, exist_ok=True)
        (Path(node.root) / "etc/ssh/ssh_host_ed25519_key.pub").write_text(" ".join(public) + "\n")
    (folder / "known_hosts").write_text("".join(lines))


class _ServerThread(threading.Thread):
    """The event loop of a cluster in this process."""

    def __init__(self, folder: Path) -> None:
        super().__init__(name="rehearsal", daemon=True)
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._listening = asyncio.Event()
        self._failure: BaseException | None = None
        self._up = threading.Event()

    def run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except OSError as error:
            self._failure = error
        finally:
            self._up.set()
            self._loop.close()

    def start_and_wait(self) -> None:
        """Returns when all nodes listen."""
        self.start()
        self._up.wait(_START_PATIENCE)
        if self._failure is not None:
            raise ProvisionError(f"the rehearsal cannot listen: {self._failure}", hint="another one has the addresses")
        _write_pid(self._folder)

    def end(self) -> None:
        if self.is_alive() and not self._loop.is_closed():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ending.set)
            self.join(_END_PATIENCE)

    async def _serve(self) -> None:
        waiting = asyncio.create_task(self._tell())
        await _serve(self._folder, self._ending, self._listening)
        waiting.cancel()

    async def _tell(self) -> None:
        await self._listening.wait()
        self._up.set()


def main(folder: Path) -> None:
    """Serve the cluster in ``folder`` until SIGTERM: the background process of ``up``."""

    async def serve_until_told() -> None:
        stop, started = asyncio.Event(), asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        serving = asyncio.create_task(_serve(folder, stop, started))
        ready = asyncio.create_task(started.wait())
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        if started.is_set():
            _write_pid(folder)
        await serving

    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    asyncio.run(serve_until_told())


async def _serve(folder: Path, stop: asyncio.Event, started: asyncio.Event) -> None:
    from provision.rehearsal.server import NodeServer, serve

    port = int((folder / "cluster.json").read_text())
    nodes = _nodes(folder)
    await serve([NodeServer(node, port=port, keys=folder / "keys") for node in nodes], folder, stop, started)


def _write_pid(folder: Path) -> None:
    (folder / "server.pid").write_text(f"{os.getpid()} {birth(os.getpid())}\n")


def _import_path() -> dict[str, str]:
    """So that the background process finds this package, installed or not."""
    code = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join(filter(None, [code, os.environ.get("PYTHONPATH", "")]))}


def _await_start(folder: Path, process: subprocess.Popen[bytes]) -> None:
    until = monotonic() + _START_PATIENCE
    while monotonic() < until and process.poll() is None:
        if server_pid(folder) == process.pid:
            process.returncode = 0
            return
        sleep(0.02)
    log = (folder / "server.log").read_text(errors="replace")
    process.kill()
    process.wait()
    raise ProvisionError("the rehearsal nodes did not come up", evidence="\n".join(log.splitlines()[-12:]),
                         hint=f"see {folder / 'server.log'}")  # fmt: skip


def _status(cluster: ClusterInfo, name: str) -> NodeStatus:
    from provision.rehearsal.faults import faults_of

    node = Node(str(cluster.folder / "nodes" / name))
    log = Path(node.folder) / "execs.log"
    return NodeStatus(
        name=name,
        address=node.address,
        port=cluster.port,
        hardware=node.hardware,
        accepting=_accepts(node.address, cluster.port),
        containers=tuple(c.name for c in Store(node).containers() if c.running),
        faults=tuple(f"{key} = {value}" for key, value in faults_of(cluster.folder, name).items()),
        execs=len(log.read_text().splitlines()) if log.exists() else 0,
    )


def _accepts(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _marked(folder: Path) -> list[int]:
    """Processes that carry this cluster's mark in their environment; never the caller."""
    mark = f"{MARK}={folder}".encode()
    return [pid for pid in all_pids() if pid != os.getpid() and mark in environment(pid)]


def end_processes(folder: Path, *, patience: float = _END_PATIENCE) -> None:
    """End whatever runs for the cluster in ``folder``: TERM, then, after ``patience`` seconds, KILL."""
    _end(_marked(folder), patience)


def _end(pids: list[int], patience: float) -> None:
    born = {pid: birth(pid) for pid in pids}
    _signal(born, signal.SIGTERM)
    until = monotonic() + patience
    while monotonic() < until and any(_lives(pid, born[pid]) for pid in born):
        sleep(0.02)
    _signal(born, signal.SIGKILL)


def _signal(born: dict[int, str], number: signal.Signals) -> None:
    for pid, at in born.items():
        if _lives(pid, at):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def _lives(pid: int, born: str) -> bool:
    return born != "" and birth(pid) == born


if __name__ == "__main__":
    main(Path(sys.argv[1]))
