"""The launch of a cluster, from what was declared and what was observed: plan, scripts and secrets in one value.

``declared`` needs no node; ``observed`` uses the addresses and devices that were found. Where an inventory names the
data addresses, both give the same scripts to the byte.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from provision.accel.protocol import accelerator
from provision.errors import ConfigError, LayoutError
from provision.facts.base import Fact
from provision.facts.davinci import Davinci
from provision.facts.driver import MountSources
from provision.facts.network import Network
from provision.inventory.model import Host, Settings
from provision.node import Cluster, Node
from provision.serve.build import build_plan
from provision.serve.plan import LaunchPlan, Site
from provision.serve.render import Script, render_scripts
from provision.shell import quote

LOG_LINES = 20_000
"""Lines of each process that are kept as evidence."""


@dataclass(frozen=True, slots=True)
class Launch:
    """``scripts`` in the plan's order. ``secrets`` go into a 0600 environment file beside each script."""

    plan: LaunchPlan
    scripts: tuple[Script, ...]
    secrets: Mapping[str, str] = field(default_factory=dict)

    def scripts_of(self, node: str) -> list[Script]:
        return [s for s in self.scripts if s.node == node]

    def script(self, process: str) -> Script:
        return next(s for s in self.scripts if s.process == process)

    @property
    def token(self) -> str:
        """The key that clients must send, or empty."""
        return self.secrets.get("VLLM_API_KEY", "")


def folder(settings: Settings) -> str:
    """The cluster's folder on a node."""
    return f"{settings.state_dir}/{settings.cluster}"


def script_path(settings: Settings, process: str) -> str:
    return f"{folder(settings)}/launch/{process}.sh"
