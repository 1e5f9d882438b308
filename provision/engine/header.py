"""What a playbook says of itself, read without loading what runs it: its subcommand's help and options.

Nothing heavy is imported here: ``--help`` reads every playbook's header.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from provision import yamlio
from provision.engine.grammar import FILE_WORDS, PARAM_TYPES, PARAM_WORDS, Header, Param
from provision.engine.reading import Reading
from provision.errors import ConfigError, UsageError
from provision.registry import did_you_mean
from provision.yamlio import Node

SUFFIX = ".yaml"


def playbooks(folders: Sequence[Path]) -> dict[str, Path]:
    """The playbooks of these folders by name; the first folder that has a name wins."""
    found: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            found.setdefault(path.stem, path)
    return found


def read_header(path: Path) -> Header:
    """A playbook's header. Raises ``ConfigError``; ``others`` holds further errors of the header."""
    reading = Reading()
    header = header_of(yamlio.load(path), path, reading)
    if reading.errors:
        raise together(reading.errors)
    return header


def header_of(node: Node, path: Path, reading: Reading) -> Header:
    """The header of a playbook file; what is wrong with it goes to ``reading.errors``."""
    reading.words_of(node, FILE_WORDS, "a playbook")
    summary = reading.text(node, "summary")
    if not summary:
        reading.errors.append(node.error("a playbook needs a summary", hint="summary: one line, shown in --help"))
    stop = reading.choice(node, "unreachable", ("stop", "continue"), "stop") == "stop"
    params, preview = tuple(_params(node, reading)), reading.text(node, "preview")
    if preview and not any(param.name == preview and param.type == "bool" for param in params):
        hint = "preview names a param of type bool that asks for changes"
        reading.errors.append(node.error(f"there is no flag {preview!r} among the params", ["preview"], hint=hint))
    return Header(
        name=path.stem,
        path=path,
        summary=summary,
        doc=_comment(path),
        params=params,
        confirm=reading.flag(node, "confirm"),
        preview=preview,
        lint=reading.flag(node, "lint"),
        whole=reading.flag(node, "whole"),
        evidence=reading.flag(node, "evidence"),
        unreachable="stop" if stop else "continue",
    )


def together(errors: Sequence[ConfigError]) -> ConfigError:
    """The first error, carrying all others."""
    first = errors[0]
    return ConfigError(first.message, hint=first.hint, where=first.where, others=[*first.others, *errors[1:]])


def _comment(path: Path) -> str:
    """The comment at the top of the file: the longer help."""
    lines = []
    for line in yamlio.read_text(path).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("#").removeprefix(" "))
    return "\n".join(lines).strip()


# ---- parameters


def _params(node: Node, reading: Reading) -> Iterator[Param]:
    for name, child in reading.mapping(node, "params").items():
        if not name.isidentifier():
            hint = "letters, digits and _; the command line writes - for _"
            reading.errors.append(
                node.error(f"the parameter {name!r} is no name", ["params", name], key=True, hint=hint)
            )
        elif not isinstance(child.data, dict):
            reading.errors.append(child.error(f"the parameter {name!r} is a mapping: {{type, default, help}}"))
        else:
            yield _param(name, child, reading)


def _param(name: str, node: Node, reading: Reading) -> Param:
    reading.words_of(node, PARAM_WORDS, "a parameter")
    kind = reading.choice(node, "type", PARAM_TYPES, "string")
    param = Param(
        name=name,
        type=next(known for known in PARAM_TYPES if known == kind),
        default=node.data.get("default"),
        help=reading.text(node, "help"),
        choices=tuple(str(choice.data) for choice in reading.list(node, "choices")),
        required=reading.flag(node, "required"),
        where=node.position,
        of=reading.choice(node, "of", ("", "check"), ""),
        min=_least(name, kind, node, reading),
    )
    reading.errors += _wrong_default(param, node)
    return param


def _least(name: str, kind: str, node: Node, reading: Reading) -> float | None:
    least = node.data.get("min")
    if least is None or (kind in ("int", "float") and isinstance(least, int | float) and not isinstance(least, bool)):
        return least
    hint = "min: 1, for a parameter of type int or float"
    reading.errors.append(node.error(f"min of {name!r} is no number, or its type has none", ["min"], hint=hint))
    return None


def _wrong_default(param: Param, node: Node) -> Iterator[ConfigError]:
    if param.type == "choice" and not param.choices:
        yield node.error(f"the choice {param.name!r} has no choices", hint="choices: [one, other]")
    elif param.default is not None:
        try:
            value_of(param, param.default)
        except UsageError as error:
            yield node.error(error.message, ["default"], hint=error.hint)


# ---- their values


def resolve_params(header: Header, given: Mapping[str, object]) -> dict[str, object]:
    """Every parameter's value: given, or its default (None where it has none). Raises ``UsageError``."""
    known = {param.name: param for param in header.params}
    for name in given:
        if name not in known:
            raise UsageError(f"{header.name} has no parameter {name!r}", hint=did_you_mean(name, known))
    return {param.name: _resolved(param, given.get(param.name), header) for param in header.params}


def _resolved(param: Param, given: object, header: Header) -> object:
    if given is not None:
        return value_of(param, given)
    if param.required and param.default is None:
        option = param.name.replace("_", "-")
        raise UsageError(f"{header.name} needs {param.name}", hint=f"--{option}: {param.help}")
    return None if param.default is None else value_of(param, param.default)


def value_of(param: Param, given: object) -> object:
    """``given`` as the parameter's type; texts from a command line are converted. Raises ``UsageError``."""
    try:
        value = _converted(param, given)
    except (TypeError, ValueError, KeyError):
        kind = _TYPES_IN_WORDS.get(param.type, "a text")
        raise UsageError(f"{param.name} takes {kind}, not {yamlio.describe(given)}", hint=param.help) from None
    parts = value if isinstance(value, list) else [value]
    if param.choices and any(str(part) not in param.choices for part in parts):
        hint = did_you_mean(str(value), param.choices)
        raise UsageError(f"{param.name} is one of {', '.join(param.choices)}, not {value}", hint=hint)
    if param.min is not None and isinstance(value, int | float) and not value >= param.min:
        raise UsageError(f"{param.name} takes {param.min:g} or more, not {yamlio.describe(given)}", hint=param.help)
    return value


def _converted(param: Param, given: object) -> object:
    """Raises ``TypeError`` or ``ValueError`` for what is no value of the type."""
    if param.type == "list":
        return given.split(",") if isinstance(given, str) else _as_list(given)
    if param.type == "bool":
        return {"true": True, "false": False}[str(given).lower()]
    if isinstance(given, bool | list | tuple | dict):
        raise TypeError(given)
    if param.type == "int":
        return int(str(given), 10)
    return float(str(given)) if param.type == "float" else str(given)


def _as_list(given: object) -> list[object]:
    if isinstance(given, list | tuple):
        return list(given)
    raise TypeError(given)


_TYPES_IN_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "list": "a list"}
