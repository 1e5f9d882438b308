"""Super-pod and virtual interfaces, from one probe."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.hccs import Hccs
from provision.results import Result

FACT = Hccs((0, 1, 2))
TEXT = """\
@@ binary /usr/local/bin/npu-smi
@@ pod
\tSDID                           : 335544320
\tSuper Pod Size                 : 48
\tSuper Pod ID                   : 4
\tServer Index                   : 40
@@ tool /usr/local/Ascend/driver/tools/hccn_tool
@@ 0 vnic 0
vnic link status: UP
vnic ipaddr: 192.168.2.199
vnic netmask: 255.255.255.0
@@ 1 vnic 0
vnic link status: DOWN
vnic ipaddr: 192.168.2.198
vnic netmask: 255.255.255.0
@@ 2 vnic 13
Get ipconf failed, because no ip was preset there!
"""


def test_pod_addresses_and_what_is_down() -> None:
    value = FACT.parse(Result("hccs", 0, TEXT))
    assert (value.pod, value.vnics, value.down) == (4, {0: "192.168.2.199", 1: "192.168.2.198"}, (1,))
    assert value.problems == ("davinci 2: vnic: exit status 13: Get ipconf failed, because no ip was preset there!",)


def test_without_numbers_all_that_the_node_has_are_asked(look: Any, tool: Any, with_devices: Any) -> None:
    tool("npu-smi", "exit 1\n")
    tool("hccn_tool", """echo 'vnic link status: UP'; echo "vnic ipaddr: 192.168.1.$((199 - $2))"\n""")
    value = look(with_devices(Hccs(), 11))
    assert value.vnics == {number: f"192.168.1.{199 - number}" for number in range(11)}


def test_a_node_without_tools() -> None:
    value = FACT.parse(Result("hccs", 0, "@@ missing\n@@ missing\n"))
    assert (value.pod, value.vnics, value.problems) == (None, {}, ("hccn_tool was not found",))


@pytest.mark.parametrize("fact", [FACT, Hccs()], ids=["three", "all"])
@given(st.text(), st.integers(0, 130))
def test_no_answer_makes_it_raise(fact: Hccs, text: str, status: int) -> None:
    assert fact.parse(Result("hccs", status, text)).problems
