"""sshd lets us reach a server's port through our own connection, on every node whose servers answer requests.

Health, proof and verification go that way, so a cluster whose sshd forbids it could be launched and never proven. Tried
with a port on which nothing listens: "refused" is a good answer.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import Skip
from provision.node import Node
from provision.serve.layout import ROUTED

CODE = "N30"
LEVEL = "fail"
SCOPE = "node"

_NOBODY = 1


def run(node: Node) -> Iterable[Finding]:
    if node.index > 0 and node.settings.serve.topology not in {*ROUTED, "single"}:
        raise Skip("no server answers requests on this node")
    answer = node.http(_NOBODY).get("/", timeout=5.0)
    if answer.hint:
        yield Finding(answer.error, answer.hint, expected="AllowTcpForwarding yes", observed="forbidden")
