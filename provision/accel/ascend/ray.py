"""What ``ray status`` says of a Ray cluster: its living nodes, its devices, and what failed.

The report is that of Ray 2.x; nodes are listed under ``Active`` (and ``Idle`` with the second autoscaler), one line of
``<count> <node type or id>`` each; resources as ``used/total NAME``, memory with units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_ALIVE = ("Active:", "Idle:")
_NODE = re.compile(r"\s+(\d{1,6}) \S+")
_AMOUNT = re.compile(r"\s+([0-9]{1,9}(?:\.[0-9]{1,6})?)/([0-9]{1,9}(?:\.[0-9]{1,6})?) ([A-Za-z][\w.:-]*)")


@dataclass(frozen=True, slots=True)
class RayResource:
    """A resource of the whole cluster, such as NPU."""

    name: str
    used: float
    total: float


@dataclass(frozen=True, slots=True)
class RayStatus:
    """``nodes`` live. ``resources`` are countable ones, without memory. ``problems``: what could not be read."""

    nodes: int = 0
    resources: tuple[RayResource, ...] = ()
    failures: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def total(self, name: str) -> float:
        """How much of a resource the cluster has; 0 where Ray doesn't know it."""
        return sum(each.total for each in self.resources if each.name == name)


def parse_ray_status(text: str) -> RayStatus:
    """``ray status`` as text. Never raises; anything else than its report is a problem."""
    title, nodes, failures, resources = "", 0, [], []
    for line in text.splitlines():
        if line and not line[0].isspace():
            title = line.strip()
        elif title in _ALIVE and (node := _NODE.match(line)):
            nodes += int(node[1])
        elif title == "Recent failures:" and line.strip() not in ("", "(no failures)"):
            failures.append(line.strip())
        elif title == "Total Usage:" and (amount := _AMOUNT.match(line)):
            resources.append(RayResource(amount[3], float(amount[1]), float(amount[2])))
    if "Autoscaler status" not in text:
        said = [line.strip() for line in text.splitlines() if line.strip()]
        return RayStatus(problems=(said[-1][:300] if said else "ray status says nothing",))
    return RayStatus(nodes, tuple(resources), tuple(failures))
