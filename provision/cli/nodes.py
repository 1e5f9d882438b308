"""A read-only look at the nodes, for the commands that need no playbook."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.failure import lines
from provision.cli.options import load_hosts

if TYPE_CHECKING:
    from provision.engine.run import Session
    from provision.inventory.model import Inventory
    from provision.transport.pool import Pool


@dataclass(frozen=True, slots=True)
class Look:
    """An open session over the reachable nodes."""

    inventory: Inventory
    session: Session
    pool: Pool

    @property
    def exit_code(self) -> int:
        """0, or 4 where a node could not be reached."""
        return 4 if self.session.unreachable else 0

    def tell_unreachable(self) -> None:
        """Name the nodes that could not be reached, with reason and remedy, on stderr."""
        for error in self.session.unreachable.values():
            for line in lines(error):
                click.echo(line, err=True)


@contextmanager
def looking(inventory_path: Path, limit: str | None, forks: int, verbose: int) -> Iterator[Look]:
    """Connect to the selected hosts; those that can't be reached are in ``session.unreachable``."""
    from provision.emitter import Emitter
    from provision.engine.run import session
    from provision.render.output import sink
    from provision.transport.pool import Pool

    inventory, hosts = load_hosts(inventory_path, limit)
    for warning in inventory.warnings:
        click.echo(f"note: {warning}", err=True)
    stop = threading.Event()
    quiet = sink("plain", stdout=sys.stdout, stderr=sys.stderr, verbose=verbose) if verbose else None
    with Emitter([quiet] if quiet else []) as emitter, Pool(hosts, max_connects=forks) as pool:
        yield Look(inventory, session(inventory, hosts, pool, emitter, forks=forks, stop=stop), pool)
