"""Topology and HCCS links: tables without rules, lists in brackets, and what is missing of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend.topo import TopologyRow, parse_hccs, parse_topology

LEGEND = "\nLegend:\n  X    = Self\n  HCCS = Connection traversing HCCS.\n"
A3 = "           Phy-ID0    Phy-ID1\nPhy-ID0    X          SIO\nPhy-ID1    SIO        X\n"
A2 = "\t   NPU0       NPU1       CPU Affinity\nNPU0       X          HCCS       144-167\n"
A2 += "NPU1       HCCS       X          0-23,48-71\n" + LEGEND
HCCS = "\thccs health status             : OK\n\thccs link lane list            : [11110000 1111]\n"
HCCS += "\thccs tx packets                : [1993002168   7]\n"


def test_who_reaches_whom() -> None:
    topology = parse_topology(A2)
    assert topology.rows[1] == TopologyRow("NPU1", ("HCCS", "X"), "0-23,48-71")
    assert (topology.link("NPU0", "NPU1"), topology.link("NPU0", "NPU9"), topology.link("NPU9", "NPU0")) == (
        "HCCS",
        None,
        None,
    )
    assert parse_topology(A3).link("Phy-ID1", "Phy-ID0") == "SIO"
    assert topology.problems == parse_topology(A3).problems == ()


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ("no topology in the output",)),
        (LEGEND, ("no topology in the output",)),
        (A3.replace("SIO        X", "SIO"), ("Phy-ID1: 1 of 2 links are shown",)),
        (A3.replace("SIO        X", "WARP       X"), ("Phy-ID1: unknown links WARP",)),
        (A3 + "Phy-ID1    SIO        X\n", ("Phy-ID1 is listed twice",)),
        (A2.replace("NPU1       HCCS", "NPU_       HCCS"), ("NPU1 has no row",)),
    ],
)
def test_what_is_missing_or_strange_is_said(text: str, problems: tuple[str, ...]) -> None:
    assert parse_topology(text).problems == problems


@given(st.lists(st.tuples(st.integers(0, 8), st.sampled_from(["", "警告", "[INFO] x", "NPU driver note"])), max_size=5))
def test_lines_between_rows_change_nothing(noise: list[tuple[int, str]]) -> None:
    rows = A2.splitlines()
    for place, line in noise:
        rows.insert(place, line)
    assert parse_topology("\n".join([*rows, ""])) == parse_topology(A2)


@given(st.integers(0, len(A2) - 1))
def test_a_cut_off_table_says_so(end: int) -> None:
    part = parse_topology(A2[:end])
    assert part.problems or part == parse_topology(A2)


def test_hccs_lists() -> None:
    links = parse_hccs(HCCS)
    assert (links.health, links.lanes, links.tx_packets) == ("OK", ("11110000", "1111"), (1993002168, 7))
    assert links.problems == ()


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ("no HCCS links in the output",)),
        ("hccs health status : NOK\n", ("hccs health status is NOK",)),
        ("hccs error count : [0  0\n", ("hccs error count is not understood: '[0  0'",)),
        ("hccs error count : [0 x]\n", ("hccs error count is not understood: '[0 x]'",)),
    ],
)
def test_hccs_that_is_not_well(text: str, problems: tuple[str, ...]) -> None:
    assert parse_hccs(text).problems == problems


@pytest.mark.parametrize("parse", [parse_topology, parse_hccs])
@given(raw=st.one_of(st.binary(max_size=200), st.text("NPU0 XHCS[]:|1\n", max_size=120).map(str.encode)))
def test_nothing_raises(parse: object, raw: bytes) -> None:
    assert callable(parse)
    assert parse(raw.decode("utf-8", "replace")) is not None
