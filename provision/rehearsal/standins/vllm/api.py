"""The OpenAI-compatible HTTP API of a server, on the standard library."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from provision.clock import now
from provision.rehearsal.standins.vllm import answers, log
from provision.rehearsal.standins.vllm.engines import EngineDeadError, Engines
from provision.rehearsal.standins.vllm.transfer import Transfer

VERSION = "0.18.0"


class Settings(NamedTuple):
    """What the API needs to know of its server. ``keys`` are accepted API keys; none: no key is asked for.

    ``transfer`` is how it exchanges blocks with other instances; None where it doesn't.
    """

    names: tuple[str, ...]
    root: str
    max_model_len: int
    keys: tuple[str, ...]
    transfer: Transfer | None = None


class Refusal(Exception):
    """An error answer in OpenAI's form."""

    def __init__(self, status: int, message: str, kind: str = "BadRequestError", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, object] = {"error": {"message": message, "type": kind, "param": param, "code": status}}


class Api(ThreadingHTTPServer):
    """The server; it is bound before the model loads and listens after."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, bound: socket.socket, settings: Settings, engines: Engines) -> None:
        super().__init__(bound.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = bound
        self.settings = settings
        self.engines = engines
        self.server_activate()


class Job(NamedTuple):
    """A request, understood."""

    prompt: str
    limit: int
    least: int
    temperature: float
    seed: int | None
    stop: tuple[str, ...]
    choices: int
    stream: bool
    usage: bool
    chat: bool
    model: str
    offer: dict[str, object] | None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "uvicorn"
    sys_version = ""
    server: Api

    def do_GET(self) -> None:
        self._route({"/health": self._health, "/v1/models": self._models, "/version": self._version,
                     "/metrics": self._metrics, "/ping": self._health, "/load": self._load})  # fmt: skip

    def do_POST(self) -> None:
        self._route({"/v1/chat/completions": self._chat, "/v1/completions": self._complete, "/tokenize": self._tokenize,
                     "/health": self._no_post})  # fmt: skip

    def log_message(self, format: str, *args: object) -> None:
        log.plain(f'INFO:     {self.client_address[0]}:{self.client_address[1]} - "{format % args}"')

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """``"GET /health HTTP/1.1" 200 OK``."""
        status = int(str(code).split(".")[-1]) if str(code).isdigit() else getattr(code, "value", 0)
        log.plain(f'INFO:     {self.client_address[0]}:{self.client_address[1]} - "{self.requestline}" {status}')

    def _route(self, routes: dict[str, Callable[[], None]]) -> None:
        path = self.path.partition("?")[0]
        try:
            self._authorize(path)
            if path not in routes:
                self._json(404, {"detail": "Not Found"})
                return
            routes[path]()
        except Refusal as refusal:
            self._json(refusal.status, refusal.body)
        except EngineDeadError as dead:
            self._json(500, Refusal(500, str(dead), "InternalServerError").body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _authorize(self, path: str) -> None:
        keys = self.server.settings.keys
        given = self.headers.get("Authorization", "")
        if keys and path.startswith("/v1") and given.removeprefix("Bearer ") not in keys:
            self._drain()
            refusal = Refusal(401, "Unauthorized")
            refusal.body = {"error": "Unauthorized"}
            raise refusal

    def _health(self) -> None:
        self._drain()
        self._send(self.server.engines.health, b"", "text/plain")

    def _no_post(self) -> None:
        self._drain()
        self._json(405, {"detail": "Method Not Allowed"})

    def _version(self) -> None:
        self._json(200, {"version": VERSION})

    def _load(self) -> None:
        self._json(200, {"server_load": self.server.engines.running})

    def _models(self) -> None:
        settings = self.server.settings
        entries: list[dict[str, object]] = [
            {"id": name, "object": "model", "created": int(now()), "owned_by": "vllm", "root": settings.root, "parent": None,
             "max_model_len": settings.max_model_len, "permission": []}
            for name in settings.names
        ]  # fmt: skip
        self._json(200, {"object": "list", "data": entries})

    def _metrics(self) -> None:
        text = self.server.engines.metrics(self.server.settings.names[0])
        self._send(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    def _tokenize(self) -> None:
        body = self._body()
        found = answers.tokens(str(body.get("prompt", "")))
        self._json(
            200,
            {
                "count": len(found),
                "max_model_len": self.server.settings.max_model_len,
                "tokens": list(range(len(found))),
            },
        )

    def _chat(self) -> None:
        body = self._body()
        messages = body.get("messages")
        if not isinstance(messages, list) or not messages:
            raise Refusal(
                400, "1 validation error: {'type': 'missing', 'loc': ('body', 'messages'), 'msg': 'Field required'}"
            )
        texts = [_content(message) for message in messages]
        self._generate(body, prompt=texts[-1], counted="\n".join(texts), extra=4 * len(texts) + 3, chat=True)

    def _complete(self) -> None:
        body = self._body()
        prompt = body.get("prompt")
        if isinstance(prompt, list):
            prompt = prompt[0] if prompt and isinstance(prompt[0], str) else " ".join(str(token) for token in prompt)
        if not isinstance(prompt, str):
            raise Refusal(
                400, "1 validation error: {'type': 'missing', 'loc': ('body', 'prompt'), 'msg': 'Field required'}"
            )
        self._generate(body, prompt=prompt, counted=prompt, extra=0, chat=False)

    def _generate(self, body: dict[str, object], *, prompt: str, counted: str, extra: int, chat: bool) -> None:
        prompt_tokens = len(answers.tokens(counted)) + extra
        job = self._job(body, prompt, prompt_tokens, chat=chat)
        pulled = self._fetched(body)
        text = answers.answer(prompt, temperature=job.temperature, seed=job.seed)
        found = answers.lengthen(text, job.least)
        finish = "length" if len(found) > job.limit or job.least >= job.limit else "stop"
        found, stopped = _cut(found[: job.limit], job.stop)
        finish = "stop" if stopped else finish
        with self.server.engines.request(prompt_tokens, pulled=pulled) as request:
            pieces = request.pieces(found)
            if job.stream:
                self._stream(job, pieces, finish, prompt_tokens)
            else:
                self._whole(job, "".join(pieces), len(found), finish, prompt_tokens)

    def _fetched(self, body: dict[str, object]) -> bool:
        """Whether another instance has read the prompt and its blocks came over."""
        transfer, params = self.server.settings.transfer, body.get("kv_transfer_params")
        return transfer is not None and isinstance(params, dict) and transfer.fetch(params)

    def _job(self, body: dict[str, object], prompt: str, prompt_tokens: int, *, chat: bool) -> Job:
        settings = self.server.settings
        model = str(body.get("model") or settings.names[0])
        if model not in settings.names:
            raise Refusal(404, f"The model `{model}` does not exist.", "NotFoundError", "model")
        room = settings.max_model_len - prompt_tokens
        wanted = body.get("max_completion_tokens", body.get("max_tokens"))
        limit = wanted if isinstance(wanted, int) else room if chat else 16
        if limit < 1 and isinstance(wanted, int):
            raise Refusal(400, f"max_tokens must be at least 1, got {limit}.", param="max_tokens")
        if prompt_tokens + max(1, limit) > settings.max_model_len:
            raise Refusal(
                400,
                f"This model's maximum context length is {settings.max_model_len} tokens. However, you requested "
                f"{prompt_tokens + limit} tokens ({prompt_tokens} in the messages, {limit} in the completion). Please reduce the "
                "length of the messages or completion.",
            )
        stop = body.get("stop")
        options = body.get("stream_options")
        params = body.get("kv_transfer_params")
        return Job(
            prompt=prompt, limit=limit, least=limit if body.get("ignore_eos") else _int(body, "min_tokens", 0),
            temperature=_float(body, "temperature", 0.7), seed=_int(body, "seed", -1) if "seed" in body else None,
            stop=tuple([stop] if isinstance(stop, str) else [str(s) for s in stop] if isinstance(stop, list) else []),
            choices=_int(body, "n", 1), stream=bool(body.get("stream")),
            usage=isinstance(options, dict) and bool(options.get("include_usage")), chat=chat, model=model,
            offer=settings.transfer.offer(params, prompt_tokens) if settings.transfer and isinstance(params, dict) else None,
        )  # fmt: skip

    def _whole(self, job: Job, text: str, count: int, finish: str, prompt_tokens: int) -> None:
        said: dict[str, object] = {"text": text, "logprobs": None}
        if job.chat:
            said = {"message": {"role": "assistant", "content": text, "refusal": None, "annotations": None, "audio": None,
                                "function_call": None, "tool_calls": [], "reasoning": None}, "logprobs": None}  # fmt: skip
        choices = [{"index": i, **said, "finish_reason": finish, "stop_reason": None} for i in range(job.choices)]
        body = {**_head(job, "chat.completion" if job.chat else "text_completion"), "choices": choices}
        usage = _usage(prompt_tokens, count * job.choices)
        self._json(200, {**body, "usage": usage, "kv_transfer_params": job.offer})

    def _stream(self, job: Job, pieces: Iterator[str], finish: str, prompt_tokens: int) -> None:
        head = _head(job, "chat.completion.chunk" if job.chat else "text_completion")
        first = next(pieces, "")
        self.send_response(200)
        self.send_header("content-type", "text/event-stream; charset=utf-8")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        if job.chat:
            self._event({**head, "choices": [_delta(job, {"role": "assistant", "content": ""}, None)]})
        count = 0
        try:
            for piece in _chain(first, pieces):
                count += 1
                self._event({**head, "choices": [_delta(job, {"content": piece}, None, piece)]})
            self._event({**head, "choices": [_delta(job, {"content": ""}, finish, "")]})
            if job.usage:
                self._event({**head, "choices": [], "usage": _usage(prompt_tokens, count)})
        except EngineDeadError as dead:
            self._event(Refusal(500, str(dead), "InternalServerError").body)
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, value: object) -> None:
        self._chunk(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def _body(self) -> dict[str, object]:
        raw = self._drain()
        try:
            value = json.loads(raw)
        except ValueError:
            raise Refusal(400, "[{'type': 'json_invalid', 'loc': ('body', 0), 'msg': 'JSON decode error'}]") from None
        if not isinstance(value, dict):
            raise Refusal(400, "Input should be a valid dictionary")
        return value

    def _drain(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _json(self, status: int, value: object) -> None:
        self._send(status, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _head(job: Job, kind: str) -> dict[str, object]:
    prefix = "chatcmpl" if job.chat else "cmpl"
    return {"id": f"{prefix}-{os.urandom(8).hex()}", "object": kind, "created": int(now()), "model": job.model}


def _delta(job: Job, delta: dict[str, str], finish: str | None, text: str = "") -> dict[str, object]:
    said: dict[str, object] = {"delta": delta} if job.chat else {"text": text}
    return {"index": 0, **said, "logprobs": None, "finish_reason": finish}


def _usage(prompt_tokens: int, count: int) -> dict[str, object]:
    return {"prompt_tokens": prompt_tokens, "total_tokens": prompt_tokens + count, "completion_tokens": count,
            "prompt_tokens_details": None}  # fmt: skip


def _content(message: object) -> str:
    """The text of a chat message, which may come in parts."""
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _cut(found: list[str], stops: tuple[str, ...]) -> tuple[list[str], bool]:
    """The tokens before the first stop text, and whether there was one."""
    text = ""
    for index, token in enumerate(found):
        text += token
        if any(stop in text for stop in stops):
            return found[:index], True
    return found, False


def _chain(first: str, rest: Iterator[str]) -> Iterator[str]:
    if first:
        yield first
    yield from rest


def _int(body: dict[str, object], key: str, default: int) -> int:
    value = body.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _float(body: dict[str, object], key: str, default: float) -> float:
    value = body.get(key)
    return float(value) if isinstance(value, int | float) else default
