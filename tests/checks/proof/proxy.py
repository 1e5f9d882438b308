"""Containers are given a proxy."""

from __future__ import annotations

from typing import Any

from provision.facts.proxy import ProxyValue
from tests.checks.proof import Proof
from tests.checks.world import pair


def ill() -> Any:
    two = pair()
    two.nodes[1].facts["proxy"] = ProxyValue({"httpProxy": "http://proxy:3128"})
    return two


PROOF = Proof(
    passes=pair,
    fails=ill,
    says="puts http.?Proxy",
    faults={"proxy": "http://proxy.example:3128"},
)
