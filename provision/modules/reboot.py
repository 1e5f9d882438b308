"""Boot a node again, and prove it: it must come back under another boot id, within bounds.

A machine is never booted from itself: where the node's boot id is that of the controller (a local connection, a
container or a namespace on this machine), nothing is done.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from provision import clock
from provision.actions import JobProgress, Run
from provision.errors import HostKeyChanged, ProvisionError, RemoteError, UsageError
from provision.facts.base import Fact
from provision.facts.system import Boot
from provision.inventory.model import Settings
from provision.modules.base import ModuleArgs, NodeRun, Outcome
from provision.node import Node

SCOPE = "node"

LOOK_EVERY = 3.0
"""Seconds between two looks whether the node is back."""

OWN_BOOT = Path("/proc/sys/kernel/random/boot_id")

_SCRIPT = """\
c='shutdown -r now'
if command -v systemctl >/dev/null; then c='systemctl reboot'; elif command -v reboot >/dev/null; then c=reboot; fi
sync
setsid sh -c "sleep 1; exec $c" </dev/null >/dev/null 2>&1 &
"""
"""It answers before the machine goes down, so that nobody waits for a connection that is cut."""


class Args(ModuleArgs):
    """Why, and how patiently."""

    reason: str = Field("", description="why, for the log: a new driver is to be loaded")
    timeout: float = Field(1800.0, gt=0, description="seconds until the node must be back; servers test memory long")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return [Boot()]


def run(args: Args, node: Node) -> NodeRun:
    before = node.get(Boot()).boot_id
    _require_another_machine(before, node)
    began = clock.monotonic()
    yield Run(label=f"boot again: {args.reason}" if args.reason else "boot again", script=_SCRIPT)
    _await_other_boot(args, node, before, began)
    seconds = clock.monotonic() - began
    return Outcome(f"back after {seconds:.0f} s, under another boot id", data={"seconds": round(seconds)})


def _require_another_machine(boot_id: str, node: Node) -> None:
    if not boot_id:
        raise RemoteError(
            "it cannot be told which boot this is, so that none after it could be proven",
            node=node.name,
            hint="cat /proc/sys/kernel/random/boot_id on the node; boot it by hand",
        )
    try:
        own = OWN_BOOT.read_text().strip()
    except OSError:
        own = ""
    if boot_id == own:
        raise UsageError(
            f"{node.name} is the machine that this runs on: it is not booted from itself",
            hint="run it from another controller, or boot it by hand and run again",
        )


def _await_other_boot(args: Args, node: Node, before: str, began: float) -> None:
    last: ProvisionError | None = None
    while (waited := clock.monotonic() - began) < args.timeout:
        try:
            node.observe([Boot()])
            found, last = node.get(Boot()).boot_id, None
        except HostKeyChanged:
            raise
        except ProvisionError as error:
            found, last = "", error
        if found not in ("", before):
            return
        node.progress(JobProgress(None, f"boots, {waited:.0f} s" + (f"; {last.message}" if last else "")))
        clock.sleep(LOOK_EVERY)
    raise _not_back(args, node, last)


def _not_back(args: Args, node: Node, last: ProvisionError | None) -> RemoteError:
    if last is None:
        return RemoteError(
            f"it did not go down within {args.timeout:.0f} s of being told to boot",
            node=node.name,
            hint="systemctl list-jobs and systemd-inhibit --list on the node tell what holds it; boot it by hand, "
            "then run again: it goes on from there",
        )
    return RemoteError(
        f"it is not back {args.timeout:.0f} s after it was told to boot: {last.message}",
        node=node.name,
        evidence=last.evidence,
        hint="look at its console (BMC); once it is up run again: it goes on from there; where it only needs longer, "
        "give it more: `driver --boot-timeout`, or the task's timeout",
    )
