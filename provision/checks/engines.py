"""The head counts all data-parallel engines of the cluster: a missing one takes no request, and nobody else notices.

Each engine has its own series in ``/metrics``, by the label ``engine``: their number is the data-parallel size
[domain 8.2, 14.4].
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.checks import serving
from provision.checks.base import Finding, Shown
from provision.evaluate.metrics import engine_counters
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster

CODE = "P03"
LEVEL = "fail"
SCOPE = "launched"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return serving.facts(settings)


def run(cluster: Cluster) -> Iterable[Shown]:
    head = serving.head(cluster)
    answer = head.answer("/metrics")
    if not answer.ok:
        yield Finding(
            f"/metrics of {head.plan.endpoint}: {answer.problem()}",
            "something stands between: is it vLLM that answers on this port?",
            node=head.node.name,
            expected="HTTP 200",
            observed=answer.problem(),
        )
        return
    seen = engine_counters(answer.text())
    wanted = [str(number) for number in range(head.plan.engines)]
    if not seen:
        yield _uncounted(head)
    elif set(seen) != set(wanted):
        yield _other_engines(head, [e for e in wanted if e not in seen], [e for e in seen if e not in wanted])


def _uncounted(head: serving.Head) -> Finding:
    return Finding(
        f"/metrics of {head.plan.endpoint} counts no engine",
        "remove disable-log-stats from qnext.serve.engine_args, then `qnext-provision up`",
        node=head.node.name,
        expected=f"{head.plan.engines} engines",
        observed="none",
    )


def _other_engines(head: serving.Head, missing: list[str], strange: list[str]) -> Finding:
    homes = {str(engine): process for process in head.plan.processes for engine in process.engines}
    places = [f"engine {e} ({homes[e].name} on {homes[e].node})" for e in missing]
    what = (
        f"lacks {', '.join(places)}" if places else f"counts engines that are not of this cluster: {', '.join(strange)}"
    )
    return Finding(
        f"{head.plan.endpoint} {what}",
        "`qnext-provision logs` for the first cause, then `qnext-provision down` and `up`: the group starts as one",
        node=homes[missing[0]].node if missing else head.node.name,
        expected=f"{head.plan.engines} engines",
        observed=f"{head.plan.engines - len(missing) + len(strange)}",
    )
