"""Reads shell text as a shell would, as far as recipes go: words, quotes, continued lines, comments, variables.

Nothing is run. What only a shell could tell (``$(hostname -I)``) stays as it is written, for the caller to see.
Every word knows its line, so that an error can name it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

_REFERENCE = re.compile(r"\$(?:(?P<bare>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)(?::?-(?P<default>[^{}]*))?\})")
_BLANK = re.compile(r"[ \t\f\v\r]+|\\[ \t]*(?:\n|\Z)|#[^\n]*")
_CONTINUED = re.compile(r"\\[ \t]*(?:\n|\Z)")
_OPERATOR = re.compile(r"&&|\|\||[0-9]?>>?|&>|<<-?|[;&|<()]")
_PLAIN = re.compile(r"\$?[^ \t\n\f\v\r'\"\\;&|<>()$`]*")
_BACKTICKS = re.compile(r"`[^`]*`")
_QUOTED = re.compile(r'\$?[^"\\$]*')
_ENDS = frozenset(" \t\n\f\v\r;&|<>()")
"""What ends a word. Other blanks (a no-break space) are letters to a shell."""
_ESCAPED_IN_QUOTES = '"\\$`'

Lookup = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a word. ``live``: its variables are filled; not so what stands in single quotes or is escaped."""

    text: str
    live: bool


@dataclass(frozen=True, slots=True)
class Token:
    """A word, an operator (``;`` or ``|``) or the end of a line. ``line`` counts from 1."""

    kind: Literal["word", "operator", "end"]
    pieces: tuple[Piece, ...]
    line: int

    @property
    def text(self) -> str:
        """The word without its quotes, variables as written."""
        return "".join(piece.text for piece in self.pieces)

    def expanded(self, lookup: Lookup) -> str:
        """The word with the variables filled that ``lookup`` knows; others stay as they are."""
        return "".join(expand(piece.text, lookup) if piece.live else piece.text for piece in self.pieces)


def expand(text: str, lookup: Lookup) -> str:
    """``$NAME``, ``${NAME}`` and ``${NAME:-default}`` filled where ``lookup`` knows the name, or there is a default."""

    def value(found: re.Match[str]) -> str:
        known = lookup(found["bare"] or found["braced"])
        if known is None:
            known = found["default"]
        return found[0] if known is None else known

    return _REFERENCE.sub(value, text)


def references(text: str) -> tuple[str, ...]:
    """The names of the variables that a text refers to, in their order."""
    return tuple(found["bare"] or found["braced"] for found in _REFERENCE.finditer(text))


def lex(text: str, *, first_line: int = 1) -> tuple[Token, ...]:
    """All tokens of a text, comments left out. Never raises: an open quote ends with the text."""
    return tuple(_Lexer(text.replace("\r\n", "\n"), first_line).tokens())


def unclosed(text: str) -> int | None:
    """The line, from 1, of a quote that is opened and never closed; None where there is none."""
    lexer = _Lexer(text.replace("\r\n", "\n"), 1)
    for _ in lexer.tokens():
        pass
    return lexer.unclosed


class _Lexer:
    """One pass over a text. ``unclosed``: the line of a quote that ends with the text."""

    def __init__(self, text: str, first_line: int) -> None:
        self._text = text
        self._at = 0
        self._line = first_line
        self.unclosed: int | None = None

    def tokens(self) -> Iterator[Token]:
        while self._at < len(self._text):
            line = self._line
            if self._take(_BLANK):
                continue
            if self._text[self._at] == "\n":
                self._advance(1)
                yield Token("end", (), line)
            elif operator := self._take(_OPERATOR):
                yield Token("operator", (Piece(operator, False),), line)
            else:
                yield Token("word", tuple(self._word()), line)

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        return self._advance(len(found[0])) if found else ""

    def _advance(self, count: int) -> str:
        taken = self._text[self._at : self._at + count]
        self._line += taken.count("\n")
        self._at += len(taken)
        return taken

    def _starts(self, text: str) -> bool:
        return self._text.startswith(text, self._at)

    def _word(self) -> Iterator[Piece]:
        """Pieces up to a blank, an operator or a continuation. (Pasted continuations may have blanks behind their
        backslash; a shell would not forgive them.)"""
        while self._at < len(self._text):
            char = self._text[self._at]
            if char == "'":
                yield Piece(self._single_quoted(), False)
            elif char == '"':
                yield from self._double_quoted()
            elif char == "\\":
                if _CONTINUED.match(self._text, self._at):
                    return
                yield Piece(self._advance(2)[1:], False)
            elif self._starts("$("):
                yield Piece(self._substitution(), False)
            elif taken := self._take(_BACKTICKS):
                yield Piece(taken, False)
            elif char in _ENDS:
                return
            else:
                yield Piece(self._take(_PLAIN) or self._advance(1), True)

    def _single_quoted(self) -> str:
        line = self._line
        self._advance(1)
        end = self._text.find("'", self._at)
        if end < 0:
            self.unclosed = line
        inside = self._advance((end if end >= 0 else len(self._text)) - self._at)
        self._advance(1)
        return inside

    def _double_quoted(self) -> Iterator[Piece]:
        line = self._line
        self._advance(1)
        yield Piece("", False)
        while self._at < len(self._text) and not self._starts('"'):
            if self._starts("\\"):
                taken = self._advance(2)
                if taken != "\\\n":
                    yield Piece(taken[1:] if taken[1:] in _ESCAPED_IN_QUOTES else taken, False)
            elif self._starts("$("):
                yield Piece(self._substitution(), False)
            else:
                yield Piece(self._take(_QUOTED) or self._advance(1), True)
        if not self._advance(1):
            self.unclosed = line

    def _substitution(self) -> str:
        """``$(…)`` as written, up to its closing parenthesis."""
        depth = 0
        for offset in range(self._at, len(self._text)):
            depth += (self._text[offset] == "(") - (self._text[offset] == ")")
            if self._text[offset] == ")" and depth == 0:
                return self._advance(offset + 1 - self._at)
        return self._advance(len(self._text) - self._at)
