"""All nodes run the same version of Docker, so that they behave alike."""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Shown
from provision.checks.support import compared, each
from provision.facts.base import Fact
from provision.facts.docker import Docker
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X13"
LEVEL = "warn"
SCOPE = "cluster"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Docker(),)


def run(cluster: Cluster) -> Iterable[Shown]:
    versions = {name: value.server_version for name, value in each(cluster, Docker()).items() if value.server_version}
    remedy = "install the same version on all nodes when there is time"
    yield from compared("Docker", versions, remedy, level="warn", summary="Docker's version differs")
