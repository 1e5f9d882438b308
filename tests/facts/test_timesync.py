"""What time services tell, as openEuler (chrony), Ubuntu (timesyncd) and Debian (ntp) print it."""

from __future__ import annotations

from typing import Any

import pytest

from provision.facts.timesync import (
    TimeSync,
    TimeSyncValue,
    parse_chronyc,
    parse_ntpq,
    parse_ntpstat,
    parse_timedatectl,
    parse_timesync_status,
)
from provision.results import Result

TRACKING = """\
Reference ID    : 0A4D00FE (10.77.0.254)
Stratum         : 3
Ref time (UTC)  : Tue Nov 24 09:00:00 2026
System time     : 0.000012345 seconds slow of NTP time
Last offset     : +0.000012345 seconds
Leap status     : Normal
"""
LOST = """\
Reference ID    : 00000000 ()
Stratum         : 0
System time     : 0.000000000 seconds fast of NTP time
Leap status     : Not synchronised
"""
TIMESYNC = """\
       Server: 185.125.190.58 (ntp.ubuntu.com)
Poll interval: 34min 8s (min: 32s; max 34min 8s)
         Leap: normal
      Version: 4
      Stratum: 2
    Reference: 11C24B57
    Precision: 1us (-25)
Root distance: 816us (max: 5s)
       Offset: +1.023ms
        Delay: 33.911ms
       Jitter: 2.147ms
 Packet count: 82
    Frequency: +13.107ppm
"""
WAITING = """\
       Server: 91.189.89.198 (ntp.ubuntu.com)
Poll interval: 0 (min: 32s; max 34min 8s)
 Packet count: 0
"""
PEERS = """\
     remote           refid      st t when poll reach   delay   offset  jitter
==============================================================================
 0.debian.pool.n .POOL.          16 p    -   64    0    0.000    0.000   0.000
+192.0.2.8       10.0.0.1         2 u   33   64  377    0.412    0.108   0.051
*192.0.2.7       .GPS.            1 u   12   64  377    0.210   -2.500   0.031
"""


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_chronyc, TRACKING, TimeSyncValue(True, "chronyd", "10.77.0.254", -0.000012345, 3)),
        (parse_chronyc, LOST, TimeSyncValue(False, "chronyd", "", None, 0)),
        (parse_timesync_status, TIMESYNC, TimeSyncValue(True, "systemd-timesyncd", "185.125.190.58", -0.001023, 2)),
        (parse_timesync_status, WAITING, TimeSyncValue(False, "systemd-timesyncd", "91.189.89.198")),
        (parse_ntpq, PEERS, TimeSyncValue(True, "ntpd", "192.0.2.7", 0.0025, 1)),
        (parse_ntpq, PEERS.replace("*", " "), TimeSyncValue(False, "ntpd")),
        (
            parse_ntpstat,
            "synchronised to NTP server (192.0.2.7) at stratum 2\n   time correct to within 12 ms\n",
            TimeSyncValue(True, "ntpd", "192.0.2.7", None, 2),
        ),
        (parse_ntpstat, "synchronised to local net at stratum 6\n", TimeSyncValue(True, "ntpd", stratum=6)),
        (parse_ntpstat, "unsynchronised\npolling server every 8 s\nexit 1\n", TimeSyncValue(False, "ntpd")),
        (
            parse_timedatectl,
            "Timezone=Asia/Shanghai\nLocalRTC=no\nNTP=yes\nNTPSynchronized=no\n",
            TimeSyncValue(False, timezone="Asia/Shanghai"),
        ),
    ],
)
def test_answers(parse: Any, text: str, expected: TimeSyncValue) -> None:
    value = parse(text)
    if expected.offset is not None:
        assert value.offset == pytest.approx(expected.offset)
        assert (
            value.__class__(value.synchronized, value.service, value.source, expected.offset, value.stratum) == expected
        )
    else:
        assert value == expected


@pytest.mark.parametrize(
    ("section", "text", "problem"),
    [
        ("chronyc", "506 Cannot talk to daemon\nexit 1\n", "chronyc: 506 Cannot talk to daemon"),
        ("chronyc", "exit 124\n", "chronyc does not end"),
        ("ntpq", "ntpq: read: Connection refused\n", "ntpq: ntpq: read: Connection refused"),
        (
            "ntpstat",
            "Unable to talk to NTP daemon. Is it running?\nexit 2\n",
            "ntpstat: Unable to talk to NTP daemon. ",
        ),
        ("timedatectl", "", "timedatectl said nothing"),
        ("timesync-status", "Failed to query server: Unit not found\nexit 1\n", "timedatectl: Failed to query server"),
    ],
)
def test_a_service_that_does_not_answer_leaves_it_open(section: str, text: str, problem: str) -> None:
    value = TimeSync().parse(Result("time-sync", 0, f"@@ zone\n@@ {section}\n{text}"))
    assert value.synchronized is None
    assert value.problems[0].startswith(problem)


def test_the_flag_of_timesyncd_counts_where_its_tool_says_nothing_of_use() -> None:
    text = "@@ zone\n/usr/share/zoneinfo/Asia/Shanghai\n@@ flag\n@@ timesync-status\nUnknown command verb\nexit 1\n"
    value = TimeSync().parse(Result("time-sync", 0, text))
    assert (value.synchronized, value.timezone) == (True, "Asia/Shanghai")


def test_no_service_at_all_is_told() -> None:
    value = TimeSync().parse(Result("time-sync", 0, "@@ zone\n"))
    assert (value.synchronized, value.problems) == (None, ("no time service was found that could be asked",))


def test_this_machine(look: Any) -> None:
    value = look(TimeSync())
    assert value.synchronized is not None or value.problems
