"""Files and images from node to node, over real SSH between three nodes: what moves, what is mended, what is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import yaml

from provision import registry
from provision.rehearsal import cluster as rehearsal
from tests.scenarios.practice import Practice
from tests.scenarios.program import Answer, Program

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.long,
    pytest.mark.skipif(
        not shutil.which("ssh"), reason="there is no ssh on this machine; install/test_spread runs the scripts"
    ),
]

PORT = 2780
ALONE = """
from importlib.metadata import EntryPoint
from provision import registry
point = EntryPoint("spread_trial", "tests.scenarios.spread_trial", "qnext_provision.modules")
registry._entry_points = lambda kind: {"spread_trial": point} if kind == "modules" else {}
from provision.cli.main import main
main()
"""
"""The program in a process of its own, with our module."""
FOLDER = "/data/parcel"
BIG, SMALL, NESTED = "model-1.safetensors", "config.json", "sub/tokenizer.json"
FOREIGN = (
    b"# the operator's own\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFcVqCjO0lBq8kQbz0Y4vJXm9f2Yw6Ck0y8Q2r4tM5aa admin"
)


@dataclass
class Nodes:
    """Three nodes, of which the first has all files; the operator's key is in authorized_keys of the second."""

    practice: Practice
    program: Program
    contents: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chance = random.Random(5)
        self.contents = {BIG: chance.randbytes(9 << 20), SMALL: b"{}\n", NESTED: chance.randbytes(70_000)}
        self.write("node1", self.contents)
        for path, content in self.contents.items():
            place = self.practice.place / "source" / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    def folder(self, node: str) -> Path:
        return self.practice.root(node) / FOLDER.removeprefix("/")

    def write(self, node: str, contents: dict[str, bytes]) -> None:
        for path, content in contents.items():
            place = self.folder(node) / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    def keys(self, node: str, home: str = "root") -> Path:
        return self.practice.root(node) / home / ".ssh/authorized_keys"

    def lacks(self, node: str) -> list[str]:
        """Paths that the node has not, or wrong."""
        found = {path: self.folder(node) / path for path in self.contents}
        return [
            path for path, place in found.items() if not place.exists() or place.read_bytes() != self.contents[path]
        ]

    def spread(self, *words: str, inventory: Path | None = None, **args: object) -> Answer:
        """Run the module on what each node lacks now."""
        return self.playing(**args)("spread", "-i", inventory or self.practice.inventory, *words)

    def playing(self, **args: object) -> Program:
        """The program, with a playbook that runs the module."""
        lacking = {node: " ".join(self.lacks(node)) for node in ("node2", "node3") if self.lacks(node)}
        task = {
            "spread_trial": {
                "source": str(self.practice.place / "source"),
                "folder": FOLDER,
                "lacking": lacking,
                **args,
            }
        }
        play = {"name": "spread", "hosts": "all", "tasks": [{"name": "spread", **task}]}
        folder = self.practice.place / "playbooks"
        folder.mkdir(exist_ok=True)
        (folder / "spread.yaml").write_text(yaml.safe_dump({"summary": "Spread.", "plays": [play]}))
        return self.program.with_env(QNEXT_PLAYBOOKS=str(folder))

    def log(self, node: str) -> str:
        """What the node's job said, as it is kept with the run."""
        (path,) = self.program.runs.glob(f"*-spread-*/logs/{node}/spread-trial.txt")
        return path.read_text()

    def left(self, node: str) -> list[str]:
        """What a spread has left of itself."""
        place = self.practice.root(node) / "var/lib/qnext/rehearsal/spread"
        keys = [path for path in self.practice.root(node).rglob("authorized_keys*") if b"qnext:" in path.read_bytes()]
        return [str(path) for path in (*keys, place) if path.exists()]


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[rehearsal.ClusterInfo]:
    number = int(worker_id.removeprefix("gw") or 0) if worker_id != "master" else 19
    folder = tmp_path_factory.mktemp("spread") / "cluster"
    try:
        yield rehearsal.up(folder, 3, "cpu", port=PORT + number)
    finally:
        rehearsal.down(folder)


@pytest.fixture
def nodes(info: rehearsal.ClusterInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nodes]:
    point = EntryPoint("spread_trial", "tests.scenarios.spread_trial", "qnext_provision.modules")
    known = registry._entry_points
    monkeypatch.setattr(
        registry, "_entry_points", lambda kind: {"spread_trial": point} if kind == "modules" else known(kind)
    )
    practice = Practice(info, tmp_path)
    try:
        yield Nodes(practice, Program(tmp_path))
    finally:
        practice.reset()
        for node in info.nodes:
            for path in ("data/parcel", "root/.ssh", "home/deploy/.ssh", "var/lib/qnext"):
                shutil.rmtree(practice.root(node) / path, ignore_errors=True)


@pytest.mark.parametrize("mode", ["pipeline", "tree"])
def test_all_have_all_and_no_key_is_left(nodes: Nodes, mode: str) -> None:
    nodes.keys("node1").parent.mkdir(mode=0o700)
    nodes.keys("node1").write_bytes(FOREIGN)

    answer = nodes.spread(mode=mode)

    assert answer.exit == 0, answer.text
    assert (nodes.lacks("node2"), nodes.lacks("node3")) == ([], [])
    assert [nodes.left(node) for node in nodes.practice.nodes] == [[], [], []]
    assert nodes.keys("node1").read_bytes() == FOREIGN
    assert not nodes.keys("node2").parent.exists()
    remembered = (nodes.folder("node3") / ".qnext-verified").read_text()
    assert BIG in remembered
    assert len(remembered.splitlines()) == 3


def test_a_plan_says_who_gets_what_from_whom_and_does_nothing(nodes: Nodes) -> None:
    before = nodes.practice.fingerprint()

    answer = nodes.spread("--check")

    assert answer.exit == 0, answer.text
    assert "fetch 3 files (9.5 MB) from node1" in answer.text
    assert "fetch 3 files (9.5 MB) from node2" in answer.text
    assert nodes.practice.fingerprint() == before


def test_a_flipped_byte_moves_one_block(nodes: Nodes) -> None:
    bad = bytearray(nodes.contents[BIG])
    bad[5 << 20] ^= 0x40
    nodes.write("node2", {**nodes.contents, BIG: bytes(bad)})
    nodes.write("node3", nodes.contents)

    answer = nodes.spread()

    assert (answer.exit, nodes.lacks("node2")) == (0, []), answer.text
    assert f"mended({4 << 20}) {9 << 20} {BIG}" in nodes.log("node2")


def test_a_cut_connection_is_taken_up_where_it_broke(nodes: Nodes) -> None:
    nodes.practice.fault("node1", "ssh/drop_after_bytes", str(3 << 20))

    answer = nodes.spread()

    assert answer.exit == 0, answer.text
    assert (nodes.lacks("node2"), nodes.lacks("node3")) == ([], [])
    assert "? node1 at " in nodes.log("node2")


def test_a_way_that_is_closed_is_named_with_both_its_ends(nodes: Nodes) -> None:
    nodes.write("node3", nodes.contents)
    nodes.practice.fault("node2", "tcp/node1", "refused")
    nodes.practice.fault("node2", "tcp/node3", "refused")

    answer = nodes.spread()

    assert answer.exit == 1
    assert "node2 could not fetch 3 files" in answer.text
    assert "Connection refused" in answer.text
    assert "spread_port" in answer.text
    assert [nodes.left(node) for node in nodes.practice.nodes] == [[], [], []]


def test_a_parent_that_cannot_be_asked_is_passed_over(nodes: Nodes) -> None:
    nodes.practice.fault("node3", "tcp/node2", "refused")

    answer = nodes.spread()

    assert (answer.exit, nodes.lacks("node3")) == (0, []), answer.text


def test_no_room_is_said_before_anything_moves(nodes: Nodes) -> None:
    nodes.practice.fault("node3", "disk/data", "50000000")

    answer = nodes.spread()

    assert answer.exit == 1
    assert "node3 has no room for what it lacks: 9.5 MB are needed, 50.0 MB are free" in answer.text
    assert nodes.lacks("node2") == list(nodes.contents)
    assert [nodes.left(node) for node in nodes.practice.nodes] == [[], [], []]


def test_a_node_without_ssh_is_told_of(nodes: Nodes) -> None:
    nodes.practice.fault("node3", "ssh_client/missing")

    answer = nodes.spread()

    assert answer.exit == 1
    assert "node3 has no ssh to ask another node with" in answer.text


@pytest.mark.parametrize(("user", "status"), [("deploy", 0), ("sudoer", 1)])
def test_a_user_who_is_not_root_needs_sudo_without_a_password(nodes: Nodes, user: str, status: int) -> None:
    inventory = nodes.practice.write_inventory(
        vars={"ansible_user": user, "ansible_become": True, "ansible_become_password": "rehearsal"}
    )

    answer = nodes.spread(inventory=inventory)

    assert answer.exit == status, answer.text
    assert ("NOPASSWD" in answer.text) == bool(status)
    assert [nodes.left(node) for node in nodes.practice.nodes] == [[], [], []]


def test_an_interrupted_spread_goes_on_and_the_next_run_ends_it(nodes: Nodes) -> None:
    program = nodes.playing(bandwidth=2 << 20)
    first = subprocess.Popen(
        [sys.executable, "-c", ALONE, "spread", "-i", nodes.practice.inventory],
        env={**os.environ, **program._environment()}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    part = nodes.folder("node3") / f"{BIG}.part"
    until = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=20)[0]
    assert first.returncode == 130, said
    assert nodes.left("node1"), "the jobs still need their key"

    again = nodes.spread(bandwidth=2 << 20)

    assert (again.exit, nodes.lacks("node2"), nodes.lacks("node3")) == (0, [], []), again.text
    assert [nodes.left(node) for node in nodes.practice.nodes] == [[], [], []]
    assert "?" not in nodes.log("node3"), "it was one job all the time"


def test_an_image_goes_from_node_to_node(nodes: Nodes) -> None:
    image = "quay.io/rehearsal/vllm-cpu:v0.18.0"
    for node in nodes.practice.nodes:
        nodes.practice.docker(node, "rmi", "-f", image)
    nodes.practice.docker("node1", "pull", image)
    identity = nodes.practice.docker("node1", "image", "inspect", "-f", "{{.Id}}", image).strip()

    answer = nodes.spread(image=image, id=identity)

    assert answer.exit == 0, answer.text
    found = [nodes.practice.docker(n, "image", "inspect", "-f", "{{.Id}}", image).strip() for n in ("node2", "node3")]
    assert found == [identity, identity]
    assert [nodes.left(node) for node in nodes.practice.nodes] == [[], [], []]


def test_down_removes_a_key_that_was_left(nodes: Nodes) -> None:
    nodes.keys("node2").parent.mkdir(mode=0o700)
    nodes.keys("node2").write_bytes(b"ssh-ed25519 AAAA qnext:rehearsal\n" + FOREIGN)

    answer = nodes.program("down", "-i", nodes.practice.inventory, "--yes")

    assert answer.exit == 0, answer.text
    assert nodes.keys("node2").read_bytes() == FOREIGN
