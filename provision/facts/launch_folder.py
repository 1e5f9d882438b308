"""The launch files on a node by content, whatever their names: what was prepared there, by whom ever."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.results import Result
from provision.shell import quote


@dataclass(frozen=True, slots=True)
class LaunchFile:
    """``mode``: permission bits."""

    content: bytes
    mode: int


@dataclass(frozen=True, slots=True)
class LaunchFolderValue:
    """``files`` by name; empty where the folder is missing."""

    files: Mapping[str, LaunchFile] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LaunchFolder(Fact[LaunchFolderValue]):
    """All plain files right in ``folder``."""

    name: ClassVar[str] = "launch-folder"
    folder: str = ""

    def script(self) -> str:
        return f"""\
for file in {quote(self.folder)}/*; do
  [ -f "$file" ] || continue
  printf '%s %s ' "$(stat -c %a "$file")" "$(base64 < "$file" | tr -d '\\n')"
  printf '%s\\n' "${{file##*/}}"
done
"""

    def parse(self, raw: Result) -> LaunchFolderValue:
        files: dict[str, LaunchFile] = {}
        problems = []
        for line in raw.stdout.splitlines():
            try:
                mode, encoded, name = line.split(" ", 2)
                files[name] = LaunchFile(base64.b64decode(encoded, validate=True), int(mode, 8))
            except (ValueError, binascii.Error):
                problems.append(line)
        return LaunchFolderValue(files, tuple(problems))
