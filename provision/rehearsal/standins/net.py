"""What /proc/net, ``ip`` and ``ss`` tell of a node: one interface, and the listening sockets of its loopback address."""

from __future__ import annotations

import os
import struct
from socket import inet_aton
from typing import NamedTuple

from provision.rehearsal.node import Node
from provision.rehearsal.standins.ps import processes

INTERFACE = "eth0"
MAC = "0a:77:00:00:00:{number:02x}"

_FOREVER = r"\       valid_lft forever preferred_lft forever"


class Card(NamedTuple):
    """A network interface; ``speed`` in Mb/s, None where the kernel knows none."""

    name: str
    mtu: int
    state: str
    speed: int | None
    mac: str


def cards(node: Node) -> list[Card]:
    """The node's interfaces, with their faults: ``nic/<name>/mtu``, ``speed``, ``state``."""
    mac = MAC.format(number=node.number)
    usual = [
        Card("lo", 65536, "unknown", None, "00:00:00:00:00:00"),
        Card(INTERFACE, 1500, "up", 25000, mac),
        Card("docker0", 1500, "down", None, "02:42:7c:11:22:33"),
    ]
    return [_faulty(node, card) for card in usual]


def _faulty(node: Node, card: Card) -> Card:
    key, state = f"nic/{card.name}", node.state
    speed = int(state.number(f"{key}/speed", card.speed)) if card.speed is not None else None
    return card._replace(
        mtu=int(state.number(f"{key}/mtu", card.mtu)), state=state.get(f"{key}/state", card.state), speed=speed
    )


class Socket(NamedTuple):
    """A listening TCP socket of the node; ``address`` as the node sees it."""

    address: str
    port: int
    inode: int


def static_files(node: Node) -> dict[str, str]:
    """Files below the node's root that never change. Those with a dot are what the commands print."""
    return {
        "proc/net/dev": _dev(),
        "proc/net/route": _kernel_routes(node),
        "proc/net/tcp6": "  sl  local_address                         remote_address                        st\n",
        "proc/net/if_inet6": "",
        "proc/net/.addr": _addresses(node),
        "proc/net/.link": _links(node),
        "proc/net/.route": _routes(node),
    }


def live_files(node: Node, found: list[Socket]) -> dict[str, str]:
    """Files that tell the node's listening sockets."""
    return {"proc/net/tcp": _tcp(found), "proc/net/.ss": _ss(node, found)}


def listeners(node: Node) -> list[Socket]:
    """What listens on the node's address; a server that wanted all addresses is shown with 0.0.0.0."""
    wanted = _word(node.address)
    found = []
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if len(words) > 9 and words[3] == "0A" and words[1].startswith(wanted):
                port = int(words[1].partition(":")[2], 16)
                found.append(Socket(node.state.get(f"bound/{port}", node.address), port, int(words[9])))
    return sorted(found, key=lambda s: s.port)


def bound_to_all(node: Node, port: int) -> None:
    """Remember that the server on ``port`` asked for all addresses."""
    node.state.set(f"bound/{port}", "0.0.0.0")


def _word(address: str) -> str:
    """An address as the kernel prints it: hexadecimal, in the machine's order."""
    return f"{struct.unpack('<I', inet_aton(address))[0]:08X}"


def _tcp(found: list[Socket]) -> str:
    lines = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"]
    lines += [
        f"{number:4d}: {_word(item.address)}:{item.port:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000"
        f"     0        0 {item.inode} 1 0000000000000000 100 0 0 10 0"
        for number, item in enumerate(found)
    ]
    return "\n".join(lines) + "\n"


def _ss(node: Node, found: list[Socket]) -> str:
    owners = _owners(node) if found else {}
    lines = ["State    Recv-Q   Send-Q     Local Address:Port     Peer Address:Port   Process"]
    for item in found:
        who = owners.get(item.inode, "")
        lines.append(f"LISTEN   0        128        {item.address}:{item.port}          0.0.0.0:*   {who}".rstrip())
    return "\n".join(lines) + "\n"


def _owners(node: Node) -> dict[int, str]:
    """Socket inode -> ``users:((…))``, for the node's own processes."""
    found = {}
    for pid in processes(node):
        folder = f"/proc/{pid}/fd"
        try:
            links = [(fd, os.readlink(f"{folder}/{fd}")) for fd in os.listdir(folder)]
        except OSError:
            continue
        for fd, link in links:
            if link.startswith("socket:["):
                found[int(link[8:-1])] = f'users:(("{_comm(pid)}",pid={pid},fd={fd}))'
    return found


def _comm(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return "?"


def _network(node: Node) -> str:
    """The first three octets of the node's address."""
    return node.address.rpartition(".")[0]


def _addresses(node: Node) -> str:
    own = (
        ""
        if node.state.get(f"nic/{INTERFACE}/address") == "none"
        else (f"2: {INTERFACE}    inet {node.address}/24 brd {_network(node)}.255 scope global {INTERFACE}{_FOREVER}\n")
    )
    return (
        f"1: lo    inet 127.0.0.1/8 scope host lo{_FOREVER}\n{own}"
        f"3: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0{_FOREVER}\n"
    )


def _links(node: Node) -> str:
    """What ``ip -o link`` says of every interface."""
    flags = {"lo": "LOOPBACK", "docker0": "NO-CARRIER,BROADCAST,MULTICAST"}
    lines = []
    for number, card in enumerate(cards(node), 1):
        up = ",UP,LOWER_UP" if card.state != "down" else ",UP" if card.name == "docker0" else ""
        queue, kind = ("mq", "ether") if card.name == INTERFACE else ("noqueue", "ether")
        kind, there = ("loopback", "00:00:00:00:00:00") if card.name == "lo" else (kind, "ff:ff:ff:ff:ff:ff")
        lines.append(
            f"{number}: {card.name}: <{flags.get(card.name, 'BROADCAST,MULTICAST')}{up}> mtu {card.mtu} qdisc {queue} state"
            f" {card.state.upper()} mode DEFAULT group default qlen 1000\\    link/{kind} {card.mac} brd {there}\n"
        )
    return "".join(lines)


def _routes(node: Node) -> str:
    network = _network(node)
    return (
        f"default via {network}.254 dev {INTERFACE} proto static\n"
        f"{network}.0/24 dev {INTERFACE} proto kernel scope link src {node.address}\n"
    )


def _kernel_routes(node: Node) -> str:
    """/proc/net/route: default route and own network."""
    network = _network(node)
    rows = [
        ("00000000", _word(f"{network}.254"), "0003", "00000000"),
        (_word(f"{network}.0"), "00000000", "0001", _word("255.255.255.0")),
    ]
    lines = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"]
    lines += [f"{INTERFACE}\t{to}\t{via}\t{flags}\t0\t0\t100\t{mask}\t0\t0\t0" for to, via, flags, mask in rows]
    return "\n".join(lines) + "\n"


def _dev() -> str:
    head = (
        "Inter-|   Receive                |  Transmit\n face |bytes    packets errs drop|bytes    packets errs drop\n"
    )
    rows = [f"{name:>6}: 8144 96 0 0 0 0 0 0 8144 96 0 0 0 0 0 0\n" for name in ("lo", INTERFACE, "docker0")]
    return head + "".join(rows)
