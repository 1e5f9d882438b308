from __future__ import annotations

import json

import pytest

from provision.evaluate.chat import delta_text, payload, reply
from provision.http import Response


def answered(message: object, status: int = 200) -> Response:
    return Response(status, json.dumps({"choices": [{"message": message}], "usage": {"completion_tokens": 3}}).encode())


def test_the_seeds_request() -> None:
    assert payload("qwen3_next") == {
        "model": "qwen3_next",
        "messages": [{"role": "user", "content": "Who are you?"}],
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "max_completion_tokens": 32,
    }


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "hi", "reasoning": "hm"}, "hi"),
        ({"content": None, "reasoning_content": "hm"}, "hm"),
        ({"content": "", "reasoning": "hm", "reasoning_content": None}, "hm"),
        ({"content": None}, ""),
        ("no message", ""),
    ],
)
def test_content_or_reasoning(message: object, text: str) -> None:
    got = reply(answered(message))
    assert got is not None
    assert (got.text, got.generated, got.tokens) == (text, bool(text), 3)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": "x"}', b'{"error": {}}', b"<p>"])
def test_what_is_no_reply(body: bytes) -> None:
    assert reply(Response(200, body)) is None


def test_a_refusal_is_no_reply() -> None:
    assert reply(answered({"content": "hi"}, 500)) is None


@pytest.mark.parametrize(
    ("chunk", "text"),
    [
        ({"choices": [{"delta": {"content": "a"}}]}, "a"),
        ({"choices": [{"delta": {"reasoning": "b"}}]}, "b"),
        ({"choices": [], "usage": {}}, ""),
        ([], ""),
    ],
)
def test_the_text_of_a_chunk(chunk: object, text: str) -> None:
    assert delta_text(chunk) == text
