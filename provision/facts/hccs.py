"""What joins NPUs over HCCS (A3): the super-pod that a node is in, and its devices' addresses there.

Apart from ``npu_detail`` and ``hccn_detail``, which ask a hundred calls: this asks one a device and two of npu-smi.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from provision.accel.ascend.hccn import parse_vnic
from provision.accel.ascend.npu_smi_sections import parse_super_pod
from provision.facts.base import Fact
from provision.facts.hccn import Answers, sweep
from provision.facts.npu_smi import FIND
from provision.facts.reading import complaints, section, sections
from provision.results import Result


@dataclass(frozen=True, slots=True)
class HccsValue:
    """``pod`` is the super-pod's id, None where it isn't told; ``vnics`` the addresses by davinci number. ``down``
    are devices whose virtual interface is down."""

    pod: int | None = None
    vnics: dict[int, str] = field(default_factory=dict)
    down: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hccs(Fact[HccsValue]):
    """Super-pod and virtual interfaces of ``devices`` (davinci numbers; empty: all that the node has), one call after
    the other."""

    name: ClassVar[str] = "hccs"
    deadline: ClassVar[float] = 60.0
    devices: tuple[int, ...] = ()

    def script(self) -> str:
        return f"""\
pod() {{
{FIND.replace("exit 0", "return 0")}
set -- $(timeout 10 "$b" info -m 2>/dev/null | awk '$1 ~ /^[0-9]+$/ {{ print $1, $2; exit }}')
[ $# = 2 ] || return 0
echo '@@ pod'; timeout 10 "$b" info -t spod-info -i "$1" -c "$2" 2>&1
}}
pod
{sweep(self.devices, ("vnic",))}"""

    def parse(self, raw: Result) -> HccsValue:
        answers = Answers.read(raw)
        devices = answers.devices(self.devices)
        pod = parse_super_pod(section(raw.stdout, "pod")).pod if _has_pod(raw) else None
        found = {number: parse_vnic(answers.said(number, "vnic")).entries for number in devices}
        vnics = {number: entries[0].address for number, entries in found.items() if entries}
        down = tuple(number for number, entries in found.items() if entries and entries[0].link == "DOWN")
        problems = tuple(f"davinci {n}: {p}" for n in devices for p in answers.problems(n, ("vnic",)))
        missing = () if answers.tool else ("hccn_tool was not found",)
        return HccsValue(pod, vnics, down, complaints(raw) + (missing or problems))


def _has_pod(raw: Result) -> bool:
    return any(part.words == ("pod",) for part in sections(raw.stdout))
