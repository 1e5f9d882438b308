"""The control devices that every container needs beside its dies are there, and all are devices."""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, Skip, ascend, devices, listed
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N08"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return NPU_FACTS


def run(node: Node) -> Iterable[Finding]:
    value = devices(node)
    if not value.devices and not value.not_devices:
        raise Skip("no /dev/davinciN")
    if value.not_devices:
        yield Finding(
            f"no device but something else: {listed(value.not_devices)}",
            f"remove it (rm -r {value.not_devices[0]}), then reload the driver or reboot",
            expected="character devices",
            observed=listed(value.not_devices),
        )
    absent = [path for path in value.missing if path not in value.not_devices]
    if absent:
        yield Finding(
            f"missing: {listed(absent)}",
            "reload the Ascend driver or reboot; the driver makes these devices",
            expected="/dev/davinci_manager, /dev/devmm_svm, /dev/hisi_hdc",
            observed=f"without {listed(absent)}",
        )
