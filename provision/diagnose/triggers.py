"""What a line must hold for a regular expression to have a chance: pieces of plain text, so that most lines are put
aside without trying one.

Trying every signature of the catalogue on every line of a big log is slow: hardly any matches. Each alternative of a
signature has some plain text that must be there; a few letters of it, the rarest, are its trigger. A line's own
pieces of that length are looked up in a table, and only signatures whose trigger is among them are tried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

LENGTH = 5
"""Letters in a trigger. Longer ones are rarer, but some signatures have no longer plain text."""

_TOKEN = re.compile(r"\\[bBAZ]|\\[dDsSwW]|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(\?[:=!]|\(\?<[=!]|\(\?P<\w+>|[\s\S]")
_REPEAT = re.compile(r"[*?]|\{\d*,?\d*\}")
_EDGES = ("\\b", "\\B", "\\A", "\\Z", "^", "$")
_CLASSES = ("\\d", "\\D", "\\s", "\\S", "\\w", "\\W", ".")
_COMMON = "etaonirsldcumpfhg ybvwk_EATRINOSLCDMPUFHGBVYWKxqjzXQJZ-:/=.'([)]0123456789"
"""Letters of logs, commonest first; what is not among them is rarer still."""


def triggers(pattern: str) -> tuple[str, ...] | None:
    """A piece of plain text for each alternative of a pattern; None where one of them has none that is long enough."""
    found = [_rarest(runs) for runs in _alternatives(pattern)]
    return None if None in found else tuple(dict.fromkeys(piece for piece in found if piece))


def pieces(line: str) -> set[str]:
    """Every piece of a line that a trigger could be."""
    return {line[at : at + LENGTH] for at in range(len(line) - LENGTH + 1)}


def _rarest(runs: Iterable[str]) -> str | None:
    grams = [run[at : at + LENGTH] for run in runs for at in range(len(run) - LENGTH + 1)]
    return max(grams, key=_rarity, default=None)


def _rarity(gram: str) -> int:
    return sum(place if (place := _COMMON.find(letter)) >= 0 else len(_COMMON) for letter in gram)


def _alternatives(pattern: str) -> Iterator[list[str]]:
    """For each alternative at the top of a pattern: the runs of plain text that stand outside of its groups."""
    depth, runs = 0, [""]
    for token, repeated in _tokens(pattern):
        if token.startswith("("):
            depth += 1
            runs.append("")
        elif token == ")":
            depth -= 1
        elif depth == 0 and token == "|":
            yield runs
            runs = [""]
        elif depth == 0 and token not in _EDGES:
            runs = _with(runs, token, repeated)
    yield runs


def _with(runs: list[str], token: str, repeated: str) -> list[str]:
    """The runs after one more token: a plain letter lengthens the last one, anything else ends it."""
    if token.startswith("[") or token in _CLASSES or _REPEAT.fullmatch(repeated):
        return [*runs, ""]
    grown = [*runs[:-1], runs[-1] + (token[1:] if token.startswith("\\") else token)]
    return [*grown, ""] if repeated else grown


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    """The parts of a pattern, each with what says how often it comes ("" for once)."""
    at = 0
    while found := _TOKEN.match(pattern, at):
        how_often = re.compile(r"(?:[*+?]|\{\d*,?\d*\})\??").match(pattern, found.end())
        at = how_often.end() if how_often else found.end()
        yield found[0], how_often[0].rstrip("?") or "?" if how_often else ""
