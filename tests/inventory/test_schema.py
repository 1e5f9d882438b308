"""The published schema takes what ``load`` takes, refuses plain mistakes, and documents every key."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from provision import yamlio
from provision.inventory.model import Settings
from provision.inventory.schema import inventory_schema
from provision.inventory.validate import PATTERN_WORDS

from .conftest import CASES, EXAMPLES

SCHEMA = inventory_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
DOCS = Path(__file__).parents[2] / "docs" / "inventory.md"


def test_it_is_a_schema_and_plain_json() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("name", [*EXAMPLES, *CASES])
def test_what_loads_is_valid(name: str) -> None:
    data = yamlio.load({**EXAMPLES, **CASES}[name]).data
    assert [error.message for error in VALIDATOR.iter_errors(data)] == []


QNEXT: dict[str, Any] = {
    "a part only": {"serve": {"port": 9000}},
    "a template": {"serve": {"port": "{{ port }}"}, "devices": "{{ devices }}"},
    "secrets": {"serve": {"api_key": {"env": "KEY"}}},
    "null": None,
    "a threshold that is taken back": {"checks": {"X09": {"least": None}}},
}


@pytest.mark.parametrize("case", QNEXT)
def test_qnext_may_be_given_in_parts_everywhere(case: str) -> None:
    variables = {"qnext": QNEXT[case]}
    data = {"all": {"vars": variables, "hosts": {"n": variables}, "children": {"g": {"hosts": {"m": variables}}}}}
    assert VALIDATOR.is_valid(data)


WRONG: dict[str, Any] = {
    "unknown key": {"qnext": {"servee": {}}},
    "unknown key below": {"qnext": {"serve": {"prot": 1}}},
    "wrong type": {"qnext": {"serve": {"port": "8000"}}},
    "out of bounds": {"qnext": {"serve": {"port": 0}}},
    "no such choice": {"qnext": {"hardware": "a4"}},
    "two secrets": {"qnext": {"serve": {"api_key": {"env": "A", "file": "B"}}}},
    "connection": {"ansible_host": ["192.0.2.1"]},
    "password": {"ansible_password": {"envv": "A"}},
}


@pytest.mark.parametrize("case", WRONG)
def test_mistakes_are_refused_everywhere(case: str) -> None:
    for data in ({"vars": WRONG[case]}, {"hosts": {"n": WRONG[case]}}, {"children": {"g": {"vars": WRONG[case]}}}):
        assert not VALIDATOR.is_valid({"all": data})


@pytest.mark.parametrize("data", [[], {}, {"all": {"host": {}}}, {"all": {"hosts": []}}, {"all": []}])
def test_a_wrong_structure_is_refused(data: object) -> None:
    assert not VALIDATOR.is_valid(data)


def keys(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of the models by its dotted path, with its field."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from keys(field.annotation, f"{above}{name}.")
        else:
            yield above + name, field


ROWS = {
    row[1]: row for row in re.finditer(r"^\| `([\w.]+)` \|(.*)\|(.*)\|(.*)\|$", DOCS.read_text("utf-8"), re.MULTILINE)
}


@pytest.mark.parametrize("key", [key for key, _ in keys(Settings)])
def test_every_key_is_documented_with_its_default(key: str) -> None:
    field = dict(keys(Settings))[key]
    assert field.description, "Field(description=…) is missing"
    default = ROWS[key][3].strip().strip("`")
    if field.is_required():
        assert default == ""
    elif isinstance(field.default, bool):
        assert default == str(field.default).lower()
    elif isinstance(field.default, float | int):
        assert float(default) == field.default
    elif isinstance(field.default, str):
        assert default == field.default
    else:
        assert default


def test_nothing_else_is_documented() -> None:
    documented = {name for name in ROWS if not name.startswith("ansible")}
    assert documented == {key for key, _ in keys(Settings)}


def test_every_pattern_has_words() -> None:
    patterns = set(re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(Settings.model_json_schema())))
    assert {json.loads(f'"{pattern}"') for pattern in patterns} <= PATTERN_WORDS.keys()
