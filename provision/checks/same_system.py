"""All nodes run the same operating system, kernel and Docker, so that they behave alike.

Unlike ones mostly work together; but what fails on one of them alone is hard to find [domain 14.3, X13].
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from provision.checks.base import Shown
from provision.checks.support import compared, each
from provision.facts.base import Fact
from provision.facts.docker import Docker, DockerValue
from provision.facts.system import Os, OsValue
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "X13"
LEVEL = "warn"
SCOPE = "cluster"

_REMEDY = "bring all nodes to the same version when there is time"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Os(), Docker())


def run(cluster: Cluster) -> Iterable[Shown]:
    systems, daemons = each(cluster, Os()), each(cluster, Docker())
    for subject, values in (
        ("operating system", _known({name: _system(value) for name, value in systems.items()})),
        ("processor architecture", _known({name: value.arch for name, value in systems.items()})),
        ("kernel", _known({name: value.kernel for name, value in systems.items()})),
        ("Docker", _known({name: value.server_version for name, value in daemons.items()})),
        ("Docker's storage driver", _known({name: _storage(value) for name, value in daemons.items()})),
    ):
        yield from compared(subject, values, _REMEDY, level="warn")


def _known(values: Mapping[str, str]) -> dict[str, str]:
    """Of the nodes that told; one that didn't is told by its own checks."""
    return {name: value for name, value in values.items() if value}


def _system(value: OsValue) -> str:
    return f"{value.id} {value.version}".strip()


def _storage(value: DockerValue) -> str:
    return value.storage_driver if value.reachable else ""
