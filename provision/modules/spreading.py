"""How files and images get from nodes that have them to nodes that lack them, over the data network.

No module of its own: ``weights``, ``source`` and ``image`` spread what they put onto one node. Each node that lacks
something fetches it by a job of its own (``install/spread.py``), which goes on without the controller; the next run
attaches to it. The keys by which nodes may ask each other (``install/ties.py``) go with the spread, or with ``down``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from provision.actions import Job, On, Run
from provision.amounts import size_text
from provision.errors import CommandFailed, Interrupted, ProvisionError
from provision.facts.authorized_keys import AuthorizedKeys
from provision.install import spread as spreads
from provision.install import ties
from provision.install.manifest import File
from provision.install.spread import Listing, Shape
from provision.install.ties import Door, Key
from provision.modules.base import ClusterRun, Outcome
from provision.node import Cluster
from provision.results import PlannedResult, Result
from provision.serve import launch
from provision.shell import quote
from provision.transport.engine import prologue

CHANGED = frozenset({"weights", "model-folder", "listing", "disk", "wheels"})
"""What arrives may change."""

IMAGES = frozenset({"image", "docker", "disk"})
NOTHING: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is spread. ``folder`` is absolute and the same on every node; ``files`` are all that it holds, also those
    that nobody lacks now, so that a run that was interrupted is known again; what is lacked has a known checksum.

    ``name`` names the jobs: letters, digits, dashes. ``bandwidth``: bytes a second of each copy, 0: no limit.
    """

    name: str
    folder: str
    files: tuple[File, ...]
    mode: Shape = "pipeline"
    bandwidth: int = 0
    timeout: float = 86400.0
    affects: frozenset[str] | None = CHANGED


def spread(
    cluster: Cluster,
    parcel: Parcel,
    holders: Mapping[str, frozenset[str]] | Sequence[str],
    takers: Mapping[str, frozenset[str]],
) -> ClusterRun:
    """Bring to each of ``takers`` the paths that it lacks or has wrong, from ``holders``, which have verified them.

    ``holders``: nodes that have all files, or which node has which. The outcome's ``data`` holds ``moved``: bytes that
    came over the network, by node. Raises ``ProvisionError`` naming node, file, cause and remedy.
    """
    lacking = {node.name: takers[node.name] for node in cluster.nodes if takers.get(node.name)}
    needed = frozenset[str]().union(*lacking.values())
    unknown = needed - {file.path for file in parcel.files if file.sha256}
    if unknown:
        raise ProvisionError(f"{min(unknown)} has no checksum, so no copy of it could be proven")
    moved = dict.fromkeys(lacking, 0)
    for givers, paths in _shares(holders, needed):
        wanted = {name: lacks & paths for name, lacks in lacking.items() if lacks & paths and name not in givers}
        outcome = yield from _files(cluster, parcel, givers, wanted)
        for name, count in (outcome.data if outcome else {}).items():
            moved[name] += count if isinstance(count, int) else 0
    return Outcome(f"{_nodes(len(moved))} served", data={"moved": moved})


def _shares(
    holders: Mapping[str, frozenset[str]] | Sequence[str], needed: frozenset[str]
) -> Iterable[tuple[list[str], frozenset[str]]]:
    """Who gives which files: those that have all that is needed, or else one after the other gives what it has."""
    if not isinstance(holders, Mapping):
        holders = dict.fromkeys(holders, needed)
    whole = [name for name, paths in holders.items() if needed <= paths]
    if whole:
        return [(whole, needed)] if needed else []
    shares, left = [], needed
    for name, paths in holders.items():
        if left & paths:
            shares.append(([name], left & paths))
            left -= paths
    if left:
        some = f"{min(left)}" + (f" and {len(left) - 1} more" if len(left) > 1 else "")
        raise ProvisionError(f"no node has {some}", hint="name a source (qnext.model.source), or put it onto one node")
    return shares


def _files(cluster: Cluster, parcel: Parcel, givers: list[str], takers: Mapping[str, frozenset[str]]) -> ClusterRun:
    """One spread, from ``givers`` to ``takers``: how many bytes came to whom."""
    if not takers:
        return Outcome()
    spread = _Spread(cluster, parcel.name, spreads.parents(parcel.mode, givers, list(takers)))
    listing = Listing(parcel.files)
    serve = spreads.serve_script(parcel.folder, spread.plan, listing, rate=parcel.bandwidth)
    script = spreads.fetch_script(parcel.folder, spread.plan, listing, rate=parcel.bandwidth)

    def prepare(name: str) -> Run:
        texts = spread.texts(name, serve, listing, takers.get(name))
        size = listing.bytes_of(takers.get(name, ()))
        return spread.prepare(name, texts, folder=parcel.folder if name in takers else "", size=size)

    def job(name: str) -> Job:
        size, count = listing.bytes_of(takers[name]), len(takers[name])
        what = f"{count} file{'s' * (count != 1)} ({size_text(size)})"
        return Job(
            label=f"fetch {what} from {spread.parents[name][0]}",
            name=f"spread-{parcel.name}",
            script=script,
            deadline=parcel.timeout,
            hint="run again: what has come is kept",
            progress=spreads.Fetching(),
            affects=parcel.affects,
        )

    def steps() -> ClusterRun:
        yield On({name: prepare(name) for name in spread.all})
        results = yield On({name: job(name) for name in takers})
        logs = {name: result.stdout for name, result in results.items() if isinstance(result, Result)}
        for name, log in logs.items():
            spread.keep(name, log)
        return Outcome(data={name: spreads.moved(log) for name, log in logs.items()})

    return (yield from spread.around(steps))


def spread_image(
    cluster: Cluster, ref: str, image_id: str, holders: Sequence[str], takers: Sequence[str], timeout: float
) -> ClusterRun:
    """Bring the image ``ref``, whose id is ``image_id``, from ``holders`` to ``takers`` with no registry between.

    In each round every node that has it gives it to one other. Raises ``ProvisionError``.
    """
    rounds = spreads.rounds(list(holders), [name for name in takers if name not in holders])
    asked = {taker: (parent,) for each in rounds for taker, parent in each.items()}
    if not asked:
        return Outcome()
    spread = _Spread(cluster, "image", asked)
    serve = spreads.image_serve_script(ref, image_id)
    script = spreads.image_fetch_script(ref, image_id, spread.plan)

    def job(name: str) -> Job:
        return Job(
            label=f"fetch {ref} from {asked[name][0]}",
            name="spread-image",
            script=script,
            deadline=timeout,
            hint="run again: images that have come are kept",
            progress=spreads.Fetching(),
            affects=IMAGES,
        )

    def steps() -> ClusterRun:
        yield On({name: spread.prepare(name, spread.texts(name, serve)) for name in spread.all})
        for each in rounds:
            yield On({name: job(name) for name in each})
        return Outcome(f"{ref} spread to {_nodes(len(asked))}")

    return (yield from spread.around(steps))


class _Spread:
    """The nodes of one spread, who asks whom among them, and the ties that let them."""

    def __init__(self, cluster: Cluster, name: str, parents: Mapping[str, tuple[str, ...]]) -> None:
        self.parents = parents
        self._nodes = {node.name: node for node in cluster.nodes}
        self._hosts = {host.name: host for host in cluster.hosts}
        self._cluster = cluster.settings.cluster
        self.plan = spreads.place(cluster.settings.state_dir, self._cluster, name)
        self.asked = [n for n in self._nodes if any(n in line for line in parents.values())]
        self.all = [n for n in self._nodes if n in parents or n in self.asked]
        strangers = sorted({n for line in parents.values() for n in line} - set(self._nodes))
        if strangers:
            raise ProvisionError(
                f"{strangers[0]} has what others lack, and is not among these nodes", hint="widen --limit"
            )
        self._addresses = {n: launch.address_of(self._nodes[n]) for n in self.all}
        self._doors: dict[str, Door] = {}
        self._key: Key | None = None

    def around(self, steps: Callable[[], ClusterRun]) -> ClusterRun:
        """``steps`` between making the ties and taking them away. What broke is told with its remedy."""
        try:
            yield from self._tie()
            outcome = yield from steps()
        except Interrupted:
            raise  # the jobs go on, and need their keys; the next run, or down, takes them away
        except ProvisionError as error:
            with suppress(ProvisionError):
                yield from self._untie()
            raise self._explained(error) from None
        yield from self._untie()
        return outcome

    def _tie(self) -> ClusterRun:
        self._key = ties.new_key()
        answers = yield On({name: self._admit(name, self._key) for name in self.asked})
        for name, answer in answers.items():
            address = self._addresses[name]
            if isinstance(answer, PlannedResult):
                self._doors[name] = Door(name, "", address, 22, ())
                continue
            try:
                self._doors[name] = ties.door(name, address, answer.stdout)
            except ValueError as error:
                hint = "other nodes could not know it for sure: make its host keys readable, or set spread: each"
                raise ProvisionError(f"{name}: {error}", node=name, hint=hint) from None
        return None

    def _admit(self, name: str, key: Key) -> Run:
        askers = [taker for taker, line in self.parents.items() if name in line]
        # All takers, on every node, so that a home that is one on all of them gets one line.
        allowed = ties.options(self._addresses[taker] for taker in self.parents)
        host = self._hosts.get(name)
        script = ties.admit(
            self._cluster,
            key,
            allowed,
            spreads.serve_command(self.plan),
            become=host is None or host.connection.become,
            port=self._nodes[name].settings.install.spread_port or 0,
        )
        return Run(
            label=f"let {', '.join(askers)} ask it by SSH",
            script=script,
            become=False,
            affects=frozenset({"authorized-keys"}),
            hint="the login user needs a home folder with room, and sudo without a password where it is not root",
        )

    def texts(
        self, name: str, serve: str, listing: Listing | None = None, want: Iterable[str] | None = None
    ) -> dict[str, str]:
        """The files of a node's folder by name."""
        ask = [self._doors[parent] for parent in self.parents.get(name, ())]
        before = prologue(self._nodes[name].settings)
        return spreads.texts(
            before + serve, listing=listing, want=want, ask=ask, address=self._addresses[name], key=self._key
        )

    def prepare(self, name: str, texts: Mapping[str, str], *, folder: str = "", size: int = 0) -> Run:
        """Put a node's folder there, where it has what it takes."""
        return Run(
            label=f"prepare {self.plan}",
            script=spreads.prepare_script(self.plan, folder=folder, takes=bool(folder), asks=name in self.parents),
            input=spreads.packed(texts),
            affects=frozenset({"listing"}),
        )

    def keep(self, name: str, log: str) -> None:
        """Keep a job's log in the run directory: what came how, and what was tried again."""
        self._nodes[name].keep(f"spread-{self.plan.rpartition('/')[2]}.txt", log)

    def _untie(self) -> ClusterRun:
        lines = replace(self._remove(ties.dismiss(self._cluster), "the run's key"), become=False)
        folder = self._remove(spreads.remove_script(self.plan), "the spread's folder")
        yield from all_of([On(dict.fromkeys(self.asked, lines)), On(dict.fromkeys(self.all, folder))])
        return None

    def _remove(self, script: str, what: str) -> Run:
        affects = frozenset({"authorized-keys", "listing"})
        return Run(label=f"remove {what}", script=script, affects=affects, hint="run down, which removes it too")

    def _explained(self, error: ProvisionError) -> ProvisionError:
        """An error of one of our steps in an operator's words."""
        if not isinstance(error, CommandFailed):
            return error
        result, node = error.result, error.node
        if result.exit == 28 and "room: " in result.stderr:
            need, _, room = result.tail(1).removeprefix("room: ").partition(" of ")
            message = f"{node} has no room for what it lacks: {_size(need)} are needed, {_size(room)} are free"
            return ProvisionError(message, node=node, hint="free space (df -h on the node), then run again")
        if result.exit == 69 and "ssh: not found" in result.stderr:
            hint = "install OpenSSH's client there (openssh-clients or openssh-client), or set spread: each"
            return ProvisionError(f"{node} has no ssh to ask another node with", node=node, hint=hint)
        if result.exit == 77:
            hint = "let the user run sudo without a password (NOPASSWD), log in as root, or set spread: each"
            return ProvisionError(f"{node}: {result.tail(1)}", node=node, hint=hint)
        if node in self.parents and not result.timed_out and result.label.startswith("fetch "):
            found = spreads.trouble(result.stdout)
            message = f"{node} could not {result.label}: {found.cause}"
            return ProvisionError(message, node=node, hint=found.hint, evidence=result.tail())
        return error


def all_of(steps: Iterable[On]) -> ClusterRun:
    """Every one of ``steps``, also where one before it failed: the first error is raised at the end."""
    errors = []
    for step in steps:
        try:
            yield step
        except Interrupted:
            raise
        except ProvisionError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return None


def _size(text: str) -> str:
    return size_text(int(text)) if text.strip().isdigit() else text


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"


def tidy(cluster: Cluster) -> ClusterRun:
    """Take away keys that an interrupted spread has left. It looks at ``AuthorizedKeys(settings.cluster)``: name that
    among a module's facts, and call this where nothing is to be spread now."""
    left = [node for node in cluster.nodes if node.get(AuthorizedKeys(node.settings.cluster)).files]
    if left:
        yield On({node.name: leftover(node.settings.cluster) for node in left})
    return None


def leftover(cluster: str) -> Run:
    """Takes away what a spread that was broken off has left in the login user's ``authorized_keys``."""
    return Run(
        label=f"remove our keys ({quote(ties.comment(cluster))}) from authorized_keys",
        script=ties.dismiss(cluster),
        become=False,
        affects=frozenset({"authorized-keys"}),
    )
