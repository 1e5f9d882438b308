"""Ties: for a while one node may ask one thing of another, by SSH over the data network, with a key made for this run.

The key's private half lies, for root alone, in the cluster's folder on those who ask. Its public half stands in
``authorized_keys`` of those who are asked, with one forced command, for the addresses of those who ask, and nothing
else. Host keys are verified: they were read over our own, verified connection. Every line of ours ends in the comment
``qnext:<cluster>``, by which it is found and taken away again; all other lines stay as they are to the byte.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provision.shell import quote

HOST_KEY_TYPES = re.compile(r"(ssh|ecdsa|sk)-[a-z0-9@.-]+\Z")


@dataclass(frozen=True, slots=True)
class Key:
    """A key pair as OpenSSH writes it; ``public`` is type and base64, without a comment."""

    private: str
    public: str


@dataclass(frozen=True, slots=True)
class Door:
    """How a node is reached from others: as ``user``, at ``address`` and ``port``, known by its ``host_keys``."""

    name: str
    user: str
    address: str
    port: int
    host_keys: tuple[str, ...]

    @property
    def known(self) -> str:
        """Its lines of a known_hosts file."""
        host = self.address if self.port == 22 else f"[{self.address}]:{self.port}"
        return "".join(f"{host} {key}\n" for key in self.host_keys)


def new_key() -> Key:
    """A new Ed25519 key. The private half is known to the redactor of secrets from now on."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    from provision.secrets import Secret

    pair = Ed25519PrivateKey.generate()
    private = pair.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = pair.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    body = "\n".join(line for line in private.splitlines() if not line.startswith("-----"))
    return Key(Secret.of(body).reveal() and private, public)


def comment(cluster: str) -> str:
    """What our lines end in."""
    return f"qnext:{cluster}"


def options(sources: Iterable[str], permits: Sequence[str] = ()) -> str:
    """What a line lets do: come from ``sources`` (addresses), run the forced command that follows, and ``permits``
    (such as ``port-forwarding``). Raises ``ValueError`` where a source is no address: it would be a pattern."""
    addresses = sorted({str(ipaddress.ip_address(source)) for source in sources})
    if not addresses:
        raise ValueError("a tie without a source would be open to all")
    return ",".join(["restrict", f'from="{",".join(addresses)}"', *permits])


def admit(cluster: str, key: Key, allowed: str, command: str, *, become: bool, port: int = 0) -> str:
    """A script, to be run as the login user: lets the key in, in place of an earlier one of this cluster.

    ``allowed``: see ``options``. ``command`` is a command line without double quotes; where the user is not root and
    ``become`` is true, it runs by ``sudo -n``, which is proven. Prints what ``door`` reads. ``port``: of sshd, where
    it is known; 0: that of our own connection.
    """
    if '"' in command or "\n" in command:
        raise ValueError("a forced command that holds a quote would end before its end")
    return _ADMIT.format(
        become="1" if become else "",
        start=quote(f'{allowed},command="'),
        end=quote(f'{command}" {key.public} {comment(cluster)}'),
        port=port or "",
        edit=_EDIT.format(pattern=_pattern(cluster)),
    )


def dismiss(cluster: str) -> str:
    """A script, to be run as the login user, or as root for root's own: takes our lines away."""
    return _EDIT.format(pattern=_pattern(cluster)) + _DISMISS


def _pattern(cluster: str) -> str:
    return quote(f"/ {comment(cluster).replace('.', '[.]')}$/d")


def door(name: str, address: str, said: str) -> Door:
    """What ``admit`` printed. Raises ``ValueError`` where that is not all there."""
    words = [line.split() for line in said.splitlines()]
    found = {each[0]: each[1] for each in words if len(each) == 2}
    keys = [" ".join(each[-2:]) for each in words if each[:1] == ["key"] and len(each) == 3]
    keys = [key for key in dict.fromkeys(keys) if HOST_KEY_TYPES.match(key.split()[0])]
    if not keys:
        raise ValueError("no public host key of sshd was found in /etc/ssh, nor by ssh-keyscan")
    if "user" not in found or not found.get("port", "").isdigit():
        raise ValueError("user and port of the connection are not known")
    return Door(name, found["user"], address, int(found["port"]), tuple(keys))


# Homes may be one and the same on several nodes, which then write the same line at the same time.
# A new line comes first, so that a last line without its end is no question. The file is replaced in one step by a copy
# that has its owner, mode and label: a full disk leaves the old one.
_EDIT = """\
umask 077
d=${{HOME:?}}/.ssh f=${{HOME:?}}/.ssh/authorized_keys
[ ! -L "$f" ] || f=$(readlink -f "$f")
t=$f.qnext.$(uname -n).$$
edit() {{
if [ -e "$f" ]; then cp -p -- "$f" "$t"; else : >"$t"; fi &&
{{ [ -z "$1" ] || printf '%s\\n' "$1"; [ ! -e "$f" ] || sed {pattern} "$f"; }} >"$t" &&
mv -f -- "$t" "$f" || {{ rm -f -- "$t"; return 1; }}
}}
"""

_DISMISS = """\
[ -e "$f" ] || exit 0
edit '' || [ ! -e "$f" ] || exit
[ -e "$f" ] || exit 0
[ -s "$f" ] || { rm -f -- "$f"; rmdir "$d" 2>/dev/null || :; }
"""

_ADMIT = """\
{edit}
sudo=
if [ '{become}' ] && [ "$(id -u)" != 0 ]; then sudo -n true || exit 77; sudo='sudo -n '; fi
[ -d "$d" ] || mkdir -p "$d" || exit
edit {start}"$sudo"{end} || exit
command -v restorecon >/dev/null && restorecon "$d" "$f" 2>/dev/null
set -- ${{SSH_CONNECTION:-}}
p={port}; p=${{p:-${{4:-22}}}}
echo "user $(id -un)"
echo "port $p"
for k in /etc/ssh/ssh_host_*_key.pub; do [ -r "$k" ] && sed 's/^\\([^ ]* [^ ]*\\).*/key \\1/' "$k"; done
command -v ssh-keyscan >/dev/null && timeout 10 ssh-keyscan -T 3 -p "$p" "${{3:-127.0.0.1}}" 2>/dev/null |
sed -n 's/^[^# ][^ ]* \\([^ ]* [^ ]*\\).*/key \\1/p'
:
"""
