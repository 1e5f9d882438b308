"""YAML that every reader takes the same way, and people can read.

Compose reads YAML 1.2 and Kubernetes 1.1, each by rules of its own on what is a number: so every string that is more
than a plain word is quoted, and scripts are literal blocks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from provision.errors import ConfigError

if TYPE_CHECKING:
    import yaml

Value = str | int | bool | Sequence["Value"] | dict[str, "Value"]

_PLAIN = re.compile(r"[A-Za-z/.][A-Za-z0-9_/.+@-]*[A-Za-z0-9_/]\Z")
_SPECIAL = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})
_LINES = re.compile(r"[^\s\x00-\x1f](?:[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff])*\n\Z")


def dump(header: Sequence[str], documents: Sequence[dict[str, Value]]) -> str:
    """The documents below a header of comment lines. Raises ``ConfigError`` for a NUL, which no command line or
    environment can hold."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Lists are indented below their key."""

        def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
            super().increase_indent(flow, False)

        def analyze_scalar(self, scalar: Any) -> Any:
            """Tabs are no reason against a literal block: YAML forbids them in its own indentation only."""
            analysis = super().analyze_scalar(scalar.replace("\t", " ") if _is_block(scalar) else scalar)
            analysis.scalar = scalar
            return analysis

        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_representer(str, _string)
    texts = [yaml.dump(each, Dumper=Dumper, sort_keys=False, width=10_000, allow_unicode=True) for each in documents]
    return "".join(f"{('# ' + line).rstrip()}\n" for line in header) + "---\n".join(texts)


def _is_block(text: str) -> bool:
    return bool(_LINES.match(text)) and "\n" in text[:-1] and not re.search(r"[ \t]\n", text)


def _string(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if "\0" in text:
        raise ConfigError("a command line or a variable holds a NUL character, which no container can be given")
    if _is_block(text):
        style = "|"
    elif _PLAIN.match(text) and text.lower() not in _SPECIAL:
        style = ""
    else:
        style = "'" if text.isprintable() else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style or None)
