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
