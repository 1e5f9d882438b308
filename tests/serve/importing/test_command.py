"""``vllm serve`` as options, and their values as an inventory has them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import yamlio
from provision.errors import ConfigError, Position
from provision.serve import argv
from provision.serve.importing.command import Option, argument, json_mapping, parse_serve

HERE = Position("x.sh", 3, 1)


@pytest.mark.parametrize(
    ("words", "model", "options"),
    [
        ("M --a 1 --b", "M", [("a", ("1",)), ("b", ())]),
        ("--model M --a=1", "M", [("a", ("1",))]),
        ("--trust-remote-code M", "M", [("trust-remote-code", ())]),
        ("--a=1 M --b", "M", [("a", ("1",)), ("b", ())]),
        ("M -tp 8 -O3", "M", [("tensor-parallel-size", ("8",)), ("compilation-config", ("3",))]),
        ("M --sizes 1 2 4 --n -1", "M", [("sizes", ("1", "2", "4")), ("n", ("-1",))]),
        ("M --additional_config {}", "M", [("additional_config", ("{}",))]),
    ],
)
def test_options(words: str, model: str, options: list[tuple[str, tuple[str, ...]]]) -> None:
    command = parse_serve(words.split(), HERE)
    assert command.model == model
    assert [(option.spelled, option.values) for option in command.options] == options


def test_the_last_of_repeated_options_counts() -> None:
    command = parse_serve(["M", "--max-num-seqs", "1", "--max_num_seqs", "2"], HERE)
    assert command.number("max-num-seqs") == 2
    assert command.number("port") is None


def test_an_abbreviation_counts_as_its_argument() -> None:
    command = parse_serve(["M", "--tensor-parallel", "8", "--no-headless"], HERE)
    assert command.number("tensor-parallel-size") == 8
    assert not command.has("headless")


def test_a_number_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"x.sh:3:1: --port \$PORT: not a whole number"):
        parse_serve(["M", "--port", "$PORT"], HERE).number("port")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((), True),
        (("1024",), 1024),
        (("0.9",), 0.9),
        (("0.90",), "0.90"),
        (("007",), "007"),
        (("true",), "true"),
        (("1", "2"), [1, 2]),
        (('{"a": {"b": 1}}',), {"a": {"b": 1}}),
        (('{"a": 1, "a": 2}',), '{"a": 1, "a": 2}'),
        (('{"a": NaN}',), '{"a": NaN}'),
        (('{"a": 1e999}',), '{"a": 1e999}'),
        (("[1]",), "[1]"),
        (("",), ""),
    ],
)
def test_values(values: tuple[str, ...], expected: object) -> None:
    found = argument(Option("x", values))
    assert found == expected
    assert type(found) is type(expected)


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_value_is_written_as_it_was(text: str) -> None:
    value = argument(Option("x", (text,)))
    written = argv.words("x", value)
    shown = written[0].removeprefix("--x=") if len(written) == 1 else written[1]
    assert shown == text or json.loads(shown) == json_mapping(text)
    assert not isinstance(value, bool)
    assert yamlio.resolve(text) == value or isinstance(value, str | dict)
