"""``lint``: everything that can be known to be wrong without touching a node."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from provision.cli.options import inventory_option, json_option, load_hosts, print_json, reveal_secrets

if TYPE_CHECKING:
    from provision.findings import Finding

FAILED = 3
"""Exit status where a check fails [design, section 9]."""

_COLOURS = {"fail": "red", "warn": "yellow", "info": "cyan"}
_WIDEST = 120
_ENDLESS = 1_000_000


@click.command("lint", short_help="Check the inventory and the layout, touching no node.")
@inventory_option
@json_option
def command(inventory_path: Path, as_json: bool) -> int:
    """Check the inventory's syntax and types, every playbook, and whether the layout can work. No node is touched.

    Each finding has its code, its rule, the rule's source and a remedy. Exit status 3 where something can't work, 2
    where a file can't be read as what it should be; warnings alone give 0.

    \b
    Examples:
      qnext-provision lint -i cluster.yaml
      qnext-provision lint -i cluster.yaml --json
    """
    from provision.checks.runner import run_static
    from provision.cli.main import playbook_folders
    from provision.engine.header import playbooks
    from provision.engine.load import load_playbook

    inventory, _ = load_hosts(inventory_path, None)
    reveal_secrets(inventory)
    for path in playbooks(playbook_folders()).values():
        load_playbook(path, inventory)
    findings = run_static(inventory)
    failed = any(f.level == "fail" for f in findings)
    if as_json:
        print_json({"ok": not failed, "findings": _plain(findings), "warnings": list(inventory.warnings)})
    else:
        _show(inventory_path, len(inventory.hosts), findings, inventory.warnings)
    return FAILED if failed else 0


def _plain(findings: Iterable[Finding]) -> list[dict[str, object]]:
    """Findings as data, each with the rule of its code."""
    from provision.facts.kinds import as_data
    from provision.serve.rules.base import CODES

    return [{**cast("dict[str, object]", as_data(f)), "rule": CODES.get(f.code, "")} for f in findings]


def _show(path: Path, hosts: int, findings: Sequence[Finding], warnings: Sequence[str]) -> None:
    """Wrapped for a terminal; a line a sentence elsewhere, for those who search it."""
    from provision.secrets import redact

    width = min(_WIDEST, shutil.get_terminal_size().columns) if sys.stdout.isatty() else _ENDLESS
    for finding in sorted(findings, key=lambda f: (list(_COLOURS).index(f.level), f.code)):
        click.echo(redact("\n".join(_lines(finding, width))) + "\n")
    for warning in warnings:
        click.echo(f"{_level('warn')}  {redact(warning)}\n")
    click.echo(_summary(path, hosts, findings, warnings))


def _lines(finding: Finding, width: int) -> Iterable[str]:
    from provision.serve.rules.base import CODES

    lead = f"{finding.level:4}  {finding.code}  "
    first, *more = _wrapped(lead, finding.summary, width, indent=6)
    yield f"{_level(finding.level)}  {click.style(finding.code, bold=True)}  {first[len(lead) :]}"
    yield from more
    rule = CODES.get(finding.code, finding.check)
    told = (("waived", finding.waived), ("rule", rule), ("source", finding.source), ("remedy", finding.remedy))
    for name, text in told:
        if text:
            yield from _wrapped(f"      {name}: ", text, width)


def _wrapped(lead: str, text: str, width: int, indent: int | None = None) -> list[str]:
    """The text behind its lead, later lines aligned below the first, or indented. Words (paths, images) are never
    cut."""
    behind = " " * (len(lead) if indent is None else indent)
    return textwrap.wrap(
        text, width, initial_indent=lead, subsequent_indent=behind, break_long_words=False, break_on_hyphens=False
    )


def _level(level: str) -> str:
    return click.style(f"{level:4}", fg=_COLOURS.get(level))


def _summary(path: Path, hosts: int, findings: Sequence[Finding], warnings: Sequence[str]) -> str:
    fails = sum(finding.level == "fail" for finding in findings)
    warns = sum(finding.level == "warn" for finding in findings) + len(warnings)
    about = f"{path}: {hosts} host{'s' * (hosts != 1)}"
    if fails:
        return f"{about}, {_count(fails, 'failure')}, {_count(warns, 'warning')}: this can't work as it is"
    return f"{about}, {_count(warns, 'warning') if warns else 'no warning'}, nothing that can't work"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
