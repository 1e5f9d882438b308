"""hccn_tool's answers: which device they belong to, and what isn't one."""

from __future__ import annotations

import pytest

from provision.accel.ascend.hccn import (
    HccnState,
    parse_conf,
    parse_fec,
    parse_gateway,
    parse_ip,
    parse_link,
    parse_net_health,
    parse_netdetect,
    parse_set,
    parse_tls,
    parse_vnic,
)


@pytest.mark.parametrize("prefix", ["[devid 3]", "[device 3] "])
def test_a_device_prefix_names_the_device(prefix: str) -> None:
    assert parse_link(f"{prefix}link status: DOWN\n").entries == (HccnState("DOWN", 3),)


@pytest.mark.parametrize(
    "command", ["hccn_tool -i 3 -link -g", "# /opt/hccn_tool -g -link -i 3", "hccn_tool -i 3 -link"]
)
def test_a_command_above_names_the_device(command: str) -> None:
    assert parse_link(f"{command}\nlink status: DOWN\n").entries == (HccnState("DOWN", 3),)


@pytest.mark.parametrize("state", ["Success", "Socket fail", "Socket failed", "Receive timeout", "Fault", "Init"])
@pytest.mark.parametrize("key", ["net health status", "net_health status"])
def test_states_of_net_health(key: str, state: str) -> None:
    found = parse_net_health(f"{key}: {state}\n")
    assert (found.entries, found.problems) == ((HccnState(state),), ())


def test_a_state_nobody_knows_is_kept_and_named() -> None:
    found = parse_net_health("net health status: Success\nnet health status: Confused\n")
    assert [entry.state for entry in found.entries] == ["Success", "Confused"]
    assert found.problems == ("unknown net health 'Confused'",)


def test_an_answer_that_was_cut_off_is_not_good() -> None:
    found = parse_link("link status: UP\nlink status: U")
    assert [entry.state for entry in found.entries] == ["UP", "U"]
    assert found.problems == ("unknown link state 'U'",)


def test_a_refusal_between_answers_is_told() -> None:
    found = parse_link("link status: UP\nhccn_tool is busy, please try again.\nlink status: UP\n")
    assert len(found.entries) == 2
    assert found.problems == ("it says: hccn_tool is busy, please try again.",)


def test_the_virtual_interface_is_not_the_link() -> None:
    assert parse_link("vnic link status: UP\n").entries == ()
    assert parse_vnic("vnic link status: DOWN\nvnic ipaddr: 192.168.2.199\n").entries[0].link == "DOWN"


def test_an_address_that_cannot_be_read_is_counted() -> None:
    found = parse_ip("ipaddr:29.1.0.1\nnetmask:255.255.0.0\nipaddr:29.1.x\nnetmask:255.255.0.0\n")
    assert [entry.address for entry in found.entries] == ["29.1.0.1"]
    assert found.problems == ("address: 1 of 2 lines could not be read",)


def test_a_gateway() -> None:
    (gateway,) = parse_gateway("default gateway:29.1.0.1, Iface:eth3\n").entries
    assert (gateway.address, gateway.interface) == ("29.1.0.1", "eth3")
    assert parse_gateway("").problems == ("no gateway in the output",)


@pytest.mark.parametrize("key", ["netdetect address", "netdetect addr"])
def test_both_spellings_of_the_detection_address(key: str) -> None:
    assert parse_netdetect(f"{key}: 29.1.0.1\n").entries[0].address == "29.1.0.1"


@pytest.mark.parametrize("mode", ["rs", "no", "auto"])
def test_error_correction(mode: str) -> None:
    assert parse_fec(f"fec mode: {mode} FEC mode\n").entries == (HccnState(mode),)


def test_a_set_that_failed() -> None:
    assert parse_set("Cmd executed successfully!\n").entries == (HccnState("done"),)
    assert parse_set("hccn_tool: permission denied\n").problems == (
        "no success in the output: hccn_tool: permission denied",
    )


def test_an_enabled_switch() -> None:
    tls = parse_tls("dev_id:4, tls switch[1](0:disable, 1:enable), tls preconfigured[0](0:non-preset, 1:preset)\n")
    assert [(t.device, t.enabled, t.preconfigured) for t in tls.entries] == [(4, True, False)]


def test_an_answer_that_is_none_is_quoted() -> None:
    assert parse_link("hccn_tool is busy, please try again\n").problems == (
        "no link state in the output: hccn_tool is busy, please try again",
    )


def test_a_file_with_gaps() -> None:
    found = parse_conf("# set by hand\naddress_10=29.1.0.10\nnetmask_10=\naddress_2=29.1.0.2\nIPv6address_2=::1\n")
    assert [(entry.device, entry.address, entry.netmask) for entry in found.devices] == [
        (2, "29.1.0.2", None),
        (10, "29.1.0.10", None),
    ]
