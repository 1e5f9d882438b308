"""HTTP to a server on a node, through the node's own SSH connection: no proxy variable, firewall or bastion in the way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Response:
    """``status`` is 0 where no HTTP answer came (refused, reset, timed out); ``error`` then says why."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None
    seconds: float = 0.0
    error: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The decoded body, or None where it is not JSON."""

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class Http(Protocol):
    """One server. Never raises for what a server does: the answer is a ``Response``."""

    def get(self, path: str, *, timeout: float = 10.0) -> Response: ...

    def post(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Response: ...

    def stream(self, path: str, payload: object, *, timeout: float = 120.0, token: str = "") -> Iterator[str]:
        """The ``data:`` payloads of a server-sent event stream, "[DONE]" included."""
