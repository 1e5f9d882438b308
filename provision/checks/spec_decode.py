"""Speculative decoding guesses right at times, where it is on (MTP).

A draft head that never has a token accepted costs time at every step and gains none: weights of the draft layers are
missing or wrong, or the release has a defect [domain 14.4]. Answers stay right, so it only warns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from provision.checks import serving
from provision.checks.base import CheckArgs, Finding, Shown
from provision.checks.support import Skip
from provision.evaluate.metrics import samples
from provision.facts.base import Fact
from provision.findings import Measure
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "P07"
LEVEL = "warn"
SCOPE = "launched"

DRAFTED = "vllm:spec_decode_num_draft_tokens"
ACCEPTED = "vllm:spec_decode_num_accepted_tokens"


class Args(CheckArgs):
    """What is enough to judge."""

    drafted: int = Field(20, ge=1, description="guessed tokens below which nothing is judged")
    accepted: float = Field(0.0, ge=0, lt=1, description="share of guessed tokens of which more must be accepted")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return serving.facts(settings)


def run(args: Args, cluster: Cluster) -> Iterable[Shown]:
    return serving.per_server(cluster, lambda api: _judged(args, api))


def _judged(args: Args, api: serving.Api) -> Iterator[Shown]:
    if not any(word.partition("=")[0] == "--speculative-config" for word in api.process.argv):
        raise Skip("speculative decoding is not on")
    if api.process.role == "prefill":
        raise Skip("a prefill server does not guess")
    drafted, accepted = _counts(api.answer("/metrics").text())
    if drafted < args.drafted:
        raise Skip(f"{drafted:.0f} tokens were guessed so far, too few to judge")
    share = accepted / drafted
    yield Measure("accepted guesses", round(share, 3), "of guessed tokens", api.node.name, f"{drafted:.0f} guessed")
    if share <= args.accepted:
        yield Finding(
            f"of {drafted:.0f} tokens that speculative decoding guessed, {accepted:.0f} were accepted",
            "check that the weights have the draft layers (mtp) and that the method in speculative-config is the "
            "model's; or turn it off: speculative-config: null in qnext.serve.engine_args",
            node=api.node.name,
            expected=f"more than {args.accepted:.0%}" if args.accepted else "some",
            observed=f"{share:.1%}",
        )


def _counts(page: str) -> tuple[float, float]:
    """Tokens guessed and accepted over all engines. The series by position are another one."""
    totals = {DRAFTED: 0.0, ACCEPTED: 0.0}
    for sample in samples(page):
        name = sample.name.removesuffix("_total")
        if name in totals:
            totals[name] += sample.value
    return totals[DRAFTED], totals[ACCEPTED]
