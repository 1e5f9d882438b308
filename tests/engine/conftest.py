"""Nodes in memory, modules of a few lines, and a run of a playbook over them in one call.

A node's state is a mapping of texts. Scripts speak four words: ``set NAME VALUE``, ``get NAME``, ``fail STATUS``,
``lose`` (the connection breaks). A fact's script is a ``get``. So a plan, a run and a second run are about one state.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from provision import registry
from provision.actions import Call, Job, On, Put, Remove, Run
from provision.emitter import Emitter
from provision.engine.load import load_playbook
from provision.engine.run import RunOptions, RunReport, execute
from provision.errors import ConfigError, ConnectFailed, ConnectionLost, ProvisionError
from provision.events import Event
from provision.facts.base import Fact
from provision.findings import Finding
from provision.inventory.model import Connection, Host, Inventory, Settings
from provision.modules.base import ModuleArgs, Outcome
from provision.results import Result
from provision.transport.base import Counters


@dataclass(frozen=True, slots=True)
class State(Fact[str]):
    """A value of a node in memory."""

    key: str
    name: ClassVar[str] = "state"

    def script(self) -> str:
        return f"get {self.key}"

    def parse(self, raw: Result) -> str:
        if raw.stdout == "garbage":
            raise ValueError("cannot read garbage")
        return raw.stdout


@dataclass(frozen=True, slots=True)
class Other(State):
    """The same under another name, for ``affects``."""

    name: ClassVar[str] = "other"


@dataclass(frozen=True, slots=True)
class Sent:
    """Something that went to a node."""

    kind: str
    text: str


@dataclass
class Memory:
    """A transport to a node in memory, which records all that was asked of it."""

    name: str
    state: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    counters: Counters = field(default_factory=lambda: Counters(connections=1))
    sent: list[Sent] = field(default_factory=list)
    before_run: Callable[[str], None] = lambda script: None
    deadlines: list[float | None] = field(default_factory=list)
    """Of the streams."""

    def run(self, script: str, *, deadline: float, input: bytes = b"", become: bool = True, label: str = "") -> Result:
        self.counters.execs += 1
        self.sent.append(Sent("run", script))
        self.before_run(script)
        status, output = self._answer(script)
        return Result(label, status, output, "" if status == 0 else f"status {status}", 0.001)

    def probe(self, facts: Sequence[Fact[object]], *, become: bool = True) -> dict[Fact[object], Result]:
        self.counters.execs += 1
        self.sent.append(Sent("probe", ",".join(fact.script() for fact in facts)))
        return {fact: Result(fact.name, *self._answer(fact.script())) for fact in facts}

    def _answer(self, script: str) -> tuple[int, str]:
        word, *rest = script.split()
        if word == "set":
            self.state[rest[0]] = rest[1]
        elif word == "get":
            return 0, self.state.get(rest[0], "")
        elif word == "fail":
            return int(rest[0]), ""
        elif word == "lose":
            raise ConnectionLost("the connection broke", node=self.name)
        return 0, ""

    def stream(self, script: str, *, become: bool = True, deadline: float | None = None) -> Iterator[bytes]:
        self.deadlines.append(deadline)
        yield from (line.encode() + b"\n" for line in self.state.get(script, "").splitlines())

    def put(self, path: str, content: bytes, *, mode: int, become: bool = True) -> None:
        self.counters.execs += 1
        self.sent.append(Sent("put", path))
        self.files[path] = content

    def get(self, path: str, *, become: bool = True, offset: int = 0, length: int = 0) -> bytes:
        self.counters.execs += 1
        self.sent.append(Sent("get", path))
        return self.files[path][offset : offset + length if length else None]

    def open_tcp(self, host: str, port: int, *, timeout: float) -> socket.socket:
        raise OSError("no server in memory")

    def close(self) -> None: ...

    @property
    def changed_by(self) -> list[str]:
        """What went to the node other than looks."""
        looks = ("get ", "rm -rf")
        return [sent.text for sent in self.sent if sent.kind != "probe" and not sent.text.startswith(looks[:1])]


@dataclass
class MemoryPool:
    """A pool of nodes in memory; ``down`` are those that don't answer."""

    nodes: dict[str, Memory]
    down: set[str] = field(default_factory=set)

    def get(self, host: Host | str) -> Memory:
        name = host if isinstance(host, str) else host.name
        if name in self.down:
            raise ConnectFailed(f"{name} does not answer", node=name, hint="is it on?")
        return self.nodes[name]


@dataclass
class Recorder:
    """A sink that keeps all events."""

    events: list[Event] = field(default_factory=list)

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None: ...

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


# ---- modules


class NoArgs(ModuleArgs):
    """None."""


class Key(ModuleArgs):
    key: str = "x"
    value: str = "1"
    affects: str = "state"


def _names(text: str) -> frozenset[str] | None:
    return None if text == "all" else frozenset(text.split())


def ensure(args: Key, node: Any) -> Any:
    """Set a value where it is another."""
    if node.get(State(args.key)) != args.value:
        yield Run(label=f"set {args.key}", script=f"set {args.key} {args.value}", affects=_names(args.affects))
    return Outcome(f"{args.key} is {args.value}", data={"value": node.get(State(args.key))})


class Script(ModuleArgs):
    text: str
    ok: tuple[int, ...] = (0,)
    affects: str = "state"


def run_script(args: Script, node: Any) -> Any:
    """Run a script, whatever it does."""
    result = yield Run(
        label="script", script=args.text, ok_exits=args.ok, hint="try again", affects=_names(args.affects)
    )
    return Outcome("", data={"exit": result.exit, "stdout": result.stdout})


class Look(ModuleArgs):
    key: str = "x"
    fact: str = "state"


def look(args: Look, node: Any) -> Outcome:
    """Look at a fact; no generator, since it never changes a thing."""
    fact = State(args.key) if args.fact == "state" else Other(args.key)
    return Outcome(f"{args.key}={node.get(fact)}", data={"value": node.get(fact)})


class Say(ModuleArgs):
    message: Any = ""
    data: dict[str, Any] = {}  # noqa: RUF012 - pydantic copies it
    summary: dict[str, str] = {}  # noqa: RUF012
    next: tuple[str, ...] = ()
    findings: tuple[dict[str, Any], ...] = ()


def say(args: Say, node: Any) -> Outcome:
    findings = tuple(Finding(**{"remedy": "mend it", **finding}) for finding in args.findings)
    return Outcome(str(args.message), args.data, findings, args.summary, args.next)


class Refuse(ModuleArgs):
    message: str = "no"
    nodes: tuple[str, ...] = ()


def refuse(args: Refuse, node: Any) -> Any:
    """Fail, on all nodes or only on some."""
    if not args.nodes or node.name in args.nodes:
        raise ProvisionError(args.message, hint="ask nicely", node=node.name)
    yield from ()


class Together(ModuleArgs):
    script: str
    fail: str = ""
    on: tuple[str, ...] = ()


def together(args: Together, cluster: Any) -> Any:
    """One script on all nodes, or on some of them, or an error naming one."""
    chosen = [node.name for node in cluster.nodes if not args.on or node.name in args.on]
    results = yield On({name: Run(label="together", script=args.script) for name in chosen})
    if args.fail:
        raise ProvisionError("the cluster cannot", node=args.fail if args.fail != "all" else "")
    return Outcome(f"{len(results)} nodes", data={"ok": all(result.ok for result in results.values())})


def summary(args: Say, cluster: Any) -> Outcome:
    findings = tuple(Finding(**{"remedy": "mend it", **finding}) for finding in args.findings)
    return Outcome(str(args.message), data=args.data, findings=findings)


class File(ModuleArgs):
    path: str
    content: str
    secret: bool = False


def file(args: File, node: Any) -> Any:
    yield Put(label="write", path=args.path, content=args.content.encode(), before=b"old\n", secret=args.secret)


def remove(args: File, node: Any) -> Any:
    yield Remove(label="remove", path=args.path)


def brave(args: Script, node: Any) -> Any:
    """Handles the failure of its own action."""
    try:
        yield Run(label="try", script=args.text)
    except ProvisionError as error:
        yield Run(label="instead", script="set x rescued")
        return Outcome(f"handled: {error.message}")
    return Outcome("fine")


def broken(args: NoArgs, node: Any) -> Any:
    raise KeyError("oops")


def job(args: Script, node: Any) -> Any:
    result = yield Job(label="long", name="long", script=args.text)
    return Outcome(result.stdout)


def call(args: Script, node: Any) -> Any:
    yield Call(label="call", do=lambda view: view.command(args.text, deadline=1, label="called"))


def _facts(args: Any, settings: Settings) -> Iterable[Fact[object]]:
    fact = Other(args.key) if getattr(args, "fact", "state") == "other" else State(args.key)
    return [fact]


_MODULES: dict[str, tuple[str, type[ModuleArgs], Callable[..., Any], Any]] = {
    "ensure": ("node", Key, ensure, _facts),
    "script": ("node", Script, run_script, None),
    "look": ("node", Look, look, _facts),
    "late": ("node", Look, look, None),
    "say": ("node", Say, say, None),
    "refuse": ("node", Refuse, refuse, None),
    "together": ("cluster", Together, together, None),
    "tell": ("cluster", Say, summary, None),
    "file": ("node", File, file, None),
    "rm": ("node", File, remove, None),
    "brave": ("node", Script, brave, None),
    "broken": ("node", NoArgs, broken, None),
    "job": ("node", Script, job, None),
    "call": ("node", Script, call, None),
}


@dataclass(frozen=True)
class _Point:
    module: ModuleType

    def load(self) -> ModuleType:
        return self.module


def _point(name: str, scope: str, args: type[ModuleArgs], run: Callable[..., Any], facts: Any) -> _Point:
    module = ModuleType(name, f"{name}: a module of the tests.")
    module.SCOPE, module.Args, module.run = scope, args, run  # type: ignore[attr-defined]
    if facts:
        module.facts = facts  # type: ignore[attr-defined]
    return _Point(module)


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own modules, and only these."""
    points = {name: _point(name, *parts) for name, parts in _MODULES.items()}
    monkeypatch.setattr(registry, "_entry_points", lambda kind: points if kind == "modules" else {})
    monkeypatch.setattr(registry, "_files", lambda kind: frozenset())


# ---- runs


def settings(**more: Any) -> Settings:
    """Valid settings of a CPU node."""
    data = {
        "cluster": "test",
        "hardware": "cpu",
        "install": {"image": "registry.example/vllm:1"},
        "model": {"path": "/data/model"},
        **more,
    }
    return Settings.model_validate(data)


def inventory_of(*names: str, **variables: object) -> Inventory:
    """Hosts of these names; the first one is group ``head``, the others ``workers``."""
    hosts = tuple(
        Host(name, index, ("all", "head" if index == 0 else "workers"), Connection(host=name), settings(), variables)
        for index, name in enumerate(names)
    )
    groups = {"all": names, "head": names[:1], "workers": names[1:]}
    return Inventory("cluster.yaml", hosts, groups)


@dataclass
class Bench:
    """A cluster in memory to run playbooks on, one after the other."""

    folder: Path
    inventory: Inventory
    pool: MemoryPool
    stop: threading.Event = field(default_factory=threading.Event)
    seen: Recorder = field(default_factory=Recorder)

    def write(self, text: str, name: str = "play.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def load(self, text: str) -> Any:
        """The playbook of this text; a summary is added where there is none."""
        text = text if "\nsummary:" in "\n" + text else "summary: a test\n" + text
        return load_playbook(self.write(text), self.inventory)

    def run(self, text: str, params: Mapping[str, object] | None = None, **options: Any) -> RunReport:
        """Load and run; events are in ``seen``."""
        self.seen = Recorder()
        return execute(
            self.load(text),
            self.inventory,
            self.inventory.hosts,
            params=params or {},
            options=RunOptions(stop=self.stop, **options),
            pool=self.pool,  # type: ignore[arg-type]
            emitter=Emitter([self.seen]),
        )

    def tasks(self, text: str, **options: Any) -> RunReport:
        """Run tasks, given as YAML flow or block lines, as one play on all nodes."""
        lines = "\n".join(f"      {line}" for line in text.strip("\n").splitlines())
        return self.run(f"plays:\n  - name: test\n    hosts: all\n    tasks:\n{lines}\n", **options)

    def __getitem__(self, name: str) -> Memory:
        return self.pool.nodes[name]

    @property
    def execs(self) -> dict[str, int]:
        return {name: node.counters.execs for name, node in self.pool.nodes.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    """Makes a cluster of nodes with these names (default: a, b, c)."""

    def make(*names: str, **variables: object) -> Bench:
        names = names or ("a", "b", "c")
        nodes = {name: Memory(name) for name in names}
        return Bench(tmp_path, inventory_of(*names, **variables), MemoryPool(nodes))

    return make


@pytest.fixture
def config_error(bench: Callable[..., Bench]) -> Callable[[str], ConfigError]:
    """Loads a playbook that must be refused, and gives the error."""

    def load(text: str) -> ConfigError:
        with pytest.raises(ConfigError) as caught:
            bench().load(text)
        return caught.value

    return load


@pytest.fixture
def fact() -> type[State]:
    """The fact that reads a value of a node in memory."""
    return State
