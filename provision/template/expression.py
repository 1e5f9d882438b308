"""Expressions and texts of playbooks and inventories: evaluated once, typed, and checked before anything runs.

A text that is wholly ``{{ e }}`` gives the value of ``e`` with its type (so ``"{{ 1.10 }}"`` stays a float and a
version ``"1.10"`` from a variable stays a text: nothing is parsed a second time). Any other text gives a string. What
a value holds is never taken for a template.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import jinja2
from jinja2 import meta, nodes

from provision.errors import ConfigError, Position
from provision.template.environment import FAILURES, text_environment

Scope = Mapping[str, Any]
_RESULT = "__result__"


@dataclass(frozen=True, slots=True)
class Reference:
    """A name that an expression uses, with the attribute path read from it: ``('image', 'id')`` for ``image.id``.

    ``optional`` where its absence is provided for: ``x is defined``, ``x | default(1)``.
    """

    path: tuple[str, ...]
    optional: bool = False

    @property
    def name(self) -> str:
        return self.path[0]

    def __str__(self) -> str:
        return ".".join(self.path)


def is_template(value: object) -> bool:
    """Whether ``value`` is a text that holds Jinja."""
    return isinstance(value, str) and ("{{" in value or "{%" in value or "{#" in value)


def evaluate(text: str, scope: Scope, *, where: Position | None = None) -> Any:
    """The value of a text that may hold ``{{ … }}``. Raises ``ConfigError`` at ``where``."""
    if not is_template(text):
        return text
    return _run(_text(text, where), scope, text, where)


def evaluate_expression(expression: str, scope: Scope, *, where: Position | None = None) -> Any:
    """The value of a bare expression (a ``when``). Raises ``ConfigError`` at ``where``."""
    return _run(_expression(expression, where), scope, expression, where)


def evaluate_tree(
    value: Any, scope: Scope, *, where: Callable[[tuple[Any, ...]], Position | None] = lambda _: None
) -> Any:
    """``value`` (mappings, lists, scalars) with every text in it evaluated; ``where`` tells the place of a path
    in it.
    """
    return _tree(value, scope, where, ())


def _tree(value: Any, scope: Scope, where: Callable[[tuple[Any, ...]], Position | None], path: tuple[Any, ...]) -> Any:
    if isinstance(value, Mapping):
        return {key: _tree(item, scope, where, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_tree(item, scope, where, (*path, index)) for index, item in enumerate(value)]
    return evaluate(value, scope, where=where(path)) if is_template(value) else value


def names(text: str, *, bare: bool = False, where: Position | None = None) -> tuple[Reference, ...]:
    """What a text (or with ``bare`` an expression) refers to, in order, without repetition.

    Also the check of its syntax, filters and tests: raises ``ConfigError`` at ``where``.
    """
    return (_expression if bare else _text)(text, where).references


# ---- compiling


@dataclass(frozen=True, slots=True)
class _Compiled:
    template: jinja2.Template
    references: tuple[Reference, ...]
    typed: bool


def _text(text: str, where: Position | None) -> _Compiled:
    try:
        return _compile_text(text)
    except jinja2.TemplateSyntaxError as error:
        raise _syntax(error, text, where) from error


def _expression(text: str, where: Position | None) -> _Compiled:
    try:
        return _compile_expression(text)
    except jinja2.TemplateSyntaxError as error:
        raise _syntax(error, text, where) from error


@lru_cache(maxsize=4096)
def _compile_text(text: str) -> _Compiled:
    tree = text_environment().parse(text)
    expression = _only_expression(tree)
    return _typed(expression) if expression else _compiled(tree, typed=False)


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    if len(tree.body) == 1 and isinstance(tree.body[0], nodes.Output) and len(tree.body[0].nodes) == 1:
        only = tree.body[0].nodes[0]
        return None if isinstance(only, nodes.TemplateData) else only
    return None


@lru_cache(maxsize=4096)
def _compile_expression(text: str) -> _Compiled:
    if is_template(text):
        raise jinja2.TemplateSyntaxError("an expression stands here without {{ }}", 1)
    expression = _only_expression(text_environment().parse("{{" + text + "\n}}"))
    if expression is None:
        raise jinja2.TemplateSyntaxError("one expression is expected here", 1)
    return _typed(expression)


def _typed(expression: nodes.Expr) -> _Compiled:
    assign = nodes.Assign(nodes.Name(_RESULT, "store", lineno=1), expression, lineno=1)
    return _compiled(nodes.Template([assign], lineno=1), typed=True)


def _compiled(tree: nodes.Template, *, typed: bool) -> _Compiled:
    environment = text_environment()
    tree.set_environment(environment)
    return _Compiled(environment.from_string(tree), tuple(dict.fromkeys(_references(tree))), typed)


def _references(tree: nodes.Template) -> Iterator[Reference]:
    free = meta.find_undeclared_variables(tree)
    for reference in _walk(tree, optional=False):
        if reference.name in free:
            yield reference


def _walk(node: nodes.Node, *, optional: bool) -> Iterator[Reference]:
    path = _path(node)
    if path:
        yield Reference(path, optional)
        return
    guarded = _guarded(node)
    for child in node.iter_child_nodes():
        yield from _walk(child, optional=child is guarded)


def _path(node: nodes.Node) -> tuple[str, ...] | None:
    """The names of ``a.b['c']``; None for what is no such chain. A computed index ends the path."""
    if isinstance(node, nodes.Name):
        return (node.name,) if node.ctx == "load" else None
    step = _step(node)
    if step is None or not isinstance(node, nodes.Getattr | nodes.Getitem):
        return None
    above = _path(node.node)
    return (*above, step) if above else None


def _step(node: nodes.Node) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
        return node.arg.value
    return None


def _guarded(node: nodes.Node) -> nodes.Node | None:
    """The operand whose absence ``node`` provides for."""
    if isinstance(node, nodes.Filter) and node.name in ("default", "d"):
        return node.node
    if isinstance(node, nodes.Test) and node.name in ("defined", "undefined"):
        return node.node
    return None


# ---- running


def _run(compiled: _Compiled, scope: Scope, text: str, where: Position | None) -> Any:
    try:
        # shared: the scope itself is looked up, name by name; a copy would compute every lazy value in it. Jinja's
        # annotation says dict, its code only reads a mapping.
        context = compiled.template.new_context(scope, shared=True)  # type: ignore[arg-type]
        parts = list(compiled.template.root_render_func(context))
        value = context.vars[_RESULT] if compiled.typed else "".join(parts)
        if isinstance(value, jinja2.Undefined):
            value._fail_with_undefined_error()
    except ConfigError as error:
        raise error if error.where else ConfigError(error.message, where=where, hint=error.hint) from error
    except FAILURES as error:
        raise _failure(error, compiled.references, scope, text, where) from error
    return value


def _failure(
    error: Exception, references: Iterable[Reference], scope: Scope, text: str, where: Position | None
) -> ConfigError:
    unknown = [reference.name for reference in references if reference.name not in scope]
    if isinstance(error, jinja2.UndefinedError) and unknown:
        return ConfigError(
            f"{text.strip()!r}: {unknown[0]!r} is not defined", where=where, hint=_close(unknown[0], scope)
        )
    return ConfigError(f"{text.strip()!r}: {error}", where=where)


def _close(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"did you mean {close[0]!r}?" if close else ""


def _syntax(error: jinja2.TemplateSyntaxError, text: str, where: Position | None) -> ConfigError:
    return ConfigError(f"{text.strip()!r}: {error.message}", where=where, hint=_syntax_hint(error))


def _syntax_hint(error: jinja2.TemplateSyntaxError) -> str:
    message = error.message or ""
    for kind, known in (("filter", text_environment().filters), ("test", text_environment().tests)):
        if message.startswith(f"No {kind} named"):
            return _close(message.split("'")[1], known) or f"{kind}s: {', '.join(sorted(known))}"
    return ""
