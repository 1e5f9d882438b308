"""Clusters as modules see them, in memory; and a generator's actions, collected instead of performed."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from provision.actions import Action, JobProgress, On
from provision.facts.base import Fact
from provision.facts.docker import Container, ContainersValue, Image, ImageValue
from provision.facts.launch_folder import LaunchFolderValue
from provision.facts.logs import LogTailsValue
from provision.facts.packages import InstalledPackagesValue
from provision.facts.router import RouterChoiceValue
from provision.http import Response
from provision.inventory.model import Install, Model, Serve, Settings
from provision.results import Result
from provision.serve import launch
from tests.checks.world import FakeCluster, FakeNode, Server, healthy

IMAGE = "registry.example/vllm-cpu:1"
IMAGE_ID = "sha256:" + "1f" * 32
REFUSED = Response(0, error="nothing listens")


@dataclass
class Desk(Server):
    """A server that gives ``answers`` by path, the last one again and again."""

    answers: dict[str, list[Response]] = field(default_factory=dict)

    def get(self, path: str, *, timeout: float = 10.0, token: str = "") -> Response:
        waiting = self.answers.get(path, [REFUSED])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


@dataclass
class Node(FakeNode):
    """``steps`` are changes to facts, one for each look; ``texts`` is what reading scripts print. ``desks`` are servers
    by port, where there are several; ``images`` those beside the servers' own."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    texts: str = ""
    kept: dict[str, str] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    desks: dict[int, Desk] = field(default_factory=dict)
    images: dict[str, ImageValue] = field(default_factory=dict)

    def get(self, fact: Fact[Any]) -> Any:
        found = self.images.get(fact.ref) if isinstance(fact, Image) else None
        return found or super().get(fact)

    def http(self, port: int, *, host: str = "127.0.0.1") -> Server:
        return self.desks.get(port, self.server)

    def observe(self, facts: Any) -> None:
        self.observed += 1
        if self.steps:
            self.facts |= self.steps.pop(0)

    def read(self, script: str, *, deadline: float = 30.0, label: str = "") -> Result:
        return Result(label, 0, self.texts)

    def pipe(self, script: str, *, deadline: float | None = None) -> Iterator[bytes]:
        """``texts`` as the script that reads all logs of a node prints them."""
        for part in self.texts.split("==> qnext process ")[1:]:
            name, _, text = part.partition("\n")
            lines = "".join(f"|{line}\n" for line in text.splitlines())
            yield f"==> stdout {name}\n{lines}\n".encode()

    def keep(self, name: str, text: str) -> None:
        self.kept[name] = text

    def progress(self, progress: JobProgress) -> None:
        self.shown.append(progress.text)


def settings(**serve: Any) -> Settings:
    """Two nodes without NPUs, an engine on each."""
    serve = {"topology": "data-parallel", "data_parallel_size": 2, **serve}
    return Settings(
        cluster="qnext",
        hardware="cpu",
        install=Install(image=IMAGE),
        model=Model(path="/data/weights/Qwen3-Next"),
        serve=Serve.model_validate(serve),
    )


def cluster(own: Settings | None = None, nodes: int = 2) -> Any:
    """Healthy nodes that hold the image and run nothing."""
    own = own or settings()
    return FakeCluster([_node(index, own) for index in range(nodes)])


def replicas(nodes: int = 2, **serve: Any) -> Any:
    """Nodes with a server each behind a router on the first; every API answers."""
    own = settings(topology="replicas", data_parallel_size=1, router={"kind": "vllm-router"}, **serve)
    made = cluster(own, nodes)
    for process in launch.observed(made).plan.processes:
        node = next(node for node in made.nodes if node.name == process.node)
        if process.api_port is not None:
            node.desks[process.api_port] = Desk(answers=well(process.health))
    return made


def well(health: str = "/health") -> dict[str, list[Response]]:
    """The answers of a server that serves."""
    return {health: [Response(200)], "/v1/models": [Response(200, b"{}")]}


def dead(text: bytes = b"EngineDeadError") -> dict[str, list[Response]]:
    """The answers of a server whose engine has died."""
    return {"/health": [Response(503, text)]}


def _node(index: int, own: Settings) -> Node:
    facts = healthy(index, own).facts | {
        "launch-folder": LaunchFolderValue(),
        "image": ImageValue(own.install.image, present=True, id=IMAGE_ID),
        "log-tails": LogTailsValue(),
        "router-choice": RouterChoiceValue(),
        "installed-packages": InstalledPackagesValue(IMAGE_ID, IMAGE_ID, {"vllm": "0.11.0", "torch_npu": "none"}),
    }
    return Node(index, own, facts, Desk())


def container(process: str, digest: str = "", **changes: Any) -> Container:
    """A running container of the cluster."""
    name = f"qnext-qnext-{process}"
    plain: dict[str, Any] = {"state": "running", "image_id": IMAGE_ID, "cluster": "qnext", "exit_code": 0}
    rank = 0 if process in ("head", "server") else 1
    labels = {"kind": process} if process in ("router", "pool") else {"group": process} if "replica" in process else {}
    every = {**plain, "rank": rank, **labels, **changes}
    return Container(name.ljust(64, "0"), name, process=process, digest=digest, **every)


def running(made: Any, **changes: Any) -> Any:
    """The same cluster with every declared process running; ``changes`` by process change its container."""
    planned = launch.observed(made)
    for node in made.nodes:
        scripts = planned.scripts_of(node.name)
        found = [replace(container(s.process, s.digest), **changes.get(s.process, {})) for s in scripts]
        node.facts["containers"] = ContainersValue(tuple(found), reachable=True)
    return made


def containers(*found: Container) -> ContainersValue:
    return ContainersValue(found, reachable=True)


@dataclass
class Driven:
    """What a module yielded, and how it ended."""

    actions: list[Any] = field(default_factory=list)
    outcome: Any = None

    @property
    def labels(self) -> list[str | dict[str, str]]:
        return [
            {node: action.label for node, action in step.actions.items()} if isinstance(step, On) else step.label
            for step in self.actions
        ]


Answer = Callable[[Action], Any]


def drive(module: Generator[Any, Any, Any], answer: Answer = lambda action: Result(action.label, 0, "")) -> Driven:
    """Run a module to its end; ``answer`` gives an action's result, or the exception to throw into the module."""
    driven = Driven()
    try:
        step = next(module)
        while True:
            driven.actions.append(step)
            given = _answers(step, answer)
            step = module.throw(given) if isinstance(given, Exception) else module.send(given)
    except StopIteration as end:
        driven.outcome = end.value
    return driven


def _answers(step: Any, answer: Answer) -> Any:
    if not isinstance(step, On):
        return answer(step)
    results: Mapping[str, Any] = {node: answer(action) for node, action in step.actions.items()}
    return next((r for r in results.values() if isinstance(r, Exception)), results)
