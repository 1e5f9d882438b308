"""The life of a group: where one of its processes dies none can go on, so what happens next happens to all of them.

``serve.on_failure`` says what: ``fail`` ends the run with the first cause; ``restart-group`` stops the processes that
work together, in order, and starts them again, at most ``serve.restart_budget`` times a run. Peers of a dead rank never
recover by themselves [vllm issue 32136]; independent servers are groups of their own, and go on untouched.

No module of its own: ``start``, ``ready``, ``prove`` and ``watch`` do their work ``guarded`` by it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import NoReturn

from provision.actions import On
from provision.errors import LaunchFailed, ProofFailed
from provision.events import GroupRestarted
from provision.modules import readiness, starting, stopping
from provision.modules.base import ClusterRun
from provision.node import Cluster, Restart
from provision.results import ActionResult
from provision.serve import launch
from provision.serve.plan import LaunchPlan

STARTED = 300.0
"""Seconds until a wave of a group that is started again must have started."""


def guarded(cluster: Cluster, work: Callable[[], ClusterRun]) -> ClusterRun:
    """``work()``, a module's generator; where it fails by a process and the operator's policy allows, the process's
    group is started again, and ``work()`` begins anew. Raises what ``work`` raises, with all earlier causes where the
    budget is spent."""
    unit: tuple[str, ...] = ()
    while True:
        try:
            if unit:
                yield from revive(cluster, unit)
            return (yield from work())
        except (LaunchFailed, ProofFailed) as error:
            unit = allowed(cluster, launch.observed(cluster).plan, error)


def revive(cluster: Cluster, unit: tuple[str, ...]) -> Generator[On, Mapping[str, ActionResult], None]:
    """Stop what is left of a group, start it and wait until its servers answer."""
    planned = launch.observed(cluster)
    plan, settings = planned.plan, cluster.settings
    yield from stopping.stop(cluster, lambda container: container.process in unit)
    yield from starting.start(cluster, plan, plan.waves, unit, STARTED)
    wanted = [plan.process(name) for name in unit if plan.process(name).api_port is not None]
    readiness.await_ready(cluster, planned, wanted, unit, settings.serve.ready_timeout)


def allowed(cluster: Cluster, plan: LaunchPlan, error: LaunchFailed | ProofFailed) -> tuple[str, ...]:
    """The processes to start again after ``error``, which is told and counted. Raises ``error`` where the policy is to
    fail or no process is to blame, and with all causes where the budget is spent."""
    serve = cluster.settings.serve
    unit = _to_blame(plan, error)
    if serve.on_failure != "restart-group" or not unit:
        raise error
    earlier = [restart for restart in cluster.restarts if restart.processes == unit]
    if len(earlier) >= serve.restart_budget:
        _spent(error, unit, [restart.cause for restart in earlier])
    cluster.restarts.append(Restart(unit, error.message))
    cluster.tell(
        GroupRestarted(
            group=group_name(plan, unit),
            processes=unit,
            node=error.node,
            cause=error.message,
            number=len(earlier) + 1,
            budget=serve.restart_budget,
        )
    )
    return unit


def _to_blame(plan: LaunchPlan, error: LaunchFailed | ProofFailed) -> tuple[str, ...]:
    """The processes that live and die with the one that failed. A router that gives no tokens is not to blame: another
    start of it would not make a server behind it generate."""
    process = next((each for each in plan.processes if each.name == error.process), None)
    if process is None or (process.kind == "router" and isinstance(error, ProofFailed)):
        return ()
    return plan.unit_of(process)


def group_name(plan: LaunchPlan, unit: tuple[str, ...]) -> str:
    """What operators call the processes that live and die together."""
    names = [group.name for group in plan.groups if group.name and set(group.processes) <= set(unit)]
    return ", ".join(names) or ("the group" if len(unit) > 1 else unit[0])


def names_of_groups(plan: LaunchPlan) -> list[str]:
    """What operators may call groups: their names, the router's and the pool's; of the only group any process's."""
    attendants = [process.name for process in plan.processes if process.kind != "server"]
    named = [group.name for group in plan.groups if group.name]
    return [*named, *attendants] if named else [process.name for process in plan.processes]


def units_named(plan: LaunchPlan, names: list[str]) -> list[tuple[str, ...]]:
    """The processes that live and die together, of each group or process that is named; unknown names are left out."""
    by_group = {group.name: group.processes for group in plan.groups if group.name}
    members = {member for name in names for member in by_group.get(name, (name,))}
    return [unit for unit in plan.units if members & set(unit)]


def _spent(error: LaunchFailed | ProofFailed, unit: tuple[str, ...], causes: list[str]) -> NoReturn:
    """Raise the error with what went before it."""
    if not causes:
        raise error
    times = "once" if len(causes) == 1 else f"{len(causes)} times"
    earlier = "\n".join(f"failure {number}: {cause}" for number, cause in enumerate(causes, 1))
    told = type(error)(
        f"{error.message}; restarted {times} before, in vain",
        hint=error.hint,
        node=error.node,
        process=error.process,
        evidence=f"{earlier}\nfailure {len(causes) + 1}: {error.message}\n{error.evidence}",
    )
    told.diagnosis = error.diagnosis
    raise told from error
