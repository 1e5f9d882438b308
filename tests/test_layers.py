"""Imports point down, and what only one layer may do, only that layer does.

The layers are those of the design. Protocols and values that all layers share (``base.py`` files, ``actions``,
``node``, the inventory's and the launch plan's models) are a floor of their own below them all.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "provision"
FLOORS = (
    (
        "amounts",
        "errors",
        "results",
        "findings",
        "events",
        "redacted_yaml",
        "redaction",
        "secrets",
        "clock",
        "shell",
        "yamlio",
        "resources",
        "http",
        "__init__",
    ),
    ("registry", "emitter"),
    ("inventory.model", "facts.base", "actions", "node", "checks.base", "modules.base", "transport.base", "serve.plan"),
    ("http_client",),
    ("template",),
    ("inventory",),
    ("transport",),
    ("accel",),
    ("facts",),
    ("serve",),
    ("install",),
    ("evaluate",),
    ("diagnose",),
    ("checks",),
    ("modules",),
    ("engine",),
    ("store",),
    ("render",),
    ("rehearsal",),
    ("cli", "__main__"),
)
"""From the ground up; a name stands for a file or a folder, the longest one that fits counts."""

FILES = sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    """A file's name below the package: ``engine.run``."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


def floor(name: str) -> int:
    """The floor of ``engine.run``, by the longest entry that fits."""
    fits = [
        (len(entry), level)
        for level, entries in enumerate(FLOORS)
        for entry in entries
        if name == entry or name.startswith(entry + ".")
    ]
    assert fits, f"provision.{name} stands on no floor: add it to FLOORS"
    return max(fits)[1]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def runtime_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All statements but those below ``if TYPE_CHECKING:``, which never run."""
    todo = [node]
    while todo:
        for child in ast.iter_child_nodes(todo.pop()):
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if isinstance(child, ast.stmt) and not typing_only:
                yield child
                todo.append(child)


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Line and dotted name of everything that a file imports when it runs."""
    return tuple(_imports(tree(path)))


def _imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    for node in runtime_nodes(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.lineno, node.module
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@cache
def own_files() -> frozenset[str]:
    return frozenset(dotted(path) for path in FILES)


def targets(path: Path) -> Iterator[tuple[int, str]]:
    """The project's own files that a file imports."""
    for line, name in imports(path):
        below = name.removeprefix("provision.")
        if name.startswith("provision.") and below in own_files():
            yield line, below


LOADS_BY_NAME = ("registry",)
"""The registry loads what lies above it, when it is asked to by name: that is what it is for."""


def upward(path: Path) -> Iterator[str]:
    name = dotted(path)
    if name not in LOADS_BY_NAME:
        for line, target in targets(path):
            if floor(target) > floor(name):
                yield f"{path}:{line}: imports provision.{target}"


def test_imports_point_down() -> None:
    wrong = [each for path in FILES for each in upward(path)]
    assert not wrong, "imports point down (design, section 5):\n" + "\n".join(wrong)


def importers(*packages: str) -> dict[str, list[int]]:
    """Which files import one of these packages, and where."""
    found: dict[str, list[int]] = {}
    for path in FILES:
        for line, name in imports(path):
            if name.split(".")[0] in packages:
                found.setdefault(dotted(path), []).append(line)
    return found


def test_only_ssh_knows_the_ssh_libraries() -> None:
    assert set(importers("fabric", "invoke")) <= {"transport.ssh"}
    strangers = {name for name in importers("paramiko") if not name.startswith("transport.")}
    assert not strangers


def test_only_rendering_and_the_command_line_know_rich() -> None:
    assert not {name for name in importers("rich") if not name.startswith(("render.", "cli."))}


def test_only_rehearsal_runs_an_ssh_server_and_only_its_command_imports_it() -> None:
    assert not {name for name in importers("asyncssh", "asyncio") if not name.startswith("rehearsal")}
    users = {dotted(path) for path in FILES for _, target in targets(path) if target.startswith("rehearsal")}
    assert not {name for name in users if not name.startswith(("rehearsal", "cli.rehears"))}


def calls(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


def forbidden(path: Path) -> Iterator[str]:
    for line, function, call in calls(path):
        why = _why_not(function, call, dotted(path))
        if why:
            yield f"{path}:{line}: {function}: {why}"


def _why_not(function: str, call: ast.Call, name: str) -> str:
    if function == "print":
        return "emit an event, or click.echo in cli/"
    if function in ("time.sleep", "asyncio.sleep") and name != "clock" and not name.startswith("rehearsal"):
        return "provision.clock.sleep can be stopped and tested"
    starts = function.startswith("subprocess.") or function == "Popen"
    if starts and any(word.arg == "shell" and ast.unparse(word.value) == "True" for word in call.keywords):
        return "shell=True; pass a list"
    if function in ("os.system", "os.popen"):
        return "use subprocess with a list"
    if function.startswith("click.") and not name.startswith("cli."):
        return "the terminal belongs to cli/"
    return ""


def test_what_nobody_may_call() -> None:
    wrong = [each for path in FILES for each in forbidden(path)]
    assert not wrong, "\n".join(wrong)


def test_the_rules_can_fail(tmp_path: Path) -> None:
    assert floor("engine.run") > floor("facts.docker") > floor("facts.base")
    sample = tmp_path / "sample.py"
    sample.write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rich\nimport fabric.connection\n"
    )
    assert [name for _, name in imports(sample)][-1] == "fabric.connection"
    assert "rich" not in {name for _, name in imports(sample)}
    bad = ast.parse("subprocess.run('ls', shell=True)").body[0]
    assert isinstance(bad, ast.Expr)
    assert isinstance(bad.value, ast.Call)
    assert _why_not("subprocess.run", bad.value, "engine.run") == "shell=True; pass a list"
