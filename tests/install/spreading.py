"""Nodes as folders, between which the real scripts of a spread run: ``ssh`` is one that starts the other's script here.

Each node has its files in ``<name>/data`` and our folder in ``<name>/plan``; its name is its address too.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from provision.install import spread
from provision.install.manifest import File
from provision.install.ties import Door, Key

SSH = """#!/bin/sh
# What the real client would say and do; `cut` beside a node's folder breaks the connection after so many bytes, once.
[ "$1" = -Q ] && { echo aes256-gcm@openssh.com; exit 0; }
for word; do before=$address address=$last last=$word; done
echo "$address" >>"$ASKED"
node=$NODES/$address
[ -e "$node/plan/serve" ] || { echo "ssh: connect to host $address port 22: Connection refused" >&2; exit 255; }
if [ -e "$node/cut" ]; then
  read -r bytes <"$node/cut"; rm "$node/cut"
  sh "$node/plan/serve" | head -c "$bytes"
  echo "client_loop: send disconnect: Broken pipe" >&2
  exit 255
fi
exec sh "$node/plan/serve"
"""


@dataclass
class Field:
    """``contents``: what the files of the list must hold, by path."""

    place: Path
    contents: dict[str, bytes]
    shell: str = "sh"
    running: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.place / "bin").mkdir()
        (self.place / "bin" / "ssh").write_text(SSH)
        (self.place / "bin" / "ssh").chmod(0o755)

    @property
    def listing(self) -> spread.Listing:
        return spread.Listing(
            tuple(File(p, len(c), hashlib.sha256(c).hexdigest()) for p, c in sorted(self.contents.items()))
        )

    def folder(self, node: str) -> Path:
        return self.place / node / "data"

    def plan(self, node: str) -> Path:
        return self.place / node / "plan"

    def holder(self, node: str) -> None:
        """A node that has all."""
        self._write(node, self.contents)
        self._prepare(node, None, ())

    def taker(
        self, node: str, *parents: str, has: dict[str, bytes] | None = None, want: list[str] | None = None
    ) -> str:
        """A node that lacks what it hasn't got right; what preparing it says."""
        self._write(node, has or {})
        return self._prepare(node, want if want is not None else self.lacks(node), parents)

    def lacks(self, node: str) -> list[str]:
        return [path for path in self.contents if self.read(node, path) != self.contents[path]]

    def read(self, node: str, path: str) -> bytes | None:
        full = self.folder(node) / path
        return full.read_bytes() if full.exists() else None

    def start(self, node: str, patience: int = 1, silence: int = 60) -> None:
        """Its job."""
        folder, plan = str(self.folder(node)), str(self.plan(node))
        script = spread.fetch_script(folder, plan, self.listing, patience=patience, silence=silence, streams=2)
        self.running.append(self._run(script))

    def ended(self) -> list[str]:
        """The logs of all jobs, which are awaited."""
        return [process.communicate(timeout=60)[0] for process in self.running]

    def fetch(self, node: str, patience: int = 1, silence: int = 60) -> str:
        """Run one to its end."""
        self.running.clear()
        self.start(node, patience, silence)
        return self.ended()[0]

    def _write(self, node: str, contents: dict[str, bytes]) -> None:
        for path, content in contents.items():
            full = self.folder(node) / path
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(content)

    def _prepare(self, node: str, want: list[str] | None, parents: tuple[str, ...]) -> str:
        folder, plan = str(self.folder(node)), str(self.plan(node))
        doors = [Door(name, "root", name, 22, ("ssh-ed25519 AAAA",)) for name in parents]
        texts = spread.texts(
            spread.serve_script(folder, plan, self.listing), listing=self.listing, want=want, ask=doors,
            address="192.0.2.9", key=Key("private\n", "public"),
        )  # fmt: skip
        script = spread.prepare_script(plan, folder=folder, takes=want is not None)
        (self.place / "input").write_bytes(spread.packed(texts))
        done = self._run(script, stdin=self.place / "input")
        return done.communicate(timeout=30)[0]

    def _run(self, script: str, stdin: Path | None = None) -> subprocess.Popen[str]:
        path = f"{self.place}/bin:{os.environ['PATH']}"
        environment = {
            "PATH": path,
            "NODES": str(self.place),
            "ASKED": str(self.place / "asked"),
            "HOME": "/nonexistent",
        }
        with open(stdin or os.devnull, "rb") as source:
            return subprocess.Popen(
                [*self.shell.split(), "-c", script], stdin=source, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, env=environment,
            )  # fmt: skip
