"""Files into which a collector wrote many commands with their outputs: cut by command, each part read by its parser.

``ascend-faultdiag`` and hand-made scripts write ``npu_info_before.txt`` so: a line with the command, its output below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMMAND = re.compile(
    r"(?:[$#] +|\S{1,60}[$#] +)?((?:[\w./-]{0,120}/)?(?:hccn_tool|npu-smi|lspci|cat|dmesg|ls|pip3?|uname) .{1,300})$",
    re.ASCII,
)
_OBJECTS = {
    "ip": "hccn-ip",
    "link": "hccn-link",
    "link_stat": "hccn-link-stat",
    "net_health": "hccn-net-health",
    "netdetect": "hccn-netdetect",
    "gateway": "hccn-gateway",
    "lldp": "hccn-lldp",
    "tls": "hccn-tls",
    "vnic": "hccn-vnic",
    "stat": "hccn-stat",
    "hw_stats": "hccn-stat",
    "fec": "hccn-fec",
    "optical": "hccn-optical",
    "route": "hccn-route",
    "status": "hccn-status",
    "ping": "hccn-ping",
    "hccs_ping": "hccn-ping",
}
_OTHERS = (
    (r"npu-smi info .*-t ([a-z-]+)", r"npu-smi-\1"),
    (r"npu-smi info .*-m\b", "npu-smi-mapping"),
    (r"npu-smi info .*-l\b", "npu-smi-list"),
    (r"npu-smi info\s*$", "npu-smi-info"),
    (r"cat .*driver/version\.info", "driver-version"),
    (r"cat .*firmware/version\.info", "firmware-version"),
    (r"cat .*ascend_install\.info", "ascend-install-info"),
    (r"cat .*(_install\.info|version\.cfg|nnal/.*version\.info)", "cann-version"),
    (r"cat .*hccn\.conf", "hccn-conf"),
    (r"lspci\b", "lspci"),
    (r"dmesg\b", "kernel-log"),
    (r"ls .*/dev/davinci", "davinci-devices"),
)


@dataclass(frozen=True, slots=True)
class CollectedPart:
    """One command. ``kind`` is the parser's name, None where no parser knows the command; ``value`` what it read."""

    command: str
    kind: str | None = None
    value: object = None


@dataclass(frozen=True, slots=True)
class Collected:
    """The commands in order. ``problems``: each part's own, with its command."""

    parts: tuple[CollectedPart, ...] = ()
    problems: tuple[str, ...] = ()


def parse_collected(text: str) -> Collected:
    """Commands and outputs in one text. Never raises."""
    parts = tuple(_part(command, body) for command, body in _cut(text))
    problems = [
        f"{part.command}: {problem}" for part in parts for problem in getattr(part.value, "problems", ("no parser",))
    ]
    return Collected(parts, tuple(problems) if parts else ("no command in the text",))


def _cut(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if match := _COMMAND.match(line):
            found.append((match[1].strip(), []))
        elif found:
            found[-1][1].append(line)
    return [(command, "\n".join(lines)) for command, lines in found]


def _part(command: str, body: str) -> CollectedPart:
    from provision.facts.kinds import KINDS  # which lists this parser too

    kind = KINDS.get(_kind(command))
    # hccn_tool's answers don't name their device: its parsers take it from the command above.
    text = f"{command}\n{body}" if "hccn_tool" in command else body
    return CollectedPart(command, kind.name if kind else None, kind.parse(text) if kind else None)


def _kind(command: str) -> str:
    if "hccn_tool" in command:
        words = re.findall(r" -([a-z_]{2,20})\b", command)
        return "hccn-set" if " -s " in command else next((_OBJECTS[word] for word in words if word in _OBJECTS), "")
    for pattern, kind in _OTHERS:
        if match := re.search(pattern, command):
            return match.expand(kind)
    return ""
