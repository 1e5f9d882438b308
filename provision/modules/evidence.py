"""Collect what tells why something failed into the run directory: an archive that ``diagnose`` reads.

For a playbook's ``rescue``, before it cleans up. Playbooks with ``evidence: true`` in their header do the same by
themselves where they fail. A node that does not answer is named in the archive and fails nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from provision.amounts import size_text
from provision.diagnose.collecting import Options, kept
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.node import Cluster
from provision.shell import quote

SCOPE = "cluster"


class Args(ModuleArgs):
    """How much, and how patiently."""

    timeout: float = Field(120.0, ge=10, description="seconds that a node may take")
    max_file: int = Field(16_000_000, ge=1000, description="bytes of a file: of a longer one its end is kept")
    max_node: int = Field(64_000_000, ge=1000, description="bytes of a node")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    return ()


def run(args: Args, cluster: Cluster) -> ClusterRun:
    yield from ()
    if cluster.folder is None:
        return Outcome("this run is not recorded, so there is no place for evidence", skipped=True)
    limits = Options(max_file=args.max_file, max_node=args.max_node, timeout=args.timeout)
    got = kept(cluster, cluster.folder, limits)
    without = f", without {', '.join(got.missing)}" if got.missing else ""
    return Outcome(
        f"{got.path} ({size_text(got.size)}){without}",
        data={"path": str(got.path), "missing": got.missing, "sentence": got.diagnosis.sentence},
        summary={"evidence": str(got.path)},
        next=(f"qnext-provision diagnose {quote(got.path)}",),
    )
