"""Interfaces and ports: this machine's, and recorded ones without iproute2."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import Any

import pytest

from provision.facts.network import Listener, Network, Ports
from provision.results import Result


def test_interfaces(look: Any) -> None:
    value = look(Network(), SSH_CONNECTION="192.0.2.9 50000 192.0.2.2 22")
    assert {i.name for i in value.interfaces} == {name for _, name in socket.if_nameindex()}
    assert value.interface_of("127.0.0.1").name == "lo"
    assert value.interface("lo").mtu >= 1500
    assert value.interface("lo").up
    assert value.ssh_server_address == "192.0.2.2"
    assert value.hostname == os.uname().nodename
    assert not value.lookup_timed_out
    assert value.lookup_seconds is not None
    assert value.interface("lo").kind == "loopback"
    assert value.interface("lo").carrier is True
    assert value.problems == ()


def test_the_ssh_address_is_found_above_sudo() -> None:
    """sudo hands on no SSH_CONNECTION; a process above it still has it."""
    done = subprocess.run(
        ["sh", "-c", "env -u SSH_CONNECTION sh -s; :"],
        input=Network().script(),
        capture_output=True,
        text=True,
        env={**os.environ, "SSH_CONNECTION": "192.0.2.9 50000 192.0.2.2 22"},
        timeout=60,
    )
    assert Network().parse(Result("network", done.returncode, done.stdout)).ssh_server_address == "192.0.2.2"


WITHOUT_IP = """\
@@ self
hostname=atlas-1
ssh=10.1.0.5 40000 10.1.0.11 22
@@ lookup
127.0.1.1       STREAM atlas-1
127.0.1.1       DGRAM
exit 0
@@ dev
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop
    lo: 1 2 3
  eth0: 1 2 3
docker0: 1 2 3
@@ route
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100010A\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0000010A\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
@@ inet6
fe80000000000000021122fffe334455 02 40 20 80     eth0
@@ trie
Main:
  +-- 0.0.0.0/0 3 0 5
           |-- 10.1.0.11
              /32 host LOCAL
           |-- 10.1.255.255
              /32 link BROADCAST
        |-- 127.0.0.1
           /32 host LOCAL
           |-- 172.17.0.1
              /32 host LOCAL
Local:
           |-- 10.1.0.11
              /32 host LOCAL
@@ sys
lo 65536 unknown 00:00:00:00:00:00
eth0 9000 up 00:11:22:33:44:55
docker0 1500 down 02:42:00:00:00:01
"""


def test_without_iproute2() -> None:
    value = Network().parse(Result("network", 0, WITHOUT_IP))
    eth0 = value.interface("eth0")
    assert eth0 is not None
    assert [(a.ip, a.prefix) for a in eth0.addresses] == [("10.1.0.11", 16), ("fe80::211:22ff:fe33:4455", 64)]
    assert (eth0.mtu, eth0.up, eth0.mac) == (9000, True, "00:11:22:33:44:55")
    assert (value.default_interface, value.default_gateway) == ("eth0", "10.1.0.1")
    assert value.interface_of("172.17.0.1") == value.interface("docker0")
    assert value.interface_of("127.0.0.1") == value.interface("lo")
    assert value.interface_of("10.1.0.99") is None
    assert value.hostname_addresses == ("127.0.1.1",)
    assert value.ssh_server_address == "10.1.0.11"


WITH_IP = """\
@@ self
hostname=Atlas-1
ssh=
before=100.25
@@ lookup
10.1.0.11       STREAM atlas-1
exit 0
@@ after
101.5
@@ names
/etc/resolv.conf:nameserver 10.1.0.2
/etc/resolv.conf:nameserver 10.1.0.3
/etc/hosts:127.0.1.1 atlas-1.example atlas-1 # ours
/etc/hosts:10.9.9.9 atlas-10 x # atlas-1
@@ dev
    lo: 1 2 3
  bond0: 1 2 3
@@ link
1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 state UNKNOWN \\    link/loopback 00:00:00:00:00:00 brd 00:00:00:00:00:00
2: enp1: <BROADCAST,UP,LOWER_UP> mtu 9000 master bond0 state UP \\    link/ether 02:00:00:00:00:01 brd ff:ff:ff \
minmtu 68 maxmtu 9702 \\    bond_slave state ACTIVE mii_status UP numtxqueues 64 parentbus pci parentdev 0000:7d:00.0
3: enp2: <NO-CARRIER,BROADCAST,UP> mtu 9000 master bond0 state DOWN \\    link/ether 02:00:00:00:00:02 brd ff:ff:ff
4: bond0: <BROADCAST,UP,LOWER_UP> mtu 9000 state UP \\    link/ether 02:00:00:00:00:01 brd ff:ff \\    bond mode 802.3ad
5: bond0.100@bond0: <BROADCAST,UP,LOWER_UP> mtu 9000 state UP \\    link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff \
\\    vlan protocol 802.1Q id 100
6: eth9: <BROADCAST> mtu 1500 state DOWN \\    link/ether 02:00:00:00:00:09 brd ff:ff:ff:ff:ff:ff
@@ addr
4: bond0    inet 10.1.0.11/16 brd 10.1.255.255 scope global bond0
@@ sys
lo 65536 unknown 00:00:00:00:00:00 ifindex=1 type=772 speed= duplex= carrier=1
enp1 1500 up 02:00:00:00:00:01 ifindex=2 type=1 speed=100000 duplex=full carrier=1 kind=physical DRIVER=hns3
enp2 9000 down 02:00:00:00:00:02 ifindex=3 type=1 speed=-1 duplex=unknown carrier=0 kind=physical DRIVER=hns3
bond0 9000 up 02:00:00:00:00:01 ifindex=4 type=1 speed=100000 duplex=full carrier=1 kind=bond DEVTYPE=bond
eth9 1500 up 02:00:00:00:00:77 ifindex=6 type=1 speed=25000 duplex=full carrier=1 kind=physical DRIVER=mlx5_core
"""


def test_cards_bonds_and_names() -> None:
    value = Network().parse(Result("network", 0, WITH_IP))
    found = {i.name: i for i in value.interfaces}
    assert {name: i.kind for name, i in found.items()} == {
        "lo": "loopback",
        "bond0": "bond",
        "enp1": "physical",
        "enp2": "physical",
        "bond0.100": "vlan",
        "eth9": "",
    }
    assert (found["enp1"].speed, found["enp1"].duplex, found["enp1"].driver) == (100000, "full", "hns3")
    assert (found["enp1"].mtu, found["enp1"].carrier) == (9000, True)  # ip is believed before /sys
    assert (found["enp2"].speed, found["enp2"].duplex, found["enp2"].carrier) == (None, "", False)
    assert [i.name for i in value.members("bond0")] == ["enp1", "enp2"]
    assert value.lookup_seconds == 1.25
    assert value.nameservers == ("10.1.0.2", "10.1.0.3")
    assert value.hosts_addresses == ("127.0.1.1",)


def test_sys_of_another_namespace_is_not_believed() -> None:
    eth9 = Network().parse(Result("network", 0, WITH_IP)).interface("eth9")
    assert eth9 is not None
    assert (eth9.state, eth9.carrier, eth9.speed, eth9.driver) == ("down", None, None, "")


def test_a_lookup_that_was_ended_is_told(look: Any, tool: Any) -> None:
    tool("getent", "exit 124")
    value = look(Network())
    assert (value.lookup_timed_out, value.hostname_addresses) == (True, ())


def test_a_slow_resolver_is_told_from_an_unknown_name() -> None:
    slow = Network().parse(Result("network", 0, "@@ lookup\nexit 124\n"))
    unknown = Network().parse(Result("network", 0, "@@ lookup\nexit 2\n"))
    assert (slow.lookup_timed_out, slow.hostname_addresses) == (True, ())
    assert (unknown.lookup_timed_out, unknown.hostname_addresses) == (False, ())


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_that_is_taken(look: Any, family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as server:
        try:
            server.bind((address, 0))
        except OSError:
            pytest.skip(f"no {address} here")
        server.listen()
        port = server.getsockname()[1]
        value = look(Ports())
        holder = value.holder(port)
        assert (holder.address, holder.port, holder.pid) in ((address, port, os.getpid()), (address, port, None))
        assert value.problems == ()
    assert look(Ports()).holder(port) is None


def test_ss_adds_the_process() -> None:
    text = (
        "@@ tcp\nreadable\n"
        "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0\n"
        "   1: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0\n"
        "@@ ss\nState  Recv-Q Send-Q Local Address:Port Peer Address:PortProcess\n"
        'LISTEN 0      128          0.0.0.0:8000      0.0.0.0:*    users:(("vllm",pid=4242,fd=9),("vllm",pid=1,fd=9))\n'
        'LISTEN 0      128             [::]:22           [::]:*    users:(("sshd",pid=7,fd=4))\n'
    )
    assert Ports().parse(Result("ports", 0, text)).listeners == (
        Listener("::", 22, 7, "sshd"),
        Listener("0.0.0.0", 8000, 4242, "vllm"),
    )
