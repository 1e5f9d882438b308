"""Have vLLM and vllm-ascend built from source once, on one node, and the same packages in a venv on every node.

The builder makes wheels of all that it installs; they go to the other nodes over the data network, and each makes its
venv of them without an index. Building and installing are detached jobs: they outlive a dropped connection and a killed
controller, and the next run attaches to them. Where the wheels are there nothing is built, and where the venv is made
of them nothing is done.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from pydantic import Field

from provision.actions import Call, Job, On, Put, Remove, Run
from provision.diagnose import autopsy, catalogue
from provision.errors import CommandFailed, ProvisionError, RemoteError
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.source import SourceInstall, SourceInstallValue, WheelsRecord
from provision.install import source as scripts
from provision.install.manifest import File
from provision.inventory.model import Settings
from provision.modules import spreading
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster, Node
from provision.results import ActionResult, PlannedResult, Result
from provision.secrets import Secret
from provision.serve import stack
from provision.serve.source import Build, resolve
from provision.shell import quote

SCOPE = "cluster"

CHANGED = frozenset(
    {"source-install", "installed-packages", "image", "docker", "disk", "python-environment", "toolchain", "listing"}
)
"""Facts that building and installing may change."""

INSTALL_TIMEOUT = 3600.0
"""Seconds that making a venv of wheels may take on one node: it unpacks some gigabytes."""


class Args(ModuleArgs):
    """How patiently; what is built is the inventory's to say (``install.source``)."""

    timeout: float | None = Field(
        None, gt=0, description="seconds that the build may take; default: install.source.timeout"
    )


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    if settings.install.method != "source":
        return ()
    return (_fact(settings), Containers(settings.cluster))


def _fact(settings: Settings) -> SourceInstall:
    return SourceInstall(settings.venv, settings.wheels, settings.install.source.python)


def run(args: Args, cluster: Cluster) -> ClusterRun:
    settings = cluster.settings
    if settings.install.method != "source":
        yield from ()
        return Outcome("an image is installed: nothing is built", skipped=True)
    build = resolve(settings)
    for password in scripts.passwords(settings.install.source):
        Secret.of(password)  # masked from now on
    if _alike(cluster):
        return _told(cluster, build, ())
    _same_machines(cluster, build)
    holder = _holder(cluster)
    notes: tuple[str, ...] = ()
    if holder is None:
        holder = _builder(cluster)
        result = yield from _built(args, cluster, holder, build)
        if isinstance(result, PlannedResult):
            yield from _planned(cluster, holder, build)
            return None
        notes = scripts.warnings(result.stdout)
    record = _wheels(holder)
    behind = _behind(cluster, holder, record)
    yield from _shipped(cluster, holder, record, behind)
    notes += yield from _installed(behind, build, settings)
    return _told(cluster, build, (*notes, *_beside_the_table(holder)))


# ---- what is there


def _seen(node: Node) -> SourceInstallValue:
    return node.get(_fact(node.settings))


def _alike(cluster: Cluster) -> str:
    """The id that the venvs of all nodes have; empty where they differ, or one has none."""
    ids = {value.venv.id if value.venv else "" for value in map(_seen, cluster.nodes)}
    return next(iter(ids)) if len(ids) == 1 else ""


def _holder(cluster: Cluster) -> Node | None:
    """A node that has all wheels: the builder before others."""
    first = _builder(cluster)
    nodes = [first, *(node for node in cluster.nodes if node is not first)]
    return next((node for node in nodes if _seen(node).whole), None)


def _builder(cluster: Cluster) -> Node:
    """The node that builds: the one named; where it is not among the nodes, or none is named, the first."""
    named = cluster.settings.install.source.builder
    return next((node for node in cluster.nodes if node.name == named), cluster.nodes[0])


def _wheels(node: Node) -> WheelsRecord:
    record = _seen(node).wheels
    if record is None:
        folder = node.settings.wheels
        raise RemoteError(f"there are no wheels in {folder} after they were built", node=node.name)
    return record


def _same_machines(cluster: Cluster, build: Build) -> None:
    """Raises ``ProvisionError`` where wheels of the builder would not fit a node: nothing has been moved yet."""
    builder = _holder(cluster) or _builder(cluster)
    own, record = _seen(builder), _seen(builder).wheels
    machine, python = own.machine, own.python
    if record and own.whole:
        machine, python = record.machine, record.python
    for node in cluster.nodes:
        seen = _seen(node)
        if seen.machine != machine:
            raise ProvisionError(
                f"it is {seen.machine}, and the wheels are for {machine} ({builder.name})",
                node=node.name,
                hint="nodes of one cluster must have one processor: build for each in a cluster of its own",
            )
        _python_fits(node, seen.python, python, build)


def _python_fits(node: Node, python: str, builders: str, build: Build) -> None:
    wanted = node.settings.install.source.python
    hint = "install it there, or set install.source.python to an interpreter that all nodes have, such as python3.11"
    if not python:
        raise ProvisionError(f"{wanted} does not run", node=node.name, hint=hint)
    if not scripts.python_fits(python, build.python):
        message = f"{wanted} is Python {python}, and vllm-ascend {build.release} needs {build.python}"
        raise ProvisionError(message, node=node.name, hint=hint)
    if builders and python.split(".")[:2] != builders.split(".")[:2]:
        message = f"{wanted} is Python {python}, and the wheels are built by {builders}"
        raise ProvisionError(message, node=node.name, hint=hint)


# ---- built


def _built(args: Args, cluster: Cluster, builder: Node, build: Build) -> Generator[On, Any, ActionResult]:
    """Build on one node. Passwords are there for as long as it takes."""
    _not_under_servers(cluster)
    settings = builder.settings
    folder = scripts.private_folder(settings)
    private = scripts.private_files(settings.install.source)
    asked = scripts.index_names(settings.install.source, build)
    for name, content in private.items():
        yield On({builder.name: _private(f"{folder}/{name}", content)})
    results: Mapping[str, ActionResult] = {}
    try:
        with _explained(asked):
            results = yield On({builder.name: _build_job(args, builder, build)})
    except CommandFailed:
        if private:
            with suppress(ProvisionError):
                yield On({builder.name: _forgotten(folder)})
        raise
    if private:
        yield On({builder.name: _forgotten(folder)})
    return results[builder.name]


def _forgotten(folder: str) -> Remove:
    return Remove(label="remove the build's passwords", path=folder, affects=frozenset())


def _private(path: str, content: bytes) -> Put:
    return Put(
        label=f"passwords of the build: {path.rpartition('/')[2]}",
        path=path,
        content=content,
        mode=0o600,
        secret=True,
        affects=frozenset(),
    )


def _build_job(args: Args, builder: Node, build: Build) -> Job:
    settings = builder.settings
    return Job(
        label=f"build {scripts.title(build)}",
        name=scripts.build_job(settings),
        script=scripts.build_script(settings, build),
        deadline=args.timeout or settings.install.source.timeout,
        progress=scripts.progress,
        affects=CHANGED,
    )


def _not_under_servers(cluster: Cluster) -> None:
    """What is built anew replaces venvs: not while servers run from them."""
    for node in cluster.nodes:
        if _seen(node).venv and (running := _running(node)):
            raise ProvisionError(
                f"the wheels of its venv are gone from every node, and {running} runs from it",
                node=node.name,
                hint="they would be built and installed anew, under running servers: qnext-provision down, then up",
            )


def _running(node: Node) -> str:
    found = [each.process for each in node.get(Containers(node.settings.cluster)).containers if each.running]
    return ", ".join(found[:3])


# ---- shipped


def _behind(cluster: Cluster, holder: Node, record: WheelsRecord) -> list[Node]:
    """The nodes whose venv is not made of these wheels. Raises ``ProvisionError`` where servers run from another."""
    behind = [node for node in cluster.nodes if not _made_of(node, record)]
    for node in behind:
        if _seen(node).venv and (running := _running(node)):
            raise ProvisionError(
                f"its venv is made of other wheels than those of {holder.name}, and {running} runs from it",
                node=node.name,
                hint="qnext-provision down, then up",
            )
    return behind


def _made_of(node: Node, record: WheelsRecord) -> bool:
    venv = _seen(node).venv
    return venv is not None and venv.set_id == record.set_id


def _shipped(cluster: Cluster, holder: Node, record: WheelsRecord, behind: Sequence[Node]) -> ClusterRun:
    """Bring the wheels to those who lack them. A folder that all nodes share has them already."""
    settings = holder.settings
    if any(settings.wheels.startswith(f"{folder.rstrip('/')}/") for folder in settings.shared_folders):
        return None
    takers = {node.name: _to_take(node, record) for node in behind if node is not holder}
    takers = {name: paths for name, paths in takers.items() if paths}
    if not takers:
        return None
    yield On({holder.name: _verified(holder)})
    parcel = spreading.Parcel(
        name="wheels",
        folder=settings.wheels,
        files=tuple(File(wheel.path, wheel.size, wheel.sha256) for wheel in record.files),
        timeout=settings.install.source.timeout,
    )
    return (yield from spreading.spread(cluster, parcel, [holder.name], takers))


def _to_take(node: Node, record: WheelsRecord) -> frozenset[str]:
    """Files of the set that a node lacks, or has of another set."""
    seen = _seen(node)
    if seen.wheels and seen.wheels.set_id == record.set_id:
        return frozenset(seen.lacking)
    return frozenset(wheel.path for wheel in record.files)


def _verified(holder: Node) -> Run:
    """The wheels are as they were built: a damaged one stays on one node."""
    folder = holder.settings.wheels
    return Run(
        label="verify the wheels",
        script=f"cd {quote(folder)} && sha256sum -c sums >/dev/null\n",
        deadline=900.0,
        hint=f"remove {folder} on {holder.name}: up builds them anew",
        affects=frozenset(),
    )


# ---- installed


def _installed(behind: Sequence[Node], build: Build, settings: Settings) -> Generator[On, Any, tuple[str, ...]]:
    """Make the venv on nodes whose wheels are there. What the scripts want to be seen."""
    if not behind:
        return ()
    with _explained(settings.wheels):
        results: Mapping[str, ActionResult] = yield On({node.name: _venv_job(node, build) for node in behind})
    said: dict[str, list[str]] = {}
    for name, result in results.items():
        for note in scripts.warnings(result.stdout) if isinstance(result, Result) else ():
            said.setdefault(note, []).append(name)
    return tuple(f"{note} ({', '.join(names)})" for note, names in said.items())


def _venv_job(node: Node, build: Build) -> Job:
    return Job(
        label=f"install {scripts.title(build)} from wheels",
        name=scripts.venv_job(node.settings),
        script=scripts.venv_script(node.settings, build),
        deadline=INSTALL_TIMEOUT,
        progress=scripts.progress,
        affects=CHANGED,
    )


# ---- what is said where a job fails


@contextmanager
def _explained(asked: str) -> Iterator[None]:
    """A failed job's error names the step, the end of its log, and the remedy where the catalogue knows one.
    ``asked``: where packages are looked for."""
    try:
        yield
    except CommandFailed as error:
        raise _step_error(error, asked) from None


_OF_INDEXES = ("index-unreachable", "index-certificate", "package-not-found")


def _step_error(error: CommandFailed, asked: str) -> CommandFailed:
    failed = scripts.step_failed(error.result.stdout)
    if failed is None:
        return autopsy.explained(error)
    known = catalogue.explain(failed.log)
    how = "was not done in time" if error.result.timed_out else f"failed with exit status {error.result.exit}"
    where = f"; asked were {asked}" if known and known.id in _OF_INDEXES else ""
    kept = "the whole log is in the run directory; the wheels that were built are kept for the next run"
    told = CommandFailed(
        f"{error.result.label}: step {failed.number} of {failed.total}, {failed.name}, {how}"
        + (f": {known.title}" if known else ""),
        error.result,
        node=error.node,
        hint=known.remedy + where if known else kept,
    )
    told.evidence = failed.tail or error.evidence
    return told


# ---- told


def _planned(cluster: Cluster, holder: Node, build: Build) -> ClusterRun:
    """What would follow a build that is only planned: which wheels there will be is not known."""
    others = [node for node in cluster.nodes if node is not holder]
    if others:
        yield On(
            {
                node.name: Call(label=f"take the wheels from {holder.name}", do=_never, affects=CHANGED)
                for node in others
            }
        )
    yield On({node.name: _venv_job(node, build) for node in cluster.nodes})
    return None


def _never(node: Node) -> Result:
    raise ProvisionError("this is only planned", node=node.name)


def _beside_the_table(node: Node) -> list[str]:
    """What was installed in another version than the table of compatibility names for the release."""
    venv = _seen(node).venv
    return [verdict.reason for verdict in stack.packages_judged(node, venv.versions)] if venv and _npu(node) else []


def _npu(node: Node) -> bool:
    return node.settings.hardware != "cpu"


def _told(cluster: Cluster, build: Build, notes: Iterable[str]) -> Outcome:
    """What all nodes have. Raises ``ProvisionError`` where it is not the same."""
    seen = {node.name: _seen(node) for node in cluster.nodes}
    venvs = {name: value.venv for name, value in seen.items()}
    alike, venv = _alike(cluster), next((venv for venv in venvs.values() if venv), None)
    if not alike or venv is None:
        raise ProvisionError(
            "the nodes do not have the same packages",
            evidence="\n".join(f"{(venv.id if venv else 'none')[:19]}  {name}" for name, venv in venvs.items()),
            hint=f"remove {cluster.settings.venv} on those at odds, then run up again",
        )
    commits = {part: commit for v in seen.values() if v.wheels for part, commit in v.wheels.commits.items()}
    named = [f"{name} {venv.versions[name]}" for name in ("vllm", "vllm-ascend", "torch") if name in venv.versions]
    moving = [f"{p.said} of {p.name} is commit {commits.get(p.name, 'unknown')[:12]}" for p in build.moving]
    said = f"{', '.join(named) or scripts.title(build)} in {cluster.settings.venv}, the same on all ({alike[:19]})"
    data = {"id": alike, "arch": venv.arch, "versions": dict(venv.versions), "commits": commits}
    return Outcome("; ".join([said, *moving, *notes]), data=data)
