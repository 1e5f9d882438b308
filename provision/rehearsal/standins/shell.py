"""``sh`` on a rehearsal node: the machine's real shell, fed with text in which the node's paths are mapped.

It stands for ``/bin/sh`` wherever a script comes from: ``-c``, a file, or standard input. A script on standard input
may go on for as long as the session does, so it is mapped line by line on its way to the real shell.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import LineMapper, map_path, rewrite
from provision.rehearsal.standins.process import become

REAL = "/bin/sh"
_LONGEST_ARGUMENT = 100_000
"""Bytes: Linux refuses a single argument above 128 KiB."""

MAPPED = "QNEXT_REHEARSAL_MAPPED"
"""Environment variable that says that the SSH server maps the script on standard input itself."""

WRAPPER = """#!/bin/sh
# Text that holds the node's root already was mapped by the shell that carried it here; text without a path needs nothing.
case $1 in
-c) case $2 in
    *{root}*) exec /bin/sh "$@" ;;
    */[a-z]* | *ulimit*) ;;
    *) exec /bin/sh "$@" ;;
    esac ;;
-s) [ "${{{mapped}}}" ] && unset {mapped} && exec /bin/sh "$@" ;;
esac
exec {rewriting} "$@"
"""


def main(node: Node, name: str, argv: list[str]) -> int:
    """Replace this process by the real shell with mapped text."""
    options, rest, from_text = _options(argv)
    if from_text and rest:
        return _run(node, options, rest[0], rest[1:])
    if rest and "-s" not in options:
        return _run_file(node, options, rest)
    map_input(node.root)
    return become(REAL, [REAL, *options, *rest])


def _options(argv: list[str]) -> tuple[list[str], list[str], bool]:
    """The options without ``c``, what follows them, and whether ``c`` was among them."""
    options: list[str] = []
    from_text = False
    index = 0
    while index < len(argv) and argv[index][:1] in "-+" and len(argv[index]) > 1:
        word = argv[index]
        index += 1
        if word == "--":
            break
        letters = word.replace("c", "") if word.startswith("-") else word
        from_text = from_text or letters != word
        options += [letters] if len(letters) > 1 else []
        if word.endswith("o"):
            options.append(argv[index])
            index += 1
    return options, argv[index:], from_text


def _run_file(node: Node, options: list[str], rest: list[str]) -> int:
    path = map_path(rest[0], node.root)
    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError as error:
        sys.stderr.write(f"sh: 0: cannot open {rest[0]}: {error.strerror}\n")
        return 2
    return _run(node, options, text, [path, *rest[1:]])


def _run(node: Node, options: list[str], text: str, names: list[str]) -> NoReturn:
    text = rewrite(text, node.root)
    names = [map_path(name, node.root) for name in names]
    if len(text) < _LONGEST_ARGUMENT:
        become(REAL, [REAL, *options, "-c", text, *(names or [REAL])])
    path = os.path.join(node.folder, "scripts", f"{os.getpid()}.sh")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    become(REAL, [REAL, *options, path, *names[1:]])


def map_input(root: str, other: str = "") -> None:
    """Put a child between standard input and this process, which maps complete lines as they come."""
    receive, send = os.pipe()
    if os.fork():
        os.close(send)
        os.dup2(receive, 0)
        os.close(receive)
        return
    os.close(receive)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        _copy_mapped(LineMapper(root, other), send)
    except BrokenPipeError:
        os._exit(0)
    os._exit(0)


def _copy_mapped(mapper: LineMapper, send: int) -> None:
    while data := os.read(0, 65536):
        _write(send, mapper.feed(data))
    _write(send, mapper.finish())


def _write(target: int, data: bytes) -> None:
    while data:
        data = data[os.write(target, data) :]
