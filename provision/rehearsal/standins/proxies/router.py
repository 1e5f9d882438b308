"""``vllm-router``: workers in turn, or the least busy; prefill and decode apart. It knows who is well by asking.

As the real one (0.1.17) it begins to listen as soon as one worker is healthy, asks again at an interval, counts failures
before it believes them, and tries a failed request at another worker.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import sys
import threading
from dataclasses import dataclass
from http.client import HTTPResponse
from time import gmtime, strftime
from typing import NoReturn

from provision.clock import monotonic, sleep
from provision.rehearsal import wall
from provision.rehearsal.node import Node
from provision.rehearsal.standins.net import bound_to_all
from provision.rehearsal.standins.proxies.disaggregated import PrefillFailed, decode, prefill
from provision.rehearsal.standins.proxies.http import (
    FAILURES,
    Backend,
    Exchange,
    Front,
    Request,
    ask,
    backend_of,
    healthy,
    use_the_nodes_network,
)

_POLICIES = (
    "random",
    "round_robin",
    "cache_aware",
    "kv_aware",
    "power_of_two",
    "consistent_hash",
    "sticky_least_loaded",
)
_GENERATING = ("/v1/completions", "/v1/chat/completions")
_RETRIED = (408, 429, 500, 502, 503, 504)
_PLAIN = "text/plain; charset=utf-8"
_FLOATS = {
    "retry-initial-backoff-ms": 50, "retry-max-backoff-ms": 30000, "retry-backoff-multiplier": 1.5, "retry-jitter-factor": 0.2,
    "worker-startup-timeout-secs": 600, "worker-startup-check-interval": 30, "health-check-timeout-secs": 5,
    "health-check-interval-secs": 60, "cb-timeout-duration-secs": 60, "cb-window-duration-secs": 120,
    "request-timeout-secs": 1800, "queue-timeout-secs": 60,
}  # fmt: skip
_NUMBERS = {
    "health-failure-threshold": 3, "health-success-threshold": 2, "retry-max-retries": 5, "cb-failure-threshold": 10,
    "cb-success-threshold": 3, "max-concurrent-requests": 32768, "queue-size": 100, "intra-node-data-parallel-size": 1,
    "prometheus-port": 0,
}  # fmt: skip
_TEXTS = ("api-key", "log-dir", "log-level", "prometheus-host", "prefill-policy", "decode-policy", "kv-connector",
          "vllm-discovery-address", "model-path")  # fmt: skip


@dataclass(slots=True, eq=False)
class Worker:
    """A server. ``failures`` and ``successes`` are consecutive answers to health checks; ``broken`` failed requests."""

    backend: Backend
    well: bool
    failures: int = 0
    successes: int = 0
    broken: int = 0
    broken_until: float = 0.0
    load: int = 0

    def told(self) -> dict[str, object]:
        return {"url": self.backend.url, "is_healthy": self.well, "load": self.load}


def main(node: Node, name: str, argv: list[str]) -> int:
    """Route until told to stop."""
    given = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    use_the_nodes_network(node)
    try:
        router = _Router(given)
    except ValueError as error:
        _log("ERROR", f"Configuration error: {error}")
        return 1
    if not router.await_one():
        return 1
    try:
        front = Front(given.host, given.port, "vllm-router", router.handle)
    except OSError as error:
        sys.stderr.write(f"thread 'main' panicked: failed to bind {given.host}:{given.port}: {error.strerror} "
                         f"(os error {error.errno})\n")  # fmt: skip
        return 1
    if given.host == "0.0.0.0":
        bound_to_all(node, given.port)
    threading.Thread(target=router.watch, daemon=True).start()
    front.serve_forever(poll_interval=0.2)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vllm-router", allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--worker-urls", nargs="*", default=[])
    parser.add_argument("--policy", choices=_POLICIES, default="cache_aware")
    parser.add_argument("--vllm-pd-disaggregation", action="store_true")
    parser.add_argument("--prefill", nargs="+", action="append", default=[])
    parser.add_argument("--decode", nargs=1, action="append", default=[])
    parser.add_argument("--health-check-endpoint", default="/health")
    for name in ("disable-retries", "disable-circuit-breaker"):
        parser.add_argument(f"--{name}", action="store_true")
    for name, value in _FLOATS.items():
        parser.add_argument(f"--{name}", type=float, default=value)
    for name, number in _NUMBERS.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    for name in _TEXTS:
        parser.add_argument(f"--{name}")
    return parser


class _Router:
    """All workers; ``pairs``: prompts are read by one kind of them and answered by the other."""

    def __init__(self, given: argparse.Namespace) -> None:
        self._given = given
        self._lock = threading.Lock()
        self._turn = itertools.count()
        self._pairs = bool(given.vllm_pd_disaggregation)
        self._plain = [_worker(url) for url in given.worker_urls]
        self._prefillers = [_worker(words[0]) for words in given.prefill]
        self._decoders = [_worker(words[0]) for words in given.decode]
        if self._pairs and not (self._prefillers and self._decoders):
            raise ValueError("PD disaggregation needs at least one --prefill and one --decode URL")
        if not self._pairs and not self._plain:
            raise ValueError("no worker URLs are given")

    @property
    def _workers(self) -> list[Worker]:
        return [*self._prefillers, *self._decoders] if self._pairs else self._plain

    def await_one(self) -> bool:
        """Wait until one worker (of each kind) is healthy; False when that takes too long."""
        count, seconds = len(self._workers), self._given.worker_startup_timeout_secs
        _log(
            "INFO",
            f"Waiting for {count} unique hosts (representing {count} workers) to become healthy (timeout: {seconds:.0f}s)",
        )
        until = monotonic() + seconds
        while True:
            for worker in self._workers:
                worker.well = healthy(worker.backend, self._given.health_check_endpoint)
            found = sum(worker.well for worker in self._workers)
            if all(any(worker.well for worker in kind) for kind in self._kinds()):
                break
            if monotonic() > until:
                _log(
                    "ERROR",
                    f"Timeout {seconds:.0f}s waiting for workers to become healthy: {[w.backend.url for w in self._workers]}",
                )
                return False
            sleep(min(self._given.worker_startup_check_interval, max(0.05, until - monotonic())))
        _log("INFO", f"{found} out of {count} unique hosts are healthy")
        _log("INFO", f"Router ready | workers: {json.dumps([worker.backend.url for worker in self._workers])}")
        _log("INFO", f"Starting server on {self._given.host}:{self._given.port}")
        return True

    def _kinds(self) -> list[list[Worker]]:
        return [self._prefillers, self._decoders] if self._pairs else [self._plain]

    def watch(self) -> None:
        """Ask every worker at the interval."""
        while True:
            sleep(self._given.health_check_interval_secs)
            for worker in self._workers:
                self._judge(worker, healthy(worker.backend, self._given.health_check_endpoint,
                                            timeout=self._given.health_check_timeout_secs))  # fmt: skip

    def _judge(self, worker: Worker, well: bool) -> None:
        worker.failures, worker.successes = (0, worker.successes + 1) if well else (worker.failures + 1, 0)
        if worker.well and worker.failures >= self._given.health_failure_threshold:
            worker.well = False
            _log(
                "WARN", f"Worker {worker.backend.url} marked as unhealthy after {worker.failures} consecutive failures"
            )
        elif not worker.well and worker.successes >= self._given.health_success_threshold:
            worker.well = True
            _log("INFO", f"Worker {worker.backend.url} is healthy again")

    def handle(self, exchange: Exchange, request: Request) -> None:
        """One request of a client."""
        path = request.path.partition("?")[0]
        ill = [worker.backend.url for worker in self._workers if not worker.well]
        if path == "/health":
            text = f"Unhealthy servers: {ill}" if ill else "All servers healthy"
            exchange.answer(503 if ill else 200, text.encode(), _PLAIN)
        elif path == "/liveness":
            exchange.answer(200, b"OK", _PLAIN)
        elif path == "/readiness":
            self._tell_readiness(exchange, len(self._workers) - len(ill))
        elif path == "/list_workers":
            exchange.answer(200, {"urls": [worker.backend.url for worker in self._workers]})
        elif path == "/workers":
            exchange.answer(200, {"workers": [worker.told() for worker in self._workers]})
        elif self._pairs and path in _GENERATING:
            self._over_a_pair(exchange, request)
        else:
            self._over_one(exchange, request)

    def _tell_readiness(self, exchange: Exchange, well: int) -> None:
        total = len(self._workers)
        if well:
            exchange.answer(200, {"status": "ready", "healthy_workers": well, "total_workers": total})
        else:
            reason = "no healthy workers available"
            exchange.answer(503, {"status": "not_ready", "reason": reason, "total_workers": total})

    def _over_one(self, exchange: Exchange, request: Request) -> None:
        """Any worker, another one where that fails, as often as retries are allowed."""
        tries = 1 if self._given.disable_retries else 1 + self._given.retry_max_retries
        pause, problem = self._given.retry_initial_backoff_ms / 1000, "no worker is available"
        for left in reversed(range(tries)):
            worker = self._pick(self._workers)
            if worker is None:
                exchange.answer(503, b"No available workers (all circuits open or unhealthy)", _PLAIN)
                return
            try:
                answer = self._ask(worker, request)
            except FAILURES as error:
                problem = f"Request failed: error sending request for url ({worker.backend.url}{request.path})"
                _log(
                    "ERROR",
                    f"Failed to send typed request worker_url={worker.backend.url} route={request.path} error={error}",
                )
            else:
                if not left or answer.status not in _RETRIED:
                    self._relay(exchange, worker, answer)
                    return
                problem = answer.read().decode("utf-8", "replace")
            self._broke(worker)
            if left:
                sleep(min(pause, self._given.retry_max_backoff_ms / 1000))
                pause *= self._given.retry_backoff_multiplier
        exchange.answer(500, problem.encode(), _PLAIN)

    def _ask(self, worker: Worker, request: Request) -> HTTPResponse:
        return ask(worker.backend, request, timeout=self._given.request_timeout_secs)

    def _relay(self, exchange: Exchange, worker: Worker, answer: HTTPResponse) -> None:
        worker.broken = 0
        worker.load += 1
        try:
            exchange.relay(answer)
        finally:
            worker.load -= 1

    def _over_a_pair(self, exchange: Exchange, request: Request) -> None:
        first, second = self._pick(self._prefillers), self._pick(self._decoders)
        if first is None or second is None:
            exchange.answer(503, b"No available prefill or decode workers", _PLAIN)
            return
        try:
            params = prefill(first.backend, request)
        except (*FAILURES, PrefillFailed, ValueError) as error:
            self._broke(first)
            exchange.answer(500, f"Prefill server error: {error}".encode(), _PLAIN)
            return
        try:
            answer = decode(second.backend, request, params)
        except FAILURES as error:
            self._broke(second)
            exchange.answer(500, f"Decode server error: {error}".encode(), _PLAIN)
            return
        self._relay(exchange, second, answer)

    def _broke(self, worker: Worker) -> None:
        """The circuit of a worker opens after so many failed requests, for some time."""
        worker.broken += 1
        if worker.broken >= self._given.cb_failure_threshold and not self._given.disable_circuit_breaker:
            worker.broken_until = monotonic() + self._given.cb_timeout_duration_secs
            _log("INFO", f"Circuit breaker state transition: closed -> open worker={worker.backend.url}")

    def _pick(self, among: list[Worker]) -> Worker | None:
        free = [worker for worker in among if worker.well and worker.broken_until <= monotonic()]
        if not free:
            return None
        with self._lock:
            turn = next(self._turn) % len(free)
        if self._given.policy == "random":
            return random.choice(free)
        ordered = [*free[turn:], *free[:turn]]
        return ordered[0] if self._given.policy == "round_robin" else min(ordered, key=lambda worker: worker.load)


def _worker(url: str) -> Worker:
    return Worker(backend_of(url), well=False)


def _log(level: str, text: str) -> None:
    """In colours, as the real one."""
    moment = strftime("%Y-%m-%d %H:%M:%S", gmtime(wall.now()))
    colour = {"INFO": 32, "WARN": 33}.get(level, 31)
    sys.stdout.write(
        f"\x1b[2m{moment}\x1b[0m \x1b[{colour}m{level:>5}\x1b[0m \x1b[2mvllm_router_rs\x1b[0m\x1b[2m:\x1b[0m {text}\n"
    )
    sys.stdout.flush()


def _stop(number: int, frame: object) -> NoReturn:
    import os

    _log("INFO", "Received shutdown signal, starting graceful shutdown")
    os._exit(0)
