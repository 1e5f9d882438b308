"""A draft head of which no guess is taken."""

from __future__ import annotations

from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import launched, serving, settings

MTP = {"speculative-config": {"method": "qwen3_next_mtp", "num_speculative_tokens": 1}}


def guessing(accepted: int) -> Any:
    own = settings()
    serve = own.serve.model_copy(update={"engine_args": MTP})
    two = launched(own.model_copy(update={"serve": serve}))
    two.nodes[0].server.pages["/metrics"] = serving("any", 2, accepted=accepted).pages["/metrics"]
    return two


PROOF = Proof(
    passes=lambda: guessing(80),
    fails=lambda: guessing(0),
    says="tokens that speculative decoding guessed, 0 were accepted",
    faults={"spec_decode/none": "1"},
    node="node1",
    qnext={"serve": {"engine_args": MTP}},
    launched=True,
)
