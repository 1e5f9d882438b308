"""``rehearse``: a practice cluster on this machine, for learning the tool and for trying a runbook before the night."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click

from provision.cli.options import json_option, print_json
from provision.errors import UsageError

folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    default=Path(".qnext/rehearsal"),
    show_default=True,
    help="Folder that holds the practice cluster.",
)
nodes_option = click.option(
    "--nodes", default=2, show_default=True, type=click.IntRange(1, 64), help="Number of nodes."
)
hardware_option = click.option(
    "--hardware",
    default="a3",
    show_default=True,
    type=click.Choice(["a2", "a3", "cpu"]),
    help="What the nodes look like.",
)
port_option = click.option(
    "--port", default=2222, show_default=True, type=click.IntRange(1024, 65535), help="Port of the nodes' SSH servers."
)


@click.group("rehearse", short_help="Run a practice cluster on this machine, with faults on demand.")
def command() -> None:
    """Run a practice cluster on this machine: real SSH, a real shell, real files and processes; stand-ins for the NPU
    tools, docker and vLLM that keep the real ones' rules. Needs no root and no NPU.

    \b
    Example:
      qnext-provision rehearse up
      qnext-provision up -i .qnext/rehearsal/cluster.yaml
      qnext-provision rehearse fault node2 npu/3/health Alarm
      qnext-provision rehearse down
    """


@command.command("up")
@folder_option
@nodes_option
@hardware_option
@port_option
def up(folder: Path, nodes: int, hardware: str, port: int) -> None:
    """Make and start a practice cluster; one that runs is left as it is.

    \b
    Example:
      qnext-provision rehearse up --nodes 4 --hardware a2
    """
    info = _module("cluster").up(folder, nodes, hardware, port=port)
    if (len(info.nodes), info.port) != (nodes, port):
        was = f"{len(info.nodes)} node{'s' * (len(info.nodes) != 1)} on port {info.port}"
        click.echo(f"note: it was made before, with {was}, and stays so until rehearse down", err=True)
    click.echo(f"accepting connections: {', '.join(info.nodes)}")
    click.echo(f"inventory: {_shown(info.inventory)}")
    click.echo(f"next: {_command('up', '-i', _shown(info.inventory))}")


@command.command("down")
@folder_option
def down(folder: Path) -> None:
    """End everything of the practice cluster and remove its folder.

    \b
    Example:
      qnext-provision rehearse down
    """
    _module("cluster").down(folder)
    click.echo("nothing of the practice cluster is left")


@command.command("status")
@folder_option
@json_option
def status(folder: Path, as_json: bool) -> None:
    """Show the practice nodes, their containers and their faults.

    \b
    Example:
      qnext-provision rehearse status --json
    """
    from provision.facts.kinds import as_data

    found = _module("cluster").status(folder)
    if as_json:
        print_json([as_data(node) for node in found])
        return
    for node in found:
        state = "accepts connections" if node.accepting else "refuses connections"
        click.echo(f"{node.name}  {node.address}:{node.port}  {node.hardware}  {state}")
        click.echo(f"    containers: {', '.join(node.containers) or 'none'}")
        click.echo(f"    faults: {', '.join(node.faults) or 'none'}")


@command.command("package")
@click.argument("kind", type=click.Choice(["driver", "firmware", "toolkit", "ops", "nnal"]))
@click.argument("version")
@hardware_option
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path(), help="Folder to write it to. Default: this one."
)
def package(kind: str, version: str, hardware: str, out: Path) -> None:
    """Write a practice package of driver, firmware or CANN, which only practice nodes can install, and print what the
    inventory needs: an entry of qnext.install.packages.

    \b
    Example:
      qnext-provision rehearse package driver 25.5.2
    """
    import hashlib

    from provision.install.driver import file_name

    path = out / file_name(kind, f"atlas-800-{hardware}", version, "aarch64")  # type: ignore[arg-type]  # click has checked that it is a Kind
    text = _module("standins.ascend_package").text(kind, version)
    path.write_text(text)
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    click.echo(f"- {{kind: {kind}, path: {path.absolute()}, sha256: {sha256}}}")


@command.command("fault")
@folder_option
@click.option("--clear", is_flag=True, help="Mend it.")
@click.option("--list", "as_list", is_flag=True, help="The faults there are.")
@click.argument("node", required=False)
@click.argument("key", required=False)
@click.argument("value", required=False)
def fault(folder: Path, clear: bool, as_list: bool, node: str | None, key: str | None, value: str | None) -> None:
    """Break something on a practice NODE, or mend it with --clear.

    \b
    Examples:
      qnext-provision rehearse fault --list
      qnext-provision rehearse fault node2 npu/3/health Alarm
      qnext-provision rehearse fault node2 npu/3/health --clear
    """
    faults = _module("faults")
    if as_list:
        wide = max(len(known.values) for known in faults.FAULTS)
        for known in faults.FAULTS:
            click.echo(f"{known.key:34} {known.values:{wide}} {known.effect}")
        return
    if node is None or key is None or (value is None and not clear):
        raise UsageError(
            "fault needs NODE, KEY and VALUE", hint="rehearse fault --list shows the keys and their values"
        )
    if clear:
        faults.clear_fault(folder, node, key)
    else:
        faults.set_fault(folder, node, key, value)
    click.echo(f"{node}: {key} {'mended' if clear else f'is {value}'}")


@command.command("try")
@folder_option
@nodes_option
@hardware_option
@port_option
def try_(folder: Path, nodes: int, hardware: str, port: int) -> int:
    """Start a practice cluster, bring it up and prove it: the whole main job in one command.

    \b
    Example:
      qnext-provision rehearse try
    """
    info = _module("cluster").up(folder, nodes, hardware, port=port)
    inventory = _shown(info.inventory)
    click.echo(f"accepting connections: {', '.join(info.nodes)}; now: {_command('up', '-i', inventory)}\n")
    status = subprocess.run([sys.executable, "-m", "provision", "up", "-i", inventory], check=False).returncode
    if status == 0:
        click.echo("\nNext:")
        for words in (["status"], ["verify"], ["logs", "--tail", "5"], ["up"], ["down"]):
            click.echo(f"  {_command(*words, '-i', inventory)}")
        click.echo(f"  {_command('rehearse', 'fault', '--list')}")
        click.echo(f"  {_command('rehearse', 'down', *_folder_words(folder))}")
    return status


def _module(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(f"provision.rehearsal.{name}")
    except ModuleNotFoundError as error:
        if error.name and not error.name.startswith("asyncssh"):
            raise
        raise UsageError(
            "the practice cluster needs asyncssh", hint="pip install 'qnext-provision[rehearsal]'"
        ) from error


def _folder_words(folder: Path) -> tuple[str, ...]:
    return () if folder == Path(".qnext/rehearsal") else ("--dir", str(folder))


def _shown(path: Path) -> str:
    """A path as the operator would type it from here."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _command(*words: str) -> str:
    """The command line that runs us as we were run."""
    program = sys.argv[0] if Path(sys.argv[0]).name == "qnext-provision" else "qnext-provision"
    return shlex.join([_shown(Path(program).absolute()) if "/" in program else program, *words])
