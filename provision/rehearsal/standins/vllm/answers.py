"""What the model says: sums are worked out, a few questions are known, anything else gets a text made from the prompt.

Deterministic at temperature 0; above, one of several wordings. Tokens are words and punctuation.
"""

from __future__ import annotations

import random
import re

_TOKEN = re.compile(r"\s*\w{1,12}|\s*[^\w\s]|\s+$")
_SUM = re.compile(r"(-?\d+(?:\.\d+)?)\s*([*x×+/÷-])\s*(\d+(?:\.\d+)?)")
_WHO = re.compile(r"\bwho are you\b|\byour name\b|你是谁", re.IGNORECASE)
_CAPITALS = {
    "france": "Paris",
    "china": "Beijing",
    "germany": "Berlin",
    "japan": "Tokyo",
    "italy": "Rome",
    "spain": "Madrid",
}

_QWEN = (
    "I am Qwen, a large-scale language model independently developed by the Tongyi Lab under Alibaba Group. I can answer "
    "questions, write text, reason about problems, and write code. How can I help you today?"
)
_OPENINGS = (
    "Here is what can be said about that.",
    "Let me think about this step by step.",
    "That is a good question.",
)
_FILLER = (
    "The request was read in full and every part of it was taken into account.",
    "Each step follows from the one before, and the result was checked against the question.",
    "Where something is uncertain, it is better to say so than to guess.",
    "In summary, the answer depends on the details that were given.",
)


def tokens(text: str) -> list[str]:
    """``text`` in tokens; joined they are ``text`` again, but for spaces at its end."""
    return _TOKEN.findall(text)


def answer(prompt: str, *, temperature: float, seed: int | None) -> str:
    """The text that follows ``prompt``."""
    dice = random.Random(prompt if temperature == 0 else seed)
    if (found := _SUM.search(prompt)) is not None:
        return _calculate(found)
    if _WHO.search(prompt):
        return _QWEN
    for country, capital in _CAPITALS.items():
        if "capital" in prompt.lower() and country in prompt.lower():
            return f"The capital of {country.capitalize()} is {capital}."
    subject = " ".join(prompt.split()[-24:])
    return f'{dice.choice(_OPENINGS)} You wrote: "{subject}" ' + " ".join(dice.sample(_FILLER, 3))


def lengthen(text: str, count: int) -> list[str]:
    """At least ``count`` tokens that begin with those of ``text``."""
    found = tokens(text)
    filler = [token for sentence in _FILLER for token in tokens(" " + sentence)]
    while len(found) < count:
        found += filler
    return found


def _calculate(found: re.Match[str]) -> str:
    left, operator, right = float(found[1]), found[2], float(found[3])
    if operator in "/÷" and right == 0:
        return f"{found[1]} {operator} {found[3]} is not defined."
    value = {"*": left * right, "x": left * right, "×": left * right, "+": left + right, "-": left - right}.get(
        operator
    )
    result = left / right if value is None else value
    return f"{found[1]} {operator} {found[3]} = {int(result) if result == int(result) else round(result, 6)}"
