"""A rehearsal cluster as the scenarios see it: an inventory's path, faults to make, and the nodes to look at.

Looking is by the nodes' files and processes, never through the program under test.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from provision.rehearsal import faults
from provision.rehearsal.cluster import ClusterInfo
from provision.rehearsal.node import MARK, Node
from provision.rehearsal.standins.process import alive
from tests.merging import merged

STATE = "var/lib/qnext"
_LIVELY = ("proc", "run", "tmp")
"""Folders that change by themselves: the kernel's, and where commands put what they need while they run."""


@dataclass(frozen=True, slots=True)
class Practice:
    """``place`` is the test's own folder."""

    info: ClusterInfo
    place: Path

    @property
    def nodes(self) -> tuple[str, ...]:
        return self.info.nodes

    @property
    def inventory(self) -> Path:
        """The inventory as the rehearsal writes it."""
        return self.info.inventory

    def write_inventory(
        self,
        name: str = "cluster.yaml",
        *,
        hosts: int | None = None,
        vars: Mapping[str, object] | None = None,
        **qnext: object,
    ) -> Path:
        """The inventory with parts of ``qnext`` and of the variables changed, with the first ``hosts`` hosts; None
        takes a key away."""
        data = yaml.safe_load(self.info.inventory.read_text())
        top = data["all"]
        top["vars"] = merged(top["vars"], {**(vars or {}), "qnext": qnext})
        top["hosts"] = dict(list(top["hosts"].items())[:hosts])
        return self.write(yaml.safe_dump(data, sort_keys=False), name)

    def write(self, text: str, name: str = "cluster.yaml") -> Path:
        path = self.place / name
        path.write_text(text)
        return path

    # ---- faults

    def fault(self, node: str, key: str, value: str = "1") -> None:
        faults.set_fault(self.info.folder, node, key, value)

    def mend(self, node: str, key: str) -> None:
        faults.clear_fault(self.info.folder, node, key)

    def everywhere(self, key: str, value: str = "1") -> None:
        """The same fault on all nodes."""
        for node in self.nodes:
            self.fault(node, key, value)

    # ---- looking

    def node(self, name: str) -> Node:
        return Node(str(self.info.folder / "nodes" / name))

    def root(self, name: str) -> Path:
        """Where the node's ``/`` is."""
        return self.info.folder / "nodes" / name / "root"

    def docker(self, name: str, *words: str) -> str:
        """Run the node's own docker."""
        program = self.root(name) / "usr/bin/docker"
        environment = {"PATH": self.node(name).path, MARK: str(self.info.folder)}
        done = subprocess.run([program, *words], capture_output=True, text=True, check=False, env=environment)
        return done.stdout

    def containers(self, name: str) -> list[str]:
        """Names of all containers, running or ended."""
        return self.docker(name, "ps", "-a", "--format", "{{.Names}}").split()

    def execs(self, name: str) -> int:
        """Commands that the node's sshd has run so far."""
        log = self.info.folder / "nodes" / name / "execs.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def files(self, name: str, folder: str = STATE) -> dict[str, bytes]:
        """Content of all files below a folder of the node."""
        top = self.root(name) / folder
        return {str(p.relative_to(top)): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}

    def fingerprint(self) -> dict[str, str]:
        """All that a change to any node would show in: files, containers, images, processes."""
        return dict(pair for name in self.nodes for pair in self._fingerprint(name))

    def _fingerprint(self, name: str) -> Iterator[tuple[str, str]]:
        root = self.root(name)
        for folder, folders, files in os.walk(root):
            inner = os.path.relpath(folder, root)
            if inner == ".":
                folders[:] = [f for f in folders if f not in _LIVELY]
            yield f"{name}:{inner}/", ""
            yield from ((f"{name}:{inner}/{file}", _digest(os.path.join(folder, file))) for file in files)
        for path in Path(self.node(name).docker).rglob("*.json"):
            yield f"{name} docker:{path.name}", _digest(str(path))

    # ---- between tests

    def reset(self) -> None:
        """No fault, job or container, nothing of ours in the nodes' files. Images stay: a pull is half a second."""
        for name in self.nodes:
            self._end_jobs(name)
            faults.clear_faults(self.info.folder, name)
            folder = Path(self.node(name).docker) / "containers"
            if any(folder.iterdir()):
                self.docker(name, "rm", "-f", *self.docker(name, "ps", "-aq").split())
            subprocess.run(["rm", "-rf", str(self.root(name) / STATE)], check=True)

    def _end_jobs(self, name: str) -> None:
        """Jobs, and servers that run without an engine; what has ended long ago has a number that another may have."""
        for pattern in ("*/jobs/*/pid", "*/run/*/pid", "*/run/*/server"):
            for file in (self.root(name) / STATE).glob(pattern):
                pid, born = (*file.read_text().split(), "", "")[:2]
                if alive(int(pid or 0), born):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(int(pid), signal.SIGKILL)

    def forget_images(self) -> None:
        """As new nodes: every image has to be pulled."""
        for name in self.nodes:
            if ids := self.docker(name, "images", "-q").split():
                self.docker(name, "rmi", "-f", *ids)
            for layer in (Path(self.node(name).docker) / "layers").iterdir():
                layer.unlink()

    def have_images(self, ref: str) -> None:
        """Every node holds ``ref``."""
        for name in self.nodes:
            if ref not in self.docker(name, "images", "--format", "{{.Repository}}:{{.Tag}}").split():
                self.docker(name, "pull", "-q", ref)


def _digest(path: str) -> str:
    """A link's target, else size and time, and the content of what is small: weights are sparse files of gigabytes."""
    if os.path.islink(path):
        return os.readlink(path)
    about = os.stat(path)
    small = about.st_size < 1 << 20
    content = hashlib.sha256(Path(path).read_bytes()).hexdigest() if small else ""
    return f"{about.st_size} {about.st_mtime_ns} {content}"
