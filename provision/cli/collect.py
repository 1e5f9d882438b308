"""``logs collect``: one archive of all that tells why a cluster failed."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

import click

from provision import clock
from provision.amounts import size_text
from provision.cli.moments import EXAMPLES, moment
from provision.cli.nodes import looking
from provision.cli.options import node_options, print_json
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.diagnose.collecting import Collected, Progress
    from provision.diagnose.diagnosis import Diagnosis, Evidence
    from provision.diagnose.manifest import FileEntry, Manifest
    from provision.inventory.model import Inventory

SHOWN = 12
"""Lines about what is missing that are shown; the manifest has all."""

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?) ?([kMGT]?)i?B?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}


def _amount(context: click.Context, option: click.Parameter, value: str) -> int:
    """Bytes: ``64M``, ``1.5G``."""
    found = _AMOUNT.fullmatch(value.strip())
    count = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if count < 1000:
        raise click.BadParameter(f"'{value}' is not like 64M, 1.5G or 500k", context, option)
    return count


def _parts(context: click.Context, option: click.Parameter, value: str) -> frozenset[str]:
    from provision.diagnose.items import PARTS

    words = frozenset(word for word in value.replace(" ", "").split(",") if word)
    if unknown := sorted(words - set(PARTS)):
        raise click.BadParameter(f"no part '{unknown[0]}'; there are: {', '.join(PARTS)}", context, option)
    return words


def _since(context: click.Context, option: click.Parameter, value: str) -> str:
    """A time as ``logs --since`` takes it, as seconds since the epoch."""
    try:
        return f"{moment(value, clock.now()):.3f}" if value else ""
    except ValueError as error:
        raise click.BadParameter(str(error), context, option) from None


@click.command("collect", short_help="Make one archive of all logs and states, for later or for others.")
@node_options
@click.option(
    "-o",
    "--output",
    "target",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The archive. Default: CLUSTER-TIME.tar.gz in this folder.",
)
@click.option("--node", "nodes", multiple=True, help="Only this node; may be repeated.")
@click.option("--since", default="", callback=_since, metavar="TIME", help=f"Only what is newer: {EXAMPLES}.")
@click.option(
    "--max-file",
    callback=_amount,
    default="64M",
    metavar="SIZE",
    show_default=True,
    help="Of longer files the end is kept.",
)
@click.option(
    "--max-node", callback=_amount, default="512M", metavar="SIZE", show_default=True, help="Bytes of a node at most."
)
@click.option("--timeout", type=click.FloatRange(10), default=600, show_default=True, help="Seconds for each node.")
@click.option(
    "--without",
    default="",
    callback=_parts,
    metavar="A,B",
    help="Leave out: servers, plog, ray, kernel, driver, host, launch, npu, hccn.",
)
@click.option("--afresh", is_flag=True, help="Ask all nodes again, also those that an earlier call had whole.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout: archive, size, missing, diagnosis.")
def command(
    inventory_path: Path,
    limit: str | None,
    forks: int,
    verbose: int,
    target: Path | None,
    nodes: tuple[str, ...],
    since: str,
    max_file: int,
    max_node: int,
    timeout: float,
    without: frozenset[str],
    afresh: bool,
    as_json: bool,
) -> int:
    """Take from all nodes what tells why a cluster failed, and make one archive of it.

    What the servers said (running or ended), logs of CANN, of the driver and of the kernel, the state of NPUs, network
    and containers, versions, launch scripts, the inventory without its secrets, and the record of the last run.
    Nothing on the nodes is changed. MindCluster's ascend-fd reads the folder of each node.

    \b
    Examples:
      qnext-provision logs collect -i cluster.yaml
      qnext-provision logs collect -i cluster.yaml -o case-17.tar.gz --since 2h
      qnext-provision logs collect -i cluster.yaml --node atlas-3 --without npu,hccn
    """
    from provision.diagnose.archive import default_name, partial_path
    from provision.diagnose.collecting import Options, collect
    from provision.secrets import redact

    with looking(inventory_path, ",".join(nodes) or limit, forks, verbose) as look:
        cluster = look.inventory.settings.cluster
        target = (target or Path(f"{default_name(cluster)}.tar.gz")).absolute()
        _require_room_for(target)
        unreachable = {name: redact(error.message) for name, error in look.session.unreachable.items()}
        if not as_json:
            look.tell_unreachable()
        reporter = Reporter(len(look.session.nodes))
        options = Options(
            max_file=max_file,
            max_node=max_node,
            timeout=timeout,
            since=since,
            without=without,
            run=_latest_run(cluster),
            texts=texts_of(look.inventory),
            afresh=afresh,
        )
        hosts = [
            host
            for host in look.inventory.hosts
            if host.name in unreachable or any(node.name == host.name for node in look.session.nodes)
        ]
        try:
            got = collect(
                look.session,
                target,
                options,
                hosts=hosts,
                unreachable=unreachable,
                command=redact(" ".join(sys.argv[1:])),
                progress=reporter,
                finish=summaries,
            )
        except KeyboardInterrupt:
            reporter.end()
            click.echo(f"stopped; what has come is kept in {partial_path(target)}", err=True)
            click.echo(f"go on with: {_again(inventory_path, target)}", err=True)
            return 130
        reporter.end()
    if as_json:
        print_json(as_data(got))
    else:
        for line in told(got, _again(inventory_path, target)):
            click.echo(redact(line))
    return 4 if got.missing else 0


def _again(inventory_path: Path, target: Path) -> str:
    from provision.shell import quote

    return f"qnext-provision logs collect -i {quote(inventory_path)} -o {quote(target)}"


def _require_room_for(target: Path) -> None:
    """Refuse before any node is asked what can't be written."""
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}", hint="make it, or name another place with -o")
    free = shutil.disk_usage(target.parent).free
    if free < 50_000_000:
        hint = "make room, or name another place with -o"
        raise UsageError(f"{target.parent} has {size_text(free)} left, too little for an archive", hint=hint)


def _latest_run(cluster: str) -> Path | None:
    """The newest run directory of a run of this cluster that launched or watched something."""
    import json

    from provision.store.run_directory import state_folder

    folder = state_folder()
    for path in sorted(folder.iterdir(), reverse=True) if folder.is_dir() else ():
        try:
            record = json.loads((path / "run.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if path.is_dir() and not path.is_symlink() and isinstance(record, dict) and record.get("cluster") == cluster:
            return path
    return None


def texts_of(inventory: Inventory) -> dict[str, str]:
    """What of the controller's belongs into an archive: the inventory, without its secrets."""
    from provision.secrets import redacted_inventory

    try:
        text = Path(inventory.path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    return {"inventory.yaml": redacted_inventory(text)}


def summaries(evidence: Evidence, diagnosis: Diagnosis) -> Mapping[str, str]:
    """What an archive holds for those who read it without this program."""
    import json

    from provision.render.diagnosis import as_data as diagnosis_as_data
    from provision.render.issue import issue

    told = json.dumps(diagnosis_as_data(diagnosis), indent=1, ensure_ascii=False)
    return {"diagnosis.json": told + "\n", "report.md": issue(evidence, diagnosis)}


# ---- what is shown


class Reporter:
    """How far the nodes are: on a terminal one line that changes, else a line when a node has ended."""

    def __init__(self, nodes: int) -> None:
        from provision.clock import monotonic

        self._nodes: dict[str, Progress] = {}
        self._count = nodes
        self._began = monotonic()
        self._live = sys.stderr.isatty()
        self._over = False
        self._lock = Lock()

    def __call__(self, progress: Progress) -> None:
        with self._lock:
            self._nodes[progress.node] = progress
            if self._over:
                return
            if self._live:
                self._redraw()
            elif progress.done:
                click.echo(f"{_summary(progress)}{': ' + progress.doing if progress.doing else ''}", err=True)

    def end(self) -> None:
        """Take the line away; what nodes that are being left still say is not shown."""
        with self._lock:
            self._over = True
            if self._live:
                click.echo("\r\x1b[K", nl=False, err=True)
                self._live = False

    def _redraw(self) -> None:
        from provision.clock import monotonic

        seconds = max(monotonic() - self._began, 0.1)
        done = sum(one.done for one in self._nodes.values())
        total = sum(one.bytes for one in self._nodes.values())
        rest = [f"{one.node}: {one.doing}" for one in self._nodes.values() if not one.done]
        text = f"{done} of {self._count} nodes, {size_text(total)}, {size_text(total / seconds)}/s; {', '.join(rest)}"
        width = shutil.get_terminal_size().columns - 1
        click.echo("\r\x1b[K" + text[:width], nl=False, err=True)


def _summary(progress: Progress) -> str:
    return f"{progress.node}: {progress.files} files, {size_text(progress.bytes)}"


def told(got: Collected, again: str) -> Iterator[str]:
    """Where it is, what is missing, what it says, what to do next."""
    from provision.shell import quote

    nodes, files = len(got.manifest.nodes), sum(not file.problem or file.bytes > 0 for file in got.manifest.files)
    if got.resumed:
        yield f"already there from an earlier call: {_folded(got.resumed)} (--afresh asks again)"
    yield f"archive: {got.path} ({size_text(got.size)}; {files} files of {nodes} node{'s' * (nodes != 1)})"
    for name, why in got.missing.items():
        yield f"missing: {name}: {why}"
    lines = list(gaps(got.manifest))
    yield from lines[:SHOWN]
    if len(lines) > SHOWN:
        yield f"and {len(lines) - SHOWN} more: see manifest.json in the archive"
    yield got.diagnosis.sentence
    if got.partial:
        yield f"go on with what is missing: {again}"
    yield f"next: qnext-provision diagnose {quote(got.path)}"


def gaps(manifest: Manifest) -> Iterator[str]:
    """What was cut, and what could not be had; the same on several nodes in one line."""
    found: dict[str, list[str]] = {}
    for file in manifest.files:
        if text := _gap(file):
            found.setdefault(text, []).append(file.node)
    for text, nodes in found.items():
        yield f"{text} ({_folded(nodes)})" if any(nodes) else text


def _gap(file: FileEntry) -> str:
    name = file.path.partition("/")[2] if file.path.startswith("worker-") else file.path
    name = f"{file.kind} of the servers" if file.process and not file.bytes else name
    if file.cut and file.bytes:
        return f"cut: {name}: its last {size_text(file.bytes)} of {size_text(file.whole)}"
    if not file.problem or (file.kind == "state" and file.bytes and file.exit and "time limit" not in file.problem):
        return ""
    return f"{'incomplete' if file.bytes else 'not there'}: {name}: {file.problem}"


def _folded(nodes: tuple[str, ...] | list[str]) -> str:
    from provision.render.fold import fold

    return fold(node for node in nodes if node)


def as_data(got: Collected) -> dict[str, object]:
    """The document of ``--json``."""
    from provision.render.diagnosis import as_data as diagnosis_as_data

    return {
        "archive": str(got.path),
        "bytes": got.size,
        "nodes": [node.name for node in got.manifest.nodes],
        "missing": got.missing,
        "resumed": list(got.resumed),
        "partial": str(got.partial) if got.partial else None,
        "files": len(got.manifest.files),
        "gaps": list(gaps(got.manifest)),
        "diagnosis": diagnosis_as_data(got.diagnosis),
    }
