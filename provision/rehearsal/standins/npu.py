"""The NPUs of a node as the driver would know them: health, memory, and who holds which die."""

from __future__ import annotations

import contextlib
import os
from typing import NamedTuple

from provision.rehearsal.node import Node
from provision.rehearsal.standins.process import alive, birth

HBM = 65536
"""MB of one die."""

_A3_BUSES = ("9D", "9F", "99", "9B", "95", "97", "91", "93", "8D", "8F", "89", "8B", "85", "87", "81", "83")
_A2_BUSES = ("C1", "C2", "81", "82", "01", "02", "41", "42")
_A3_POWER = ("166.9", "162.1", "160.9", "166.5", "170.5", "162.6", "165.0", "165.6")
_A2_POWER = ("101.8", "92.0", "102.0", "99.8", "98.6", "99.7", "103.5", "98.2")
PCI = {"atlas-800-a2": "d802", "atlas-800-a3": "d803"}
"""PCI device numbers, of vendor 19e5."""

HOLDING = "npu"
"""File in a container's folder: ``die pid MB name`` lines, written by the process that holds them."""


class Use(NamedTuple):
    """A process on a die; ``mb`` of its memory."""

    die: int
    pid: int
    name: str
    mb: int


class Die(NamedTuple):
    """One die: ``number`` is its davinci number; ``card`` and ``chip`` what npu-smi calls it."""

    number: int
    card: int
    chip: int
    health: str
    error_code: str
    power: str
    temperature: int
    bus: str
    aicore: int
    used: int


def lock_of(node: Node) -> str:
    """File with who asks the driver of a node: ``pid born``. Who is gone holds nothing."""
    return os.path.join(node.folder, "npu-tool")


def occupy(node: Node) -> bool:
    """Ask the driver as the only one; False while npu-smi or hccn_tool runs, which must not run side by side."""
    try:
        with open(lock_of(node), encoding="ascii") as file:
            pid, born = file.read().split()
    except (FileNotFoundError, ValueError):
        pid, born = "0", ""
    if int(pid) != os.getpid() and alive(int(pid), born):
        return False
    # On a full disk the driver still answers.
    with contextlib.suppress(OSError), open(lock_of(node), "w", encoding="ascii") as file:
        file.write(f"{os.getpid()} {birth(os.getpid())}\n")
    return True


def bus(node: Node, number: int) -> str:
    """PCI address of a die."""
    return f"0000:{(_A3_BUSES if node.on_a3 else _A2_BUSES)[number]}:00.0"


def power_of(node: Node, card: int) -> str:
    """Watts of a card."""
    return (_A3_POWER if node.on_a3 else _A2_POWER)[card]


def dies(node: Node) -> list[Die]:
    """All dies that the driver still sees; ``npu/<n>/missing`` takes one away."""
    held = uses(node)
    return [_die(node, n, held) for n in range(node.dies) if not node.state.get(f"npu/{n}/missing")]


def uses(node: Node) -> list[Use]:
    """Who holds dies: running containers, then foreign processes (``npu/<n>/process`` = ``name pid MB``)."""
    found = [use for folder in _folders(node) for use in _held_by(folder)]
    for number in range(node.dies):
        words = node.state.get(f"npu/{number}/process").split()
        if words and (pid := _foreigner(node, number, words)):
            found.append(Use(number, pid, words[0], int((words[2:3] or ["43266"])[0])))
    return sorted(found)


def _foreigner(node: Node, number: int, words: list[str]) -> int:
    """The pid of a foreign process: as given, or that of the one which the fault started; 0 when that has ended."""
    if len(words) > 1:
        return int(words[1])
    try:
        with open(process_file(node, f"npu/{number}/process"), encoding="ascii") as file:
            pid, born = file.read().split()
    except FileNotFoundError:
        return 4242
    return int(pid) if alive(int(pid), born) else 0


def process_file(node: Node, key: str) -> str:
    """Where the process that a fault started is written down."""
    return os.path.join(node.folder, "processes", key.replace("/", "-"))


def _die(node: Node, number: int, held: list[Use]) -> Die:
    per_card = 2 if node.on_a3 else 1
    card, chip = divmod(number, per_card)
    key = f"npu/{number}"
    busy = [use for use in held if use.die == number]
    idle = (3110 if chip == 0 else 2870) + number if node.on_a3 else 3314 + number % 3
    lacking = int(node.state.number("hbm/uneven")) if number == 0 and busy else 0
    return Die(
        number=number,
        card=card,
        chip=chip,
        health=node.state.get(f"{key}/health", "OK"),
        error_code=node.state.get(f"{key}/error_code", "80E01801"),
        power="-" if chip else power_of(node, card),
        temperature=int(node.state.number(f"{key}/temperature", 36 + number % 5)),
        bus=bus(node, number),
        aicore=12 if busy else 0,
        used=min(HBM, int(node.state.number(f"{key}/hbm_used", idle + max(0, sum(use.mb for use in busy) - lacking)))),
    )


def _folders(node: Node) -> list[str]:
    folders = (os.path.join(node.docker, "containers"), os.path.join(node.folder, "native"))
    return [os.path.join(folder, name) for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)]


def _held_by(folder: str) -> list[Use]:
    """What the processes of one container hold; a process that is gone holds nothing."""
    try:
        with open(os.path.join(folder, HOLDING), encoding="utf-8") as file:
            rows = [line.split() for line in file]
    except FileNotFoundError:
        return []
    return [Use(int(die), int(pid), name, int(mb)) for die, pid, mb, name in rows if birth(int(pid))]
