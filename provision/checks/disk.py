"""There is room: for the image where it must be pulled, for logs, for weights still to come, for our own files.

An Ascend image is about 15 to 25 GB unpacked, so 60 GB are advised before a pull; 10 GB for logs, which docker keeps
below its own folder (500 MB a server process, and what the NPU software writes beside it). Both figures are estimates,
so they warn, and only what cannot work fails [domain 4.1, 14.2]. What comes together onto one file system is added up
by the module ``room``, before anything is moved. Full tables of inodes look like full disks to everything that
writes, and ``df -h`` does not show them. One full file system is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from provision.checks.base import CheckArgs, Finding
from provision.checks.support import GIB, MIB, ascend, look, size
from provision.facts.base import Fact
from provision.facts.disk import Disk, Folder
from provision.facts.docker import Docker, Image
from provision.facts.model import ModelFolder
from provision.install import needs
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve import launch

CODE = "N13"
LEVEL = "fail"
SCOPE = "node"

TMP = needs.TMP
DOCKER = needs.DOCKER_ROOT
"""Only there inodes are counted."""


class Args(CheckArgs):
    """Room in GB (MB where the name says so), binary."""

    pull_gb: float = Field(
        needs.ASCEND_IMAGE_GB, ge=0, description="GB advised in Docker's folder before an Ascend image is pulled"
    )
    pull_minimum_gb: float = Field(needs.IMAGE_LEAST_GB, ge=0, description="GB without which no image can be pulled")
    logs_gb: float = Field(needs.LOGS_GB, ge=0, description="GB advised in Docker's folder for the servers' logs")
    logs_minimum_gb: float = Field(
        needs.LOGS_LEAST_GB, ge=0, description="GB without which servers cannot write their logs"
    )
    weights_factor: float = Field(1.1, ge=1, description="room advised for weights to come, in times their size")
    state_mb: float = Field(needs.STATE_MB, ge=0, description="MB that launch files and jobs need in qnext.state_dir")
    tmp_mb: float = Field(1024, ge=0, description="MB advised in /tmp")
    inodes: int = Field(10_000, ge=0, description="free inodes advised wherever something is written")
    inodes_minimum: int = Field(1000, ge=0, description="free inodes without which writing fails soon")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    router = launch.router_image(settings)
    images = [Image(ref) for ref in (settings.install.ref, router) if ref]
    return Docker(), *images, ModelFolder(settings.model.folder), places(settings)


def places(settings: Settings) -> Disk:
    """All folders whose room matters to a check, in one look."""
    return needs.measured(settings)


def run(args: Args, node: Node) -> Iterable[Finding]:
    told: list[Folder] = []
    root = _folder(node, DOCKER)
    for finding in _docker_root(args, node):
        yield finding
        told += [root] if root and finding.level == "fail" and node.get(Docker()).root_dir == DOCKER else []
    for path in (node.settings.state_dir, DOCKER, TMP):
        folder = _folder(node, path)
        if folder is None or any(_same(folder, other) for other in told) or _full_root(args, node, folder):
            continue
        for finding in _judged(args, node, folder):
            told.append(folder)
            yield finding
    yield from _weights(args, node)


def _folder(node: Node, path: str) -> Folder | None:
    return look(node, places(node.settings)).of(path)


def _same(one: Folder, other: Folder) -> bool:
    return bool(one.mount) and one.mount == other.mount


def _full_root(args: Args, node: Node, folder: Folder) -> bool:
    """Whether the file system is the one that was told with Docker's folder, wherever that is."""
    free = node.get(Docker()).root_free
    if free is None or folder.free is None or free >= _minimum(args, node):
        return False
    return abs(free - folder.free) < 16 * MIB  # looked at a moment apart


# ---- Docker's folder


def _minimum(args: Args, node: Node) -> float:
    return (args.logs_minimum_gb if _to_pull(args, node) is None else args.pull_minimum_gb) * GIB


def _to_pull(args: Args, node: Node) -> float | None:
    """GB advised for the images that are not there; None where none is missing. A router's own one is small."""
    if not node.get(Image(node.settings.install.ref)).present:
        return args.pull_gb if ascend(node.settings) else args.pull_minimum_gb
    router = launch.router_image(node.settings) if launch.routes(node) else ""
    return args.pull_minimum_gb if router and not node.get(Image(router)).present else None


def _docker_root(args: Args, node: Node) -> Iterator[Finding]:
    docker = node.get(Docker())
    if docker.root_free is None:
        return
    pull = _to_pull(args, node)
    advised = int(max(args.logs_gb, pull or 0) * GIB)
    if docker.root_free >= advised:
        return
    yield Finding(
        f"{docker.root_dir} has {size(docker.root_free)} free "
        + ("for the servers' logs" if pull is None or docker.root_free >= pull * GIB else "to pull the image"),
        f"see df -h {docker.root_dir} and docker system df; make room: docker image prune -a (removes unused images), "
        "or move Docker's data-root in /etc/docker/daemon.json",
        expected=f"{size(advised)} or more",
        observed=size(docker.root_free),
        level="fail" if docker.root_free < _minimum(args, node) else "warn",
    )


# ---- folders


def _judged(args: Args, node: Node, folder: Folder) -> Iterator[Finding]:
    """What is wrong with a folder's file system: one thing, the worst."""
    ours = folder.path == node.settings.state_dir
    if folder.hung:
        yield Finding(
            f"{folder.path}: nothing that touches it ends",
            "a stale network mount, or a dead disk: grep nfs /proc/mounts, then umount -l of it; dmesg | tail -50"
            + (", or set qnext.state_dir to a folder elsewhere" if ours else ""),
            expected="an answer in time",
            observed="none",
        )
    elif folder.read_only:
        yield from _read_only(folder, ours=ours)
    elif ours and folder.free is not None and folder.free < args.state_mb * MIB:
        yield _little(folder, args.state_mb, "set qnext.state_dir to a folder elsewhere")
    elif folder.path == TMP and folder.free is not None and folder.free < args.tmp_mb * MIB:
        yield _little(folder, args.tmp_mb, "remove what is old there: find /tmp -xdev -mtime +7", warn=True)
    elif folder.free_inodes is not None and folder.free_inodes < args.inodes:
        yield Finding(
            f"{folder.path} has {folder.free_inodes} free inodes ({folder.mount})",
            f"find the folder with most files: du --inodes -xS {folder.mount} | sort -n | tail; remove what is old",
            expected=f"{args.inodes} or more",
            observed=f"{folder.free_inodes} of {folder.inodes}",
            level="fail" if folder.free_inodes < args.inodes_minimum else "warn",
        )


def _read_only(folder: Folder, *, ours: bool) -> Iterator[Finding]:
    yield Finding(
        f"{folder.path} is on a file system that is mounted read-only ({folder.mount})",
        f"look for disk errors first: dmesg | tail -50; then mount -o remount,rw {folder.mount}"
        + (", or set qnext.state_dir to a folder elsewhere" if ours else ""),
        expected="writable",
        observed="read-only",
    )


def _little(folder: Folder, wanted: float, remedy: str, *, warn: bool = False) -> Finding:
    free = folder.free or 0
    return Finding(
        f"{folder.path} has {size(free)} free ({folder.filesystem} on {folder.mount})",
        f"make room on {folder.mount} (du -xh --max-depth=2 {folder.mount} | sort -h | tail), or {remedy}",
        expected=f"{size(int(wanted * MIB))} or more",
        observed=size(free),
        level="warn" if warn else "fail",
    )


# ---- weights


def _weights(args: Args, node: Node) -> Iterator[Finding]:
    """Room for what is missing of the weights, where the model's profile tells their size."""
    profile, path = node.settings.model.profile, node.settings.model.folder
    if profile is None:
        return
    from provision.serve.profiles import load_profile

    there, folder = node.get(ModelFolder(path)), _folder(node, path)
    if there.complete or folder is None or folder.free is None:
        return
    key = "qnext.model.cache" if node.settings.model.repository else "qnext.model.path"
    coming = needs.weights(path, load_profile(profile).weights.total_bytes, there.size, "by the model's profile")
    missing = int(coming.least * args.weights_factor) if coming else 0
    if folder.free < missing:
        yield Finding(
            f"{path} lacks weights, and {folder.mount} has {size(folder.free)} free for them",
            f"make room on {folder.mount}, or set {key} to a folder on a larger disk",
            expected=f"{size(missing)} or more",
            observed=size(folder.free),
        )
