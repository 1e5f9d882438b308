"""The proxies of upstream's examples for prefill and decode apart: pull, and layerwise, where decode goes first.

``python3 …/load_balance_proxy_server_example.py`` and ``…_layerwise_server_example.py`` of an image [domain.md 6.7].
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from provision.clock import sleep
from provision.rehearsal.node import Node
from provision.rehearsal.standins.net import bound_to_all
from provision.rehearsal.standins.proxies.disaggregated import PrefillFailed, decode, identity, prefill
from provision.rehearsal.standins.proxies.http import (
    FAILURES,
    Backend,
    Exchange,
    Front,
    Request,
    ask,
    use_the_nodes_network,
)

_GENERATING = ("/v1/completions", "/v1/chat/completions")


def run(node: Node, path: str, argv: list[str]) -> int:
    """Be the proxy until told to stop."""
    given = _parser(path).parse_args(argv)
    _check(path, given)
    use_the_nodes_network(node)
    proxy = _Proxy(node, given, layerwise="layerwise" in path)
    try:
        front = Front(given.host, given.port, "uvicorn", proxy.handle)
    except OSError as error:
        _log(f"ERROR:    [Errno {error.errno}] error while attempting to bind on address ('{given.host}', {given.port}): "
             f"{str(error.strerror).lower()}")  # fmt: skip
        return 1
    if given.host in ("0.0.0.0", "::"):
        bound_to_all(node, given.port)
    _log(f"Initialized {len(proxy.prefillers)} prefill clients and {len(proxy.decoders)} decode clients.")
    _log(f"INFO:     Started server process [{os.getpid()}]\nINFO:     Waiting for application startup.\n"
         f"INFO:     Application startup complete.\nINFO:     Uvicorn running on http://{given.host}:{given.port} "
         "(Press CTRL+C to quit)")  # fmt: skip
    front.serve_forever(poll_interval=0.2)
    return 0


def _parser(path: str) -> ArgumentParser:
    parser = ArgumentParser(prog=path.rpartition("/")[2])
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--host", default="localhost")
    for role, port in (("prefiller", 8001), ("decoder", 8002)):
        parser.add_argument(f"--{role}-hosts", f"--{role}-host", nargs="+", default=["localhost"])
        parser.add_argument(f"--{role}-ports", f"--{role}-port", type=int, nargs="+", default=[port])
    parser.add_argument("--max-retries", type=int, default=3)
    parser.add_argument("--retry-delay", type=float, default=0.001)
    parser.add_argument("--max-waiting-retries", type=int, default=3)
    parser.add_argument("--waiting-retry-interval", type=float, default=10)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--log-level", default="INFO")
    return parser


def _check(path: str, given: Namespace) -> None:
    """What upstream's own check refuses."""
    if "layerwise" in path and given.host in ("0.0.0.0", "::"):
        raise ValueError("The host must not be a wildcard: decode nodes call back at it")
    if len(given.prefiller_hosts) != len(given.prefiller_ports):
        raise ValueError("Number of prefiller hosts must match number of prefiller ports")
    if len(given.decoder_hosts) != len(given.decoder_ports):
        raise ValueError("Number of decoder hosts must match number of decoder ports")


class _Proxy:
    """The instances, least busy first, and the requests under way."""

    def __init__(self, node: Node, given: Namespace, *, layerwise: bool) -> None:
        self._given = given
        self._layerwise = layerwise
        self._lock = threading.Lock()
        self._turn = itertools.count()
        self._waiting: dict[str, tuple[Request, Backend]] = {}
        self.prefillers = _backends(given.prefiller_hosts, given.prefiller_ports)
        self.decoders = _backends(given.decoder_hosts, given.decoder_ports)
        self._busy: dict[Backend, int] = {}
        self._under_way = 0
        own = node.address if given.host in ("localhost", "127.0.0.1") else given.host
        self._metaserver = f"http://{own}:{given.port}/v1/metaserver"

    def handle(self, exchange: Exchange, request: Request) -> None:
        """One request of a client."""
        routes: dict[str, Callable[[Exchange, Request], None]] = {
            "/healthcheck": self._healthcheck, "/instances/add": self._change, "/instances/remove": self._change,
            "/reset_prefix_cache": self._reset, "/v1/models": self._models, "/v1/metaserver": self._metaserve,
            **dict.fromkeys(_GENERATING, self._generate),
        }  # fmt: skip
        path = request.path.partition("?")[0]
        if path not in routes or (path == "/v1/metaserver" and not self._layerwise):
            exchange.answer(404, {"detail": "Not Found"})
            return
        try:
            routes[path](exchange, request)
        except (PrefillFailed, *FAILURES, ValueError) as error:
            _log(f"ERROR:    Error occurred in disagg proxy server - {path} endpoint\n{error}")
            exchange.answer(500, {"detail": f"Internal Server Error: {error}"})

    def _healthcheck(self, exchange: Exchange, request: Request) -> None:
        exchange.answer(200, {"status": "ok", "prefill_instances": len(self.prefillers), "decode_instances": len(self.decoders),
                              "request_num": self._under_way})  # fmt: skip

    def _models(self, exchange: Exchange, request: Request) -> None:
        exchange.relay(ask(self._pick(self.prefillers), request))

    def _reset(self, exchange: Exchange, request: Request) -> None:
        for backend in (*self.prefillers, *self.decoders):
            ask(backend, request).read()
        exchange.answer(200, {"status": "ok"})

    def _change(self, exchange: Exchange, request: Request) -> None:
        """``{"type": "prefill", "instances": ["host:port"]}``."""
        body = request.json()
        place = self.prefillers if body.get("type") == "prefill" else self.decoders
        instances = body.get("instances")
        for text in instances if isinstance(instances, list) else [instances]:
            host, _, port = str(text).rpartition(":")
            backend = Backend(host, int(port))
            if request.path.endswith("add") and backend not in place:
                place.append(backend)
            elif request.path.endswith("remove") and backend in place:
                place.remove(backend)
        exchange.answer(200, {"message": f"{body.get('type')} instances: {[backend.url for backend in place]}"})

    def _generate(self, exchange: Exchange, request: Request) -> None:
        # Upstream's sends a key of its own, not the client's.
        key = {"Authorization": f"Bearer {os.environ.get('OPENAI_API_KEY')}", "Content-Type": "application/json"}
        request = request._replace(headers={**key, "X-Request-Id": identity()})
        with self._counted():
            if self._layerwise:
                self._decode_first(exchange, request)
                return
            with self._use(self.prefillers) as backend:
                params = self._prefilled(backend, request)
            with self._use(self.decoders) as backend:
                self._decoded(exchange, backend, request, params)

    def _decoded(self, exchange: Exchange, backend: Backend, request: Request, params: dict[str, object]) -> None:
        """The status goes out before the decode instance is asked: what fails there is an empty 200 [I#12166]."""
        try:
            answer = decode(backend, request, params)
            if answer.status >= 400:
                raise OSError(f"Client error '{answer.status}' for url '{backend.url}{request.path}'")
        except FAILURES as error:
            _log(f"ERROR:    Error during streaming from decoder {backend.url}: {error}")
            exchange.answer(200, b"")
            return
        exchange.relay(answer)

    def _prefilled(self, backend: Backend, request: Request) -> dict[str, object]:
        """A failed prefill is tried again at the same instance, as upstream's does it."""
        for attempt in itertools.count(1):
            try:
                return prefill(backend, request)
            except (*FAILURES, PrefillFailed) as error:
                _log(f"WARNING:  Attempt {attempt} failed for {request.path.removeprefix('/v1')}: {error}")
                if attempt >= self._given.max_retries:
                    raise
                sleep(self._given.retry_delay)
        raise AssertionError

    def _decode_first(self, exchange: Exchange, request: Request) -> None:
        name = identity()
        with self._use(self.prefillers) as first, self._use(self.decoders) as second:
            self._waiting[name] = (request, first)
            params: dict[str, object] = {"do_remote_decode": False, "do_remote_prefill": True, "metaserver": self._metaserver,
                                         "request_id": name}  # fmt: skip
            try:
                answer = ask(second, request.with_json({**request.json(), "kv_transfer_params": params}))
                exchange.relay(answer)
            finally:
                self._waiting.pop(name, None)

    def _metaserve(self, exchange: Exchange, request: Request) -> None:
        """A decode instance is ready for the blocks of a request: now the prefill may begin."""
        told = request.json()
        name = str(told.get("request_id"))
        if name not in self._waiting:
            exchange.answer(500, {"detail": f"unknown request {name}"})
            return
        original, backend = self._waiting[name]
        prefill(backend, original, told)
        exchange.answer(200, {})

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._under_way += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1

    @contextmanager
    def _use(self, among: list[Backend]) -> Iterator[Backend]:
        backend = self._pick(among)
        with self._lock:
            self._busy[backend] = self._busy.get(backend, 0) + 1
        try:
            yield backend
        finally:
            with self._lock:
                self._busy[backend] -= 1

    def _pick(self, among: list[Backend]) -> Backend:
        """The least busy; those that are equal take turns."""
        if not among:
            raise ValueError("no instance is there")
        turn = next(self._turn) % len(among)
        return min([*among[turn:], *among[:turn]], key=lambda backend: self._busy.get(backend, 0))


def _backends(hosts: list[str], ports: list[int]) -> list[Backend]:
    return [Backend(host, port) for host, port in zip(hosts, ports, strict=True)]


def _log(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
