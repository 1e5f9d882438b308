"""A chat request as the seed sends it, and a reply as any vLLM answers it: with content, reasoning, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from provision.http import Http, Response

CHAT = "/v1/chat/completions"
SEED_PROMPT = "Who are you?"
SEED_SAMPLING: Mapping[str, float | int] = {
    "temperature": 0.6,
    "top_p": 0.95,
    "top_k": 20,
    "max_completion_tokens": 32,
}
"""The request of the vllm-ascend Qwen3-Next document's functional verification."""

_REASONING = ("reasoning", "reasoning_content")


@dataclass(frozen=True, slots=True)
class Reply:
    """A completed chat. ``tokens`` is the server's own count; ``prompt_tokens`` too; both 0 where it gave none."""

    model: str
    content: str
    reasoning: str
    tokens: int
    prompt_tokens: int
    finish_reason: str

    @property
    def text(self) -> str:
        """What was said, else what was thought: a thinking model may spend all its tokens on reasoning."""
        return self.content or self.reasoning

    @property
    def generated(self) -> bool:
        """At least one token that is text: a count alone is what a proxy in front of dead engines can also send."""
        return bool(self.text)


def payload(model: str, prompt: str = SEED_PROMPT, **sampling: object) -> dict[str, object]:
    """The body of a chat request: the seed's sampling, with ``sampling`` over it."""
    return {"model": model, "messages": [{"role": "user", "content": prompt}], **SEED_SAMPLING, **sampling}


def ask(http: Http, body: Mapping[str, object], *, timeout: float, token: str = "") -> tuple[Response, Reply | None]:
    """One chat: the raw answer, and the reply where it is one."""
    answer = http.post(CHAT, body, timeout=timeout, token=token)
    return answer, reply(answer)


def reply(answer: Response) -> Reply | None:
    """The reply that an answer holds; None where it holds none."""
    body = answer.json() if answer.ok else None
    choice = _first(body.get("choices")) if isinstance(body, dict) else {}
    if not isinstance(body, dict) or not choice:
        return None
    message, usage = _dict(choice.get("message")), _dict(body.get("usage"))
    return Reply(
        model=_text(body.get("model")),
        content=_text(message.get("content")),
        reasoning=reasoning_of(message),
        tokens=_count(usage.get("completion_tokens")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        finish_reason=_text(choice.get("finish_reason")),
    )


def reasoning_of(message: Mapping[str, object]) -> str:
    """A message's or delta's reasoning: vLLM renamed ``reasoning_content`` to ``reasoning``; some send both."""
    return next((text for key in _REASONING if (text := _text(message.get(key)))), "")


def delta_text(chunk: object) -> str:
    """The text that one chunk of a stream adds."""
    delta = _dict(_first(_dict(chunk).get("choices")).get("delta"))
    return _text(delta.get("content")) or reasoning_of(delta)


def _first(value: object) -> dict[str, object]:
    return _dict(value[0]) if isinstance(value, list) and value else {}


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
