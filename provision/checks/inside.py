"""Trials in a container of the image: made as the launch scripts make theirs, run in the foreground, then removed.

The command has a deadline of its own inside of the container, so that one whose client was cut off ends by itself.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from provision.accel.protocol import ContainerRecipe, accelerator
from provision.actions import Run
from provision.checks import serving
from provision.checks.support import NPU_FACTS, containers, listed, numbered, span
from provision.diagnose import catalogue
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.facts.npu_smi import NpuSmi
from provision.findings import Finding
from provision.inventory.model import Settings
from provision.node import Node
from provision.results import ActionResult
from provision.serve.launch import Launch
from provision.serve.plan import Process
from provision.serve.render import TRIAL, render_trial

KILL_AFTER = 5
"""Seconds that a command may take to end once its deadline has told it to."""

STARTING = 60.0
"""Seconds that docker may take to start and remove a container, beyond the command's own time."""

TIMED_OUT = (124, 137)
"""Exit statuses of ``timeout``: it told the command to end, it had to kill it."""

EVIDENCE = "the run directory holds the script, which can be run by hand, and all that it said"

_NO_TERMINAL = ("bash: cannot set terminal process group", "bash: no job control in this shell")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    """What the functions below look at."""
    npus = NPU_FACTS if settings.hardware != "cpu" else ()
    return (*serving.facts(settings), Image(settings.install.ref), *npus)


def without_image(node: Node) -> str:
    """Why no container can be started on the node; empty where one can."""
    there = node.get(Image(node.settings.install.ref)).present
    return "" if there else "the image is not on the node yet: `qnext-provision up` brings it"


def occupied(node: Node, devices: Sequence[int]) -> str:
    """Why its devices cannot be had now; empty where they can."""
    value = containers(node)
    running = [container for container in value.containers if container.running]
    if running:
        trial = all(container.process.startswith(TRIAL) for container in running)
        return "another trial is under way there" if trial else "servers of this cluster run there"
    if not devices:
        return ""
    taken = {number for other in value.foreign for number in other.devices} & set(devices)
    if taken:
        return f"davinci {span(taken)} is in use: the check npu_free says by whom"
    places = {(die.npu, die.chip) for number, die in numbered(node).items() if number in devices}
    used = any((row.npu, row.chip) in places for row in node.get(NpuSmi()).processes)
    return "processes use its NPUs: the check npu_free says which" if used else ""


def command(
    made: Launch,
    node: Node,
    process: Process,
    argv: Sequence[str],
    *,
    name: str,
    title: str,
    seconds: float,
    devices: bool = True,
    env: Mapping[str, str] | None = None,
) -> Run:
    """The action that runs ``argv`` in a container like that of ``process``, with its devices or without any, for at
    most ``seconds``. ``env`` lies over the process's."""
    limited = ("timeout", "-k", str(KILL_AFTER), f"{seconds:.0f}", *argv)
    own = replace(
        process,
        name=f"{TRIAL}{name}-{secrets.token_hex(3)}",
        argv=limited,
        env={**process.env, **(env or {})},
        headless=True,
        api_port=None,
    )
    kind = accelerator(node.settings.hardware)
    recipe = kind.recipe(process.devices) if devices else ContainerRecipe()
    return Run(
        label=title.lower(),
        script=render_trial(made.plan, own, node.settings, recipe, title=title),
        deadline=seconds + KILL_AFTER + STARTING,
        ok_exits=tuple(range(256)),
        affects=frozenset(),
    )


def said(result: ActionResult) -> str:
    """All that it said, without the shell's complaints about a missing terminal."""
    lines = f"{result.stdout}\n{result.stderr}".splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith(_NO_TERMINAL))


def not_started(node: Node, result: ActionResult) -> Finding | None:
    """The finding where there was no container at all: a mount is missing, docker refuses."""
    text = said(result)
    refused = result.exit == 125 or " not started: " in text
    if not refused:
        return None
    last = next((line for line in reversed(text.splitlines()) if not line.startswith("See '")), "docker says nothing")
    known = catalogue.explain(text)
    return Finding(
        f"a container like that of the server does not start: {last.strip()[:200]}",
        known.remedy if known else EVIDENCE,
        node=node.name,
        expected="a container",
        observed=f"exit status {result.exit}",
    )


def left_out(reasons: Mapping[str, str]) -> str:
    """Reasons by node as a sentence: each once, with its nodes."""
    nodes: dict[str, list[str]] = {}
    for name, why in reasons.items():
        nodes.setdefault(why, []).append(name)
    return "; ".join(f"{listed(names)}: {why}" for why, names in nodes.items())


def untried(node: Node, reason: str) -> Finding:
    """Tells that a node was left out, and why."""
    return Finding(f"not tried on {node.name}: {reason}", "run the check again later", node=node.name, level="info")


def silent(node: Node, result: ActionResult, mark: str) -> Finding | None:
    """The finding where a command ended without having said ``mark``."""
    if mark in result.stdout:
        return None
    text = said(result)
    known = catalogue.explain(text)
    ended = "was not done in time" if result.exit in TIMED_OUT else f"ended with exit status {result.exit}"
    last = text.splitlines()[-1].strip()[:200] if text else "it said nothing"
    return Finding(
        f"what was to be told in a container {ended}: {last}",
        known.remedy if known else EVIDENCE,
        node=node.name,
        expected="an answer",
        observed=f"exit status {result.exit}",
    )
