"""There is room: for the image where it must be pulled, for logs, and for our own files.

An Ascend image is about 15 to 25 GB unpacked, so 60 GB are advised before a pull; that figure is an estimate, so it
warns, and only what cannot work fails [domain 4.1].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.checks.base import Finding
from provision.checks.support import GIB, MIB, ascend, look, size
from provision.facts.base import Fact
from provision.facts.disk import Disk, Folder
from provision.facts.docker import Docker, Image
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N13"
LEVEL = "fail"
SCOPE = "node"

PULL_ADVISED = 60 * GIB
PULL_NEEDED = 5 * GIB
LOGS_NEEDED = 1 * GIB
STATE_NEEDED = 64 * MIB
FEW_INODES = 1000


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return Docker(), Image(settings.install.image), Disk((settings.state_dir,))


def run(node: Node) -> Iterable[Finding]:
    root = list(_docker_root(node))
    yield from root
    folder = look(node, Disk((node.settings.state_dir,))).of(node.settings.state_dir)
    told = any(finding.level == "fail" for finding in root) and folder and folder.free == node.get(Docker()).root_free
    if folder is not None and not told:  # one full file system is told once
        yield from _state(folder)


def _docker_root(node: Node) -> Iterator[Finding]:
    docker = node.get(Docker())
    if docker.root_free is None:
        return
    present = node.get(Image(node.settings.install.image)).present
    needed, what = (LOGS_NEEDED, "for the servers' logs") if present else (PULL_NEEDED, "to pull the image")
    advised = PULL_ADVISED if ascend(node.settings) and not present else needed
    if docker.root_free >= advised:
        return
    yield Finding(
        f"{docker.root_dir} has {size(docker.root_free)} free {what}",
        "make room: docker image prune -a (removes unused images), or move Docker's data-root; "
        f"see df -h {docker.root_dir}",
        expected=f"{size(advised)} or more",
        observed=size(docker.root_free),
        level="fail" if docker.root_free < needed else "warn",
    )


def _state(folder: Folder) -> Iterator[Finding]:
    if folder.read_only:
        yield Finding(
            f"{folder.path} is on a file system that is mounted read-only ({folder.mount})",
            f"mount it writable (mount -o remount,rw {folder.mount}; dmesg tells of disk errors), "
            "or set qnext.state_dir",
            expected="writable",
            observed="read-only",
        )
    elif folder.free is not None and folder.free < STATE_NEEDED:
        yield Finding(
            f"{folder.path} has {size(folder.free)} free ({folder.filesystem} on {folder.mount})",
            f"make room on {folder.mount}, or set qnext.state_dir to a folder elsewhere",
            expected=f"{size(STATE_NEEDED)} or more",
            observed=size(folder.free),
        )
    elif folder.free_inodes is not None and folder.free_inodes < FEW_INODES:
        yield Finding(
            f"{folder.path} has {folder.free_inodes} free inodes ({folder.mount})",
            f"remove small files on {folder.mount} (df -i {folder.mount})",
            expected=f"{FEW_INODES} or more",
            observed=str(folder.free_inodes),
        )
