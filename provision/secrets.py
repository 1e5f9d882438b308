"""Secrets: values that may be used but never shown.

A secret is written in an inventory as ``{env: NAME}``, ``{file: PATH}`` or ``{command: …}`` and resolved on the
controller when first used. Its value is known to the redactor from then on, so no event, log or run directory holds it,
in the forms that quoting for sh and JSON give it either.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from provision.errors import UsageError

MASK = "********"
_COMMAND_DEADLINE = 60.0
_KINDS = ("env", "file", "command")
_SHORTEST = 4
"""Shorter ones aren't masked: every text would be full of masks."""

_one_command = Lock()
_one_writer = Lock()
_revealed: set[str] = set()
_masked: tuple[str, ...] = ()
"""All that ``redact`` masks, the longest first."""


class Secret:
    """A reference to a secret, or a literal one. ``str()`` shows a mask; ``reveal()`` gives the value."""

    __slots__ = ("_kind", "_ref")

    def __init__(self, kind: str, ref: str) -> None:
        self._kind = kind
        self._ref = ref
        if kind == "literal":
            _remember(ref)

    @classmethod
    def of(cls, value: object) -> Secret:
        """From an inventory's value: a string, or a mapping with exactly one of env, file, command."""
        if isinstance(value, Secret):
            return value
        if isinstance(value, str):
            return cls("literal", value)
        if isinstance(value, dict) and len(value) == 1:
            kind, ref = next(iter(value.items()))
            if kind in _KINDS and isinstance(ref, str):
                return cls(kind, ref)
        raise ValueError("a text, {env: NAME}, {file: PATH} or {command: COMMAND LINE}")

    def reveal(self) -> str:
        """The value. Raises ``UsageError`` naming the reference, never the value."""
        value = self._resolve()
        _remember(value)
        return value

    def _resolve(self) -> str:
        if self._kind == "literal":
            return self._ref
        if self._kind == "env":
            return _from_environment(self._ref)
        if self._kind == "file":
            return _from_file(self._ref)
        with _one_command:  # hosts are many, and connect at the same time; the command runs once
            return _from_command(self._ref)

    def __repr__(self) -> str:
        return f"Secret({MASK if self._kind == 'literal' else f'{self._kind}: {self._ref}'})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._kind, self._ref) == (other._kind, other._ref)

    def __hash__(self) -> int:
        return hash((self._kind, self._ref))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.of, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        reference = {kind: {"type": "string"} for kind in _KINDS}
        return {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": reference,
                    "minProperties": 1,
                    "maxProperties": 1,
                    "additionalProperties": False,
                },
            ]
        }


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise UsageError(f"secret {{env: {name}}}: not set", hint=f"export {name}=…")
    return os.environ[name]


def _from_file(path: str) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8").rstrip("\n")
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"secret {{file: {path}}}: {reason}", hint="the file lies on this machine") from None
    except ValueError:  # the decoder's message would show a part of it
        raise UsageError(f"secret {{file: {path}}}: this is not UTF-8 text") from None


@cache
def _from_command(command: str) -> str:
    said = f"secret {{command: {command}}}"
    try:
        words = shlex.split(command)
        done = subprocess.run(
            words, capture_output=True, stdin=subprocess.DEVNULL, timeout=_COMMAND_DEADLINE, check=False
        )
    except subprocess.TimeoutExpired:
        raise UsageError(f"{said}: no answer within {_COMMAND_DEADLINE:.0f} s") from None
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(f"{said}: {error}", hint="it runs on this machine, without a shell") from None
    if done.returncode != 0:
        evidence = done.stderr.decode("utf-8", "replace")
        raise UsageError(f"{said}: exit status {done.returncode}", evidence=evidence)
    try:
        return done.stdout.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError:
        raise UsageError(f"{said}: its answer is not UTF-8 text") from None


def _remember(value: str) -> None:
    """Mask ``value`` from now on: whole, each of its lines, and as sh and JSON write it."""
    global _masked
    if value in _revealed:
        return
    forms = {value, *value.splitlines()}
    forms |= {form.replace("'", "'\\''") for form in forms}
    forms |= {json.dumps(form, ensure_ascii=ascii)[1:-1] for form in forms for ascii in (True, False)}
    with _one_writer:
        known = {*_masked, *(form for form in forms if len(form) >= _SHORTEST)}
        _masked = tuple(sorted(known, key=len, reverse=True))
        _revealed.add(value)


def redact(text: str) -> str:
    """``text`` with every secret that has been revealed so far masked."""
    for value in _masked:
        text = text.replace(value, MASK)
    return text
