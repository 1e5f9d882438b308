"""Kernel parameters, against /proc/sys of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provision.facts.sysctl import NAMES, Sysctl
from provision.results import Result


def test_this_machine(look: Any) -> None:
    value = look(Sysctl())
    for name in ("vm.swappiness", "vm.max_map_count", "net.ipv4.ip_local_port_range", "net.ipv4.conf.all.rp_filter"):
        assert value.values[name] == " ".join(Path("/proc/sys", name.replace(".", "/")).read_text().split())
    assert value.number("vm.overcommit_memory") in (0, 1, 2)
    assert set(value.values) <= set(NAMES)
    assert value.problems == ()


def test_a_parameter_that_is_not_there_is_missing(look: Any) -> None:
    value = look(Sysctl(("vm.no_such", "vm.swappiness", "$(echo evil)")))
    assert list(value.values) == ["vm.swappiness"]
    assert value.number("vm.no_such") is None


def test_ports() -> None:
    text = (
        "/proc/sys/net/ipv4/ip_local_port_range:32768\t60999\n"
        "/proc/sys/net/ipv4/ip_local_reserved_ports:8080,60000-60031\n"
        "/proc/sys/fs/file-max:9223372036854775807\n"
    )
    value = Sysctl().parse(Result("sysctl", 0, text))
    assert value.ports("net.ipv4.ip_local_port_range") == (range(32768, 61000),)
    assert value.ports("net.ipv4.ip_local_reserved_ports") == (range(8080, 8081), range(60000, 60032))
    assert value.ports("net.core.somaxconn") == ()
    assert value.number("fs.file-max") == 2**63 - 1


def test_nothing_reserved_is_empty_and_no_proc_is_a_problem() -> None:
    value = Sysctl().parse(Result("sysctl", 0, "/proc/sys/net/ipv4/ip_local_reserved_ports:\n"))
    assert (value.values, value.problems) == ({"net.ipv4.ip_local_reserved_ports": ""}, ())
    assert Sysctl().parse(Result("sysctl", 0, "")).problems == ("nothing of /proc/sys could be read",)


def test_names_with_dots_of_their_own() -> None:
    assert "/proc/sys/net/ipv4/conf/eth0.5/rp_filter" in Sysctl(("net/ipv4/conf/eth0.5/rp_filter",)).script()
