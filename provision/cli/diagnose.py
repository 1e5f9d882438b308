"""``diagnose``: what failed first, with proof and remedy; of a live cluster, an archive, a run, or any log files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from provision.cli.nodes import looking
from provision.cli.options import evidence_options, json_option, print_json
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.diagnose.diagnosis import Diagnosis, Evidence

_SOURCES = "give -i cluster.yaml, --run latest, or an archive, folder or files of logs; - reads stdin"
_NOTES = 5
"""Notes that are shown without ``-v``."""


@dataclass(frozen=True, slots=True)
class Source:
    """Evidence, and where it is from. ``words``: how the command line names it. ``unreachable``: nodes of a live
    cluster that could not be looked at, with why. ``inventory`` is empty where there is none."""

    evidence: Evidence
    words: str
    inventory: str = ""
    unreachable: Mapping[str, str] = field(default_factory=dict)

    @property
    def live(self) -> bool:
        return bool(self.inventory)


@click.command("diagnose", short_help="Say what failed first and what to do: of a cluster, an archive, or log files.")
@evidence_options
@json_option
@click.option("-v", "--verbose", is_flag=True, help="All lines that prove it, whole, and the whole chain.")
def command(
    paths: tuple[Path, ...],
    inventory_path: Path | None,
    limit: str | None,
    nodes: tuple[str, ...],
    forks: int,
    run: str | None,
    as_json: bool,
    verbose: bool,
) -> int:
    """Find the first cause of a failure in the logs of all processes, and say what proves it and what to do.

    Reads a live cluster (-i), an archive of `logs collect`, a recorded run (--run), or archives, folders and files of
    logs from anywhere. Changes nothing.

    Exit status 0 when nothing has failed, 1 when a failure was found, known or not; 4 when none was found and nodes of
    a live cluster could not be reached.

    \b
    Examples:
      qnext-provision diagnose -i cluster.yaml
      qnext-provision diagnose prod-20260131T080000Z.tar.gz
      qnext-provision diagnose --run latest
      qnext-provision diagnose node1.log node2.log /var/log/messages
      docker logs vllm 2>&1 | qnext-provision diagnose -
    """
    from provision.diagnose.examine import examine

    source = evidence_of(paths, inventory_path, limit=limit, nodes=nodes, run=run, forks=forks)
    diagnosis = addressed(examine(source.evidence), source)
    exit_code = _exit_code(diagnosis, source)
    if as_json:
        print_json(_data(diagnosis, source, exit_code))
    else:
        _print(diagnosis, source, verbose=verbose)
    return exit_code


def evidence_of(
    paths: Sequence[Path],
    inventory_path: Path | None,
    *,
    limit: str | None = None,
    nodes: Sequence[str] = (),
    run: str | None = None,
    forks: int = 64,
) -> Source:
    """The evidence that a command line names. Raises ``UsageError`` where it names none, or more than one kind.

    An inventory that only the environment names gives way to anything on the command line.
    """
    if paths or run is not None:
        _only_one(paths, run)
        for given, option in ((limit, "--limit"), (nodes, "--node")):
            if given:
                raise UsageError(f"{option} is for a live cluster", hint="leave it out, or give -i instead")
        return _from_disk(paths, run)
    if inventory_path is None:
        raise UsageError("nothing to diagnose", hint=_SOURCES)
    return _from_cluster(inventory_path, ",".join(nodes) or limit, forks)


def addressed(diagnosis: Diagnosis, source: Source) -> Diagnosis:
    """With the inventory's own path in the commands, for them to be pasted; of files that nobody knows the cluster of,
    without those that would read its logs again."""
    from dataclasses import replace

    if not source.live and not source.evidence.manifest.cluster:
        here = tuple(c for c in diagnosis.commands if not c.startswith("qnext-provision logs "))
        return replace(diagnosis, commands=here)
    return with_inventory(diagnosis, source.inventory) if source.live else diagnosis


def with_inventory(diagnosis: Diagnosis, inventory: str) -> Diagnosis:
    """With an inventory's own path in the commands, for them to be pasted."""
    from dataclasses import replace

    from provision.shell import quote

    own = f"-i {quote(inventory)}"
    return replace(diagnosis, commands=tuple(c.replace("-i cluster.yaml", own) for c in diagnosis.commands))


def _only_one(paths: Sequence[Path], run: str | None) -> None:
    context = click.get_current_context(silent=True)
    given = context.get_parameter_source("inventory_path") if context else None
    if given is ParameterSource.COMMANDLINE:
        raise UsageError("-i names a live cluster: it excludes files and --run", hint="give one of them")
    if paths and run is not None:
        raise UsageError("--run excludes other files", hint="give one of them")
    if Path("-") in paths and len(paths) > 1:
        raise UsageError("- is stdin, and can't be mixed with files", hint="give one of them")


def _from_disk(paths: Sequence[Path], run: str | None) -> Source:
    from provision.diagnose import opening
    from provision.shell import quote

    if run is not None:
        return Source(_of_run(run_folder(run)), f"--run {quote(run)}")
    if list(paths) == [Path("-")]:
        if sys.stdin.isatty():
            raise UsageError("stdin is a terminal", hint="docker logs x 2>&1 | qnext-provision diagnose -")
        return Source(opening.from_stream(sys.stdin.buffer), "-")
    return Source(opening.open_evidence(paths), " ".join(quote(str(path)) for path in paths))


def _of_run(folder: Path) -> Evidence:
    """What a run kept. Raises ``UsageError`` for one that kept no log, with how it ended instead."""
    from provision.diagnose import opening

    try:
        return opening.open_evidence([folder])
    except UsageError as error:
        if not error.message.startswith(("there is no log", f"the run {folder.name} has kept no logs")):
            raise
        ended = _record(folder).get("summary") or "it has not ended, or was cut off"
        hint = "the logs of servers that were there before it: qnext-provision diagnose -i cluster.yaml"
        other = next((path.name for path in reversed(_runs()) if (path / "evidence.tar.gz").is_file()), "")
        hint = f"the last one that kept logs: --run {other}" if other else hint
        raise UsageError(f"run {folder.name} kept no server's log: {ended}", hint=hint) from None


def _runs() -> list[Path]:
    """The folders of recorded runs, the newest last."""
    from provision.store.run_directory import state_folder

    return sorted(path.parent for path in state_folder().glob("*/run.json") if not path.parent.is_symlink())


def _record(folder: Path) -> Mapping[str, object]:
    """``run.json`` of a run; empty where it can't be read."""
    import json

    try:
        record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _last_failure(cluster: str) -> str:
    """How the last run of this cluster failed, if it did: servers that were never started say nothing."""
    for folder in reversed(_runs()):
        record = _record(folder)
        if record.get("cluster") != cluster:
            continue
        if record.get("exit_code") in (None, 0, 130):
            return ""
        kept = f" (qnext-provision diagnose --run {folder.name})" if (folder / "evidence.tar.gz").is_file() else ""
        return f"the last `{record.get('command')}` of {record.get('started')} {record.get('summary')}{kept}"
    return ""


def _from_cluster(inventory_path: Path, limit: str | None, forks: int) -> Source:
    from provision.cli.options import load_hosts
    from provision.diagnose import live
    from provision.shell import quote

    with looking(inventory_path, limit, forks, 0) as look:
        look.tell_unreachable()
        _, hosts = load_hosts(inventory_path, limit)
        lost = {name: error.message for name, error in look.session.unreachable.items()}
        found = live.observe(look.session, look.inventory, hosts=hosts, unreachable=lost)
    return Source(found, f"-i {quote(str(inventory_path))}", str(inventory_path), lost)


def run_folder(run: str) -> Path:
    """The folder of a recorded run: ``latest``, its id or name, or a path. Raises ``UsageError``."""
    from provision.store.run_directory import state_folder

    if "/" in run or Path(run, "run.json").is_file():
        if Path(run, "run.json").is_file():
            return Path(run)
        raise UsageError(f"{run}: this is no folder of a run", hint="it would hold run.json")
    base = state_folder()
    runs = _runs()
    if not runs:
        raise UsageError(f"no run is recorded in {base}", hint="QNEXT_STATE names another place")
    found = runs[-1:] if run == "latest" else [path for path in runs if run in (path.name, path.name[-6:])]
    if not found:
        near = ", ".join(path.name for path in runs[-3:])
        raise UsageError(f"no run '{run}' is recorded in {base}", hint=f"the last ones: {near}")
    return found[-1]


# ---- what is said


def _exit_code(diagnosis: Diagnosis, source: Source) -> int:
    if diagnosis.failed:
        return 1
    return 4 if source.live and any(node.missing for node in source.evidence.manifest.nodes) else 0


def _data(diagnosis: Diagnosis, source: Source, exit_code: int) -> dict[str, object]:
    from provision.diagnose.opening import notes
    from provision.render.diagnosis import as_data

    manifest = source.evidence.manifest
    lost = {node.name: node.missing for node in manifest.nodes if node.missing}
    said = [{"path": note.path, "text": note.text} for note in notes(source.evidence)]
    about = {"cluster": manifest.cluster, "taken": manifest.taken, "logs": len(source.evidence.logs)}
    return {**as_data(diagnosis), **about, "unreachable": lost, "notes": said, "exit_code": exit_code}


def _print(diagnosis: Diagnosis, source: Source, *, verbose: bool) -> None:
    from provision.render.diagnosis import lines
    from provision.secrets import redact

    terminal = sys.stdout.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if terminal and not verbose else 0
    report = f"qnext-provision report --github {source.words}" if _reports() and source.words != "-" else ""
    told = lines(diagnosis, colour=colour, width=width, verbose=verbose, report=report)
    click.echo(redact("\n".join(told)), color=colour)
    _print_notes(source, verbose=verbose)
    last = _last_failure(source.evidence.manifest.cluster) if source.live and not diagnosis.failed else ""
    if last:
        click.echo(redact(f"note: {last}"), err=True)


def _print_notes(source: Source, *, verbose: bool) -> None:
    """What is not whole, on stderr; equal words of many files once."""
    from provision.diagnose.opening import notes
    from provision.secrets import redact

    by_text: dict[str, list[str]] = {}
    for note in notes(source.evidence):
        by_text.setdefault(note.text, []).append(note.path)
    shown = list(by_text.items())[: None if verbose else _NOTES]
    for text, paths in shown:
        more = f" and {len(paths) - 3} more" if len(paths) > 3 and not verbose else ""
        where = ", ".join(paths if verbose else paths[:3]) + more
        click.echo(redact(f"note: {f'{where}: ' if where else ''}{text}"), err=True)
    if len(by_text) > len(shown):
        click.echo(f"note: {len(by_text) - len(shown)} more notes (-v shows them)", err=True)


def _reports() -> bool:
    from provision.cli.main import BUILT_IN

    return "report" in BUILT_IN
