"""Interfaces, addresses and names of a node, and the TCP ports that are taken on it."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, decimal, integer, pairs, section
from provision.results import Result


@dataclass(frozen=True, slots=True)
class Address:
    """An address of an interface; ``prefix`` in bits."""

    ip: str
    prefix: int | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface; ``state`` as the kernel says (up, down, unknown), ``mtu`` in bytes.

    ``kind``: physical, loopback, bond, bridge, vlan, veth, or another word of ``ip -d``; empty where it can't be told.
    ``speed`` in Mb/s (of a bond: of its members together), ``duplex`` (full, half) and ``driver`` are there for what
    has them. ``carrier``: whether the link is there, None for an interface that is switched off. ``master``: the bond
    or bridge it belongs to.
    """

    name: str
    state: str = ""
    mtu: int | None = None
    mac: str = ""
    addresses: tuple[Address, ...] = ()
    kind: str = ""
    speed: int | None = None
    duplex: str = ""
    driver: str = ""
    carrier: bool | None = None
    master: str = ""

    @property
    def up(self) -> bool:
        """Loopback and tunnels say "unknown" when they work."""
        return self.state in ("up", "unknown")


@dataclass(frozen=True, slots=True)
class NetworkValue:
    """``ssh_server_address`` is the node's own address in our SSH connection: the best guess of a reachable one.

    ``hostname_addresses`` is what the node's resolver gives for its own name; ``lookup_timed_out`` when that took
    over 3 s (torch's rendezvous then stalls for minutes). ``lookup_seconds``: how long it took, to a hundredth.
    ``hosts_addresses``: what /etc/hosts says of the name. ``nameservers``: of /etc/resolv.conf, in order.
    """

    hostname: str = ""
    hostname_addresses: tuple[str, ...] = ()
    lookup_timed_out: bool = False
    interfaces: tuple[Interface, ...] = ()
    default_interface: str | None = None
    default_gateway: str | None = None
    ssh_server_address: str | None = None
    lookup_seconds: float | None = None
    hosts_addresses: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def interface(self, name: str) -> Interface | None:
        """The interface called ``name``."""
        return next((i for i in self.interfaces if i.name == name), None)

    def interface_of(self, address: str) -> Interface | None:
        """The interface that owns ``address``."""
        return next((i for i in self.interfaces if any(a.ip == address for a in i.addresses)), None)

    def members(self, name: str) -> tuple[Interface, ...]:
        """The interfaces that the bond or bridge called ``name`` is made of."""
        return tuple(i for i in self.interfaces if i.master == name)


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
        hostname = said.get("hostname", "")
        problems = complaints(raw) + (() if interfaces else ("no network interface was found",))
        return NetworkValue(
            hostname=hostname,
            hostname_addresses=tuple(dict.fromkeys(line.split()[0] for line in lookup[:-1] if line.split())),
            lookup_timed_out=lookup[-1:] == ["exit 124"],
            interfaces=interfaces,
            default_interface=default.interface if default else None,
            default_gateway=default.gateway if default else None,
            ssh_server_address=_ip(ssh[2]) if len(ssh) > 2 else None,
            lookup_seconds=_elapsed(said.get("before", ""), section(text, "after")),
            hosts_addresses=tuple(dict.fromkeys(_in_hosts(section(text, "names"), hostname))),
            nameservers=tuple(re.findall(r"^/etc/resolv.conf:nameserver\s+(\S+)", section(text, "names"), re.M)),
            problems=problems,
        )


# sudo drops SSH_CONNECTION, so it's looked for in the processes above. /sys shows the namespace it was mounted in,
# /proc/net and ip the one we're in: what /sys says of an interface only counts where index and address are the same.
# It's read by the shell itself: no process a file. Pods' ends of links are left out, there may be hundreds.
_LOOK = """\
h=$(uname -n); s=${SSH_CONNECTION:-}; p=$PPID; n=0
while [ -z "$s" ] && [ "${p:-0}" -gt 1 ] && [ $n -lt 12 ]; do
  s=$(tr '\\0' '\\n' 2>/dev/null <"/proc/$p/environ" | sed -n 's/^SSH_CONNECTION=//p')
  p=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$p/status" 2>/dev/null); n=$((n + 1))
done
b=; read -r b n </proc/uptime
echo '@@ self'; echo "hostname=$h"; echo "ssh=$s"; echo "before=$b"
echo '@@ lookup'
if command -v getent >/dev/null; then timeout 3 getent ahosts "$h"; echo "exit $?"
else awk -v h="$h" '{ for (i = 2; i <= NF; i++) if ($i == h) print $1 }' /etc/hosts; echo "exit 0"; fi
b=; read -r b n </proc/uptime
echo '@@ after'; echo "$b"
echo '@@ names'; grep -sHE "^nameserver|[[:space:]]$h([[:space:]]|#|\\$)" /etc/resolv.conf /etc/hosts
echo '@@ dev'; cat /proc/net/dev
echo '@@ route'; cat /proc/net/route
echo '@@ inet6'; cat /proc/net/if_inet6 2>/dev/null
if command -v ip >/dev/null; then
  echo '@@ link'; ip -o -d link show 2>/dev/null || ip -o link show; echo '@@ addr'; ip -o addr show
else echo '@@ trie'; cat /proc/net/fib_trie; fi
echo '@@ sys'
for d in /sys/class/net/*; do
  case $d in */veth* | */cali* | */lxc*) continue ;; esac
  [ -r "$d/mtu" ] || continue
  o="${d##*/}"
  for f in mtu operstate address ifindex type speed duplex carrier; do
    v=; { read -r v <"$d/$f"; } 2>/dev/null
    case $f in mtu | operstate | address) o="$o ${v:--}" ;; *) o="$o $f=$v" ;; esac
  done
  [ -e "$d/device" ] && o="$o kind=physical"
  [ -d "$d/bonding" ] && o="$o kind=bond"
  [ -d "$d/bridge" ] && o="$o kind=bridge"
  { while read -r v; do case $v in DEVTYPE=* | DRIVER=*) o="$o $v" ;; esac; done <"$d/uevent"; } 2>/dev/null
  { while read -r v; do case $v in DRIVER=*) o="$o $v" ;; esac; done <"$d/device/uevent"; } 2>/dev/null
  echo "$o"
done
:
"""


def _elapsed(before: str, after: str) -> float | None:
    first, last = decimal(before), decimal(after)
    return None if first is None or last is None else round(max(0.0, last - first), 2)


def _in_hosts(text: str, hostname: str) -> Iterator[str]:
    """Addresses of /etc/hosts for ``hostname``; lines are those that grep found, with the file's name before."""
    for line in text.splitlines():
        file, _, entry = line.partition(":")
        address, *names = [*entry.partition("#")[0].split(), ""]
        own = file == "/etc/hosts" and hostname and hostname.lower() in (name.lower() for name in names)
        if own and (ip := _ip(address)):
            yield ip


def _ip(text: str) -> str | None:
    """An address in its usual spelling; None for anything else."""
    try:
        return str(ipaddress.ip_address(text.partition("%")[0]))
    except ValueError:
        return None


def _interfaces(text: str, addresses: dict[str, list[Address]]) -> Iterator[Interface]:
    """Every interface of /proc/net/dev, with what ip or /sys tell of it."""
    details = {name: _known(name, said) for name, said in _details(text).items()}
    names = [line.partition(":")[0].strip() for line in section(text, "dev").splitlines() if ":" in line]
    for name in dict.fromkeys((*names, *details)):
        yield replace(details.get(name, Interface(name)), addresses=tuple(addresses.get(name, ())))


def _details(text: str) -> dict[str, dict[str, str]]:
    """By interface: attributes from ip, with those of /sys where they are of the same interface."""
    links, seen = dict(_links(section(text, "link"))), dict(_sys(section(text, "sys")))
    for name, link in links.items():
        same = seen.get(name, {})
        if same.get("mac") == link["mac"] and same.get("ifindex") in ("", None, link["ifindex"]):
            links[name] = {**same, **{key: value for key, value in link.items() if value}}
    return links or seen


def _known(name: str, said: Mapping[str, str]) -> Interface:
    speed = integer(said.get("speed", ""))
    kind = said.get("kind") or said.get("DEVTYPE", "")
    return Interface(
        name=name,
        state=said.get("state", ""),
        mtu=integer(said.get("mtu", "")),
        mac=said.get("mac", ""),
        kind="loopback" if said.get("type") == "772" else kind,
        speed=speed if speed is not None and 0 < speed < 2**31 else None,
        duplex=said.get("duplex", "").replace("unknown", ""),
        driver=said.get("DRIVER", ""),
        carrier={"1": True, "0": False}.get(said.get("carrier", "")),
        master=said.get("master", ""),
    )


def _links(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """``2: eth0@if5: <BROADCAST,UP,LOWER_UP> mtu 1500 … master bond0 state UP … link/ether 02:42:… brd …``."""
    for line in text.splitlines():
        match = re.match(r"([0-9]{1,9}): ([^:@\s]+)(?:@\S+)?: <([^>]*)> (.*)", line)
        if match:
            flags, rest = match[3].split(","), match[4]
            words = {key: re.search(rf"\b{key} (\S+)", rest) for key in ("state", "mtu", "master")}
            mac = re.search(r"\blink/(\S+) ((?:[0-9a-f]{2}:){5,}[0-9a-f]{2})", rest)
            said = {key: word[1] if word else "" for key, word in words.items()}
            yield (
                match[2],
                {
                    **said,
                    "state": said["state"].lower(),
                    "ifindex": match[1],
                    "mac": mac[2] if mac else "",
                    "type": "772" if mac and mac[1] == "loopback" else "",
                    "kind": _kind(rest),
                    "carrier": str(int("LOWER_UP" in flags)) if "UP" in flags else "",
                },
            )


def _kind(text: str) -> str:
    """What ``ip -d`` says: a word before the attributes of its kind, or the bus that a card sits on."""
    if re.search(r"\bparentbus (pci|virtio|usb|platform)\b", text):
        return "physical"
    match = re.search(r"\\ +(bond|bridge|vlan|veth|vxlan|tun|macvlan|ipvlan|dummy|ipip|gre|wireguard|ifb)\b", text)
    return match[1] if match else ""


def _sys(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    """``eth0 1500 up 02:42:… ifindex=2 type=1 speed=25000 duplex=full carrier=1 kind=physical DRIVER=hns3``."""
    for line in text.splitlines():
        words = [*line.split(), "", "", ""]
        said = dict(word.partition("=")[::2] for word in words[4:] if "=" in word)
        if words[0]:
            yield words[0], {**said, "mtu": words[1], "state": words[2], "mac": words[3]}


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
