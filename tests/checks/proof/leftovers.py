"""A server that nobody ended."""

from __future__ import annotations

from typing import Any

from provision.facts.processes import ServerProcess
from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    return healthy().alter("processes", processes=(ServerProcess(77, 1, "root", 3600, "vllm", "vllm serve"),))


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="1 server process runs outside of containers",
    faults={"process/vllm": "1"},
)
