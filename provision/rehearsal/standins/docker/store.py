"""What the daemon remembers: images and containers of a node, as JSON files.

A container's folder holds ``container.json`` (fixed at ``run``), ``state.json`` (written by its supervisor) and ``log``
(docker's json-file lines). A supervisor that is gone without having recorded an end was killed, and its container too.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

from provision.rehearsal.node import Node
from provision.rehearsal.standins.docker.errors import DaemonError
from provision.rehearsal.standins.process import alive

Json: TypeAlias = "dict[str, object]"

SHIM, SHIM_BORN = "ShimPid", "ShimBorn"
"""Who supervises a running container: as long as that process lives, what it wrote last is the state."""


NEVER = "0001-01-01T00:00:00Z"
"""What docker writes for a time that has not come."""


def still(status: str, exit_code: int = 0) -> Json:
    """The state of a container that doesn't run, as ``docker inspect`` names its parts."""
    return {"Status": status, "Running": False, "Paused": False, "Restarting": False, "OOMKilled": False,
            "Dead": False, "Pid": 0, "ExitCode": exit_code, "Error": "", "StartedAt": NEVER, "FinishedAt": NEVER}  # fmt: skip


class Container:
    """One container by its folder."""

    __slots__ = ("config", "folder")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.config = read_json(os.path.join(folder, "container.json"))

    @property
    def id(self) -> str:
        return str(self.config["id"])

    @property
    def name(self) -> str:
        return str(self.config["name"])

    @property
    def labels(self) -> dict[str, str]:
        labels = self.config["labels"]
        return {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {}

    @property
    def devices(self) -> list[str]:
        """Device paths on the host."""
        return strings(self.config["devices"])

    def state(self) -> Json:
        """Status, Running, ExitCode, Pid, times: as ``docker inspect`` names them."""
        state = read_json(os.path.join(self.folder, "state.json"))
        if "Status" not in state:  # removed while somebody looks
            return still("removing", 137)
        if state["Status"] == "running" and not alive(as_int(state[SHIM]), str(state[SHIM_BORN])):
            state.update(Status="exited", Running=False, ExitCode=137, Pid=0)
        return state

    @property
    def running(self) -> bool:
        return bool(self.state()["Running"])

    def write_state(self, **values: object) -> None:
        """Change parts of the state in one step."""
        path = os.path.join(self.folder, "state.json")
        state = read_json(path) if os.path.exists(path) else {}
        write_json(path, {**state, **values})

    def remove(self) -> None:
        import shutil

        shutil.rmtree(self.folder, ignore_errors=True)


def ended_file(folder: str) -> str:
    """Where the exit status of a container that removes itself is kept for the client that waits for it."""
    containers, identity = os.path.split(folder)
    return os.path.join(os.path.dirname(containers), f"{identity}.ended")


class Store:
    """All images and containers of a node."""

    __slots__ = ("folder",)

    def __init__(self, node: Node) -> None:
        self.folder = node.docker

    def images(self) -> dict[str, Json]:
        """Images by id; each holds ``tags`` and ``digests``."""
        images = read_json(os.path.join(self.folder, "images.json"))
        return {key: value for key, value in images.items() if isinstance(value, dict)}

    def write_images(self, images: dict[str, Json]) -> None:
        write_json(os.path.join(self.folder, "images.json"), dict(images))

    def image(self, ref: str) -> Json | None:
        """The image called ``ref``: a tag, a digest, an id or the beginning of one."""
        wanted = full_reference(ref)
        for key, image in self.images().items():
            if wanted in strings(image["tags"]) or ref in strings(image["digests"]):
                return image
            if ref == key or (len(ref) >= 4 and key.removeprefix("sha256:").startswith(ref.removeprefix("sha256:"))):
                return image
        return None

    def containers(self) -> list[Container]:
        """All containers, youngest first."""
        folder = os.path.join(self.folder, "containers")
        found = []
        for name in os.listdir(folder):
            if os.path.exists(os.path.join(folder, name, "state.json")):
                found.append(Container(os.path.join(folder, name)))
        return sorted(found, key=lambda c: str(c.config["created"]), reverse=True)

    def container(self, wanted: str) -> Container:
        """By name, id or the beginning of an id. Raises docker's own error."""
        found = self.find(wanted)
        if found is None:
            raise DaemonError(f"No such container: {wanted}")
        return found

    def find(self, wanted: str) -> Container | None:
        name = wanted.removeprefix("/")
        containers = self.containers()
        exact = [c for c in containers if name in (c.name, c.id)]
        return next(iter(exact or [c for c in containers if c.id.startswith(name)]), None)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One writer at a time: as the daemon has it."""
        with open(os.path.join(self.folder, "lock"), "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def full_reference(ref: str) -> str:
    """``ref`` with ``:latest`` where neither tag nor digest is given."""
    return ref if "@" in ref or ":" in ref.rpartition("/")[2] else f"{ref}:latest"


def familiar(ref: str) -> str:
    """A docker.io reference as docker shows it."""
    return ref.removeprefix("docker.io/library/").removeprefix("docker.io/")


def read_json(path: str) -> Json:
    """A JSON object; empty where there is no file."""
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        return {}
    return value if isinstance(value, dict) else {}


def write_json(path: str, value: Json | int) -> None:
    """Write in one step."""
    temporary = f"{path}.{os.getpid()}~"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(temporary, path)


def strings(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def as_int(value: object) -> int:
    return value if isinstance(value, int) else 0
