"""Docker on a node: the daemon, our containers and those of others that hold NPUs, images.

That docker is missing, or that its daemon refuses us, is a value: only the one who asked knows whether it matters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact


@dataclass(frozen=True, slots=True)
class DockerValue:
    """``error`` is the daemon's or client's own text where ``reachable`` is false. ``root_free`` in bytes."""

    installed: bool = False
    reachable: bool = False
    error: str = ""
    client_version: str = ""
    server_version: str = ""
    root_dir: str = ""
    root_free: int | None = None
    storage_driver: str = ""
    runtimes: tuple[str, ...] = ()
    default_runtime: str = ""
    arch: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Docker(Fact[DockerValue]):
    """Client, daemon and where it keeps images."""

    name: ClassVar[str] = "docker"
    deadline: ClassVar[float] = 30.0


@dataclass(frozen=True, slots=True)
class Container:
    """A container as ``docker inspect`` tells it.

    ``state``: created, running, paused, restarting, removing, exited, dead. Times are RFC 3339 as docker writes them,
    empty where it never happened. ``devices`` are the davinci numbers it maps. ``process``, ``digest`` and ``rank`` are
    our labels; empty (None) on containers that aren't ours.
    """

    id: str
    name: str
    image: str = ""
    image_id: str = ""
    state: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    created: str = ""
    started: str = ""
    finished: str = ""
    restarts: int = 0
    pid: int | None = None
    devices: tuple[int, ...] = ()
    privileged: bool = False
    cluster: str = ""
    process: str = ""
    digest: str = ""
    rank: int | None = None

    @property
    def running(self) -> bool:
        return self.state in ("running", "restarting", "paused")


@dataclass(frozen=True, slots=True)
class ContainersValue:
    """``containers`` carry our label for the cluster, in any state; ``foreign`` run, aren't of this cluster, and map
    NPUs or are privileged."""

    containers: tuple[Container, ...] = ()
    foreign: tuple[Container, ...] = ()
    reachable: bool = False
    problems: tuple[str, ...] = ()

    def process(self, name: str) -> Container | None:
        """Our container for the process called ``name``."""
        return next((c for c in self.containers if c.process == name), None)


@dataclass(frozen=True, slots=True)
class Containers(Fact[ContainersValue]):
    """Our containers of one cluster, and foreign ones that can reach NPUs."""

    name: ClassVar[str] = "containers"
    deadline: ClassVar[float] = 30.0
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class ImageValue:
    """``id`` is the digest of the image's configuration: equal ids are equal images. ``size`` in bytes."""

    ref: str
    present: bool = False
    id: str = ""
    arch: str = ""
    digests: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    created: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image(Fact[ImageValue]):
    """One image by reference."""

    name: ClassVar[str] = "image"
    deadline: ClassVar[float] = 30.0
    ref: str = ""
