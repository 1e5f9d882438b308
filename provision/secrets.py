"""Secrets: values that may be used but never shown.

A secret is written in an inventory as ``{env: NAME}``, ``{file: PATH}`` or ``{command: …}`` and resolved on the
controller when first used. Its value is known to the redactor from then on, so no event, log or run directory holds it,
in the forms that quoting for sh and JSON, URLs and base64 give it either. What nobody told this program, and looks like
a secret all the same, is masked by ``redaction``: ``redact`` does both, and everything that is written passes it.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from provision import redaction
from provision.errors import UsageError
from provision.redaction import MASK as MASK

_COMMAND_DEADLINE = 60.0
_KINDS = ("env", "file", "command")
_SHORTEST = 4
"""Shorter ones aren't masked: every text would be full of masks."""

_LONG = 8
"""From here on also as URLs and base64 write it: a piece of base64 of a shorter one may stand anywhere."""

_one_command = Lock()
_one_writer = Lock()
_revealed: set[str] = set()
_masked: tuple[bytes, ...] = ()
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
    """Mask ``value`` from now on: whole, each of its lines, and as sh, JSON, URLs and base64 write it."""
    global _masked
    if value in _revealed:
        return
    forms = {value, *value.splitlines()}
    forms |= {form.replace("'", "'\\''") for form in forms}
    forms |= {json.dumps(form, ensure_ascii=ascii)[1:-1] for form in forms for ascii in (True, False)}
    forms |= {encoded for form in (value, *value.splitlines()) if len(form) >= _LONG for encoded in _encoded(form)}
    with _one_writer:
        new = (form.encode("utf-8", "surrogateescape") for form in forms if len(form) >= _SHORTEST)
        _masked = tuple(sorted({*_masked, *new}, key=len, reverse=True))
        _revealed.add(value)


def know(environment: Mapping[str, object]) -> None:
    """Mask from now on what an inventory says openly under the name of a secret: whoever logs it may not name it."""
    for name, value in environment.items():
        if redaction.is_secret(name, str(value)):
            _remember(str(value))


def _encoded(value: str) -> Iterator[str]:
    """``value`` as URLs write it, and what base64 makes of it wherever it stands in what is encoded: of the three
    places in a group of three bytes, the characters that depend on nothing else."""
    data = value.encode("utf-8", "surrogateescape")
    for encoded in (quote(data, safe=""), quote(data), quote_plus(data)):
        yield encoded
        yield re.sub("%..", lambda found: found[0].lower(), encoded)
    for before in range(3):
        text = b64encode(bytes(before) + data).decode()
        own = text[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
        yield own
        yield own.translate(str.maketrans("+/", "-_"))


def redact(text: str) -> str:
    """``text`` without secrets: those that have been revealed so far, and what looks like one."""
    data = text.encode("utf-8", "surrogatepass")
    clean = redact_bytes(data)
    return text if clean is data else clean.decode("utf-8", "surrogatepass")


def redact_bytes(data: bytes) -> bytes:
    """``redact`` for whole lines of bytes, of any size. The same object where there is nothing to mask."""
    clean = data
    for value in _masked:
        if value in clean:
            clean = clean.replace(value, MASK.encode())
    return redaction.masked(clean)


def redact_data(value: object) -> object:
    """Data (mappings, lists, tuples, dataclasses, texts) with its texts redacted: by what they are, by the key that
    they stand under, and by the option before them in a list of arguments. Its shape stays, so it is JSON as before."""
    if isinstance(value, str):
        return redact(_ENCODED.sub(_within, value))  # a mask within base64 would hide what else is in it
    if isinstance(value, Mapping):
        return {key: _under(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        before = ("", *value[:-1])
        items = [_after(last, item) for last, item in zip(before, value, strict=True)] if value else []
        return items if isinstance(value, list) else tuple(items)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{item.name: redact_data(getattr(value, item.name)) for item in fields(value)})
    return value


def _under(key: str, value: object) -> object:
    if isinstance(value, str) and redaction.is_secret(key, value):
        return MASK
    return redact_data(value)


_ENCODED = re.compile(r"(?<![A-Za-z0-9+/])(?:[A-Za-z0-9+/]{60,}\r?\n)*[A-Za-z0-9+/]{24,}={0,2}")
"""What may be base64, in one line or in many: files travel so to and from nodes."""


def _within(found: re.Match[str]) -> str:
    """Base64 with what it says redacted; as it was where it says nothing to hide, or is none."""
    text = found[0]
    try:
        data = b64decode("".join(text.split()), validate=True)
    except ValueError:
        return text
    clean = redact_bytes(data)
    return text if clean is data else b64encode(clean).decode()


def _after(before: object, value: object) -> object:
    if isinstance(value, str) and isinstance(before, str) and before.startswith("--"):
        return _under(before, value)
    return redact_data(value)


def redacted_inventory(text: str) -> str:
    """An inventory as others may see it: structure and comments are kept, values of secrets masked. A text that is no
    YAML is redacted as any other."""
    from provision.redacted_yaml import redacted_yaml

    return redacted_yaml(text)
