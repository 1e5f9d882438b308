"""Every API answers, is healthy, serves the model by its name, and lets nobody in without the key.

``/health`` alone proves little (``functional`` asks for tokens), but where it fails nothing else can hold. Each server
is asked through its own node's connection, and the router before several too; that a router is ill is told only where
its servers are well [domain 8.2, 14.4].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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
    plan = serving.planned(cluster).plan
    routed = plan.entry.kind == "router"
    ill = False
    for finding in _judged(serving.servers(cluster)):
        ill = True
        yield finding
    if routed and not ill and not serving.dead(cluster, plan):
        yield from _judged([serving.entry(cluster)])


def _judged(apis: Sequence[serving.Api]) -> Iterator[Finding]:
    found = serving.at_once(apis, lambda api: probe_ready(api.http, api.process, token=api.token))
    for api, ready in zip(apis, found, strict=True):
        if ready.healthy and not ready.problem:
            yield from _served(api, ready)
            yield from _open(api)
        else:
            yield _ill(api, ready)


def _ill(api: serving.Api, ready: Readiness) -> Finding:
    waiting = "it may still be loading: `qnext-provision logs` shows how far it is"
    dead = "its engine has died: `qnext-provision logs` for the first cause, then `qnext-provision up` starts all anew"
    refused = "set qnext.serve.api_key to the key that the server was launched with, or `qnext-provision up`"
    wrong_key = "401" in ready.problem
    return Finding(
        f"{api.name} is not well: {ready.problem}",
        ready.blocked or (refused if wrong_key else dead if ready.dead else waiting),
        node=api.node.name,
        expected=f"200 from {api.process.health} and /v1/models",
        observed=ready.problem,
    )


def _served(api: serving.Api, ready: Readiness) -> Iterator[Finding]:
    if api.plan.served_name not in ready.models:
        yield Finding(
            f"{api.name} serves {listed(ready.models) or 'nothing'}, not {api.plan.served_name}",
            "another server answers on this port, or it was launched otherwise: `qnext-provision status` shows which",
            node=api.node.name,
            expected=api.plan.served_name,
            observed=listed(ready.models) or "nothing",
        )


def _open(api: serving.Api) -> Iterator[Finding]:
    """A key that isn't asked for protects nothing."""
    if api.token and api.http.get("/v1/models").ok:
        yield Finding(
            f"{api.name} answers without the API key",
            "it was launched without qnext.serve.api_key: `qnext-provision up --restart`",
            node=api.node.name,
            expected="HTTP 401",
            observed="HTTP 200",
        )
