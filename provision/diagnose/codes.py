"""What the codes of HCCL, CANN, the driver, torch_npu and the NPUs' event log mean.

It is data (``catalogue/codes.yaml``): families of codes, each with a pattern of what its codes look like, and in each
the codes that are known. A code of a family that is not listed is still told apart: what part of the software speaks,
and what to do about it. Numbers that mean something only with their kind bear it: ``hccl-9``, ``drv-87``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FILE = Path(__file__).parent / "catalogue" / "codes.yaml"


@dataclass(frozen=True, slots=True)
class Code:
    """One code. ``name`` is its maker's, or "" where it has none; ``shown`` is how lines show it. ``known``: it is
    listed; else ``meaning`` and ``remedy`` are its family's."""

    code: str
    name: str
    meaning: str
    remedy: str
    source: str
    family: str
    known: bool = True

    @property
    def shown(self) -> str:
        kind, _, number = self.code.partition("-")
        return number if kind and number else self.code


@dataclass(frozen=True, slots=True)
class Family:
    """Codes of one maker. ``example``: a line with one of them, where ``%s`` stands for it."""

    name: str
    pattern: re.Pattern[str]
    meaning: str
    remedy: str
    source: str
    example: str
    codes: Mapping[str, Mapping[str, str]]


@cache
def families() -> tuple[Family, ...]:
    """All families, in the order in which a code is looked for."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loaded: list[dict[str, Any]] = yaml.load(_FILE.read_text(encoding="utf-8"), loader)
    return tuple(_family(raw) for raw in loaded)


def lookup(text: str) -> Code | None:
    """What a code means, however it is written (``ei0006``, ``HCCL 9``, ``8005``); None where it is no code."""
    spelled = _spelled(text)
    return next((_code(family, spelled) for family in families() if family.pattern.fullmatch(spelled)), None)


def codes() -> tuple[Code, ...]:
    """Every code that is listed."""
    return tuple(_code(family, code) for family in families() for code in family.codes)


def example(code: Code) -> str:
    """A line in which this code is met."""
    family = next(family for family in families() if family.name == code.family)
    return family.example.replace("%s", code.shown)


def _spelled(text: str) -> str:
    """A code as the families write it: kinds in small letters, other letters large, DCMI's numbers negative."""
    word = "-".join(text.split()) if not text.startswith("-") else text.strip()
    kind, dash, number = word.partition("-")
    if dash and kind:
        return f"{kind.lower()}-{number}" if number.isdigit() else word
    if word.isdigit() and len(word) == 4:
        return f"-{word}"
    return f"0x{word[2:].upper()}" if word.lower().startswith("0x") else word.upper()


def _code(family: Family, spelled: str) -> Code:
    listed = family.codes.get(spelled)
    told = listed or {}
    return Code(
        spelled,
        told.get("name", ""),
        told.get("meaning", family.meaning),
        told.get("remedy", family.remedy),
        told.get("source", family.source),
        family.name,
        known=listed is not None,
    )


def _family(raw: dict[str, Any]) -> Family:
    codes = {str(code): told for code, told in raw["codes"].items()}
    return Family(**{**raw, "pattern": re.compile(str(raw["pattern"])), "codes": codes})
