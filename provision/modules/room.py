"""Refuse before anything is moved where it would not fit: image, packages and weights, added up by file system.

A pull that fills the disk after forty minutes also fills it for whoever shares it. Sizes are taken from where they are
known: a node that has the image, the folder that the weights come from. What is only estimated warns; what is
known to be too much refuses, with one table. Where nothing is to come nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from provision.errors import ProvisionError
from provision.events import Note
from provision.facts.base import Fact
from provision.facts.docker import Docker, Image
from provision.facts.model import ModelFolder
from provision.facts.source import SourceInstall
from provision.findings import Finding
from provision.install import needs, weights
from provision.install.manifest import Manifest
from provision.install.needs import Need, Row
from provision.inventory.model import Settings, WeightsSource
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster, Node
from provision.serve import launch

SCOPE = "cluster"
SHOWN = 8
"""Rows of the table that are shown where all is well; the record has all."""
REMEDY = (
    "make room there (du -xh --max-depth=2 MOUNT | sort -h | tail; docker image prune -a removes unused images), or "
    "move what comes: Docker's data-root in /etc/docker/daemon.json, qnext.model.path, qnext.state_dir"
)


class Args(ModuleArgs):
    """None: what comes where is the inventory's."""


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    router = launch.router_image(settings)
    installed = _source(settings) if settings.install.method == "source" else Image(settings.install.ref)
    always: list[Fact[object]] = [Docker(), installed, needs.measured(settings), *([Image(router)] if router else [])]
    source = settings.model.source
    if source is None:
        return always
    other = source.path if source.kind == "node" and source.path else ""
    folders = dict.fromkeys(("", other))
    return [*always, ModelFolder(settings.model.folder), *(weights.verified_fact(settings, f) for f in folders)]


def _source(settings: Settings) -> SourceInstall:
    return SourceInstall(settings.venv, settings.wheels, settings.install.source.python)


def run(args: Args, cluster: Cluster) -> ClusterRun:
    yield from ()
    coming = {node.name: _coming(node, cluster) for node in cluster.nodes}
    source = cluster.settings.model.source
    if source and any(need.what == "weights" for needed in coming.values() for need in needed):
        _require_source(source)
    return judged(cluster, coming)


def _require_source(source: WeightsSource) -> None:
    """What the weights need of this machine, before an hour's pull rather than after it. Raises ``UsageError``."""
    if source.kind == "controller" and source.path:
        weights.local_manifest(Path(source.path).expanduser())
    if source.token:
        source.token.reveal()


def judged(cluster: Cluster, coming: dict[str, list[Need]]) -> Outcome:
    """Whether there is room for what comes. Raises ``ProvisionError`` where there is not."""
    found = [row for node in cluster.nodes for row in _rows(node, coming[node.name])]
    if not found:
        return Outcome("nothing has to be moved")
    short = [row for row in found if row.short]
    if short:
        raise _refusal(short)
    tight = [row for row in found if row.tight]
    cluster.nodes[0].keep("room.txt", needs.table(found, likely=True) + "\n")
    for line in needs.table(sorted(found, key=_left)[:SHOWN], likely=True).splitlines():
        cluster.tell(Note(text=line))
    return Outcome(_message(found), data={"rows": [_plain(row) for row in found]}, findings=tuple(map(_doubt, tight)))


def _rows(node: Node, coming: list[Need]) -> list[Row]:
    everything = [*coming, *needs.around(node.settings, _root(node))] if coming else []
    return needs.rows(node.name, everything, needs.places(node.get(needs.measured(node.settings)), node.get(Docker())))


def _root(node: Node) -> str:
    """Docker's folder. A venv's servers write their logs below our own."""
    if node.settings.install.method == "source":
        return node.settings.state_dir
    return node.get(Docker()).root_dir or needs.DOCKER_ROOT


def _left(row: Row) -> int:
    return -row.tight if row.tight else (row.free or 0) - row.likely


def _refusal(short: list[Row]) -> ProvisionError:
    worst = max(short, key=lambda row: row.short)
    return ProvisionError(
        f"there is no room for what has to come: {worst.mount} is {needs.size(worst.short)} too small",
        node=worst.node,
        hint=REMEDY.replace("MOUNT", worst.mount),
        evidence=needs.table(short),
    )


def _doubt(row: Row) -> Finding:
    free = "not known" if row.free is None else needs.size(row.free)
    return Finding(
        f"{row.mount} may be too small for what comes: {row.parts(likely=True)}",
        REMEDY.replace("MOUNT", row.mount),
        node=row.node,
        expected=f"{needs.size(row.likely)} or more",
        observed=free,
        check="room",
        level="warn",
    )


def _message(found: list[Row]) -> str:
    nodes = len({row.node for row in found})
    return f"{needs.size(sum(row.likely for row in found))} at most on {nodes} node{'s' * (nodes != 1)}"


def _plain(row: Row) -> dict[str, object]:
    parts = [{"what": n.what, "path": n.path, "bytes": n.likely, "how": n.how} for n in row.needs]
    return {
        "node": row.node,
        "mount": row.mount,
        "free": row.free,
        "least": row.least,
        "likely": row.likely,
        "for": parts,
    }


# ---- what comes onto a node


def _coming(node: Node, cluster: Cluster) -> list[Need]:
    return [*_installed(node, cluster), *_cache(node, cluster), *_router(node), *_weights(node, cluster)]


def _installed(node: Node, cluster: Cluster) -> Iterator[Need]:
    install = node.settings.install
    if install.method == "source":
        seen = node.get(_source(node.settings))
        if not seen.venv:
            shipped = _wheels(cluster)
            builds = node.name == _builder(cluster) and not shipped
            yield from needs.built(node.settings, builder=builds, wheels=not seen.whole, shipped=shipped)
        return
    if node.get(Image(install.ref)).present:
        return
    holders = {n.name: n.get(Image(install.ref)) for n in cluster.nodes}
    size, how = next(((i.size, f"as on {name}") for name, i in holders.items() if i.present and i.size), (None, ""))
    lacking = [name for name, image in holders.items() if not image.present]
    from_node = install.spread == "tree" and (len(lacking) < len(holders) or node.name != lacking[0])
    yield (needs.loaded_image if from_node else needs.pulled_image)(node.settings, _root(node), size, how)


def _cache(node: Node, cluster: Cluster) -> Iterator[Need]:
    """The first node keeps a copy for the others while they pull."""
    install, others = node.settings.install, cluster.nodes[1:]
    if install.method != "image" or install.spread != "registry" or node.name != cluster.nodes[0].name:
        return
    if any(not other.get(Image(install.ref)).present for other in others):
        size = next((image.size for image in (n.get(Image(install.ref)) for n in cluster.nodes) if image.size), None)
        yield needs.registry_cache(launch.folder(node.settings), size)


def _builder(cluster: Cluster) -> str:
    named = cluster.settings.install.source.builder
    return next((node.name for node in cluster.nodes if node.name == named), cluster.nodes[0].name)


def _wheels(cluster: Cluster) -> tuple[int, str] | None:
    """Bytes of the wheels, and a node that has them all."""
    seen = ((node.name, node.get(_source(node.settings))) for node in cluster.nodes)
    whole = ((sum(f.size for f in value.wheels.files), name) for name, value in seen if value.wheels and value.whole)
    return next(whole, None)


def _router(node: Node) -> Iterator[Need]:
    ref = launch.router_image(node.settings) if launch.routes(node) else ""
    if ref and not node.get(Image(ref)).present:
        yield needs.router_image(_root(node))


# ---- weights


def _weights(node: Node, cluster: Cluster) -> Iterator[Need]:
    """What a node lacks of the weights, where they come from somewhere at all."""
    source, settings = node.settings.model.source, node.settings
    another = weights.shared(settings) and node.name != cluster.nodes[0].name  # the first fills a shared folder
    if source is None or another:
        return
    held = node.get(weights.verified_fact(settings))
    on_their_way = sum(size for _, size in held.partial)
    manifest = _manifest(cluster)
    if manifest:
        lacking = sum(file.size for file in weights.judged(manifest, held).wrong)
        need = needs.weights(settings.model.folder, lacking, on_their_way, "by the manifest")
    elif node.get(ModelFolder(settings.model.folder)).complete:
        return
    else:
        there = sum(file.size for file in held.files) + on_their_way
        need = needs.weights(settings.model.folder, *_total(source, cluster, there))
    if need:
        yield need


def _manifest(cluster: Cluster) -> Manifest | None:
    """What is known of each file: kept beside the weights of some node."""
    values = (node.get(weights.verified_fact(node.settings)) for node in cluster.nodes)
    return next(filter(None, map(weights.kept, values)), None)


def _total(source: WeightsSource, cluster: Cluster, there: int) -> tuple[int | None, int, str]:
    """Bytes of the weights, what is ``there`` of them, and who says so: the folder that they come from, a node that has
    them, the profile."""
    if source.kind == "controller" and source.path:
        return _here(Path(source.path).expanduser()), there, "as here"
    if source.kind == "node" and source.path:
        holder = next((n for n in cluster.nodes if n.name == (source.node or cluster.nodes[0].name)), None)
        if holder and (size := _size(holder, source.path)):
            return size, there, f"as on {holder.name}"
    whole = next((n for n in cluster.nodes if n.get(ModelFolder(n.settings.model.folder)).complete), None)
    if whole:
        return _size(whole, ""), there, f"as on {whole.name}"
    total, how = _by_profile(cluster.settings)
    return total, there, how


def _size(node: Node, folder: str) -> int:
    return sum(file.size for file in node.get(weights.verified_fact(node.settings, folder)).files)


def _by_profile(settings: Settings) -> tuple[int | None, str]:
    if not settings.model.profile:
        return None, ""
    from provision.serve.profiles import load_profile

    return load_profile(settings.model.profile).weights.total_bytes, "by the model's profile"


def _here(folder: Path) -> int | None:
    """Bytes of the files of a folder of this machine; None where it can't be read: whoever copies it says so."""
    try:
        return weights.local_manifest(folder).size
    except ProvisionError:
        return None
