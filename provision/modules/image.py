"""Have a container image on the node: pulled as a detached job, from the first repository that answers.

The pull outlives a dropped connection and a killed controller; the next run attaches to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from pydantic import Field

from provision.actions import Job, JobProgress, Run
from provision.diagnose import autopsy
from provision.errors import CommandFailed, RemoteError
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.inventory.model import Settings
from provision.modules.base import ModuleArgs, NodeRun, Outcome
from provision.node import Node
from provision.serve import launch
from provision.shell import quote

SCOPE = "node"


class Args(ModuleArgs):
    """Which image, and where else it may come from."""

    ref: str = Field(description="full reference of the image")
    mirrors: tuple[str, ...] = Field((), description="repositories that hold the same image, tried in order")
    timeout: float = Field(3600.0, gt=0, description="seconds that the pull may take")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [Image(args.ref)]


def run(args: Args, node: Node) -> NodeRun:
    if node.get(Image(args.ref)).present:
        return Outcome(f"{args.ref} is there")
    try:
        yield _pull(args, node)
    except CommandFailed as error:
        with suppress(CommandFailed):
            yield _sweep(args, node)
        raise autopsy.explained(error) from None
    if not node.get(Image(args.ref)).present:
        raise RemoteError(f"{args.ref} is not there after its pull ended well", node=node.name)
    return Outcome(f"{args.ref} pulled")


def _job(ref: str) -> str:
    return "pull-" + re.sub(r"[^A-Za-z0-9.]+", "-", ref)


def _sweep(args: Args, node: Node) -> Run:
    """A pull that failed leaves the node as it was; its log is in the run directory."""
    cluster = launch.folder(node.settings)
    folders = " ".join(quote(path) for path in (f"{cluster}/jobs", cluster, node.settings.state_dir))
    return Run(
        label="remove what the failed pull left",
        script=f"rm -rf -- {quote(f'{cluster}/jobs/{_job(args.ref)}')}\nrmdir -- {folders} 2>/dev/null || :\n",
        affects=frozenset(),
    )


def _pull(args: Args, node: Node) -> Job:
    return Job(
        label=f"pull {args.ref}",
        name=_job(args.ref),
        script=pull_script(args.ref, args.mirrors),
        deadline=args.timeout,
        progress=progress,
        hint=f"docker pull {args.ref} on {node.name}; other repositories can be named in qnext.install.mirrors",
        affects=frozenset({"image", "docker", "disk"}),
    )


def sources(ref: str, mirrors: Iterable[str]) -> list[str]:
    """``ref`` itself, then the same tag or digest in each mirror."""
    name = ref.split("@")[0]
    slash = name.rfind("/")
    colon = name.find(":", slash)
    suffix = ref[colon:] if colon >= 0 else ref[len(name) :]
    return [ref, *(mirror.rstrip("/") + suffix for mirror in mirrors)]


def pull_script(ref: str, mirrors: Iterable[str]) -> str:
    """Try each source in turn; name the image as the inventory does. Exit status: the last pull's."""
    candidates = " ".join(quote(s) for s in sources(ref, mirrors))
    return f"""\
status=1
for source in {candidates}; do
  echo "pulling $source"
  docker pull "$source"
  status=$?
  [ $status -eq 0 ] || continue
  [ "$source" = {quote(ref)} ] || docker tag "$source" {quote(ref)}
  exit
done
exit $status
"""


_LAYER = re.compile(r"^([0-9a-f]{12}): (.+?)\s*$", re.MULTILINE)
_DONE = ("Pull complete", "Already exists")


def progress(log: str) -> JobProgress:
    """Layers done of layers known, as ``docker pull`` prints them without a terminal."""
    started = list(re.finditer(r"^pulling (.+)$", log, re.MULTILINE))
    source = started[-1].group(1) if started else ""
    layers = dict(_LAYER.findall(log[started[-1].end() :] if started else log))
    if not layers:
        return JobProgress(None, f"asking {source}" if source else "starting")
    done = sum(1 for state in layers.values() if state.startswith(_DONE))
    fetched = sum(1 for state in layers.values() if state == "Download complete")
    return JobProgress((done + fetched / 2) / len(layers), f"{done} of {len(layers)} layers from {source}")
