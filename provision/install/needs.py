"""What will be needed where, in bytes, before anything is moved; and whether there is room for it.

Everything that is to come onto a node is a ``Need`` on a folder. Needs whose folders lie on one file system are added
up, since two things that fit alone may not fit together. Each has two figures: ``least``, without which it cannot work,
and ``likely``, which is the same where the size is known and an estimate where it is not. Too little room for the
least is a refusal, too little for the likely a warning: an estimate stops nobody.

Where the figures are from: an Ascend image has about 15 to 25 GB unpacked, so 60 GB are advised before a pull
[domain 4.1, 14.2]. A pull has the compressed layers beside the unpacked ones, ``docker load`` the whole archive (it
unpacks that below its own folder first [moby, image/tarexport/load.go]). No document tells the sizes of a source build;
those here are for torch, torch-npu, CANN's Python parts and two source trees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from provision.facts.disk import Disk, DiskValue, Folder
from provision.facts.docker import DockerValue
from provision.inventory.model import Settings

GB = 1024**3
MB = 1024**2

DOCKER_ROOT = "/var/lib/docker"
"""Where Docker keeps images unless it was told otherwise."""

ASCEND_IMAGE_GB = 60
"""GB advised in Docker's folder before an Ascend image is pulled."""
IMAGE_LEAST_GB = 5
"""GB without which no image can be pulled; also what is advised for one that is no Ascend image."""
LOGS_GB, LOGS_LEAST_GB = 10, 1
"""GB in Docker's folder for the servers' logs: advised, and without which they can't be written."""
STATE_MB = 64
"""MB that launch files and jobs need in ``qnext.state_dir``."""
COMPRESSED = 0.5
"""Size of an image's compressed layers, in times of the unpacked ones: an estimate."""
WHEELS_GB, VENV_GB, BUILD_GB = 3, 8, 8
"""GB of a source build's wheels, of the virtual environment made of them, and of the build itself on its node."""
ESTIMATED_LEAST = 0.1
"""What of an estimate of a source build is needed in any case."""
SPARE = 0.1
"""What should be left over, in times of what is needed: file systems get slow and fragmented when they are full. It is
advice: what fits to the byte is warned of, and not refused."""

TMP = "/tmp"

_SAME = 16 * MB
"""What is free on one file system may differ so much between two looks, a moment apart."""


@dataclass(frozen=True, slots=True)
class Need:
    """``path`` is the folder it comes into; sizes in bytes. ``how`` tells where the figure is from, for the reader."""

    what: str
    path: str
    least: int
    likely: int
    how: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One file system of a node: what comes onto it and what is free there. ``mount`` is its name for the operator."""

    node: str
    mount: str
    free: int | None
    needs: tuple[Need, ...] = field(default=())

    @property
    def least(self) -> int:
        return sum(need.least for need in self.needs)

    @property
    def likely(self) -> int:
        return int(sum(need.likely for need in self.needs) * (1 + SPARE))

    @property
    def short(self) -> int:
        """Bytes that are missing in any case."""
        return 0 if self.free is None else max(0, self.least - self.free)

    @property
    def tight(self) -> int:
        """Bytes that are missing by the estimates."""
        return 0 if self.free is None else max(0, self.likely - self.free)

    def parts(self, *, likely: bool) -> str:
        """What comes, in words: ``image 17.8 GB (as on node1), logs 10.0 GB``."""
        sizes = [(need, need.likely if likely else need.least) for need in self.needs]
        return ", ".join(f"{n.what} {size(count)}{f' ({n.how})' if n.how else ''}" for n, count in sizes)


def size(count: int) -> str:
    """Bytes in GB or MB as an operator reads them (binary). Less than half an MB is no 0."""
    if 0 < count < MB / 2:
        return f"{count} byte{'s' * (count != 1)}"
    return f"{count / GB:.1f} GB" if count >= GB else f"{count / MB:.0f} MB"


# ---- what is needed


def pulled_image(settings: Settings, root: str, unpacked: int | None, how: str) -> Need:
    """The servers' image by a pull. ``unpacked``: its size where somebody knows it, and ``how`` says who."""
    if unpacked:
        return Need("image", root, unpacked, int(unpacked * (1 + COMPRESSED)), how)
    likely = ASCEND_IMAGE_GB if settings.hardware != "cpu" else IMAGE_LEAST_GB
    return Need("image", root, IMAGE_LEAST_GB * GB, likely * GB, "its size is not known: an estimate")


def loaded_image(settings: Settings, root: str, unpacked: int | None, how: str) -> Need:
    """The same by ``docker load``, from an archive or from another node."""
    if unpacked:
        return Need("image", root, 2 * unpacked, 2 * unpacked, f"{how}; with what docker load unpacks")
    return pulled_image(settings, root, None, how)


def registry_cache(folder: str, unpacked: int | None) -> Need:
    """What the first node keeps of the image for the others, where ``spread`` is registry: its compressed layers."""
    size = int((unpacked or 0) * COMPRESSED)
    return Need("registry's cache", folder, 0, size or ASCEND_IMAGE_GB * GB // 4, "compressed: an estimate")


def router_image(root: str) -> Need:
    """The image of a router that has one of its own: small, as a rule."""
    return Need("router's image", root, 0, IMAGE_LEAST_GB * GB, "an estimate")


def built(
    settings: Settings, *, builder: bool, wheels: bool = True, shipped: tuple[int, str] | None = None
) -> list[Need]:
    """What method source brings onto a node. ``wheels``: they are not there yet; ``shipped``: their bytes, and the node
    that has them."""
    parts = [("virtual environment", settings.venv, VENV_GB)]
    if wheels and not shipped:
        parts.append(("wheels", settings.wheels, WHEELS_GB))
    if builder:
        parts.append(("build", settings.state_dir, BUILD_GB))
    estimates = [(what, path, gb * GB) for what, path, gb in parts]
    found = [Need(what, path, int(n * ESTIMATED_LEAST), n, "an estimate") for what, path, n in estimates]
    if wheels and shipped:
        found.append(Need("wheels", settings.wheels, shipped[0], shipped[0], f"as on {shipped[1]}"))
    return found


def weights(path: str, total: int | None, there: int, how: str) -> Need | None:
    """What a node lacks of ``total`` bytes of weights; None where that is nothing. Where the total is not known nothing
    can be judged, and the need says so."""
    if total is None:
        return Need("weights", path, 0, 0, "their size is not known: not judged")
    lacking = max(0, total - there)
    return Need("weights", path, lacking, lacking, how) if lacking else None


def around(settings: Settings, root: str) -> list[Need]:
    """What the servers will write themselves beside all that."""
    logs = Need("logs", root, LOGS_LEAST_GB * GB, LOGS_GB * GB)
    return [logs, Need("state", settings.state_dir, STATE_MB * MB, STATE_MB * MB)]


# ---- whether there is room


def measured(settings: Settings) -> Disk:
    """All folders whose room matters, in one look: the same fact for whoever asks."""
    own = (settings.venv, settings.wheels) if settings.install.method == "source" else ()
    return Disk((settings.state_dir, DOCKER_ROOT, TMP, settings.model.folder, *own))


def places(disk: DiskValue, docker: DockerValue) -> Mapping[str, Folder]:
    """All folders that were measured, by path; Docker's own one too, wherever it is."""
    found = {folder.path: folder for folder in disk.folders}
    root = docker.root_dir
    if root and root not in found and docker.root_free is not None:
        mount = docker.root_mount or _mount(root, docker.root_free, found)
        found[root] = Folder(root, exists=True, mount=mount, free=docker.root_free)
    return found


def _mount(root: str, free: int, known: Mapping[str, Folder]) -> str:
    """Where Docker's folder is mounted: on the file system with the same room, as far as one can see."""
    same = (f.mount for f in known.values() if f.mount and f.free is not None and abs(f.free - free) < _SAME)
    return next(same, root)


def rows(node: str, needs: Sequence[Need], folders: Mapping[str, Folder]) -> list[Row]:
    """The needs of a node by file system. A folder that was not measured is taken by the nearest one above that was."""
    found: dict[str, Row] = {}
    for need in needs:
        folder = _measured(need.path, folders)
        mount = (folder.mount or folder.path) if folder else need.path
        row = found.get(mount) or Row(node, mount, folder.free if folder else None)
        found[mount] = Row(node, mount, row.free, (*row.needs, need))
    return list(found.values())


def _measured(path: str, folders: Mapping[str, Folder]) -> Folder | None:
    while path and path not in folders:
        path = path.rpartition("/")[0]
    return folders.get(path)


def table(found: Iterable[Row], *, likely: bool = False) -> str:
    """One line a row, for people: node, file system, needed, free, short by, what it is for."""
    head = ("node", "file system", "needed", "free", "short by", "for")
    lines = [head, *(_cells(row, likely=likely) for row in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head) - 1)]
    return "\n".join("  ".join(_padded(line, widths)).rstrip() for line in lines)


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    numbers = (2, 3, 4)
    cells = (f"{c:>{w}}" if i in numbers else f"{c:<{w}}" for i, (c, w) in enumerate(zip(line, widths, strict=False)))
    return [*cells, line[-1]]


def _cells(row: Row, *, likely: bool) -> tuple[str, ...]:
    short = row.tight if likely else row.short
    needed = row.likely if likely else row.least
    free = "not known" if row.free is None else size(row.free)
    return row.node, row.mount, size(needed), free, size(short) if short else "-", row.parts(likely=likely)
