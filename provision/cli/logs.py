"""``logs``: what all processes of all nodes say, merged, each line with its node and process."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.nodes import looking
from provision.cli.options import node_options
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.diagnose.logs import Source
    from provision.facts.docker import Container

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan", "bright_magenta")

_TIME = re.compile(
    r"(\d+(\.\d+)?(h|m|s|ms))+|\d{10}(\.\d+)?|\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?"
)
_COUNT = re.compile(r"all|\d+")


def _like(form: re.Pattern[str], example: str) -> Callable[[click.Context, click.Parameter, str], str]:
    """Refuse what docker would not understand, before any connection."""

    def check(context: click.Context, option: click.Parameter, value: str) -> str:
        if value and not form.fullmatch(value):
            raise click.BadParameter(f"'{value}' is not like {example}", context, option)
        return value

    return check


@click.command("logs", short_help="Print or follow the logs of all processes, merged, each line with its process.")
@node_options
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until every process has ended.")
@click.option(
    "--since",
    default="",
    metavar="TIME",
    callback=_like(_TIME, "10m, 1h30m or 2026-01-31T08:00:00Z"),
    help="Only lines since then: 10m, 2h, or 2026-01-31T08:00:00Z.",
)
@click.option(
    "--tail",
    default="all",
    metavar="N",
    callback=_like(_COUNT, "50 or all"),
    help="Only the last N lines of each process.",
)
@click.option("--node", "nodes", multiple=True, help="Only this node; may be repeated.")
@click.option("--process", "processes", multiple=True, help="Only this process (head, worker1, …); may be repeated.")
@click.option("--group", "groups", multiple=True, help="Only processes of this group (replica0, …); may be repeated.")
@click.option("--timestamps", is_flag=True, help="Show docker's time of each line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line: time, node, process, text, note.")
def command(
    inventory_path: Path,
    limit: str | None,
    forks: int,
    verbose: int,
    follow: bool,
    since: str,
    tail: str,
    nodes: tuple[str, ...],
    processes: tuple[str, ...],
    groups: tuple[str, ...],
    timestamps: bool,
    as_json: bool,
) -> int:
    """Print the logs of every process of the cluster, merged by time; or follow them.

    \b
    Examples:
      qnext-provision logs -i cluster.yaml --tail 50
      qnext-provision logs -i cluster.yaml -f --since 5m
      qnext-provision logs -i cluster.yaml --node atlas-2
      qnext-provision logs -i cluster.yaml --group replica1 --process router
    """
    from provision.diagnose import logs
    from provision.facts.docker import Containers
    from provision.secrets import redact

    with looking(inventory_path, ",".join(nodes) or limit, forks, verbose) as look:
        look.tell_unreachable()
        look.session.observe(lambda node: [Containers(node.settings.cluster)])
        every = logs.sources(look.session)
        if every and not look.session.unreachable:
            _require_known(every, processes, groups)
        found = [s for s in every if _wanted(s.container, processes, groups)]
        if not found:
            click.echo(f"no process of cluster {look.inventory.settings.cluster} has a log here", err=True)
            return look.exit_code
        prefix = logs.prefixes(found)
        colour = {key: COLOURS[i % len(COLOURS)] for i, key in enumerate(prefix)}
        stream = logs.followed if follow else logs.printed
        with suppress(KeyboardInterrupt):  # Ctrl-C is how following ends
            for line in stream(found, since=since, tail=tail):
                if as_json:
                    click.echo(redact(json.dumps(asdict(line), ensure_ascii=False)))
                    continue
                key = (line.node, line.process)
                text = f"[{line.text}]" if line.note else f"{line.time} {line.text}" if timestamps else line.text
                click.echo(click.style(prefix[key], fg=colour[key]) + " | " + redact(text))
        return look.exit_code


def _wanted(container: Container, processes: Sequence[str], groups: Sequence[str]) -> bool:
    everything = not processes and not groups
    return everything or container.process in processes or (bool(container.group) and container.group in groups)


def _require_known(every: Sequence[Source], processes: Sequence[str], groups: Sequence[str]) -> None:
    """Raise ``UsageError`` for a name that none of the containers here has."""
    there = {"process": [s.container.process for s in every], "group": [s.container.group for s in every]}
    for what, wanted in (("process", processes), ("group", groups)):
        known = list(dict.fromkeys(name for name in there[what] if name))
        for name in wanted:
            if name not in known:
                raise UsageError(f"no {what} '{name}' has a log here", hint=f"there are: {', '.join(known) or 'none'}")
