"""``report``: a failure as an issue for GitHub, written to stdout or a file, for a person to read and send."""

from __future__ import annotations

from pathlib import Path

import click

from provision.cli.options import evidence_options
from provision.errors import UsageError


@click.command("report", short_help="Write an issue-ready report of a failure; nothing is sent.")
@evidence_options
@click.option("--github", is_flag=True, help="As Markdown for an issue on GitHub: the default, and the only form yet.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it to this file.")
@click.option("--anonymous", is_flag=True, help="Replace names of nodes and addresses, in logs too.")
def command(
    paths: tuple[Path, ...],
    inventory_path: Path | None,
    limit: str | None,
    nodes: tuple[str, ...],
    forks: int,
    run: str | None,
    github: bool,
    output: Path | None,
    anonymous: bool,
) -> int:
    """Write a report of a failure, ready to be pasted into an issue: versions, layout, commands, first cause, logs.

    Reads what `diagnose` reads: a live cluster (-i), an archive of `logs collect`, a recorded run (--run), or files of
    logs from anywhere. Values that look like secrets are masked. Nothing is sent to anybody.

    \b
    Examples:
      qnext-provision report --github -i cluster.yaml -o issue.md
      qnext-provision report --github prod-20260131T080000Z.tar.gz --anonymous
      qnext-provision report --github --run latest
    """
    from provision.cli.diagnose import addressed, evidence_of
    from provision.diagnose.examine import examine
    from provision.render.issue import hider, issue, title

    _require_folder(output)
    source = evidence_of(paths, inventory_path, limit=limit, nodes=nodes, run=run, forks=forks)
    diagnosis = addressed(examine(source.evidence), source)
    text = issue(source.evidence, diagnosis, anonymous=anonymous)
    if not diagnosis.failed:
        click.echo("note: no failure was found in what was looked at", err=True)
    if output is None:
        click.echo(text, nl=False)
        return 0
    _write(output, text)
    heading = title(diagnosis)
    heading = hider(source.evidence)(heading) if anonymous else heading
    _tell(output, text, heading)
    return 0


def _require_folder(output: Path | None) -> None:
    if output is not None and not output.absolute().parent.is_dir():
        raise UsageError(f"{output} can't be written: no such folder", hint="name a file in a folder that exists")


def _write(output: Path, text: str) -> None:
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        hint = "name a file in a folder that you may write"
        raise UsageError(f"{output} can't be written: {error.strerror}", hint=hint) from error


def _tell(output: Path, text: str, heading: str) -> None:
    """Where it is, and how it can be sent by who has read it."""
    from provision.shell import join

    click.echo(str(output))
    send = ["gh", "issue", "create", "--repo", "vllm-project/vllm-ascend"]
    send += ["--title", heading, "--body-file", str(output)]
    click.echo(f"{len(text):,} characters. Read it, then, to send it: {join(send)}", err=True)
