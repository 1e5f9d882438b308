"""The last lines of every container of a cluster: what a wait shows, and what explains an end."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.results import Result
from provision.shell import quote

KEPT = 200
"""Lines that are kept of those that match."""


@dataclass(frozen=True, slots=True)
class LogTailsValue:
    """``tails``: by process name, stdout and stderr of its container in the order docker kept them."""

    tails: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogTails(Fact[LogTailsValue]):
    """The last ``lines`` lines of each container of ``cluster``, running or ended; of these, where ``matching`` is an
    extended regular expression, the last ``KEPT`` that match it."""

    name: ClassVar[str] = "log-tails"
    deadline: ClassVar[float] = 30.0
    cluster: str = ""
    lines: int = 40
    matching: str = ""

    def script(self) -> str:
        label = quote(f"label=qnext.cluster={self.cluster}")
        return f"""\
docker ps -a --filter {label} --format '{{{{.ID}}}} {{{{.Label "qnext.process"}}}}' 2>&1 | while read -r id process; do
  printf '%s ' "$process"
  docker logs --tail {self.lines} "$id" 2>&1{self._filter()} | base64 | tr -d '\\n'
  echo
done
"""

    def _filter(self) -> str:
        return f" | grep -aE -e {quote(self.matching)} | tail -n {KEPT}" if self.matching else ""

    def parse(self, raw: Result) -> LogTailsValue:
        tails, problems = {}, []
        for line in raw.stdout.splitlines():
            process, _, encoded = line.partition(" ")
            try:
                tails[process] = base64.b64decode(encoded, validate=True).decode("utf-8", "replace")
            except (binascii.Error, ValueError):
                problems.append(line)
        if raw.timed_out:
            problems.append(f"docker logs gave no answer within {self.deadline:.0f} s")
        return LogTailsValue(tails, tuple(problems))
