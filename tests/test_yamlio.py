"""YAML by the rules of YAML 1.2's core schema, with places, and errors in plain words."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from provision import yamlio
from provision.errors import ConfigError, Position
from provision.yamlio import describe, load, loads, parse, resolve

SCALARS = {
    "no": "no",
    "yes": "yes",
    "on": "on",
    "Off": "Off",
    "y": "y",
    "22:22": "22:22",
    "2026-01-01": "2026-01-01",
    "1_000": "1_000",
    "0b11": "0b11",
    "=": "=",
    "1.2.3": "1.2.3",
    "v0.18.0": "v0.18.0",
    "+": "+",
    ".": ".",
    "true": True,
    "False": False,
    "tRUE": "tRUE",
    "~": None,
    "null": None,
    "": None,
    "NULL": None,
    "nul": "nul",
    "0755": 755,
    "08": 8,
    "0o755": 0o755,
    "0xFf": 255,
    "-7": -7,
    "+7": 7,
    "-0o7": "-0o7",
    "1.": 1.0,
    ".5": 0.5,
    "1e3": 1000.0,
    "1.10": 1.1,
    "-.inf": -math.inf,
    "+.INF": math.inf,
    ".Inf": math.inf,
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    found = loads(f"key: {text}").data["key"]
    assert found == value
    assert type(found) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(resolve(".nan"))  # type: ignore[arg-type]


def test_quotes_and_tags_decide() -> None:
    node = loads("a: 'no'\nb: \"1\"\nc: !!str 1\nd: !!float 1\ne: |\n  1\nf: ! 1\n")
    assert node.data == {"a": "no", "b": "1", "c": "1", "d": 1, "e": "1\n", "f": "1"}


AMBIGUOUS = ("no", "On", "0755", "22:22", "1_000", "2026-01-01", "0o17", "1e3", "0b11", "=")


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_what_ansible_reads_otherwise_is_ambiguous(text: str) -> None:
    assert loads(f"key: {text}").children["key"].ambiguous
    assert not loads(f"key: '{text}'").children["key"].ambiguous


@pytest.mark.parametrize(
    "text", ["true", "false", "1", "0", "1.5", "~", "", "text", "v1", "/data", ".inf", ".nan", "-5"]
)
def test_what_ansible_reads_alike_is_not(text: str) -> None:
    assert not loads(f"key: {text}").children["key"].ambiguous


@given(st.text(st.sampled_from("0123456789.:_+-eExobn "), min_size=1, max_size=8).map(str.strip).filter(bool))
def test_ambiguity_is_what_pyyaml_says(text: str) -> None:
    try:
        node = loads(f"key: {text}").children["key"]
    except ConfigError:
        return
    if node.text is None:
        return
    try:
        other = yaml.safe_load(f"key: {text}")["key"]
    except (ValueError, yaml.YAMLError):
        assert node.ambiguous
        return
    same = type(other) is type(node.data) and (other == node.data or other != other)
    assert node.ambiguous is not same


DOCUMENT = """\
all:
  vars: &vars
    port: 8000
    list: [a, {b: c}]
  more:
    <<: *vars
    own: 1
"""


def test_every_key_and_value_knows_its_place() -> None:
    node = loads(DOCUMENT, "f.yaml")
    at = {
        (("all", "vars", "port"), False): (3, 11),
        (("all", "vars", "port"), True): (3, 5),
        (("all", "vars", "list", 1, "b"), False): (4, 19),
        (("all", "vars", "list", 1, "b"), True): (4, 16),
        (("all", "more", "own"), True): (7, 5),
        (("all", "more", "port"), True): (3, 5),  # merged: where it was written
        (("all", "vars", "absent", "deeper"), False): (2, 9),  # the nearest above it
        ((), False): (1, 1),
    }
    for (path, key), (line, column) in at.items():
        assert node.where(path, key=key) == Position("f.yaml", line, column), path
    assert node.find(("all", "vars", "list", 1, "b")).data == "c"  # type: ignore[union-attr]
    assert node.find(("all", "nothing")) is None
    assert str(node.error("wrong", ("all", "vars", "port"))) == "f.yaml:3:11: wrong"


def test_merge_keys_give_way_to_own_keys_and_to_earlier_sources() -> None:
    node = loads("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  y: 3\n  <<: [*a, *b]\n")
    assert node.data["c"] == {"x": 1, "y": 3, "z": 2}
    assert node.data == yaml.safe_load("a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc:\n  y: 3\n  <<: [*a, *b]\n")
    assert loads("a: {'<<': 1}").data == {"a": {"<<": 1}}


ERRORS = {
    "a: 1\nb: 2\na: 3\n": (3, 1, "'a' is given twice; first on line 1"),
    "a: {b: 1, 'b': 2}": (1, 11, "'b' is given twice"),
    "a: {{ x }}": (1, 5, "a key must be a word"),
    "? [a]\n: b": (1, 3, "a key must be a word"),
    "a:\n\tb: 1\n": (2, 1, "a tab is used for indentation"),
    "a:\n  - b\n\t- c\n": (3, 1, "a tab is used for indentation"),
    "a: b: c": (1, 5, "a ':' is not allowed here"),
    "a:\n  b: 1\n c: 2\n": (3, 2, "does not fit"),
    "- a\nb: c\n": (2, 1, "does not fit the list"),
    "a: [1, 2\n": (2, 1, "a '[' is not closed (it begins on line 1)"),
    "a: {b: 1\n": (2, 1, "a '{' is not closed"),
    "a: 'b\n\nc: 1\n": (4, 1, "a quote is not closed (it begins on line 1)"),
    'a: "\\q"': (1, 5, "an unknown escape"),
    "a: @b": (1, 4, "a value cannot begin with '@'"),
    "a: %b": (1, 4, "a value cannot begin with '%'"),
    "a: *b": (1, 4, "*b is not defined"),
    "a: &a [*a]": (1, 8, "inside its own definition"),
    "a: !vault |\n  x\n": (1, 4, "the tag !vault is not supported"),
    "a: !!python/object:os.system x": (1, 4, "the tag !!python/object:os.system is not supported"),
    "a: !!int x": (1, 4, "'x' is no int"),
    "a: !!set {b}": (1, 4, "the tag !!set"),
    "a: 1\n---\nb: 2\n": (2, 1, "a second document begins here"),
    "": (1, 1, "this file is empty"),
    "# only a comment\n": (1, 1, "this file is empty"),
    "- a\n": (1, 1, "must hold a mapping (key: value), not a list"),
    "text": (1, 1, "must hold a mapping (key: value), not the text 'text'"),
    "a: \x07": (1, 4, "the control character #x0007 is not allowed"),
    "a: 1\nbé: \x00": (2, 5, "the control character #x0000"),
    "a: \ud800": (1, 4, "not Unicode"),
    "a: " + "9" * 5000: (1, 4, "this number is too long"),
    "<<: 1": (1, 5, "'<<' needs a mapping"),
    "<<: {a: 1}\n<<: {b: 2}": (2, 1, "'<<' is given twice"),
    "[" * 900: (1, 101, "nested more than 100 deep"),
    "%YAML 3.0\n---\na: 1": (1, 1, "this version of YAML"),
}


@pytest.mark.parametrize("text", ERRORS)
def test_wrong_yaml_is_one_error_at_its_place(text: str) -> None:
    line, column, message = ERRORS[text]
    with pytest.raises(ConfigError) as caught:
        loads(text, "f.yaml")
    assert message in caught.value.message
    assert caught.value.where == Position("f.yaml", line, column)


def test_a_depth_that_the_parser_itself_refuses_is_told_alike() -> None:
    with pytest.raises(ConfigError, match="nested more than 100 deep"):
        loads("[" * 5000)


@pytest.mark.parametrize("text", ERRORS)
def test_without_libyaml_it_is_an_error_too(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yamlio, "_Loader", yaml.SafeLoader)
    with pytest.raises(ConfigError):
        loads(text, "f.yaml")


def test_without_libyaml_the_places_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    node = loads(DOCUMENT)
    monkeypatch.setattr(yamlio, "_Loader", yaml.SafeLoader)
    assert loads(DOCUMENT) == node


def test_a_duplicate_names_both_places() -> None:
    with pytest.raises(ConfigError) as caught:
        loads("a: 1\n\na: 2\n", "f.yaml")
    assert str(caught.value).startswith("f.yaml:3:1: ")
    assert "f.yaml:1:1" in caught.value.hint


def test_what_aliases_blow_up_to_is_bounded() -> None:
    levels = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    with pytest.raises(ConfigError, match="more than 500000 values"):
        loads("a0: &a0 [x]\n" + levels)


def test_a_document_of_any_kind_can_be_parsed() -> None:
    assert parse("").data is None
    assert parse("- 1\n- {a: b}").data == [1, {"a": "b"}]
    assert parse("--- x\n...\n").data == "x"
    assert parse('{"a": [1, "b\\u00e9", null]}').data == {"a": [1, "bé", None]}


def test_files(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes("\ufeffa: é\r\nb: 1\r\n".encode())
    assert load(file).data == {"a": "é", "b": 1}
    file.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8") as caught:
        load(file)
    assert caught.value.where == Position(str(file), 2, 7)
    file.write_bytes("a: 1".encode("utf-16"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(file)
    for path, reason in ((tmp_path / "absent", "No such file"), (tmp_path, "Is a directory"), ("a\0b", "null byte")):
        with pytest.raises(ConfigError, match=reason):
            load(path)


def test_values_are_described_in_plain_words() -> None:
    values = [{}, [], None, True, 8, 1.5, "no", "x" * 100]
    words = ["a mapping", "a list", "nothing", "true", "the number 8", "the number 1.5", "the text 'no'"]
    assert [describe(value) for value in values][:-1] == words
    assert len(describe(values[-1])) < 80


YAML_LIKE = st.text(st.sampled_from("ab01-:?[]{},&*!|>'\"%@`#~<. \n\t\\\u0085é\U0001f600"), max_size=60)


@given(st.text(max_size=60) | YAML_LIKE)
@example("? ? ? a")
@example("!<tag:yaml.org,2002:int> []")
@example("a: !!null x")
@example("&a : *a")
def test_any_text_is_data_or_a_config_error(text: str) -> None:
    try:
        places = [node.position for node in parse(text).walk()]
    except ConfigError as error:
        places = [error.where or Position("nowhere", 0, 0)]
    assert all(place.line >= 1 and place.column >= 1 for place in places)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), PLAIN, max_size=4))
def test_what_pyyaml_writes_is_read_back(data: dict[str, object]) -> None:
    text = yaml.safe_dump(data, default_style='"', allow_unicode=True)
    assert loads(text).data == yaml.safe_load(text)
