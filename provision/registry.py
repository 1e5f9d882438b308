"""What can be named in a playbook or an inventory: the listing of a folder, plus entry points of other packages.

Adding a module, check, fact, topology or model is adding one file; nothing is registered anywhere. Listing imports
nothing, so help and completion are quick; loading imports one file and gives back the typed record of what it holds.

This file lies below the layers whose files it loads, and therefore imports them only by name, when asked.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from provision.errors import ConfigError, Position

if TYPE_CHECKING:
    from provision.checks.base import CheckSpec
    from provision.facts.base import Fact
    from provision.modules.base import ModuleSpec

FOLDERS = {
    "modules": "modules",
    "checks": "checks",
    "facts": "facts",
    "topologies": "serve/topologies",
    "models": "serve/models",
    "accelerators": "accel",
}
"""Kind to folder below the package. The entry point group of a kind is ``qnext_provision.<kind>``."""

_SINGULAR = {"topologies": "topology"}
_NOT_LISTED = (
    "__init__",
    "base",
    "policy",
    "runner",
    "support",
    "undo",
    "inside",
    "serving",
    "life",
    "starting",
    "stopping",
    "spreading",
    "pulling",
    "caching",
    "supply",
    "readiness",
)
_PACKAGE = Path(__file__).resolve().parent


def names(kind: str) -> tuple[str, ...]:
    """The names of a kind, sorted, written with underscores. Imports none of them."""
    return tuple(sorted({*_files(kind), *_entry_points(kind)}))


def load(kind: str, name: str, *, where: Position | None = None) -> ModuleType:
    """The python module behind a name. Raises ``ConfigError`` with a did-you-mean for an unknown one."""
    name = name.replace("-", "_")
    if name in _files(kind):
        return importlib.import_module(f"provision.{FOLDERS[kind].replace('/', '.')}.{name}")
    if name in _entry_points(kind):
        found = _entry_points(kind)[name].load()
        if isinstance(found, ModuleType):
            return found
        raise ConfigError(f"entry point {kind}/{name} is no python module", where=where)
    singular = _SINGULAR.get(kind, kind.removesuffix("s"))
    raise ConfigError(f"no {singular} is named {name!r}", hint=did_you_mean(name, names(kind)), where=where)


def module(name: str, *, where: Position | None = None) -> ModuleSpec:
    """A playbook module by name."""
    return _module_spec(name.replace("-", "_"), load("modules", name, where=where))


def check(name: str, *, where: Position | None = None) -> CheckSpec:
    """A preflight check by name."""
    return _check_spec(name.replace("-", "_"), load("checks", name, where=where))


@cache
def checks() -> tuple[CheckSpec, ...]:
    """All checks, in the order of their codes."""
    return tuple(sorted((check(name) for name in names("checks")), key=lambda spec: (spec.code, spec.name)))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """ "did you mean …?" where a known name is near, else the list of what is known."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(known)}" if known else ""


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Known names that begin so, as people cut long ones short; else the one that is near, else those that begin
    nearly so."""
    known = sorted(known)
    if len(name) > 3 and (longer := [each for each in known if each.startswith(name)]):
        return longer
    beginnings: dict[str, list[str]] = {}
    for each in known:
        beginnings.setdefault(each[: len(name)], []).append(each)
    alike = difflib.get_close_matches(name, beginnings, n=1, cutoff=0.75) if len(name) > 3 else []
    return difflib.get_close_matches(name, known, n=1) or (beginnings[alike[0]] if alike else [])


def or_list(names: Sequence[str]) -> str:
    """``'a', 'b' or 'c'``."""
    quoted = [repr(name) for name in names]
    return " or ".join(filter(None, (", ".join(quoted[:-1]), *quoted[-1:])))


@cache
def _files(kind: str) -> frozenset[str]:
    folder = _PACKAGE / FOLDERS[kind]
    return frozenset(path.stem for path in folder.glob("*.py") if path.stem not in _NOT_LISTED)


@cache
def _entry_points(kind: str) -> dict[str, EntryPoint]:
    group = entry_points(group=f"qnext_provision.{kind}")
    return {point.name.replace("-", "_"): point for point in group}


@cache
def _module_spec(name: str, source: ModuleType) -> ModuleSpec:
    from provision.modules.base import ModuleSpec

    _require(source, ("SCOPE", "Args", "run"))
    return ModuleSpec(
        name=name,
        doc=source.__doc__ or "",
        scope=source.SCOPE,
        Args=source.Args,
        facts=getattr(source, "facts", _no_facts),
        run=source.run,
    )


@cache
def _check_spec(name: str, source: ModuleType) -> CheckSpec:
    from provision.checks.base import CheckSpec, NoArgs

    _require(source, ("CODE", "LEVEL", "SCOPE", "run"))
    return CheckSpec(
        name=name,
        doc=source.__doc__ or "",
        code=source.CODE,
        level=source.LEVEL,
        scope=source.SCOPE,
        applies=getattr(source, "applies", _always),
        facts=getattr(source, "facts", _no_facts),
        run=source.run if hasattr(source, "Args") else _without_args(source.run),
        Args=getattr(source, "Args", NoArgs),
        deep=getattr(source, "DEEP", False),
        fix=getattr(source, "fix", None),
        thorough=getattr(source, "THOROUGH", False),
    )


def _without_args(run: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    """A check without thresholds, called like one that has some."""
    return lambda _, subject: run(subject)


def _require(source: ModuleType, attributes: tuple[str, ...]) -> None:
    missing = [name for name in attributes if not hasattr(source, name)]
    if missing:
        raise ConfigError(f"{source.__name__} lacks {', '.join(missing)}")


def _no_facts(*_: object) -> tuple[Fact[object], ...]:
    return ()


def _always(_: object) -> bool:
    return True
