"""Have the model's weights on every node, whole and equal: each file's checksum is known, and compared.

What they must be is a manifest: of the hub that they are from, of the folder that is their source, or of the first node
that holds them; it is kept beside them. Every node's files are read once, and read again only when their size, time or
inode changed. What is missing or differs is fetched: from nodes that have verified it, else from the source; nothing
else is moved. Files that the manifest doesn't name are told and left alone.
"""

from __future__ import annotations

import base64
import hashlib
import posixpath
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from provision.actions import Action, Call, Job, On, Put
from provision.amounts import size_text
from provision.checks.disk import places
from provision.errors import ProvisionError, UsageError
from provision.facts.authorized_keys import AuthorizedKeys
from provision.facts.base import Fact
from provision.facts.model import ModelFolder, ModelFolderValue
from provision.facts.weights import Verified, VerifiedValue
from provision.findings import Finding
from provision.install import hub
from provision.install.manifest import File, Manifest
from provision.install.weights import (
    Hashing,
    Judged,
    as_manifest,
    bandwidth,
    counted,
    hash_listed,
    hash_local,
    home,
    judged,
    keeps,
    kept,
    local_manifest,
    shared,
    verified_fact,
)
from provision.inventory.model import Settings, WeightsSource
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.modules.spreading import Parcel, spread, tidy
from provision.modules.supply import CHANGED, HUBS, Order, listed, listing, supplied
from provision.node import Cluster, Node
from provision.results import ActionResult, PlannedResult, Result
from provision.shell import quote

SCOPE = "cluster"

Steps = Generator[On, Mapping[str, ActionResult], None]
T = TypeVar("T")
Shape = Literal["pipeline", "tree"]


class Args(ModuleArgs):
    """How thoroughly, and from where. All else is the inventory's: ``model.source`` and ``model.verify``."""

    rehash: bool = Field(False, description="read every byte again, whatever is remembered")
    repair: bool = Field(False, description="fetch what differs even where no model.source is declared")
    from_node: str = Field("", description="host to take from, in place of the source; means repair, too")
    record: bool = Field(False, description="take what the first node (or from_node) holds as the truth")
    refresh: bool = Field(False, description="ask the hub again what the revision holds now")
    table: bool = Field(False, description="show a line for each node at the end")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    own = settings.model.folder
    found: list[Fact[object]] = [verified_fact(settings), ModelFolder(own), places(settings)]
    found.append(AuthorizedKeys(settings.cluster))
    other = _other_folder(settings)
    return [*found, verified_fact(settings, other)] if other else found


def run(args: Args, cluster: Cluster) -> ClusterRun:
    yield from tidy(cluster)
    groups: dict[str, list[Node]] = {}
    for node in cluster.nodes:
        model = node.settings.model
        groups.setdefault(f"{model.folder} {model.source!r} {model.verify}", []).append(node)
    outcomes = []
    for nodes in groups.values():
        outcomes.append((yield from _Weights(args, cluster, nodes).provided()))
    return _together(outcomes)


def _together(outcomes: Sequence[Outcome]) -> Outcome:
    """One outcome of those of several models."""
    if len(outcomes) == 1:
        return outcomes[0]
    return Outcome(
        "; ".join(outcome.message for outcome in outcomes),
        data={"models": [dict(outcome.data) for outcome in outcomes]},
        findings=tuple(finding for outcome in outcomes for finding in outcome.findings),
        summary={name: line for outcome in outcomes for name, line in outcome.summary.items()},
    )


def _other_folder(settings: Settings) -> str:
    """The source where it is another folder of a node; empty: it is none, or the same."""
    source = settings.model.source
    path = source.path.rstrip("/") if source and source.kind == "node" and source.path else ""
    return "" if path == settings.model.folder.rstrip("/") else path


@dataclass(slots=True)
class _Site:
    """A node's copy: ``value`` as it lies there, ``judged`` against the manifest; ``ref``: what refs/main says.

    The rest is what was done to it, for the table."""

    node: Node
    value: VerifiedValue
    ref: str
    judged: Judged = field(default_factory=Judged)
    read: int = 0
    fetched: int = 0
    seconds: float = 0.0

    @property
    def name(self) -> str:
        return self.node.name


class _Weights:
    """One model on the nodes that serve it."""

    def __init__(self, args: Args, cluster: Cluster, nodes: Sequence[Node]) -> None:
        self.args = args
        self.cluster = cluster
        self.settings = nodes[0].settings
        self.source = self.settings.model.source
        self.quick = self.settings.model.verify == "quick" and not args.rehash
        values = [(node, node.get(verified_fact(node.settings))) for node in nodes]
        self.sites = [_Site(node, value, value.ref) for node, value in values]
        self.manifest = Manifest(())
        self.listing: hub.Listing | None = None
        self.folder = self.settings.model.folder
        self.planned = False
        self.acted = False
        self.rehash = args.rehash
        self.shared = shared(self.settings) or _one_mount(nodes)

    def provided(self) -> Generator[On, Mapping[str, ActionResult], Outcome]:
        """The story."""
        self._refuse_what_cannot_be()
        self._require_looks()
        if not (yield from self._know()):
            return self._unknown()
        self._judge()
        yield from self._read()
        if self._wrong() or self._unproven():
            if not self._may_fetch():
                return Outcome(f"{len(self._wrong())} of {len(self.sites)} nodes differ", findings=self._findings())
            changed = () if self.planned else self._changed()
            yield from self._bring()
            yield from self._keep()
            return self._outcome((*self._prove(), *changed))
        yield from self._keep()
        return self._outcome(self._prove())

    # ---- what must be there

    def _refuse_what_cannot_be(self) -> None:
        names = [site.name for site in self.sites]
        if self.args.from_node and self.args.from_node not in names:
            hint = f"one of {', '.join(names[:8])}"
            raise UsageError(f"--from {self.args.from_node}: no such node here serves the model", hint=hint)
        if self.args.record and self.source and self.source.kind != "node":
            raise UsageError(
                f"--record: the inventory says where the weights are from ({self.source.kind})",
                hint="leave out --record; --refresh asks a hub again what it holds now",
            )

    def _require_looks(self) -> None:
        """A folder that could not be looked at is not an empty one."""
        for site in self.sites:
            if site.value.problems:
                raise ProvisionError(
                    f"{self.settings.model.folder} could not be looked at: {site.value.problems[0]}",
                    node=site.name,
                    hint="a stale network mount, or a dead disk: `check --only disk` tells more",
                )

    def _know(self) -> Generator[On, Mapping[str, ActionResult], bool]:
        """Find the manifest. False: there is nothing to compare with."""
        if self.source and self.source.kind == "controller":
            yield from self._know_controller(self.source)
        elif self.source and self.source.kind == "node" and not self.args.from_node:
            yield from self._know_node(self.source)
        elif self.source and self.source.kind in HUBS:
            self._know_hub(self.source)
        elif self.args.record or not self._take_kept(""):
            if not (self.args.record or self.args.from_node or self.settings.model.verify == "sha256"):
                return False
            yield from self._record()
        self._place()
        return True

    def _take_kept(self, source: str) -> bool:
        """The manifest that most nodes keep, where it is of this source ("": of any)."""
        found = Counter(
            site.value.manifest
            for site in self.sites
            if (manifest := kept(site.value)) and manifest.files and source in ("", manifest.source)
        )
        if not found:
            return False
        self.manifest = Manifest.load(found.most_common(1)[0][0])
        return True

    def _know_hub(self, source: WeightsSource) -> None:
        key = hub.key(self.settings, source)
        if self.args.refresh or not self._take_kept(key):
            self.listing = listing(self._seed().node, self.settings, source)
            self.manifest = self.listing.manifest(key)

    def _know_controller(self, source: WeightsSource) -> Steps:
        top = Path(source.path or "").expanduser()
        key = f"controller:{source.path}"
        if not top.is_dir() and self._take_kept(key):
            return
        found = Manifest.of(local_manifest(top).files, source=key)
        self.manifest = found
        self._place()
        self._judge()
        if found.proven or (self.quick and not self._wrong()):
            return

        def read(node: Node) -> Result:
            self.manifest = hash_local(top, found)
            return Result("read", 0, "")

        label = f"read {counted(file for file in found.files if not file.sha256)} in {top} on this machine"
        yield from self._act({self.sites[0].name: Call(label=label, do=read, affects=frozenset())})

    def _know_node(self, source: WeightsSource) -> Steps:
        site, path = self._seed(), (source.path or "").rstrip("/")
        key = f"node:{site.name}:{path}"
        fact = verified_fact(site.node.settings, path)
        value = site.node.get(fact)
        had_one = self._take_kept(key)
        if not value.files:
            if not had_one:
                hint = "correct model.source.path, or name the host that has it in model.source.node"
                raise ProvisionError(f"{path} on {site.name} holds no weights", node=site.name, hint=hint)
            return
        now = as_manifest(value, source=key)
        unread = [file for file in now.files if self.args.rehash or not file.sha256]
        if unread and not self.quick:
            yield from self._hash({site.name: (value.path, unread)})
            if not self.planned:
                value = _look(site.node, fact)
                now = as_manifest(value, source=key)
                site.value = site.value if _other_folder(self.settings) else value
        changed = _changed(self.manifest, now) if had_one and not self.args.record else []
        if changed:
            raise ProvisionError(
                f"the source {path} has changed since its manifest was made: {_listed(changed)}",
                node=site.name,
                hint="`weights --record` takes it as it is now; `weights --from HOST` takes what another node holds",
            )
        self.manifest = now

    def _record(self) -> Steps:
        """What a node holds is the truth."""
        site = self._seed()
        whole = [s for s in self.sites if s.node.get(ModelFolder(self.settings.model.folder)).complete]
        if not self.args.from_node and site not in whole and whole:
            site = whole[0]
        if site not in whole:
            raise ProvisionError(
                f"the weights on {site.name} are not whole, and say nothing of what they must be",
                node=site.name,
                hint="`check --only model` tells what is missing; name model.source to have them fetched",
            )
        now = as_manifest(site.value, source=f"recorded:{site.name}", revision=site.value.snapshot)
        unread = [file for file in now.files if self.args.rehash or not file.sha256]
        if unread:
            yield from self._hash({site.name: (site.value.path, unread)})
        if not self.planned:
            site.value = _look(site.node, verified_fact(site.node.settings))
            now = as_manifest(site.value, source=now.source, revision=now.revision)
        self.manifest = now

    def _seed(self) -> _Site:
        """The node that asks, downloads, or is copied from. Raises ``ProvisionError`` where it takes no part."""
        name = self.args.from_node or (self.source.node if self.source else None) or self.sites[0].name
        for site in self.sites:
            if site.name == name:
                return site
        hint = "take it into --limit, or name another host in model.source.node"
        raise ProvisionError(f"{name}, which model.source.node names, takes no part in this run", hint=hint)

    def _place(self) -> None:
        """Where the files belong: in Hugging Face's cache the snapshot's folder."""
        model = self.settings.model
        if not (model.repository and model.hub == "huggingface"):
            return
        held = [site.value.snapshot for site in self.sites if site.value.snapshot]
        known = self.manifest.revision or (held[0] if held else _digest(self.manifest))
        self.folder = f"{model.folder}/snapshots/{known}"
        for site in self.sites:
            if site.value.path != self.folder:
                site.value = VerifiedValue(self.folder)

    # ---- what is there

    def _judge(self) -> None:
        actors = self._actors()
        for site in self.sites:
            site.judged = judged(self.manifest, site.value, rehash=self.rehash)
            if site not in actors:
                site.judged = _trusted(site.judged)

    def _actors(self) -> list[_Site]:
        """The nodes whose folder is their own; of a shared folder one node alone reads and writes it."""
        return [self._seed()] if self.shared else self.sites

    def _wrong(self) -> list[_Site]:
        return [site for site in self.sites if site.judged.wrong]

    def _read(self) -> Steps:
        """Read what is not known, on all nodes at the same time."""
        todo = {
            site.name: (self.folder, [file for file in site.judged.unsure if file.sha256])
            for site in self._actors()
            if not self.quick and any(file.sha256 for file in site.judged.unsure)
        }
        if todo:
            yield from self._hash(todo)
            self.rehash = False
            self._look_again()

    def _hash(self, todo: Mapping[str, tuple[str, Sequence[File]]]) -> Steps:
        sites = {site.name: site for site in self.sites}
        lists: dict[str, Action] = {}
        jobs: dict[str, Action] = {}
        for name, (folder, files) in todo.items():
            settings = sites[name].node.settings
            own = settings.model.folder
            place = home(settings, own if f"{folder}/".startswith(f"{own}/") else folder)
            lists[name] = listed(files, place)
            sites[name].read += sum(file.size for file in files)
            jobs[name] = Job(
                label=f"read {counted(files)}",
                name=f"weights-read-{posixpath.basename(place)}",
                script=hash_listed(folder, place),
                deadline=86400.0,
                progress=Hashing(sum(file.size for file in files)),
                affects=CHANGED,
            )
        yield from self._act(lists)
        yield from self._act(jobs)

    def _look_again(self) -> None:
        """Judge anew. In a plan, what was to be read counts as right, since nothing else can be known."""
        if not self.planned:
            self._again(*self.sites)
            self._judge()
            return
        for site in self.sites:
            site.judged = _trusted(site.judged)

    def _again(self, *sites: _Site) -> None:
        """Look anew, at all of them at the same time. What one node did to a shared folder, all are to see."""
        by_name = {site.name: site for site in sites}

        def look(node: Node) -> None:
            if node.name in by_name:
                model = node.settings.model.folder
                fact = Verified(self.folder, home(node.settings, model))
                node.observe([fact, verified_fact(node.settings), ModelFolder(model)])
                by_name[node.name].value = node.get(fact)

        self.cluster.each(look)

    # ---- what is to come

    def _may_fetch(self) -> bool:
        return bool(self.source or self.args.repair or self.args.from_node)

    def _unproven(self) -> bool:
        """Whether the hub told no SHA-256 of some (small) files: they are fetched, and so their checksums known."""
        hubs = self.source is not None and self.source.kind in HUBS
        return hubs and not (self.manifest.proven or self.quick)

    def _bring(self) -> Steps:
        wanted = self._to_fetch()
        self._require_room({site.name: files for site, files in wanted})
        if wanted:
            yield from self._fetch(wanted)
        if wanted and not self.planned:
            self._again(*(site for site, _ in wanted))
            there = {file.path: file.sha256 for file in self._seed().value.files if file.sha256}
            self.manifest = self.manifest.with_sums(there)
            self._judge()
            yield from self._read()
        yield from self._spread()

    def _to_fetch(self) -> list[tuple[_Site, list[File]]]:
        """From the source: what no node has; all that each lacks, where every node is to fetch for itself."""
        actors, seed = self._actors(), self._seed()
        if self.args.from_node:
            self._require_whole(seed)
            return []
        nowhere = frozenset[str].intersection(*(site.judged.bad for site in actors))
        if self._unproven():
            nowhere |= {file.path for file in self.manifest.files if not file.sha256}
        each = bool(self.source and self.source.spread == "each" and self.source.kind != "node")
        paths = {site.name: nowhere | site.judged.bad for site in actors} if each else {seed.name: nowhere}
        wanted = [(site, [f for f in self.manifest.files if f.path in paths.get(site.name, ())]) for site in actors]
        found = [(site, files) for site, files in wanted if files]
        if found and self.source is None:
            lost = [file.path for file in found[0][1]]
            hint = "name model.source; or copy them to one node, and run again"
            raise ProvisionError(f"no node has {_listed(lost)} as it must be", hint=hint)
        return found

    def _fetch(self, wanted: Sequence[tuple[_Site, list[File]]]) -> Steps:
        assert self.source is not None
        if self.source.kind in HUBS and self.listing is None:
            self.listing = self._listing_of_manifest(self.source)
        files = tuple((site.node, files) for site, files in wanted)
        order = Order(self.settings, self.source, self.folder, files, self.listing)
        took = yield from self._watched(supplied(order))
        self._brought({site.name: files for site, files in wanted}, took)

    def _listing_of_manifest(self, source: WeightsSource) -> hub.Listing:
        """The hub's list of the files that the manifest has; it must still hold the same ones."""
        pinned = source.model_copy(update={"revision": self.manifest.revision or source.revision})
        found = listing(self._seed().node, self.settings, pinned)
        now = {file.path: (file.size, file.sha256) for file in found.files}
        moved = [f.path for f in self.manifest.files if _differs(f, now.get(f.path))]
        if moved:
            raise ProvisionError(
                f"the hub holds other files now than when the manifest was made: {_listed(moved)}",
                hint="`weights --refresh` takes what it holds now; or pin model.source.revision",
                node=self._seed().name,
            )
        return found

    def _require_whole(self, site: _Site) -> None:
        if site.judged.wrong:
            raise ProvisionError(
                f"--from {site.name}: its weights are not as they must be: {'; '.join(site.judged.reasons[:3])}",
                node=site.name,
                hint="name a node whose weights are verified; `weights` without --from tells which are",
            )

    def _require_room(self, fetched: Mapping[str, Sequence[File]]) -> None:
        """Disk arithmetic first: each file that is replaced lies beside the old one until it is whole."""
        short = []
        for site in self._actors():
            coming = {file.path: file.size for file in (*fetched.get(site.name, ()), *site.judged.wrong)}
            partial = dict(site.value.partial)
            need = sum(size - min(size, partial.get(path, 0)) for path, size in coming.items())
            room = site.node.get(places(site.node.settings)).of(self.settings.model.folder) if need else None
            if room and room.read_only:
                short.append(
                    (site.name, f"{site.name}: {room.mount} is mounted read-only, and {size_text(need)} are to come")
                )
            elif room and room.free is not None and room.free < need:
                words = f"{size_text(room.free)} free on {room.mount}, {size_text(need)} to come"
                short.append((site.name, f"{site.name}: {words}"))
        if short:
            raise ProvisionError(
                f"no room for the weights: {'; '.join(line for _, line in short[:4])}",
                node=short[0][0],
                hint=f"free space there, or set model.{'cache' if self.settings.model.repository else 'path'} to a "
                "folder on a larger disk; nothing was moved",
                evidence="\n".join(line for _, line in short),
            )

    def _brought(self, files: Mapping[str, Sequence[File]], seconds: Mapping[str, float]) -> None:
        """Count what came; it is verified already."""
        for site in self.sites:
            came = files.get(site.name, ())
            site.fetched += sum(file.size for file in came)
            site.seconds += seconds.get(site.name, 0.0)
            paths = {file.path for file in came}
            good = tuple(f for f in self.manifest.files if f.path in paths | site.judged.good)
            bad = tuple(f for f in site.judged.wrong if f.path not in paths)
            site.judged = Judged(good, site.judged.unsure, bad, (), site.judged.extra)

    def _spread(self) -> Steps:
        """From node to node: each gets what it lacks from those that have it."""
        actors = self._actors()
        takers = {site.name: site.judged.bad for site in actors if site.judged.wrong}
        if not takers:
            return
        wanted = frozenset[str]().union(*takers.values())
        holding = [self._seed()] if self.args.from_node else actors
        holders = {site.name: site.judged.good & wanted for site in holding if site.judged.good & wanted}
        mode: Shape = "tree" if self.source and self.source.spread == "tree" else "pipeline"
        parcel = Parcel(
            name="weights",
            folder=self.folder,
            files=tuple(self._summed(file) for file in self.manifest.files),
            mode=mode,
            bandwidth=bandwidth(self.source.bandwidth) if self.source else 0,
            timeout=self.source.timeout if self.source else 86400.0,
        )
        outcome = yield from self._watched(spread(self.cluster, parcel, holders, takers))
        by_path = {file.path: file for file in self.manifest.files}
        self._brought({name: [by_path[path] for path in paths] for name, paths in takers.items()}, {})
        moved = outcome.data.get("moved", {}) if outcome else {}
        for site in actors:
            if isinstance(moved, Mapping) and site.name in moved and not self.planned:
                site.fetched += int(moved[site.name]) - sum(by_path[path].size for path in takers[site.name])

    def _summed(self, file: File) -> File:
        """In a plan a checksum may be one that only the performed actions would tell: any will do."""
        return replace(file, sha256=file.sha256 or "0" * 64) if self.planned else file

    # ---- what is kept

    def _keep(self) -> Steps:
        """The manifest beside the weights, and what the hub's client wants to find."""
        if not self.planned and any(site.fetched for site in self.sites):
            self._look_again()
        text = self.manifest.text()
        puts: dict[str, Action] = {}
        for site in self._actors():
            if site.value.manifest.strip() != text.strip():
                value = site.value if site.value.exists else VerifiedValue(self.folder)
                path = keeps(value, site.node.settings, site.node.settings.model.folder)
                label = f"keep the manifest: {counted(self.manifest.files)}"
                puts[site.name] = Put(
                    label=label, path=path, content=text.encode(), before=site.value.manifest.encode() or None,
                    affects=frozenset({"weights"}),
                )  # fmt: skip
        if puts:
            yield from self._act(puts)
        yield from self._name_snapshot()
        yield from self._index_for_client()
        if self.acted and not self.planned:
            self._look_again()
        for _ in range(_SHARED_PAUSES if self.acted and not self.planned and self.shared else 0):
            if not self._wrong():
                break
            self.cluster.pause(_SHARED_PAUSE)
            self._look_again()

    def _name_snapshot(self) -> Steps:
        """``refs/main`` is what a server of Hugging Face's cache reads."""
        model = self.settings.model
        snapshot = posixpath.basename(self.folder)
        if not (model.repository and model.hub == "huggingface"):
            return
        puts: dict[str, Action] = {
            site.name: Put(
                label=f"name the snapshot {snapshot[:12]} as main",
                path=f"{model.folder}/refs/main",
                content=snapshot.encode(),
                affects=CHANGED,
            )
            for site in self._actors()
            if site.ref != snapshot
        }
        if puts:
            yield from self._act(puts)

    def _index_for_client(self) -> Steps:
        """ModelScope's client believes in files that its index names; that of the node which downloaded them."""
        model = self.settings.model
        if self.planned or not (model.repository and model.hub == "modelscope"):
            return
        have = [site for site in self.sites if site.value.client]
        lack = [site for site in self._actors() if not site.value.client]
        if not have or not lack:
            return
        encoded = have[0].node.read(f"base64 <{quote(self.folder)}/.msc\n", label="the client's index").stdout
        content = base64.b64decode("".join(encoded.split()))
        puts: dict[str, Action] = {
            site.name: Put(label="the index of ModelScope's client", path=f"{self.folder}/.msc", content=content)
            for site in lack
        }
        yield from self._act(puts)

    def _prove(self) -> tuple[Finding, ...]:
        """All is as the manifest says, else ``ProvisionError``. Where something came: what came is a whole model."""
        if self.planned:
            return ()
        for site in self._wrong():
            raise ProvisionError(
                f"{site.name} still differs: {_listed(site.judged.reasons)}",
                node=site.name,
                hint=_SHARED_HINT.format(self.folder) if self.shared else "run `weights --rehash`",
            )
        found = {
            site.name: site.node.get(ModelFolder(self.settings.model.folder)) for site in self.sites if site.fetched
        }
        return tuple(
            Finding(
                f"{value.path} is not whole though all that the source has came: {_listed(_unwhole(value))}",
                "the source itself is not whole: see it, or name another model.source",
                node=name,
            )
            for name, value in found.items()
            if not value.complete
        )

    # ---- actions

    def _act(self, actions: Mapping[str, Action]) -> Steps:
        self._note((yield On(actions)))

    def _note(self, results: Mapping[str, ActionResult]) -> None:
        sites = {site.name: site for site in self.sites}
        self.acted |= bool(results)
        for name, result in results.items():
            if isinstance(result, PlannedResult):
                self.planned = True
            elif name in sites:
                sites[name].seconds += result.seconds

    def _watched(
        self, steps: Generator[On, Mapping[str, ActionResult], T]
    ) -> Generator[On, Mapping[str, ActionResult], T]:
        """Another's steps, of which it must be known whether they were only planned."""
        try:
            asked = next(steps)
            while True:
                try:
                    results = yield asked
                except ProvisionError as error:
                    asked = steps.throw(error)
                else:
                    self.acted |= bool(results)
                    self.planned |= any(isinstance(result, PlannedResult) for result in results.values())
                    asked = steps.send(results)
        except StopIteration as stop:
            value: T = stop.value
            return value

    # ---- in words

    def _unknown(self) -> Outcome:
        """Nothing says what the weights must be: the checks of the folders have judged names, sizes and headers."""
        values = {site.name: site.node.get(ModelFolder(self.settings.model.folder)) for site in self.sites}
        return Outcome(
            "no manifest is kept: compared by names, sizes and headers alone; `weights --record` makes one",
            data={"nodes": {name: {"files": len(v.shards), "bytes": v.size} for name, v in values.items()}},
            summary={
                n: f"{len(v.shards)} shards, {size_text(v.size)}, contents not compared" for n, v in values.items()
            }
            if self.args.table
            else {},
        )

    def _findings(self) -> tuple[Finding, ...]:
        good = [site.name for site in self.sites if not site.judged.wrong]
        remedy = "`qnext-provision weights --repair` fetches what differs" + (
            f" from {_listed(good)}" if good else ", once a node has it or model.source is named"
        )
        return tuple(
            Finding(
                f"{self.folder}: {_listed(site.judged.reasons)}",
                remedy,
                node=site.name,
                expected=f"{counted(self.manifest.files)}, as the manifest of {self.manifest.source} says",
                observed=f"{len(site.judged.wrong)} of them differ",
            )
            for site in self._wrong()
        )

    def _changed(self) -> tuple[Finding, ...]:
        """Files of the right size whose bytes are others: nobody would see it from outside, so it is told."""
        if self.args.refresh:
            return ()
        sites = [(site, tuple(line for line in site.judged.reasons if " has SHA-256 " in line)) for site in self.sites]
        return tuple(
            Finding(
                f"{self.folder}: {_listed(lines)}: fetched again",
                "where nobody changed it, look at the disk: dmesg, smartctl",
                node=site.name,
                level="warn",
            )
            for site, lines in sites
            if lines
        )

    def _outcome(self, findings: tuple[Finding, ...]) -> Outcome:
        word = "of the right size" if self.quick else "verified"
        nodes = f"{len(self.sites)} node{'s' * (len(self.sites) != 1)}"
        extra = {site.name: list(site.judged.extra) for site in self.sites if site.judged.extra}
        count = sum(map(len, extra.values()))
        more = f"; {count} other file{'s' * (count != 1)} left alone" if extra else ""
        recorded = self.manifest.source.removeprefix("recorded:")
        more += f"; the truth is what {recorded} held" if recorded != self.manifest.source else ""
        return Outcome(
            f"{counted(self.manifest.files)} {word} on {nodes}{more}",
            data={
                "source": self.manifest.source,
                "revision": self.manifest.revision,
                "folder": self.folder,
                "files": len(self.manifest.files),
                "bytes": self.manifest.size,
                "nodes": {site.name: _row(site) for site in self.sites},
            },
            findings=findings,
            summary={site.name: self._line(site, word) for site in self.sites} if self.args.table else {},
        )

    def _line(self, site: _Site, word: str) -> str:
        to_come = "to be " if self.planned else ""
        done = [f"{size_text(site.read)} {to_come}read"] if site.read else []
        done += [f"{size_text(site.fetched)} {to_come}fetched"] if site.fetched else []
        took = f" in {site.seconds:.0f} s" if site.seconds >= 0.5 else ""
        if self.planned and done:
            return f"{counted(self.manifest.files)}: {', '.join(done)}"
        what = f" ({', '.join(done)}{took})" if done else ""
        more = f", {len(site.judged.extra)} other files" if site.judged.extra else ""
        return f"{counted(self.manifest.files)} {word}{what}{more}"


_SHARED_PAUSES, _SHARED_PAUSE = 14, 5.0
"""NFS remembers what a folder holds for up to 60 seconds (acdirmax)."""

_SHARED_HINT = "{} is one folder of all nodes: findmnt -T it on each; what one writes, all must see"


def _trusted(found: Judged) -> Judged:
    """With what is unsure taken for right: its size is."""
    return Judged((*found.verified, *found.unsure), (), found.wrong, found.reasons, found.extra)


def _unwhole(value: ModelFolderValue) -> list[str]:
    broken = [*(f"{name} is missing" for name in value.missing), *(f"{name} is cut short" for name in value.truncated)]
    return broken or list(value.problems) or ["config, tokenizer or shards are missing"]


def _row(site: _Site) -> dict[str, object]:
    return {
        "verified": len(site.judged.verified),
        "read_bytes": site.read,
        "fetched_bytes": site.fetched,
        "seconds": round(site.seconds, 1),
        "extra": list(site.judged.extra),
    }


def _one_mount(nodes: Sequence[Node]) -> bool:
    """Whether the folder lies on a network file system that is the same on all nodes, declared as shared or not."""
    found = [node.get(places(node.settings)).of(node.settings.model.folder) for node in nodes]
    mounts = {(room.filesystem, room.mount) if room and room.network else None for room in found}
    return len(nodes) > 1 and len(mounts) == 1 and None not in mounts


def _look(node: Node, fact: Fact[VerifiedValue]) -> VerifiedValue:
    node.observe([fact])
    return node.get(fact)


def _changed(before: Manifest, now: Manifest) -> list[str]:
    """Paths whose size or known checksum is another one."""
    old = {file.path: file for file in before.files}
    gone = set(old) - {file.path for file in now.files}
    other = {f.path for f in now.files if f.path in old and _differs(old[f.path], (f.size, f.sha256))}
    return sorted(gone | other)


def _differs(file: File, now: tuple[int, str] | None) -> bool:
    return now is None or now[0] != file.size or bool(now[1] and file.sha256 and now[1] != file.sha256)


def _digest(manifest: Manifest) -> str:
    """A name for files that no commit names."""
    rows = "\n".join(f"{file.size} {file.path}" for file in manifest.files)
    return hashlib.sha1(f"{manifest.source}\n{rows}".encode(), usedforsecurity=False).hexdigest()


def _listed(names: Sequence[str], shown: int = 3) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
