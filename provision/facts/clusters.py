"""Other clusters of this tool on the same node, and the ports that their launch scripts name.

Servers use the host's network, so no container publishes a port; a cluster that is down now still means to have its
ports when it comes up. Their containers that run are among ``containers``' foreign ones, with their cluster's name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, sections
from provision.results import Result
from provision.shell import quote


@dataclass(frozen=True, slots=True)
class PlannedPort:
    """A port that a launch script names. ``option``: by which option of vLLM, without dashes before (``port``,
    ``master-port``, ``data-parallel-rpc-port``); ``process`` is the script's name without ``.sh``."""

    port: int
    option: str
    process: str


@dataclass(frozen=True, slots=True)
class OtherCluster:
    """A cluster that has a folder in the same ``qnext.state_dir``."""

    name: str
    ports: tuple[PlannedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class ClustersValue:
    """The other clusters by name."""

    others: tuple[OtherCluster, ...] = ()
    problems: tuple[str, ...] = ()

    def holders(self, port: int) -> tuple[tuple[str, PlannedPort], ...]:
        """Which clusters mean to use ``port``, and for what."""
        return tuple((other.name, planned) for other in self.others for planned in other.ports if planned.port == port)


@dataclass(frozen=True, slots=True)
class Clusters(Fact[ClustersValue]):
    """The clusters in ``state_dir``, but for ``cluster``, which is ours."""

    name: ClassVar[str] = "clusters"
    state_dir: str = "/var/lib/qnext"
    cluster: str = ""

    def script(self) -> str:
        folder = quote(self.state_dir)
        return f"""\
echo '@@ folders'
for d in {folder}/*/; do [ -d "$d" ] && echo "$d"; done
echo '@@ ports'
grep -sHoE -e '--([a-z-]+-)?port[ =]+[0-9]{{2,5}}' {folder}/*/launch/*.sh /dev/null
:
"""

    def parse(self, raw: Result) -> ClustersValue:
        parts = {part.words: part.lines for part in sections(raw.stdout)}
        names = {line.rstrip("/").rpartition("/")[2] for line in parts.get(("folders",), [])}
        found: dict[str, list[PlannedPort]] = {name: [] for name in sorted(names - {self.cluster, ""})}
        for line in parts.get(("ports",), []):
            match = re.fullmatch(r".*/([^/]+)/launch/([^/:]+)\.sh:--([a-z-]+)[ =]+([0-9]{2,5})", line)
            if match and match[1] in found:
                found[match[1]].append(PlannedPort(int(match[4]), match[3], match[2]))
        others = tuple(OtherCluster(name, tuple(dict.fromkeys(ports))) for name, ports in found.items())
        return ClustersValue(others, complaints(raw))
