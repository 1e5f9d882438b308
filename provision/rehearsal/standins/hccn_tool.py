"""``hccn_tool -i DEVICE -WHAT -g``: the NPU's own network. Errors go to stderr; the exit status is the code & 0xFF.

Device addresses are ``29.<node>.112.<device>``; a ping reaches every node of the same rehearsal whose link is up.
"""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import Node, is_root
from provision.rehearsal.standins.faulty import maybe_hang

_NO_DEVICE = 4
_NOT_PERMITTED = 12
_UP_AGES = "Wed Aug  2 03:36:43 2026"


def main(node: Node, name: str, argv: list[str]) -> int:
    """Answer one query."""
    maybe_hang(node, "hccn_tool")
    if not is_root():
        sys.stderr.write("hccn_tool: permission denied\n")
        return _NOT_PERMITTED
    if len(argv) < 4 or argv[0] != "-i" or not argv[1].isdigit():
        sys.stderr.write("Usage: hccn_tool -i <id> -<object> [-g|-s] [options]\n")
        return 1
    device, what, rest = int(argv[1]), argv[2].lstrip("-"), argv[3:]
    if device >= node.dies or node.state.get(f"npu/{device}/missing"):
        sys.stderr.write("No such device\n")
        return _NO_DEVICE
    if rest[0] == "-s":
        sys.stdout.write("Cmd executed successfully!\n")
        return 0
    answers = {"ip": _ip, "link": _link, "net_health": _net_health, "netdetect": _netdetect, "gateway": _gateway,
               "tls": _tls, "vnic": _vnic, "lldp": _lldp, "link_stat": _link_stat, "fec": _fec, "optical": _optical,
               "stat": _stat}  # fmt: skip
    if what in ("ping", "hccs_ping"):
        return _ping(node, device, what, rest[-1])
    if what not in answers:
        sys.stderr.write(f"Unsupported object: {what}\n")
        return 1
    text = answers[what](node, device)
    if not text:
        sys.stderr.write(f"hccn_tool: no {what} is set\n")
        return 13 if what == "ip" else 2
    sys.stdout.write(text + "\n")
    return 0


def address(node: Node, device: int) -> str:
    """The device's address in the parameter plane."""
    return f"29.{number_of(node)}.112.{device + 10}"


def number_of(node: Node) -> int:
    """The node's number in its cluster, from 1."""
    return int(node.address.rpartition(".")[2])


def _fault(node: Node, device: int, key: str, default: str) -> str:
    return node.state.get(f"npu/{device}/{key}", default)


def _up(node: Node, device: int) -> bool:
    return _fault(node, device, "link", "UP") == "UP"


def _ip(node: Node, device: int) -> str:
    found = _fault(node, device, "ip", address(node, device))
    return "" if found == "none" else f"ipaddr:{found}\nnetmask:255.255.0.0"


def _link(node: Node, device: int) -> str:
    return f"link status: {_fault(node, device, 'link', 'UP')}"


def _net_health(node: Node, device: int) -> str:
    default = "Success" if _up(node, device) else "Fault"
    return f"net health status: {_fault(node, device, 'net_health', default)}"


def _netdetect(node: Node, device: int) -> str:
    return f"netdetect address: 29.{number_of(node)}.0.1"


def _gateway(node: Node, device: int) -> str:
    return f"default gateway:29.{number_of(node)}.0.1, Iface:eth{device}"


def _tls(node: Node, device: int) -> str:
    switch = _fault(node, device, "tls", "0")
    return (
        f"dev_id:{device}, tls switch[{switch}](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), "
        "tls alarm time threshold[60]days"
    )


def _vnic(node: Node, device: int) -> str:
    state = _fault(node, device, "vnic", "UP")
    return f"vnic link status: {state}\nvnic ipaddr: {_vnic_address(node, device)}\nvnic netmask: 255.255.0.0"


def _vnic_address(node: Node, device: int) -> str:
    return f"192.168.{number_of(node)}.{199 - device}"


def _lldp(node: Node, device: int) -> str:
    if not _up(node, device):
        return "End of LLDPDU TLV"
    return (
        "Chassis ID TLV\n\tMAC: 48:dc:2d:11:22:33\nPort ID TLV\n"
        f"\tIfname: 400GE1/{number_of(node)}/{device + 1}\n"
        "System Description TLV\n\tVersatile Routing Platform Software\n"
        "Maximum Frame Size TLV\n\t9216\nEnd of LLDPDU TLV"
    )


def _link_stat(node: Node, device: int) -> str:
    now = "UP" if _up(node, device) else "DOWN"
    return (
        f"[devid {device}]current time        : {_UP_AGES}\n[devid {device}]link up count       : 2\n"
        f"[devid {device}]link change records :\n[devid {device}]    Tue Aug  1 14:44:40 2026    LINK {now}\n"
        f"[devid {device}]    Tue Aug  1 14:43:26 2026    LINK UP"
    )


def _fec(node: Node, device: int) -> str:
    return "fec mode: rs FEC mode"


def _optical(node: Node, device: int) -> str:
    return "optical info:\npresent              : present\nTx Power0            : 1.1021 mW\nRx Power0            : 0.9811 mW"


def _stat(node: Node, device: int) -> str:
    return "packet statistics:\nroce_rx_err_pkt_num:0\nroce_tx_err_pkt_num:0"


def _ping(node: Node, device: int, what: str, target: str) -> int:
    """Three packets: all arrive, or none does."""
    reached = _up(node, device) and _reaches(node, what, target)
    received = 3 if reached else 0
    if what == "hccs_ping":
        words = "This pkt ping success!" if reached else "This pkt send fail!"
        lines = [f"device {device} HCCS PING {target}", *[words] * 3]
        lines.append(f"3 packets transmitted, {received} received, {(3 - received) / 0.03:.2f}% packets loss")
    else:
        lines = [f"device {device} PING {target}"]
        lines += [f"recv seq={n},time=1.418000ms" if reached else f"recv seq={n} timeout" for n in range(3)]
        lines.append(f"3 packets transmitted, {received} received, {(3 - received) / 0.03:.2f}% packet loss")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if reached else 1


def _reaches(node: Node, what: str, target: str) -> bool:
    """Whether ``target`` is a device of some node of the rehearsal, and its link is up."""
    nodes = os.path.dirname(node.folder)
    for name in os.listdir(nodes):
        peer = Node(os.path.join(nodes, name))
        for device in range(peer.dies):
            mine = _vnic_address(peer, device) if what == "hccs_ping" else address(peer, device)
            if mine == target:
                return _up(peer, device)
    return False


def conf(node: Node) -> str:
    """/etc/hccn.conf: the addresses that the driver configures at boot."""
    lines = []
    for device in range(node.dies):
        values = {"address": address(node, device), "netmask": "255.255.0.0"}
        values |= {"netdetect": f"29.{number_of(node)}.0.1", "gateway": f"29.{number_of(node)}.0.1"}
        lines += [f"{key}_{device}={value}" for key, value in {**values, "send_arp_status": "1"}.items()]
    return "\n".join(lines) + "\n"
