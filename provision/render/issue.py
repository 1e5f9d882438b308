"""A failure as an issue for GitHub: Markdown under the headings of vLLM's and vllm-ascend's own form, ready to paste.

Whoever reads it has not seen the cluster: versions, layout, commands, the first cause with the lines around it, and
what is missing. Text of logs stands in fences only, where nothing in it is Markdown, mentions anybody or links
anything; in tables and sentences it is escaped. GitHub takes 65,536 characters: what matters least is cut first, and
the report says what was. Nothing is ever sent from here.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from time import gmtime, strftime
from typing import TYPE_CHECKING, cast

from provision.diagnose.diagnosis import Diagnosis, Evidence, Odd, ProcessLog, Proof
from provision.diagnose.manifest import Manifest, NodeEntry, ProcessEntry
from provision.render.lines import count
from provision.resources import shipped
from provision.secrets import redact, redact_data
from provision.shell import join

if TYPE_CHECKING:
    from jinja2 import Template

LIMIT = 65_536
"""Characters of an issue's body that GitHub takes."""
TEMPLATE = "issue.md.j2"
VERSIONS = ("vllm", "vllm-ascend", "torch", "torch-npu", "cann", "driver", "firmware", "docker", "kernel", "os")
"""In this order; others follow by name."""
_TITLE = 120
_WORDS = 2_000
"""Characters of a title, and of a sentence at most."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r(?=\n)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Room:
    """How much of what there is room for. ``line``: characters of a line of a log; the others are counts."""

    tails: int = 40
    chain: int = 200
    earliest: int = 64
    proof: int = 40
    nodes: int = 128
    processes: int = 256
    commands: int = 32
    excerpt: int = 300
    line: int = 2_000


_CUTS: tuple[tuple[str, int, str], ...] = (
    ("tails", 15, "the last lines of processes, but for 15 each"),
    ("chain", 30, "what followed, but for the first 30 steps"),
    ("line", 400, "the rest of lines of logs longer than 400 characters"),
    ("tails", 5, "the last lines of processes, but for 5 each"),
    ("tails", 0, "the last lines of processes"),
    ("earliest", 16, "the earliest errors of ranks, but for 16"),
    ("commands", 6, "commands of processes, but for 6"),
    ("processes", 32, "processes, but for 32"),
    ("chain", 5, "what followed, but for the first 5 steps"),
    ("nodes", 24, "nodes, but for 24"),
    ("excerpt", 60, "the log around the first cause, but for 60 lines"),
    ("proof", 8, "lines that prove it, but for 8"),
    ("earliest", 4, "the earliest errors of ranks, but for 4"),
    ("commands", 1, "commands of processes, but for one"),
    ("processes", 8, "processes, but for 8"),
    ("chain", 0, "what followed"),
    ("excerpt", 20, "the log around the first cause, but for 20 lines"),
    ("nodes", 8, "nodes, but for 8"),
    ("line", 160, "the rest of lines of logs longer than 160 characters"),
)
"""What is cut, in this order, until the report fits."""


@dataclass(frozen=True, slots=True)
class Block:
    """A text to be unfolded by who wants to read it; one that is ``open`` is seen at once. ``language`` colours it."""

    summary: str
    text: str
    language: str = "text"
    open: bool = False


def issue(evidence: Evidence, diagnosis: Diagnosis, *, anonymous: bool = False, limit: int = LIMIT) -> str:
    """The report, at most ``limit`` characters. ``anonymous``: names of nodes and addresses are replaced by others, the
    same ones everywhere, in logs too."""
    report = _Report(
        cast("Manifest", redact_data(evidence.manifest)), cast("Diagnosis", redact_data(diagnosis)), evidence.logs
    )
    hide = hider(evidence) if anonymous else str
    room, left_out = Room(), dict[str, str]()
    text = hide(report.render(room, left_out.values(), anonymous=anonymous))
    for what, number, said in _CUTS:
        if len(text) <= limit:
            return text
        room = replace(room, **{what: number})
        left_out[what] = said
        text = hide(report.render(room, left_out.values(), anonymous=anonymous))
    return text if len(text) <= limit else _ended(text, limit)


def title(diagnosis: Diagnosis) -> str:
    """The issue's title, as the form begins it."""
    what = redact(diagnosis.title or diagnosis.sentence or "a failure without a known cause")
    return "[Bug]: " + _clipped(" ".join(_clean(what).split()), _TITLE)


def _ended(text: str, limit: int) -> str:
    """The beginning of a report that still is too long. Fences are closed by what is longer than any."""
    end = "\n" + "`" * 12 + "\n\n(cut here: GitHub takes no more)\n"
    return text[: limit - len(end)].rsplit("\n", 1)[0] + end


# ---- its parts


@dataclass(frozen=True, slots=True)
class _Report:
    manifest: Manifest
    diagnosis: Diagnosis
    logs: Sequence[ProcessLog]

    def render(self, room: Room, left_out: Iterable[str], *, anonymous: bool) -> str:
        made, found = self.manifest, self.diagnosis
        return _template().render(
            title=_words(title(found)),
            about=_about(made),
            environment=_versions(made.nodes, room.nodes),
            collect_env=_collect_env(made, found),
            sentence=_words(found.sentence or "No failure was found in what was looked at."),
            explanation=_words(found.explanation),
            causes=list(self._causes(room)),
            odd="\n".join(_odd(found)),
            followed=list(self._followed(room)),
            topology=_processes(made, room.processes),
            commands=list(_commands(made.processes, room.commands)),
            reproduce=_reproduce(made),
            remedy=_words(found.remedy),
            tails=list(self._tails(room)) if room.tails else [],
            missing="\n".join(f"- {_words(line)}" for line in self._missing(left_out)),
            tool=made.tool.removeprefix("qnext-provision").strip() or _version(),
            taken=strftime(" of evidence taken at %Y-%m-%d %H:%M:%S UTC", gmtime(made.taken)) if made.taken else "",
            names="; names of nodes and addresses are replaced" if anonymous else "",
        )

    def _causes(self, room: Room) -> Iterator[Block]:
        proof = self.diagnosis.proof
        if proof:
            first = proof[0]
            where = " ".join(filter(None, [_where(first), first.time]))
            text = _lines_of(redact(first.excerpt or first.line), room.excerpt, room.line, first.line)
            yield Block(f"The first cause, and the lines around it: {where}", text, open=True)
        if len(proof) > 1:
            yield Block("What else proves it", _rows(proof[1 : room.proof + 1], room))
        if self.diagnosis.earliest:
            yield Block("The earliest error of each rank", _rows(self.diagnosis.earliest[: room.earliest], room))

    def _followed(self, room: Room) -> Iterator[Block]:
        steps = self.diagnosis.chain[: room.chain]
        rows = [
            f"{step.time or '-':<24} {_at(step.process, step.node)}: {step.title}"
            + (f"\n    {_clipped(_clean(step.line), room.line)}" if step.line else "")
            for step in steps
        ]
        if rows:
            yield Block(f"What followed: {count(len(self.diagnosis.chain), 'step')}", _clean("\n".join(rows)))

    def _tails(self, room: Room) -> Iterator[Block]:
        for log in self.logs:
            if log.source == "stdout" and log.text.strip():
                last = "\n".join(log.text.rstrip().splitlines()[-room.tails :])
                status = "" if log.exit_code is None else f", exit status {log.exit_code}"
                yield Block(f"{_at(log.process, log.node)}{status}", _lines_of(redact(last), room.tails, room.line))

    def _missing(self, left_out: Iterable[str]) -> Iterator[str]:
        made = self.manifest
        yield from (f"node {node.name}: {node.missing}" for node in made.nodes if node.missing)
        yield from (name for name in self.diagnosis.missing if made.node(name) is None)
        yield from (f"{file.path}: {file.problem}" for file in made.files[:2_000] if file.problem)
        cut = [_at(log.process or log.source, log.node) for log in self.logs if log.cut]
        if cut:
            yield f"the beginning of {count(len(cut), 'log')} ({', '.join(cut[:5])}{', …' if len(cut) > 5 else ''})"
        if not any(node.versions for node in made.nodes):
            yield "versions: none were read"
        cuts = list(left_out)
        if cuts:
            yield f"left out to stay below GitHub's {LIMIT:,} characters: {'; '.join(cuts)}"


def _version() -> str:
    from provision import __version__

    return __version__


def _about(made: Manifest) -> str:
    said = (
        ("Hardware", made.hardware),
        ("Nodes", str(len(made.nodes)) if made.nodes else ""),
        ("Topology", made.topology),
        ("Model", made.model),
        ("Served as", made.served_name),
        ("Images", ", ".join(dict.fromkeys(one.image for one in made.processes if one.image))),
    )
    return (
        "\n".join(f"- {name}: {_code(value)}" for name, value in said if value) or "- nothing is known of the cluster"
    )


def _versions(nodes: Sequence[NodeEntry], most: int) -> str:
    """A table of versions; by node where they differ."""
    known = [node for node in nodes if node.versions]
    names = {name for node in known for name in node.versions}
    order = [name for name in VERSIONS if name in names] + sorted(names - set(VERSIONS))
    if not known:
        return "Versions were not read."
    differ = [name for name in order if len({node.versions.get(name, "") for node in known}) > 1]
    same = [(name, known[0].versions.get(name, "")) for name in order if name not in differ]
    tables = [_table(("what", "version"), same)] if same else []
    if differ:
        rows = [(node.name, *(node.versions.get(name, "") for name in differ)) for node in known[:most]]
        tables += ["Where nodes differ:", _table(("node", *differ), rows)]
    return "\n\n".join(tables)


def _collect_env(made: Manifest, found: Diagnosis) -> str:
    named = made.process(found.process, found.node)
    name = next((one.container for one in (named, *made.processes) if one and one.container), "")
    return (
        "" if not name else f"docker cp collect_env.py {name}:/tmp/ && docker exec {name} python3 /tmp/collect_env.py"
    )


def _odd(found: Diagnosis) -> Iterator[str]:
    for name, those in (("Silent", found.silent), ("Late", found.late)):
        yield from (f"- {name}: {_words(_who(one))}: {_words(one.why)}" for one in those[:20])
    if found.offsets:
        said = ", ".join(f"{_words(node)} {seconds:+.1f} s" for node, seconds in list(found.offsets.items())[:32])
        yield f"- Clocks differ (and are corrected for in the order above): {said}"


def _who(one: Odd) -> str:
    return _at(one.process, one.node)


def _at(process: str, node: str) -> str:
    return " on ".join(filter(None, [process, node]))


def _where(proof: Proof) -> str:
    who = _at(proof.process, proof.node)
    return who if proof.source == "stdout" else f"{who}, {proof.source}"


def _rows(proof: Sequence[Proof], room: Room) -> str:
    rows = [f"{one.time or '-':<24} {_where(one)} | {_clipped(_clean(redact(one.line)), room.line)}" for one in proof]
    return _clean("\n".join(rows))


def _processes(made: Manifest, most: int) -> str:
    if not made.processes:
        return "Which processes there are is not known: only their logs are."
    rows = [_row(one) for one in made.processes[:most]]
    return _table(("process", "node", "kind", "rank", "state"), rows)


def _row(one: ProcessEntry) -> tuple[str, ...]:
    kind = " ".join(filter(None, [one.kind, one.role, "headless" if one.headless else ""]))
    exit_code = "" if one.exit_code is None else f", exit status {one.exit_code}"
    killed = ", killed for lack of memory" if one.oom_killed else ""
    return one.name, one.node, kind, "" if one.rank is None else str(one.rank), f"{one.state}{exit_code}{killed}"


def _commands(processes: Sequence[ProcessEntry], most: int) -> Iterator[Block]:
    """Each distinct command once, with those that it runs in."""
    by_argv: dict[tuple[str, ...], list[str]] = {}
    for one in processes:
        if one.argv:
            by_argv.setdefault(one.argv, []).append(_at(one.name, one.node))
    for argv, names in list(by_argv.items())[:most]:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield Block(f"Command of {', '.join(names[:3])}{more}", _clipped(_command(argv), 8_000), "sh")


def _command(argv: Sequence[str]) -> str:
    """A command line with each option on a line of its own."""
    return _clean(join(argv)).replace(" --", " \\\n  --")


def _reproduce(made: Manifest) -> str:
    steps = (
        ["Start the processes above on their nodes, in that order, with the commands above."] if made.processes else []
    )
    if made.command:
        steps.insert(0, f"{_code(f'qnext-provision {made.command}')} with this layout; it renders the commands above.")
    if made.error:
        steps.append(f"It ended with: {_code(_clipped(_clean(made.error), _WORDS))}")
    return "\n".join(f"{number}. {step}" for number, step in enumerate(steps, 1)) or "Not known: only logs are here."


# ---- Markdown


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(shipped("templates") / "report"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(fenced=_fenced, folded=_folded)
    return environment.get_template(TEMPLATE)


def _fenced(text: str, language: str = "text") -> str:
    """``text`` in a fence that nothing in it closes."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _folded(block: Block) -> str:
    fenced = _fenced(block.text, block.language)
    tag = "details open" if block.open else "details"
    return f"<{tag}>\n<summary>{_html(block.summary)}</summary>\n\n{fenced}\n\n</details>"


def _words(text: str) -> str:
    """Text within Markdown: no markup, no mention, no reference to other issues."""
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", _html(text))


def _html(text: str) -> str:
    """Text within HTML in Markdown, where a backslash is one."""
    text = _clipped(" ".join(_clean(text).split()), _WORDS)
    return re.sub(r"[&<>@]|#(?=\d)", lambda found: f"&#{ord(found[0])};", text)


def _code(text: str) -> str:
    """A code span that nothing in it closes."""
    text = " ".join(_clean(text).split())
    ticks = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_words(_clipped(cell, 200)) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _clean(text: str) -> str:
    return _CONTROL.sub("", text)


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _lines_of(text: str, most: int, width: int, decisive: str = "") -> str:
    """Up to ``most`` lines, each up to ``width`` characters; where there are more, those around the decisive one."""
    lines = _clean(text).splitlines()
    middle = next((number for number, line in enumerate(lines) if decisive and decisive in line), len(lines) // 2)
    start = max(0, min(middle - most // 2, len(lines) - most))
    kept = lines[start : start + most]
    return "\n".join(_clipped(line, width) for line in kept)


# ---- names and addresses

_IPV4 = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")
_MAC = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}(?![\w:])")


def hider(evidence: Evidence) -> Callable[[str], str]:
    """A function that replaces names of nodes and addresses in a text: ``node-1``, ``10.0.0.1``; equal ones by equal
    ones, from call to call too. Loopback and wildcard addresses stay."""
    made = evidence.manifest
    hiding = _Hiding(frozenset(version for node in made.nodes for version in node.versions.values()))
    names = list(dict.fromkeys([*(node.name for node in made.nodes), *(log.node for log in evidence.logs)]))
    for number, name in enumerate(filter(None, names), 1):
        hiding.names[name.lower()] = f"node-{number}"
        hiding.names.setdefault(name.lower().partition(".")[0], f"node-{number}")
    for node in made.nodes:
        if node.address and not _address(node.address):
            hiding.names[node.address.lower()] = hiding.names[node.name.lower()]
        elif node.address:
            hiding.replaced(node.address)
    if made.cluster:
        hiding.names.setdefault(made.cluster.lower(), "cluster")
    return hiding


class _Hiding:
    """``open``: what looks like an address and is none: versions."""

    def __init__(self, open: frozenset[str]) -> None:
        self.names: dict[str, str] = {}
        self._addresses: dict[str, str] = {}
        self._open = open

    def __call__(self, text: str) -> str:
        text = _MAC.sub("02:00:00:00:00:00", text)
        for pattern in (_IPV4, _IPV6):
            text = pattern.sub(lambda found: self.replaced(found[0]), text)
        names = sorted((name for name in self.names if len(name) > 1), key=len, reverse=True)
        if not names:
            return text
        written = "|".join(re.escape(name).replace("_", r"(?:\\?_)") for name in names)
        pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{written})(?![A-Za-z0-9])", re.IGNORECASE)
        return pattern.sub(lambda found: self.names.get(found[0].replace("\\", "").lower(), "node"), text)

    def replaced(self, text: str) -> str:
        address = _address(text)
        if address is None or address.is_loopback or address.is_unspecified or text in self._open:
            return text
        if str(address) not in self._addresses:
            number = len(self._addresses) + 1
            before = "10.0." if address.version == 4 else "fd00::"
            made = f"10.0.{number // 250}.{number % 250}" if before == "10.0." else f"fd00::{number:x}"
            self._addresses[str(address)] = made
        return self._addresses[str(address)]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
