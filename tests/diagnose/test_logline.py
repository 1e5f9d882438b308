from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.diagnose.logline import epoch, inner_time, parse, shown_time


@pytest.mark.parametrize(
    ("raw", "who", "level", "time", "text"),
    [
        (
            "(EngineCore_DP0 pid=123) ERROR 11-24 06:03:01 [core.py:843] Oops",
            "EngineCore_DP0",
            "ERROR",
            "11-24 06:03:01",
            "Oops",
        ),
        ("(Worker_TP11 pid=9)     indented", "Worker_TP11", "", "", "    indented"),
        ("INFO 11-24 06:03:01 [a.py:1]   kept", "", "INFO", "11-24 06:03:01", "  kept"),
        ("\x1b[36m(APIServer pid=1)\x1b[0;0m INFO:     Started", "APIServer", "INFO", "", "INFO:     Started"),
        ("2026-11-24T06:03:01.123456789Z ERROR 11-24 14:03:01 [a.py:1] x", "", "ERROR", "11-24 06:03:01", "x"),
        ("2026-11-24T14:03:01+08:00 x", "", "", "11-24 06:03:01", "x"),
        ("[ERROR] 2025-10-11-11:32:59 (PID:1, Device:0) ERR00100", "", "ERROR", "10-11 11:32:59", None),
        ("[ERROR] HCCL(1,python3):2026-03-18-10:33:52.113.403 [a.cc:7] x", "", "ERROR", "03-18 10:33:52", None),
        ("2026-02-29 10:00:00,123 - x", "", "", "02-29 10:00:00", None),
        ("2026-11-24 12:21:33  INFO vllm_router_rs::server: up", "", "INFO", "11-24 12:21:33", None),
        ("\x1b[2m2026-11-24 12:21:33 \x1b[33m WARN x", "", "WARNING", "11-24 12:21:33", "2026-11-24 12:21:33  WARN x"),
        ("2026-11-24 12:27:31,878\tINFO worker.py:1771 -- x", "", "INFO", "11-24 12:27:31", None),
        ("[2026-11-24 12:40:00,000 W 1 1] rpc_client.h:153: x", "", "WARNING", "11-24 12:40:00", None),
        ("[2026-11-24 12:40:00,000 C 1 1] x", "", "", "11-24 12:40:00", None),
        ("2026-11-24 12:40:00,001 ERROR [__main__] x", "", "ERROR", "11-24 12:40:00", None),
        ("2026/11/24 12:40:00 [error] 7#7: *9 x", "", "ERROR", "11-24 12:40:00", None),
        ("2026/11/24 12:40:00 [crit] 7#7: *9 x", "", "CRITICAL", "11-24 12:40:00", None),
        ("2026/11/24 12:40:00 [notice] 7#7: x", "", "INFO", "11-24 12:40:00", None),
        ("E20251112 11:16:11.129854 56431 client.cpp:1431] x", "", "ERROR", "11-12 11:16:11", None),
        ("W0803 08:24:20.022236  8581 client.cpp:29] x", "", "WARNING", "08-03 08:24:20", None),
        ("[INFO] HCCL(42,python):2025-02-20-16:27:32.540.044 [a.cc:4][42]Entry-x", "", "INFO", "02-20 16:27:32", None),
        ("[EVENT] TDT(9,python3):2026-01-31-23:59:59.000.001 [a.cc:4] x", "", "INFO", "01-31 23:59:59", None),
        (
            "[ERROR] DEVICE(7,ffff8a,python):2024-01-01-12:00:00.123.456 [mindspore/a.cc:4] x",
            "",
            "ERROR",
            "01-01 12:00:00",
            None,
        ),
        ("Nov  4 06:03:01 atlas-1 kernel: x", "", "", "11-04 06:03:01", None),
        ("[Tue Nov 24 06:03:01 2026] Out of memory: Killed process 7", "", "", "11-24 06:03:01", None),
        ("[12345.678901] [ascend] [drv] x", "", "", "", None),
        ("2026-11-24T14:03:01.5+0800 atlas-1 kernel: x", "", "", "11-24 06:03:01", "atlas-1 kernel: x"),
        (
            "[2025-03-04 11:22:33.123456+08:00] [1] [2] [server] [ERROR] [a.cpp:1] x",
            "",
            "ERROR",
            "03-04 03:22:33",
            None,
        ),
        ("[ERROR]    2024/01/10 02:29:39.034681 60      collector/a.go:1924    x", "", "ERROR", "01-10 02:29:39", None),
        ("2026-05-26 15:15:48,667 - INFO - start x", "", "INFO", "05-26 15:15:48", None),
        ("[2024-01-01 12:00:00,123] torch.distributed: [ERROR] x", "", "", "01-01 12:00:00", None),
        ("nothing known", "", "", "", "nothing known"),
        ("", "", "", "", ""),
        ("ERROR 99-99 99:99:99 [a.py:1] no such time", "", "ERROR", "", "no such time"),
    ],
)
def test_every_form_of_a_line(raw: str, who: str, level: str, time: str, text: str | None) -> None:
    lines = list(parse(raw or "\n"))
    assert (lines[0].who, lines[0].level, shown_time(lines[0].at)) == (who, level, time)
    assert lines[0].text == (raw if text is None else text)


def test_a_line_knows_its_year_and_whether_its_time_is_utc() -> None:
    lines = list(parse("2026-11-24T06:03:01.25Z a\n11-24 14:03:01 b\n[Tue Nov 24 06:03:02 2026] c\nd\n"))
    assert [(line.year, line.utc, line.timed) for line in lines] == [
        (2026, True, True),
        (0, False, True),
        (2026, False, True),
        (2026, False, False),
    ]
    assert lines[0].at == epoch(lines[0].at or 0.0, 2026) - 1767225600.0 + 86400  # November of a leap year


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("EI0006: [PID: 15618] 2025-10-11-11:32:29.335.888 Getting socket times out.", "10-11 11:32:29"),
        ("ERROR 10-11 11:32:59 [a.py:1] EJ0001: 2025-10-11-11:32:30.167.645 Failed", "10-11 11:32:30"),
        ("ERROR 10-11 11:32:59 [a.py:1] EI0006 without a time", ""),
    ],
)
def test_when_it_happened_by_canns_own_words(text: str, time: str) -> None:
    assert shown_time(inner_time(text)) == time


def test_a_line_without_time_has_the_one_before_it() -> None:
    lines = list(parse("first\nINFO 01-02 00:00:01 [a.py:1] a\nb\nINFO 01-02 00:00:05 [a.py:1] c\n"))
    assert [shown_time(line.at)[-1] for line in lines] == ["1", "1", "1", "5"]


@settings(database=None)
@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert len(list(parse(text))) == len(text.splitlines())
