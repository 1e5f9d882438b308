"""The NPU's own network, device by device, through ``hccn_tool``: link, health, address, TLS switch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.hccn import parse_ip, parse_link, parse_net_health, parse_tls
from provision.facts.base import Fact
from provision.facts.reading import Section, complaints, integer, sections
from provision.results import Result


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
    """NPU network of ``devices`` (davinci numbers), one call after the other: the tool must not run in parallel."""

    name: ClassVar[str] = "hccn"
    deadline: ClassVar[float] = 120.0
    devices: tuple[int, ...] = ()

    def script(self) -> str:
        return f"""\
PATH=$PATH:/usr/local/Ascend/driver/tools
t=$(command -v hccn_tool) || {{ echo '@@ missing'; exit 0; }}
echo "@@ tool $t"; hung=0
for i in {" ".join(map(str, self.devices))}; do
  for w in link net_health ip tls; do
    [ $hung -lt 3 ] || continue
    o=$(timeout 5 "$t" -i "$i" -$w -g 2>&1); e=$?
    [ $e -ne 124 ] || hung=$((hung + 1))
    echo "@@ $i $w $e"; printf '%s\\n' "$o"
  done
done
"""

    def parse(self, raw: Result) -> HccnValue:
        parts = sections(raw.stdout)
        tool = next((" ".join(p.words[1:]) for p in parts if p.words[:1] == ("tool",)), None)
        if tool is None:
            return HccnValue(problems=complaints(raw) or ("hccn_tool was not found",))
        devices = tuple(_device(number, parts) for number in self.devices)
        return HccnValue(tool, devices, complaints(raw))


def _device(number: int, parts: list[Section]) -> HccnDevice:
    own = {p.words[1]: p for p in parts if len(p.words) == 3 and integer(p.words[0]) == number}
    said = {what: own[what].body if what in own else "" for what in ("link", "net_health", "ip", "tls")}
    link, health = parse_link(said["link"]).entries, parse_net_health(said["net_health"]).entries
    address, tls = parse_ip(said["ip"]).entries, parse_tls(said["tls"]).entries
    return HccnDevice(
        device=number,
        link=link[0].state if link else None,
        net_health=health[0].state if health else None,
        address=address[0].address if address else None,
        netmask=address[0].netmask if address else None,
        tls=int(tls[0].enabled) if tls else None,
        problems=tuple(_problem(what, own.get(what)) for what in said if _failed(own.get(what))),
    )


def _failed(answer: Section | None) -> bool:
    return answer is None or answer.words[2] != "0"


def _problem(what: str, answer: Section | None) -> str:
    if answer is None:
        return f"{what}: not asked, hccn_tool hung before"
    if answer.words[2] == "124":
        return f"{what}: hccn_tool hangs, no answer within 5 s"
    said = answer.body.strip().splitlines()[-1:]
    return f"{what}: exit status {answer.words[2]}" + (f": {said[0]}" if said else "")
