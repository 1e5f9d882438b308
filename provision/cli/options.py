"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from provision.inventory.model import Host, Inventory

F = TypeVar("F", bound=Callable[..., Any])

inventory_option = click.option(
    "-i",
    "--inventory",
    "inventory_path",
    required=True,
    envvar="QNEXT_INVENTORY",
    type=click.Path(path_type=Path),
    help="The inventory, cluster.yaml. Default: $QNEXT_INVENTORY.",
)
limit_option = click.option(
    "-l",
    "--limit",
    metavar="PATTERN",
    help="Only these hosts: Ansible's patterns, e.g. 'atlas-1', 'a3:!atlas-7', '~atlas-[12]'.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout, for scripts.")
verbose_option = click.option("-v", "--verbose", count=True, help="Show remote commands and their output.")
forks_option = click.option(
    "--forks", default=64, show_default=True, type=click.IntRange(1, 1024), help="Nodes at once."
)


def node_options(command: F) -> F:
    """-i, --limit, --forks and -v: for every command that talks to nodes."""
    for option in (verbose_option, forks_option, limit_option, inventory_option):
        command = option(command)
    return command


def evidence_options(command: F) -> F:
    """PATHS, -i, --limit, --node, --forks and --run: for what reads the evidence of a failure, wherever it is."""
    inventory = click.option(
        "-i",
        "--inventory",
        "inventory_path",
        envvar="QNEXT_INVENTORY",
        type=click.Path(path_type=Path),
        help="A live cluster: its inventory. Default: $QNEXT_INVENTORY.",
    )
    nodes = click.option("--node", "nodes", multiple=True, metavar="NAME", help="Only this node; may be repeated.")
    run = click.option("--run", "run", metavar="RUN", help="A recorded run: latest, its id, or its folder.")
    paths = click.argument("paths", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
    for option in (run, forks_option, nodes, limit_option, inventory, paths):
        command = option(command)
    return command


def load_hosts(inventory_path: Path, limit: str | None) -> tuple[Inventory, Sequence[Host]]:
    """The inventory and the hosts that ``--limit`` leaves; an empty one is an unset variable, and refused."""
    from provision.inventory.load import load
    from provision.inventory.select import select

    inventory = load(inventory_path)
    return inventory, inventory.hosts if limit is None else select(inventory, limit)


def reveal_secrets(inventory: Inventory) -> None:
    """Raise ``UsageError`` where a secret that servers are launched with can't be used: before a node is touched."""
    from provision.serve.launch import secrets_of

    secrets_of(inventory.settings)


def print_json(data: object) -> None:
    """A JSON document on stdout, secrets masked."""
    from provision.secrets import redact_data

    click.echo(json.dumps(redact_data(data), indent=2, ensure_ascii=False))
