"""Governors, NUMA nodes, isolated processors."""

from __future__ import annotations

import os
from typing import Any

from provision.facts.tuning import NumaNode, Tuning
from provision.results import Result

KUNPENG = """\
@@ governors
performance
performance
schedutil
@@ cpus
/sys/devices/system/node/node0/cpulist:0-47
/sys/devices/system/node/node10/cpulist:
/sys/devices/system/node/node2/cpulist:96-143
/sys/devices/system/cpu/isolated:4-7
/sys/devices/system/cpu/online:0-191
"""


def test_a_server() -> None:
    value = Tuning().parse(Result("tuning", 0, KUNPENG))
    assert value.governors == {"performance": 2, "schedutil": 1}
    assert value.numa_nodes == (NumaNode(0, "0-47"), NumaNode(2, "96-143"), NumaNode(10, ""))
    assert (value.isolated_cpus, value.smt) == ("4-7", None)


def test_no_frequencies_and_nothing_at_all() -> None:
    value = Tuning().parse(Result("tuning", 0, "@@ governors\n@@ cpus\n/sys/devices/system/cpu/smt/active:1\n"))
    assert (value.governors, value.smt, value.problems) == ({}, True, ())
    assert Tuning().parse(Result("tuning", 0, "")).problems == ("/sys/devices/system/cpu could not be read",)


def test_this_machine(look: Any) -> None:
    value = look(Tuning())
    if os.path.isdir("/sys/devices/system/node"):
        assert [node.number for node in value.numa_nodes]
    assert value.problems == ()
