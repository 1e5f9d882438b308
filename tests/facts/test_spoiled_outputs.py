"""Whatever reaches a parser, cut, mixed or of another encoding, becomes a value that says what it could not read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.kinds import KINDS, Kind, as_data
from tests.facts.outputs import OUTPUTS

OWN = [kind for kind in KINDS.values() if not kind.name.startswith("npu-smi")]
NOISE = ["...", "警告：驱动未安装", "\x1b[31mWARNING\x1b[0m deprecated", "$ ", "\t", "root@node1:~# "]
LINES = [line for text in OUTPUTS.values() for line in text.splitlines()]


def test_every_kind_has_an_output_to_spoil() -> None:
    assert {kind.name for kind in OWN} == set(OUTPUTS)


def said(kind: Kind, text: str) -> Any:
    data = as_data(kind.parse(text))
    assert isinstance(data, dict)
    assert json.dumps(data)
    return data


def put_in(text: str, place: int, line: str) -> str:
    lines = text.splitlines()
    return "\n".join([*lines[:place], line, *lines[place:]])


def facts(value: Any) -> Any:
    """Without what the value complains of."""
    if isinstance(value, dict):
        return {key: facts(item) for key, item in value.items() if key != "problems"}
    return [facts(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.name)
@given(data=st.data())
def test_cut_at_any_place(kind: Kind, data: st.DataObject) -> None:
    whole = OUTPUTS[kind.name]
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    said(kind, whole[start:end])


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.name)
@given(data=st.data())
def test_lines_of_others_between_its_own_lose_nothing(kind: Kind, data: st.DataObject) -> None:
    text = OUTPUTS[kind.name]
    place = data.draw(st.integers(0, text.count("\n")))
    assert facts(said(kind, put_in(text, place, data.draw(st.sampled_from(NOISE))))) == facts(said(kind, text))


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.name)
@given(data=st.data())
def test_lines_of_any_output_between_its_own(kind: Kind, data: st.DataObject) -> None:
    text = OUTPUTS[kind.name]
    other = data.draw(st.one_of(st.text(max_size=40), st.sampled_from(LINES)))
    said(kind, put_in(text, data.draw(st.integers(0, text.count("\n"))), other))


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.name)
@given(raw=st.binary(max_size=200))
def test_any_bytes(kind: Kind, raw: bytes) -> None:
    said(kind, raw.decode("utf-8", "replace"))
    said(kind, raw.decode("latin-1"))


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.name)
@pytest.mark.parametrize("encoding", ["utf-16", "gb18030", "latin-1"])
def test_an_encoding_of_another_machine(kind: Kind, encoding: str) -> None:
    said(kind, OUTPUTS[kind.name].encode(encoding, "replace").decode("utf-8", "replace"))


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.name)
def test_line_ends_of_windows_change_nothing(kind: Kind) -> None:
    text = OUTPUTS[kind.name]
    assert said(kind, text.replace("\n", "\r\n")) == said(kind, text)


@pytest.mark.parametrize("kind", [k for k in OWN if k.name not in ("kernel-log", "lspci")], ids=lambda k: k.name)
def test_nothing_is_not_read_in_silence(kind: Kind) -> None:
    """An empty kernel log and a bus without NPUs are answers; elsewhere an empty text is a problem."""
    assert said(kind, "")["problems"]
    assert said(kind, "No such device\n")["problems"]
