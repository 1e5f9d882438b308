"""``import``: an inventory from upstream's configurations, or from a command that is known to work."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from provision.cli.options import json_option, print_json
from provision.errors import ConfigError, ProvisionError, UsageError

if TYPE_CHECKING:
    from provision.findings import Finding
    from provision.serve.importing.recipe import Notes, Recipe
    from provision.serve.importing.script import Source

F = TypeVar("F", bound=Callable[..., Any])


def target_options(command: F) -> F:
    """--hosts, --hardware, --image, --cluster, -o, --force and --json: where it is to run, and where it is written."""
    for option in (
        json_option,
        click.option("--force", is_flag=True, help="Overwrite the file that -o names."),
        click.option(
            "-o", "--output", type=click.Path(path_type=Path), help="File to write, cluster.yaml; default: print it."
        ),
        click.option("--cluster", metavar="NAME", help="Name of the cluster; default: from the recipe."),
        click.option("--image", help="Container image; default: the recipe's, else the newest release known here."),
        click.option(
            "--hardware", type=click.Choice(["atlas-800-a2", "atlas-800-a3", "cpu"]), help="Default: by the recipe."
        ),
        click.option("--hosts", metavar="A,B,…", help="Names or addresses of the nodes, in the recipe's order."),
    ):
        command = option(command)
    return command


@click.group("import", short_help="Make an inventory of upstream's configurations, or of a working command.")
def command() -> None:
    """Make an inventory (cluster.yaml) of what others have written: the same environment, the same commands.

    What has no place in an inventory is named, never dropped silently. The result is checked as lint would, and its
    findings are shown. Exit status 3 where it can't work as it is, 2 where the recipe can't be read.
    """


@command.command("vllm-ascend", short_help="From one of vllm-ascend's nightly configurations.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--case", metavar="NAME", help="Which case of a single-node file that holds several.")
@target_options
def vllm_ascend_command(file: Path, case: str | None, **target: Any) -> int:
    """Read a configuration of vllm-ascend's nightly runs (tests/e2e/nightly of its repository): multi-node with
    deployment (internal data parallel) or templates (external), or single-node test_cases.

    \b
    Examples:
      qnext-provision import vllm-ascend Qwen3-235B-A22B.yaml \\
          --hosts 10.0.0.1,10.0.0.2 -o cluster.yaml
      qnext-provision import vllm-ascend Qwen3-Next-80B-A3B-Instruct-A2.yaml \\
          --case Qwen3-Next-80B-A3B-Instruct-aclgraph-8192-a2 -o cluster.yaml
    """
    from provision import yamlio
    from provision.serve.importing import vllm_ascend
    from provision.serve.importing.recipe import Notes

    notes = Notes()
    recipe = vllm_ascend.read(yamlio.read_text(file), str(file), notes, case=case)
    return _finish(recipe, notes, file.name, **target)


@command.command("docker-run", short_help="From a docker run or vllm serve command that works.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True), metavar="[FILE|-]…")
@target_options
def docker_run_command(files: tuple[Path, ...], **target: Any) -> int:
    """Read a working docker run … vllm serve …, or vllm serve with its exports, from files or from the standard input.

    Several servers, one after the other or in several files, are the nodes of one cluster: the head's command, then
    those with --headless. Nothing is run. Secrets are left out: their values are never written.

    \b
    Examples:
      qnext-provision import docker-run start.sh -o cluster.yaml
      qnext-provision import docker-run node0.sh node1.sh \\
          --hosts 10.0.0.1,10.0.0.2 -o cluster.yaml
      history | grep 'docker run' | qnext-provision import docker-run -
    """
    from provision.serve.importing import script
    from provision.serve.importing.recipe import Notes

    notes = Notes()
    sources = [_source(file) for file in files or (Path("-"),)]
    recipe = script.read(sources, notes, read_file=_read_beside(files[0] if files else Path("-")))
    return _finish(recipe, notes, ", ".join(source.name for source in sources), **target)


def _source(file: Path) -> Source:
    from provision import yamlio
    from provision.serve.importing.script import Source

    if str(file) != "-":
        return Source(str(file), yamlio.read_text(file))
    if sys.stdin.isatty():
        click.echo("Paste the commands, then press Ctrl-D:", err=True)
    try:
        return Source("standard input", sys.stdin.read())
    except UnicodeDecodeError:
        raise UsageError("the standard input is not UTF-8 text", hint="save it as UTF-8") from None


def _read_beside(file: Path) -> Callable[[str], str | None]:
    """Reads the files that a script names: from where one stands, or from beside the script."""

    def read(path: str) -> str | None:
        for folder in (Path(), file.parent):
            try:
                return (folder / path).read_text(encoding="utf-8", errors="replace")
            except (OSError, ValueError):
                continue
        return None

    return read


def _finish(
    recipe: Recipe,
    notes: Notes,
    source: str,
    *,
    hosts: str | None,
    hardware: Any,
    image: str | None,
    cluster: str | None,
    output: Path | None,
    force: bool,
    as_json: bool,
) -> int:
    """Compose, write, and judge what was written."""
    from provision.serve.importing.inventory import Target, inventory_of

    names = tuple(name.strip() for name in hosts.split(",") if name.strip()) if hosts is not None else ()
    target = Target(source, names, hardware, image or "", cluster or "")
    if output and output.exists() and not force:
        raise UsageError(f"{output} exists already", hint="choose another name, or --force to overwrite it")
    text = inventory_of(recipe, target, notes)
    findings, refused = _judged(text, str(output or "the inventory"))
    if output:
        _write(output, text)
    failed = refused is not None or any(finding.level == "fail" for finding in findings)
    if as_json:
        print_json(_as_data(text, output, notes, findings, refused))
    else:
        _show(text, output, recipe, notes, findings, refused)
        if output:
            _say_next(output, len(recipe.servers), notes, findings, addressed=bool(names or recipe.addresses))
    return 3 if failed else 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="choose a file that you may write") from error


def _judged(text: str, name: str) -> tuple[tuple[Finding, ...], ConfigError | None]:
    """What lint says of it; the error, of a file called ``name``, where it isn't even an inventory."""
    from provision.checks.runner import run_static
    from provision.inventory.load import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cluster.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            return run_static(load(path)), None
        except ConfigError as error:
            for each in (error, *error.others):
                each.where = replace(each.where, file=name) if each.where else None
            return (), error


def _as_data(
    text: str, output: Path | None, notes: Notes, findings: tuple[Finding, ...], refused: ProvisionError | None
) -> dict[str, object]:
    from provision.facts.kinds import as_data

    told = [{"text": str(note), "level": "warn" if note.warning else "info"} for note in notes.found]
    error = {"error": str(refused), "hint": refused.hint} if refused else {}
    written = {"written": str(output)} if output else {}
    return {**written, "inventory": text, "notes": told, "findings": [as_data(each) for each in findings], **error}


def _show(
    text: str,
    output: Path | None,
    recipe: Recipe,
    notes: Notes,
    findings: tuple[Finding, ...],
    refused: ConfigError | None,
) -> None:
    """The inventory on stdout unless it went to a file; all that is said of it on stderr."""
    from provision.cli.failure import lines

    if output is None:
        click.echo(text, nl=False)
    for note in notes.found:
        click.echo(f"{_level('warn' if note.warning else 'info')}  {note}", err=True)
    for finding in findings:
        click.echo(f"{_level(finding.level)}  {finding.code}  {finding.summary}", err=True)
        if finding.remedy:
            click.echo(f"      remedy: {finding.remedy}", err=True)
    if refused is not None:
        for line in lines(refused):
            click.echo(line, err=True)


def _say_next(output: Path, nodes: int, notes: Notes, findings: tuple[Finding, ...], *, addressed: bool) -> None:
    counts = ((nodes, "node"), (len(notes.found), "note"), (len(findings), "finding"))
    click.echo(f"{output}: " + ", ".join(f"{count} {what}{'s' * (count != 1)}" for count, what in counts))
    if not addressed:
        click.echo(f"next: give each host of {output} its address (ansible_host), or import again with --hosts; then")
    lead = "next:" if addressed else "     "
    click.echo(f"{lead} qnext-provision lint -i {output}; qnext-provision render -i {output} --out scripts/")


def _level(level: str) -> str:
    colours = {"fail": "red", "warn": "yellow", "info": "cyan"}
    return click.style(f"{level:4}", fg=colours.get(level))
