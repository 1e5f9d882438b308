"""Host ranges: what they expand to, and what is wrong with the others. (That Ansible agrees: test_as_ansible.)"""

from __future__ import annotations

import pytest

from provision.inventory.ranges import expand, is_address

GOOD = {
    "node": (["node"], None),
    "node[1:3]": (["node1", "node2", "node3"], None),
    "node[08:11]": (["node08", "node09", "node10", "node11"], None),
    "n[1:6:2]x": (["n1x", "n3x", "n5x"], None),
    "[a:c]": (["a", "b", "c"], None),
    "[x:B]": (["x", "y", "z", "A", "B"], None),
    "[a:e:2]": (["a", "c", "e"], None),
    "r[1:2]n[a:b]": (["r1na", "r1nb", "r2na", "r2nb"], None),
    "n[:2]": (["n0", "n1", "n2"], None),
    "n[5:5]": (["n5"], None),
    "n:22": (["n"], 22),
    "n[1:2]:22": (["n1", "n2"], 22),
    "192.0.2.1:22": (["192.0.2.1"], 22),
    "[2001:db8::1]:22": (["2001:db8::1"], 22),
    "2001:db8::1": (["2001:db8::1"], None),
    "n.example.com": (["n.example.com"], None),
}

BAD = {
    "n[1]": "a range is written",
    "n[]": "a range is written",
    "n[1:2:3:4]": "a range is written",
    "n[1:]": "has no end",
    "n[01:100]": "equally long",
    "n[5:1]": "begin before it ends",
    "n[c:a]": "begin before it ends",
    "n[1:z]": "'z' is no number",
    "n[aa:bb]": "'aa' is no number",
    "n[1:9:0]": "at least 1",
    "n[1:9:x]": "'x' is no number",
    "n[1:2": "come in pairs",
    "n[1:9999999]": "more than 100000 hosts",
    "n[1:999][1:999]": "more than 100000 hosts",
    "n[-1:2]": "'-1' is no number",
}


@pytest.mark.parametrize("pattern", GOOD)
def test_ranges(pattern: str) -> None:
    assert expand(pattern) == GOOD[pattern]


@pytest.mark.parametrize("pattern", BAD)
def test_what_is_no_range_says_why(pattern: str) -> None:
    with pytest.raises(ValueError, match=BAD[pattern]):
        expand(pattern)


@pytest.mark.parametrize(
    "text", ["n", "n:22", "n[1:2]", "a.b.c", "192.0.2.1", "2001:db8::1", "[2001:db8::1]:22", "n_1-x"]
)
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize("text", ["a:b", "a:!b", "n[0]", "~n", "n*", "", "a b", "-n", "a:b:c"])
def test_no_addresses(text: str) -> None:
    assert not is_address(text)
