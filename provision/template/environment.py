"""Jinja2 as this project uses it: sandboxed, strict about what is undefined, with a fixed list of filters and tests.

Two environments: for expressions and texts, and for ``*.sh.j2`` files, where every value that a template prints is
quoted for sh unless it passed through ``| raw``. A value between quotes of the template itself (``"{{ x }}"``) would
be quoted twice: such a template doesn't load.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from provision import shell
from provision.errors import ConfigError, Position
from provision.resources import shipped
from provision.secrets import Secret
from provision.template import filters

FAILURES = (jinja2.TemplateError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What evaluating may raise because of the text and its values; anything else is a fault of the program."""

_MAX_POWER = 10_000


class Environment(ImmutableSandboxedEnvironment):
    """Reads attributes and calls methods of plain values (str, list, dict …) only; no globals, no loops without end."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, **options: Any) -> None:
        super().__init__(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, **options)
        self.globals = {}
        self.filters = {name: self.filters[name] for name in filters.FROM_JINJA} | filters.OWN
        self.tests = {name: self.tests[name] for name in filters.FROM_JINJA_TESTS}

    def is_safe_callable(self, obj: Any) -> bool:
        """Methods of plain values, and functions marked by ``callable_in_templates``."""
        if getattr(obj, "callable_in_templates", False):
            return True
        return isinstance(
            getattr(obj, "__self__", None), str | bytes | Mapping | Sequence
        ) and super().is_safe_callable(obj)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """A secret opens to nobody here."""
        return not isinstance(obj, Secret) and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Products and powers of numbers only: ``'x' * 10**9`` is no configuration."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers or (operator == "**" and (abs(left) > _MAX_POWER or abs(right) > 64)):
            raise SecurityError(f"'{operator}' is for small numbers")
        return super().call_binop(context, operator, left, right)


@cache
def text_environment() -> Environment:
    """For expressions and texts in playbooks and inventories."""
    return Environment()


@cache
def file_environment() -> Environment:
    """For template files that aren't shell scripts."""
    return Environment(keep_trailing_newline=True, finalize=_present)


@cache
def shell_environment() -> Environment:
    """For ``*.sh.j2``: every printed value is quoted unless raw."""
    return Environment(keep_trailing_newline=True, finalize=_quoted)


def _present(value: Any) -> Any:
    if value is None:
        raise ConfigError("a value is None here")
    return _no_secret(value)


def _no_secret(value: Any) -> Any:
    if isinstance(value, Secret):
        raise ConfigError("a secret cannot be printed by a template")
    return value


def _quoted(value: Any) -> str:
    """What a shell template prints for a value: one quoted word, or several for a list."""
    _present(value)
    if isinstance(value, filters.Raw):
        return str(value)
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises: it is strict
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return shell.join(_no_secret(word) for word in value)
    return shell.quote(value)


# ---- template files


def render_template(template: Path | str, /, **values: object) -> str:
    """Render a template file: a path, or the name of one in the shipped ``templates`` folder.

    Raises ``ConfigError`` with file and line for a missing file, wrong syntax, and a value that is missing or unfit.
    """
    path = Path(template) if isinstance(template, Path) else shipped("templates") / template
    compiled = _compiled(path)
    try:
        return compiled.render(values)
    except ConfigError as error:
        raise ConfigError(error.message, where=_place(path, error), hint=error.hint) from error
    except FAILURES as error:
        raise ConfigError(f"template: {error}", where=_place(path, error)) from error


@cache
def _compiled(path: Path) -> jinja2.Template:
    environment = shell_environment() if path.name.endswith(".sh.j2") else file_environment()
    source = _source(path)
    if environment is shell_environment():
        _refuse_quoted_values(source, path)
    try:
        code = environment.compile(source, name=path.name, filename=str(path))
    except jinja2.TemplateSyntaxError as error:
        raise ConfigError(f"template: {error.message}", where=Position(str(path), error.lineno, 1)) from error
    return jinja2.Template.from_code(environment, code, {})


def _source(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"template {path}: {reason}") from error


_IN_QUOTES = re.compile(r"""(["'])\{\{(?P<expression>(?:(?!\}\}).)*)\}\}\1""", re.DOTALL)


def _refuse_quoted_values(source: str, path: Path) -> None:
    for found in _IN_QUOTES.finditer(source):
        if not re.search(r"\|\s*raw\b", found["expression"]):
            line = source.count("\n", 0, found.start()) + 1
            hint = "remove the quotes around {{ … }}: the value is quoted as one word anyway"
            raise ConfigError(
                "template: this value would be quoted twice", where=Position(str(path), line, 1), hint=hint
            )


def _place(path: Path, error: BaseException) -> Position:
    """The template's line where ``error`` arose: Jinja puts it into the traceback."""
    lines = [
        lineno for frame, lineno in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == str(path)
    ]
    return Position(str(path), lines[-1] if lines else 1, 1)
