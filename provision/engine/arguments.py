"""Modules' arguments: checked when a playbook is loaded as far as they are known, and again, whole, when they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from provision.errors import ConfigError, Position
from provision.registry import did_you_mean
from provision.template.environment import FAILURES, shell_environment
from provision.template.expression import evaluate_tree, is_template
from provision.yamlio import Node

if TYPE_CHECKING:
    from provision.engine.grammar import Task
    from provision.modules.base import ModuleArgs, ModuleSpec

Names = Mapping[str, object]


def templated(node: Node) -> bool:
    """Whether anything in ``node`` must be rendered before it is known."""
    return any(is_template(part.data) for part in node.walk())


def render(node: Node, names: Names) -> Any:
    """``node`` with its templates evaluated. Raises ``ConfigError`` with the place, ``Unknown`` in a plan."""
    return evaluate_tree(node.data, names, where=node.where)


def arguments(task: Task, names: Names) -> ModuleArgs:
    """The task's arguments, rendered and validated. Raises ``ConfigError`` with the place, ``Unknown`` in a plan."""
    if task.static is not None:
        return task.static
    fields = task.module.Args.model_fields
    values = {name: _rendered(node, fields.get(name), names) for name, node in task.args.items()}
    try:
        return task.module.Args.model_validate(values)
    except ValidationError as error:
        raise _first(_errors(error, task.module, task.args, task.where)) from error


def _rendered(node: Node, field: FieldInfo | None, names: Names) -> Any:
    if is_shell(field) and is_template(node.data):
        return _shell_text(node, names)
    return render(node, names)


def is_shell(field: FieldInfo | None) -> bool:
    """Whether a field holds shell text: templates in it quote every value unless ``| raw``."""
    extra = field.json_schema_extra if field else None
    return isinstance(extra, dict) and extra.get("shell") is True


def _shell_text(node: Node, names: Names) -> str:
    try:
        return shell_environment().from_string(node.data).render(dict(names))
    except ConfigError as error:
        raise ConfigError(error.message, where=node.position, hint=error.hint) from error
    except FAILURES as error:
        raise ConfigError(f"{node.data.strip()!r}: {error}", where=node.position) from error


def check(module: ModuleSpec, args: Mapping[str, Node], where: Position) -> tuple[ModuleArgs | None, list[ConfigError]]:
    """What can be said before anything is rendered: the validated arguments where all are plain, and what is wrong."""
    unrendered = {name for name, node in args.items() if templated(node)}
    unknown = [
        _unknown(module, name, args[name].position) for name in unrendered if name not in module.Args.model_fields
    ]
    try:
        static = module.Args.model_validate({name: node.data for name, node in args.items() if name not in unrendered})
    except ValidationError as error:
        return None, [*unknown, *_errors(error, module, args, where, unrendered)]
    return None if unrendered else static, unknown


def _errors(
    error: ValidationError,
    module: ModuleSpec,
    args: Mapping[str, Node],
    where: Position,
    ignored: set[str] | None = None,
) -> list[ConfigError]:
    """Pydantic's errors in our words; none about ``ignored`` arguments, nor, where there are any, about the whole."""
    found = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        place = [step for step in item["loc"] if isinstance(step, str | int)]
        if ignored and (not place or place[0] in ignored):
            continue
        found.append(_error(item["type"], item["msg"], place, module, args, where))
    return found


def _error(
    kind: str, message: str, place: Sequence[str | int], module: ModuleSpec, args: Mapping[str, Node], where: Position
) -> ConfigError:
    name = ".".join(str(step) for step in place)
    if kind == "missing":
        return ConfigError(f"{module.name} needs the argument {name!r}", where=where, hint=_help(module, place))
    node = args.get(str(place[0])) if place else None
    position = node.where(place[1:]) if node else where
    if kind == "extra_forbidden" and len(place) == 1:
        return _unknown(module, name, position)
    subject = f"{module.name}: {name}" if name else module.name
    return ConfigError(f"{subject}: {message[:1].lower()}{message[1:]}", where=position, hint=_help(module, place))


def _unknown(module: ModuleSpec, name: str, where: Position) -> ConfigError:
    return ConfigError(
        f"{module.name} has no argument {name!r}", where=where, hint=did_you_mean(name, module.Args.model_fields)
    )


def _help(module: ModuleSpec, place: Sequence[str | int]) -> str:
    field = module.Args.model_fields.get(str(place[0])) if place else None
    return f"{place[0]}: {field.description}" if field and field.description else ""


def _first(errors: Sequence[ConfigError]) -> ConfigError:
    first = errors[0]
    return ConfigError(first.message, hint=first.hint, where=first.where, others=errors[1:])
