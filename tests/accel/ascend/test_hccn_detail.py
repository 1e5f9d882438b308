"""History, neighbours, counters and optics of an NPU's link, beyond the recorded outputs."""

from __future__ import annotations

from provision.accel.ascend.hccn_detail import (
    LinkHistory,
    parse_counters,
    parse_link_stat,
    parse_lldp,
    parse_optical,
    parse_route,
    parse_status,
)

HISTORY = """\
[devid {0}]current time        : Wed Aug  2 03:36:43 2022
[devid {0}]link up count       : 2
[devid {0}]link down count     : 1
[devid {0}]link change records :
[devid {0}]    Tue Aug  1 14:44:40 2022    LINK DOWN
[devid {0}]    Tue Aug  1 14:43:40 2022    LINK UP
[devid {0}]    Mon Jul 31 14:43:26 2022    LINK DOWN
"""
OPTICAL = """\
optical info:
present              : present
temperature          : 41 C
high power enable reg: enabled
vendor name          : HG GENUINE
vendor part number   : 2334ABC
vendor serial number : X123
Vcc                  : 3310.00 mV
Tx Power0            : 1.1021 mW
Rx Power0            : 0.9811 mW
Tx Power1            : 1.2021 mW
Rx Power1            : 0.0001 mW
Tx Power2            : NA
Rx Power2            : NA
RxPower High Thres   : 3.4673 mW
RxPower Low Thres    : 0.0646 mW
Tx Los Flag          : 0x0
Rx Los Flag          : 0x2
"""


def test_histories_of_a_loop() -> None:
    read = parse_link_stat(HISTORY.format(0) + HISTORY.format(1))
    assert [(entry.device, entry.ups, entry.downs, len(entry.changes)) for entry in read.entries] == [
        (0, 2, 1, 3),
        (1, 2, 1, 3),
    ]
    assert read.problems == ()


def test_how_often_the_link_went_down_lately() -> None:
    (entry,) = parse_link_stat(HISTORY.format(0)).entries
    assert [entry.downs_within(hours) for hours in (1, 24, 48)] == [0, 1, 2]
    assert entry.last is not None
    assert entry.last.state == "DOWN"
    assert LinkHistory(now="yesterday", changes=entry.changes).downs_within(48) == 0


def test_a_history_without_records() -> None:
    (entry,) = parse_link_stat("[devid 0]link up count       : 0\n[devid 0]link change records : NA\n").entries
    assert (entry.ups, entry.changes, entry.last) == (0, (), None)


def test_the_table_of_a_950() -> None:
    text = (
        "link up count :    2\nlink down count :  1\n|  0  |  0   |  4   |  LINK_UP    | Mon Feb  9 21:45:51 2026 |\n"
    )
    (entry,) = parse_link_stat(text).entries
    assert (entry.ups, entry.downs, entry.last and entry.last.state) == (2, 1, "UP")


def test_a_change_without_its_time_is_counted() -> None:
    assert parse_link_stat(HISTORY.format(0).replace("Aug  1 14:44:40", "...")).problems == (
        "1 of 3 link changes could not be read",
    )


def test_neighbours_by_their_ports_alone() -> None:
    assert [entry.port for entry in parse_lldp("        Ifname: 400GE1/1/20:2\n\tIfname: 400GE1/1/21:2\n").entries] == [
        "400GE1/1/20:2",
        "400GE1/1/21:2",
    ]


def test_no_neighbour() -> None:
    assert parse_lldp("End of LLDPDU TLV\n").problems == ("no neighbour in the output: End of LLDPDU TLV",)


def test_counters_of_two_devices() -> None:
    text = "".join(f"hccn_tool -i {n} -stat -g\npacket statistics:\nroce_rx_err_pkt_num:{n}\n" for n in (0, 1))
    assert [(entry.device, dict(entry.counts)) for entry in parse_counters(text).entries] == [
        (0, {"roce_rx_err_pkt_num": 0}),
        (1, {"roce_rx_err_pkt_num": 1}),
    ]


def test_a_module_of_several_lanes() -> None:
    (entry,) = parse_optical(OPTICAL).entries
    assert (entry.present, entry.temperature_c, entry.vendor, entry.rx_los) == (True, 41.0, "HG GENUINE", 2)
    assert (entry.tx_power_mw, entry.rx_power_mw) == ((1.1021, 1.2021, None), (0.9811, 0.0001, None))
    assert (entry.rx_range_mw, entry.tx_range_mw) == ((0.0646, 3.4673), None)


def test_what_is_none_of_these() -> None:
    for parse in (parse_route, parse_status, parse_counters, parse_optical, parse_link_stat):
        assert parse("No such device\n").problems[0].endswith("in the output: No such device")
