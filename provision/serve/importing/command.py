"""A ``vllm serve`` command line as data: the model, and every option with its values in order."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from provision.errors import ConfigError, Position
from provision.serve.argv import computed, normal
from provision.yamlio import resolve

_SHORT = {
    "tp": "tensor-parallel-size",
    "pp": "pipeline-parallel-size",
    "dp": "data-parallel-size",
    "dpl": "data-parallel-size-local",
    "dpn": "data-parallel-rank",
    "dpr": "data-parallel-start-rank",
    "dpa": "data-parallel-address",
    "dpp": "data-parallel-rpc-port",
    "dpb": "data-parallel-backend",
    "q": "quantization",
    "O": "compilation-config",
    "cc": "compilation-config",
    "ac": "attention-config",
    "n": "nnodes",
    "r": "node-rank",
    "asc": "api-server-count",
    "dcp": "decode-context-parallel-size",
    "pcp": "prefill-context-parallel-size",
    "ep": "enable-expert-parallel",
    "sc": "speculative-config",
}
"""Options of one dash [vllm serve --help]."""

_OPTION = re.compile(r"--?[A-Za-z][\w.-]*(=.*)?\Z", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Option:
    """``spelled`` as the recipe has it, without dashes. No value: a flag; several: each a word."""

    spelled: str
    values: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return normal(self.spelled)


@dataclass(frozen=True, slots=True)
class ServeCommand:
    """``model`` is empty where the command has none."""

    model: str
    options: tuple[Option, ...]
    where: Position

    def option(self, name: str) -> Option | None:
        """The option by its normal name, or an abbreviation that vLLM takes for it: the last, which counts."""
        return next((each for each in reversed(self.options) if name in (each.name, _full(each.name))), None)

    def has(self, name: str) -> bool:
        return self.option(name) is not None

    def text(self, name: str) -> str | None:
        """An option's first value."""
        found = self.option(name)
        return found.values[0] if found and found.values else None

    def number(self, name: str) -> int | None:
        """An option's value as a whole number; None where it isn't given. Raises ``ConfigError`` for anything else."""
        found = self.option(name)
        if found is None:
            return None
        text = found.values[0] if found.values else ""
        if not re.fullmatch(r"[0-9]{1,9}", text):
            raise ConfigError(
                f"--{found.spelled} {text}".rstrip() + ": not a whole number",
                where=self.where,
                hint="a variable that nothing here sets? write the number out",
            )
        return int(text)


def parse_serve(words: Sequence[str], where: Position, *, model: str = "") -> ServeCommand:
    """What stands after ``vllm serve``. ``model``: where it is known from elsewhere, and no word gives it."""
    options = list(_options(words))
    named = [option.values[0] for option in options if option.name in ("model", "") and option.values]
    kept = tuple(option for option in options if option.name not in ("model", ""))
    return ServeCommand(named[0] if named else model, kept, where)


def _options(words: Sequence[str]) -> Iterator[Option]:
    """Options with the words that follow them; words before the first under an empty name."""
    name, values = "", list[str]()
    for word in words:
        if not _OPTION.match(word):
            values.append(word)
            continue
        if name or values:
            yield from _split(name, values)
        level = re.fullmatch(r"-O(\d)", word)
        spelled, equals, value = ("-O", "=", level[1]) if level else word.partition("=")
        name, values = _long(spelled), list[str]()
        if equals:  # takes this value alone: a word behind it is the model
            yield Option(name, (value,))
            name = ""
    if name or values:
        yield from _split(name, values)


def _full(name: str) -> str | None:
    """The computed argument that a name abbreviates."""
    return None if name.startswith("no-") else computed(name)


def _long(spelled: str) -> str:
    """The long name of an option, without dashes."""
    if spelled.startswith("--"):
        return spelled[2:]
    return _SHORT.get(spelled[1:], spelled[1:])


def _split(name: str, values: list[str]) -> Iterator[Option]:
    """An option; what stands behind a flag is a positional word: the model."""
    if name and values and normal(name) in FLAGS:
        yield Option(name)
        yield Option("", tuple(values))
    else:
        yield Option(name, tuple(values))


FLAGS = frozenset(
    {
        *("async-scheduling", "disable-log-requests", "disable-log-stats", "enable-auto-tool-choice"),
        *("enable-chunked-prefill", "enable-expert-parallel", "enable-prefix-caching", "enforce-eager", "headless"),
        *("no-enable-prefix-caching", "no-enable-chunked-prefill", "trust-remote-code", "enable-eplb"),
        *("no-disable-hybrid-kv-cache-manager", "enable-lora", "skip-tokenizer-init", "enable-sleep-mode"),
    }
)
"""Options without a value that recipes use; only needed where the model stands behind one."""


Value = str | int | float | bool | dict[str, object] | list[object]


def argument(option: Option) -> Value:
    """An option's value as an inventory has it: true for a flag, a number only where writing it gives the same word
    again, a mapping for JSON, a list for several words."""
    if not option.values:
        return True
    if len(option.values) > 1:
        return [_scalar(value) for value in option.values]
    text = option.values[0]
    mapping = json_mapping(text)
    return mapping if mapping is not None else _scalar(text)


def _scalar(text: str) -> str | int | float:
    if not text:
        return text
    try:
        value = resolve(text)
    except ValueError:
        return text
    if isinstance(value, bool) or not isinstance(value, int | float) or str(value) != text:
        return text
    return value


def json_mapping(text: str) -> dict[str, object] | None:
    """A JSON object; None for anything else, and for one that YAML could not hold as it is: keys given twice, NaN."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and _is_finite(found) else None


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is given twice")
    return made


def _refused(name: str) -> object:
    raise ValueError(name)


def _is_finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(_is_finite(each) for each in value.values())
    if isinstance(value, list):
        return all(_is_finite(each) for each in value)
    return not isinstance(value, float) or math.isfinite(value)
