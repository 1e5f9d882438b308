"""Pings are judged by their counts, whatever else the tool says [samples/npu FIELDS 10]."""

from __future__ import annotations

import pytest

from provision.accel.ascend.hccn_ping import HccnPing, parse_ping

ROCE = """\
device 3 PING 29.1.137.205
recv seq=0,time=1.418000ms
recv seq=1,time=0.034000ms
recv seq=2,time=0.040000ms
3 packets transmitted, 3 received, 0.00% packet loss
"""
LOSSY = """\
device 0 PING 10.10.100.10
recv time out seq=0
recv seq=1,time=0.097000ms
recv seq=2,time=0.066000ms
3 packets transmitted, 2 received, 33.33% packet loss
"""
HCCS = """\
device 1 PING 192.168.2.199

This pkt ping success!
recv seq 0, time = 12.345us, L1 plane check result = 0x0
This pkt {second}
recv seq 1, time = 0.000us, L1 plane check result = {plane}
2 packets transmitted, {received} received, {loss}% packets loss
max time 12.345us
min time 12.345us
average time 12.345us
TP95 time 12.345us
{end}"""


def one(text: str) -> HccnPing:
    (ping,) = parse_ping(text).entries
    return ping


def test_every_packet_came_back() -> None:
    assert one(ROCE) == HccnPing(True, 3, "29.1.137.205", 3, 3, (1.418, 0.034, 0.04))
    assert one(ROCE).average_ms == pytest.approx(0.497333, abs=1e-6)
    assert parse_ping(ROCE).problems == ()


def test_a_lost_packet() -> None:
    ping = one(LOSSY)
    assert (ping.ok, ping.sent, ping.received, ping.lost, ping.times_ms) == (False, 3, 2, 1, (0.097, 0.066))


@pytest.mark.parametrize("second", ["send fail!", "ping not start to send!", "check recv msg fail!"])
@pytest.mark.parametrize("end", ["", "Cmd executed successfully!\n"])
def test_success_in_words_is_none_when_packets_are_missing(second: str, end: str) -> None:
    ping = one(HCCS.format(second=second, plane="0x0", received=1, loss="50.00", end=end))
    assert (ping.ok, ping.device, ping.sent, ping.received, ping.times_ms) == (False, 1, 2, 1, (0.012345,))


def test_inside_a_super_pod() -> None:
    ping = one(HCCS.format(second="ping success!", plane="0x0", received=2, loss="0.00", end=""))
    assert (ping.ok, ping.target, ping.times_ms) == (True, "192.168.2.199", (0.012345, 0.0))


def test_an_error_of_the_plane_is_no_success() -> None:
    ping = one(HCCS.format(second="ping success!", plane="0x3", received=2, loss="0.00", end=""))
    assert (ping.ok, ping.plane_errors) == (False, 1)


def test_a_ping_that_was_cut_off_failed() -> None:
    read = parse_ping(ROCE.rpartition("3 packets")[0] + "3 packets trans")
    assert (read.entries[0].ok, read.entries[0].sent) == (False, None)
    assert read.problems == ("the ping to 29.1.137.205 has no summary line",)


def test_nothing_sent_is_no_success() -> None:
    assert one("device 0 PING 10.0.0.1\n0 packets transmitted, 0 received, 0.00% packet loss\n").ok is False


def test_a_loop_over_devices() -> None:
    read = parse_ping(ROCE + LOSSY + ROCE.replace("device 3", "device 4"))
    assert [(ping.device, ping.ok) for ping in read.entries] == [(3, True), (0, False), (4, True)]


def test_without_its_first_line() -> None:
    assert [ping.received for ping in parse_ping(ROCE.partition("\n")[2] + LOSSY.partition("\n")[2]).entries] == [3, 2]


def test_an_error_is_quoted() -> None:
    assert parse_ping("hccn_tool is busy, please try again.\n").problems == (
        "no ping in the output: hccn_tool is busy, please try again.",
    )
