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
    from provision.node import Node
    from provision.transport.pool import Pool


@dataclass(frozen=True, slots=True)
class Look:
    """An open session over the reachable nodes."""

    inventory: Inventory
    session: Session
    pool: Pool

    def join(self, name: str) -> Node:
        """A node that could not be reached, now that it can. Raises an ``Unreachable`` where it still can't."""
        from provision.emitter import Emitter
        from provision.engine.run import session

        host = next(host for host in self.inventory.hosts if host.name == name)
        with Emitter([]) as emitter:
            late = session(self.inventory, [host], self.pool, emitter, forks=1)
        for error in late.unreachable.values():
            raise error
        return late.nodes[0]

    @property
    def exit_code(self) -> int:
        """0, or 4 where a node could not be reached."""
        return 4 if self.session.unreachable else 0

    def tell_unreachable(self) -> None:
        """Name the nodes that could not be reached, with reason and remedy, on stderr."""
        from provision.secrets import redact

        for error in self.session.unreachable.values():
            for line in lines(error):
                click.echo(redact(line), err=True)


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
