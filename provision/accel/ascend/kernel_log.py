"""The lines of the kernel's log that NPU drivers wrote, and which of them tell of an error.

Drivers write ``[ascend] [ERROR] [module] [function line] message. (dev_id=5; ret=-19)``. Not every error carries the
word, so the messages count too: an NPU that fell off its bus is a plain ``Device is abnormal`` [hicann/driver].
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PATTERN = r"\[ascend\]|davinci|devdrv|devmm|hdcdrv|drv_pcie|tsdrv|hisi_hdc|dms_module|19e5:d"
"""What marks a line as an NPU driver's, as an extended regular expression."""

_NPU = re.compile(PATTERN, re.IGNORECASE)
_WORDS = re.compile(
    r"\b(?:fail(?:ed|ure)?|abnormal|unsuccessful|time-?out|timed? out|exception|fault|heart ?beat lost|link down|"
    r"error(?!\w*[ =:]+0\b)|errors|dead|hang|offline|lost)\b",
    re.IGNORECASE,
)
_CODE = re.compile(
    r"\b(?:exception_id|event_id|fault_id|err(?:or)?_?code|errcode|code)[ =:]+(0x[0-9a-fA-F]{1,16}|[0-9A-F]{8})\b"
)
_DEVICE = re.compile(r"\b(?:dev_?id|device_?id|phy_?id|logic_?id)[ =:]+([0-9]{1,5})\b", re.IGNORECASE | re.ASCII)
_RET = re.compile(r"\bret[ =:]+(-?[0-9]{1,9})\b", re.ASCII)
_SECONDS = re.compile(r"\[ *([0-9]{1,10}\.[0-9]{6})\]", re.ASCII)
_TIME = re.compile(
    r"\[?([A-Z][a-z]{2} [A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{8} [0-9]{4}|[A-Z][a-z]{2} +[0-9]{1,2} [0-9:]{8}|"
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[-T ][0-9:]{8}[0-9.,+:]*)",
    re.ASCII,
)
_TAGS = re.compile(r"\[ascend\] *((?:\[[^\]\n]{1,80}\] *)*)(?:<[^>]{1,80}> *)?(.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class KernelLine:
    """A line of an NPU driver. ``device`` is the number the driver gives, ``code`` an exception's or event's.

    ``seconds`` is since boot; ``time`` is the wall clock as printed (``dmesg -T``, log files). Either may be None.
    """

    text: str
    message: str
    module: str | None = None
    function: str | None = None
    device: int | None = None
    code: str | None = None
    ret: int | None = None
    seconds: float | None = None
    time: str | None = None


@dataclass(frozen=True, slots=True)
class KernelLog:
    """``errors``: the lines that tell of an error, oldest first. ``lines``: how many an NPU driver wrote in all."""

    errors: tuple[KernelLine, ...] = ()
    lines: int = 0
    problems: tuple[str, ...] = ()


def parse_kernel_log(text: str) -> KernelLog:
    """``dmesg``, ``dmesg -T`` or a part of /var/log/messages; other lines are left out. Never raises."""
    lines = [line.strip() for line in text.splitlines() if _NPU.search(line)]
    refused = [line.strip()[:200] for line in text.splitlines() if re.match(r"dmesg: |sh: .*dmesg", line.strip())]
    errors = [read for line in lines if (read := _read(line)) is not None]
    return KernelLog(tuple(errors), len(lines), tuple(refused))


def _read(line: str) -> KernelLine | None:
    """The line as a value if it tells of an error, else None."""
    tagged = _TAGS.search(line)
    words = re.findall(r"\[([^\]]*)\]", tagged[1]) if tagged else []
    level = next((word for word in words if word in ("ERROR", "WARN", "WARNING", "INFO", "EVENT", "DEBUG")), "")
    message = tagged[2] if tagged else line
    if level in ("INFO", "DEBUG") or not (level == "ERROR" or _WORDS.search(message)):
        return None
    place = [word for word in words if word != level]
    seconds, time = _SECONDS.search(line), _TIME.match(line)
    code, device, ret = _CODE.search(message), _DEVICE.search(message), _RET.search(message)
    return KernelLine(
        text=line[:400],
        message=message[:400],
        module=place[0] if place else None,
        function=place[1].split()[0] if len(place) > 1 and place[1].split() else None,
        device=int(device[1]) if device else None,
        code=code[1] if code else None,
        ret=int(ret[1]) if ret else None,
        seconds=float(seconds[1]) if seconds else None,
        time=time[1] if time else None,
    )
