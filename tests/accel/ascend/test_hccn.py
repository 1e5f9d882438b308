"""hccn_tool's answers: which device they belong to, and what isn't one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend.hccn import (
    HccnState,
    parse_conf,
    parse_ip,
    parse_link,
    parse_net_health,
    parse_tls,
    parse_vnic,
)


@pytest.mark.parametrize("prefix", ["[devid 3]", "[device 3] "])
def test_a_device_prefix_names_the_device(prefix: str) -> None:
    assert parse_link(f"{prefix}link status: DOWN\n").entries == (HccnState("DOWN", 3),)


@pytest.mark.parametrize("state", ["Success", "Socket fail", "Socket failed", "Receive timeout", "Fault", "Init"])
@pytest.mark.parametrize("key", ["net health status", "net_health status"])
def test_states_of_net_health(key: str, state: str) -> None:
    assert parse_net_health(f"{key}: {state}\n").entries == (HccnState(state),)


def test_the_virtual_interface_is_not_the_link() -> None:
    assert parse_link("vnic link status: UP\n").entries == ()
    assert parse_vnic("vnic link status: DOWN\nvnic ipaddr: 192.168.2.199\n").entries[0].link == "DOWN"


def test_an_enabled_switch() -> None:
    tls = parse_tls("dev_id:4, tls switch[1](0:disable, 1:enable), tls preconfigured[0](0:non-preset, 1:preset)\n")
    assert [(t.device, t.enabled, t.preconfigured) for t in tls.entries] == [(4, True, False)]


def test_an_answer_that_is_none_is_quoted() -> None:
    assert parse_link("hccn_tool is busy, please try again\n").problems == (
        "no link state in the output: hccn_tool is busy, please try again",
    )


@pytest.mark.parametrize("parse", [parse_link, parse_net_health, parse_ip, parse_vnic, parse_tls, parse_conf])
@given(text=st.one_of(st.text(), st.text("[]devic 0123:\n=_ipaddrtlsw", max_size=120)))
def test_nothing_raises(parse: object, text: str) -> None:
    assert callable(parse)
    assert parse(text) is not None
