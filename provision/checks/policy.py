"""Whose judgement counts: which checks run, at which level, with which thresholds, and what is waived until when.

A check brings defaults; ``judge`` of the playbook's task is stronger; ``qnext.checks`` and ``qnext.waive`` of a host
are strongest. All three name checks by name or code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import lru_cache

from pydantic import ValidationError

from provision import clock, registry
from provision.checks.base import CheckArgs, CheckSpec, Finding, Level
from provision.errors import ConfigError, Position
from provision.inventory.model import Settings, Waiver

LAYOUT_CODES = (*(f"S{number:02d}" for number in range(1, 21)), *(f"T{number}" for number in range(4, 8)))
"""Codes of the layout's rules, which are findings of one check [domain 14.1]; T4 to T7 are of its topology."""

_CODE = re.compile(r"[a-z]\d+$")
"""Codes that look alike have nothing in common, so none is proposed for another."""

STRICTNESS: tuple[Level, ...] = ("off", "info", "warn", "fail")

Judgement = Mapping[str, object]
"""By a check's name or code: a level, or a mapping of ``level`` and thresholds."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which checks a run wants. Empty ``only``: all. Names and codes. ``quick``: without the thorough ones."""

    only: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    deep: bool = False
    judge: Judgement = field(default_factory=dict)
    quick: bool = False

    def wants(self, spec: CheckSpec) -> bool:
        """Whether the check is asked for; a deep trial, and a thorough check of a quick run, also where it is named."""
        only, skip = {_word(key) for key in self.only}, {_word(key) for key in self.skip}
        own = {spec.name, spec.code.lower()}
        if own & skip or (only and not own & only):
            return False
        left_out = (spec.deep and not self.deep) or (spec.thorough and self.quick)
        return not left_out or bool(own & only)


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's judgement on one host."""

    levels: Mapping[str, Level]
    thresholds: Mapping[str, Mapping[str, object]]
    waivers: Mapping[str, Waiver]

    def level(self, spec: CheckSpec, code: str = "") -> Level:
        """The worst that a finding of this check (and code) can be."""
        own = self.levels.get(spec.name, spec.level)
        return own if code in ("", spec.code) else self.levels.get(_subject(code), own)

    def is_on(self, spec: CheckSpec) -> bool:
        """Whether the check is not switched off."""
        return self.level(spec) != "off"

    def args(self, spec: CheckSpec) -> CheckArgs:
        """The check's thresholds. Raises ``ConfigError`` for a wrong one."""
        try:
            return spec.Args(**self.thresholds.get(spec.name, {}))
        except ValidationError as error:
            raise _wrong_threshold(spec, error) from None

    def judged(self, finding: Finding, spec: CheckSpec, node: str) -> Finding:
        """The finding with its check, node and level, waived where the operator waives it."""
        code = finding.code or spec.code
        level = min(self.level(spec, code), finding.level, key=STRICTNESS.index)
        filled = replace(finding, check=spec.name, code=code, node=finding.node or node, level=level)
        waiver = self.waivers.get(_subject(code)) or self.waivers.get(spec.name)
        return _waived(filled, waiver) if waiver and level in ("fail", "warn") else filled


def _waived(finding: Finding, waiver: Waiver) -> Finding:
    text = f"{finding.summary} {finding.observed}"
    if waiver.finding and waiver.finding not in text:
        return finding
    if waiver.until < today():
        summary = f"{finding.summary} (its waiver ended on {waiver.until}: {waiver.reason})"
        return replace(finding, summary=summary)
    return replace(finding, level="info", waived=f"{waiver.reason} (until {waiver.until})")


def policy(settings: Settings, judge: Judgement | None = None) -> Policy:
    """The judgement for a host. Raises ``ConfigError`` for an unknown check, level or threshold."""
    return _policy(_Key(judge or {}, settings.checks, settings.waive))


@dataclass(frozen=True)
class _Key:
    """What a policy is made from; hosts of a cluster mostly share it, and it is costly to make."""

    judge: Judgement
    checks: Mapping[str, object]
    waive: Mapping[str, Waiver]

    def __hash__(self) -> int:
        return hash(tuple(sorted((*self.judge, *self.checks, *self.waive))))


@lru_cache(maxsize=64)
def _policy(key: _Key) -> Policy:
    levels: dict[str, Level] = {}
    thresholds: dict[str, dict[str, object]] = {}
    for source, given in (("judge", key.judge), ("qnext.checks", key.checks)):
        for name, value in given.items():
            word = known_word(name, source)
            level, others = _parts(name, value, source)
            if level is not None:
                levels[word] = level
            if others:
                thresholds[word] = {**thresholds.get(word, {}), **others}
    made = Policy(levels, thresholds, {known_word(name, "qnext.waive"): w for name, w in key.waive.items()})
    for spec in registry.checks():
        if spec.name in thresholds:
            made.args(spec)
    return made


def _parts(name: str, value: object, source: str) -> tuple[Level | None, dict[str, object]]:
    """Level and thresholds of one entry."""
    if isinstance(value, Mapping):
        others = {str(key).replace("-", "_"): item for key, item in value.items() if key != "level"}
        return (_level(name, value["level"], source) if "level" in value else None), others
    return _level(name, value, source), {}


def _level(name: str, value: object, source: str) -> Level:
    for known in STRICTNESS:
        if value == known or (value is False and known == "off"):
            return known
    raise ConfigError(
        f"{source}.{name}: {value!r} is no level",
        hint=f"one of {', '.join(reversed(STRICTNESS))}, or a mapping of level and thresholds",
    )


def _wrong_threshold(spec: CheckSpec, error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    known = ", ".join(spec.Args.model_fields) or "none: it has no thresholds"
    message = "has no such threshold" if first["type"] == "extra_forbidden" else first["msg"]
    return ConfigError(f"qnext.checks.{spec.name}.{key}: {message}", hint=f"thresholds of {spec.name}: {known}")


def known_word(key: str, source: str = "qnext.checks", *, where: Position | None = None) -> str:
    """A check's name, or a layout rule's code in lower case, for a name or code in any spelling.

    Raises ``ConfigError`` with a did-you-mean for an unknown one.
    """
    known, word = _subjects(), _word(key)
    if word not in known:
        near = "" if _CODE.match(word) else registry.did_you_mean(word, known)
        hint = near if near.startswith("did") else "`qnext-provision explain check` lists names and codes"
        raise ConfigError(f"{source}: no check is named {key!r}", hint=hint, where=where)
    return known[word]


def require_known(keys: Iterable[str], source: str) -> None:
    """Raise ``ConfigError`` where one of these names no check."""
    for key in keys:
        known_word(key, source)


def _subjects() -> Mapping[str, str]:
    """What can be judged, by every word for it."""
    specs = registry.checks()
    for given, words in _latest:
        if given is specs:
            return words
    rules = {code.lower(): code.lower() for code in LAYOUT_CODES}
    checks = {word: spec.name for spec in specs for word in (spec.code.lower(), spec.name)}
    _latest[:] = [(specs, rules | checks)]
    return rules | checks


_latest: list[tuple[Sequence[CheckSpec], Mapping[str, str]]] = []
"""The words of the checks that there are: each name that a host's settings judge is looked up among them."""


def _subject(code: str) -> str:
    return _subjects().get(code.lower(), code.lower())


def _word(key: str) -> str:
    return key.replace("-", "_").lower()


def today() -> date:
    """The controller's date, by which waivers end."""
    return datetime.fromtimestamp(clock.now()).date()
