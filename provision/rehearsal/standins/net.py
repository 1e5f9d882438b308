"""``ip`` and ``ss``: a node has one interface, whose address is its loopback address on the machine that rehearses."""

from __future__ import annotations

import os
import struct
import sys
from socket import inet_aton
from typing import NamedTuple

from provision.rehearsal.node import Node

INTERFACE = "eth0"
MAC = "0a:77:00:00:00:{number:02x}"


class Socket(NamedTuple):
    """A listening TCP socket of the node; ``address`` as the node sees it."""

    address: str
    port: int
    inode: int


def main(node: Node, name: str, argv: list[str]) -> int:
    """``ip [-o] [-4|-6] addr|link|route`` or ``ss``."""
    text = _ss(node) if name == "ss" else _ip(node, argv)
    if text is None:
        sys.stderr.write(f'Object "{" ".join(argv)}" is unknown, try "ip help".\n')
        return 1
    sys.stdout.write(text)
    return 0


def listeners(node: Node) -> list[Socket]:
    """What listens on the node's address; a server that wanted all addresses is shown with 0.0.0.0."""
    wanted = f"{struct.unpack('<I', inet_aton(node.address))[0]:08X}"
    found = []
    with open("/proc/net/tcp", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if len(words) > 9 and words[3] == "0A" and words[1].startswith(wanted):
                port = int(words[1].partition(":")[2], 16)
                found.append(Socket(_bound(node, port), port, int(words[9])))
    return sorted(found, key=lambda s: s.port)


def proc_net_tcp(node: Node) -> str:
    """The node's /proc/net/tcp, of listening sockets."""
    lines = ["  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"]
    for number, item in enumerate(listeners(node)):
        local = f"{struct.unpack('<I', inet_aton(item.address))[0]:08X}:{item.port:04X}"
        lines.append(
            f"{number:4d}: {local} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 {item.inode} 1 "
            "0000000000000000 100 0 0 10 0"
        )
    return "\n".join(lines) + "\n"


def bound_to_all(node: Node, port: int) -> None:
    """Remember that the server on ``port`` asked for all addresses."""
    node.state.set(f"bound/{port}", "0.0.0.0")


def _bound(node: Node, port: int) -> str:
    return node.state.get(f"bound/{port}", node.address)


def _ss(node: Node) -> str:
    lines = ["State    Recv-Q   Send-Q     Local Address:Port     Peer Address:Port   Process"]
    owners = _owners(node)
    for item in listeners(node):
        who = owners.get(item.inode, "")
        lines.append(f"LISTEN   0        128        {item.address}:{item.port}          0.0.0.0:*   {who}".rstrip())
    return "\n".join(lines) + "\n"


def _owners(node: Node) -> dict[int, str]:
    """Socket inode -> ``users:((…))``, for the node's own processes."""
    from provision.rehearsal.standins.ps import processes

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


def _ip(node: Node, argv: list[str]) -> str | None:
    words = [word for word in argv if not word.startswith("-")]
    flags = {word for word in argv if word.startswith("-")}
    kind = words[0] if words else ""
    device = _named(words)
    if kind and "address".startswith(kind):
        return "" if "-6" in flags else _addresses(node, device)
    if kind and "link".startswith(kind):
        return _links(node, device)
    if kind and "route".startswith(kind):
        return _route(node, words)
    return None


def _named(words: list[str]) -> str:
    """The interface after ``dev``, or after ``show``; empty for all."""
    for keyword in ("dev", "show", "list"):
        if keyword in words[:-1] and words[words.index(keyword) + 1] != "dev":
            return words[words.index(keyword) + 1]
    return ""


def _addresses(node: Node, device: str) -> str:
    network = node.address.rpartition(".")[0]
    lines = {
        "lo": r"1: lo    inet 127.0.0.1/8 scope host lo\       valid_lft forever preferred_lft forever",
        INTERFACE: f"2: {INTERFACE}    inet {node.address}/24 brd {network}.255 scope global {INTERFACE}"
        r"\       valid_lft forever preferred_lft forever",
        "docker0": r"3: docker0    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0"
        r"\       valid_lft forever preferred_lft forever",
    }
    return "".join(line + "\n" for name, line in lines.items() if device in ("", name))


def _links(node: Node, device: str) -> str:
    mac = MAC.format(number=int(node.address.rpartition(".")[2]))
    lines = {
        "lo": r"1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN mode DEFAULT group default qlen 1000"
        r"\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00",
        INTERFACE: f"2: {INTERFACE}: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP mode DEFAULT group "
        rf"default qlen 1000\    link/ether {mac} brd ff:ff:ff:ff:ff:ff",
        "docker0": r"3: docker0: <NO-CARRIER,BROADCAST,MULTICAST,UP> mtu 1500 qdisc noqueue state DOWN mode DEFAULT group "
        r"default \    link/ether 02:42:7c:11:22:33 brd ff:ff:ff:ff:ff:ff",
    }
    return "".join(line + "\n" for name, line in lines.items() if device in ("", name))


def _route(node: Node, words: list[str]) -> str:
    gateway = node.address.rpartition(".")[0] + ".254"
    if "get" in words:
        target = words[words.index("get") + 1]
        return f"{target} dev {INTERFACE} src {node.address} uid 0\\    cache\n"
    network = node.address.rpartition(".")[0]
    return (
        f"default via {gateway} dev {INTERFACE} proto static\n"
        f"{network}.0/24 dev {INTERFACE} proto kernel scope link src {node.address}\n"
    )


def proc_net_route(node: Node) -> str:
    """The node's /proc/net/route: default route and own network."""
    network = node.address.rpartition(".")[0]

    def word(text: str) -> str:
        return f"{struct.unpack('<I', inet_aton(text))[0]:08X}"

    rows = [
        ("00000000", word(f"{network}.254"), "0003", "00000000"),
        (word(f"{network}.0"), "00000000", "0001", word("255.255.255.0")),
    ]
    lines = ["Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"]
    lines += [f"{INTERFACE}\t{to}\t{via}\t{flags}\t0\t0\t100\t{mask}\t0\t0\t0" for to, via, flags, mask in rows]
    return "\n".join(lines) + "\n"


def proc_net_dev() -> str:
    """The node's /proc/net/dev."""
    head = "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs drop|bytes    packets errs drop\n"
    return head + "".join(
        f"{name:>6}: 8144 96 0 0 0 0 0 0 8144 96 0 0 0 0 0 0\n" for name in ("lo", INTERFACE, "docker0")
    )
