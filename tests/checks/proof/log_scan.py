"""A link that fails and is tried again, under a server that answers."""

from __future__ import annotations

from typing import Any

from provision.facts.logs import LogTailsValue
from tests.checks.proof import Proof
from tests.checks.world import launched

LINE = (
    "(EngineCore_DP4 pid=27525) ERROR 11-24 09:53:30 [model_runner_v1.py:1822] [ERROR] HCCL EI0006: "
    "Getting socket times out.\n"
)


def ill() -> Any:
    two = launched()
    two.nodes[1].facts["log-tails"] = LogTailsValue({"worker1": LINE * 3})
    return two


PROOF = Proof(
    passes=launched,
    fails=ill,
    says="the log of worker1 tells of a link",
    faults={"log/error": "1"},
    launched=True,
)
