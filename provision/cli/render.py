"""``render``: the cluster as files, offline; run by hand they start the same cluster. No lock-in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from provision.cli.options import inventory_option, json_option, load_hosts, print_json
from provision.errors import UsageError

if TYPE_CHECKING:
    from provision.inventory.model import Settings
    from provision.serve.export.base import ExportFile
    from provision.serve.launch import Launch

FORMATS = ("scripts", "compose", "systemd", "lws")
_RESOURCE = r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_HEAD = 4096
"""Characters of a file in which its mark stands."""


@click.command("render", short_help="Write the launch as scripts, compose files, units or a manifest; offline.")
@inventory_option
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    default="scripts",
    show_default=True,
    help="scripts: POSIX sh. compose: Docker Compose, a file a node. systemd: units. lws: Kubernetes' LeaderWorkerSet.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder for the files and a README.txt; default: stdout."
)
@click.option("--force", is_flag=True, help="Overwrite files in the folder that render did not make.")
@click.option(
    "--build", is_flag=True, help="Instead: the scripts that build and install from source. With method source only."
)
@click.option("--npu-resource", metavar="NAME", help="What pods ask for. Default: huawei.com/Ascend910. With lws only.")
@json_option
def command(
    inventory_path: Path,
    kind: str,
    out: Path | None,
    force: bool,
    build: bool,
    npu_resource: str | None,
    as_json: bool,
) -> None:
    """Write what starts the cluster, for use without this tool. No node is touched, and no secret is written.

    Scripts are node<index>.<process>.sh, one a process; node indexes are in inventory order. Addresses come from
    qnext.data_address or ansible_host; where the interface is not named, it is found on the node.

    \b
    Examples:
      qnext-provision render -i cluster.yaml --out scripts/
      qnext-provision render -i cluster.yaml --format compose --out compose/
      qnext-provision render -i cluster.yaml --format systemd --out units/
      qnext-provision render -i cluster.yaml --format lws | kubectl apply -f -
      qnext-provision render -i cluster.yaml --build --out build/
    """
    from provision.facts.kinds import as_data
    from provision.serve.launch import declared

    _check_resource(kind, npu_resource)
    inventory, _ = load_hosts(inventory_path, None)
    if build:
        _give(_build_files(inventory.settings), out, {}, force=force, as_json=as_json)
        return
    launch = declared(inventory)
    files = _files(kind, launch, {host.name: host.settings for host in inventory.hosts}, npu_resource)
    scripts = {"scripts": {each.filename: each.text for each in launch.scripts}} if kind == "scripts" else {}
    _give(files, out, {"plan": as_data(launch.plan), **scripts}, force=force, as_json=as_json)


def _give(
    files: Sequence[ExportFile], out: Path | None, more: Mapping[str, object], *, force: bool, as_json: bool
) -> None:
    if as_json:
        print_json({**more, "files": {each.path: each.text for each in files}})
    elif out is None:
        _show(files)
    else:
        _write(out, files, force=force)


def _build_files(settings: Settings) -> tuple[ExportFile, ...]:
    """The scripts of a source install: one for the builder, then one for every node."""
    from provision.install.source import build_script, venv_script
    from provision.serve.export.base import ExportFile
    from provision.serve.source import resolve

    if settings.install.method != "source":
        raise UsageError("--build: qnext.install.method is image, so nothing is built", hint="leave it out")
    build = resolve(settings)
    return (
        ExportFile("build.sh", build_script(settings, build), executable=True),
        ExportFile("install.sh", venv_script(settings, build), executable=True),
    )


def _check_resource(kind: str, resource: str | None) -> None:
    if resource is None:
        return
    if kind != "lws":
        raise UsageError("--npu-resource is for --format lws", hint="leave it out, or add --format lws")
    if not re.fullmatch(_RESOURCE, resource):
        hint = "give it as your device plugin does: kubectl describe node, Allocatable"
        raise UsageError(f"--npu-resource: {resource!r} is no name of a resource (domain/name)", hint=hint)


def _files(kind: str, launch: Launch, settings: Mapping[str, Settings], resource: str | None) -> tuple[ExportFile, ...]:
    from provision.serve.export import compose, lws, scripts, systemd

    if kind == "lws":
        return lws.files(launch, settings, resource=resource or lws.RESOURCE)
    makers = {"scripts": scripts.files, "compose": compose.files, "systemd": systemd.files}
    return makers[kind](launch, settings)


def _show(files: Sequence[ExportFile]) -> None:
    """One file as it is, several with a line before each that names it."""
    shown = [each for each in files if each.path != "README.txt"]
    for each in shown:
        name = f"# ---- {each.path}\n" if len(shown) > 1 else ""
        click.echo(name + each.text, nl=len(shown) > 1)


# ---- into a folder


def _write(out: Path, files: Sequence[ExportFile], *, force: bool) -> None:
    try:
        foreign = [] if force else list(_foreign(out, files))
        if foreign:
            names = ", ".join(foreign)
            hint = "choose another folder, or overwrite them with --force"
            raise UsageError(f"{out} holds files that render did not make: {names}; nothing was written", hint=hint)
        out.mkdir(parents=True, exist_ok=True)
        left = list(_left_over(out, files))
        for each in files:
            _write_file(out / each.path, each)
    except OSError as error:
        raise UsageError(f"{error.filename or out}: {error.strerror}") from error
    for name in left:
        click.echo(f"note: {name} is of an earlier render, and no part of this one: remove it", err=True)


def _write_file(path: Path, file: ExportFile) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(file.text, encoding="utf-8")
    path.chmod(0o755 if file.executable else 0o644)
    click.echo(str(path))


def _foreign(out: Path, files: Sequence[ExportFile]) -> Iterator[str]:
    """Files in the way that are neither the same nor marked as ours; a companion is ours where our README names it."""
    told = _head(out / "README.txt", None)
    for file in files:
        path = out / file.path
        if not path.exists() or _is_marked(path) or _head(path, None) == file.text:
            continue
        if not (file.companion and _marked(told) and path.name in told):
            yield file.path


def _left_over(out: Path, files: Sequence[ExportFile]) -> Iterator[str]:
    """Our files of an earlier export that this one does not replace."""
    now = {file.path for file in files}
    for path in sorted([*out.glob("*"), *out.glob("node*/*")]):
        name = path.relative_to(out).as_posix()
        if name not in now and path.is_file() and _is_marked(path):
            yield name


def _is_marked(path: Path) -> bool:
    return _marked(_head(path, _HEAD))


def _marked(text: str) -> bool:
    from provision.serve.export.base import MARK

    return MARK in text


def _head(path: Path, limit: int | None) -> str:
    if not path.is_file():
        return ""
    with path.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(-1 if limit is None else limit)
