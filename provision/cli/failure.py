"""How an error looks on the terminal: the place, what is wrong, the evidence, the remedy. One for each, to stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NoReturn

import click

from provision.errors import ConfigError, ProvisionError


def lines(error: ProvisionError) -> Iterator[str]:
    """The lines that tell ``error``, without colour."""
    yield f"error: {f'{error.node}: ' if error.node else ''}{error}"
    yield from (f"    {line}" for line in error.evidence.splitlines())
    if error.hint:
        yield f"  remedy: {error.hint}"
    if isinstance(error, ConfigError):
        for other in error.others:
            yield from lines(other)


def exit_with(outcome: object) -> NoReturn:
    """End the program: an error with its message and status, a number with that status, anything else with 0."""
    if isinstance(outcome, ProvisionError):
        from provision.secrets import redact

        for line in lines(outcome):
            click.echo(redact(line), err=True)
        sys.exit(outcome.exit_code)
    sys.exit(outcome if isinstance(outcome, int) else 0)
