"""How the ``npu-smi info -t`` outputs are cut into chips: ``Key : value`` lines whose chip is named at one end.

In ``usages``, ``memory``, ``health``, ``ecc``, ``power``, ``temp`` and ``product`` the line ``Chip ID`` ends the block
of its chip; in ``common`` it starts it; on 950, and mostly with ``-c``, there is none. A block named ``mcu`` belongs to
the management controller and repeats keys of the chips [samples/npu FIELDS, Identity]. So which end it is, is told by
what comes first. Keys are compared without blanks and case, because those change between versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from provision.accel.ascend.text import complaints, cut_off, decimal, fields, integer, known

Spec = Mapping[str, tuple[str, Callable[[str], object]]]
"""By plain key: the name of the field, and how its value is read (None where it can't be)."""

Pairs = tuple[tuple[str, str], ...]


def plain(key: str) -> str:
    """A key without blanks and case."""
    return re.sub(r"\s+", "", key).lower()


def integers(names: Mapping[str, str]) -> Spec:
    """Keys that hold whole numbers, with their fields."""
    return {plain(key): (name, integer) for key, name in names.items()}


def decimals(names: Mapping[str, str]) -> Spec:
    """Keys that hold decimal fractions, with their fields."""
    return {plain(key): (name, decimal) for key, name in names.items()}


def words(names: Mapping[str, str]) -> Spec:
    """Keys that hold text, with their fields."""
    return {plain(key): (name, known) for key, name in names.items()}


@dataclass(frozen=True, slots=True)
class Block:
    """The lines of one chip (or of the controller), keys as printed."""

    chip: int | None
    pairs: Pairs = ()

    @property
    def label(self) -> str:
        """How a problem begins that is about this chip."""
        return "" if self.chip is None else f"chip {self.chip}: "


@dataclass(frozen=True, slots=True)
class Blocks:
    """An output, cut. ``problems`` say which chips of ``Chip Count`` are missing."""

    npu: int | None
    chips: tuple[Block, ...]
    controller: Block | None
    problems: tuple[str, ...]


def blocks(text: str, what: str, wanted: Iterable[str]) -> Blocks:
    """Cut ``text``; ``wanted`` are the plain keys of which a chip must have one, ``what`` names them in problems."""
    keys = frozenset(wanted)
    npu, count, body = _head(fields(text))
    marks_first = next((_is_mark(pair) for pair in body if _is_mark(pair) or plain(pair[0]) in keys), False)
    found = _starting(body) if marks_first else _ending(body)
    chips = tuple(b for b in (_block(mark, own, keys) for mark, own in found if not _is_controller(mark)) if b)
    mcu = next((_block(mark, own, keys) for mark, own in found if _is_controller(mark)), None)
    problems = [*complaints(text), *cut_off(text), *_gaps(chips, count, what)]
    return Blocks(npu, chips, mcu, tuple(problems))


_Mark = tuple[str, str] | None
_Found = list[tuple[_Mark, list[tuple[str, str]]]]


def _head(pairs: Iterable[tuple[str, str]]) -> tuple[int | None, int | None, list[tuple[str, str]]]:
    """``NPU ID`` and ``Chip Count``, and the lines that belong to chips."""
    body, head = [], {"npuid": "", "chipcount": ""}
    for key, value in pairs:
        if plain(key) in head:
            head[plain(key)] = head[plain(key)] or value
        else:
            body.append((key, value))
    return integer(head["npuid"]), integer(head["chipcount"]), body


def _is_mark(pair: tuple[str, str]) -> bool:
    return plain(pair[0]) == "chipid" or _is_controller(pair)


def _is_controller(mark: _Mark) -> bool:
    return mark is not None and plain(mark[0]) == "chipname" and mark[1].lower() == "mcu"


def _ending(body: list[tuple[str, str]]) -> _Found:
    found: _Found = []
    own: list[tuple[str, str]] = []
    for pair in body:
        if _is_mark(pair):
            found.append((pair, own))
            own = []
        else:
            own.append(pair)
    return [*found, (None, own)] if own else found


def _starting(body: list[tuple[str, str]]) -> _Found:
    found: _Found = []
    for pair in body:
        if _is_mark(pair):
            found.append((pair, []))
        elif found:
            found[-1][1].append(pair)
    return found


def _block(mark: _Mark, own: list[tuple[str, str]], keys: frozenset[str]) -> Block | None:
    """Lines without any wanted key are noise before or after the chips."""
    if not any(plain(key) in keys for key, _ in own):
        return None
    return Block(integer(mark[1]) if mark else None, tuple(own))


def _gaps(chips: tuple[Block, ...], count: int | None, what: str) -> Iterable[str]:
    if not chips:
        yield f"no {what} in the output"
    elif count is not None and len(chips) != count:
        yield f"{len(chips)} of {count} chips in the output"
    if count is not None and any(block.chip is None for block in chips):
        yield "a chip isn't named: its Chip ID is missing or unreadable"
    numbers = [block.chip for block in chips if block.chip is not None]
    for number in sorted({n for n in numbers if numbers.count(n) > 1}):
        yield f"chip {number} is in the output twice"


def values(block: Block, spec: Spec) -> tuple[dict[str, object], Pairs, list[str]]:
    """The fields of ``spec``, the lines that it doesn't know, and a problem for each value that can't be read.

    The first of equal keys counts; ``NA`` and the like are None and no problem.
    """
    found: dict[str, object] = {}
    other: list[tuple[str, str]] = []
    problems: list[str] = []
    for key, value in block.pairs:
        if plain(key) not in spec:
            other.append((key, value))
            continue
        name, read = spec[plain(key)]
        if name in found:
            problems.append(f"{block.label}{key} is printed twice; the first counts")
            continue
        found[name] = read(value)
        if found[name] is None and known(value) is not None:
            problems.append(f"{block.label}{key} is not understood: {value[:40]!r}")
    return found, tuple(other), problems
