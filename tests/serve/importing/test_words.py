"""Shell text as words: quotes, variables, comments, continued lines."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.serve.importing.words import expand, lex, references, unclosed

KNOWN = {"A": "1", "B": "b b"}


def words(text: str) -> list[str]:
    return [token.expanded(KNOWN.get) for token in lex(text) if token.kind == "word"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 'b c' \"d e\"", ["a", "b c", "d e"]),
        ("a \\\n b", ["a", "b"]),
        ("a \\  \n b", ["a", "b"]),
        ("a \\\r\n b", ["a", "b"]),
        ("a # c\nb", ["a", "b"]),
        ("a#b", ["a#b"]),
        ("$A ${B} '$A' \"$A\" \\$A $C ${D:-d}", ["1", "b b", "$A", "1", "$A", "$C", "d"]),
        ("x=$(hostname -I | awk '{print $1}') y", ["x=$(hostname -I | awk '{print $1}')", "y"]),
        ("x=`hostname -I` `a b`", ["x=`hostname -I`", "`a b`"]),
        ('"a\\"b" "c\\d"', ['a"b', "c\\d"]),
        ("'' \"\"", ["", ""]),
        ("'open", ["open"]),
        ("--c '{\"a\": [1, 2]}'", ["--c", '{"a": [1, 2]}']),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_operators_and_lines() -> None:
    tokens = lex("a && b; c\nd 2>&1")
    assert [(t.kind, t.text, t.line) for t in tokens] == [
        ("word", "a", 1),
        ("operator", "&&", 1),
        ("word", "b", 1),
        ("operator", ";", 1),
        ("word", "c", 1),
        ("end", "", 1),
        ("word", "d", 2),
        ("operator", "2>", 2),
        ("operator", "&", 2),
        ("word", "1", 2),
    ]


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_what_shlex_quotes_comes_back(given_words: list[str]) -> None:
    text = " ".join(shlex.quote(word) for word in given_words)
    plain = [word.replace("\r\n", "\n") for word in given_words]
    assert [token.text for token in lex(text)] == plain


@given(st.text())
def test_any_text_has_words(text: str) -> None:
    lines = [token.line for token in lex(text)]
    assert lines == sorted(lines)


def test_references() -> None:
    assert references("$A/${B}:$1") == ("A", "B")
    assert expand("$A", {}.get) == "$A"


@pytest.mark.parametrize(
    ("text", "line"),
    [("a 'b' \"c\"", None), ("a\n'b", 2), ('a\n\n"b\nc', 3), ("a \\' b", None), ('"it\'s"', None)],
)
def test_a_quote_that_is_never_closed(text: str, line: int | None) -> None:
    assert unclosed(text) == line
