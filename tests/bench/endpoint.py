"""The API of a cluster that serves: health, models, completions, and counters that grow engine by engine in turn.

It runs in the benchmark's own process, whose CPU counts for nobody: what is measured are the clients.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count

SERVED = "bench"
TOKENS = 32


class Endpoint(ThreadingHTTPServer):
    """One vLLM server with a number of engines."""

    request_queue_size = 512
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.generated = [0]
        self._turn = count()

    def restart(self, engines: int) -> None:
        """As many engines as wanted, all of which have generated nothing yet."""
        self.generated = [0] * engines

    def generate(self) -> None:
        """One answer by the next engine."""
        self.generated[next(self._turn) % len(self.generated)] += TOKENS


@contextmanager
def serving() -> Iterator[Endpoint]:
    """Serve on a free port of loopback."""
    with Endpoint() as endpoint:
        thread = threading.Thread(target=endpoint.serve_forever, daemon=True)
        thread.start()
        try:
            yield endpoint
        finally:
            endpoint.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Endpoint

    def do_GET(self) -> None:
        pages = {"/health": lambda: "", "/v1/models": _models, "/metrics": lambda: _metrics(self.server.generated)}
        page = pages.get(self.path)
        self._answer(200 if page else 404, page() if page else "")

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        if asked.get("model") != SERVED:
            self._answer(404, json.dumps({"error": {"message": "The model does not exist.", "code": 404}}))
            return
        self.server.generate()
        if asked.get("stream"):
            self._stream()
        else:
            self._answer(200, _COMPLETION)

    def _stream(self) -> None:
        events = "".join(f"data: {text}\n\n" for text in (*map(_chunk, ("I am", " a model.")), "[DONE]"))
        self._answer(200, events, "text/event-stream")

    def _answer(self, status: int, text: str, kind: str = "application/json") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: stderr is for the benchmark."""


def _chunk(text: str) -> str:
    """A piece of a streamed answer."""
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "model": SERVED,
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
        }
    )


_COMPLETION = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": SERVED,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "I am a model."}, "finish_reason": "length"}
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": TOKENS, "total_tokens": 12 + TOKENS},
    }
)


def _models() -> str:
    return json.dumps({"object": "list", "data": [{"id": SERVED, "object": "model", "max_model_len": 4096}]})


def _metrics(generated: list[int]) -> str:
    label = f'model_name="{SERVED}"'
    lines = ["# TYPE vllm:generation_tokens_total counter"]
    lines += [f'vllm:generation_tokens_total{{engine="{n}",{label}}} {tokens}.0' for n, tokens in enumerate(generated)]
    lines += [f'vllm:num_requests_running{{engine="{n}",{label}}} 0.0' for n in range(len(generated))]
    return "\n".join(lines) + "\n"
