"""``logs``: what all processes of all nodes say, merged, each line with its node and process."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision import clock
from provision.cli.moments import EXAMPLES, moment
from provision.cli.nodes import Look, looking
from provision.cli.options import node_options
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.diagnose.logs import Part, Source
    from provision.diagnose.merge import LogLine
    from provision.facts.docker import Container

LEVELS = ("debug", "info", "warning", "error", "critical")

_COUNT = re.compile(r"all|\d+")


def _tail(context: click.Context, option: click.Parameter, value: str) -> str:
    if not _COUNT.fullmatch(value):
        raise click.BadParameter(f"'{value}' is not like 50 or all", context, option)
    return value


def _time(context: click.Context, option: click.Parameter, value: str) -> float | None:
    try:
        return moment(value, clock.now()) if value else None
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


def _pattern(context: click.Context, option: click.Parameter, value: str | None) -> re.Pattern[str] | None:
    try:
        return None if value is None else re.compile(value)
    except re.error as error:
        raise click.BadParameter(f"'{value}' is no regular expression: {error}", context, option) from None


class Logs(click.Group):
    """``logs``, and ``logs collect``, which is read only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return ["collect"]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] != "collect" and not args[0].startswith("-"):
            ctx.fail(f"no command '{args[0]}' of `logs`: there is `collect`; a process is chosen by --process.")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name != "collect":
            return None
        from provision.cli.collect import command as collect

        return collect


def _not_required(command: click.Group) -> click.Group:
    """``-i`` may stand behind the subcommand instead."""
    for parameter in command.params:
        if parameter.name == "inventory_path":
            parameter.required = False
    return command


@dataclass(frozen=True, slots=True)
class Choice:
    """Which processes: names or patterns (``worker*``), and groups."""

    processes: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def holds(self, container: Container) -> bool:
        if not self.processes and not self.groups:
            return True
        named = any(fnmatchcase(container.process, pattern) for pattern in self.processes)
        return named or (bool(container.group) and any(fnmatchcase(container.group, p) for p in self.groups))

    def require_known(self, every: Sequence[Source]) -> None:
        """Raise ``UsageError`` for what none of the containers here has."""
        there = {"process": [s.container.process for s in every], "group": [s.container.group for s in every]}
        for what, wanted in (("process", self.processes), ("group", self.groups)):
            known = list(dict.fromkeys(name for name in there[what] if name))
            for pattern in wanted:
                if not any(fnmatchcase(name, pattern) for name in known):
                    hint = f"there are: {', '.join(known) or 'none'}"
                    raise UsageError(f"no {what} '{pattern}' has a log here", hint=hint)


@_not_required
@click.group(
    "logs",
    cls=Logs,
    invoke_without_command=True,
    short_help="Print or follow the logs of all processes, merged, each line with its process.",
)
@node_options
@click.option("-f", "--follow", is_flag=True, help="Go on with new lines until every process has ended.")
@click.option("--since", default="", metavar="TIME", callback=_time, help=f"Only lines since then: {EXAMPLES}.")
@click.option("--until", default="", metavar="TIME", callback=_time, help="Only lines until then; following ends then.")
@click.option("--tail", default="all", metavar="N", callback=_tail, help="Only the last N lines of each process.")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), help="Only lines of this level and above.")
@click.option(
    "--grep", metavar="REGEX", callback=_pattern, help="Only lines in which this regular expression is found."
)
@click.option("--invert-match", "invert", is_flag=True, help="With --grep: only lines in which it is not found.")
@click.option("--node", "nodes", multiple=True, help="Only this node; may be repeated.")
@click.option(
    "--process", "processes", multiple=True, help="Only this process (head, worker1, 'worker*'); may be repeated."
)
@click.option("--group", "groups", multiple=True, help="Only processes of this group (replica0, …); may be repeated.")
@click.option("--timestamps", is_flag=True, help="Show each line's time: UTC, by this machine's clock.")
@click.option(
    "--fold/--no-fold", "fold", default=None, help="Fold what repeats into one line; on a terminal that is done."
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON object a line: time, stamp, node, process, level, text, note."
)
@click.pass_context
def command(
    context: click.Context,
    inventory_path: Path | None,
    limit: str | None,
    forks: int,
    verbose: int,
    follow: bool,
    since: float | None,
    until: float | None,
    tail: str,
    level: str | None,
    grep: re.Pattern[str] | None,
    invert: bool,
    nodes: tuple[str, ...],
    processes: tuple[str, ...],
    groups: tuple[str, ...],
    timestamps: bool,
    fold: bool | None,
    as_json: bool,
) -> int | None:
    """Print the logs of every process of the cluster, merged by time; or follow them.

    Times are docker's, corrected by how far each node's clock is off. Following goes on when containers are started
    again or replaced and when connections break: nothing is lost, nothing comes twice.

    \b
    Examples:
      qnext-provision logs -i cluster.yaml --tail 50
      qnext-provision logs -i cluster.yaml -f --since 5m
      qnext-provision logs -i cluster.yaml -f --level warning
      qnext-provision logs -i cluster.yaml --grep 'HCCL|EI0006' --timestamps
      qnext-provision logs -i cluster.yaml --since 08:00 --until 08:15
      qnext-provision logs -i cluster.yaml --node atlas-2 --process 'worker*'
      qnext-provision logs -i cluster.yaml --group replica1 --process router
      qnext-provision logs collect -i cluster.yaml
    """
    if context.invoked_subcommand is not None:
        return None
    if inventory_path is None:
        raise click.MissingParameter(
            ctx=context, param=next(p for p in context.command.params if p.name == "inventory_path")
        )
    if since is not None and until is not None and until <= since:
        raise UsageError("--until is not after --since", hint="10m means ten minutes ago, for both")
    if invert and grep is None:
        raise UsageError("--invert-match is for --grep", hint="give the expression with --grep")
    from provision.diagnose.filtering import sieve
    from provision.diagnose.logs import Part

    part = Part(since, until, tail)
    choice = Choice(processes, groups)
    kept = sieve(level=(level or "").upper(), grep=grep, invert=invert)
    with looking(inventory_path, ",".join(nodes) or limit, forks, verbose) as look:
        look.tell_unreachable()
        found = _found(look, choice)
        if not found and not follow:
            return _nothing(look)
        batches = _followed(look, choice, part) if follow else _printed(found, part)
        write = _writer(found, as_json=as_json, fold=fold, stamps=timestamps)
        with suppress(KeyboardInterrupt):  # Ctrl-C is how following ends
            lines, shown = _write_all(batches, kept, write)
            if follow and not found and not lines:
                return _nothing(look)
            if follow and until is None:
                click.echo("every process has ended", err=True)
            elif lines and not shown:
                click.echo(f"none of the {lines} lines is of those chosen by --level and --grep", err=True)
        return look.exit_code


def _nothing(look: Look) -> int:
    click.echo(f"no process of cluster {look.inventory.settings.cluster} has a log here", err=True)
    return look.exit_code


def _found(look: Look, choice: Choice) -> list[Source]:
    """The containers there are now, of those chosen; with them each node's clock, in a look of its own as it must be
    a short one."""
    from provision.diagnose import logs
    from provision.facts.docker import Containers
    from provision.facts.system import Clock

    look.session.observe(lambda node: [Containers(node.settings.cluster)])
    look.session.observe([Clock()])
    every = logs.sources(look.session)
    if every and not look.session.unreachable:
        choice.require_known(every)
    return [source for source in every if choice.holds(source.container)]


def _printed(found: Sequence[Source], part: Part) -> Iterator[list[LogLine]]:
    from provision.diagnose.logs import printed

    return printed(found, part)


def _followed(look: Look, choice: Choice, part: Part) -> Iterator[list[LogLine]]:
    from provision.diagnose.following import Watched, followed

    joins = {view.name: view for view in look.session.nodes}
    there = [Watched(name, partial(joins.__getitem__, name)) for name in joins]
    lost = [Watched(name, partial(look.join, name)) for name in look.session.unreachable]
    return followed([*there, *lost], choice.holds, part)


Write = Callable[[Sequence["LogLine"]], str]


def _writer(
    found: Sequence[Source], *, as_json: bool, fold: bool | None, stamps: bool
) -> tuple[Write, Callable[[], str]]:
    """What makes text of a batch, and of what is left at the end."""
    from provision.render import log_lines

    if as_json:
        return log_lines.json_lines(), str
    terminal = sys.stdout.isatty()
    plain = log_lines.Plain(
        [(source.node.name, source.container.process) for source in found],
        colour=terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
        width=shutil.get_terminal_size().columns if terminal else 0,
        stamps=stamps,
        folding=log_lines.Folding() if (terminal if fold is None else fold) else None,
    )
    return (lambda lines: plain.text(lines, clock.monotonic())), plain.rest


def _write_all(
    batches: Iterator[list[LogLine]],
    kept: Callable[[Sequence[LogLine]], list[LogLine]],
    write: tuple[Write, Callable[[], str]],
) -> tuple[int, int]:
    """How many lines there were, and how many of them were chosen."""
    text, rest = write
    lines = shown = 0
    for batch in batches:
        chosen = kept(batch)
        lines, shown = lines + len(batch), shown + len(chosen)
        _out(text(chosen))
    _out(rest())
    return lines, shown


def _out(text: str) -> None:
    if text:
        sys.stdout.write(text)
        sys.stdout.flush()
