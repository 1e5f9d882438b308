"""What can go wrong on a rehearsal node, as data: each fault is a key of the node's state and says what it does.

``set_fault(folder, "node1", "npu/3/link", "DOWN")`` breaks a cable; ``clear_fault`` mends it. Both return when done:
what the SSH server itself must do (refuse, cut, take a port) is acknowledged by it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision.clock import monotonic, sleep
from provision.errors import UsageError
from provision.rehearsal.layout import MODEL
from provision.rehearsal.node import Node
from provision.rehearsal.standins.process import server_pid
from provision.rehearsal.weights import shard_name

_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Fault:
    """``key`` with ``<…>`` for what varies; ``values`` and ``effect`` in an operator's words."""

    key: str
    values: str
    effect: str


FAULTS = (
    Fault("npu/<n>/link", "DOWN", "hccn_tool reports the link of device n down, net_health Fault, pings fail"),
    Fault("npu/<n>/net_health", "Init, Socket fail, …", "hccn_tool -net_health says so"),
    Fault("npu/<n>/health", "Warning, Alarm, Critical", "npu-smi reports the die so"),
    Fault("npu/<n>/error_code", "hex words", "npu-smi -t health shows them"),
    Fault("npu/<n>/hbm_used", "MB", "memory of the die that is in use"),
    Fault("npu/<n>/ecc_double", "count", "npu-smi -t ecc reports double bit errors"),
    Fault("npu/<n>/process", "NAME [PID [MB]]", "a foreign process holds the die; servers find too little memory"),
    Fault("npu/<n>/missing", "1", "the die dropped off the bus: no device node, no row"),
    Fault("npu/<n>/tls", "1", "hccn_tool reports the TLS switch of the device on"),
    Fault("npu/<n>/ip", "ADDRESS or none", "hccn_tool -ip says so"),
    Fault("npu/super_pod_id", "number", "npu-smi -t spod-info of the node"),
    Fault("npu/driver", "broken", "npu-smi fails with ret is -8020"),
    Fault("command/<name>", "hang or seconds", "the command (npu-smi, hccn_tool, docker, df) does not answer"),
    Fault("docker/daemon", "down", "docker cannot reach its daemon"),
    Fault("docker/missing", "1", "there is no docker"),
    Fault("docker/pull_seconds_per_layer", "seconds", "pulls are slow"),
    Fault("docker/ascend_runtime", "1", "docker info lists the runtime ascend"),
    Fault("registry/<host>", "down", "the registry cannot be reached from the node"),
    Fault("disk/full", "1", "df shows no room; pulls and writes fail with: no space left on device"),
    Fault("disk/free", "bytes", "df shows so much room"),
    Fault("ssh/stopped", "1", "sshd refuses connections; open ones stay"),
    Fault("ssh/host_key", "changed", "new connections see another host key"),
    Fault("ssh/drop_now", "1", "all connections break now"),
    Fault("ssh/drop_at", "text", "all connections break when a session sends this text"),
    Fault("ssh/drop_after_execs", "count", "all connections break after so many more commands"),
    Fault("ssh/drop_after_bytes", "bytes", "all connections break after so much more output"),
    Fault("ssh/password", "text", "password logins work with this password"),
    Fault("sudo/<user>", "nopasswd, password, denied", "what sudo lets this user do"),
    Fault("sudo/missing", "1", "there is no sudo"),
    Fault("clock/skew", "seconds", "the node's clock is ahead (or behind)"),
    Fault("weights/missing_shard", "number", "the shard is not in the model folder"),
    Fault("weights/short_shard", "number", "the shard is cut in half"),
    Fault("weights/missing", "1", "the model folder is not there"),
    Fault("port/<number>", "taken", "another program listens on the port"),
    Fault("vllm/start_seconds", "seconds", "a server takes so long to load"),
    Fault("vllm/handshake_seconds", "seconds", "a worker waits so long for the head"),
    Fault("vllm/die_at_start", "SECONDS [EXIT [TEXT]]", "a server ends while it loads, with a traceback"),
    Fault("vllm/die_at_first_token", "1", "health stays 200, every completion is a 500 EngineDeadError"),
    Fault("vllm/silent_engine", "number", "requests to this engine never end"),
    Fault("vllm/tokens_per_second", "number", "speed of one request"),
)


def set_fault(folder: Path, node: str, key: str, value: str = "1") -> None:
    """Make a fault on ``node``. Raises ``UsageError`` for a node or fault that isn't known."""
    place = _node(folder, node)
    if not any(_pattern(fault.key).fullmatch(key) for fault in FAULTS):
        raise UsageError(f"no such fault: {key}", hint="known are: " + ", ".join(fault.key for fault in FAULTS))
    place.state.set(key, value)
    _do(place, key, value)
    _await_server(folder)


def clear_fault(folder: Path, node: str, key: str) -> None:
    """Take a fault away; one that isn't there is fine."""
    place = _node(folder, node)
    value = place.state.get(key)
    place.state.clear(key)
    if value:
        _undo(place, key, value)
    _await_server(folder)


def clear_faults(folder: Path, node: str) -> None:
    """Take all faults of ``node`` away."""
    for key in faults_of(folder, node):
        clear_fault(folder, node, key)


def faults_of(folder: Path, node: str) -> dict[str, str]:
    """The faults that ``node`` has."""
    state = _node(folder, node).state
    return {key: state.get(key) for key in state.all() if any(_pattern(known.key).fullmatch(key) for known in FAULTS)}


@contextmanager
def fault(folder: Path, node: str, key: str, value: str = "1") -> Iterator[None]:
    """A fault for the length of a block."""
    set_fault(folder, node, key, value)
    try:
        yield
    finally:
        clear_fault(folder, node, key)


def _node(folder: Path, name: str) -> Node:
    place = folder / "nodes" / name
    if not place.is_dir():
        known = ", ".join(sorted(p.name for p in (folder / "nodes").glob("*")))
        raise UsageError(f"no rehearsal node {name} in {folder}", hint=f"nodes are: {known or 'none'}")
    return Node(str(place))


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"<\w+>", r"[\\w.:-]+", key))


def _do(node: Node, key: str, value: str) -> None:
    """What of a fault is in the node's file system."""
    for path in _paths(node, key, value):
        if key == "weights/short_shard":
            os.truncate(path, os.path.getsize(path) // 2)
        elif os.path.lexists(path) and not os.path.lexists(_aside(path)):
            os.rename(path, _aside(path))
    if key == "weights/short_shard":
        node.state.set("weights/short_shard", value)


def _undo(node: Node, key: str, value: str) -> None:
    for path in _paths(node, key, value):
        if key == "weights/short_shard":
            os.truncate(path, os.path.getsize(path) * 2)
        elif os.path.lexists(_aside(path)):
            os.rename(_aside(path), path)


def _paths(node: Node, key: str, value: str) -> list[str]:
    """Files that a fault takes away."""
    weights = node.root + MODEL
    commands = {"docker/missing": "docker", "sudo/missing": "sudo"}
    die = re.fullmatch(r"npu/(\d+)/missing", key)
    if key in commands:
        return [f"{node.root}/usr/bin/{commands[key]}"]
    if key in ("weights/missing_shard", "weights/short_shard"):
        return [f"{weights}/{shard_name(int(value))}"]
    if key == "weights/missing":
        return [weights]
    return [f"{node.root}/dev/davinci{die[1]}"] if die else []


def _aside(path: str) -> str:
    """Where a file waits while its fault lasts: out of every listing of the node."""
    root, _, inner = path.partition("/root/")
    return f"{root}/aside-{inner.replace('/', '-')}"


def _await_server(folder: Path) -> None:
    """Tell the server that state changed and wait until it has followed, where one runs."""
    count = folder / "generation"
    number = str(int(count.read_text() or 0) + 1 if count.exists() else 1)
    count.write_text(number)
    until = monotonic() + _PATIENCE
    while monotonic() < until and server_pid(folder):
        if (folder / "applied").exists() and (folder / "applied").read_text() == number:
            return
        sleep(0.01)
