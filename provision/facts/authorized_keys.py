"""Keys by which nodes of a cluster may ask this one over SSH: lines in ``authorized_keys`` that end in our comment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints
from provision.results import Result
from provision.shell import quote


@dataclass(frozen=True, slots=True)
class AuthorizedKeysValue:
    """``files`` hold lines of the cluster's: none but while something is spread from node to node."""

    files: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthorizedKeys(Fact[AuthorizedKeysValue]):
    """Where keys of this cluster let somebody in: root's file, those below /home, and the login user's."""

    name: ClassVar[str] = "authorized-keys"
    cluster: str = ""

    def script(self) -> str:
        return _LOOK.format(comment=quote(f" qnext:{self.cluster}$"))

    def parse(self, raw: Result) -> AuthorizedKeysValue:
        files = dict.fromkeys(line for line in raw.stdout.splitlines() if line.startswith("/"))
        return AuthorizedKeysValue(tuple(files), complaints(raw))


_LOOK = """\
h=
[ -z "${{SUDO_USER:-}}" ] || h=$(getent passwd "$SUDO_USER" 2>/dev/null | cut -d: -f6)
for d in /root /home/* "$HOME" "${{h:-/root}}"; do
f=$d/.ssh/authorized_keys; [ -f "$f" ] && grep -l {comment} "$f" 2>/dev/null
done
:
"""
