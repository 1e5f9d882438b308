"""What is written is read back as the same values, by us and by Ansible's YAML."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provision import yamlio
from provision.serve.importing.yaml_text import WIDTH, Comment, Flow, document

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"])).filter(
    lambda text: not any(mark in text for mark in ("{{", "{%", "{#"))
)
SCALAR = st.none() | st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False)
VALUE = st.recursive(SCALAR | TEXT, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=4)


@given(st.dictionaries(TEXT, VALUE, max_size=3))
def test_values_come_back(block: dict[str, Any]) -> None:
    text = document({key: Flow(value) for key, value in block.items()})
    if not block:
        return
    assert yamlio.loads(text).data == block
    assert yaml.safe_load(text) == block


@pytest.mark.parametrize(
    "text",
    ["no", "22:22", "0755", "1e3", "true", "", " a", "a: b", "#", "- a", "*a", "<<", "\x85", "...", "... a", "---"],
)
def test_texts_that_yaml_would_misread(text: str) -> None:
    written = document({"a": text})
    assert yamlio.loads(written).data == yaml.safe_load(written) == {"a": text}


def test_a_template_is_no_template() -> None:
    assert yamlio.loads(document({"a": "x {{ y }}"})).data == {"a": '{{ "x {{ y }}" }}'}


def test_layout() -> None:
    names = [f"argument-number-{n}" for n in range(12)]
    text = document(
        {Comment("two\nlines"): None, "b": {"c": None}, "order": Flow(names), "m": Flow({"k": 1})}, head=["first\tline"]
    )
    assert text.startswith("# first line\n# two\n# lines\nb:\n  c:\norder: [\n  argument-number-0, ")
    assert text.endswith("\n]\nm: {k: 1}\n")
    assert max(map(len, text.splitlines())) <= WIDTH
    assert yamlio.loads(text).data == {"b": {"c": None}, "order": names, "m": {"k": 1}}
