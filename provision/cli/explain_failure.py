"""``explain failure`` and ``explain code``: what the failure catalogue knows, by an entry's name or by a code.

At night the code on the screen is all that one has: ``explain EI0006`` says what it means, who says it, what to do, and
which entries of the catalogue treat it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.diagnose.catalogue import Entry
    from provision.diagnose.codes import Code

_SCOPES = {
    "node": "one node",
    "device": "one NPU",
    "cluster": "all nodes together",
    "config": "the inventory",
    "image": "the image, or what is installed",
    "model": "the model",
    "client": "a client; the server goes on",
}
_ROLES = {
    "cause": "may be the first cause of a failure",
    "end": "tells of an end by force: the first cause where the process had no error before",
    "symptom": "mostly follows a failure of another process",
    "consequence": "says only that something above it went wrong",
    "complaint": "says that another process fails",
    "noise": "looks like an error and is none",
}


def names() -> list[str]:
    """Every entry of the catalogue, sorted."""
    from provision.diagnose.catalogue import entries

    return sorted(entry.id for entry in entries())


def rows() -> Iterator[tuple[str, str]]:
    """Name and title of every entry."""
    from provision.diagnose.catalogue import entries, without_code

    yield from sorted((entry.id, without_code(entry).title) for entry in entries())


def code_rows() -> Iterator[tuple[str, str]]:
    """Every code that is known, and what it means."""
    from provision.diagnose.codes import codes

    yield from ((code.code, code.meaning) for code in codes())


def code_named(text: str) -> Code | None:
    """The code that a word names: a listed one, or one that looks like a family's."""
    from provision.diagnose.codes import lookup

    return lookup(text)


def page(name: str) -> str:
    """The page of an entry."""
    from provision.diagnose.catalogue import named, without_code

    entry = named(name)
    assert entry is not None, "the name was looked up"
    return "\n".join(_page(without_code(entry)))


def code_page(code: Code) -> str:
    """The page of a code."""
    return "\n".join(_code_page(code))


def data(name: str) -> dict[str, object]:
    """An entry for --json."""
    from provision.diagnose.catalogue import named, without_code

    entry = named(name)
    assert entry is not None, "the name was looked up"
    told = without_code(entry)
    keys = ("id", "title", "scope", "role", "fatal", "cause", "remedy", "runbook", "source")
    return {
        "kind": "failure",
        **{key: getattr(told, key) for key in keys},
        "evidence": list(told.evidence),
        "signature": entry.signature.pattern,
    }


def code_data(code: Code) -> dict[str, object]:
    """A code for --json."""
    return {
        "kind": "code",
        **{key: getattr(code, key) for key in ("code", "name", "meaning", "remedy", "family", "known", "source")},
        "failures": [entry.id for entry in _treating(code)],
    }


def _page(entry: Entry) -> Iterator[str]:
    yield from (entry.id, _sentence(entry.title), "", entry.cause, "")
    yield f"do         {entry.remedy}"
    yield f"concerns   {_SCOPES[entry.scope]}"
    yield f"counts as  {_ROLES[entry.role]}{'; a start-up with it will not succeed' if entry.fatal else ''}"
    yield from _evidence(entry.evidence)
    if entry.runbook:
        yield f"runbook    {entry.runbook}"
    yield from (f"signature  {entry.signature.pattern}", f"source     {entry.source}")


def _code_page(code: Code) -> Iterator[str]:
    yield f"{code.code}  {code.name}".rstrip()
    if code.known:
        yield _sentence(code.meaning)
    else:
        yield f"Not a code that is known here. It looks like one of {code.family}: {code.meaning}."
    yield from ("", f"do         {code.remedy}", f"said by    {code.family}")
    treating = _treating(code)
    if treating:
        told = [f"{entry.id}: {entry.title}" for entry in treating]
        yield from (f"{'failure' if not at else '':11}{text}" for at, text in enumerate(told))
        yield from _evidence(treating[0].evidence)
    yield f"source     {code.source}"


def _evidence(items: Sequence[str]) -> Iterator[str]:
    yield from (f"{'fetch' if not at else '':11}{item}" for at, item in enumerate(items))


def _treating(code: Code) -> list[Entry]:
    """What the catalogue makes of a line with this code."""
    from provision.diagnose.catalogue import match
    from provision.diagnose.codes import example

    found = match(example(code))
    return [found] if found and found.role != "noise" else []


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
