"""``parse KIND FILE``: any parser of the tool on a saved output: what a support engineer has in hand."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path

import click

from provision.cli.options import print_json
from provision.errors import ProvisionError, UsageError


@click.command("parse", short_help="Run a parser of tool outputs on a saved file.")
@click.argument("kind", required=False)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--list", "as_list", is_flag=True, help="The kinds there are.")
@click.option("--json", "as_json", is_flag=True, help="JSON (the default shows the same, as YAML).")
def command(kind: str | None, file: Path | None, as_list: bool, as_json: bool) -> None:
    """Run the parser KIND on FILE ("-": standard input) and show what it read, and what it could not read.

    The exit status is 0 where something was read, 1 where nothing of FILE is of that kind, 2 where it can't be opened.

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
        raise UsageError(f"no parser '{kind}'", hint=_which(kind, list(KINDS)))
    if file is None:
        raise UsageError("parse needs a file", hint=f"qnext-provision parse {kind} FILE, or - for standard input")
    text = _read(file)
    value = KINDS[kind].parse(text)
    _show(KINDS[kind].to_json(value), as_json)
    if KINDS[kind].read_nothing(value):
        raise ProvisionError(f"{_named(file)} holds nothing that {kind} reads", hint=_instead(text))


def _show(value: object, as_json: bool) -> None:
    if as_json:
        print_json(value)
        return
    import yaml

    from provision.secrets import redact_data

    click.echo(yaml.safe_dump(redact_data(value), sort_keys=False, allow_unicode=True), nl=False)


def _which(kind: str, kinds: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(kind, kinds, 1)
    return (f"did you mean '{close[0]}'? " if close else "") + f"one of: {', '.join(kinds)}"


def _instead(text: str) -> str:
    """What the text may be, found by trying."""
    from provision.accel.ascend.text import complaints
    from provision.facts.kinds import matching

    if not text.strip():
        return "it is empty: save the tool's output again, with `2>&1`, and see its exit status"
    if fits := matching(text):
        return f"it reads as {fits[0]}: qnext-provision parse {fits[0]} FILE; all kinds: parse --list"
    if said := complaints(text):
        return f"it is an error message: {said[0]}"
    return "give it the whole output of the command that `qnext-provision parse --list` names for the kind"


def _named(file: Path) -> str:
    return "standard input" if str(file) == "-" else str(file)


def _read(file: Path) -> str:
    if str(file) == "-":
        return _decoded(sys.stdin.buffer.read())
    try:
        return _decoded(file.read_bytes())
    except OSError as error:
        raise UsageError(
            f"{file}: {error.strerror}", hint="give the path of a file that you can read, or - for standard input"
        ) from error


def _decoded(raw: bytes) -> str:
    """Text of any bytes: UTF-8, or what a byte order mark says (Windows tools); what is neither becomes U+FFFD."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", "replace")
    return raw.decode("utf-8-sig", "replace")
