"""The Ray cluster as the head's container sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.ray import RayStatus, parse_ray_status
from provision.facts.base import Fact
from provision.facts.reading import complaints, section, sections
from provision.results import Result
from provision.shell import quote


@dataclass(frozen=True, slots=True)
class RayClusterValue:
    """``status`` is None where the head's container does not run on this node."""

    status: RayStatus | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RayCluster(Fact[RayClusterValue]):
    """``ray status`` in the container of our cluster's head."""

    name: ClassVar[str] = "ray-cluster"
    deadline: ClassVar[float] = 45.0
    cluster: str = ""

    def script(self) -> str:
        ours = f"--filter {quote(f'label=qnext.cluster={self.cluster}')} --filter label=qnext.process=head"
        return f"""\
command -v docker >/dev/null || exit 0
id=$(timeout 10 docker ps -q --filter status=running {ours} 2>/dev/null)
[ -n "$id" ] || exit 0
echo '@@ status'
timeout 30 docker exec "$id" ray status 2>&1
:
"""

    def parse(self, raw: Result) -> RayClusterValue:
        if not any(part.words == ("status",) for part in sections(raw.stdout)):
            return RayClusterValue(problems=complaints(raw))
        return RayClusterValue(parse_ray_status(section(raw.stdout, "status")), complaints(raw))
