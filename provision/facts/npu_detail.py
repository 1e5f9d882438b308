"""What ``npu-smi info -t`` tells of every die and card: health with error codes, ECC, firmware, super pod, topology.

A call takes 50 to 300 ms on a real node, calls must not overlap, and any of them may hang. So one script asks them one
after the other, what matters most first: a health query a die (only ``-c`` tells codes), ECC and board a card, and once
what is the same on the whole node. It stops after three calls that hang and when its time is up; what was not asked is
said. 16 dies are 36 calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Protocol, TypeVar

from provision.accel.ascend.npu_smi import MappedChip, NpuMapping, parse_mapping
from provision.accel.ascend.npu_smi_sections import (
    ChipCommon,
    ChipEcc,
    ChipMemory,
    ChipUsages,
    NpuBoard,
    ProcessMemory,
    SuperPod,
    parse_board,
    parse_common,
    parse_ecc,
    parse_health,
    parse_memory,
    parse_process_memory,
    parse_super_pod,
    parse_usages,
)
from provision.accel.ascend.topo import HccsLinks, NpuTopology, parse_hccs, parse_topology
from provision.facts.base import Fact
from provision.facts.npu_smi import FIND
from provision.facts.reading import Section, complaints, sections
from provision.results import Result

Extra = Literal["common", "usages", "memory", "proc-mem", "hccs"]
"""Types that are asked for on demand: of each card, ``hccs`` of each die."""

_CALL_SECONDS = 10
_HUNG_CALLS = 3
_ALL_SECONDS = 45
"""After so long no further call is begun: with a last one that hangs, the script ends within the fact's deadline."""


@dataclass(frozen=True, slots=True)
class DieDetail:
    """One die. ``device`` is the davinci number. ``health`` is OK, Warning, Alarm, Critical or UNKNOWN; None where it
    was not asked or not told. ``codes`` are hex words, ``information`` their texts in the same order, as far as known.
    What a call did not tell is None."""

    npu: int
    chip: int
    device: int | None = None
    name: str = ""
    health: str | None = None
    codes: tuple[str, ...] = ()
    information: tuple[str, ...] = ()
    ecc: ChipEcc | None = None
    common: ChipCommon | None = None
    usages: ChipUsages | None = None
    memory: ChipMemory | None = None
    hccs: HccsLinks | None = None

    @property
    def label(self) -> str:
        """How a finding names this die."""
        return f"NPU {self.npu} chip {self.chip}"


@dataclass(frozen=True, slots=True)
class CardProcess:
    """A process that holds memory of a card (``proc-mem``)."""

    npu: int
    process: ProcessMemory


@dataclass(frozen=True, slots=True)
class NpuDetailValue:
    """``dies`` in the order of ``info -m``; ``boards`` one a card that told it.

    ``soc`` is the chips' name (ascend910b3, ascend910_9392). ``super_pod`` is what the first die of an A3 or 950 tells:
    pod and server index hold for the node, the SDID for that die. ``problems`` begin with the call they are of, as
    ``-t ecc -i 3: npu-smi hangs: no answer within 10 s``.
    """

    binary: str | None = None
    dies: tuple[DieDetail, ...] = ()
    boards: tuple[NpuBoard, ...] = ()
    soc: str | None = None
    super_pod: SuperPod | None = None
    topology: NpuTopology | None = None
    processes: tuple[CardProcess, ...] = ()
    problems: tuple[str, ...] = ()

    def board(self, npu: int) -> NpuBoard | None:
        """The board of a card, None where it wasn't told."""
        return next((board for board in self.boards if board.npu == npu), None)


@dataclass(frozen=True, slots=True)
class NpuDetail(Fact[NpuDetailValue]):
    """Every die in detail. ``extra``: further types, each a call a card (``hccs``: a die) more."""

    name: ClassVar[str] = "npu-detail"
    deadline: ClassVar[float] = 60.0
    extra: tuple[Extra, ...] = ()

    def script(self) -> str:
        return FIND + _ASK + _STANDARD + "".join(_EXTRA[kind] for kind in self.extra) + ":\n"

    def parse(self, raw: Result) -> NpuDetailValue:
        parts = sections(raw.stdout)
        binary = next((" ".join(p.words[1:]) for p in parts if p.words[:1] == ("binary",)), None)
        if binary is None:
            return NpuDetailValue(problems=complaints(raw) or ("npu-smi was not found",))
        answers = _Answers(parts)
        chips = (answers.read(("-m",), parse_mapping) or NpuMapping()).chips
        boards = tuple(_boards(chips, answers))
        value = NpuDetailValue(
            binary=binary,
            dies=tuple(_dies(chips, answers)),
            boards=boards,
            soc=_soc(chips, boards, answers),
            super_pod=_super_pod(chips, answers),
            topology=answers.read(("-t", "topo"), parse_topology),
            processes=tuple(_processes(chips, answers)),
        )
        return replace(value, problems=(*complaints(raw), *answers.problems, *answers.unasked()))


# $s is set where -m has the column Slot ID (950): there the chip is the third number, a card has one, and -c is left
# out as in its documents. $a is set where Phy-IDs are told (A3, 950): only these have a super pod.
_ASK = f"""\
h=0; end=$(($(date +%s) + {_ALL_SECONDS})); o=
ask() {{
  if [ "$h" -ge {_HUNG_CALLS} ] || [ "$(date +%s)" -ge "$end" ]; then echo "@@ unasked $*"; o=; return 0; fi
  o=$(timeout {_CALL_SECONDS} "$b" info "$@" 2>&1); e=$?
  case $e in 124|143) h=$((h + 1));; esac
  echo "@@ asked $e $*"; printf '%s\\n' "$o"
}}
ask -m
case $o in *'Slot ID'*) s=1;; *) s=;; esac
case $o in *'Phy-ID'*) a=1;; *) a=;; esac
chips=$(printf '%s\\n' "$o" | awk -v s="$s" '$1 ~ /^[0-9]+$/ && tolower($NF) != "mcu" {{ print $1 ":" (s ? $3 : $2) }}')
cards=$(printf '%s\\n' "$chips" | sed 's/:.*//' | awk 'NF && !seen[$1]++')
of_one() {{ if [ -n "$s" ]; then ask -t "$1" -i "${{2%:*}}"; else ask -t "$1" -i "${{2%:*}}" -c "${{2#*:}}"; fi; }}
of_die() {{ for p in $chips; do of_one "$1" "$p"; done; }}
of_card() {{ for n in $cards; do ask -t "$1" -i "$n"; done; }}
of_first() {{ for p in $chips; do of_one "$1" "$p"; break; done; }}
"""

_STANDARD = """\
of_die health
of_card ecc
of_card board
[ -n "$s" ] || of_first board
[ -z "$a" ] || of_first spod-info
[ -z "$chips" ] || ask -t topo
"""

_EXTRA: dict[Extra, str] = {
    "common": "of_card common\n",
    "usages": "of_card usages\n",
    "memory": "of_card memory\n",
    "proc-mem": "of_card proc-mem\n",
    "hccs": "of_die hccs\n",
}


class _Read(Protocol):
    @property
    def problems(self) -> tuple[str, ...]: ...


R = TypeVar("R", bound=_Read)


class _Answers:
    """The calls' outputs by their arguments. Reading one notes its problems, each with its call."""

    def __init__(self, parts: Iterable[Section]) -> None:
        self.asked: dict[tuple[str, ...], tuple[str, str]] = {}
        self.left_out: list[tuple[str, ...]] = []
        self.noted: dict[tuple[str, ...], list[str]] = {}
        for part in parts:
            if part.words[:1] == ("asked",) and len(part.words) > 2:
                self.asked.setdefault(part.words[2:], (part.words[1], part.body))
            elif part.words[:1] == ("unasked",):
                self.left_out.append(part.words[1:])

    def read(self, call: tuple[str, ...], parse: Callable[[str], R]) -> R | None:
        """The parsed answer; None where the call hung or there was none."""
        if call not in self.asked:
            return None
        status, body = self.asked[call]
        if status in ("124", "143"):
            self._note(call, f"npu-smi hangs: no answer within {_CALL_SECONDS} s")
            return None
        value = parse(body)
        if status != "0" and not value.problems:
            self._note(call, f"npu-smi ended with exit status {status}")
        for problem in value.problems:
            self._note(call, problem)
        return value

    def _note(self, call: tuple[str, ...], problem: str) -> None:
        self.noted.setdefault(call, []).append(f"{' '.join(call)}: {problem}")

    @property
    def problems(self) -> list[str]:
        """What was noted, in the order of the calls."""
        return [problem for call in self.asked for problem in self.noted.get(call, ())]

    def unasked(self) -> tuple[str, ...]:
        """One sentence about all calls that were not made."""
        if not self.left_out:
            return ()
        first = " ".join(self.left_out[0])
        why = f"npu-smi hung {_HUNG_CALLS} times or took over {_ALL_SECONDS} s"
        return (f"{len(self.left_out)} calls were not made, the first {first}: {why}",)


def _of_die(kind: str, chip: MappedChip) -> tuple[str, ...]:
    """The arguments with which the script asks of one die."""
    named = () if chip.slot is not None else ("-c", str(chip.chip))
    return ("-t", kind, "-i", str(chip.npu), *named)


def _of_card(kind: str, npu: int) -> tuple[str, ...]:
    return ("-t", kind, "-i", str(npu))


def _cards(chips: Iterable[MappedChip]) -> list[int]:
    return list(dict.fromkeys(chip.npu for chip in chips))


def _dies(chips: Sequence[MappedChip], answers: _Answers) -> Iterable[DieDetail]:
    found = [_with_health(chip, answers) for chip in chips]
    for npu in _cards(chips):
        own = [i for i, chip in enumerate(chips) if chip.npu == npu]
        ecc = answers.read(_of_card("ecc", npu), parse_ecc)
        common = answers.read(_of_card("common", npu), parse_common)
        usages = answers.read(_of_card("usages", npu), parse_usages)
        memory = answers.read(_of_card("memory", npu), parse_memory)
        for i in own:
            number, alone = chips[i].chip, len(own) == 1
            found[i] = replace(
                found[i],
                ecc=_of_chip(ecc.chips, number, alone) if ecc else None,
                common=_of_chip(common.chips, number, alone) if common else None,
                usages=_of_chip(usages.chips, number, alone) if usages else None,
                memory=_of_chip(memory.chips, number, alone) if memory else None,
            )
    return found


def _with_health(chip: MappedChip, answers: _Answers) -> DieDetail:
    die = DieDetail(chip.npu, chip.chip, chip.device, chip.name)
    links = answers.read(_of_die("hccs", chip), parse_hccs)
    said = answers.read(_of_die("health", chip), parse_health)
    if said and said.chips:
        one = said.chips[0]
        die = replace(die, health=one.health, codes=one.codes, information=one.information)
    return replace(die, hccs=links)


class _Numbered(Protocol):
    @property
    def chip(self) -> int | None: ...


N = TypeVar("N", bound=_Numbered)


def _of_chip(found: Sequence[N], chip: int, alone: bool) -> N | None:
    """The block of this chip; an unnamed one is meant where the card has one chip."""
    unnamed = [block for block in found if block.chip is None] if alone else []
    return next((block for block in (*found, *unnamed) if block.chip == chip or block in unnamed), None)


def _boards(chips: Sequence[MappedChip], answers: _Answers) -> Iterable[NpuBoard]:
    for npu in _cards(chips):
        board = answers.read(_of_card("board", npu), parse_board)
        if board is not None and (board.firmware_version or board.software_version or board.product):
            yield replace(board, npu=npu)


def _soc(chips: Sequence[MappedChip], boards: Iterable[NpuBoard], answers: _Answers) -> str | None:
    """The board of a chip names it; on 950, whose cards have one chip, the card's own does."""
    chip = answers.read(_of_die("board", chips[0]), parse_board) if chips and chips[0].slot is None else None
    return next((board.soc for board in (chip, *boards) if board and board.soc), None)


def _super_pod(chips: Sequence[MappedChip], answers: _Answers) -> SuperPod | None:
    pod = answers.read(_of_die("spod-info", chips[0]), parse_super_pod) if chips else None
    return pod if pod is not None and pod.pod is not None else None


def _processes(chips: Sequence[MappedChip], answers: _Answers) -> Iterable[CardProcess]:
    for npu in _cards(chips):
        said = answers.read(_of_card("proc-mem", npu), parse_process_memory)
        for process in said.processes if said else ():
            yield CardProcess(npu, process)
