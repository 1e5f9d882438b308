"""Rehearsal nodes for tests: bare ones, whose commands run here and now, and a cluster that is reached by SSH."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import pytest

from provision.clock import monotonic, sleep
from provision.rehearsal.addresses import free_port
from provision.rehearsal.cluster import ClusterInfo, create, down, end_processes, running
from provision.rehearsal.faults import clear_faults
from provision.rehearsal.layout import MODEL
from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import unmap
from provision.rehearsal.standins.docker.store import Store
from provision.rehearsal.standins.process import birth
from provision.rehearsal.standins.system import login_environment

IMAGE = "quay.io/ascend/vllm-ascend:v0.18.0-a3"
SERVED = ("--served-model-name", "qwen3_next", "--max-model-len", "32768", "--gpu-memory-utilization", "0.8")


@dataclass(frozen=True, slots=True)
class Done:
    """A command that has ended."""

    exit: int
    out: str
    err: str


class Machine:
    """A node without its SSH server: scripts run in its own shell."""

    def __init__(self, node: Node, image: str | None = None) -> None:
        self.node = node
        self.port = free_port(node.address)
        self._image = image
        self.reset()

    @property
    def folder(self) -> Path:
        """The cluster's folder, which faults are set with."""
        return Path(self.node.cluster_folder)

    def reset(self) -> None:
        """As good as new."""
        if ids := [container.id for container in Store(self.node).containers()]:
            assert self.docker("rm", "-f", *ids).exit == 0
        clear_faults(self.folder, self.node.name)
        for key in self.node.state.all():
            self.node.state.clear(key)
        self.node.state.set("docker/pull_seconds_per_layer", "0")
        if self._image is None:
            self._forget_images()
        elif Store(self.node).image(self._image) is None:
            assert self.docker("pull", "-q", self._image).exit == 0

    def _forget_images(self) -> None:
        folder = Path(self.node.docker)
        for path in (folder / "images.json", *(folder / "layers").iterdir()):
            path.unlink(missing_ok=True)

    def run(self, script: str, *, stdin: str = "", user: str = "root") -> Done:
        """Run a script as a login of ``user`` would."""
        done = subprocess.run(
            [f"{self.node.root}/bin/sh", "-c", script],
            input=stdin, capture_output=True, text=True, timeout=60, check=False,
            env=login_environment(self.node, user), cwd=self.node.root,
        )  # fmt: skip
        return Done(done.returncode, unmap(done.stdout, self.node.root), unmap(done.stderr, self.node.root))

    def ok(self, script: str, **options: str) -> str:
        """The output of a script that must succeed."""
        done = self.run(script, **options)
        assert done.exit == 0, done
        return done.out

    def docker(self, *words: str) -> Done:
        """A docker command, its words as they are."""
        done = subprocess.run(
            [f"{self.node.root}/usr/bin/docker", *words], capture_output=True, text=True, timeout=60, check=False,
            env=login_environment(self.node, "root"), cwd=self.node.root,
        )  # fmt: skip
        return Done(done.returncode, done.stdout, done.stderr)

    def serve(
        self, *arguments: str, name: str = "server", env: dict[str, str] | None = None, image: str = IMAGE,
        dies: Sequence[int] | None = None,
    ) -> Done:  # fmt: skip
        """``docker run`` of a vLLM server with the recipe of an Atlas node, with all of its dies or some."""
        words = (
            "bash",
            "-lic",
            'exec "$@"',
            "qnext",
            "vllm",
            "serve",
            MODEL,
            *SERVED,
            "--port",
            str(self.port),
            *arguments,
        )
        return self.start(*words, name=name, env=env, image=image, dies=dies)

    def start(
        self, *command: str, name: str = "server", env: dict[str, str] | None = None, image: str = IMAGE,
        dies: Sequence[int] | None = None, binds: Sequence[str] = (),
    ) -> Done:  # fmt: skip
        """``docker run`` of any command with that recipe."""
        devices = [f"/dev/davinci{n}" for n in (range(self.node.dies) if dies is None else dies)]
        devices += ["/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"] if self.node.is_npu else []
        sources = ["/usr/local/dcmi", "/usr/local/Ascend/driver/lib64"] if self.node.is_npu else []
        return self.docker(
            "run", "-d", "--name", name, "--net=host", "--shm-size=16g", "--label", "qnext.cluster=test",
            *(word for device in devices for word in ("--device", device)),
            *(word for source in (*sources, MODEL) for word in ("-v", f"{source}:{source}")),
            *(word for bind in binds for word in ("-v", bind)),
            *(word for key, value in (env or {}).items() for word in ("-e", f"{key}={value}")), image, *command,
        )  # fmt: skip

    def logs(self, name: str = "server") -> str:
        """Both streams of a container."""
        done = self.docker("logs", name)
        return done.out + done.err

    def state(self, name: str = "server") -> dict[str, object]:
        """``.State`` of a container."""
        value = json.loads(self.docker("inspect", "--format", "{{json .State}}", name).out)
        assert isinstance(value, dict)
        return value

    def ended(self, name: str = "server") -> tuple[int, str]:
        """Wait for a container to end; its exit status and log."""
        return int(self.docker("wait", name).out), self.logs(name)


def until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, f"in vain: {what}"
        sleep(0.03)


Fleet = Callable[[int, str, str | None], list[Machine]]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Nodes with nothing serving them, made once for a file of tests; what their containers left running is ended."""
    made: dict[tuple[int, str, str | None], list[Machine]] = {}
    folders: list[Path] = []

    def make(count: int, hardware: str, image: str | None) -> list[Machine]:
        folder = tmp_path_factory.mktemp("fleet") / "c"
        create(folder, count, hardware, port=2222, cluster="test")
        folders.append(folder)
        return [Machine(Node(str(folder / "nodes" / f"node{k}")), image) for k in range(1, count + 1)]

    def get(count: int, hardware: str, image: str | None) -> list[Machine]:
        key = (count, hardware, image)
        if key not in made:
            made[key] = make(*key)
        return made[key]

    yield get
    for folder in folders:
        end_processes(folder, patience=0.2)
        down(folder)


@pytest.fixture
def machines(fleet: Fleet) -> Iterator[Callable[..., list[Machine]]]:
    """Nodes of one cluster as good as new: without containers or faults, with the image (None: with none)."""
    used: list[Machine] = []

    def make(count: int = 1, hardware: str = "a3", *, image: str | None = IMAGE) -> list[Machine]:
        found = fleet(count, hardware, image)
        used.extend(found)
        return found

    yield make
    for machine in used:
        machine.reset()


@pytest.fixture
def machine(machines: Callable[..., list[Machine]]) -> Machine:
    """One A3 node with the image."""
    return machines()[0]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterInfo]:
    """Two A3 nodes behind SSH, for the tests of one file."""
    with running(tmp_path_factory.mktemp("rehearsal") / "c", 2, "a3") as found:
        yield found


def ssh(
    cluster: ClusterInfo,
    command: str,
    *,
    stdin: bytes = b"",
    node: int = 0,
    user: str = "root",
    key: str = "id_ed25519",
) -> Done:
    """One command on one new connection, host key checked."""

    async def call() -> Done:
        async with asyncssh.connect(
            cluster.addresses[node], cluster.port, username=user, known_hosts=str(cluster.known_hosts),
            client_keys=[str(cluster.folder / "keys" / key)], config=None, agent_path=None,
        ) as connection:  # fmt: skip
            done = await connection.run(command, input=stdin, encoding=None)
            if done.exit_status is None and done.exit_signal is None:
                raise ConnectionError("the connection broke")
            return Done(_status(done.exit_status), _text(done.stdout), _text(done.stderr))

    return asyncio.run(asyncio.wait_for(call(), 30))


def _status(status: int | None) -> int:
    return -1 if status is None else status


def _text(data: object) -> str:
    return data.decode("utf-8", "surrogateescape") if isinstance(data, bytes) else str(data)


def alive(pid: int) -> bool:
    """Whether a process runs (one that has ended and waits for its parent doesn't)."""
    return birth(pid) != ""
