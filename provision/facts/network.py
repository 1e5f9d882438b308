"""Interfaces, addresses and names of a node, and the TCP ports that are taken on it."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, integer, pairs, section
from provision.results import Result


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface; ``prefix`` in bits."""

    ip: str
    prefix: int | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; ``state`` as the kernel says (up, down, unknown), ``mtu`` in bytes."""

    name: str
    state: str = ""
    mtu: int | None = None
    mac: str = ""
    addresses: tuple[Address, ...] = ()

    @property
    def up(self) -> bool:
        """Loopback and tunnels say "unknown" when they work."""
        return self.state in ("up", "unknown")


@dataclass(frozen=True, slots=True)
class NetworkValue:
    """``ssh_server_address`` is the node's own address in our SSH connection: the best guess of a reachable one.

    ``hostname_addresses`` is what the node's resolver gives for its own name; ``lookup_timed_out`` when that took
    over 3 s (torch's rendezvous then stalls for minutes).
    """

    hostname: str = ""
    hostname_addresses: tuple[str, ...] = ()
    lookup_timed_out: bool = False
    interfaces: tuple[Interface, ...] = ()
    default_interface: str | None = None
    default_gateway: str | None = None
    ssh_server_address: str | None = None
    problems: tuple[str, ...] = ()

    def interface(self, name: str) -> Interface | None:
        """The interface called ``name``."""
        return next((i for i in self.interfaces if i.name == name), None)

    def interface_of(self, address: str) -> Interface | None:
        """The interface that owns ``address``."""
        return next((i for i in self.interfaces if any(a.ip == address for a in i.addresses)), None)


@dataclass(frozen=True, slots=True)
class Network(Fact[NetworkValue]):
    """Interfaces with addresses, default route, own name; works without iproute2."""

    name: ClassVar[str] = "network"

    def script(self) -> str:
        return _LOOK

    def parse(self, raw: Result) -> NetworkValue:
        text = raw.stdout
        said = pairs(section(text, "self").splitlines())
        addresses = _addresses(text)
        lookup = section(text, "lookup").splitlines()
        routes = list(_routes(section(text, "route")))
        default = next((r for r in routes if r.network.prefixlen == 0), None)
        interfaces = tuple(_interfaces(text, addresses))
        ssh = said.get("ssh", "").split()
        problems = complaints(raw) + (() if interfaces else ("no network interface was found",))
        return NetworkValue(
            hostname=said.get("hostname", ""),
            hostname_addresses=tuple(dict.fromkeys(line.split()[0] for line in lookup[:-1] if line.split())),
            lookup_timed_out=lookup[-1:] == ["exit 124"],
            interfaces=interfaces,
            default_interface=default.interface if default else None,
            default_gateway=default.gateway if default else None,
            ssh_server_address=_ip(ssh[2]) if len(ssh) > 2 else None,
            problems=problems,
        )


# sudo drops SSH_CONNECTION, so it's looked for in the processes above. /sys shows the namespace it was mounted in,
# /proc/net and ip the one we're in: /sys is only asked where ip isn't there.
_LOOK = """\
h=$(uname -n); s=${SSH_CONNECTION:-}; p=$PPID; n=0
while [ -z "$s" ] && [ "${p:-0}" -gt 1 ] && [ $n -lt 12 ]; do
  s=$(tr '\\0' '\\n' 2>/dev/null <"/proc/$p/environ" | sed -n 's/^SSH_CONNECTION=//p')
  p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2>/dev/null); n=$((n + 1))
done
echo '@@ self'; echo "hostname=$h"; echo "ssh=$s"
echo '@@ lookup'
if command -v getent >/dev/null; then timeout 3 getent ahosts "$h"; echo "exit $?"
else awk -v h="$h" '{ for (i = 2; i <= NF; i++) if ($i == h) print $1 }' /etc/hosts; echo "exit 0"; fi
echo '@@ dev'; cat /proc/net/dev
echo '@@ route'; cat /proc/net/route
echo '@@ inet6'; cat /proc/net/if_inet6 2>/dev/null
if command -v ip >/dev/null; then
  echo '@@ link'; ip -o link show; echo '@@ addr'; ip -o addr show
else
  echo '@@ trie'; cat /proc/net/fib_trie
  echo '@@ sys'
  for d in /sys/class/net/*; do
    [ -r "$d/mtu" ] && echo "${d##*/} $(cat "$d/mtu" "$d/operstate" "$d/address" 2>/dev/null | tr '\\n' ' ')"
  done
fi
:
"""


def _ip(text: str) -> str | None:
    """An address in its usual spelling; None for anything else."""
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _interfaces(text: str, addresses: dict[str, list[Address]]) -> Iterator[Interface]:
    """Every interface of /proc/net/dev, with what ip or /sys tell of it."""
    details = {i.name: i for i in (*_links(section(text, "link")), *_sys(section(text, "sys")))}
    names = [line.partition(":")[0].strip() for line in section(text, "dev").splitlines() if ":" in line]
    for name in dict.fromkeys((*names, *details)):
        yield replace(details.get(name, Interface(name)), addresses=tuple(addresses.get(name, ())))


def _links(text: str) -> Iterator[Interface]:
    """``2: eth0@if5: <…> mtu 1500 … state UP … link/ether 02:42:… brd …``."""
    for line in text.splitlines():
        match = re.match(r"[0-9]+: ([^:@\s]+)(?:@\S+)?: <[^>]*> (.*)", line)
        if match:
            state = re.search(r"\bstate (\S+)", match[2])
            mtu = re.search(r"\bmtu ([0-9]{1,9})\b", match[2])
            mac = re.search(r"\blink/\S+ ((?:[0-9a-f]{2}:){5,}[0-9a-f]{2})", match[2])
            yield Interface(
                name=match[1],
                state=state[1].lower() if state else "",
                mtu=int(mtu[1]) if mtu else None,
                mac=mac[1] if mac else "",
            )


def _sys(text: str) -> Iterator[Interface]:
    """``eth0 1500 up 02:42:…``."""
    for line in text.splitlines():
        words = [*line.split(), "", "", ""]
        if words[0]:
            yield Interface(words[0], words[2], integer(words[1]), words[3])


def _addresses(text: str) -> dict[str, list[Address]]:
    """By interface: from ip where it's there, else IPv6 from if_inet6 and IPv4 from fib_trie joined with the routes."""
    found: dict[str, list[Address]] = {}
    said = list(_from_ip(section(text, "addr")))
    if not said:
        said = [*_from_trie(section(text, "trie"), section(text, "route")), *_from_inet6(section(text, "inet6"))]
    for interface, address in said:
        if address not in found.setdefault(interface, []):
            found[interface].append(address)
    return found


def _from_ip(text: str) -> Iterator[tuple[str, Address]]:
    """``2: eth0    inet 10.0.0.1/24 brd …``."""
    for line in text.splitlines():
        match = re.match(r"[0-9]+: (\S+) +inet6? ([0-9a-fA-F.:]+)(?:/([0-9]{1,3}))?", line)
        if match and (ip := _ip(match[2])):
            yield match[1].partition("@")[0], Address(ip, integer(match[3] or ""))


def _from_inet6(text: str) -> Iterator[tuple[str, Address]]:
    """``fe80…0001 02 40 20 80     eth0``: address, index, prefix, scope, flags, name."""
    for line in text.splitlines():
        match = re.fullmatch(r"([0-9a-f]{32}) [0-9a-f]+ ([0-9a-f]{2}) [0-9a-f]+ [0-9a-f]+ +(\S+)", line.strip())
        if match:
            yield match[3], Address(str(ipaddress.IPv6Address(int(match[1], 16))), int(match[2], 16))


def _from_trie(trie: str, routes: str) -> Iterator[tuple[str, Address]]:
    """The kernel's local IPv4 addresses; each belongs to the interface whose connected route holds it."""
    connected = [r for r in _routes(routes) if r.gateway is None and r.network.prefixlen > 0]
    lines = trie.splitlines()
    for line, below in pairwise(lines):
        match = re.search(r"\|-- ([0-9.]+)$", line)
        ip = _ip(match[1]) if match and "/32 host LOCAL" in below else None
        if ip is None:
            continue
        owner = _owner(ip, connected)
        if owner is not None:
            yield owner.interface, Address(ip, owner.network.prefixlen)
        elif ip.startswith("127."):
            yield "lo", Address(ip, 8)


@dataclass(frozen=True, slots=True)
class _Route:
    interface: str
    network: ipaddress.IPv4Network
    gateway: str | None


def _owner(ip: str, routes: Iterable[_Route]) -> _Route | None:
    holding = [route for route in routes if ipaddress.IPv4Address(ip) in route.network]
    return max(holding, key=lambda route: route.network.prefixlen, default=None)


def _routes(text: str) -> Iterator[_Route]:
    """/proc/net/route: addresses as hexadecimal of the machine's (little-endian) words."""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 8 or not all(re.fullmatch(r"[0-9A-F]{8}", words[i]) for i in (1, 2, 7)):
            continue
        target, gateway, mask = (struct.pack("<I", int(words[i], 16)) for i in (1, 2, 7))
        prefix = int.from_bytes(mask, "big").bit_count()
        network = ipaddress.IPv4Network((target, prefix), strict=False)
        yield _Route(words[0], network, str(ipaddress.IPv4Address(gateway)) if any(gateway) else None)


@dataclass(frozen=True, slots=True)
class Listener:
    """A listening TCP socket. ``address`` is ``0.0.0.0`` or ``::`` for all. Process and pid where readable."""

    address: str
    port: int
    pid: int | None = None
    process: str = ""


@dataclass(frozen=True, slots=True)
class PortsValue:
    """All listening TCP sockets of the node's network namespace."""

    listeners: tuple[Listener, ...] = ()
    problems: tuple[str, ...] = ()

    def holder(self, port: int) -> Listener | None:
        """Who listens on ``port`` on whatever address; None: it's free."""
        return next((x for x in self.listeners if x.port == port), None)


@dataclass(frozen=True, slots=True)
class Ports(Fact[PortsValue]):
    """Listening TCP ports, with their processes where ``ss`` is there to say."""

    name: ClassVar[str] = "ports"

    def script(self) -> str:
        return """\
echo '@@ tcp'; [ -r /proc/net/tcp ] && echo readable; grep -h ' 0A ' /proc/net/tcp /proc/net/tcp6 2>/dev/null
echo '@@ ss'; command -v ss >/dev/null && ss -ltnp 2>/dev/null
:
"""

    def parse(self, raw: Result) -> PortsValue:
        found: dict[tuple[str, int], Listener] = {}
        lines = section(raw.stdout, "tcp").splitlines()
        for listener in (*_sockets(lines), *_ss(section(raw.stdout, "ss"))):
            key = (listener.address, listener.port)
            if key not in found or listener.pid is not None:
                found[key] = listener
        problems = complaints(raw) + (() if "readable" in lines else ("/proc/net/tcp could not be read",))
        return PortsValue(tuple(found[key] for key in sorted(found, key=lambda k: (k[1], k[0]))), problems)


def _sockets(lines: Iterable[str]) -> Iterator[Listener]:
    """``0: 0100007F:0016 00000000:0000 0A …``: listening sockets of /proc/net/tcp and tcp6."""
    for line in lines:
        match = re.match(r"\s*[0-9]+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:0000 0A ", line)
        if match:
            yield Listener(_hex_address(match[1]), int(match[2], 16))


def _hex_address(text: str) -> str:
    """An address as the kernel prints it: 32-bit words in the machine's order (little-endian on x86 and arm64)."""
    words = [struct.pack("<I", int(text[i : i + 8], 16)) for i in range(0, len(text), 8)]
    return str(ipaddress.ip_address(b"".join(words)))


def _ss(text: str) -> Iterator[Listener]:
    """``LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))``."""
    for line in text.splitlines():
        match = re.match(r"LISTEN\s+\S+\s+\S+\s+(\S+):([0-9]{1,5})\s", line)
        user = re.search(r'users:\(\("(.*?)",pid=([0-9]{1,9})', line)
        if match and user:
            bare = match[1].strip("[]").partition("%")[0]
            address = "::" if bare == "*" else _ip(bare)
            if address:
                yield Listener(address, int(match[2]), int(user[2]), user[1])
