"""Launch scripts to be run by hand: ``node<index>.<process>.sh``, with the files that their processes read."""

from __future__ import annotations

from collections.abc import Mapping

from provision.inventory.model import Settings
from provision.serve import native
from provision.serve.export.base import MARK, ExportFile, companions, keepers, secret_lines
from provision.serve.launch import Launch
from provision.serve.plan import Process
from provision.serve.render import companion_path, readme


def files(launch: Launch, settings: Mapping[str, Settings]) -> tuple[ExportFile, ...]:
    """The scripts in the plan's order, each with its companions after it; at last the README."""
    found: list[ExportFile] = []
    for process, script in zip(launch.plan.processes, launch.scripts, strict=True):
        found.append(ExportFile(script.filename, script.text, executable=True))
        found += companions(process, _prefix(process))
    if launch.plan.processes:
        found += keepers(settings[launch.plan.processes[0].node], "")
    return (*found, ExportFile("README.txt", _readme(launch, settings)))


def _prefix(process: Process) -> str:
    return f"node{process.node_index}."


def _readme(launch: Launch, settings: Mapping[str, Settings]) -> str:
    lines = [*_places(launch, settings), *secret_lines(launch, settings), "", f"{MARK} --format scripts."]
    return readme(launch.plan, launch.scripts) + "\n".join(lines) + "\n"


def _places(launch: Launch, settings: Mapping[str, Settings]) -> list[str]:
    """Where each companion must lie before its script runs."""
    found = [
        f"  {_prefix(process)}{process.name}.{each.name} on {process.node}: "
        f"{companion_path(settings[process.node], process, each)}"
        for process in launch.plan.processes
        for each in process.files
    ]
    for node, own in settings.items():
        if native.is_native(own):
            found.append(f"  {native.KEEPER} on {node}: {native.keeper_path(own)}")
    return ["", "Before the scripts run, these files must lie where they mount them from:", "", *found] if found else []
