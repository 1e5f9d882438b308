"""The NPUs are of the family that the inventory names.

``910B3`` and the like are A2; ``Ascend910`` is A3; a plain ``910B`` is the older 910 ProB. An image made for one family
fails on the other at run time [domain 1.1, 1.3].
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import NPU_FACTS, ascend, named, npu_smi, numbered
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve.compatibility import image_for
from provision.serve.images import parse_image

CODE = "N06"
LEVEL = "fail"
SCOPE = "node"

applies = ascend

_FAMILIES = (
    (re.compile(r"(?:Ascend)?910B[1-9].*"), "atlas-800-a2"),
    (re.compile(r"Ascend910(?:_93\d\d)?"), "atlas-800-a3"),
)
_REFUSED = (
    (re.compile(r"910(?:A|B|ProA|ProB|PremiumA)?"), "vllm-ascend does not run on the first Ascend 910"),
    (re.compile(r"310P.*"), "this tool does not provision 310P, and Qwen3-Next's kernels do not run there"),
    (re.compile(r"310.*"), "vllm-ascend does not run on the Ascend 310 and 310B"),
    (re.compile(r"Ascend950.*|950.*"), "this tool does not provision Ascend 950 yet"),
)


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return NPU_FACTS


def run(node: Node) -> Iterable[Finding]:
    wanted = node.settings.hardware
    for name in sorted({die.name for die in npu_smi(node).dies if die.name}):
        found = family(name)
        if found == wanted:
            continue
        own = [number for number, die in numbered(node).items() if die.name == name]
        refused = next((why for pattern, why in _REFUSED if pattern.fullmatch(name)), "")
        yield Finding(
            f"npu-smi names {name}, which is {found or 'no NPU that is served here'}"
            + (f": {refused}" if refused else ""),
            _remedy(found, node.settings),
            expected=wanted,
            observed=f"{name} on " + (named(node, own) if own else "unnumbered dies"),
        )


def _remedy(found: str, settings: Settings) -> str:
    if not found:
        return "use another node"
    named = image_for(parse_image(settings.install.image), found)
    return f"set qnext.hardware: {found} and " + (f"install.image: {named}" if named else "an image built for it")


def family(name: str) -> str:
    """The inventory's name for the family of a chip as ``npu-smi info`` writes it; empty for others."""
    return next((hardware for pattern, hardware in _FAMILIES if pattern.fullmatch(name)), "")
