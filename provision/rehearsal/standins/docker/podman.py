"""``podman``: docker's commands in podman's own words, as version 4.3 was found to answer.

Templates reach into podman's structures (``.ID``, ``index .Labels``), docker's forms are errors; ids of images go
without ``sha256:``; ``logs --tail`` wants a number; there is no daemon to talk to through ``system dial-stdio``.
"""

from __future__ import annotations

import io
import itertools
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout

from provision.rehearsal.node import Node, is_root
from provision.rehearsal.standins.docker.errors import DockerError
from provision.rehearsal.standins.docker.flags import parse, table
from provision.rehearsal.standins.docker.template import render

VERSION = "4.3.1"
_INFO = table("-f,--format=", "-D,--debug")
_TAIL = re.compile(r"-?\d+")
_NOWHERE = re.compile(r".*No such image: (.*)")
_BARE = re.compile(r'(?m)("(?:Id|Image)": ?"|^)sha256:(?=[0-9a-f]{64})')


def dispatch(node: Node, argv: list[str], docker: Callable[[Node, list[str]], int]) -> int:
    """Run one podman command by way of ``docker``, which runs docker's."""
    if argv[:1] in (["--version"], ["-v"]):
        sys.stdout.write(f"podman version {VERSION}\n")
        return 0
    if not is_root():
        raise DockerError("Error: this rehearsal has no containers of other users than root", 125)
    match argv[:2]:
        case ["info", *_]:
            return _info(node, argv[1:])
        case ["system", "dial-stdio"]:
            raise DockerError(
                'Error: failed to open connection to podman: unable to connect to Podman socket: Get "http://d/v4.3.1/libpod/'
                '_ping": dial unix ///run/podman/podman.sock: connect: no such file or directory',
                125,
            )
        case ["logs", *_]:
            _check_tail(argv)
        case ["ps", *_]:
            argv = _translated(argv, "ps", wrong=".Label ", right=r'index \.Labels (")', docker=r".Label \1")
        case ["inspect", *_] | ["image", "inspect"]:
            return _inspect(node, argv, docker)
        case _:
            pass
    return docker(node, argv)


def _info(node: Node, argv: list[str]) -> int:
    about = {
        "Version": {"Version": VERSION, "APIVersion": VERSION},
        "Store": {"GraphRoot": "/var/lib/containers/storage", "GraphDriverName": "overlay"},
        "Host": {"Arch": "arm64" if node.is_npu else "amd64", "OCIRuntime": {"Name": "runc"}},
    }
    template = parse(argv, _INFO, command="info").one("format", "{{json .}}")
    sys.stdout.write(render(template, about) + "\n")
    return 0


def _check_tail(argv: list[str]) -> None:
    for option, value in itertools.pairwise(argv):
        if option in ("--tail", "-n") and not _TAIL.fullmatch(value):
            raise DockerError(
                f'Error: invalid argument "{value}" for "--tail" flag: strconv.ParseInt: parsing "{value}": invalid syntax\n'
                "See 'podman logs --help'",
                125,
            )
    if "-1" in argv:
        argv[argv.index("-1")] = "all"


def _inspect(node: Node, argv: list[str], docker: Callable[[Node, list[str]], int]) -> int:
    """A template that is only ``{{json .}}`` prints the whole list, indented."""
    if "{{json .}}" in argv:
        at = argv.index("{{json .}}")
        argv = [*argv[: at - 1], *argv[at + 1 :]]
    else:
        argv = [re.sub(r"^\{\{with \.\}\}(.*)\{\{end\}\}$", r"\1", word) for word in argv]
    argv = _translated(argv, "inspect", wrong=".Id}", right=r"\.ID\}", docker=".Id}")
    said, refused = io.StringIO(), io.StringIO()
    with redirect_stdout(said), redirect_stderr(refused):
        status = docker(node, argv)
    sys.stdout.write(_BARE.sub(r"\1", said.getvalue()))
    sys.stderr.write(_NOWHERE.sub(r"Error: inspecting object: \1: image not known", refused.getvalue()))
    return 125 if status else 0


def _translated(argv: list[str], command: str, *, wrong: str, right: str, docker: str) -> list[str]:
    for word in argv:
        if "{{" in word and wrong in word:
            raise DockerError(
                f'Error: template: {command}:1:21: executing "{command}" at <{wrong.strip("} ")}>: '
                f"can't evaluate field {wrong.strip('.} ')}",
                125,
            )
    return [re.sub(right, docker, word) if "{{" in word else word for word in argv]
