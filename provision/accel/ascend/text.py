"""Reading what Ascend tools print: numbers that may be ``-`` or ``NA``, ``key=value`` and ``Key : value``, codes."""

from __future__ import annotations

import re

CODES = {
    -8001: "bad parameter",
    -8002: "operation not permitted",
    -8003: "memory error",
    -8004: "secure function error",
    -8005: "inner error: no access to /dev/davinci* or davinci_manager, no driver, or a driver upgraded without reboot",
    -8006: "time-out",
    -8007: "bad device id",
    -8008: "no such device",
    -8009: "ioctl failed",
    -8010: "send failed",
    -8011: "receive failed",
    -8012: "device not ready",
    -8013: "not supported in a container",
    -8014: "file error",
    -8015: "reset failed",
    -8016: "aborted",
    -8017: "an upgrade is under way",
    -8020: "resource occupied: another container or namespace holds the device, or driver mounts are missing",
    -8022: "partition error",
    -8023: "no configuration",
    -8255: "not supported",
    -9005: "inner error of npu-smi (seen in containers with some of the cards)",
    -9018: "no process",
    -9019: "DCMI call failed",
    -9021: "an upgrade is under way",
    -9255: "not supported",
}
"""Return codes of DCMI and npu-smi, with their usual cause [hicann/driver, DCMI API; vllm-ascend issues]."""

_RETURN_CODE = re.compile(r"ret is (-\d{4})(?!\d)", re.ASCII)
_COMPLAINTS = (
    (
        re.compile(r"error while loading shared libraries: *([^\s:]+)"),
        "library {} not found: LD_LIBRARY_PATH lacks /usr/local/Ascend/driver/lib64/common and driver/lib64/driver",
    ),
    (re.compile(r"([\w./-]+): (?:command )?not found"), "{}: command not found"),
    (re.compile(r"([\w./-]+): Is a directory"), "{} is a directory: docker made it of a missing mount source"),
    (
        re.compile(r"(driver package may not be completely installed)"),
        "{}: /etc/ascend_install.info has no Driver_Install_Status=complete",
    ),
    (re.compile(r"(drvRetCode=87|drvErr=87)"), "{}: the driver cannot be used from here"),
    (re.compile(r"(Can't get ascend_hal device count)"), "{}: the driver shows no device here"),
    (re.compile(r"(Invalid (?:card|chip) id|Error parameter of -\w)"), "{}"),
    (re.compile(r"(does not support querying [\w-]+)"), "this device {}"),
)


def integer(text: str) -> int | None:
    """A plain decimal number, else None (``-``, ``NA``, empty, cut off, or absurdly long)."""
    text = text.strip()
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None


def decimal(text: str) -> float | None:
    """A plain decimal fraction, else None."""
    text = text.strip()
    return float(text) if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text) else None


def known(text: str) -> str | None:
    """The text, or None for the tools' ways to say nothing."""
    text = text.strip()
    return None if text in ("", "-", "NA", "N/A") else text


def assignments(text: str) -> dict[str, str]:
    """``key=value`` lines; the first of equal keys counts; other lines are left out."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and re.fullmatch(r"[A-Za-z_][\w.-]*", key):
            found.setdefault(key, value.strip())
    return found


def fields(text: str) -> list[tuple[str, str]]:
    """``Key : value`` lines in order. The key is empty on a line that continues the value above it."""
    found = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and (key != key.rstrip() or not key.strip()):
            found.append((key.strip(), value.strip()))
    return found


def cut_off(text: str) -> tuple[str, ...]:
    """A last line that no line end closes may be cut off, and its last value with it: said, not hidden."""
    last = text.splitlines(keepends=True)[-1:]
    if last != text.splitlines()[-1:] or not text.strip() or not last[0].strip():
        return ()
    return (f"the last line has no end, so it may be cut off: {' '.join(last[0].split())[:60]!r}",)


def complaints(text: str) -> tuple[str, ...]:
    """What a tool's text says went wrong, each once, return codes with their meaning."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        if match := _RETURN_CODE.search(line):
            code = int(match[1])
            found[f"{line.strip()} ({CODES.get(code, 'unknown code')})"] = None
        for pattern, sentence in _COMPLAINTS:
            if match := pattern.search(line):
                found[sentence.format(match[1])] = None
    return tuple(found)
