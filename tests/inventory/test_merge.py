"""qnext is merged key by key, everything else is replaced."""

from __future__ import annotations

import pytest

from provision.inventory.merge import merged, overlay
from provision.yamlio import loads

CASES = [
    ("{a: 1, b: 1}", "{b: 2, c: 2}", {"a": 1, "b": 2, "c": 2}),
    ("{a: {b: {c: 1, d: 1}}}", "{a: {b: {c: 2}}}", {"a": {"b": {"c": 2, "d": 1}}}),
    ("{a: [1, 2]}", "{a: [3]}", {"a": [3]}),
    ("{a: {b: 1}}", "{a: null}", {"a": None}),
    ("{a: null}", "{a: {b: 1}}", {"a": {"b": 1}}),
    ("{a: {b: 1}}", "{a: 5}", {"a": 5}),
    ("{a: 5}", "{a: {b: 1}}", {"a": {"b": 1}}),
    ("{key: {env: A}}", "{key: {file: B}}", {"key": {"file": "B"}}),
    ("{env: {A: 1}}", "{env: {B: 2}}", {"env": {"A": 1, "B": 2}}),
    ("{a: {env: {A: 1}}}", "{a: {env: {B: 1}}}", {"a": {"env": {"A": 1, "B": 1}}}),
]


@pytest.mark.parametrize(("lower", "upper", "expected"), CASES)
def test_merging(lower: str, upper: str, expected: object) -> None:
    assert merged(loads(lower), loads(upper)).data == expected


def test_places_stay_with_their_values() -> None:
    node = merged(loads("a:\n  b: 1\n  c: 1\n", "low.yaml"), loads("a:\n  c: 2\n", "high.yaml"))
    assert str(node.where(("a", "b"))) == "low.yaml:2:6"
    assert str(node.where(("a", "c"))) == "high.yaml:2:6"
    assert str(node.where(("a", "b"), key=True)) == "low.yaml:2:3"


def test_only_qnext_is_merged() -> None:
    target = dict(loads("qnext: {a: 1}\nother: {a: 1}\n").children)
    overlay(target, dict(loads("qnext: {b: 2}\nother: {b: 2}\n").children))
    assert {name: node.data for name, node in target.items()} == {"qnext": {"a": 1, "b": 2}, "other": {"b": 2}}


def test_what_is_merged_into_stays_as_it_was() -> None:
    lower = loads("{a: {b: 1}}")
    merged(lower, loads("{a: {c: 2}}"))
    assert lower.data == {"a": {"b": 1}}
