"""Every API counts all data-parallel engines behind it: a missing one takes no request, and nobody else notices.

Each engine has its own series in ``/metrics``, by the label ``engine``: where one API serves all of them their number
is the data-parallel size [domain 8.2, 14.4].
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.checks import serving
from provision.checks.base import Finding, Shown
from provision.evaluate.metrics import by_rank, engine_counters
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "P03"
LEVEL = "fail"
SCOPE = "launched"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return serving.facts(settings)


def run(cluster: Cluster) -> Iterable[Shown]:
    return serving.per_server(cluster, _counted)


def _counted(api: serving.Api) -> Iterator[Finding]:
    answer = api.answer("/metrics")
    if not answer.ok:
        yield Finding(
            f"/metrics of {api.name}: {answer.problem()}",
            "something stands between: is it vLLM that answers on this port?",
            node=api.node.name,
            expected="HTTP 200",
            observed=answer.problem(),
        )
        return
    seen, wanted = engine_counters(answer.text()), api.plan.behind(api.process)
    found = by_rank(seen, wanted)
    if not seen:
        yield _uncounted(api, len(wanted))
    elif len(found) < len(wanted) or len(seen) > len(wanted):
        strange = sorted(seen.keys() - {str(rank) for rank in wanted})
        yield _other_engines(api, [rank for rank in wanted if rank not in found], strange)


def _uncounted(api: serving.Api, wanted: int) -> Finding:
    return Finding(
        f"/metrics of {api.name} counts no engine",
        "remove disable-log-stats from qnext.serve.engine_args, then `qnext-provision up`",
        node=api.node.name,
        expected=f"{wanted} engines",
        observed="none",
    )


def _other_engines(api: serving.Api, missing: list[int], strange: list[str]) -> Finding:
    plan, wanted = api.plan, len(api.plan.behind(api.process))
    members = [plan.process(name) for name in plan.group_of(api.process).processes]
    homes = {engine: process for process in members for engine in process.engines}
    places = [f"engine {e} ({homes[e].name} on {homes[e].node})" for e in missing]
    what = (
        f"lacks {', '.join(places)}" if places else f"counts engines that are not of this cluster: {', '.join(strange)}"
    )
    return Finding(
        f"{api.name} {what}",
        "`qnext-provision logs` for the first cause, then `qnext-provision down` and `up`: the group starts as one",
        node=homes[missing[0]].node if missing else api.node.name,
        expected=f"{wanted} engines",
        observed=f"{wanted - len(missing) + len(strange)}",
    )
