"""Which versions a node has, as who reads a report asks for them: of what it runs on, and of what its servers are.

Facts alone tell them, so a live cluster, an archive and the checks say the same. What an image holds is known from the
note that ``up`` made of it; no container is started to ask.
"""

from __future__ import annotations

from collections.abc import Mapping

from provision.facts.base import Fact
from provision.facts.cann import Cann
from provision.facts.docker import Docker
from provision.facts.driver import Driver
from provision.facts.packages import installed_packages
from provision.facts.system import Os
from provision.inventory.model import Settings
from provision.node import Node

_SHOWN = ("vllm", "vllm-ascend", "torch", "torch-npu", "triton-ascend", "transformers")


def facts(settings: Settings) -> tuple[Fact[object], ...]:
    """What must be observed for ``versions_of``."""
    npu: tuple[Fact[object], ...] = () if settings.hardware == "cpu" else (Driver(), Cann())
    return (Os(), Docker(), installed_packages(settings), *npu)


def versions_of(node: Node) -> Mapping[str, str]:
    """By what they are of; what is not there or not known is left out."""
    packages, system, docker = node.get(installed_packages(node.settings)), node.get(Os()), node.get(Docker())
    found = {name: packages.versions.get(name, packages.versions.get(name.replace("-", "_"), "")) for name in _SHOWN}
    if node.settings.hardware != "cpu":
        driver = node.get(Driver())
        found["driver"] = (driver.driver.version or "") if driver.driver else ""
        found["firmware"] = (driver.firmware.version or "") if driver.firmware else ""
        found["cann"] = node.get(Cann()).version or ""
    engine = docker.engine if docker.engine not in ("", "processes") else "docker"
    found[engine] = docker.server_version if docker.engine != "processes" else ""
    found["kernel"], found["os"] = system.kernel, system.pretty
    return {name: version for name, version in found.items() if version and version != "none"}
