"""What NPU drivers wrote into the kernel's log: lines that tell of an error, the last few hundred.

``dmesg``, with times of day where it can (``-T``); where it is refused, as it is in a container, the end of a log file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.accel.ascend.kernel_log import PATTERN, KernelLine, parse_kernel_log
from provision.facts.base import Fact
from provision.facts.reading import complaints, section, sections
from provision.results import Result


@dataclass(frozen=True, slots=True)
class KernelLogValue:
    """``source``: ``dmesg`` or the file that was read; None where neither could be. ``errors`` oldest first.

    ``lines``: how many lines of NPU drivers were looked at; ``more``: that there are older ones, left out.
    """

    source: str | None = None
    errors: tuple[KernelLine, ...] = ()
    lines: int = 0
    more: bool = False
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KernelLog(Fact[KernelLogValue]):
    """The last ``lines`` lines of NPU drivers in the kernel's log."""

    name: ClassVar[str] = "kernel-log"
    deadline: ClassVar[float] = 20.0
    lines: int = 300

    def script(self) -> str:
        return f"""\
npu() {{ tr -d '\\000' | grep -iE '{PATTERN}|^@@ ' | tail -n {self.lines + 2} | cut -c 1-400; }}
log() {{ dmesg -T 2>/dev/null || dmesg 2>/dev/null; echo "@@ status $?"; }}
o=$(log | npu); echo '@@ dmesg'; printf '%s\\n' "$o"
case $o in *'@@ status 0') exit 0 ;; esac
echo '@@ refused'; dmesg 2>&1 | tail -n 1 | cut -c 1-200
for f in /var/log/messages /var/log/kern.log /var/log/syslog; do
  if [ -r "$f" ]; then echo "@@ file $f"; tail -n 20000 "$f" | npu; break; fi
done
:
"""

    def parse(self, raw: Result) -> KernelLogValue:
        parts = sections(raw.stdout)
        answered = any(part.words == ("status", "0") for part in parts)
        refused = () if answered else (f"dmesg gives nothing: {_why(section(raw.stdout, 'refused'))}",)
        file = next((part for part in parts if part.words[:1] == ("file",)), None)
        if not answered and file is None:
            return KernelLogValue(problems=complaints(raw) + refused)
        body = section(raw.stdout, "dmesg") if answered or file is None else file.body
        source = "dmesg" if answered or file is None else " ".join(file.words[1:])
        lines = body.splitlines()
        read = parse_kernel_log("\n".join(lines[-self.lines :]))
        return KernelLogValue(source, read.errors, read.lines, len(lines) > self.lines, complaints(raw) + refused)


def _why(said: str) -> str:
    return said.strip() or "no answer"
