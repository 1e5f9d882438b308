"""``git`` of a node, as far as a build goes: clone, init, fetch, checkout, rev-parse, submodule."""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.standins.faulty import maybe_hang
from provision.rehearsal.standins.venv.world import commit_of, host_of, repository_of

_WITH_VALUE = ("-C", "-c", "--depth", "--branch", "-b")


class GitError(Exception):
    """What git says before it ends with 128."""


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run one git command."""
    maybe_hang(node, "git")
    folder, words, options = _parsed(argv)
    if "--version" in argv:
        sys.stdout.write("git version 2.33.0\n")
        return 0
    try:
        _run(node, folder, words, options)
    except GitError as error:
        sys.stderr.write(f"fatal: {error}\n")
        return 128
    except OSError as error:
        sys.stderr.write(f"fatal: could not create work tree dir: {error.strerror}\n")
        return 128
    return 0


def _parsed(argv: list[str]) -> tuple[str, list[str], dict[str, str]]:
    """The folder of ``-C``, the words, and options with their values."""
    words: list[str] = []
    options: dict[str, str] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word in _WITH_VALUE and rest:
            options[word] = rest.pop(0)
        elif word.startswith("-"):
            options[word] = ""
        else:
            words.append(word)
    return options.get("-C", "."), words, options


def _run(node: Node, folder: str, words: list[str], options: dict[str, str]) -> None:
    command, rest = words[0], words[1:]
    if command == "clone":
        url, target = rest[0], rest[1]
        sys.stderr.write(f"Cloning into '{target}'...\n")
        ref = options.get("--branch", "main")
        _put(target, _found(node, url, ref, f"Remote branch {ref} not found in upstream origin"))
    elif command == "init":
        os.makedirs(f"{rest[0]}/.git", exist_ok=True)
    elif command == "fetch":
        wanted = rest[1]
        lost = (
            f"remote error: upload-pack: not our ref {wanted}"
            if len(wanted) == 40
            else f"couldn't find remote ref {wanted}"
        )
        _write(f"{folder}/.git/FETCH_HEAD", " ".join(_found(node, rest[0], wanted, lost)))
    elif command == "checkout":
        _put(folder, tuple(_read(f"{folder}/.git/FETCH_HEAD").split()))
    elif command == "rev-parse":
        sys.stdout.write(_read(f"{folder}/.git/HEAD").split()[1] + "\n")
    elif command == "submodule":
        _submodules(node, folder)
    else:
        raise GitError(f"'{command}' is not a git command of a rehearsal")


def _found(node: Node, url: str, ref: str, lost: str) -> tuple[str, ...]:
    """(Repository, commit, ref) of what a server gives."""
    host = host_of(url)
    if node.state.get(f"git/{host}") == "down":
        raise GitError(f"unable to access '{url}/': Could not resolve host: {host}")
    repository = repository_of(url)
    if not repository:
        raise GitError(f"could not read Username for 'https://{host}': terminal prompts disabled")
    commit = commit_of(repository, ref)
    if not commit:
        raise GitError(lost)
    return repository, commit, ref


def _put(folder: str, head: tuple[str, ...]) -> None:
    os.makedirs(f"{folder}/.git", exist_ok=True)
    _write(f"{folder}/.git/HEAD", " ".join(head))
    _write(f"{folder}/pyproject.toml", f'[project]\nname = "{head[0]}"\n')
    _write(f"{folder}/requirements.txt", "torch\n")


def _submodules(node: Node, folder: str) -> None:
    if _read(f"{folder}/.git/HEAD").split()[0] == "vllm-ascend":
        if node.state.get("git/submodules") == "down":
            raise GitError(
                f"clone of 'https://gitcode.com/cann/catlass.git' into submodule path '{folder}/csrc' failed"
            )
        _write(f"{folder}/.git/submodules", "csrc/third_party/catlass\n")


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        raise GitError("not a git repository (or any of the parent directories): .git") from None


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
