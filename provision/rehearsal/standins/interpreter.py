"""Python on a node or in a container: the real interpreter, which is this process, with what the place has of its own.

It stands for ``python3`` with ``-c``, ``-m``, a file, or a program on standard input. Absolute paths in the program's
text are mapped as in shell text. What else differs (sockets, modules) the caller has arranged before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from provision.rehearsal.rewrite import map_path, rewrite

_WITH_VALUE = ("-W", "-X", "--check-hash-based-pycs")


def run(argv: list[str], root: str, version: str, prepare: Callable[[str], None]) -> int:
    """Do what ``python3 ARGV`` would; ``prepare`` sees the program's text before it runs. Returns the exit status."""
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] not in ("-", "-c", "-m"):
        word = rest.pop(0)
        if word in ("-V", "--version", "-VV"):
            sys.stdout.write(f"Python {version}\n")
            return 0
        if word.startswith("-") and not word.startswith("--") and word[-1] in "cm":
            rest.insert(0, f"-{word[-1]}")
            break
        if word in _WITH_VALUE:
            rest.pop(0)
    if not rest:
        rest = ["-"]
    return _status(rest, root, prepare)


def _status(rest: list[str], root: str, prepare: Callable[[str], None]) -> int:
    """Run it; an uncaught error is shown as the interpreter shows it."""
    try:
        if rest[0] == "-m":
            _run_module(rest[1:], prepare)
        else:
            _run_text(*_program(rest, root), prepare)
    except SystemExit as end:
        return _exit_status(end)
    except KeyboardInterrupt:
        return 130
    except BaseException as error:
        _show(error)
        return 1
    return 0


def _program(rest: list[str], root: str) -> tuple[str, str, list[str]]:
    """The text, the name that tracebacks give it, and its ``sys.argv``."""
    if rest[0] == "-c":
        return rewrite(rest[1] if len(rest) > 1 else "", root, limits=False), "<string>", ["-c", *rest[2:]]
    if rest[0] == "-":
        return rewrite(sys.stdin.read(), root, limits=False), "<stdin>", ["-", *rest[1:]]
    path = _placed(rest[0], root)
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except OSError as error:
        sys.stderr.write(f"python3: can't open file '{rest[0]}': [Errno {error.errno}] {error.strerror}\n")
        raise SystemExit(2) from None
    sys.path.insert(0, os.path.dirname(path))
    return rewrite(text, root, limits=False), path, [rest[0], *(_placed(word, root) for word in rest[1:])]


def _placed(word: str, root: str) -> str:
    """Where a path of the place really is; a mount may have made it outside of the folders that every node has."""
    mapped = map_path(word, root)
    inner = mapped == word and word.startswith("/") and not word.startswith(root)
    return root + word if inner and os.path.exists(root + word) else mapped


def _run_text(text: str, name: str, argv: list[str], prepare: Callable[[str], None]) -> None:
    from types import ModuleType

    main = ModuleType("__main__")
    main.__dict__["__file__"] = name
    sys.modules["__main__"] = main
    sys.argv = argv
    prepare(text)
    exec(compile(text, name, "exec"), main.__dict__)


def _run_module(words: list[str], prepare: Callable[[str], None]) -> None:
    import runpy

    if not words:
        sys.stderr.write("Argument expected for the -m option\n")
        raise SystemExit(2)
    sys.argv = [words[0], *words[1:]]
    prepare(f"import socket # {words[0]}")
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


def _exit_status(end: SystemExit) -> int:
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _show(error: BaseException) -> None:
    """A traceback of the program's own frames and libraries; this package isn't there."""
    import traceback

    sys.stdout.flush()
    shown = traceback.TracebackException.from_exception(error)
    here = os.path.dirname(os.path.abspath(__file__))
    kept = [frame for frame in shown.stack if not frame.filename.startswith((here, "<frozen"))]
    shown.stack = traceback.StackSummary.from_list(kept)
    sys.stderr.write("".join(shown.format()))
