"""The command line as docker's own parser (pflag) reads it: ``-d``, ``-e K=V``, ``--label=x``, ``-itd``; the first word
that is no flag ends them where a command follows (``run``, ``exec``), elsewhere flags and words may mix."""

from __future__ import annotations

from provision.rehearsal.standins.docker.errors import DockerError

Table = dict[str, tuple[str, bool]]
"""Flag as written -> its long name, and whether it takes a value."""


def table(*specs: str) -> Table:
    """From specs such as ``-f,--force`` (a switch) and ``-e,--env=`` (takes a value)."""
    flags: Table = {}
    for spec in specs:
        takes_value = spec.endswith("=")
        names = spec.rstrip("=").split(",")
        for name in names:
            flags[name] = (names[-1].lstrip("-"), takes_value)
    return flags


class Parsed:
    """Values by long flag name in the order given, and the words that are no flags."""

    __slots__ = ("values", "words")

    def __init__(self) -> None:
        self.values: dict[str, list[str]] = {}
        self.words: list[str] = []

    def has(self, name: str) -> bool:
        """Whether a switch is on."""
        return self.values.get(name, ["false"])[-1] == "true"

    def one(self, name: str, default: str = "") -> str:
        """The last value of a flag."""
        return self.values.get(name, [default])[-1]

    def all(self, name: str) -> list[str]:
        """Every value of a flag that may be repeated."""
        return self.values.get(name, [])


def parse(argv: list[str], flags: Table, *, command: str, stop_at_word: bool = False) -> Parsed:
    """Read ``argv``. An unknown flag is docker's own error, with exit status 125 for ``run`` and 1 elsewhere."""
    parsed = Parsed()
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if word == "--":
            parsed.words += rest
            break
        if len(word) < 2 or not word.startswith("-"):
            parsed.words.append(word)
            if stop_at_word:
                parsed.words += rest
                break
        elif word.startswith("--"):
            _long(word, rest, flags, parsed, command)
        else:
            _short(word, rest, flags, parsed, command)
    return parsed


def _long(word: str, rest: list[str], flags: Table, parsed: Parsed, command: str) -> None:
    written, given, value = word.partition("=")
    if written not in flags:
        raise _usage(f"unknown flag: {written}", command)
    name, takes_value = flags[written]
    if not given:
        value = _next(rest, word, command) if takes_value else "true"
    parsed.values.setdefault(name, []).append(value)


def _short(word: str, rest: list[str], flags: Table, parsed: Parsed, command: str) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if f"-{letter}" not in flags:
            raise _usage(f"unknown shorthand flag: '{letter}' in {word}", command)
        name, takes_value = flags[f"-{letter}"]
        value = "true"
        if takes_value:
            value = letters.removeprefix("=") if letters else _next(rest, word, command)
            letters = ""
        parsed.values.setdefault(name, []).append(value)


def _next(rest: list[str], word: str, command: str) -> str:
    if not rest:
        raise _usage(f"flag needs an argument: {word}", command)
    return rest.pop(0)


def _usage(message: str, command: str) -> DockerError:
    exit = 125 if command == "run" else 1 if command == "exec" else 125
    return DockerError(
        f"{message}\n\nUsage:  docker {command} [OPTIONS]\n\nRun 'docker {command} --help' for more information", exit
    )


def need_words(parsed: Parsed, count: int, command: str, *, exactly: bool = False) -> None:
    """Raise docker's usage error when there are fewer words than the command needs."""
    if len(parsed.words) < count or (exactly and len(parsed.words) > count):
        kind = "requires" if exactly else "requires at least"
        raise DockerError(
            f"docker: 'docker {command}' {kind} {count} argument{'' if count == 1 else 's'}\n\n"
            f"Usage:  docker {command} [OPTIONS]\n\nSee 'docker {command} --help' for more information"
        )
