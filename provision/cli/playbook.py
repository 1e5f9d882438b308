"""A playbook as a command: its params are the options, its summary the help."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from provision.cli.options import (
    forks_option,
    inventory_option,
    limit_option,
    print_json,
    reveal_secrets,
    verbose_option,
)
from provision.engine.grammar import Header, Param
from provision.engine.header import read_header
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.errors import ProvisionError
    from provision.events import Sink
    from provision.inventory.model import Host, Inventory
    from provision.node import Cluster

OUTPUTS = ("auto", "live", "plain", "jsonl")


def playbook_command(path: Path) -> click.Command:
    """The command of one playbook file."""
    header = read_header(path)

    def run(**options: Any) -> int:
        return _run(header, **options)

    command = click.Command(header.name, callback=run, help=_help(header), short_help=header.summary)
    command.params = [*_shared(), *(_param(p) for p in header.params), _yes(header)]
    return command


def _yes(header: Header) -> click.Option:
    """Every playbook takes ``--yes``, so that a script need not know which of them ask."""
    text = "Do not ask for the cluster's name to be typed." if header.confirm else "Do not ask after the plan is shown."
    return click.Option(["--yes"], is_flag=True, help=text, hidden=not (header.confirm or header.preview))


def _help(header: Header) -> str:
    example = f"\b\nExample:\n  qnext-provision {header.name} -i cluster.yaml"
    doc = header.doc.replace("\n\n  ", "\n\n\b\n  ")  # lines that are set off are examples: kept as they are
    return "\n\n".join(part for part in (header.summary + ".", doc, example) if part)


def _shared() -> list[click.Parameter]:
    """The options that every playbook has, as click parameters."""

    @inventory_option
    @limit_option
    @click.option("--check", is_flag=True, help="Plan only: show what would change, change nothing.")
    @click.option("--diff", is_flag=True, help="Show file changes as unified diffs.")
    @click.option("-t", "--tags", default="", metavar="A,B", help="Only tasks with one of these tags.")
    @click.option("--skip-tags", default="", metavar="A,B", help="Not tasks with one of these tags.")
    @click.option(
        "-o", "--output", type=click.Choice(OUTPUTS), default="auto", show_default=True, help="How progress is shown."
    )
    @click.option("--json", "as_json", is_flag=True, help="One JSON report on stdout at the end, for scripts.")
    @click.option(
        "--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a self-contained HTML page."
    )
    @click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write a JUnit file, for CI.")
    @forks_option
    @verbose_option
    def shared(**_: Any) -> None: ...

    return list(reversed(getattr(shared, "__click_params__")))  # noqa: B009 - click's own way to hand options on


def _param(param: Param) -> click.Option:
    kinds: dict[str, Any] = {"int": click.INT, "float": click.FLOAT, "string": click.STRING, "list": click.STRING}
    flag = "--" + param.name.replace("_", "-")
    if param.type == "bool":
        return click.Option([f"{flag}/--no-{flag[2:]}", param.name], default=bool(param.default), help=param.help)
    kind = click.Choice([str(c) for c in param.choices]) if param.type == "choice" else kinds[param.type]
    if param.min is not None:
        kind = click.IntRange(min=int(param.min)) if param.type == "int" else click.FloatRange(min=param.min)
    return click.Option(
        [flag, param.name],
        type=kind,
        default=param.default if param.type != "list" else None,
        multiple=param.type == "list",
        required=param.required,
        help=param.help,
        show_default=param.default is not None,
    )


def _run(
    header: Header,
    *,
    inventory_path: Path,
    limit: str | None,
    check: bool,
    diff: bool,
    tags: str,
    skip_tags: str,
    output: str,
    as_json: bool,
    html: Path | None,
    junit: Path | None,
    forks: int,
    verbose: int,
    yes: bool,
    **given: Any,
) -> int:
    from provision.cli.options import load_hosts
    from provision.cli.report import as_data
    from provision.emitter import Emitter
    from provision.engine.header import resolve_params
    from provision.engine.load import load_playbook
    from provision.engine.run import RunOptions, execute
    from provision.events import Note
    from provision.render.output import sink
    from provision.store.durations import usual
    from provision.store.run_directory import RunDirectory
    from provision.transport.pool import Pool

    inventory, hosts = load_hosts(inventory_path, limit)
    params = resolve_params(header, {k: _listed(v) if isinstance(v, tuple) else v for k, v in given.items()})
    _refuse_unknown_checks(header, params)
    playbook = load_playbook(header.path, inventory)
    _refuse_part_of_a_whole(header, inventory, hosts, limit)
    if header.lint:
        refuse_impossible(inventory)
        reveal_secrets(inventory)
    if header.confirm and not check:
        confirm(inventory.settings.cluster, header, hosts, yes=yes)
    directory = RunDirectory.create(header.name, inventory, argv=sys.argv)
    stop = threading.Event()
    previewed = bool(header.preview and params.get(header.preview)) and not check
    options = RunOptions(
        mode="plan" if check else "apply",
        diff=diff,
        tags=_words(tags),
        skip_tags=_words(skip_tags),
        allow_unreachable=header.unreachable == "continue",
        forks=forks,
        stop=stop,
        command=header.name,
        run=directory.run,
        directory=str(directory.path),
        usual=partial(usual, directory.path.parent),
        on_failure=partial(_evidence, inventory, directory.path) if header.evidence else None,
    )
    preview = replace(options, mode="plan", tags=(header.preview,), skip_tags=())

    def screen() -> Sink:
        kind = "plain" if as_json and output == "auto" else output
        return sink(kind, stdout=sys.stdout, stderr=sys.stderr, verbose=verbose, diff=diff)

    with closing(directory), interruptible(stop), Pool(hosts, max_connects=forks, stop=stop) as pool:
        if previewed:
            with Emitter([screen()]) as emitter:
                plan = execute(playbook, inventory, hosts, params=params, options=preview, pool=pool, emitter=emitter)
            planned = sum(outcome.changed for outcome in plan.outcomes)
            if stop.is_set() or (planned and not agreed(planned, header, yes=yes)):
                return plan.exit_code
        with Emitter([directory, screen(), *report_files(html, junit)]) as emitter:
            for warning in inventory.warnings:
                emitter.emit(Note(text=warning, level="warn"))
            report = execute(playbook, inventory, hosts, params=params, options=options, pool=pool, emitter=emitter)
        counters = pool.counters()
    if as_json:
        print_json(as_data(report, header.name, options.mode, str(directory.path), counters))
    return report.exit_code


EVIDENCE_TIMEOUT = 60.0
"""Seconds that a node may take to tell why a run failed: what tells most comes first."""

EVIDENCE_TOOLS = 10
"""Seconds of them for npu-smi and hccn_tool."""


def _evidence(
    inventory: Inventory, folder: Path, cluster: Cluster, errors: Sequence[ProvisionError]
) -> Mapping[str, str]:
    """Collect into the run directory what the nodes tell. Whatever goes wrong here, the failure itself is told."""
    from provision.amounts import size_text
    from provision.cli.collect import summaries, texts_of
    from provision.diagnose.collecting import Options, kept
    from provision.errors import Interrupted, Unreachable
    from provision.events import Note
    from provision.shell import quote
    from provision.store.run_directory import state_folder

    lost = {error.node: error.message for error in errors if isinstance(error, Unreachable) and error.node}
    text = f"collecting what the nodes tell of it, for {EVIDENCE_TIMEOUT:.0f} s at most"
    cluster.tell(Note(text=text))
    try:
        limits = Options(
            max_file=16_000_000,
            max_node=64_000_000,
            timeout=EVIDENCE_TIMEOUT,
            tools=EVIDENCE_TOOLS,
            brief=True,
            texts=texts_of(inventory),
        )
        told = next((str(error) for error in errors), "")
        got = kept(cluster, folder, limits, error=told, unreachable=lost, finish=summaries)
    except Interrupted:
        raise
    except Exception as error:  # a defect here must not hide why the run failed
        cluster.tell(Note(text=f"it could not be collected: {type(error).__name__}: {error}", level="warn"))
        return {}
    without = f", without {', '.join(got.missing)}" if got.missing else ""
    here = folder.parent == state_folder()  # then its short id will do, and stay on one line of a terminal
    which = f"--run {folder.name[-6:]}" if here else quote(got.path)
    return {
        "evidence": f"{got.path} ({size_text(got.size)}){without}",
        "diagnose": f"qnext-provision diagnose {which}",
    }


def _listed(values: Iterable[str]) -> list[str]:
    """What a repeated option was given, commas too: ``--only N07,N13 --only disk``."""
    return [word for value in values for word in _words(value)]


def _refuse_unknown_checks(header: Header, params: Mapping[str, Any]) -> None:
    """Raise ``ConfigError`` for a name that no check has, before any connection."""
    named = {param.name: params[param.name] for param in header.params if param.of == "check" and params[param.name]}
    if named:
        from provision.checks.policy import require_known

        for name, words in named.items():
            require_known(words, "--" + name.replace("_", "-"))


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.replace(" ", "").split(",") if word)


def _refuse_part_of_a_whole(header: Header, inventory: Inventory, hosts: Sequence[Host], limit: str | None) -> None:
    """A layout spans all hosts: launching a part of it would start another cluster than the inventory declares. Only
    replicas stand alone."""
    alone = inventory.settings.serve.topology in ("single", "replicas")
    if not header.whole or len(hosts) == len(inventory.hosts) or alone:
        return
    left_out = ", ".join(h.name for h in inventory.hosts if h not in hosts)
    raise UsageError(
        f"--limit {limit} leaves out {left_out}, which the {inventory.settings.serve.topology} layout needs",
        hint=f"run {header.name} without --limit; check and status take one",
    )


def agreed(planned: int, header: Header, *, yes: bool) -> bool:
    """Whether what was shown shall be done. Raises ``UsageError`` where there is nobody to ask."""
    if yes:
        return True
    actions = f"{planned} action{'s' * (planned != 1)}"
    if not sys.stdin.isatty():
        raise UsageError(
            f"{header.name} would perform {actions}, and there is no terminal to ask", hint="look, then pass --yes"
        )
    return click.confirm(f"Perform {actions}?", default=False, err=True)


def report_files(html: Path | None, junit: Path | None) -> list[Sink]:
    """The sinks of ``--html`` and ``--junit``. Raises ``UsageError`` where such a file can't be written."""
    sinks: list[Sink] = []
    if html:
        from provision.render.html import HtmlReport

        sinks.append(HtmlReport(_writable(html)))
    if junit:
        from provision.render.junit import JUnit

        sinks.append(JUnit(_writable(junit)))
    return sinks


def _writable(path: Path) -> Path:
    """``path``, proven writable before a long run rather than after it."""
    try:
        with path.open("a", encoding="utf-8"):
            return path
    except OSError as error:
        raise UsageError(
            f"{path} can't be written: {error.strerror}", hint="name a file in a folder that exists"
        ) from error


def refuse_impossible(inventory: Inventory) -> None:
    """Raise ``LayoutError`` where the declared layout can't work, before any connection."""
    from provision.checks.runner import run_static
    from provision.errors import LayoutError

    errors = [LayoutError(f"{f.code}: {f.summary}", hint=f.remedy) for f in run_static(inventory) if f.level == "fail"]
    if errors:
        raise LayoutError(errors[0].message, hint=errors[0].hint, others=errors[1:])


def confirm(cluster: str, header: Header, hosts: Sequence[Host], *, yes: bool) -> None:
    """Ask for the cluster's name to be typed, before any connection; anything else, or no terminal, refuses."""
    if yes:
        return
    names = ", ".join(h.name for h in hosts)
    if not sys.stdin.isatty():
        raise UsageError(
            f"{header.name} of cluster {cluster} on {names} needs a confirmation, and there is no terminal to ask",
            hint="pass --yes",
        )
    click.echo(f"{header.summary}.\nCluster {cluster}, on {names}.", err=True)
    typed = click.prompt("Type the cluster's name to go on", default="", show_default=False, err=True)
    if typed.strip() != cluster:
        raise UsageError(f"'{typed.strip()}' is not the cluster's name: nothing was done")


@contextmanager
def interruptible(stop: threading.Event) -> Iterator[None]:
    """Ctrl-C or SIGTERM once: stop cleanly. Twice: leave at once."""

    def on_signal(signum: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("\nstopping: ending what is under way, keeping evidence; again: leave now", err=True)

    before = {s: signal.signal(s, on_signal) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
