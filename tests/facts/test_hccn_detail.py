"""Details of the NPUs' network: one call after the other, and what each device did not answer."""

from __future__ import annotations

from typing import Any

from provision.facts.hccn_detail import HccnDetail

ANSWERS = """\
case "$2$3" in
  0-gateway) echo 'default gateway:29.1.0.1, Iface:eth0' ;;
  ?-netdetect) echo 'netdetect addr: 29.1.0.1' ;;
  0-lldp) printf 'Chassis ID TLV\\n\\tMAC: 48:dc:2d:11:22:33\\nPort ID TLV\\n\\tIfname: 400GE1/1/20:2\\n' ;;
  1-lldp) echo 'End of LLDPDU TLV' ;;
  ?-link_stat)
    echo "[devid $2]current time        : Sun Aug  2 03:36:43 2026"
    echo "[devid $2]link up count       : 2"
    echo "[devid $2]    Sun Aug  2 03:14:40 2026    LINK DOWN" ;;
  ?-vnic) printf 'vnic link status: UP\\nvnic ipaddr: 192.168.1.199\\nvnic netmask: 255.255.255.0\\n' ;;
  ?-stat) printf 'packet statistics:\\nroce_rx_err_pkt_num:7\\n' ;;
  ?-optical) printf 'optical info:\\npresent              : present\\nRx Power0            : 0.9811 mW\\n' ;;
  *) echo 'no gateway' >&2; exit 2 ;;
esac
"""


def test_two_devices(look: Any, tool: Any) -> None:
    tool("hccn_tool", ANSWERS)
    one, two = look(HccnDetail((0, 1), ("vnic", "stat", "optical"))).devices
    assert (one.gateway, one.gateway_interface, one.netdetect) == ("29.1.0.1", "eth0", "29.1.0.1")
    assert (one.switch_port, one.switch) == ("400GE1/1/20:2", "48:dc:2d:11:22:33")
    assert (one.vnic, one.vnic_link, dict(one.counters)) == ("192.168.1.199", "UP", {"roce_rx_err_pkt_num": 7})
    assert one.history.downs_within(1) == 1
    assert one.optical.rx_power_mw == (0.9811,)
    assert one.problems == ()
    assert (two.gateway, two.switch_port, two.history.device) == (None, None, 1)
    assert two.problems == ("gateway: exit status 2: no gateway",)


def test_what_is_not_asked_for_is_empty(look: Any, tool: Any) -> None:
    tool("hccn_tool", ANSWERS)
    (device,) = look(HccnDetail((0,))).devices
    assert (device.vnic, device.counters, device.optical, device.problems) == (None, {}, None, ())


def test_without_numbers_all_that_the_node_has_are_asked(look: Any, tool: Any, with_devices: Any) -> None:
    tool("hccn_tool", ANSWERS)
    value = look(with_devices(HccnDetail(), 12))
    assert [device.device for device in value.devices] == list(range(12))
    assert (value.devices[9].netdetect, value.devices[11].netdetect) == ("29.1.0.1", None)


def test_three_calls_that_hang_end_it(look: Any, tool: Any) -> None:
    tool("hccn_tool", "exit 0\n")
    tool("timeout", "exit 124\n")
    value = look(HccnDetail((0, 1)))
    assert [problem.partition(": ")[2] for problem in value.devices[0].problems] == [
        *["hccn_tool hangs, no answer within 5 s"] * 3,
        "not asked, hccn_tool hung before",
    ]
    assert len(value.devices[1].problems) == 4
