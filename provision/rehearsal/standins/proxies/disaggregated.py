"""A request over a prefill and a decode instance: the first reads the prompt, the second fetches that and writes."""

from __future__ import annotations

import http.client
import json
import os

from provision.rehearsal.standins.proxies.http import Backend, Request, ask

_WANTED: dict[str, object] = {
    "do_remote_decode": True, "do_remote_prefill": False, "remote_engine_id": None, "remote_block_ids": None,
    "remote_host": None, "remote_port": None, "aborted_request": [],
}  # fmt: skip


class PrefillFailed(Exception):
    """The prefill instance answered with an error; ``status`` is its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def prefill(backend: Backend, request: Request, params: dict[str, object] | None = None) -> dict[str, object]:
    """Have a prompt read; what the answer says of where its blocks are. Raises ``PrefillFailed`` and FAILURES."""
    body = {
        **request.json(),
        "stream": False,
        "max_tokens": 1,
        "min_tokens": 1,
        "kv_transfer_params": params or _WANTED,
    }
    body.pop("stream_options", None)
    if "max_completion_tokens" in body:
        body["max_completion_tokens"] = 1
    answer = ask(backend, request.with_json(body))
    text = answer.read().decode("utf-8", "replace")
    if answer.status != 200:
        raise PrefillFailed(answer.status, text)
    found = json.loads(text).get("kv_transfer_params")
    return found if isinstance(found, dict) else {}


def decode(backend: Backend, request: Request, params: dict[str, object]) -> http.client.HTTPResponse:
    """Have the answer written. Raises FAILURES."""
    body = {**request.json(), **({"kv_transfer_params": {**params, "request_id": identity()}} if params else {})}
    return ask(backend, request.with_json(body))


def identity() -> str:
    """A name for a request."""
    return os.urandom(16).hex()
