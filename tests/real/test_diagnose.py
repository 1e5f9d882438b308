"""Failures of real launches, each told by its right sentence and node: by `up` or `status`, `diagnose`, an archive.

They are produced side by side, each as a cluster of its own on the same two nodes. Others are told where a test has
them anyway: experts under data parallel and a killed rank in test_main_job.py, Ray's refusal in test_topologies.py.
What checks would refuse is broken after them, or started by hand from rendered scripts, as operators do.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from .cli import Answer, Program
from .diagnosing import Expected, archive_is_whole, diagnosed, judge, same
from .nodes import Cluster, Node, wait_for

NEXT = {"path": "/data/weights/Qwen3-Next-Tiny", "served_name": "qwen3-next-tiny"}
DENSE = {"path": "/data/weights/Qwen3-Tiny", "served_name": "qwen3-tiny"}
VANISHING = "/data/weights/Vanishing"
SINGLE = {"topology": "single"}
TWO_NODES = {"topology": "tensor-parallel", "tensor_parallel_size": 2}
AT_ONCE = 4
"""Launches that run at a time: more of them would only slow each other down."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A cluster of its own on some of the nodes."""

    name: str
    nodes: list[Node]
    folder: Path
    inventory: Path
    port: int

    @property
    def program(self) -> Program:
        return Program(self.folder / "state")

    def up(self) -> Answer:
        answer = self.program("up", "-i", self.inventory)
        assert answer.exit == 1, answer.text
        return answer

    def container(self, process: str) -> str:
        return f"qnext-{self.name}-{process}"

    def evidence(self) -> Path:
        """The archive that `up` left when it failed."""
        [run] = (self.folder / "state" / "runs").glob("*-up-*")
        return run / "evidence.tar.gz"

    def started(self, node: Node, process: str) -> bool:
        return node.docker("ps", "-q", "--filter", f"name=^{self.container(process)}$") != ""

    def said(self, node: Node, process: str, words: str) -> bool:
        done = node.exec(["docker", "logs", self.container(process)])
        return words in done.stdout + done.stderr

    def by_hand(self, edited: str, old: str, new: str) -> None:
        """Start the rendered scripts as an operator does who has edited that of one process."""
        scripts = self.folder / "scripts"
        rendered = self.program("render", "-i", self.inventory, "--out", scripts)
        assert rendered.exit == 0, rendered.text
        for number, node in enumerate(self.nodes):
            for script in sorted(scripts.glob(f"node{number}.*.sh")):
                text = script.read_text()
                if script.name == f"node{number}.{edited}.sh":
                    assert old in text
                    text = text.replace(old, new)
                node.exec(text, check=True)

    def meanwhile(self, node: Node, process: str, command: str) -> Answer:
        """`up`, and a command of the node as soon as the process's container is there."""
        with ThreadPoolExecutor(1) as pool:
            up = pool.submit(self.up)
            wait_for(lambda: up.done() or self.started(node, process), 120, f"{process} to be started")
            node.exec(command, check=True)
            return up.result()


# ---- how each comes about; they return what the program says of it


def only_up(launch: Launch) -> Answer:
    return launch.up()


def port_is_taken(launch: Launch) -> Answer:
    [node] = launch.nodes
    server = f"python3 -m http.server {launch.port} >/dev/null 2>&1 </dev/null"
    node.exec(f"{server} & echo $! >/run/holder", check=True)
    wait_for(lambda: launch.port in node.listening(), 30, "the port to be taken")
    return launch.up()


def memory_is_limited(launch: Launch) -> Answer:
    name = launch.container("server")
    return launch.meanwhile(launch.nodes[0], "server", f"docker update --memory 600m --memory-swap 600m {name}")


def model_vanishes_on_one_node(launch: Launch) -> Answer:
    for node in launch.nodes:
        node.exec(f"cp -r {NEXT['path']} {VANISHING}", check=True)
    return launch.meanwhile(launch.nodes[1], "worker1", f"rm -rf {VANISHING}/*")


def other_name_is_served(launch: Launch) -> Answer:
    """Started by hand with a slip; `up` takes what runs and finds the other name, a client is refused the declared."""
    launch.by_hand("server", "--served-model-name qwen3-tiny", "--served-model-name qwen3-tinny")
    said = launch.up()
    verified = launch.program("verify", "-i", launch.inventory, "--only", "seed-chat")
    assert verified.exit == 1, verified.text
    return said


def worker_seeks_another_head(launch: Launch) -> Answer:
    """Started by hand with a free address of the same network; `status` says that nothing answers."""
    head, worker = launch.nodes
    wrong = head.address.rpartition(".")[0] + ".77"
    launch.by_hand("worker1", f"--master-addr {head.address}", f"--master-addr {wrong}")
    unreachable = f"failed to connect to any network address of ({wrong}"
    wait_for(lambda: launch.said(worker, "worker1", unreachable), 300, "worker1 to seek the head")
    wait_for(lambda: launch.said(head, "head", "distributed_init_method=tcp"), 300, "head to wait for worker1")
    answer = launch.program("status", "-i", launch.inventory)
    assert answer.exit == 1, answer.text
    return answer


@dataclass(frozen=True, slots=True)
class Case:
    """``first``: who failed first, by the node's number. ``said``: words of `up` or `status`. ``told``: an expression
    for the sentence of `diagnose`; ``proof``: words of the line that proves it."""

    make: Callable[[Launch], Answer]
    said: str
    id: str
    told: str
    proof: str
    nodes: tuple[int, ...]
    first: tuple[int, str]
    serve: Mapping[str, object]
    model: Mapping[str, object]
    off: tuple[str, ...] = ()
    """Checks that would refuse it."""
    or_first: tuple[int, str] | None = None
    """Who else may be, where both fail alike."""

    def expected(self, cluster: Cluster) -> list[Expected]:
        places = [place for place in (self.first, self.or_first) if place]
        return [Expected(cluster.nodes[n].name, name, self.id, self.told, self.proof) for n, name in places]


CASES = {
    "compiler": Case(
        only_up,
        "no C++ compiler",
        "cpu-compiler",
        r"no C\+\+ compiler",
        "InvalidCxxCompiler",
        nodes=(0, 1),
        first=(0, "head"),
        serve={**TWO_NODES, "env": {"TORCHDYNAMO_DISABLE": "0"}},
        model=NEXT,
        or_first=(1, "worker1"),
    ),
    "head-dim": Case(
        only_up,
        "head dimension",
        "cpu-head-dim",
        "head dimension",
        "Unexpected head dim size, 32",
        nodes=(0,),
        first=(0, "server"),
        serve={
            **SINGLE,
            "engine_args": {
                "load-format": "dummy",
                "hf-overrides": {"linear_key_head_dim": 32, "linear_value_head_dim": 32},
            },
        },
        model=NEXT,
    ),
    "master": Case(
        worker_seeks_another_head,
        "does not answer",
        "master-unreachable",
        "does not reach the head",
        "failed to connect to any network address",
        nodes=(0, 1),
        first=(1, "worker1"),
        serve=TWO_NODES,
        model=NEXT,
    ),
    "served-name": Case(
        other_name_is_served,
        "offers qwen3-tinny, not qwen3-tiny",
        "served-name",
        "does not serve the model by the name that is declared",
        "Valid aliases: qwen3-tinny",
        nodes=(1,),
        first=(1, "server"),
        serve=SINGLE,
        model=DENSE,
    ),
    "folder": Case(
        model_vanishes_on_one_node,
        "worker1 exited with exit status 1",
        "weights-missing",
        "model's folder",
        f"Invalid repository ID or local directory specified: '{VANISHING}'",
        nodes=(0, 1),
        first=(1, "worker1"),
        serve=TWO_NODES,
        model={**NEXT, "path": VANISHING},
        off=("N15", "X04"),
    ),
    "port": Case(
        port_is_taken,
        "port",
        "port-in-use",
        "port",
        "[Errno 98] Address already in use",
        nodes=(0,),
        first=(0, "server"),
        serve=SINGLE,
        model=DENSE,
        off=("N18",),
    ),
    "memory": Case(
        memory_is_limited,
        "killed for lack of memory",
        "container-out-of-memory",
        "memory limit",
        "Memory cgroup out of memory",
        nodes=(1,),
        first=(1, "server"),
        serve=SINGLE,
        model=DENSE,
    ),
}


@dataclass(frozen=True, slots=True)
class Failed:
    """A case under way, or over."""

    launch: Launch
    saying: Future[Answer]


@pytest.fixture(scope="module")
def fresh(raised_cluster: Cluster) -> Iterator[Cluster]:
    """The nodes for this whole file, with the image, as they were raised before and after it."""
    raised_cluster.reset()
    raised_cluster.pull()
    yield raised_cluster
    for node in raised_cluster.nodes:
        node.exec("test ! -e /run/holder || kill $(cat /run/holder); rm -f /run/holder")
    raised_cluster.reset()


@pytest.fixture(scope="module")
def failed(
    fresh: Cluster, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Failed]]:
    """The cases of the tests that are to run, all under way; one that can't be produced fails its own tests only."""
    folder = tmp_path_factory.mktemp("failures")
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    numbers = {name: number for number, name in enumerate(CASES) if name in asked}
    launches = {name: launch_of(fresh, name, number, folder) for name, number in numbers.items()}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: Failed(launch, pool.submit(CASES[name].make, launch)) for name, launch in launches.items()}


def launch_of(cluster: Cluster, name: str, number: int, folder: Path) -> Launch:
    """Write the inventory of a case, with ports of its own."""
    case, port = CASES[name], 8000 + 10 * number
    nodes = [cluster.nodes[index] for index in case.nodes]
    ports = {"port": port, "master_port": 29500 + 10 * number}
    inventory = cluster.write_inventory(
        folder / name,
        nodes=nodes,
        cluster=f"{cluster.prefix}-{name}",
        model=case.model,
        serve={**case.serve, **ports},
        checks={**dict.fromkeys(("N13", "N14"), "warn"), **dict.fromkeys(case.off, "off")},
    )
    return Launch(f"{cluster.prefix}-{name}", nodes, folder / name, inventory, port)


@pytest.mark.parametrize("name", CASES)
def test_told_with_its_node(name: str, failed: dict[str, Failed], fresh: Cluster) -> None:
    case, launch = CASES[name], failed[name].launch
    said = failed[name].saying.result().text
    expected = case.expected(fresh)
    assert case.said in said
    if case.make is not worker_seeks_another_head:
        assert any(place.node in said for place in expected)
    judge(diagnosed(launch.program, "-i", launch.inventory), *expected)


@pytest.mark.parametrize(
    ("name", "logs"),
    [
        ("folder", {"head": "non-default args", "worker1": "Invalid repository ID or local directory"}),
        ("memory", {"server": "non-default args"}),
    ],
)
def test_an_archive_tells_the_same(
    name: str, logs: dict[str, str], failed: dict[str, Failed], fresh: Cluster, tmp_path: Path
) -> None:
    """That which `up` itself left, and one that is collected afterwards: whole, and with the same diagnosis."""
    case, launch = CASES[name], failed[name].launch
    failed[name].saying.result()
    archive = tmp_path / "evidence.tar.gz"
    collected = launch.program("logs", "collect", "-i", launch.inventory, "-o", archive)
    assert collected.exit == 0, collected.text
    archive_is_whole(archive, tmp_path / "unpacked", launch.nodes, logs)
    live = diagnosed(launch.program, "-i", launch.inventory)
    for evidence in (archive, launch.evidence()):
        found = diagnosed(launch.program, evidence)
        judge(found, *case.expected(fresh))
        same(found, live)


# ---- following

LINES = 160
CHATTER = f"""
test -e /n || echo 0 >/n
read n </n
while test $n -lt {LINES}; do
    n=$((n + 1))
    echo $n >/n
    echo "line $n of $0"
    sleep 0.05
done
sleep 1
"""
"""Counts on where it was, when it is started again."""


def test_following_loses_nothing_and_says_nothing_twice(fresh: Cluster, tmp_path: Path) -> None:
    """A container starts again and connections are cut while it is followed."""
    name = f"{fresh.prefix}-chatter"
    launch = Launch(name, fresh.nodes, tmp_path, fresh.write_inventory(tmp_path, cluster=name, serve=TWO_NODES), 8000)
    processes = ("head", "worker1")
    for number, (node, process) in enumerate(zip(fresh.nodes, processes, strict=True)):
        labels = {"qnext.cluster": name, "qnext.process": process, "qnext.rank": str(number)}
        words = [word for label, value in labels.items() for word in ("--label", f"{label}={value}")]
        image = "quay.io/ascend/vllm-ascend:v0.18.0-a3"
        node.docker(
            "run",
            "-d",
            "--net=none",
            f"--name={launch.container(process)}",
            *words,
            image,
            "sh",
            "-c",
            CHATTER,
            process,
        )
    head, worker = fresh.nodes
    output = tmp_path / "followed.jsonl"
    with output.open("w") as out, (tmp_path / "errors").open("w") as errors:
        follower = launch.program.start("logs", "-f", "-i", launch.inventory, "--json", stdout=out, stderr=errors)
    try:
        wait_for(lambda: '"line 20 of head"' in output.read_text(), 60, "lines")
        worker.docker("restart", "-t", "0", launch.container("worker1"))
        for pid in [pid for pid, title in head.processes().items() if title.startswith("sshd: root")]:
            head.exec(["kill", "-9", str(pid)])
        assert follower.wait(90) == 0, (tmp_path / "errors").read_text()
    finally:
        follower.kill()
        follower.wait()
    shown = [json.loads(line) for line in output.read_text().splitlines()]
    for node, process in zip(fresh.nodes, processes, strict=True):
        truth = node.docker("logs", launch.container(process)).splitlines()
        texts = [line["text"] for line in shown if line["process"] == process and not line["note"]]
        assert Counter(texts) == Counter(truth)
        assert texts == truth, "in the order of the log"
        assert len(truth) >= LINES - 1
    assert any(line["note"] and line["node"] == head.name for line in shown), "a lost connection is told"
