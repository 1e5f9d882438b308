"""``facts``: what is observed on the nodes, all of it in one exec a node."""

from __future__ import annotations

from pathlib import Path

import click

from provision.cli.nodes import looking
from provision.cli.options import json_option, node_options, print_json


@click.command("facts", short_help="Show what is observed on the nodes.")
@node_options
@click.option("--only", metavar="A,B", default="", help="Only these facts, e.g. docker,npu-smi.")
@json_option
def command(inventory_path: Path, limit: str | None, forks: int, verbose: int, only: str, as_json: bool) -> int:
    """Show what is observed on every node: system, disks, network, docker, NPUs, driver, weights, processes.

    \b
    Examples:
      qnext-provision facts -i cluster.yaml
      qnext-provision facts -i cluster.yaml --only docker,davinci --json
    """
    from provision.errors import ProvisionError, UsageError
    from provision.facts.kinds import as_data, standard_facts

    with looking(inventory_path, limit, forks, verbose) as look:
        chosen = {node.name: standard_facts(node.settings) for node in look.session.nodes}
        names = {fact.name for facts in chosen.values() for fact in facts}
        wanted = {word for word in only.split(",") if word} or names
        if look.session.nodes and wanted - names:
            raise UsageError(f"no fact {', '.join(sorted(wanted - names))}", hint=f"one of: {', '.join(sorted(names))}")
        look.session.observe(lambda node: [f for f in chosen[node.name] if f.name in wanted])
        data: dict[str, dict[str, object]] = {}
        for node in look.session.nodes:
            for fact in chosen[node.name]:
                if fact.name in wanted:
                    try:
                        data.setdefault(node.name, {})[fact.name] = as_data(node.get(fact))
                    except ProvisionError as error:
                        data.setdefault(node.name, {})[fact.name] = {"problems": [str(error)]}
        look.tell_unreachable()
        if as_json:
            print_json(data)
        else:
            import yaml

            from provision.secrets import redact_data

            click.echo(yaml.safe_dump(redact_data(data), sort_keys=False, allow_unicode=True), nl=False)
        return look.exit_code
