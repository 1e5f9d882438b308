"""Commands run as root: Docker, hccn_tool and the state folder need it."""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import look
from provision.facts.base import Fact
from provision.facts.system import Identity
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N01"
LEVEL = "fail"
SCOPE = "node"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (Identity(),)


def run(node: Node) -> Iterable[Finding]:
    who = look(node, Identity())
    if not who.root:
        yield Finding(
            f"commands run as {who.user or 'an unknown user'}, not as root",
            "set ansible_become: true for this host (with ansible_become_password where sudo asks for one), "
            "or log in as root",
            expected="uid 0",
            observed=f"uid {who.uid}",
        )
