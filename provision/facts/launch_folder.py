"""The launch files on a node, whatever their names: what was prepared there, by whom ever.

Files of secrets (``*.env``) never leave the node, not even encoded: only the beginning of their SHA-256 does, and
whether a container was started with what they hold is compared there.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.results import Result
from provision.shell import quote


@dataclass(frozen=True, slots=True)
class LaunchFile:
    """``mode``: permission bits. ``digest`` is there for every file, ``content`` not for secrets."""

    mode: int
    digest: str
    content: bytes | None = None


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
  case $file in
  *.env) content=:$(sha256sum < "$file" | cut -c1-16) ;;
  *) content=$(base64 < "$file" | tr -d '\\n') ;;
  esac
  printf '%s %s %s\\n' "$(stat -c %a "$file")" "$content" "${{file##*/}}"
done
"""

    def parse(self, raw: Result) -> LaunchFolderValue:
        files: dict[str, LaunchFile] = {}
        problems = []
        for line in raw.stdout.splitlines():
            try:
                mode, encoded, name = line.split(" ", 2)
                files[name] = _file(int(mode, 8), encoded)
            except (ValueError, binascii.Error):
                problems.append(line)
        return LaunchFolderValue(files, tuple(problems))


def digest_of(content: bytes) -> str:
    """The beginning of the SHA-256, 16 hex digits, as the probe takes it."""
    return hashlib.sha256(content).hexdigest()[:16]


def _file(mode: int, encoded: str) -> LaunchFile:
    if encoded.startswith(":"):
        return LaunchFile(mode, encoded[1:])
    content = base64.b64decode(encoded, validate=True)
    return LaunchFile(mode, digest_of(content), content)


@dataclass(frozen=True, slots=True)
class StaleSecretsValue:
    """Names of processes whose container was started with other secrets than their file holds now."""

    processes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StaleSecrets(Fact[StaleSecretsValue]):
    """Whether our containers of ``cluster`` run with the secrets in ``folder``; compared on the node."""

    name: ClassVar[str] = "stale-secrets"
    deadline: ClassVar[float] = 30.0
    cluster: str = ""
    folder: str = ""

    def script(self) -> str:
        label = quote(f"label=qnext.cluster={self.cluster}")
        return f"""\
docker ps -a --filter {label} --format '{{{{.ID}}}} {{{{.Label "qnext.process"}}}}' | while read -r id process; do
  file={quote(self.folder)}/$process.env
  [ -f "$file" ] || continue
  docker inspect --format '{{{{range .Config.Env}}}}{{{{println .}}}}{{{{end}}}}' "$id" |
    grep -qxFf "$file" || echo "$process"
done
"""

    def parse(self, raw: Result) -> StaleSecretsValue:
        return StaleSecretsValue(tuple(raw.stdout.split()))
