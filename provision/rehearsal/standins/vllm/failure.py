"""How a server ends before it serves: the lines that the real one prints, and its exit status."""

from __future__ import annotations

import os

from provision.rehearsal import wall
from provision.rehearsal.standins.vllm import log

_CORE = '"/vllm-workspace/vllm/vllm/v1/engine/core.py", line 708, in run_engine_core'
_UTILS = '"/vllm-workspace/vllm/vllm/v1/engine/utils.py", line 782, in wait_for_engine_startup'
_SERVE = '"/vllm-workspace/vllm/vllm/entrypoints/cli/serve.py", line 59, in cmd'


class StartFailed(Exception):
    """``cause`` is the exception's line; ``in_engine`` whether it came up in an engine rather than the front end."""

    def __init__(self, cause: str, *, in_engine: bool = True, engine: int = 0, exit: int = 1) -> None:
        super().__init__(cause)
        self.cause = cause
        self.in_engine = in_engine
        self.engine = engine
        self.exit = exit


def report(failure: StartFailed) -> None:
    """Print it: an engine's trouble first as its own traceback, then as the front end's complaint about it."""
    if not failure.in_engine:
        log.bare_traceback([_SERVE], failure.cause)
        return
    who = f"EngineCore_DP{failure.engine}"
    log.error(who, "core.py:708", "EngineCore failed to start.")
    log.traceback(who, "core.py:708", [_CORE], failure.cause)
    log.bare_traceback(
        [_SERVE, _UTILS],
        "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
    )
    moment = wall.local("%Y-%m-%d-%H:%M:%S")
    log.plain(f"[ERROR] {moment} (PID:{os.getpid()}, Device:-1, RankID:-1) ERR99999 UNKNOWN applicaiton exception")
