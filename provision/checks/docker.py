"""Docker is installed and its daemon answers."""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.diagnose.catalogue import explain
from provision.facts.base import Fact
from provision.facts.docker import Docker
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N03"
LEVEL = "fail"
SCOPE = "node"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Docker(),)


def run(node: Node) -> Iterable[Finding]:
    value = node.get(Docker())
    if value.reachable:
        return
    if not value.installed:
        yield Finding(
            "Docker is not installed", "install Docker (docker-ce or docker.io), then: systemctl enable --now docker"
        )
        return
    known = explain(value.error)
    yield Finding(
        f"Docker's daemon cannot be used: {value.error or 'it gives no answer'}",
        known.remedy if known else "systemctl status docker; journalctl -u docker -n 50; systemctl restart docker",
        expected="docker info answers",
        observed=value.error,
    )
