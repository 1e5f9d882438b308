"""Bring a bundle onto the nodes: verified as a whole first, then loaded on one node and spread to the others.

Every image is proven by its id, and gets the name by which launch scripts know it, so that afterwards nobody asks a
registry. What is there already is not brought again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import Field

from provision import clock
from provision.actions import Job, JobProgress, On, Put, Remove, Run, Send
from provision.errors import ConfigError, ProvisionError
from provision.facts.base import Fact
from provision.facts.docker import Docker, Image
from provision.facts.source import WHEELS_RECORD
from provision.facts.system import Os
from provision.facts.weights import MANIFEST, VerifiedValue
from provision.install import needs, weights
from provision.install.bundle import IMAGES, WEIGHTS, WHEELS, Bundle, BundledImage, Contents, Slice, differences
from provision.install.manifest import File, Manifest
from provision.install.needs import Need
from provision.inventory.model import Settings
from provision.modules import room, spreading
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.modules.bundle_save import listed
from provision.modules.spreading import Parcel
from provision.node import Cluster, Node
from provision.serve import compatibility, launch
from provision.shell import join, quote

SCOPE = "cluster"
LOAD_DEADLINE = 7200.0
"""Seconds that loading an image, or hashing weights, may take on a node."""

_TOLD_EVERY = 1.0


class Args(ModuleArgs):
    """Which bundle, and what of it."""

    bundle: str = Field(description="path here of the tar or folder that bundle create wrote")
    weights: bool = Field(True, description="also the weights, where it holds some")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    router = launch.router_image(settings)
    images = [Image(ref) for ref in (settings.install.ref, router) if ref]
    return [Os(), Docker(), *images, needs.measured(settings), weights.verified_fact(settings)]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    bundle = _opened(args, cluster)
    loading = _Loading(bundle, cluster, args)
    room.judged(cluster, {node.name: loading.coming(node) for node in cluster.nodes})
    for image in bundle.contents.images:
        yield from loading.image(image)
    if cluster.settings.install.method == "source" and bundle.contents.source:
        yield from loading.wheels()
    if loading.manifest:
        yield from loading.weights()
    return Outcome(", ".join(loading.told) or "all of it is there")


# ---- before anything is used


def _opened(args: Args, cluster: Cluster) -> Bundle:
    """The bundle, verified, and one for these nodes. Raises ``ConfigError``, ``ProvisionError``."""
    bundle = Bundle.open(Path(args.bundle).expanduser())
    found = [*differences(bundle.contents, cluster.settings), *_other_machines(bundle.contents, cluster)]
    if found:
        raise ConfigError(
            f"{bundle.path} is for another cluster: {'; '.join(found)}",
            hint="make one with bundle create -i of this inventory, or correct the inventory",
        )
    problems = bundle.verify(_Telling(cluster.nodes[0]))
    if problems:
        raise ProvisionError(
            f"{bundle.path} is damaged, nothing of it was used: {problems[0]}",
            hint="copy it again; sha256sum -c SHA256SUMS in the unpacked bundle finds the same",
            evidence="\n".join(problems),
        )
    return bundle


def _other_machines(contents: Contents, cluster: Cluster) -> list[str]:
    found = []
    for node in cluster.nodes:
        own = compatibility.platform_for(node.get(Os()).arch)
        wrong = {image.platform for image in contents.images if own and image.platform not in ("", own)}
        if wrong or (contents.source and contents.platform not in ("", own)):
            found.append(f"it is for {', '.join(sorted(wrong)) or contents.platform}, {node.name} is {own}")
    return found[:3]


class _Telling:
    """Tells of verifying, about once a second."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._last = clock.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if clock.monotonic() - self._last >= _TOLD_EVERY:
            self._last = clock.monotonic()
            text = f"verifying the bundle, {done / 1e9:.1f} of {total / 1e9:.1f} GB"
            self._node.progress(JobProgress(done / total if total else 1.0, text))


# ---- bringing it


class _Loading:
    """One bundle on its way to the nodes."""

    def __init__(self, bundle: Bundle, cluster: Cluster, args: Args) -> None:
        self._bundle = bundle
        self._cluster = cluster
        self._nodes = {node.name: node for node in cluster.nodes}
        self.told: list[str] = []
        self._lacking_wheels: dict[str, list[File]] | None = None
        files = bundle.contents.below(WEIGHTS) if args.weights else ()
        self.manifest = Manifest.of(files, source=f"bundle of {bundle.contents.made}") if files else None

    # ---- room

    def coming(self, node: Node) -> list[Need]:
        """What this brings onto a node, archives included."""
        found = [need for image in self._bundle.contents.images for need in self._image_needs(node, image)]
        settings = node.settings
        if settings.install.method == "source" and self._bundle.contents.source:
            size = sum(file.size for file in self._wheels_lacking()[node.name])
            found += [Need("wheels", settings.wheels, size, size, "of the bundle")] if size else []
        if self.manifest and (lacking := self._lacking(node)):
            came = dict(_held(node).partial)
            size = sum(max(0, f.size - came.get(f.path, 0)) for f in self.manifest.files if f.path in lacking)
            found.append(Need("weights", settings.model.folder, size, size, "of the bundle"))
        return found

    def _image_needs(self, node: Node, image: BundledImage) -> Iterable[Need]:
        if node.name not in self._image_takers(image):
            return
        file = self._bundle.contents.file(image.path)
        archive = file.size
        root = node.get(Docker()).root_dir or needs.DOCKER_ROOT
        yield needs.loaded_image(node.settings, root, image.unpacked or archive, "of the bundle")
        if node.name in self._image_receivers(image):
            left = max(0, archive - _came(node, file))
            yield Need("archive", _folder(node.settings), left, left, "of the bundle")

    # ---- images

    def _image_takers(self, image: BundledImage) -> list[str]:
        """Nodes that need the image and have none, or another one, under its name."""
        return [n.name for n in self._cluster.nodes if self._needs(n, image) and not self._has(n, image)]

    def _needs(self, node: Node, image: BundledImage) -> bool:
        if _is_servers(image):
            return node.settings.install.method == "image"
        return bool(launch.router_image(node.settings)) and launch.routes(node)

    def _has(self, node: Node, image: BundledImage) -> bool:
        held = node.get(Image(_name(node.settings, image)))
        return held.present and held.id in image.ids

    def _image_receivers(self, image: BundledImage) -> list[str]:
        """Takers that get the archive from here; the others get the image from a node."""
        takers = self._image_takers(image)
        if self._cluster.settings.install.spread == "each" or not _is_servers(image):
            return takers
        return [] if self._image_holders(image) else takers[:1]

    def _image_holders(self, image: BundledImage) -> list[str]:
        return [n.name for n in self._cluster.nodes if self._needs(n, image) and self._has(n, image)]

    def image(self, image: BundledImage) -> ClusterRun:
        takers, holders = self._image_takers(image), self._image_holders(image)
        if not takers:
            return None
        receivers = self._image_receivers(image)
        yield from self._sent(image, receivers)
        archive = self._bundle.contents.file(image.path)
        if receivers:
            yield On({name: _load(self._nodes[name].settings, image, archive) for name in receivers})
            yield On({name: _swept(self._nodes[name].settings) for name in receivers})
        rest = [name for name in takers if name not in receivers]
        if rest:
            ref, having = _name(self._cluster.settings, image), [*holders, *receivers]
            image_id = self._nodes[holders[0]].get(Image(ref)).id if holders else image.ids[0]
            yield from spreading.spread_image(self._cluster, ref, image_id, having, rest, LOAD_DEADLINE)
        self.told.append(f"{_name(self._cluster.settings, image)} on {len(takers)} node{'s' * (len(takers) != 1)}")
        return None

    def _sent(self, image: BundledImage, receivers: Iterable[str]) -> ClusterRun:
        file = self._bundle.contents.file(image.path)
        missing = [name for name in receivers if not _arrived(self._nodes[name], file)]
        if missing:
            sends = {n: self._send(file.path, _archive(self._nodes[n].settings, file), file) for n in missing}
            yield On(sends)
        return None

    def _send(self, inside: str, path: str, file: File) -> Send:
        part: Slice = self._bundle.slices[inside]
        return Send(
            label=f"send {file.path}",
            source=part.path,
            path=path,
            sha256=file.sha256,
            start=part.start,
            length=part.length,
            affects=frozenset({"disk", "weights", "model-folder", "source-install", "listing"}),
        )

    # ---- wheels

    def wheels(self) -> ClusterRun:
        """The packages into ``settings.wheels``: all on one node, from there to the others."""
        below = self._bundle.contents.below(WHEELS)
        files = tuple(
            sorted(below, key=lambda file: (file.path == WHEELS_RECORD, file.path))
        )  # it says that all is there
        takers = {n: frozenset(f.path for f in lacking) for n, lacking in self._wheels_lacking().items() if lacking}
        if not takers:
            return None
        parcel = Parcel("wheels", self._cluster.settings.wheels, files)
        yield from self._spread(parcel, takers, WHEELS, each=self._cluster.settings.install.spread == "each")
        self.told.append(f"{len(files)} wheels on {len(takers)} node{'s' * (len(takers) != 1)}")
        return None

    def _wheels_lacking(self) -> dict[str, list[File]]:
        """By node, what it lacks or has in another state; every byte is read, once."""
        if self._lacking_wheels is None:
            files = self._bundle.contents.below(WHEELS)
            held = self._cluster.each(lambda node: {f.path: f.sha256 for f in listed(node, node.settings.wheels)})
            self._lacking_wheels = {n: [f for f in files if held[n].get(f.path) != f.sha256] for n in self._nodes}
        return self._lacking_wheels

    def _spread(self, parcel: Parcel, takers: Mapping[str, frozenset[str]], inside: str, *, each: bool) -> ClusterRun:
        holders = [name for name in self._nodes if name not in takers]
        receivers = list(takers) if each else [] if holders else list(takers)[:1]
        todo = {n: [f for f in parcel.files if f.path in takers[n]] for n in receivers}
        while any(todo.values()):
            now = {name: files.pop(0) for name, files in todo.items() if files}
            yield On({n: self._send(f"{inside}/{f.path}", f"{parcel.folder}/{f.path}", f) for n, f in now.items()})
        if inside == WEIGHTS and receivers:
            sent = {n: [f for f in parcel.files if f.path in takers[n]] for n in receivers}
            yield On({n: _remember(self._nodes[n].settings, files, parcel.folder) for n, files in sent.items()})
        rest = {name: paths for name, paths in takers.items() if name not in receivers}
        if rest:
            yield from spreading.spread(self._cluster, parcel, [*holders, *receivers], rest)
        return None

    # ---- weights

    def _lacking(self, node: Node) -> frozenset[str]:
        """Paths that a node lacks or has wrong; those that were never read count as there until they are."""
        assert self.manifest
        if weights.shared(node.settings) and node.name != self._cluster.nodes[0].name:
            return frozenset()
        return weights.judged(self.manifest, _held(node)).bad

    def weights(self) -> ClusterRun:
        """The files of the model: what was never read is read first, so that nothing is sent that is there."""
        assert self.manifest
        yield from self._hashed({node.name: self._unsure(node) for node in self._cluster.nodes})
        takers = {n.name: bad for n in self._cluster.nodes if (bad := self._lacking(n))}
        if not takers:
            return None
        settings = self._cluster.settings
        parcel = Parcel("weights", _place(self._cluster), self.manifest.files)
        for put in _around(settings, parcel.folder, self.manifest):
            yield On(dict.fromkeys(takers, put))
        source = settings.model.source
        yield from self._spread(parcel, takers, WEIGHTS, each=bool(source and source.spread == "each"))
        self.told.append(f"weights ({weights.counted(parcel.files)}) on {len(takers)} node{'s' * (len(takers) != 1)}")
        return None

    def _unsure(self, node: Node) -> list[File]:
        assert self.manifest
        return list(weights.judged(self.manifest, _held(node)).unsure)

    def _hashed(self, files: Mapping[str, list[File]]) -> ClusterRun:
        jobs = {n: _hash(self._nodes[n], found, _held(self._nodes[n]).path) for n, found in files.items() if found}
        if jobs:
            yield On(jobs)
        return None


def _is_servers(image: BundledImage) -> bool:
    return image.path == f"{IMAGES}/servers.tar"


def _name(settings: Settings, image: BundledImage) -> str:
    """The name by which this inventory knows the image: a bundle may have been made before it was pinned."""
    return settings.install.ref if _is_servers(image) else image.ref


def _folder(settings: Settings) -> str:
    return f"{launch.folder(settings)}/bundle"


def _archive(settings: Settings, file: File) -> str:
    return f"{_folder(settings)}/{file.sha256[:16]}.tar"


def _arrived(node: Node, file: File) -> bool:
    """Whether the archive came with an earlier run; before it is loaded its checksum is compared."""
    path = quote(_archive(node.settings, file))
    result = node.read(f"stat -c %s -- {path} 2>/dev/null || echo none\n", label="look for the archive")
    return result.stdout.strip() == str(file.size)


def _came(node: Node, file: File) -> int:
    """Bytes of the archive that are on the node already: all of it, or what an earlier run sent."""
    path = _archive(node.settings, file)
    script = f"stat -c %s -- {quote(path)} {quote(path + '.part')} 2>/dev/null || :\n"
    sizes = node.read(script, label="look for the archive").stdout.split()
    return max((int(size) for size in sizes if size.isdigit()), default=0)


_LOAD = """\
f={archive}
s=$(sha256sum <"$f") || exit
[ "${{s%% *}}" = {sha256} ] || {{ rm -f -- "$f"; echo "the archive was changed on the node: run again"; exit 65; }}
docker load -i "$f" || exit
for i in {ids}; do
  docker image inspect "$i" >/dev/null 2>&1 && docker tag "$i" {ref} && exit 0
done
echo 'the archive held another image than the bundle says'
exit 66
"""


def _load(settings: Settings, image: BundledImage, archive: File) -> Job:
    ref = _name(settings, image)
    script = _LOAD.format(
        archive=quote(_archive(settings, archive)), sha256=archive.sha256, ids=join(image.ids), ref=quote(ref)
    )
    return Job(
        label=f"load {ref}",
        name=f"load-{archive.sha256[:12]}",
        script=script,
        deadline=LOAD_DEADLINE,
        hint="the archive is kept on the node, so another bundle load goes on from here; see df -h there",
        affects=frozenset({"image", "docker", "disk"}),
    )


def _swept(settings: Settings) -> Remove:
    path = _folder(settings)
    return Remove(label="remove the archive", path=path, affects=frozenset({"disk"}))


def _hash(node: Node, files: list[File], place: str) -> Job:
    """Read files and remember their checksums, so that nobody has to read them again."""
    settings = node.settings
    return Job(
        label="read the weights",
        name="hash-weights",
        script=weights.hash_script(place, files, weights.home(settings, settings.model.folder)),
        deadline=LOAD_DEADLINE,
        progress=weights.Hashing(sum(file.size for file in files)),
        affects=frozenset({"weights"}),
    )


def _remember(settings: Settings, files: list[File], place: str) -> Run:
    """What was sent was verified on its way: nobody has to read it again."""
    return Run(
        label="remember the checksums of the weights",
        script=weights.remember_script(place, files, weights.home(settings, settings.model.folder)),
        affects=frozenset({"weights"}),
    )


def _held(node: Node) -> VerifiedValue:
    return node.get(weights.verified_fact(node.settings))


_SNAPSHOT = "bundle"


def _place(cluster: Cluster) -> str:
    """Where the files go: where they are on a node that has some, else where the hub's client looks for them."""
    model = cluster.settings.model
    there = next((held.path for held in map(_held, cluster.nodes) if held.exists and held.files), "")
    cached = model.repository and model.hub == "huggingface"
    return there or (f"{model.folder}/snapshots/{_SNAPSHOT}" if cached else model.folder)


def _around(settings: Settings, place: str, manifest: Manifest) -> list[Put]:
    """The manifest beside the weights, and the name by which Hugging Face's client finds a snapshot that is new."""
    affects = frozenset({"weights", "model-folder"})
    path = f"{place}/{MANIFEST}"
    puts = [Put(label="write the manifest", path=path, content=manifest.text().encode(), affects=affects)]
    if place.endswith(f"/snapshots/{_SNAPSHOT}"):
        ref = f"{settings.model.folder}/refs/main"
        puts.append(Put(label=f"write {ref}", path=ref, content=_SNAPSHOT.encode(), affects=affects))
    return puts
