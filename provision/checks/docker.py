"""Docker, or the engine that is named in its place, is installed and answers.

podman has no daemon, and servers of ``install.method: source`` need no engine at all. A ``docker`` that is podman by
another name answers otherwise than Docker would: it is named as what it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.diagnose.catalogue import explain
from provision.facts.base import Fact
from provision.facts.docker import Docker, DockerValue
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N03"
LEVEL = "fail"
SCOPE = "node"

_INSTALL = {
    "docker": "install Docker (docker-ce or docker.io), then: systemctl enable --now docker",
    "podman": "install podman (the distribution's package podman)",
    "nerdctl": "install containerd and nerdctl, then: systemctl enable --now containerd",
}
_LOOK = {
    "docker": "systemctl status docker; journalctl -u docker -n 50; systemctl restart docker",
    "podman": "podman info on the node shows more",
    "nerdctl": "systemctl status containerd; journalctl -u containerd -n 50; systemctl restart containerd",
}
_NAMES = {"docker": "Docker", "podman": "podman", "nerdctl": "nerdctl"}


def applies(settings: Settings) -> bool:
    return settings.install.method == "image"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Docker(),)


def run(node: Node) -> Iterable[Finding]:
    value, engine = node.get(Docker()), node.settings.install.engine
    if not value.installed:
        yield _missing(value, engine)
    elif value.engine in _NAMES and value.engine != engine:
        yield Finding(
            f"{engine} on this node is {value.engine} under that name",
            f"set qnext.install.engine: {value.engine}",
            expected=engine,
            observed=value.engine,
        )
    elif not value.reachable:
        yield _silent(value, engine)


def _missing(value: DockerValue, engine: str) -> Finding:
    others = [other for other in value.others if other != engine]
    instead = f"; or use what is there, with qnext.install.engine: {others[0]}" if others else ""
    return Finding(f"{_NAMES[engine]} is not installed", _INSTALL[engine] + instead)


def _silent(value: DockerValue, engine: str) -> Finding:
    known = explain(value.error)
    return Finding(
        f"{_NAMES[engine]}'s daemon cannot be used: {value.error or 'it gives no answer'}"
        if engine == "docker"
        else f"{engine} cannot be used: {value.error or 'it gives no answer'}",
        known.remedy if known else _LOOK[engine],
        expected=f"{engine} info answers",
        observed=value.error,
    )
