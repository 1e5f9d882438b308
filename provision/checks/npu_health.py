"""Every NPU that is to be used is healthy.

Anything but OK is refused; a die whose health cannot be read is left out of npu-smi's table by the tool itself
[samples/npu FIELDS].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.accel.protocol import accelerator
from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, ascend, numbered, selected, span
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N07"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return NPU_FACTS


def run(node: Node) -> Iterable[Finding]:
    dies = numbered(node)
    by_health: dict[str, list[int]] = {}
    for device in selected(node):
        if device in dies and dies[device].health != "OK":
            by_health.setdefault(dies[device].health or "not told by npu-smi", []).append(device)
    for health, devices in by_health.items():
        die, size = dies[devices[0]], accelerator(node.settings.hardware).module_size
        modules = [mate for device in devices for mate in range(device - device % size, device - device % size + size)]
        yield Finding(
            f"davinci {span(devices)}: health is {health}",
            f"npu-smi info -t health -i {die.npu} -c {die.chip} tells the error code; "
            f"cure or replace it, or go without: leave {span(modules)} out of qnext.devices",
            expected="OK",
            observed=health,
        )
