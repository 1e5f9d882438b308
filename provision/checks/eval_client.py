"""The head can evaluate: the client's environment runs, and tokenizer and data sets are there.

AISBench is imported from a virtual environment of its own; a wrong path shows only after an hour of serving, when the
evaluation begins [domain 9.1, 14.2]. Looked at where ``qnext.evaluate.venv`` names one. Modules are looked for, not
imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import Field

from provision.checks.base import CheckArgs, Finding
from provision.checks.support import Skip, listed, look
from provision.facts.base import Fact
from provision.facts.python import PathState, PythonEnvironment
from provision.inventory.model import Settings
from provision.node import Node

CODE = "N29"
LEVEL = "fail"
SCOPE = "node"
THOROUGH = True

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
"""Of these a tokenizer's folder has one."""


class Args(CheckArgs):
    """What the environment must hold."""

    modules: tuple[str, ...] = Field(("ais_bench",), description="Python modules that must be importable there")


def applies(settings: Settings) -> bool:
    return settings.evaluate.venv is not None


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (_environment(settings, Args()),)


def _environment(settings: Settings, args: Args) -> PythonEnvironment:
    folder = _tokenizer(settings)
    files = (folder, *(f"{folder}/{name}" for name in TOKENIZERS), *settings.evaluate.datasets)
    return PythonEnvironment(settings.evaluate.venv or "", args.modules, files)


def _tokenizer(settings: Settings) -> str:
    return (settings.evaluate.tokenizer or settings.model.folder).rstrip("/")


def run(args: Args, node: Node) -> Iterable[Finding]:
    if node.index != 0:
        raise Skip("the evaluation runs on the head")
    fact = _environment(node.settings, args)
    value = look(node, fact)
    if not value.exists:
        yield _missing(fact.path, "qnext.evaluate.venv", f"python3 -m venv {fact.path}")
    elif not value.version:
        yield Finding(
            f"{fact.path} has no Python that runs: {listed(value.problems, 1) or 'no bin/python3'}",
            f"make it anew: python3 -m venv --clear {fact.path}, and install what it held",
            expected="bin/python3",
            observed=value.python or "none",
        )
    else:
        yield from _modules(fact.path, [name for name in args.modules if value.modules.get(name) is None])
    yield from _files(node.settings, {path: value.of(path) for path in fact.files})


def _modules(path: str, lacking: list[str]) -> Iterator[Finding]:
    if lacking:
        packages = ["ais-bench-benchmark" if name == "ais_bench" else name for name in lacking]
        yield Finding(
            f"{path} lacks {listed(lacking)}",
            f"{path}/bin/pip install {' '.join(packages)}",
            expected=", ".join(lacking),
            observed="cannot be imported",
        )


def _files(settings: Settings, found: dict[str, PathState]) -> Iterator[Finding]:
    folder = _tokenizer(settings)
    has_tokenizer = any(found[f"{folder}/{name}"].kind == "file" for name in TOKENIZERS)
    if found[folder].kind != "dir":
        # the model's own folder has a check of its own, which tells
        if settings.evaluate.tokenizer:
            yield _missing(folder, "qnext.evaluate.tokenizer", f"rsync -a HOST:{folder}/ {folder}/")
    elif not has_tokenizer and settings.evaluate.tokenizer:
        yield Finding(
            f"{folder} holds no tokenizer",
            "name the folder that has tokenizer.json: qnext.evaluate.tokenizer",
            expected=f"one of {', '.join(TOKENIZERS)}",
            observed=f"{found[folder].entries} other files",
        )
    for path in settings.evaluate.datasets:
        state = found[path]
        if state.kind not in ("file", "dir"):
            yield _missing(path, "qnext.evaluate.datasets", f"rsync -a HOST:{path} {path.rpartition('/')[0]}/")
        elif not (state.size if state.kind == "file" else state.entries):
            yield Finding(
                f"{path} is empty",
                f"bring the data set: rsync -a HOST:{path} {path.rpartition('/')[0]}/",
                expected="a data set",
                observed="an empty file" if state.kind == "file" else "an empty folder",
            )


def _missing(path: str, key: str, made: str) -> Finding:
    return Finding(
        f"{path} is missing",
        f"{made}; or correct {key}",
        expected=path,
        observed="missing",
    )
