"""What a ping from NPU to NPU says: ``hccn_tool -ping`` (RoCE) and ``-hccs_ping`` (inside a super-pod, A3).

Judged by the counts alone: ``hccs_ping`` may print its success text, and both may end with 0, although packets were
lost; a line with a time is printed for lost packets too [hicann/driver, tool_cmd.c].
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from provision.accel.ascend.hccn_lines import ADDRESS, numbered, problems

_HEAD = re.compile(rf"device ([0-9]{{1,9}}) (?:HCCS )?PING ({ADDRESS})$", re.ASCII)
_RECEIVED = re.compile(r"recv seq[ =]*([0-9]{1,9}) *, *time *= *([0-9]{1,12}(?:\.[0-9]{1,9})?) *(ms|us)", re.ASCII)
_PLANE = re.compile(r"L1 plane check result *= *0x([0-9a-fA-F]{1,8})")
_TOTAL = re.compile(r"([0-9]{1,9}) packets transmitted, ([0-9]{1,9}) received\b", re.ASCII)
_LOST = re.compile(r"This pkt (?:send fail|ping not start to send|check recv msg fail)!")


@dataclass(frozen=True, slots=True)
class HccnPing:
    """One ping of several packets. ``ok``: the summary says that packets were sent and all came back, with no error on
    the way. ``times_ms``: of the packets that came back. ``plane_errors``: packets whose L1 plane check failed (A3)."""

    ok: bool = False
    device: int | None = None
    target: str | None = None
    sent: int | None = None
    received: int | None = None
    times_ms: tuple[float, ...] = ()
    plane_errors: int = 0

    @property
    def average_ms(self) -> float | None:
        """Mean round trip in milliseconds; None where nothing came back."""
        return sum(self.times_ms) / len(self.times_ms) if self.times_ms else None

    @property
    def lost(self) -> int | None:
        """Packets that did not come back; None without a summary."""
        return None if self.sent is None or self.received is None else max(0, self.sent - self.received)


@dataclass(frozen=True, slots=True)
class HccnPings:
    """The pings in order."""

    entries: tuple[HccnPing, ...] = ()
    problems: tuple[str, ...] = ()


def parse_ping(text: str) -> HccnPings:
    """``-ping -g address A`` or ``-hccs_ping -g address A``, once or in a loop. Never raises."""
    found: list[HccnPing] = []
    closed, lost = True, False
    for line, device in numbered(text):
        if head := _HEAD.match(line):
            found.append(HccnPing(device=int(head[1]), target=head[2]))
            closed, lost = False, False
            continue
        total = _TOTAL.search(line)
        packet = _RECEIVED.match(line)
        if closed and (total or packet):
            found.append(HccnPing(device=device))
            closed, lost = False, False
        if total:
            found[-1], closed = _summed(found[-1], int(total[1]), int(total[2])), True
        elif _LOST.match(line):
            lost = True
        elif packet:
            found[-1], lost = _timed(found[-1], packet, line, lost), False
    unended = tuple(f"the ping{_towards(ping)} has no summary line" for ping in found if ping.sent is None)
    return HccnPings(tuple(found), problems(text, found, "ping") + unended)


def _towards(ping: HccnPing) -> str:
    return f" to {ping.target}" if ping.target else ""


def _timed(ping: HccnPing, packet: re.Match[str], line: str, lost: bool) -> HccnPing:
    """A packet's time counts unless the line before said that this packet was lost."""
    plane = _PLANE.search(line)
    failed = plane is not None and int(plane[1], 16) != 0
    time = float(packet[2]) / (1000 if packet[3] == "us" else 1)
    times = ping.times_ms if lost else (*ping.times_ms, round(time, 6))
    return replace(ping, times_ms=times, plane_errors=ping.plane_errors + failed)


def _summed(ping: HccnPing, sent: int, received: int) -> HccnPing:
    ok = 0 < sent == received and not ping.plane_errors
    return replace(ping, sent=sent, received=received, ok=ok)
