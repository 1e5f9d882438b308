"""``schema``: the JSON Schema of cluster.yaml, for editors and pipelines."""

from __future__ import annotations

import click

from provision.cli.options import print_json


@click.command("schema", short_help="Print the JSON Schema of cluster.yaml.")
def command() -> None:
    """Print the JSON Schema of an inventory.

    \b
    Example:
      qnext-provision schema > cluster.schema.json
      # first line of cluster.yaml, for editors:
      # yaml-language-server: $schema=cluster.schema.json
    """
    from provision.inventory.schema import inventory_schema

    print_json(inventory_schema())
