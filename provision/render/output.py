"""Which sink shows a run: what ``-o`` means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TextIO

if TYPE_CHECKING:
    from provision.events import Sink

Kind = Literal["auto", "live", "plain", "jsonl"]


def sink(kind: str, *, stdout: TextIO, stderr: TextIO, verbose: int = 0, diff: bool = False) -> Sink:
    """The sink of a kind; ``auto`` is live where stderr is a terminal. Progress goes to stderr, data (jsonl) to stdout.

    Diffs are shown where events carry them, which is where ``--diff`` asked the engine for them.
    """
    if kind == "jsonl":
        from provision.render.jsonl import JsonLines

        return JsonLines(stdout)
    if kind == "live" or (kind == "auto" and _is_terminal(stderr)):
        from provision.render.live import Live

        return Live(stderr, verbose=verbose)
    from provision.render.plain import Plain

    return Plain(stderr, verbose=verbose, width=columns(stderr))


def columns(stream: TextIO) -> int:
    """Columns of the terminal behind a stream; else what ``COLUMNS`` says, else 80."""
    import os
    import shutil

    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return shutil.get_terminal_size().columns


def _is_terminal(stream: TextIO) -> bool:
    """Whether a display can move on it."""
    import os

    return stream.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
