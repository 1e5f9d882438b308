"""HTTP to a server on a node, through the node's SSH connection: no proxy variable, firewall or bastion in the way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Response:
    """``status`` is 0 where no HTTP answer came (refused, reset, timed out); ``error`` then says why.

    ``hint`` is set where asking again cannot help before an operator has changed something on the node.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    seconds: float = 0.0
    error: str = ""
    hint: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The decoded body, or None where it is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")

    def problem(self) -> str:
        """What went wrong, in one line: the transport's error, or the status with the server's own message."""
        if self.ok:
            return ""
        if self.status == 0:
            return self.error or "no answer"
        said = error_message(self.json()) or self.text().strip()[:300]
        return f"HTTP {self.status}" + (f": {' '.join(said.split())}" if said else "")


def error_message(body: object) -> str:
    """The message of an error body, in the shapes of OpenAI, vLLM (old and new) and FastAPI; else an empty string."""
    if not isinstance(body, dict):
        return ""
    for value in (body.get("error"), body.get("message"), body.get("detail")):
        if isinstance(value, dict):
            value = value.get("message")
        if value:
            return value if isinstance(value, str) else json.dumps(value)
    return ""


class Http(Protocol):
    """One server. Never raises for what a server does: the answer is a ``Response``.

    ``timeout`` is in seconds for the whole exchange. A broken SSH connection raises ``ConnectionLost``.
    """

    def get(self, path: str, *, timeout: float = 10.0, token: str = "") -> Response: ...

    def post(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Response: ...

    def stream(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Iterator[str]:
        """The ``data:`` payloads of a server-sent event stream, "[DONE]" included.

        A failure is a last payload of vLLM's own shape: ``{"error": {"message": …, "code": <status, 0: no answer>}}``.
        """
