"""The engines behind an API: requests go round, counters grow only where tokens were generated, and engines die."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from provision.clock import sleep
from provision.rehearsal.standins.vllm import log
from provision.rehearsal.state import State

_TOKENS_PER_SECOND = 1000.0
_COLLECTIVE_SECONDS = 2.0
_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."


class EngineDeadError(Exception):
    """The engine of this server is dead."""

    def __init__(self) -> None:
        super().__init__(_DEAD)


class Partners(Protocol):
    """The other processes of a deployment: ``lost`` are ranks that are gone."""

    lost: list[int]

    def await_ready(self) -> None: ...

    def generate(self, rank: int, timeout: float) -> bool: ...


class Engines:
    """The data-parallel engines that an API server manages: all, or those of its own node, or one.

    ``ranks`` are theirs in the deployment. ``lockstep``: engines of a mixture of experts generate together, so that one
    lost engine stops all. ``drafts``: tokens that speculative decoding guesses ahead, 0 without it.
    """

    def __init__(
        self, ranks: Sequence[int], state: State, partners: Partners | None, *, lockstep: bool, one_engine: bool,
        drafts: int = 0, transfers: bool = False,
    ) -> None:  # fmt: skip
        self._ranks = ranks
        self._count = count = len(ranks)
        self._state = state
        self._partners = partners
        self._lockstep = lockstep
        self._one_engine = one_engine
        self._drafts = drafts
        self._lock = threading.Lock()
        self._next = 0
        self._generated = [0] * count
        self._prompted = [0] * count
        self._finished = [0] * count
        self._busy = [0] * count
        self._pulled = [0] * count if transfers else None
        self.reported_dead = False

    @property
    def running(self) -> int:
        return sum(self._busy)

    @property
    def health(self) -> int:
        """The HTTP status that ``/health`` answers."""
        return int(self._state.number("vllm/health", 503 if self.reported_dead else 200))

    @contextmanager
    def request(self, prompt_tokens: int, *, pulled: bool = False) -> Iterator[Request]:
        """A request on the engine whose turn it is. ``pulled``: another instance has read the prompt already."""
        with self._lock:
            engine = self._next % self._count
            self._next += 1
            self._busy[engine] += 1
            self._prompted[engine] += prompt_tokens
            if self._pulled is not None and pulled:
                self._pulled[engine] += prompt_tokens
        try:
            yield Request(self, engine)
            self._finished[engine] += 1
        finally:
            with self._lock:
                self._busy[engine] -= 1

    def step(self, engine: int) -> None:
        """One token. Raises ``EngineDeadError``."""
        if self._state.get("vllm/die_at_first_token"):
            self._die_quietly()
        self._hang_where_silent(self._ranks[engine])
        if self._partners is not None:
            self._step_remote(self._ranks[engine], self._partners)
        with self._lock:
            self._generated[engine] += 1

    @property
    def pause(self) -> float:
        """Seconds that a token takes."""
        return 1.0 / max(1.0, self._state.number("vllm/tokens_per_second", _TOKENS_PER_SECOND))

    def metrics(self, model: str) -> str:
        """Prometheus text, a sample an engine."""
        series: dict[str, tuple[str, str, Sequence[float]]] = {
            "num_requests_running": ("gauge", "Number of requests in model execution batches.", self._busy),
            "num_requests_waiting": ("gauge", "Number of requests waiting to be processed.", [0] * self._count),
            "kv_cache_usage_perc": ("gauge", "KV-cache usage. 1 means 100 percent usage.", [0.0] * self._count),
            "prompt_tokens_total": ("counter", "Number of prefill tokens processed.", self._prompted),
            "generation_tokens_total": ("counter", "Number of generation tokens processed.", self._generated),
        }
        if self._drafts:
            series |= self._speculation()
        if self._pulled is not None:
            text = "External prefix cache hits from KV connector cross-instance cache sharing, in terms of number of tokens."
            series["external_prefix_cache_hits_total"] = ("counter", text, self._pulled)
        hidden = self._state.get("vllm/missing_engine")
        lines: list[str] = []
        for name, (kind, text, values) in series.items():
            base = f"vllm:{name.removesuffix('_total')}"
            lines += [f"# HELP {base} {text}", f"# TYPE {base} {kind}"]
            lines += [
                f'vllm:{name}{{engine="{i}",model_name="{model}"}} {float(v)}'
                for i, v in zip(self._ranks, values, strict=True)
                if str(i) != hidden
            ]
        lines += [
            "# HELP vllm:request_success Count of successfully processed requests.",
            "# TYPE vllm:request_success counter",
        ]
        lines += [
            f'vllm:request_success_total{{engine="{i}",finished_reason="stop",model_name="{model}"}} {float(v)}'
            for i, v in zip(self._ranks, self._finished, strict=True)
            if str(i) != hidden
        ]
        return "\n".join(lines) + "\n"

    def _speculation(self) -> dict[str, tuple[str, str, Sequence[float]]]:
        """Each step guesses some tokens, of which four in five are right: fewer steps than tokens. With the fault
        ``spec_decode/none`` no guess ever is."""
        right = 0.0 if self._state.get("spec_decode/none") else 0.8
        steps = [int(count / (1 + right * self._drafts)) for count in self._generated]
        accepted = [int(step * self._drafts * right) for step in steps]
        return {
            "spec_decode_num_drafts_total": ("counter", "Number of spec decoding drafts.", steps),
            "spec_decode_num_draft_tokens_total": (
                "counter",
                "Number of draft tokens.",
                [n * self._drafts for n in steps],
            ),
            "spec_decode_num_accepted_tokens_total": ("counter", "Number of accepted tokens.", accepted),
        }

    def _die_quietly(self) -> None:
        """The fault of an engine that dies while health goes on saying 200."""
        who = "EngineCore_DP0"
        log.traceback(who, "core.py:634", ['"/vllm-workspace/vllm/vllm/v1/engine/core.py", line 625, in run_busy_loop'],
                      "RuntimeError: ACL stream synchronize failed, error code:507035")  # fmt: skip
        log.error("APIServer", "async_llm.py:416", f"vllm.v1.engine.exceptions.EngineDeadError: {_DEAD}")
        raise EngineDeadError

    def _hang_where_silent(self, engine: int) -> None:
        silent = self._state.get("vllm/silent_engine")
        while silent and silent == str(engine):
            sleep(0.2)
            silent = self._state.get("vllm/silent_engine")

    def _step_remote(self, engine: int, partners: Partners) -> None:
        """The part of other nodes: the engine's own node, and all where they go in lockstep."""
        patience = self._state.number("vllm/collective_seconds", _COLLECTIVE_SECONDS)
        stopped = partners.lost and (self._lockstep or self._one_engine or engine in partners.lost)
        if stopped:
            sleep(patience)
        rank = 1 if self._one_engine else engine
        if stopped or not partners.generate(rank, patience):
            self._die_of_a_lost_worker(partners.lost)

    def _die_of_a_lost_worker(self, lost: list[int]) -> None:
        """The collective timed out: the engine is dead, health says so, and soon the process ends."""
        engine = lost[0] if lost else 0
        log.traceback("EngineCore_DP0", "core.py:708", ['"/vllm-workspace/vllm/vllm/v1/engine/core.py", line 699, in run_engine_core'],
                      "RuntimeError: EI0006: Getting socket times out. Reason: Remote Rank did not send the data in time. Please "
                      f"check the reason for the rank being stuck (engine {engine})")  # fmt: skip
        log.error("APIServer", "async_llm.py:416", f"vllm.v1.engine.exceptions.EngineDeadError: {_DEAD}")
        if not self.reported_dead:
            self.reported_dead = True
            threading.Thread(target=_end_soon, daemon=True).start()
        raise EngineDeadError


class Request:
    """One request on one engine."""

    __slots__ = ("_engine", "_engines")

    def __init__(self, engines: Engines, engine: int) -> None:
        self._engines = engines
        self._engine = engine

    def pieces(self, found: list[str]) -> Iterator[str]:
        """The tokens, each when it is generated. The first is made before anything is answered."""
        pause = self._engines.pause
        for token in found:
            self._engines.step(self._engine)
            yield token
            sleep(pause)


def _end_soon() -> None:
    sleep(1.0)
    log.plain("INFO:     Shutting down")
    os._exit(1)
