"""How nodes get an image from registries: the same digest on all of them, each by a detached job.

No module of its own: ``image`` brings the servers' image, ``router_image`` a router's.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from provision.actions import Job, On, Run
from provision.diagnose import autopsy
from provision.diagnose.catalogue import explain
from provision.errors import CommandFailed, RemoteError
from provision.facts.docker import Image
from provision.install import images
from provision.install.images import Wanted
from provision.node import Cluster, Node
from provision.results import ActionResult, PlannedResult
from provision.serve import launch
from provision.shell import quote

AFFECTS = frozenset({"image", "docker", "disk"})
OFFLINE = "where no registry can be reached: qnext-provision bundle load"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of it. ``planned``: nothing was done. ``sources``: repository by node. ``passed``: sources that were
    asked in vain, each with its last words, by node."""

    digest: str = ""
    planned: bool = False
    sources: Mapping[str, str] | None = None
    passed: Mapping[str, tuple[tuple[str, str], ...]] | None = None


Steps = Generator[On, Mapping[str, ActionResult], Pulled]


def lacking(cluster: Cluster, ref: str) -> list[Node]:
    """The nodes that don't hold the image."""
    return [node for node in cluster.nodes if not node.get(Image(ref)).present]


def settled(cluster: Cluster, wanted: Wanted, asker: Node) -> Generator[On, Mapping[str, ActionResult], Wanted]:
    """``wanted`` with its digest: as it is pinned, as the nodes that hold it have it, or as a registry answers.

    Where no registry can be asked it stays open; the first pull then tells.
    """
    if wanted.digest:
        return wanted
    values = [node.get(Image(wanted.ref)) for node in cluster.nodes]
    held = images.known_digest(wanted, [value.digests for value in values if value.present])
    if held or not wanted.api:
        return replace(wanted, digest=held)
    ask = Run(
        label=f"ask which image {wanted.name} is",
        script=images.ask_script(wanted),
        deadline=images.ASK_DEADLINE,
        affects=frozenset(),
    )
    try:
        answer = (yield On({asker.name: ask}))[asker.name]
    except CommandFailed:
        return wanted
    return wanted if isinstance(answer, PlannedResult) else replace(wanted, digest=images.asked(answer.stdout).digest)


def pull(nodes: Sequence[Node], wanted: Wanted, timeout: float) -> Steps:
    """Pull on all ``nodes``. Without a digest the first one does it alone, and the others pull what it got.

    Raises ``CommandFailed`` with what each source said, ``RemoteError`` where an image isn't there afterwards.
    """
    if wanted.digest or len(nodes) < 2:
        return (yield from _together(nodes, wanted, timeout))
    first = yield from _together(nodes[:1], wanted, timeout)
    rest = yield from _together(nodes[1:], replace(wanted, digest=first.digest), timeout)
    return Pulled(
        first.digest,
        first.planned,
        {**(first.sources or {}), **(rest.sources or {})},
        {**(first.passed or {}), **(rest.passed or {})},
    )


def _together(nodes: Sequence[Node], wanted: Wanted, timeout: float) -> Steps:
    try:
        results = yield On({node.name: job(wanted, timeout) for node in nodes})
    except CommandFailed as error:
        with suppress(CommandFailed):
            yield On({node.name: sweep(node, wanted.ref) for node in nodes})
        error.also = tuple(told(each, wanted) if isinstance(each, CommandFailed) else each for each in error.also)
        raise told(error, wanted) from None
    logs = {name: result.stdout for name, result in results.items() if not isinstance(result, PlannedResult)}
    if not logs:
        return Pulled(wanted.digest, planned=True)
    for node in nodes:
        _proven(node, wanted, images.digest_of(logs[node.name]))
    return Pulled(
        wanted.digest or next(map(images.digest_of, logs.values())),
        sources={name: images.source_of(log) for name, log in logs.items()},
        passed={name: images.refusals(log) for name, log in logs.items() if images.refusals(log)},
    )


def job(wanted: Wanted, timeout: float) -> Job:
    """The pull on one node."""
    return Job(
        label=f"pull {named(wanted)}",
        name=images.job_name(wanted.ref),
        script=images.pull_script(wanted),
        deadline=timeout,
        progress=images.Progress(),
        hint=f"docker pull {wanted.name} on the node shows more; other repositories can be named in install.mirrors",
        affects=AFFECTS,
    )


def named(wanted: Wanted) -> str:
    """The image as an operator knows it: by tag, or by digest where that is pinned."""
    return wanted.ref if wanted.tag and wanted.ref.endswith(f":{wanted.tag}") else wanted.name


def sweep(node: Node, ref: str) -> Run:
    """A pull that failed leaves the node as it was; its log is in the run directory."""
    cluster = launch.folder(node.settings)
    folders = " ".join(quote(path) for path in (f"{cluster}/jobs", cluster, node.settings.state_dir))
    return Run(
        label="remove what the failed pull left",
        script=f"rm -rf -- {quote(f'{cluster}/jobs/{images.job_name(ref)}')}\nrmdir -- {folders} 2>/dev/null || :\n",
        affects=frozenset(),
    )


def told(error: CommandFailed, wanted: Wanted) -> CommandFailed:
    """The error with a line for each source; the remedy is that of the first cause that the catalogue knows."""
    failed = images.failures(error.result.stdout)
    if not failed:
        return autopsy.explained(error)
    known = next(filter(None, (explain(why) for _, why in failed if why != _NOT_ASKED)), None)
    error.evidence = "\n".join(f"{source}: {why}" for source, why in failed)
    error.message = f"{named(wanted)} could not be pulled: {_summary(failed)}"
    error.hint = known.remedy if known else error.hint
    if any("serves sha256:" in why for _, why in failed):
        error.hint = (
            f"the mirror has another build: nothing but {wanted.digest} is accepted; where the new one is wanted, set "
            "install.digest to it (and docker rmi the old one on nodes that hold it)"
        )
    elif "bundle" not in error.hint:
        error.hint = f"{error.hint}; {OFFLINE}"
    return error


_NOT_ASKED = "not asked"


def _summary(failed: Sequence[tuple[str, str]]) -> str:
    return f"{failed[0][0]}: {failed[0][1]}" if len(failed) == 1 else f"none of {len(failed)} sources gave it"


def _proven(node: Node, wanted: Wanted, digest: str) -> None:
    """The node itself says that it holds the image, under the digest that was asked for."""
    value = node.get(Image(wanted.ref))
    if not value.present:
        raise RemoteError(f"{wanted.ref} is not there after its pull ended well", node=node.name)
    held = {name.partition("@")[2] for name in value.digests}
    if digest and held and digest not in held:
        raise RemoteError(
            f"{wanted.ref} has another digest than was pulled",
            node=node.name,
            evidence="\n".join(value.digests),
            hint="somebody gave the name to another image meanwhile: run it again",
        )
