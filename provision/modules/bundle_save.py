"""Fetch from one node what a bundle needs: the archives of the images, and the wheels of a source build.

For machines that reach the nodes and no registry: a node that has the image saves it, and it is fetched in pieces. What
was saved, and what has come, is kept until all is here, so another run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path, PurePosixPath

from pydantic import Field

from provision.actions import Call, Fetch, Job, JobProgress, On, Remove
from provision.errors import CommandFailed, ConfigError, ProvisionError
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.facts.system import Os
from provision.install import images, packing
from provision.install.bundle import IMAGES, WHEELS
from provision.install.images import Wanted
from provision.install.manifest import File, file_sha256
from provision.install.packing import SAVED, Saved
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster, Node
from provision.results import ActionResult, Result
from provision.serve import compatibility, launch
from provision.shell import quote

SCOPE = "cluster"
SAVE_DEADLINE = 7200.0
"""Seconds that pulling and saving an image may take."""


class Args(ModuleArgs):
    """What is fetched, and to where."""

    to: str = Field(description="folder here that gathers the bundle")
    platform: str = Field("", description="platform of the images, as linux/arm64; default: the node's own")
    images: bool = Field(True, description="the images of servers and router")
    wheels: bool = Field(False, description="the wheels of a source build, which lie on this node")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [Os(), *(Image(ref) for ref, _ in wanted_images(settings))]


def wanted_images(settings: Settings) -> list[tuple[str, str]]:
    """Every image that a cluster's nodes need and the name of its archive."""
    servers = [(settings.install.ref, "servers.tar")] if settings.install.method == "image" else []
    router = launch.router_image(settings)
    return [*servers, *([(router, "router.tar")] if router else [])]


def image_sources(settings: Settings, ref: str) -> list[str]:
    """References under which an image may be pulled, in order; a pinned one by its digest alone."""
    wanted = _wanted(settings, ref)
    return [f"{name}@{wanted.digest}" if wanted.digest else f"{name}:{wanted.tag}" for name in wanted.sources]


def repositories(settings: Settings, ref: str) -> list[str]:
    """The repositories that an image's digest may be told of, as docker calls them."""
    sources = _wanted(settings, ref).sources
    return list(dict.fromkeys([*sources, *map(images.familiar, sources)]))


def _wanted(settings: Settings, ref: str) -> Wanted:
    own = ref == settings.install.ref
    return images.servers(settings.install) if own else images.other(ref, settings.install)


def run(args: Args, cluster: Cluster) -> ClusterRun:
    node = cluster.nodes[0]
    platform = args.platform or compatibility.platform_for(node.get(Os()).arch)
    if not platform:
        raise ProvisionError(f"the architecture of {node.name} can't be told", hint="name it: --platform linux/arm64")
    told = []
    for ref, name in wanted_images(node.settings) if args.images else []:
        yield from _image(args, node, ref, name, platform)
        told.append(ref)
    if args.wheels:
        count = yield from _wheels(args, node)
        told.append(f"{count} wheels")
    return Outcome(f"{', '.join(told) or 'nothing'} fetched from {node.name}")


def _image(args: Args, node: Node, ref: str, name: str, platform: str) -> ClusterRun:
    folder = f"{launch.folder(node.settings)}/bundle"
    unpacked = node.get(Image(ref)).size or 0
    try:
        results = yield On({node.name: _save(node, folder, ref, name, platform, unpacked)})
    except CommandFailed as error:
        error.hint = error.hint or f"the node must reach a registry, or have {ref}"
        raise
    saved = packing.saved(results[node.name].stdout, repositories(node.settings, ref))
    to = Path(args.to) / IMAGES / name
    if not _there(to, saved):
        yield On({node.name: Fetch(label=f"fetch {name}", path=f"{folder}/{name}", to=to, size=saved.size,
                                   sha256=saved.sha256)})  # fmt: skip
    yield On({node.name: Call(label=f"note what {name} is", do=lambda _: note(to, saved), affects=frozenset())})
    yield On({node.name: Remove(label="remove the archive from the node", path=folder, affects=frozenset({"disk"}))})
    return None


def _there(to: Path, saved: Saved) -> bool:
    """Whether the archive came with an earlier run. Its checksum is compared when the bundle is packed."""
    return to.is_file() and to.stat().st_size == saved.size and noted(to) == saved


def note(to: Path, saved: Saved) -> Result:
    """Keep beside an archive's folder what was told of it."""
    _note(to).write_text(json.dumps(asdict(saved)), encoding="utf-8")
    return Result(f"note {to.name}", 0, "")


def noted(to: Path) -> Saved | None:
    """What was told of an archive that is here already."""
    try:
        return Saved(**json.loads(_note(to).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _note(to: Path) -> Path:
    return to.parent.parent / f"{to.stem}.json"


def _save(node: Node, folder: str, ref: str, name: str, platform: str, unpacked: int) -> Job:
    def progress(log: str) -> JobProgress:
        written = [int(size) for size in SAVED.findall(log)]
        if not written:
            return JobProgress(None, (log.strip().splitlines() or ["starting"])[-1])
        text = f"{written[-1] / 1e9:.1f} GB saved"
        return JobProgress(min(1.0, written[-1] / unpacked) if unpacked else None, text)

    return Job(
        label=f"save {ref}",
        name=f"save-{PurePosixPath(name).stem}",
        script=packing.saving_script(folder, name, ref, image_sources(node.settings, ref), platform),
        deadline=SAVE_DEADLINE,
        progress=progress,
        affects=frozenset({"image", "docker", "disk"}),
    )


# ---- wheels


_LIST = """\
cd {folder} 2>/dev/null || exit 0
for f in * .[!.]*; do [ ! -f "$f" ] || {{ s=$(sha256sum <"$f"); echo "$(stat -c %s "$f") ${{s%% *}} $f"; }}; done
"""


def listed(node: Node, folder: str) -> list[File]:
    """The files of a folder of a node with their checksums: every byte is read."""
    result = node.read(_LIST.format(folder=quote(folder)), deadline=600.0, label=f"read {folder}").check(node=node.name)
    return list(_files(result.stdout))


def _dropped(paths: Iterable[Path]) -> Result:
    for path in paths:
        path.unlink(missing_ok=True)
    return Result("drop wheels of another build", 0, "")


def _files(text: str) -> Iterator[File]:
    for line in text.splitlines():
        size, digest, path = line.split(" ", 2)
        yield File(path, int(size), digest)


def _wheels(args: Args, node: Node) -> Generator[On, Mapping[str, ActionResult], int]:
    folder = node.settings.wheels
    found = [file for file in listed(node, folder) if not file.path.endswith(".part")]
    if not any(file.path.endswith(".whl") for file in found):
        raise ConfigError(f"{node.name} has no wheels in {folder}", hint="build them first, or name --wheels DIR")
    here = Path(args.to) / WHEELS
    names = {name for file in found for name in (file.path, f"{file.path}.part")}
    old = [path for path in here.glob("*") if path.is_file() and path.name not in names]
    if old:
        yield On(
            {node.name: Call(label="drop wheels of another build", do=lambda _: _dropped(old), affects=frozenset())}
        )
    for file in found:
        to = here / file.path
        if not (to.is_file() and to.stat().st_size == file.size and file_sha256(to) == file.sha256):
            action = Fetch(label=f"fetch {file.path}", path=f"{folder}/{file.path}", to=to, size=file.size,
                           sha256=file.sha256)  # fmt: skip
            yield On({node.name: action})
    return len(found)
