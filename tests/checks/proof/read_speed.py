"""A disk that would take hours."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provision.actions import On
from provision.results import Result
from tests.checks.proof import Proof, Trial
from tests.checks.world import model, pair

BLOCK = "1+0 records in\n1+0 records out\n4194304 bytes (4.2 MB, 4.0 MiB) copied, {seconds} s, 2.1 GB/s\n"


def reading(seconds: str) -> Callable[[On], Mapping[str, Result]]:
    return lambda group: {name: Result("read", 0, BLOCK.format(seconds=seconds)) for name in group.actions}


def large() -> object:
    """160 GB of weights."""
    two = pair()
    for node in two.nodes:
        shards = tuple(shard.__class__(shard.name, 53 * 1024**3) for shard in model().shards)
        node.facts["model-folder"] = model(shards=shards)
    return two


PROOF = Proof(
    passes=lambda: Trial(large(), reading("0.002")),
    fails=lambda: Trial(large(), reading("2.1")),
    says=r"read at \d+ MB/s, so loading takes about \d+ min",
    faults={"read/slow": "20"},
    qnext={"checks": {"read_speed": {"seconds": 2}}},
    hardware="cpu",
    alone=True,
)
