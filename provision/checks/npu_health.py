"""Every NPU that is to be used is healthy, and not too hot.

Anything but OK is refused, with the error codes and their texts as far as npu-smi knows them. A die whose health cannot
be read is left out of npu-smi's table by the tool itself [samples/npu FIELDS, Health]. The table tells health and
temperature of all dies in one call; codes cost calls of their own and are only asked for where a die is not well.
Memory errors are told by ``npu_errors``. The maker gives no temperature here: the driver alarms by itself when it
matters, this warns before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from provision.accel.ascend.npu_smi import Die
from provision.checks.base import CheckArgs, Finding
from provision.checks.support import NPU_FACTS, ascend, named, numbered, selected, without
from provision.facts.base import Fact
from provision.facts.npu_detail import DieDetail, NpuDetail
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N07"
LEVEL = "fail"
SCOPE = "node"

applies = ascend


class Args(CheckArgs):
    """When a healthy die is too hot."""

    hot: int = Field(85, ge=1, description="warn from this temperature of a die on, in degrees Celsius")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return NPU_FACTS


def run(args: Args, node: Node) -> Iterable[Finding]:
    there = set(selected(node))
    dies = {number: die for number, die in numbered(node).items() if number in there}
    ill = {number: die for number, die in dies.items() if die.health != "OK"}
    yield from _ill(node, ill)
    yield from _hot(args, node, {number: die for number, die in dies.items() if number not in ill})


def _ill(node: Node, dies: dict[int, Die]) -> Iterator[Finding]:
    """A finding for each kind of illness."""
    details = {d.device: d for d in node.get(NpuDetail()).dies} if dies else {}
    groups: dict[tuple[str | None, DieDetail], list[int]] = {}
    for number, die in dies.items():
        detail = details.get(number) or DieDetail(0, 0)
        same = DieDetail(0, 0, health=detail.health, codes=detail.codes, information=detail.information)
        groups.setdefault((die.health, same), []).append(number)
    for (health, detail), numbers in groups.items():
        yield _finding(node, health, detail, numbers, dies[numbers[0]])


def _finding(node: Node, health: str | None, detail: DieDetail, numbers: list[int], first: Die) -> Finding:
    told, well = health or "not told by npu-smi", health is None and detail.health == "OK"
    if health is None and detail.health:
        told += f" info; asked for it alone it says {detail.health}"
    ask = f"npu-smi info -t health -i {first.npu} -c {first.chip}"
    act = "the driver's log (msnpureport, dmesg) tells more; reboot, and replace the card if it stays so"
    return Finding(
        f"{named(node, numbers)}: health is {told}" + words(detail),
        f"`{ask}` tells whether it lasts; {act}; to go without: {without(node, numbers)}",
        expected="OK",
        observed=" ".join([health or "unknown", *detail.codes]),
        level="warn" if well else "fail",
    )


def words(detail: DieDetail) -> str:
    """What the tool says of a die's error codes, for the end of a sentence."""
    if not detail.codes:
        return ""
    said = f" ({'; '.join(detail.information)})" if detail.information else ""
    return f", error code{'s' if len(detail.codes) > 1 else ''} {' '.join(detail.codes)}{said}"


def _hot(args: Args, node: Node, dies: dict[int, Die]) -> Iterator[Finding]:
    degrees = {number: die.temp_c for number, die in dies.items() if die.temp_c is not None and die.temp_c >= args.hot}
    if degrees:
        most = max(degrees.values())
        yield Finding(
            f"{named(node, degrees)}: {most} degrees Celsius" + (" at most" if len(degrees) > 1 else ""),
            "look at the fans and the air (npu-smi info watch shows it change; the BMC shows fans and inlet); "
            "qnext.checks.npu_health.hot sets the threshold",
            expected=f"below {args.hot}",
            observed=f"{most}",
            level="warn",
        )
