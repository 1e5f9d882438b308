"""What runs on every node of a Ray cluster: it counts the container's devices, joins the head, and lends them."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

from provision.clock import monotonic, sleep
from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path
from provision.rehearsal.standins import npu
from provision.rehearsal.standins.inside import visible
from provision.rehearsal.standins.packages import container, filesystem
from provision.rehearsal.standins.ray.lines import Json, Line, dial

_GIB = 1 << 30
_CPUS = {"atlas-800-a3": 320.0, "atlas-800-a2": 192.0}
_DIAL_SECONDS = 5.0


class Options(NamedTuple):
    """What ``ray start`` was told. ``address`` is the head's ``host:port``."""

    head: bool
    ip: str
    address: str
    gpus: int | None
    resources: dict[str, float]


def session_file() -> str:
    """Where the cluster that this container belongs to is written down."""
    return os.path.join(filesystem(), "tmp", "ray", "ray_current_cluster")


def devices(node: Node) -> list[int]:
    """Davinci numbers that the container has, ASCEND_RT_VISIBLE_DEVICES respected."""
    given, chosen = visible(node), os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "")
    indexes = [int(word) for word in chosen.split(",") if word.strip().isdigit()]
    return [given[index] for index in indexes if index < len(given)] if chosen else given


def resources_of(node: Node, options: Options) -> dict[str, float]:
    """What the node registers. The fault ``ray/resource`` names the devices otherwise, or leaves them out."""
    count, name = len(devices(node)), node.state.get("ray/resource", "NPU")
    found = {"CPU": _CPUS.get(node.hardware, float(os.cpu_count() or 1))}
    if count and name != "none":
        found[name] = float(count)
    if options.gpus:
        found["GPU"] = float(options.gpus)
    found |= {"memory": 700.0 * _GIB, "object_store_memory": 186.0 * _GIB, **options.resources}
    return {**found, **parse_resources(os.environ.get("RAY_OVERRIDE_RESOURCES", "{}"))}


def join(node: Node, options: Options) -> Line | None:
    """Become a member of the head's cluster; None where it can't be reached."""
    until = monotonic() + node.state.number("ray/connect_seconds", _DIAL_SECONDS)
    while (line := dial(node.address, options.address)) is None:
        if monotonic() > until:
            return None
        sleep(0.1)
    line.send(kind="node", ip=options.ip, resources=resources_of(node, options))
    return line if line.receive() else None


def lend(node: Node, line: Line) -> None:
    """Hold and free devices as the head says, until it is gone."""
    while (message := line.receive()) is not None:
        if message.get("do") == "hold":
            problem = _missing(message)
            if not problem:
                _hold(node, message)
            line.send(problem=problem)
        elif message.get("do") == "free":
            _write_held("")


def _missing(message: Json) -> str:
    """Why a worker on this node can't load the model."""
    model = str(message["model"])
    path = map_path(model, filesystem())
    if os.path.exists(os.path.join(path, "config.json")):
        return ""
    return f"ValueError: Invalid repository ID or local directory specified: '{model}'"


def _hold(node: Node, message: Json) -> None:
    held = devices(node)[: int(str(message["dies"]))]
    _write_held("".join(f"{die} {os.getpid()} {message['mb']} ray::RayWorkerWrapper\n" for die in held))


def _write_held(text: str) -> None:
    path = os.path.join(container().folder, npu.HOLDING)
    with open(path + "~", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(path + "~", path)


def parse_resources(text: str) -> dict[str, float]:
    """``--resources``. Raises ValueError."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(text)
    return {str(name): float(amount) for name, amount in value.items()}
