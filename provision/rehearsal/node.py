"""Where a rehearsal node keeps its things, and what it is: the one description that server and stand-ins share.

::

    <cluster folder>/nodes/<name>/
        node          what the node is
        root/         its file system; root/usr/bin are all the commands that it has
        inside/       the commands that processes in containers have, beside the machine's own
        extras/       those that only some images have, a folder each
        state/        hardware and faults, one file a key (state.py)
        docker/       images and containers
    <cluster folder>/programs/   the machine's own programs that containers have
    <cluster folder>/shared/     what is equal on all nodes, and too much to be made for each
    <cluster folder>/share/      /share of all nodes
"""

from __future__ import annotations

import os

from provision.rehearsal.state import State

MARK = "QNEXT_REHEARSAL"
"""Environment variable that every process of a rehearsal carries: its value is the cluster's folder."""

FACTS = "node"
"""File with what the node is: ``key=value`` lines, as JSON would cost every stand-in 10 ms to read."""

HERE = "QNEXT_REHEARSAL_NODE"
"""Environment variable with the name of the node that a process runs on."""

ME = "QNEXT_REHEARSAL_USER"
"""Environment variable with the name of the user that a process runs as."""

CONTAINER = "QNEXT_REHEARSAL_CONTAINER"
"""Environment variable with the folder of the container that a process runs in."""


class Node:
    """A node by its folder."""

    __slots__ = ("_facts", "folder", "state")

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.state = State(os.path.join(folder, "state"))
        with open(os.path.join(folder, FACTS), encoding="utf-8") as file:
            self._facts = dict(line.rstrip("\n").split("=", 1) for line in file)

    @property
    def name(self) -> str:
        return self._facts["name"]

    @property
    def hardware(self) -> str:
        """``atlas-800-a2``, ``atlas-800-a3`` or ``cpu``."""
        return self._facts["hardware"]

    @property
    def address(self) -> str:
        """The loopback address that is the node's own."""
        return self._facts["address"]

    @property
    def number(self) -> int:
        """The node's number in its cluster, from 1."""
        return int(self._facts["number"])

    @property
    def python(self) -> str:
        """The interpreter that runs stand-ins."""
        return self._facts["python"]

    @property
    def code(self) -> str:
        """The folder that holds the package."""
        return self._facts["code"]

    @property
    def cluster_folder(self) -> str:
        return os.path.dirname(os.path.dirname(self.folder))

    @property
    def root(self) -> str:
        return os.path.join(self.folder, "root")

    @property
    def path(self) -> str:
        """PATH of a login on the node."""
        return ":".join(f"{self.root}/usr/{name}" for name in ("local/sbin", "local/bin", "sbin", "bin"))

    @property
    def inside(self) -> str:
        return os.path.join(self.folder, "inside")

    @property
    def programs(self) -> str:
        """The machine's own programs, for the containers of all nodes."""
        return os.path.join(self.cluster_folder, "programs")

    @property
    def extras(self) -> str:
        return os.path.join(self.folder, "extras")

    @property
    def docker(self) -> str:
        return os.path.join(self.folder, "docker")

    @property
    def is_npu(self) -> bool:
        return self.hardware != "cpu"

    @property
    def on_a3(self) -> bool:
        return self.hardware == "atlas-800-a3"

    @property
    def dies(self) -> int:
        """How many davinci devices the hardware has."""
        return {"atlas-800-a3": 16, "atlas-800-a2": 8}.get(self.hardware, 0)


def user() -> str:
    """The user that this process stands for."""
    return os.environ.get(ME, "root")


def is_root() -> bool:
    return user() == "root"
