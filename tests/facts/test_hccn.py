"""hccn_tool, device after device: answers, refusals and a tool that hangs; and the file of its addresses."""

from __future__ import annotations

from typing import Any

import pytest

from provision.facts.hccn import HCCN_CONF, Hccn, HccnConf
from provision.results import Result

ANSWERS = """\
case "$2$3" in
  0-link) echo 'link status: UP' ;;
  0-net_health) echo 'net health status: Init' ;;
  0-ip) echo 'ipaddr:29.1.137.205'; echo 'netmask:255.255.0.0' ;;
  0-tls) echo 'dev_id:0, tls switch[1](0:disable, 1:enable)' ;;
  *) echo 'hccn_tool is busy' >&2; exit 11 ;;
esac
"""


def test_two_devices(look: Any, tool: Any) -> None:
    binary = tool("hccn_tool", ANSWERS)
    value = look(Hccn((0, 1)))
    good, busy = value.devices
    assert value.tool == str(binary)
    assert (good.link, good.net_health, good.address, good.tls) == ("UP", "Init", "29.1.137.205", 1)
    assert good.problems == ()
    assert (busy.link, busy.address) == (None, None)
    assert busy.problems[0] == "link: exit status 11: hccn_tool is busy"


@pytest.mark.parametrize("status", [124, 143], ids=["coreutils", "busybox"])
def test_a_tool_that_hangs_is_not_asked_for_ever(look: Any, tool: Any, status: int) -> None:
    tool("hccn_tool", "exit 0\n")
    tool("timeout", f"exit {status}\n")
    value = look(Hccn((0, 1)))
    assert value.devices[0].problems == (
        "link: hccn_tool hangs, no answer within 5 s",
        "net_health: hccn_tool hangs, no answer within 5 s",
        "ip: hccn_tool hangs, no answer within 5 s",
        "tls: not asked, hccn_tool hung before",
    )


def test_without_numbers_all_that_the_node_has_are_asked(look: Any, tool: Any, with_devices: Any) -> None:
    tool("hccn_tool", "echo 'link status: UP'\n")
    value = look(with_devices(Hccn(), 16))
    assert [device.device for device in value.devices] == list(range(16))
    assert {device.link for device in value.devices} == {"UP"}


def test_a_device_that_was_not_reached_before_the_tool_hung_is_no_gap(look: Any, tool: Any, with_devices: Any) -> None:
    tool("hccn_tool", "exit 0\n")
    tool("timeout", "exit 124\n")
    value = look(with_devices(Hccn(), 3))
    assert [device.device for device in value.devices] == [0, 1, 2]
    assert value.devices[2].problems[0] == "link: not asked, hccn_tool hung before"


def test_a_node_without_devices_has_none(look: Any, tool: Any, with_devices: Any) -> None:
    binary = tool("hccn_tool", "exit 0\n")
    value = look(with_devices(Hccn(), 0))
    assert (value.tool, value.devices) == (str(binary), ())


def test_two_calls_never_overlap(look: Any, tool: Any, tmp_path: Any) -> None:
    busy = tmp_path / "busy"
    tool("hccn_tool", f"mkdir {busy} || {{ echo overlap; exit 11; }}\nrmdir {busy}\n")
    assert all("overlap" not in str(device.problems) for device in look(Hccn((0, 1))).devices)


def test_without_the_tool(look: Any) -> None:
    value = look(Hccn((0,)))
    if value.tool is not None:
        pytest.skip("this machine has hccn_tool")
    assert value.problems == ("hccn_tool was not found",)


def test_the_file_of_addresses() -> None:
    text = "@@ file\naddress_0=29.1.0.10\nnetmask_0=255.255.0.0\ngateway_0=29.1.0.1\nsend_arp_status_0=1\n"
    value = HccnConf().parse(Result("hccn-conf", 0, text))
    assert (value.found, value.problems) == (True, ())
    assert [(d.device, d.address, d.gateway, d.send_arp) for d in value.devices] == [(0, "29.1.0.10", "29.1.0.1", True)]


@pytest.mark.parametrize(
    ("text", "found", "problems"),
    [
        ("", False, ()),
        ("@@ odd\n", False, (f"{HCCN_CONF} is no file",)),
        ("@@ file\n", True, ("no device in the output",)),
    ],
)
def test_no_addresses(text: str, found: bool, problems: tuple[str, ...]) -> None:
    value = HccnConf().parse(Result("hccn-conf", 0, text))
    assert (value.found, value.problems) == (found, problems)


def test_this_machine(look: Any) -> None:
    assert look(HccnConf()).devices == ()
