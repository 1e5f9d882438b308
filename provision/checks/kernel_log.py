"""The kernel's log tells of no errors of NPU drivers, and of no server that was ended for lack of memory.

Drivers write there what health does not show any more: a die that was reset, a heart-beat lost, a link that went down;
and a server that the kernel ended leaves no other trace than its exit status. Only what is newer than ``hours`` counts:
a line from before the last repair is no news. Lines are grouped by what they say; the failure catalogue knows some of
them. Where the log may not be read, the check is skipped and says why.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from pydantic import Field

from provision.accel.ascend.kernel_log import KernelLine
from provision.checks.base import CheckArgs, Finding
from provision.checks.support import Skip, listed, look, span, span_of_time
from provision.diagnose.catalogue import explain
from provision.facts.base import Fact
from provision.facts.kernel_log import Dated, KernelLog, KernelLogValue, OomKill
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N32"
LEVEL = "warn"
SCOPE = "node"
THOROUGH = True

_SHOWN = 5
_SERVER = re.compile(r"python|pt_main|vllm|ray|raylet|engine|mooncake|gcs_server", re.IGNORECASE)
"""Names of server processes as the kernel has them, cut to 15 characters."""


class Args(CheckArgs):
    """How old news may be."""

    hours: float = Field(24, ge=0, description="only lines of so many hours count; 0: all since the machine was booted")


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (KernelLog(),)


def run(args: Args, node: Node) -> Iterable[Finding]:
    value = look(node, KernelLog())
    if value.source is None:
        raise Skip(next(iter(value.problems), "the kernel's log cannot be read"))
    kinds: dict[str, list[KernelLine]] = {}
    for line in value.errors:
        if _recent(args, value, line):
            kinds.setdefault(_kind(line), []).append(line)
    newest = sorted(kinds.values(), key=lambda lines: _ago(value, lines[-1]))
    yield from (_error(value, lines) for lines in newest[:_SHOWN])
    if len(newest) > _SHOWN:
        yield _more(value, newest[_SHOWN:])
    yield from _kills(value, [kill for kill in value.kills if _SERVER.search(kill.name) and _recent(args, value, kill)])


def _recent(args: Args, value: KernelLogValue, line: Dated) -> bool:
    """Since boot, and since ``hours`` ago; a line whose time can't be told counts."""
    age = value.age(line)
    if age is None:
        return True
    limit = args.hours * 3600 if args.hours else float("inf")
    return age <= min(limit, value.uptime or float("inf"))


def _ago(value: KernelLogValue, line: Dated) -> float:
    age = value.age(line)
    return float("inf") if age is None else age


def _kind(line: KernelLine) -> str:
    """What the line says without its numbers; an exception's code belongs to it."""
    words = re.sub(r"0x[0-9a-f]+|[0-9]+", "#", line.message, flags=re.IGNORECASE)
    return f"{line.module} {line.code} {words}"


def _when(value: KernelLogValue, line: Dated) -> str:
    age = value.age(line)
    return f"{span_of_time(age)} ago" if age is not None else "at an unknown time"


def _error(value: KernelLogValue, lines: Sequence[KernelLine]) -> Finding:
    last, known = lines[-1], explain(lines[-1].message)
    devices = {line.device for line in lines if line.device is not None}
    where = f" of device {span(devices)}" if devices else ""
    times = f"{len(lines)} times, last {_when(value, last)}" if len(lines) > 1 else _when(value, last)
    return Finding(
        f"the NPU driver{where} reported an error ({times}): {_short(last.message)}",
        known.remedy if known else _advice(value, devices),
        expected="no errors of NPU drivers",
        observed=_short(last.text, 200),
    )


def _advice(value: KernelLogValue, devices: Iterable[int]) -> str:
    numbers = span(devices)
    read = "dmesg -T" if value.source == "dmesg" else f"tail -n 20000 {value.source}"
    whose = f"davinci {numbers}'s card" if numbers else "each card"
    return (
        f"`{read} | grep -i ascend` shows what came before; `npu-smi info -t health -i CARD -c CHIP` for {whose}; "
        "where it comes again, collect the driver's logs (msnpureport), reboot, and have the card replaced"
    )


def _more(value: KernelLogValue, rest: Sequence[Sequence[KernelLine]]) -> Finding:
    said = listed([_short(lines[-1].message, 60) for lines in rest], 3)
    return Finding(
        f"the NPU driver reported {len(rest)} more kinds of errors: {said}",
        _advice(value, ()),
        expected="no errors of NPU drivers",
        observed=f"{sum(map(len, rest))} lines",
    )


def _kills(value: KernelLogValue, kills: Sequence[OomKill]) -> Iterator[Finding]:
    if not kills:
        return
    last = kills[-1]
    whose = "the container's memory limit" if last.limit else "lack of main memory"
    known = explain("Out of memory: Killed process")
    names = listed([f"{kill.name} ({kill.pid})" for kill in reversed(kills)])
    yield Finding(
        f"the kernel ended {names} for {whose}, last {_when(value, last)}",
        "raise the limit of the container that it ran in" if last.limit or not known else known.remedy,
        expected="no server ended by the kernel",
        observed=f"{len(kills)} killed, last pid {last.pid}",
    )


def _short(text: str, length: int = 120) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
