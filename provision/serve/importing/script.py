"""Reads what people paste: ``docker run`` commands, ``vllm serve`` with ``export`` lines before it, whole scripts.

Several servers one after the other, in one file or in several, are the nodes of one cluster. Nothing is run; each line
that says something else than an environment or a server is told, and left out.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile

from provision.errors import ConfigError, Position
from provision.serve.importing.command import ServeCommand, parse_serve
from provision.serve.importing.docker import Reader, parse_docker, parse_exec, unused
from provision.serve.importing.inventory import RELEASE
from provision.serve.importing.recipe import Container, Notes, Recipe, Server
from provision.serve.importing.secret import masked
from provision.serve.importing.words import Token, lex, references, unclosed

_SHELLS = frozenset({"bash", "sh", "/bin/bash", "/bin/sh", "/usr/bin/bash", "zsh", "dash"})
_ENGINES = frozenset({"docker", "podman", "nerdctl"})
_PREFIXES = frozenset({"sudo", "nohup", "exec", "time", "env", "setsid", "$", "command"})
_SILENT = frozenset(
    {"set", "echo", "cd", "true", ":", "wait", "sleep", "mkdir", "tee", "exit", "shift", "unset", "fi", "done"}
)
_SEPARATORS = frozenset({";", "&&", "||", "|", "&", "(", ")"})
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=", re.ASCII)
_API_SERVER = "vllm.entrypoints.openai.api_server"
_ADDRESS_VARIABLES = ("HCCL_IF_IP", "VLLM_HOST_IP")
_DEEPEST = 4
_TOLD_LINES = 20
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]")
_TYPESET = re.compile("[\u00a0\u2007\u202f\u3000\u201c\u201d\u2018\u2019]|(?<=\\s)[\u2013\u2014](?=[A-Za-z])")
"""Blanks, quotes and dashes as web pages and word processors set them: letters to a shell."""
_PLACEHOLDER = re.compile(r"(?<=:)(?:\|vllm_ascend_version\||<vllm[-_]ascend[-_]version>)")


@dataclass(frozen=True, slots=True)
class Source:
    """A text with the name that its errors show."""

    name: str
    text: str


def read(sources: Sequence[Source], notes: Notes, *, read_file: Reader = lambda path: None) -> Recipe:
    """All servers of some texts as a recipe. ``read_file`` gives the files that ``--env-file`` names. Raises
    ``ConfigError`` where there is no server."""
    servers: list[Server] = []
    for source in sources:
        servers += _Script(source, notes, read_file, len(servers)).servers()
    if not servers:
        raise ConfigError(
            "no vllm serve is started here",
            where=Position(sources[0].name if sources else "", 1, 1),
            hint="paste a docker run … vllm serve …, or vllm serve MODEL … with the exports before it",
        )
    title = next((each.container.name for each in servers if each.container.name), "")
    name = servers[0].command.model.rstrip("/").rpartition("/")[2]
    return Recipe(title or name, tuple(servers), addresses=_addresses(servers))


def _addresses(servers: Sequence[Server]) -> tuple[str, ...]:
    """The address of each node, where every one is known: from its own variables, the head's from what others join."""
    found = [_own_address(server) for server in servers]
    joined = {each.command.text("data-parallel-address") or each.command.text("master-addr") for each in servers}
    heads = [address for address in joined if address and _is_address(address)]
    if len(heads) == 1 and len(servers) > 1 and not found[0] and heads[0] not in found:
        found[0] = heads[0]
    return tuple(found) if all(found) and len(set(found)) == len(found) else ()


def _own_address(server: Server) -> str:
    return next((v for name in _ADDRESS_VARIABLES if _is_address(v := server.env.get(name, ""))), "")


def _is_address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_loopback
    except ValueError:
        return False


@dataclass(slots=True)
class _Shell:
    """Variables while a text is read. ``fresh``: no server has been started with them yet."""

    variables: dict[str, str] = field(default_factory=dict)
    exported: dict[str, str] = field(default_factory=dict)
    container: Container = field(default_factory=Container)
    inside: dict[str, str] = field(default_factory=dict)
    fresh: bool = True

    def begin(self) -> None:
        """What is set after a server was started belongs to the next one."""
        if not self.fresh:
            self.exported, self.fresh = {}, True


class _Script:
    def __init__(self, source: Source, notes: Notes, read_file: Reader, first: int) -> None:
        self._source, self._notes, self._read_file = source, notes, read_file
        self._shell = _Shell()
        self._found: list[Server] = []
        self._first = first
        self._left_out = 0

    def servers(self) -> list[Server]:
        _look_over(self._source, self._notes)
        self._run(lex(_filled(self._source, self._notes)), 0)
        if self._left_out > _TOLD_LINES:
            self._notes.warn(f"{self._left_out - _TOLD_LINES} more lines of {self._source.name} are left out")
        return self._found

    def _run(self, tokens: Sequence[Token], depth: int) -> None:
        for statement in _statements(tokens):
            self._statement(statement, depth)

    def _statement(self, tokens: list[Token], depth: int) -> None:
        where = Position(self._source.name, tokens[0].line, 1)
        while tokens and tokens[0].text in _PREFIXES:
            tokens = tokens[1:]
        prefix: dict[str, str] = {}
        while tokens and _ASSIGNMENT.match(tokens[0].text):
            name, _, value = self._word(tokens[0]).partition("=")
            prefix[name] = value
            tokens = tokens[1:]
        if not tokens:
            self._assign(prefix)
            return
        words = [self._word(token) for token in tokens]
        self._command(words, prefix, where, depth)

    def _command(self, words: list[str], prefix: Mapping[str, str], where: Position, depth: int) -> None:
        words, prefix = _without_env(words, prefix)
        engine = next((at for at, word in enumerate(words[:4]) if word in _ENGINES), None)
        if words[0] in ("export", "declare", "typeset"):
            self._export([word for word in words[1:] if not word.startswith("-")])
        elif engine is not None and "run" in words[engine + 1 : engine + 3]:
            self._docker(words[words.index("run", engine) + 1 :], where, depth)
        elif engine is not None and words[engine + 1 : engine + 2] == ["exec"] and depth < _DEEPEST:
            self._exec(words, engine + 2, prefix, where, depth)
        elif (serve := _serve_words(words)) is not None:
            self._serve(serve, prefix, where)
            if _API_SERVER in words:
                self._notes.warn(f"python -m {_API_SERVER} runs as vllm serve here", where)
        elif words[0] in _SHELLS and (inner := _inline(words)) is not None and depth < _DEEPEST:
            self._run(lex(inner, first_line=where.line), depth + 1)
        elif words[0] == "unset":
            for name in words[1:]:
                self._shell.exported.pop(name, None)
        elif words[0] in ("source", ".") and any("set_env.sh" in word for word in words):
            self._notes.note("set_env.sh is not read: the image's login shell sets its paths", where)
        elif words[0] not in _SILENT and words[0] not in _SHELLS:
            self._leave_out(words, where)

    def _leave_out(self, words: Sequence[str], where: Position) -> None:
        self._left_out += 1
        if self._left_out <= _TOLD_LINES:
            self._notes.warn(f"this line is left out: {_short(' '.join(words))}", where)

    # ---- variables

    def _word(self, token: Token) -> str:
        return token.expanded(self._lookup)

    def _lookup(self, name: str) -> str | None:
        shell = self._shell
        return shell.variables.get(name, shell.exported.get(name, shell.inside.get(name)))

    def _assign(self, variables: Mapping[str, str]) -> None:
        self._shell.begin()
        for name, value in variables.items():
            if name in self._shell.exported:
                self._shell.exported[name] = value
            self._shell.variables[name] = value

    def _export(self, words: Sequence[str]) -> None:
        self._shell.begin()
        for word in words:
            name, equals, value = word.partition("=")
            if not _ASSIGNMENT.match(f"{name}="):
                continue
            if equals:
                self._shell.variables[name] = value
            self._shell.exported[name] = self._shell.variables.get(name, "")

    # ---- servers

    def _docker(self, words: list[str], where: Position, depth: int) -> None:
        self._shell.begin()
        run = parse_docker(words, where, self._notes, exported=self._shell.exported, read=self._read_file)
        self._shell.container, self._shell.inside = run.container, run.env
        if missing := references(run.container.image):
            self._notes.warn(f"the image is not known: ${missing[0]} is set nowhere", where)
            self._shell.container = replace(run.container, image="")
        if self._shell.exported:
            names = ", ".join(self._shell.exported)
            self._notes.note(f"{names}: set in the shell that runs docker, so not in the container", where)
        self._shell.exported = {}
        command = list(run.command)
        if command and command[0] == "serve":
            command = ["vllm", *command]
        if command and command[0].startswith("--model"):
            command = ["vllm", "serve", *command]
        if command:
            self._command(command, {}, where, depth)

    def _exec(self, words: list[str], at: int, prefix: Mapping[str, str], where: Position, depth: int) -> None:
        """What runs in a container that is there, with what the options set for it alone; where that is a shell without
        a text to run, what stands below was typed inside."""
        shell = self._shell
        outer = {**shell.exported, **prefix}
        run = parse_exec(words[at:], where, self._notes, exported=outer, read=self._read_file)
        inside = list(run.command)
        if not inside or (inside[0] not in _SHELLS and _serve_words(inside) is None):
            self._leave_out(words, where)
            return
        if lost := [name for name in prefix if name not in run.env]:
            self._notes.note(f"{', '.join(lost)}: set in the shell that runs docker, so not in the container", where)
        before, shell.inside = shell.inside, {**shell.inside, **run.env}
        self._command(inside, {}, where, depth + 1)
        if inside[0] not in _SHELLS or _inline(inside) is not None:
            shell.inside = before

    def _serve(self, words: Sequence[str], prefix: Mapping[str, str], where: Position) -> None:
        shell = self._shell
        env = {**shell.inside, **shell.exported, **prefix}
        command = parse_serve(words, where)
        if not command.model:
            raise ConfigError("no model is named", where=where, hint="vllm serve MODEL --option value …")
        self._tell_unfilled(command, where)
        for mount in unused(shell.container, command.model):
            self._notes.warn(f"-v {mount} has no place in an inventory: left out", where)
        kept = {name: value for name, value in env.items() if not self._needs_a_shell(name, value, where)}
        index = self._first + len(self._found)
        self._found.append(Server(index, command, kept, where, container=replace(shell.container)))
        shell.fresh = False

    def _tell_unfilled(self, command: ServeCommand, where: Position) -> None:
        for option in command.options:
            for value in option.values:
                if option.name.endswith(("address", "addr", "host")):
                    continue
                missing = references(value) if not value.startswith("{") else ()
                if missing or "$(" in value:
                    what = f"${missing[0]} is set nowhere" if missing else f"only a shell can tell {value}"
                    self._notes.warn(f"--{option.spelled}: {what}", where)

    def _needs_a_shell(self, name: str, value: str, where: Position) -> bool:
        if "$(" not in value and "`" not in value:
            return False
        if name not in _ADDRESS_VARIABLES and not name.endswith("SOCKET_IFNAME"):
            self._notes.warn(f"{name}={_short(value)} needs a shell: left out", where)
        return True


def _look_over(source: Source, notes: Notes) -> None:
    """Raise where it is no text; warn of what looks like a blank, a quote or a dash, and is none."""
    if found := _CONTROL.search(source.text):
        message = f"the control character #x{ord(found[0]):04x} is not allowed"
        raise ConfigError(message, where=_place(source, found.start()), hint="is this a text? remove it")
    if found := _TYPESET.search(source.text):
        char = found[0]
        name = unicodedata.name(char).lower()
        notes.warn(
            f"{name} (U+{ord(char):04X}), as web pages set it, is a letter to a shell: write the plain one, here and "
            "wherever else it stands",
            _place(source, found.start()),
        )
    if line := unclosed(source.text):
        notes.warn("a quote that is opened here is never closed", Position(source.name, line, 1))


def _filled(source: Source, notes: Notes) -> str:
    """The text with the place-holder for a release that upstream's documents print in their image references."""
    found = _PLACEHOLDER.search(source.text)
    if not found:
        return source.text
    text = f"{found[0]} stands for a release in upstream's documents: {RELEASE} is assumed; --image gives another"
    notes.warn(text, _place(source, found.start()))
    return _PLACEHOLDER.sub(RELEASE, source.text)


def _place(source: Source, at: int) -> Position:
    line = source.text.count("\n", 0, at)
    return Position(source.name, line + 1, at - source.text.rfind("\n", 0, at))


def _statements(tokens: Sequence[Token]) -> Iterator[list[Token]]:
    """Words up to the end of a line or a separator, redirections left out."""
    words: list[Token] = []
    skip = False
    for token in tokens:
        if token.kind == "operator" and token.text not in _SEPARATORS:
            skip = True
        elif token.kind == "word":
            if not skip:
                words.append(token)
            skip = False
        elif not (token.text == "&" and skip):
            if words:
                yield words
            words, skip = [], False
    if words:
        yield words


def _serve_words(words: Sequence[str]) -> list[str] | None:
    """What stands after ``vllm serve``; None where it isn't one."""
    for at in range(len(words) - 1):
        if words[at].rpartition("/")[2] == "vllm" and words[at + 1] == "serve":
            return list(words[at + 2 :])
        if words[at] == "-m" and words[at + 1] == _API_SERVER:
            return list(words[at + 2 :])
    return None


def _without_env(words: list[str], prefix: Mapping[str, str]) -> tuple[list[str], Mapping[str, str]]:
    """The command that ``env A=B`` runs, and the environment with what it sets."""
    if words[0] != "env":
        return words, prefix
    set_here = dict(word.partition("=")[::2] for word in takewhile(_ASSIGNMENT.match, words[1:]))
    return words[len(set_here) + 1 :] or words, {**prefix, **set_here}


def _inline(words: Sequence[str]) -> str | None:
    """The text that a shell is given to run: ``bash -lic '…'``."""
    for at, word in enumerate(words[1:-1], start=1):
        if re.fullmatch(r"-[a-z]*c", word):
            return words[at + 1]
        if not word.startswith("-"):
            return None
    return None


def _short(text: str) -> str:
    """A line for a message; what may be a secret is not shown."""
    shown = masked(text)
    return shown if len(shown) <= 80 else shown[:79] + "…"
