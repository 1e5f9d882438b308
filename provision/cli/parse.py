"""``parse KIND FILE``: any parser of the tool on a saved output: what a support engineer has in hand."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from provision.cli.options import print_json
from provision.errors import UsageError


@click.command("parse", short_help="Run a parser of tool outputs on a saved file.")
@click.argument("kind", required=False)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--list", "as_list", is_flag=True, help="The kinds there are.")
@click.option("--json", "as_json", is_flag=True, help="JSON (the default shows the same, as YAML).")
def command(kind: str | None, file: Path | None, as_list: bool, as_json: bool) -> None:
    """Run the parser KIND on FILE ("-": standard input) and show what it read, and what it could not read.

    \b
    Example:
      npu-smi info > out.txt; qnext-provision parse npu-smi-info out.txt --json
    """
    from provision.facts.kinds import KINDS

    if as_list or kind is None:
        for known in KINDS.values():
            click.echo(f"{known.name:24} {known.description}")
        return
    if kind not in KINDS:
        raise UsageError(f"no parser '{kind}'", hint=f"one of: {', '.join(KINDS)}")
    if file is None:
        raise UsageError("parse needs a file", hint=f"qnext-provision parse {kind} FILE, or - for standard input")
    value = KINDS[kind].to_json(KINDS[kind].parse(_read(file)))
    if as_json:
        print_json(value)
        return
    import yaml

    click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True), nl=False)


def _read(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.buffer.read().decode("utf-8", "replace")
    try:
        return file.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
