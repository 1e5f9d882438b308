"""The head's API answers, is healthy, serves the model by its name, and lets nobody in without the key.

``/health`` alone proves little (``functional`` asks for tokens), but where it fails nothing else can hold. The server
is asked through the head's own connection [domain 8.2, 14.4].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.checks import serving
from provision.checks.base import Finding, Shown
from provision.checks.support import listed
from provision.evaluate.prove import Readiness, probe_ready
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "P01"
LEVEL = "fail"
SCOPE = "launched"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return serving.facts(settings)


def run(cluster: Cluster) -> Iterable[Shown]:
    head = serving.head(cluster)
    ready = probe_ready(head.http, token=head.token)
    if ready.healthy and not ready.problem:
        yield from _served(head, ready)
        yield from _open(head)
    else:
        yield _ill(head, ready)


def _ill(head: serving.Head, ready: Readiness) -> Finding:
    waiting = "it may still be loading: `qnext-provision logs` shows how far it is"
    dead = "its engine has died: `qnext-provision logs` for the first cause, then `qnext-provision up` starts all anew"
    refused = "set qnext.serve.api_key to the key that the server was launched with, or `qnext-provision up`"
    wrong_key = "401" in ready.problem
    return Finding(
        f"{head.plan.endpoint} is not well: {ready.problem}",
        ready.blocked or (refused if wrong_key else dead if ready.dead else waiting),
        node=head.node.name,
        expected="200 from /health and /v1/models",
        observed=ready.problem,
    )


def _served(head: serving.Head, ready: Readiness) -> Iterator[Finding]:
    if head.plan.served_name not in ready.models:
        yield Finding(
            f"{head.plan.endpoint} serves {listed(ready.models) or 'nothing'}, not {head.plan.served_name}",
            "another server answers on this port, or it was launched otherwise: `qnext-provision status` shows which",
            node=head.node.name,
            expected=head.plan.served_name,
            observed=listed(ready.models) or "nothing",
        )


def _open(head: serving.Head) -> Iterator[Finding]:
    """A key that isn't asked for protects nothing."""
    if head.token and head.http.get("/v1/models").ok:
        yield Finding(
            f"{head.plan.endpoint} answers without the API key",
            "it was launched without qnext.serve.api_key: `qnext-provision up --restart`",
            node=head.node.name,
            expected="HTTP 401",
            observed="HTTP 200",
        )
