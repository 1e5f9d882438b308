"""The NPU's own network, device by device, through ``hccn_tool``: link, health, address, TLS switch; and its file.

What ``up`` needs stands here; neighbours, history and counters are in ``hccn_detail``. A call may hang, and two calls
must never overlap on a node, so one script asks them one after the other, each with a deadline, and stops after three
that hang [samples/npu FIELDS 11].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.hccn import HccnAddress, parse_conf, parse_ip, parse_link, parse_net_health, parse_tls
from provision.facts.base import Fact
from provision.facts.reading import Section, complaints, integer, section, sections
from provision.results import Result

HCCN_CONF = "/etc/hccn.conf"
_OBJECTS = ("link", "net_health", "ip", "tls")


@dataclass(frozen=True, slots=True)
class HccnDevice:
    """One device. ``link`` is UP or DOWN; ``net_health`` Success, Init, Fault…; ``tls`` the switch (0 off, 1 on)."""

    device: int
    link: str | None = None
    net_health: str | None = None
    address: str | None = None
    netmask: str | None = None
    tls: int | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnValue:
    """``tool`` is where hccn_tool was found, None where it's missing."""

    tool: str | None = None
    devices: tuple[HccnDevice, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hccn(Fact[HccnValue]):
    """NPU network of ``devices`` (davinci numbers; empty: all that the node has), one call after the other: the tool
    must not run in parallel."""

    name: ClassVar[str] = "hccn"
    deadline: ClassVar[float] = 120.0
    devices: tuple[int, ...] = ()

    def script(self) -> str:
        return sweep(self.devices, _OBJECTS)

    def parse(self, raw: Result) -> HccnValue:
        answers = Answers.read(raw)
        if answers.tool is None:
            return HccnValue(problems=complaints(raw) or ("hccn_tool was not found",))
        devices = tuple(_device(number, answers) for number in answers.devices(self.devices))
        return HccnValue(answers.tool, devices, complaints(raw))


def _device(number: int, answers: Answers) -> HccnDevice:
    link = parse_link(answers.said(number, "link")).entries
    health = parse_net_health(answers.said(number, "net_health")).entries
    address = parse_ip(answers.said(number, "ip")).entries
    tls = parse_tls(answers.said(number, "tls")).entries
    return HccnDevice(
        device=number,
        link=link[0].state if link else None,
        net_health=health[0].state if health else None,
        address=address[0].address if address else None,
        netmask=address[0].netmask if address else None,
        tls=int(tls[0].enabled) if tls else None,
        problems=answers.problems(number, _OBJECTS),
    )


def sweep(devices: Iterable[int], objects: Sequence[str]) -> str:
    """The script that asks hccn_tool for each of ``objects`` of each device, never two calls at once. Without
    ``devices`` it asks of all that have a device node, as a server may have more than others of its family."""
    return f"""\
there() {{
for d in /dev/davinci[0-9]*; do
  n=${{d##*/davinci}}
  case $n in *[!0-9]*) ;; *) [ ! -c "$d" ] || echo "$n" ;; esac
done | sort -n
}}
PATH=$PATH:/usr/local/Ascend/driver/tools
t=$(command -v hccn_tool) || {{ echo '@@ missing'; exit 0; }}
echo "@@ tool $t"; hung=0
set -- {" ".join(map(str, devices)) or "$(there)"}
echo '@@ devices'; echo "$*"
for i; do
  for w in {" ".join(objects)}; do
    [ $hung -lt 3 ] || continue
    o=$(timeout 5 "$t" -i "$i" -$w -g 2>&1); e=$?
    [ $e -ne 143 ] || e=124 # busybox's timeout
    [ $e -ne 124 ] || hung=$((hung + 1))
    echo "@@ $i $w $e"; printf '%s\\n' "$o"
  done
done
"""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a ``sweep`` printed."""

    tool: str | None
    parts: tuple[Section, ...]
    asked: tuple[int, ...] = ()
    """The devices that it was about, also those that it did not come to as the tool hung."""

    @classmethod
    def read(cls, raw: Result) -> Answers:
        parts = sections(raw.stdout)
        tool = next((" ".join(part.words[1:]) for part in parts if part.words[:1] == ("tool",)), None)
        asked = {number for word in section(raw.stdout, "devices").split() if (number := integer(word)) is not None}
        return cls(tool, tuple(part for part in parts if len(part.words) == 3), tuple(sorted(asked)))

    def devices(self, wanted: tuple[int, ...]) -> tuple[int, ...]:
        """``wanted``, or where these are none the devices that the node has."""
        return wanted or self.asked

    def of(self, device: int, what: str) -> Section | None:
        """The answer to one call; None where it wasn't made."""
        return next((p for p in self.parts if integer(p.words[0]) == device and p.words[1] == what), None)

    def said(self, device: int, what: str) -> str:
        """Its text; empty where there is none."""
        answer = self.of(device, what)
        return answer.body if answer else ""

    def problems(self, device: int, objects: Iterable[str]) -> tuple[str, ...]:
        """Which calls about a device gave no answer, and why."""
        failed = ((what, self.of(device, what)) for what in objects)
        return tuple(_problem(what, answer) for what, answer in failed if answer is None or answer.words[2] != "0")


def _problem(what: str, answer: Section | None) -> str:
    if answer is None:
        return f"{what}: not asked, hccn_tool hung before"
    if answer.words[2] == "124":
        return f"{what}: hccn_tool hangs, no answer within 5 s"
    said = answer.body.strip().splitlines()[-1:]
    return f"{what}: exit status {answer.words[2]}" + (f": {said[0]}" if said else "")


@dataclass(frozen=True, slots=True)
class HccnConfValue:
    """``found``: whether the file is there. A node whose NPUs talk over HCCS alone (A3) may have none."""

    found: bool = False
    devices: tuple[HccnAddress, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HccnConf(Fact[HccnConfValue]):
    """``/etc/hccn.conf``: the addresses that the driver sets on the NPUs' interfaces when the host starts."""

    name: ClassVar[str] = "hccn-conf"

    def script(self) -> str:
        return f"""\
f={HCCN_CONF}
if [ -f "$f" ]; then echo '@@ file'; head -c 65536 "$f"
elif [ -e "$f" ]; then echo '@@ odd'; fi
"""

    def parse(self, raw: Result) -> HccnConfValue:
        kinds = {part.words[:1] for part in sections(raw.stdout)}
        odd = (f"{HCCN_CONF} is no file",) if ("odd",) in kinds else ()
        if ("file",) not in kinds:
            return HccnConfValue(problems=complaints(raw) + odd)
        conf = parse_conf(section(raw.stdout, "file"))
        return HccnConfValue(True, conf.devices, complaints(raw) + conf.problems)
