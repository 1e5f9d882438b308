"""``rehearse``: a practice cluster on this machine, for learning the tool and for trying a runbook before the night."""

from __future__ import annotations

from pathlib import Path

import click

from provision.cli.options import json_option, print_json
from provision.errors import UsageError

folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(".qnext/rehearsal"),
    show_default=True,
    help="Folder that holds the practice cluster.",
)


@click.group("rehearse", short_help="Run a practice cluster on this machine, with faults on demand.")
def command() -> None:
    """Run a practice cluster on this machine: real SSH, a real shell, real files and processes; stand-ins for the NPU
    tools, docker and vLLM that keep the real ones' rules. Needs no root and no NPU.

    \b
    Example:
      qnext-provision rehearse up
      qnext-provision up -i .qnext/rehearsal/cluster.yaml
      qnext-provision rehearse down
    """


def _cluster() -> object:
    try:
        from provision.rehearsal import cluster
    except ImportError as error:
        raise UsageError(
            f"the rehearsal cluster needs asyncssh ({error})", hint="pip install 'qnext-provision[rehearsal]'"
        ) from error
    return cluster
