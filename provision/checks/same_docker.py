"""All nodes run the same version of Docker, so that they behave alike."""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import differing, each
from provision.facts.base import Fact
from provision.facts.docker import Docker
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X13"
LEVEL = "warn"
SCOPE = "cluster"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Docker(),)


def run(cluster: Cluster) -> Iterable[Finding]:
    versions = {name: value.server_version for name, value in each(cluster, Docker()).items() if value.server_version}
    odd = differing(versions)
    if odd:
        yield Finding(
            f"Docker's version differs: {odd[0]}",
            "install the same version on all nodes when there is time",
            node=odd[1],
            expected="the same on all nodes",
            observed=versions[odd[1]],
        )
