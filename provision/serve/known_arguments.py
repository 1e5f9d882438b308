"""Which arguments ``vllm serve`` has, by releases of vLLM: the rows of ``arguments.yaml``.

Only some releases were looked at, so what can be said of one between two of them is only what both have or lack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from provision import yamlio
from provision.serve.releases import Release

FILE = Path(__file__).resolve().parent / "arguments.yaml"


@dataclass(frozen=True, slots=True)
class Span:
    """The first and the last of the looked-at releases of vLLM that have an argument. ``before`` and ``after`` are the
    nearest that were looked at and lack it; None: none was."""

    first: Release
    last: Release
    before: Release | None
    after: Release | None

    def lacks(self, vllm: Release) -> bool:
        """Whether that release of vLLM certainly has no such argument."""
        return (self.before is not None and vllm <= self.before) or (self.after is not None and vllm >= self.after)


@cache
def known_arguments() -> Mapping[str, Span]:
    """All known arguments by name. Raises ``ConfigError`` for a malformed file."""
    data = yamlio.load(FILE).data
    looked = [Release(name) for name in data["looked"]]
    spans: dict[str, Span] = {}
    for row in data["arguments"]:
        first, last = Release(row["first"]), Release(row["last"])
        before = max((release for release in looked if release < first), default=None)
        after = min((release for release in looked if release > last), default=None)
        spans |= dict.fromkeys(str(row["names"]).split(), Span(first, last, before, after))
    return spans
