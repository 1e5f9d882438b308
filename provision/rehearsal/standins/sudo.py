"""``sudo``: ``root`` and ``deploy`` need no password, ``sudoer`` needs his (``rehearsal``), ``operator`` may not at all.

``sudo/password`` and ``sudo/<user>`` (``nopasswd``, ``password``, ``denied``) change that; ``sudo/missing`` is the fault
of a machine without it. A password is read byte by byte: what follows on stdin belongs to the command.
"""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import ME, Node, user
from provision.rehearsal.rewrite import map_path
from provision.rehearsal.standins.process import become
from provision.rehearsal.standins.system import login_environment

_RIGHTS = {"root": "nopasswd", "deploy": "nopasswd", "sudoer": "password"}
_WITH_VALUE = set("ugpChDRTU")


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run the command as root, or say no in sudo's words."""
    flags, values, command = _options(argv)
    rights = node.state.get(f"sudo/{user()}", _RIGHTS.get(user(), "denied"))
    if rights != "nopasswd":
        refusal = _authenticate(node, rights, flags, values.get("p", f"[sudo] password for {user()}: "))
        if refusal:
            sys.stderr.write(refusal + "\n")
            return 1
    if not command:
        return 0 if flags & set("vklK") else 1
    target = values.get("u", "root")
    environment = (
        {**os.environ, **login_environment(node, target), "SUDO_USER": user()} if target != user() else {**os.environ}
    )
    environment.pop("SSH_CONNECTION", None)
    environment[ME] = target
    return _exec(node, command, environment)


def _options(argv: list[str]) -> tuple[set[str], dict[str, str], list[str]]:
    flags: set[str] = set()
    values: dict[str, str] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break
        if word.startswith("--"):
            key, _, value = word[2:].partition("=")
            flags.add({"non-interactive": "n", "stdin": "S", "set-home": "H"}.get(key, ""))
            values.update({"p": value} if key == "prompt" else {"u": value} if key == "user" else {})
            continue
        for index, letter in enumerate(word[1:], start=1):
            if letter in _WITH_VALUE:
                values[letter] = word[index + 1 :] or (rest.pop(0) if rest else "")
                break
            flags.add(letter)
    while rest and "=" in rest[0] and not rest[0].startswith("/"):
        rest.pop(0)
    return flags, values, rest


def _authenticate(node: Node, rights: str, flags: set[str], prompt: str) -> str:
    """Empty when the user may go on, else what sudo says."""
    if "n" in flags:
        return "sudo: a password is required"
    if "S" not in flags:
        return (
            "sudo: a terminal is required to read the password; either use the -S option to read from standard input "
            "or configure an askpass helper\nsudo: a password is required"
        )
    for attempt in range(3):
        sys.stderr.write(prompt)
        sys.stderr.flush()
        line = _line()
        if line is None:
            return f"\nsudo: no password was provided\nsudo: {attempt} incorrect password attempt{'s' if attempt > 1 else ''}"
        if line == node.state.get("sudo/password", "rehearsal"):
            return "" if rights == "password" else f"{user()} is not in the sudoers file."
        sys.stderr.write("Sorry, try again.\n")
    return "sudo: 3 incorrect password attempts"


def _line() -> str | None:
    """One line of stdin and not a byte more; None at its end."""
    got = bytearray()
    while (byte := os.read(0, 1)) not in (b"\n", b""):
        got += byte
    return got.decode("utf-8", "replace") if byte or got else None


def _exec(node: Node, command: list[str], environment: dict[str, str]) -> int:
    program = command[0]
    candidates = [map_path(program, node.root)] if "/" in program else [f"{f}/{program}" for f in node.path.split(":")]
    for path in candidates:
        if os.access(path, os.X_OK):
            become(path, [path, *command[1:]], environment)
    sys.stderr.write(f"sudo: {program}: command not found\n")
    return 1
