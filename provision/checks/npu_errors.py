"""No NPU has had memory errors that could not be corrected, or other errors that its health does not show.

npu-smi is asked about each card: double-bit ECC errors since the counters were cleared, pages that were taken out of
use because of them, faulty chips, and error codes of dies that call themselves healthy. Such a die may serve for months
or fail tomorrow, so it's a warning; a query that hangs is the driver's fault and fails [domain 14.2, N07]. It takes
dozens of calls of 50 to 300 ms, one after the other, so it is thorough: ``check`` asks, ``up`` does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from provision.checks.base import CheckArgs, Finding
from provision.checks.npu_health import words
from provision.checks.support import (
    NPU_FACTS,
    CannotTell,
    Skip,
    ascend,
    hanging,
    listed,
    named,
    npu_smi,
    numbered,
    selected,
    without,
)
from provision.facts.base import Fact
from provision.facts.npu_detail import DieDetail, NpuDetail, NpuDetailValue
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N34"
LEVEL = "fail"
SCOPE = "node"
THOROUGH = True

applies = ascend

_TOLD_ELSEWHERE = ("its health is", "do not fit each other", "faulty chips", "does not support")
"""Problems of the answers that findings, or the check of the driver, tell; and what a kind of card hasn't got."""


class Args(CheckArgs):
    """How many errors are borne."""

    uncorrected: int = Field(0, ge=0, description="double-bit errors of a die, since its counters were cleared")
    isolated: int = Field(0, ge=0, description="pages of a die that were taken out of use for double-bit errors")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return *NPU_FACTS, NpuDetail()


def run(args: Args, node: Node) -> Iterable[Finding]:
    npu_smi(node)
    there, value = set(selected(node)), node.get(NpuDetail())
    if hanging([problem for problem in value.problems if problem.startswith("-m:")]):
        raise Skip("npu-smi info -m hangs")
    dies = {die.device: die for die in value.dies if die.device is not None and die.device in there}
    uncorrected = {n: die.ecc.uncorrected for n, die in dies.items() if die.ecc}
    isolated = {n: die.ecc.isolated for n, die in dies.items() if die.ecc}
    yield from _counted(node, uncorrected, args.uncorrected, "uncorrected (double-bit) memory errors")
    yield from _counted(node, isolated, args.isolated, "memory pages taken out of use for double-bit errors")
    yield from _hidden(node, dies)
    yield from _boards(node, value, dies)
    yield from _unread(value)
    if hung := hanging(value.problems):
        raise CannotTell("npu-detail", f"npu-smi info {hung}", node.name)


def _counted(node: Node, counts: dict[int, int], borne: int, what: str) -> Iterator[Finding]:
    for count in sorted({count for count in counts.values() if count > borne}, reverse=True):
        numbers = [number for number, own in counts.items() if own == count]
        card = next((die.npu for number, die in numbered(node).items() if number == numbers[0]), "CARD")
        yield Finding(
            f"{named(node, numbers)}: {count} {what}" + (" each" if len(numbers) > 1 else ""),
            f"`npu-smi info -t ecc -i {card}` tells whether they grow; have a card replaced whose count grows, or go "
            f"without: {without(node, numbers)}",
            expected=f"at most {borne}",
            observed=f"{count}",
            level="warn",
        )


def _hidden(node: Node, dies: dict[int, DieDetail]) -> Iterator[Finding]:
    """What the table's health doesn't show: an alarm that has come since, codes of a die that is OK."""
    table = numbered(node)
    for number, die in dies.items():
        well = number in table and table[number].health == "OK"
        if well and (die.codes or die.health not in (None, "OK")):
            yield Finding(
                f"{named(node, [number])}: health is {die.health or 'not told'}" + words(die),
                f"`npu-smi info -t health -i {die.npu} -c {die.chip}` tells whether it lasts; the driver's log "
                f"(msnpureport, dmesg) tells more; to go without: {without(node, [number])}",
                expected="OK, no error code",
                observed=" ".join([die.health or "unknown", *die.codes]),
                level="warn" if die.health in (None, "OK") else "fail",
            )


def _boards(node: Node, value: NpuDetailValue, dies: dict[int, DieDetail]) -> Iterator[Finding]:
    for board in value.boards:
        own = [number for number, die in dies.items() if die.npu == board.npu]
        if own and board.chip_faults:
            yield Finding(
                f"{named(node, own)}: the card counts {board.chip_faults} faulty chips",
                f"`npu-smi info -t board -i {board.npu}`; reboot, and replace the card if it stays so; to go without: "
                f"{without(node, own)}",
                expected="no faulty chip",
                observed=f"{board.chip_faults}",
                level="warn",
            )


def _unread(value: NpuDetailValue) -> Iterator[Finding]:
    """Answers that were given in time and could not be used: said, so that silence means health."""
    known = (*_TOLD_ELSEWHERE, "calls were not made") if hanging(value.problems) else _TOLD_ELSEWHERE
    rest = [p for p in value.problems if not hanging((p,)) and not any(word in p for word in known)]
    if rest:
        yield Finding(
            f"npu-smi told less than asked: {listed(rest, 2)}",
            "run `npu-smi info` with what stands before the colon on the node; `qnext-provision parse` reads answers",
            expected="health, ECC and board of every card",
            observed=listed(rest, 6),
            level="warn",
        )
