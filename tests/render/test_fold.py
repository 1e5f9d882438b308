"""Folding names is exact: what is printed names the same hosts, here and in Ansible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.render.fold import fold, unfold


@pytest.mark.parametrize(
    ("names", "folded"),
    [
        ([], ""),
        (["atlas"], "atlas"),
        (["atlas-1"], "atlas-1"),
        ([f"atlas-{n}" for n in range(1, 8)], "atlas-[1:7]"),
        (["atlas-1", "atlas-2", "atlas-4"], "atlas-[1:2],atlas-4"),
        (["atlas-2", "atlas-1"], "atlas-[1:2]"),
        ([f"node{n:02}" for n in range(1, 17)], "node[01:16]"),
        (["node08", "node09", "node10", "node11"], "node[08:11]"),
        (["node98", "node99", "node100"], "node[98:100]"),
        (["node098", "node099", "node100"], "node[098:100]"),
        (["n1", "n01"], "n1,n01"),
        ([f"a{n}.dc2.example.com" for n in range(3)], "a[0:2].dc2.example.com"),
        ([f"10.0.0.{n}" for n in (5, 6, 7)], "10.0.0.[5:7]"),
        (["b1", "a1", "a2", "b2"], "b[1:2],a[1:2]"),
        (["a1b1", "a1b2", "a2b1", "a2b2"], "a1b[1:2],a2b[1:2]"),
        (["x", "x"], "x"),
    ],
)
def test_fold(names: list[str], folded: str) -> None:
    assert fold(names) == folded


NAMES = st.lists(
    st.one_of(
        st.from_regex(r"[a-c]{1,2}-?(0?[0-9]|1[0-2])", fullmatch=True),
        st.from_regex(r"r[0-3]n0{0,2}[0-9]{1,2}(\.dc[12])?", fullmatch=True),
        st.from_regex(r"[a-zA-Z0-9._-]{1,14}", fullmatch=True),
    ),
    max_size=30,
    unique=True,
)


@given(NAMES)
def test_unfold_gives_back_the_names(names: list[str]) -> None:
    again = unfold(fold(names))
    assert len(again) == len(set(again))
    assert set(again) == set(names)


@given(NAMES)
def test_ansible_expands_it_to_the_same(names: list[str]) -> None:
    expand = pytest.importorskip("ansible.plugins.inventory").expand_hostname_range
    parts = [part for part in fold(names).split(",") if part]
    expanded = [name for part in parts for name in (expand(part) if "[" in part else [part])]
    assert set(expanded) == set(names)
