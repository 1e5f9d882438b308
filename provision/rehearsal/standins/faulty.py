"""Faults that any command of a node can have."""

from __future__ import annotations

from typing import NoReturn

from provision.clock import sleep
from provision.rehearsal.node import Node


def maybe_hang(node: Node, name: str) -> None:
    """Hang as long as ``command/<name>`` says: ``hang`` for ever, a number for so many seconds."""
    text = node.state.get(f"command/{name}")
    if text == "hang":
        wait_forever()
    elif text:
        sleep(float(text))


def wait_forever() -> NoReturn:
    """Until somebody ends the process."""
    while True:
        sleep(3600)
