"""Which names an expression may use at its place in a playbook, so that a typo is found before the first connection."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from provision.engine.grammar import Header
from provision.engine.scope import RESERVED
from provision.errors import ConfigError
from provision.inventory.model import Inventory, Settings
from provision.registry import did_you_mean
from provision.template.expression import Reference, is_template, names
from provision.yamlio import Node

FAILURE_FIELDS = ("message", "hint", "task", "node")
_ALWAYS = RESERVED - {"item", "failure"}


@dataclass(slots=True)
class Known:
    """Names at a place: ``variables`` of the play, ``registered`` so far, ``inventory`` where one is given.

    Without an inventory (``lint`` of a playbook alone) its variables are not known: a name that may be one is let
    pass, unless it is close to a name that is known.
    """

    header: Header
    inventory: Inventory | None
    registered: set[str]
    variables: set[str] = field(default_factory=set)
    item: bool = False
    failure: bool = False

    def within(self, *, item: bool = False, failure: bool = False) -> Known:
        """The names further in, where there also is an ``item`` or a ``failure``."""
        return Known(
            self.header,
            self.inventory,
            self.registered,
            self.variables,
            item or self.item,
            failure or self.failure,
        )

    def check(self, node: Node, errors: list[ConfigError]) -> None:
        """Check every template in ``node``: syntax, names, attribute paths."""
        for part in node.walk():
            if is_template(part.data):
                self._check(part, bare=False, errors=errors)

    def check_condition(self, node: Node, errors: list[ConfigError]) -> None:
        """Check a condition: an expression without braces, true or false, or a list of such."""
        for part in node.children.values() if isinstance(node.data, list) else [node]:
            if isinstance(part.data, str):
                self._check(part, bare=True, errors=errors)
            elif not isinstance(part.data, bool):
                errors.append(part.error("a condition is an expression, without braces", hint="when: params.pull"))

    def _check(self, node: Node, *, bare: bool, errors: list[ConfigError]) -> None:
        try:
            references = names(node.data, bare=bare, where=node.position)
        except ConfigError as error:
            errors.append(error)
            return
        errors += self._wrong(references, node)

    def _wrong(self, references: Iterable[Reference], node: Node) -> Iterator[ConfigError]:
        for reference in references:
            if reference.optional:
                continue
            hint = self._wrong_name(reference.name)
            if hint is not None:
                yield node.error(f"{reference.name!r} is not defined here", hint=hint)
                continue
            problem = self._wrong_path(reference.path)
            if problem:
                yield node.error(problem[0], hint=problem[1])

    # ---- names

    def names(self) -> set[str]:
        """All names that are known here."""
        more = {name for name, there in (("item", self.item), ("failure", self.failure)) if there}
        hosts = self.inventory.hosts if self.inventory else ()
        return {
            *_ALWAYS,
            *more,
            *self.variables,
            *self.registered,
            *(name for host in hosts for name in host.variables),
        }

    def _wrong_name(self, name: str) -> str | None:
        """None where the name may be used, else what to do about it."""
        known = self.names()
        if name in known:
            return None
        if name in RESERVED:
            return "item: only where there is a loop; failure: only in rescue"
        if name in {param.name for param in self.header.params}:
            return f"a parameter is params.{name}"
        hint = did_you_mean(name, known)
        unsure = self.inventory is None and not hint.startswith("did you mean")
        return None if unsure else hint

    # ---- paths

    def _wrong_path(self, path: tuple[str, ...]) -> tuple[str, str] | None:
        if len(path) < 2:
            return None
        match path[0]:
            case "params":
                return _wrong_member("params", path[1], [param.name for param in self.header.params])
            case "qnext":
                return _wrong_setting(path[1:])
            case "groups" if self.inventory:
                return _wrong_member("groups", path[1], self.inventory.groups)
            case "failure" if "failure" not in self.registered:
                return _wrong_member("failure", path[1], FAILURE_FIELDS)
        return None


def _wrong_member(above: str, name: str, known: Iterable[str]) -> tuple[str, str] | None:
    known = list(known)
    return None if name in known else (f"{above} has no {name!r}", did_you_mean(name, known))


def _wrong_setting(path: tuple[str, ...]) -> tuple[str, str] | None:
    """Walk the models of ``qnext`` as far as they are models."""
    model: type[BaseModel] = Settings
    for depth, name in enumerate(path):
        wrong = _wrong_member(".".join(("qnext", *path[:depth])), name, model.model_fields)
        if wrong:
            return wrong
        inner = _model_in(model.model_fields[name].annotation)
        if inner is None:
            return None
        model = inner
    return None


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, if it holds one: ``X`` or ``X | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        models = [_model_in(part) for part in typing.get_args(annotation) if part is not type(None)]
        return models[0] if len(models) == 1 else None
    return None


def reserved(names: Mapping[str, object], what: str, node: Node) -> Iterator[ConfigError]:
    """An error for each name that the engine gives itself."""
    for name in names:
        if name in RESERVED:
            yield node.error(f"{what} cannot be named {name!r}: that name is given", [name], key=True)
        elif not str(name).isidentifier():
            yield node.error(f"{what} {str(name)!r} is no name", [name], key=True, hint="letters, digits and _")
