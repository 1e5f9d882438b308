"""What is quoted arrives in sh as it was: tried with the real sh."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.shell import assign, join, quote

WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


def through_sh(line: str) -> list[str]:
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize(
    "word",
    ["", "plain", "two words", "it's", "$HOME", "`id`", "a\nb", "-n", "=x", "~", "*", "\\", "é", "a=b", '"', "!x", "#"],
)
def test_a_word_arrives_as_it_was(word: str) -> None:
    assert through_sh(quote(word)) == [word]


@given(st.lists(WORDS, min_size=1, max_size=12))
def test_any_words_arrive_as_they_were(words: list[str]) -> None:
    assert through_sh(join(words)) == words


def test_harmless_words_stay_readable() -> None:
    assert join(["vllm", "serve", "/data/Qwen3-Next", "--port", 8000, "a=b", "x@y:1,2+3%"]) == (
        "vllm serve /data/Qwen3-Next --port 8000 a=b x@y:1,2+3%"
    )


def test_no_word_can_hold_a_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        quote("a\0b")


def test_an_assignment_quotes_its_value_and_refuses_a_bad_name() -> None:
    assert assign("A_1", "x y") == "A_1='x y'"
    for name in ("1A", "", "A-B", "A B", "A\n"):
        with pytest.raises(ValueError, match="name of a shell variable"):
            assign(name, "x")
