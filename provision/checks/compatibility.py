"""Release, driver, CANN, Python and what the server uses go together, as far as the table knows.

The table (``provision/serve/compatibility.yaml``) has a row for each release of vllm-ascend, with its source; an
inventory lays its own rows over it: ``qnext.compatibility``. What upstream states as a hard need fails: graph mode
FULL_AND_PIECEWISE (the default from 0.23 on) needs HDK 25.5.1 and CANN 8.5.0, the KV pool on A2 HDK 25.5, fabric memory
on A3 HDK 26.0. Everything else warns, and so does what the table doesn't know. The driver's own files are judged by the
check ``driver``, the image's hardware by ``image``, release and model before any node is touched, and the packages
inside the image by ``same_packages`` [domain 2.3, 2.4].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks.base import Finding
from provision.checks.support import Skip, ascend
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve import stack
from provision.serve.verdicts import Verdict

CODE = "N31"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return stack.facts(settings)


def run(node: Node) -> Iterable[Finding]:
    seen = stack.stack(node)
    if not (seen.hdk or seen.python or seen.cann):
        raise Skip("neither the driver's version nor the image could be read")
    return [finding(verdict) for verdict in stack.judged(node, "feature", "cann", "python")]


def finding(verdict: Verdict) -> Finding:
    """A verdict as a finding: a refusal fails, everything else warns."""
    return Finding(
        verdict.reason,
        verdict.remedy,
        expected=verdict.expected,
        observed=verdict.observed,
        level="fail" if verdict.outcome == "refuse" else "warn",
        source=verdict.source,
    )
