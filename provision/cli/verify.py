"""``verify``: a set of questions to the running cluster; the seed document's request comes first."""

from __future__ import annotations

from pathlib import Path

import click

from provision.cli.nodes import looking
from provision.cli.options import json_option, node_options, print_json
from provision.errors import ProofFailed, UsageError


@click.command("verify", short_help="Ask the running cluster a set of questions and report which it answers rightly.")
@node_options
@click.option("--only", multiple=True, metavar="CASE", help="Only this case; may be repeated.")
@click.option("--strict", is_flag=True, help="A warning fails too.")
@json_option
def command(
    inventory_path: Path,
    limit: str | None,
    forks: int,
    verbose: int,
    only: tuple[str, ...],
    strict: bool,
    as_json: bool,
) -> int:
    """Ask the running cluster: model id and length, a chat, streaming, determinism, sense, every engine, errors.

    Exit status 1 where a case fails; a case that only warns does not.

    \b
    Example:
      qnext-provision verify -i cluster.yaml
    """
    from provision.evaluate.verify import failed, verify
    from provision.facts.kinds import as_data
    from provision.serve import launch

    with looking(inventory_path, limit, forks, verbose) as look:
        look.tell_unreachable()
        if look.session.unreachable:
            return look.exit_code
        look.session.observe(lambda node: launch.facts(node.settings))
        planned = launch.partly_observed(look.inventory, look.session)
        head = planned.plan.process(planned.plan.head)
        node = next((n for n in look.session.nodes if n.name == head.node), None)
        if node is None:
            raise UsageError(f"--limit {limit} leaves out {head.node}, where the server answers")
        http = node.http(head.api_port or node.settings.serve.port)
        if http.get("/health", timeout=10.0).status == 0:
            raise ProofFailed(
                f"{planned.plan.endpoint} does not answer",
                node=node.name,
                hint=f"qnext-provision up -i {inventory_path}",
            )
        results = verify(http, planned.plan, token=planned.token, only=only)
    if as_json:
        print_json({"endpoint": planned.plan.endpoint, "cases": [as_data(r) for r in results]})
    else:
        for result in results:
            mark = "ok" if result.ok else result.level
            click.echo(f"{mark:5} {result.name:24} {result.seconds:6.1f} s  {result.detail}")
    return 1 if failed(results, strict=strict) else 0
