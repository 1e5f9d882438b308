"""``verify``: a set of questions to the running cluster; the seed document's request comes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.nodes import Look, looking
from provision.cli.options import json_option, node_options, print_json
from provision.errors import ProofFailed, UsageError

if TYPE_CHECKING:
    from provision.evaluate.verify import CaseResult
    from provision.serve.plan import LaunchPlan, Process


@click.command("verify", short_help="Ask the running cluster a set of questions and report which it answers rightly.")
@node_options
@click.option("--only", multiple=True, metavar="CASE", help="Only this case; may be repeated.")
@click.option("--strict", is_flag=True, help="A warning fails too.")
@click.option("--direct", is_flag=True, help="Ask each server past the router, one after the other.")
@json_option
def command(
    inventory_path: Path,
    limit: str | None,
    forks: int,
    verbose: int,
    only: tuple[str, ...],
    strict: bool,
    direct: bool,
    as_json: bool,
) -> int:
    """Ask the running cluster: model id and length, a chat, streaming, determinism, sense, every engine, errors.

    Exit status 1 where a case fails; a case that only warns does not. Where a router stands before several servers it
    is the router that is asked; with --direct each of its servers is, which tells whose answers are wrong; one that
    does not answer is named, and the others are asked all the same.

    \b
    Examples:
      qnext-provision verify -i cluster.yaml
      qnext-provision verify -i cluster.yaml --direct --only seed-chat
    """
    from provision.evaluate import verify as cases
    from provision.evaluate.prove import reaching
    from provision.serve import launch

    with looking(inventory_path, limit, forks, verbose) as look:
        look.tell_unreachable()
        if look.session.unreachable:
            return look.exit_code
        look.session.observe(lambda node: launch.facts(node.settings))
        planned = launch.partly_observed(look.inventory, look.session)
        plan = planned.plan
        asked = _asked(look, cases.direct(plan) if direct else (plan.entry,), limit)
        if not direct:  # the case engines asks them all
            _asked(look, plan.servers, limit, every=True)
        reach = reaching(look.session)
        silent = [process for process in asked if reach(process).get(process.health, timeout=10.0).status == 0]
        if len(silent) == len(asked):
            raise _silent(plan, silent, inventory_path)
        answering = [process for process in asked if process not in silent]
        results = {
            process.name: cases.verify(reach, plan, server=process, token=planned.token, only=only)
            for process in answering
        }
    if as_json:
        print_json(_data(plan, results, silent, direct=direct))
    else:
        for process in answering:
            _print(process, results[process.name], named=direct)
    if silent:
        raise _silent(plan, silent, inventory_path)
    return 1 if any(cases.failed(found, strict=strict) for found in results.values()) else 0


def _asked(look: Look, processes: Sequence[Process], limit: str | None, *, every: bool = False) -> Sequence[Process]:
    """Those on nodes that are looked at. Raises ``UsageError`` where that is none, or not ``every`` one."""
    seen = {node.name for node in look.session.nodes}
    found = [process for process in processes if process.node in seen]
    lost = [process for process in processes if process.node not in seen]
    if lost and (every or not found):
        where = "the server" if len(processes) == 1 else lost[0].name
        raise UsageError(f"--limit {limit} leaves out {lost[0].node}, where {where} answers")
    return found


def _silent(plan: LaunchPlan, processes: Sequence[Process], inventory_path: Path) -> ProofFailed:
    hint = f"qnext-provision up -i {inventory_path}"
    if len(processes) == 1:
        (process,) = processes
        what = plan.endpoint if process.name == plan.head else f"{process.name} (port {process.api_port})"
        return ProofFailed(f"{what} does not answer", node=process.node, hint=hint)
    names = ", ".join(f"{process.name} on {process.node} (port {process.api_port})" for process in processes)
    return ProofFailed(f"{names} do not answer", hint=hint)


def _data(
    plan: LaunchPlan, results: Mapping[str, Sequence[CaseResult]], silent: Sequence[Process], *, direct: bool
) -> object:
    from provision.facts.kinds import as_data

    told = {name: [as_data(result) for result in found] for name, found in results.items()}
    if direct:
        return {"endpoint": plan.endpoint, "servers": told, "silent": [process.name for process in silent]}
    return {"endpoint": plan.endpoint, "cases": told[plan.head]}


def _print(process: Process, results: Sequence[CaseResult], *, named: bool) -> None:
    from provision.secrets import redact

    if named:
        click.echo(f"{process.name} on {process.node}:")
    for result in results:
        mark = "ok" if result.ok else result.level
        click.echo(redact(f"{mark:5} {result.name:24} {result.seconds:6.1f} s  {result.detail}"))
