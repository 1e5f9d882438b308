"""Expressions: typed, evaluated once, strict, and checked before they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import ConfigError, Position, Unknown
from provision.secrets import Secret
from provision.template.expression import (
    Reference,
    evaluate,
    evaluate_expression,
    evaluate_tree,
    is_template,
    names,
)

WHERE = Position("play.yaml", 3, 9)


@dataclass(frozen=True)
class Image:
    id: str
    layers: tuple[str, ...] = ("a", "b")
    _private: str = "hidden"

    def remove(self) -> str:
        return "removed"


SCOPE: dict[str, Any] = {
    "version": "1.10",
    "number": 3,
    "yes": True,
    "none": None,
    "items": ["a", "b"],
    "nested": {"a": {"b c": 1}, "template": "{{ number }}"},
    "image": Image("sha256:1"),
    "secret": Secret.of("c4nary"),
}

VALUES: dict[str, object] = {
    "plain": "plain",
    "{{ version }}": "1.10",
    "{{ number }}": 3,
    "{{ yes }}": True,
    "{{ none }}": None,
    "{{ items }}": ["a", "b"],
    "{{ image }}": SCOPE["image"],
    "{{ number }}\n": 3,
    "{{- number -}}": 3,
    " {{ number }}": " 3",
    "v{{ version }}": "v1.10",
    "{{ number }}{{ number }}": "33",
    "{{ nested.a['b c'] + 1 }}": 2,
    "{{ nested.template }}": "{{ number }}",
    "x{{ nested.template }}": "x{{ number }}",
    "{{ image.id }}": "sha256:1",
    "{{ number > 2 and yes }}": True,
    "{{ 1.10 }}": 1.1,
    "{{ 'a' if yes else 'b' }}": "a",
    "{{ {'k': number} }}": {"k": 3},
    "{{ [number, 1] | max }}": 3,
    "{{ missing | default('d') }}": "d",
    "{{ nested.missing | default(number) }}": 3,
    "{{ missing is defined }}": False,
    "{{ items | join(',') | upper }}": "A,B",
    "{{ '%03d' | format(number) }}": "003",
    "{{ '/a/b.c' | basename }}": "b.c",
    "{{ 'it''s' | quote }}": "its",
    "{{ 'a b' | quote }}": "'a b'",
    "{{ 'Yes' | bool }}": True,
    "{{ 'nope' | bool }}": False,
    "{{ nested.a | to_json }}": '{"b c": 1}',
    "{{ items | map('upper') | list }}": ["A", "B"],
    "{{ version.split('.') }}": ["1", "10"],
    "{% if yes %}on{% endif %}": "on",
    "{% for i in items %}{{ i }}.{% endfor %}": "a.b.",
    "{# nothing #}x": "x",
}


@pytest.mark.parametrize("text", VALUES)
def test_values_and_their_types(text: str) -> None:
    found = evaluate(text, SCOPE)
    assert found == VALUES[text]
    assert type(found) is type(VALUES[text])


def test_bare_expressions() -> None:
    assert evaluate_expression("number > 2 and image.id == 'sha256:1'", SCOPE) is True
    assert evaluate_expression("'}}' in version or number", SCOPE) == 3


WRONG = {
    "{{ numer }}": "'numer' is not defined",
    "x {{ nested.nothing }}": "has no attribute 'nothing'",
    "{{ image.nothing }}": "has no attribute 'nothing'",
    "{{ image._private }}": "unsafe",
    "{{ image.remove() }}": "not safely callable",
    "{{ secret.reveal() }}": "unsafe",
    "{{ secret._ref }}": "unsafe",
    "{{ version.__class__ }}": "unsafe",
    "{{ items.append(1) }}": "unsafe",
    "{{ 'x' * 1000000000 }}": "for small numbers",
    "{{ 9 ** 9999 }}": "for small numbers",
    "{{ number / 0 }}": "division by zero",
    "{{ number + 'x' }}": "unsupported operand",
    "{{ range(9) }}": "'range' is not defined",
    "{{ number": "unexpected end of template",
    "{{ }}": "Expected an expression",
    "{{ number | nofilter }}": "No filter named 'nofilter'",
    "{{ number is notest }}": "No test named 'notest'",
    "{% include 'x' %}": "no loader",
    "{% nothing %}": "unknown tag 'nothing'",
    "{{ none | mandatory('give it') }}": "give it",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_an_error_at_its_place(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        evaluate(text, SCOPE, where=WHERE)
    assert WRONG[text] in caught.value.message
    assert caught.value.where == WHERE


def test_errors_correct_spelling() -> None:
    for text, hint in (
        ("{{ numbr }}", "did you mean 'number'?"),
        ("{{ number | defalt(1) }}", "did you mean 'default'?"),
        ("{{ number is defned }}", "did you mean 'defined'?"),
    ):
        with pytest.raises(ConfigError) as caught:
            evaluate(text, SCOPE)
        assert caught.value.hint == hint


@pytest.mark.parametrize("text", ["{{ number }}", "number number", "", "number }} {{ number", "{% if 1 %}"])
def test_an_expression_is_one_and_bare(text: str) -> None:
    with pytest.raises(ConfigError):
        evaluate_expression(text, SCOPE, where=WHERE)


def test_trees_are_evaluated_text_by_text_with_their_places() -> None:
    tree = {"a": ["{{ number }}", "x"], "b": {"c": "{{ version }}"}, "d": 1}
    assert evaluate_tree(tree, SCOPE) == {"a": [3, "x"], "b": {"c": "1.10"}, "d": 1}
    with pytest.raises(ConfigError) as caught:
        evaluate_tree({"a": [1, "{{ x }}"]}, SCOPE, where=lambda path: Position(repr(path), 1, 1))
    assert caught.value.where == Position("('a', 1)", 1, 1)


REFERENCES: dict[str, list[str]] = {
    "a.b['c'].d[0].e": ["a.b.c.d"],
    "a[b].c": ["a", "b"],
    "a.b() > c": ["a.b", "c"],
    "a | default(b.c)": ["a?", "b.c"],
    "a.b is defined and c is not undefined": ["a.b?", "c?"],
    "(a | upper) | default(1)": ["a"],
    "a is defined and a == 1": ["a?", "a"],
    "'x' in a and 1 < b": ["a", "b"],
    "1 + 1": [],
}


@pytest.mark.parametrize("text", REFERENCES)
def test_names_that_an_expression_uses(text: str) -> None:
    found = names(text, bare=True)
    assert [str(each) + "?" * each.optional for each in found] == REFERENCES[text]
    assert found == names("{{ " + text + " }}")


def test_names_of_a_text_are_those_from_outside() -> None:
    text = "{% for i in items %}{{ i.x }} {{ other }}{% endfor %}{% set y = 1 %}{{ y }}"
    assert names(text) == (Reference(("items",)), Reference(("other",)))


def test_names_check_the_syntax() -> None:
    with pytest.raises(ConfigError, match="No filter named") as caught:
        names("{{ a | nofilter }}", where=WHERE)
    assert caught.value.where == WHERE


class Lazy(Mapping[str, Any]):
    """A scope that counts what is read, and can't be copied without reading all."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def __getitem__(self, name: str) -> Any:
        self.read.append(name)
        if name == "unknown":
            raise Unknown("known only after: pull")
        return name

    def __contains__(self, name: object) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all names were read")

    def __len__(self) -> int:
        return 1


def test_only_the_names_that_are_used_are_read() -> None:
    scope = Lazy()
    assert evaluate("{{ a ~ b }}", scope) == "ab"
    assert scope.read == ["a", "b"]


def test_what_is_unknown_stays_unknown() -> None:
    with pytest.raises(Unknown, match="after: pull"):
        evaluate("{{ unknown }}", Lazy())


def test_a_secret_prints_as_a_mask() -> None:
    assert "c4nary" not in evaluate("x{{ secret }}", SCOPE)
    assert evaluate("{{ secret }}", SCOPE) is SCOPE["secret"]


@pytest.mark.parametrize("value", [1, None, "", "x", "{", "}}", ["{{ x }}"]])
def test_no_templates(value: object) -> None:
    assert not is_template(value)


@given(st.text(st.sampled_from("{}%#|.()[]'\"ab 1+-=\n"), max_size=24))
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    for call in (evaluate, evaluate_expression):
        places: list[Position | None] = [WHERE]
        try:
            call(text, {"a": 1, "b": {"a": 2}}, where=WHERE)
        except ConfigError as error:
            places.append(error.where)
        assert set(places) == {WHERE}
