"""Prove that nothing of the cluster is left: no container, port, NPU memory or file; what can't be proven is said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from provision import clock
from provision.errors import ProofFailed, ProvisionError
from provision.facts.authorized_keys import AuthorizedKeys
from provision.facts.base import Fact
from provision.facts.docker import Containers
from provision.facts.files import Listing
from provision.facts.network import Ports
from provision.facts.npu_smi import NpuSmi
from provision.inventory.model import Settings
from provision.modules.base import ModuleArgs, NodeRun, Outcome
from provision.node import Node
from provision.serve import launch

SCOPE = "node"
IDLE_SHARE = 0.06
"""Share of a die's memory that an idle one uses at most [domain.md section 1.4]."""
LOOK_EVERY = 3.0


class Args(ModuleArgs):
    """How patiently."""

    settle: float = Field(45.0, ge=0, description="seconds that ports and NPU memory may take to come free")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    own: list[Fact[object]] = [
        Containers(settings.cluster),
        Ports(),
        Listing(launch.folder(settings)),
        AuthorizedKeys(settings.cluster),
    ]
    return own if settings.hardware == "cpu" else [*own, NpuSmi()]


def run(args: Args, node: Node) -> NodeRun:
    yield from ()
    began = clock.monotonic()
    while remains := [*_certain(node), *_settling(node)]:
        if clock.monotonic() - began >= args.settle or not list(_settling(node)):
            raise ProofFailed(
                f"not proven gone: {remains[0]}",
                node=node.name,
                evidence="\n".join(remains[1:]),
                hint="run down again; what is not ours is never touched",
            )
        clock.sleep(LOOK_EVERY)
        node.observe(facts(args, node.settings))
    return Outcome("no container, no port, no file" + ("" if node.settings.hardware == "cpu" else ", NPUs idle"))


def _certain(node: Node) -> Iterator[str]:
    """What stays unless somebody removes it."""
    value = node.get(Containers(node.settings.cluster))
    yield from (f"container {c.name} is {c.state}" for c in value.containers)
    if not value.reachable:
        yield f"containers: docker does not answer: {'; '.join(value.problems)}"
    listing = node.get(Listing(launch.folder(node.settings)))
    yield from (f"a key of ours in {path}" for path in node.get(AuthorizedKeys(node.settings.cluster)).files)
    if listing.exists:
        yield f"files in {listing.folder}: {', '.join(listing.entries[:5]) or 'an empty folder'}"


def _settling(node: Node) -> Iterator[str]:
    """What goes away by itself, after a while."""
    for purpose, port in launch.ports_on(node).items():
        holder = node.get(Ports()).holder(port)
        if holder is not None:
            yield f"port {port} ({purpose}) still listens" + (f": {holder.process} {holder.pid}" if holder.pid else "")
    if node.settings.hardware != "cpu":
        yield from _busy_dies(node)


def _busy_dies(node: Node) -> Iterator[str]:
    """Dies of ours with memory in use and no container of others to explain it."""
    try:
        value = node.get(NpuSmi())
    except ProvisionError as error:
        yield f"NPUs: {error}"
        return
    if not value.dies:
        yield f"NPUs: npu-smi shows none: {'; '.join(value.problems) or 'no output'}"
    foreign = {d for c in node.get(Containers(node.settings.cluster)).foreign for d in c.devices}
    ours = node.settings.devices
    for die in value.dies:
        mine = die.device is not None and (ours is None or die.device in ours) and die.device not in foreign
        if mine and die.hbm_total_mb and (die.hbm_used_mb or 0) > IDLE_SHARE * die.hbm_total_mb:
            yield f"NPU {die.device} still uses {die.hbm_used_mb} of {die.hbm_total_mb} MB"
