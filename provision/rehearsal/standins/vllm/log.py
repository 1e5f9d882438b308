"""Log lines as vLLM writes them."""

from __future__ import annotations

import os
import sys
import threading
from typing import TextIO

from provision.rehearsal import wall

LINK_ERROR = (
    "[ERROR] HCCL EI0006: Getting socket times out. Reason: 1. The remote does not initiate a connect request. some NPUs in "
    "the cluster are abnormal."
)
"""The line of the fault ``log/error``."""

_lock = threading.RLock()


def info(who: str, where: str, text: str) -> None:
    """``(APIServer pid=1) INFO 11-24 06:20:00 [api_server.py:1839] text``, on stdout."""
    _write(sys.stdout, who, "INFO", where, text)


def plugin_found() -> None:
    """What vLLM says when the plugin for NPUs is there [domain.md 2.5]."""
    info("", "__init__.py:44", "Available plugins for group vllm.platform_plugins:")
    info("", "__init__.py:46", "- ascend -> vllm_ascend:register")
    text = "All plugins in this group will be loaded. Set `VLLM_PLUGINS` to control which plugins to load."
    info("", "__init__.py:49", text)
    info("", "__init__.py:238", "Platform plugin ascend is activated")


def warning(who: str, where: str, text: str) -> None:
    _write(sys.stdout, who, "WARNING", where, text)


def error(who: str, where: str, text: str) -> None:
    """On stderr, line by line."""
    for line in text.splitlines():
        _write(sys.stderr, who, "ERROR", where, line)


def plain(text: str) -> None:
    """uvicorn's own lines, on stderr."""
    with _lock:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def progress(text: str) -> None:
    """A line of a progress bar, on stderr."""
    plain(text)


def traceback(who: str, where: str, frames: list[str], last: str) -> None:
    """A Python traceback, the way a worker's comes out."""
    error(who, where, "\n".join(["Traceback (most recent call last):", *(f"  File {frame}" for frame in frames), last]))


def bare_traceback(frames: list[str], last: str) -> None:
    """The interpreter's own traceback at the end of the process."""
    plain("\n".join(["Traceback (most recent call last):", *(f"  File {frame}" for frame in frames), last]))


def _write(stream: TextIO, who: str, level: str, where: str, text: str) -> None:
    prefix = f"({who} pid={os.getpid()}) " if who else ""
    line = f"{prefix}{level} {wall.local('%m-%d %H:%M:%S')} [{where}] {text}\n"
    with _lock:
        stream.write(line)
        stream.flush()
