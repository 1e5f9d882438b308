"""``lint``: everything that can be known to be wrong without touching a node."""

from __future__ import annotations

from pathlib import Path

import click

from provision.cli.options import inventory_option, json_option, load_hosts, print_json, reveal_secrets


@click.command("lint", short_help="Check the inventory and the layout, touching no node.")
@inventory_option
@json_option
def command(inventory_path: Path, as_json: bool) -> int:
    """Check the inventory's syntax and types, every playbook, and whether the layout can work. No node is touched.

    Exit status 2 where something can't work; warnings alone give 0.

    \b
    Example:
      qnext-provision lint -i cluster.yaml
    """
    from provision.checks.runner import run_static
    from provision.cli.main import playbook_folders
    from provision.engine.header import playbooks
    from provision.engine.load import load_playbook
    from provision.facts.kinds import as_data

    inventory, _ = load_hosts(inventory_path, None)
    reveal_secrets(inventory)
    for path in playbooks(playbook_folders()).values():
        load_playbook(path, inventory)
    findings = run_static(inventory)
    failed = any(f.level == "fail" for f in findings)
    if as_json:
        warnings = list(inventory.warnings)
        print_json({"ok": not failed, "findings": [as_data(f) for f in findings], "warnings": warnings})
        return 2 if failed else 0
    for warning in inventory.warnings:
        click.echo(f"warn  {warning}")
    for finding in findings:
        click.echo(f"{finding.level:4}  {finding.code}  {finding.summary}\n      remedy: {finding.remedy}")
    hosts = len(inventory.hosts)
    if not failed:
        click.echo(f"{inventory_path}: {hosts} host{'s' * (hosts != 1)}, nothing that can't work")
    return 2 if failed else 0
