"""Versions sort as they were released: the chains of the domain, and what must hold of any order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend.version import Version, parse_version

CHAINS = {
    "hdk": "23.0.rc3 < 23.0.0 < 23.0.3 < 24.1.rc1 < 24.1.0 < 24.1.0.3 < 25.2.0 < 25.5.0 < 25.5.1 < 25.7.rc1 < 26.0"
    " < 26.1.0",
    "cann": "8.2.RC1 < 8.3.RC1 < 8.3.RC2 < 8.5.0 < 8.5.1 < 9.0.0 < 9.0.1 < 9.1.0",
    "builds": "24.1.rc1 < 24.1.rc1.b030 < 24.1.rc1.1 < 24.1.rc2 < 24.1.rc3.7 < 24.1.0 < 24.1.0.b100 < 24.1.0.1",
    "pre-releases": "8.5.0.alpha001 < 8.5.0.alpha002 < 8.5.0-beta.1 < 8.5.0-beta2 < 8.5.0.RC1 < 8.5.0",
    "alphas of a candidate": "8.2.RC1.alpha003 < 8.2.RC1 < 8.2.0",
    "trial builds": "7.0.T10 < 7.0.RC1 < 7.0.0",
    "firmware": "6.4.12 < 7.1.0.11.220 < 7.3.0.1.231 < 7.7.0.1.231 < 7.7.0.10.1",
    "tags": "v0.17.0rc1 < v0.18.0rc1 < v0.18.0 < v0.18.0.post1 < v0.23.0",
    "torch_npu": "2.7.1.dev20250724 < 2.7.1 < 2.7.1.post1 < 2.9.0",
}


def version(text: str) -> Version:
    found = parse_version(text)
    assert found is not None, text
    return found


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS)
def test_chains(chain: str) -> None:
    texts = chain.split(" < ")
    for low, high in itertools.combinations(texts, 2):
        assert version(low) < version(high), f"{low} < {high}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("26.0", "26.0.0"),
        ("8.3.RC2", "8.3.rc2"),
        ("v0.18.0", "0.18.0"),
        ("23.0.rc3.", "23.0.rc3"),
        ("2.9.0.post1+git4c901a4", "2.9.0.post1"),
        ("8.5.0-alpha001", "8.5.0.alpha1"),
        (" 25.2.0\n", "25.2.0"),
    ],
)
def test_the_same_version_in_other_spellings(one: str, other: str) -> None:
    assert version(one) == version(other)
    assert len({version(one), version(other)}) == 1


@pytest.mark.parametrize(
    "text",
    ["", "NA", "-", "unknown", "rc1", "25..2", "25.x", "25.2.0 extra", "Version=25.2.0", "٢٥.2", "1." * 40 + "1"],
)
def test_what_is_no_version(text: str) -> None:
    assert parse_version(text) is None


@pytest.mark.parametrize(("text", "final"), [("25.2.0", True), ("24.1.rc1", False), ("8.5.0.alpha1", False)])
def test_final(text: str, final: bool) -> None:
    assert version(text).final is final


TEXTS = st.lists(
    st.one_of(
        st.integers(0, 30).map(str),
        st.builds(
            "{}{}".format, st.sampled_from(["rc", "RC", "b", "alpha", "beta", "T", "post", "dev"]), st.integers(0, 9)
        ),
    ),
    max_size=5,
).map(lambda fields: ".".join(["25", *fields]))


@given(TEXTS, TEXTS, TEXTS)
def test_a_total_order(a: str, b: str, c: str) -> None:
    x, y, z = sorted(map(version, (a, b, c)))
    assert x <= y <= z
    assert x <= z
    assert (x < y) + (x == y) + (x > y) == 1


@given(st.text(), st.text("0123456789.rcbRCalphv+-_T", max_size=40))
def test_nothing_raises(text: str, near: str) -> None:
    for any_text in (text, near):
        found = parse_version(any_text)
        assert found is None or found == parse_version(str(found))
