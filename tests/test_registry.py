"""The registry: a folder's files and other packages' entry points, by name."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from types import ModuleType

import pytest

from provision import registry
from provision.errors import ConfigError, Position
from provision.modules.base import ModuleArgs


class Args(ModuleArgs):
    """None."""


@dataclass(frozen=True)
class Point:
    found: object

    def load(self) -> object:
        return self.found


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> dict[str, Point]:
    """Entry points of another package, of all kinds."""
    there: dict[str, Point] = {}
    monkeypatch.setattr(registry, "_entry_points", lambda kind: there)
    return there


def module_file(**attributes: object) -> ModuleType:
    module = ModuleType("elsewhere", "Does things.")
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def test_every_file_is_listed_and_none_of_the_support() -> None:
    for kind in registry.FOLDERS:
        names = registry.names(kind)
        assert "base" not in names
        assert "__init__" not in names
        assert list(names) == sorted(names)
    assert "system" in registry.names("facts")


def test_every_module_and_check_loads() -> None:
    for name in registry.names("modules"):
        spec = registry.module(name)
        assert spec.scope in ("node", "cluster")
        assert spec.doc.strip(), f"module {name} says nothing of itself"
        assert issubclass(spec.Args, ModuleArgs)
    for check in registry.checks():
        assert check.scope in ("static", "node", "cluster", "trial", "launched")
        assert check.doc.strip(), f"check {check.name} says nothing of itself"


def test_checks_are_in_the_order_of_their_codes() -> None:
    codes = [check.code for check in registry.checks()]
    assert codes == sorted(codes)


def test_an_entry_point_is_a_module_like_any_other(points: dict[str, Point]) -> None:
    points["spin_up"] = Point(module_file(SCOPE="node", Args=Args, run=lambda args, node: None))
    spec = registry.module("spin-up")
    assert (spec.name, spec.scope, spec.doc) == ("spin_up", "node", "Does things.")
    assert tuple(spec.facts(None, None)) == ()  # type: ignore[arg-type]
    assert "spin_up" in registry.names("modules")


def test_a_check_from_an_entry_point(points: dict[str, Point]) -> None:
    points["odd"] = Point(module_file(CODE="X1", LEVEL="warn", SCOPE="node", run=lambda node: ()))
    spec = registry.check("odd")
    assert (spec.code, spec.level) == ("X1", "warn")
    assert spec.applies(None)  # type: ignore[arg-type]


def test_a_file_that_lacks_a_name_says_which(points: dict[str, Point]) -> None:
    points["half"] = Point(module_file(SCOPE="node"))
    with pytest.raises(ConfigError, match="lacks Args, run"):
        registry.module("half")


def test_an_entry_point_that_is_no_module(points: dict[str, Point]) -> None:
    points["odd"] = Point(object())
    with pytest.raises(ConfigError, match="no python module"):
        registry.load("modules", "odd")


def test_an_unknown_name_says_where_and_what_was_meant(points: dict[str, Point]) -> None:
    points["image"] = Point(module_file())
    where = Position("up.yaml", 3, 5)
    with pytest.raises(ConfigError, match=r"up.yaml:3:5: no module is named 'imago'") as caught:
        registry.module("imago", where=where)
    assert caught.value.hint == "did you mean 'image'?"
    with pytest.raises(ConfigError, match="no topology is named") as caught:
        registry.load("topologies", "zzz")
    assert caught.value.hint.startswith("known: ")


def test_listing_imports_nothing() -> None:
    code = (
        "import sys; from provision import registry; [registry.names(kind) for kind in registry.FOLDERS]; "
        "heavy = ('provision.modules', 'provision.checks', 'pydantic'); "
        "print(sorted(name for name in sys.modules if name.startswith(heavy)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("qwen3-next", ["qwen3-next-80b-instruct", "qwen3-next-80b-thinking"]),
        ("qwen3-nxt", ["qwen3-next-80b-instruct", "qwen3-next-80b-thinking"]),
        ("glm-5.3", ["glm-5.1"]),
        ("nothing-like-it", []),
        ("", []),
    ],
)
def test_names_that_are_near(name: str, near: list[str]) -> None:
    known = ("qwen3-next-80b-thinking", "glm-5.1", "qwen3-next-80b-instruct")
    assert registry.near_names(name, known) == near


def test_a_list_of_which_one_holds() -> None:
    assert [registry.or_list(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == [
        "'a'",
        "'a' or 'b'",
        "'a', 'b' or 'c'",
    ]
