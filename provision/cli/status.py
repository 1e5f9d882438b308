"""``status``: the observed state of every process, as a table or JSON, once or again and again."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision import clock
from provision.cli.nodes import Look, looking
from provision.cli.options import json_option, node_options, print_json
from provision.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from provision.diagnose.diagnosis import Diagnosis
    from provision.evaluate.status import ClusterStatus, ProcessStatus

_WIDEST = 10_000
_LEAST = 8
"""Columns of the drift at least: a letter a line is no text."""
_ROOMY = 100
_REASONS = 3
"""Groups that have failed of which the reason is told."""
_ENDED = "exited with exit status"
_COLUMNS = ("rank", "api", "state", "age", "health", "devices", "image")


@click.command("status", short_help="Show every process of the cluster as it is: state, age, health, image, drift.")
@node_options
@click.option(
    "--watch",
    is_flag=False,
    flag_value=2.0,
    type=click.FloatRange(min=0.5),
    metavar="[SECONDS]",
    help="Look again and again.",
)
@json_option
def command(
    inventory_path: Path, limit: str | None, forks: int, verbose: int, watch: float | None, as_json: bool
) -> int:
    """Show every declared process and every container of this cluster, as observed now.

    Where something does not run, the logs of its group are read, and one line says why; `diagnose` proves it.

    Exit status 0 when the cluster is up as declared, or when nothing of it is there: it is down; 1 when something of it
    is there and it is not up as declared; 4 when a node could not be reached.

    \b
    Examples:
      qnext-provision status -i cluster.yaml
      qnext-provision status -i cluster.yaml --json
      qnext-provision status -i cluster.yaml --watch 5
    """
    if watch and as_json:
        raise UsageError("--watch and --json exclude each other")
    with looking(inventory_path, limit, forks, verbose) as look:
        if watch:
            _watch(look, watch)
            return look.exit_code
        found = _observe(look)
        why = _why(look, found) if found else []
        if as_json:
            print_json(_data(look, found, why))
        else:
            _print(look, found, why)
        return look.exit_code or (exit_code(found) if found else 0)


def exit_code(found: ClusterStatus) -> int:
    """0 where the cluster is up or down; 1 where something of it is there, and it is not up as declared."""
    return 0 if found.up or found.absent else 1


def _observe(look: Look) -> ClusterStatus | None:
    """The status, or None where no node could be reached."""
    from provision.evaluate import status

    if not look.session.nodes:
        return None
    look.session.observe(lambda node: status.facts(node.settings))
    return status.status(look.session, look.inventory, look.session.unreachable)


def _why(look: Look, found: ClusterStatus) -> list[Diagnosis]:
    """What the logs say of the groups that have failed, each by itself, as far as they say anything. Nothing is asked
    of the nodes where nothing of the cluster is there, or all that is there serves."""
    if found.absent or not any(process.failed for process in found.processes):
        return []
    from provision.diagnose import autopsy, live
    from provision.diagnose.examine import examine
    from provision.serve import launch

    lost = {name: error.message for name, error in look.session.unreachable.items()}
    hosts = [host for host in look.inventory.hosts if host.name in {*lost, *(node.name for node in look.session.nodes)}]
    evidence = live.observe(look.session, look.inventory, hosts=hosts, unreachable=lost)
    if found.problem:
        cases = [evidence]
    else:
        plan = launch.partly_observed(look.inventory, look.session).plan
        failed = {process.process for process in found.processes if process.failed and process.kind}
        units = [next(name for name in unit if name in failed) for unit in plan.units if failed & set(unit)]
        cases = [autopsy.together(evidence, plan, plan.process(name)) for name in units]
    return [told for told in map(examine, cases) if told.failed]


def _data(look: Look, found: ClusterStatus | None, why: Sequence[Diagnosis] = ()) -> object:
    from provision.cli.diagnose import with_inventory
    from provision.facts.kinds import as_data
    from provision.render.diagnosis import as_data as as_diagnosis

    data = as_data(found) if found else {"cluster": look.inventory.settings.cluster, "processes": []}
    assert isinstance(data, dict)
    unreachable = {name: {"reason": e.message, "hint": e.hint} for name, e in look.session.unreachable.items()}
    degraded = list(found.degraded) if found else []
    return {
        **data,
        "degraded": degraded,
        "up": bool(found and found.up and not unreachable),
        "unreachable": unreachable,
        "diagnosis": [as_diagnosis(with_inventory(told, look.inventory.path)) for told in why],
    }


def _print(look: Look, found: ClusterStatus | None, why: Sequence[Diagnosis] = ()) -> None:
    from provision.secrets import redact

    if found:
        show(_table(found))
        for line in (_sentence(found), *_reasons(why, look.inventory.path)):
            click.echo(_wrapped(redact(line)))
    look.tell_unreachable()


def _narrow() -> bool:
    return sys.stdout.isatty() and shutil.get_terminal_size().columns < _ROOMY


def _wrapped(text: str) -> str:
    """On a terminal broken between words; a command to be pasted never is."""
    if not sys.stdout.isatty() or text.startswith("proof: "):
        return text
    width = max(shutil.get_terminal_size().columns, 40)
    return textwrap.fill(text, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _reasons(why: Sequence[Diagnosis], inventory: str) -> Iterator[str]:
    """A line for each group that has failed, and where there is more."""
    from provision.shell import quote

    for told in why[:_REASONS]:
        yield f"why: {told.sentence}"
        if told.remedy:
            yield f"  remedy: {told.remedy}"
    if why:
        more = f"; {len(why) - _REASONS} more groups have failed" if len(why) > _REASONS else ""
        yield f"proof: qnext-provision diagnose -i {quote(inventory)}{more}"


def show(table: Table) -> None:
    """Print a table: a row is a line where it can be, in a pipe always; no cell but the last is ever cut or folded."""
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    needs = Measurement.get(console, console.options.update(width=_WIDEST), table)
    console.width = max(console.width, needs.minimum) if console.is_terminal else needs.maximum
    console.print(table)


def _watch(look: Look, seconds: float) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with suppress(KeyboardInterrupt), Live(auto_refresh=False, screen=True) as live:
        while True:
            found = _observe(look)
            stamp = Text(f"every {seconds:g} s, Ctrl-C ends", style="dim")
            shown = Group(_table(found, foldable=True), Text(_sentence(found)), stamp) if found else stamp
            live.update(shown, refresh=True)
            clock.sleep(seconds)


def _table(found: ClusterStatus, *, foldable: bool = False) -> Table:
    """``foldable``: narrow cells rather than lose columns."""
    from rich import box
    from rich.table import Table

    several = len(found.groups) > 1 or any(p.kind in ("router", "pool") for p in found.processes)
    gap = 0 if several or _narrow() else 1  # beside the box's own: two more columns shall fit a terminal too
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, gap, 0, 0))
    for column in ("node", *(("group", "role") if several else ()), "process", *_COLUMNS):
        table.add_column(column, no_wrap=not foldable, overflow="fold")
    table.add_column("drift", overflow="fold", min_width=_LEAST)
    for p in _by_group(found) if several else found.processes:
        state = p.state if p.exit_code is None else f"{p.state} ({p.exit_code})"
        good = p.state == "running" and not p.drift and p.health != "dead"
        style = "" if good else "yellow" if p.state == "running" else "red"
        row = (
            p.node,
            *((p.group or "-", _role(p)) if several else ()),
            p.process,
            "-" if p.rank is None else str(p.rank),
            str(p.api or "-"),
            state,
            age(p.age),
            p.health,
            devices(p.devices),
            p.image_id[7:19],
            _drift(p),
        )
        table.add_row(*row, style=style)
    return table


def _drift(process: ProcessStatus) -> str:
    """How it differs from what is declared; that it has ended stands under its state already."""
    texts = [text for text in process.drift if process.exit_code is None or not text.startswith(_ENDED)]
    return "; ".join(texts) or ("-" if process.drift else "none")


def _role(process: ProcessStatus) -> str:
    """What it does beside serving; of a router which one it is, as its process is called router already."""
    return process.router or process.role or (process.kind if process.kind != "server" else "") or "-"


def _by_group(found: ClusterStatus) -> list[ProcessStatus]:
    """The entry point first, then group by group, then what belongs to none."""
    order = {name: n for n, name in enumerate(name for group in found.groups for name in group.processes)}
    first, last = {"router": -2, "pool": -1}, len(order)
    return sorted(found.processes, key=lambda p: first.get(p.kind, order.get(p.process, last) if p.kind else last))


def _sentence(found: ClusterStatus) -> str:
    if found.problem:
        return f"not compared with the inventory: {found.problem}"
    running = sum(p.state == "running" for p in found.processes)
    count = f"{running} of {len(found.processes)} processes run"
    return f"{found.cluster}: {_state(found)}; {count}; {_answers(found)} at {found.endpoint}"


def _state(found: ClusterStatus) -> str:
    if found.up:
        return "up"
    if found.absent:
        return "down"
    if found.outage:
        return f"not up as declared: {found.outage}"
    lost = ", ".join(_lost(found, name) for name in found.degraded)
    return f"degraded: without {lost}" if lost else "not up as declared"


def _answers(found: ClusterStatus) -> str:
    """What a client finds at the endpoint."""
    return "nothing is answered" if found.absent or found.outage else found.served_name


def _lost(found: ClusterStatus, name: str) -> str:
    """A group with those of its processes that don't serve, where it has others."""
    missing = next((group.missing for group in found.groups if group.name == name), ())
    return name if not missing or missing == (name,) else f"{name} ({', '.join(missing)})"


def age(seconds: float | None) -> str:
    """Seconds as an operator reads them."""
    if seconds is None:
        return "-"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def devices(numbers: tuple[int, ...]) -> str:
    """Device numbers as ranges: 0-7,12."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(r[0]) if len(r) == 1 else f"{r[0]}-{r[-1]}" for r in runs) or "-"
