"""Secrets: values that may be used but never shown.

A secret is written in an inventory as ``{env: NAME}``, ``{file: PATH}`` or ``{command: …}`` and resolved on the
controller when first used. Its value is known to the redactor from then on, so no event, log or run directory holds it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from provision.errors import UsageError

MASK = "********"
_COMMAND_DEADLINE = 60.0
_KINDS = ("env", "file", "command")
_revealed: set[str] = set()


class Secret:
    """A reference to a secret, or a literal one. ``str()`` shows a mask; ``reveal()`` gives the value."""

    __slots__ = ("_kind", "_ref")

    def __init__(self, kind: str, ref: str) -> None:
        self._kind = kind
        self._ref = ref
        if kind == "literal" and ref:
            _revealed.add(ref)

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
        raise ValueError("a secret is a string, or one of {env: NAME}, {file: PATH}, {command: COMMAND LINE}")

    def reveal(self) -> str:
        """The value. Raises ``UsageError`` naming the reference, never the value."""
        value = self._resolve()
        if value:
            _revealed.add(value)
        return value

    def _resolve(self) -> str:
        if self._kind == "literal":
            return self._ref
        if self._kind == "env":
            if self._ref not in os.environ:
                raise UsageError(f"secret {{env: {self._ref}}}: not set", hint=f"export {self._ref}=…")
            return os.environ[self._ref]
        if self._kind == "file":
            try:
                return Path(self._ref).expanduser().read_text().rstrip("\n")
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"secret {{file: {self._ref}}}: {error}") from error
        try:
            done = subprocess.run(
                shlex.split(self._ref), capture_output=True, text=True, timeout=_COMMAND_DEADLINE, check=False
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"secret {{command: {self._ref}}}: {error}") from error
        if done.returncode != 0:
            raise UsageError(f"secret {{command: {self._ref}}}: exit status {done.returncode}", evidence=done.stderr)
        return done.stdout.rstrip("\n")

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
                {"type": "object", "properties": reference, "minProperties": 1, "maxProperties": 1, "additionalProperties": False},
            ]
        }


def redact(text: str) -> str:
    """``text`` with every secret that has been revealed so far masked."""
    for value in sorted(_revealed, key=len, reverse=True):
        if len(value) >= 4:
            text = text.replace(value, MASK)
    return text
