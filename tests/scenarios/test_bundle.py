"""A bundle made by way of a node and loaded where no registry answers; what is wrong with one is told before."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.inventory.load import load
from tests.scenarios.conftest import Clusters
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

REF = "quay.io/rehearsal/vllm-cpu:v0.18.0"
STATE = "rehearsal/bundle"


def made(nodes: Practice, program: Program, *more: str) -> Path:
    out = nodes.place / "prod.tar"
    answer = program("bundle", "create", "-i", nodes.inventory, "-o", out, "--via", "node1", *more)
    assert answer.exit == 0, answer.text
    return out


def identities(nodes: Practice) -> set[str]:
    """The images that the nodes have under the name."""
    return {nodes.docker(name, "image", "inspect", "--format", "{{.Id}}", REF).strip() for name in nodes.nodes}


def offline(nodes: Practice) -> None:
    nodes.forget_images()
    nodes.everywhere("registry/quay.io", "down")


@pytest.fixture(scope="module")
def bundle(clusters: Clusters, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole bundle, made once: for tests of what becomes of one."""
    place = tmp_path_factory.mktemp("bundle")
    return made(Practice(clusters("cpu"), place), Program(place))


def test_made_by_a_node_and_loaded_without_a_network(cpu: Practice, program: Program) -> None:
    cpu.forget_images()
    out = made(cpu, program)
    assert program("bundle", "verify", out).exit == 0
    shown = program("bundle", "show", out, "--json").json()
    assert [(image["written"], image["platform"]) for image in shown["images"]] == [(REF, "linux/amd64")]
    assert not any(STATE in path for path in cpu.files("node1")), "the archive was left on the node"
    assert not out.with_name("prod.tar.work").exists()
    offline(cpu)

    planned = program("bundle", "load", out, "-i", cpu.inventory, "--check")
    assert planned.exit == 0, planned.text
    assert "would" in planned.text
    assert cpu.docker("node1", "images", "-q") == ""

    ids = {shown["images"][0]["ids"][0]}
    tree = cpu.write_inventory(install={"spread": "tree"})
    handed = program("bundle", "load", out, "-i", tree)
    assert handed.exit == 0, handed.text
    assert identities(cpu) == ids
    cpu.forget_images()
    each = cpu.write_inventory(install={"spread": "each"})
    answer = program("bundle", "load", out, "-i", each)
    assert answer.exit == 0, answer.text
    assert not any(STATE in path for name in cpu.nodes for path in cpu.files(name))
    assert identities(cpu) == ids
    again = program("bundle", "load", out, "-i", each, "--json")
    assert again.exit == 0, again.text
    assert again.json()["changed"] == 0

    pinned = cpu.write_inventory(install={"spread": "tree", "digest": shown["images"][0]["digest"]}, name="pinned.yaml")
    named = program("bundle", "load", out, "-i", pinned)
    assert named.exit == 0, named.text
    up = program("up", "-i", pinned)
    assert up.exit == 0, up.text
    assert program("down", "-i", pinned, "--yes").exit == 0


def test_a_damaged_bundle_is_refused_and_nothing_of_it_used(cpu: Practice, program: Program, bundle: Path) -> None:
    out = cpu.place / "prod.tar"
    offline(cpu)
    content = bytearray(bundle.read_bytes())
    place = content.index(b"rehearsal-images") + 40
    content[place] ^= 1
    out.write_bytes(content)
    before = cpu.fingerprint()

    verified = program("bundle", "verify", out)
    assert verified.exit == 1
    assert "images/servers.tar: SHA-256 is" in verified.stdout
    answer = program("bundle", "load", out, "-i", cpu.inventory)
    assert answer.exit == 1
    assert "is damaged, nothing of it was used: images/servers.tar: SHA-256 is" in answer.stderr
    assert cpu.fingerprint() == before

    out.write_bytes(content[: len(content) // 2])
    cut = program("bundle", "load", out, "-i", cpu.inventory)
    assert cut.exit == 2
    assert "cut off" in cut.stderr


def test_a_bundle_of_something_else_is_refused_with_the_difference(
    cpu: Practice, program: Program, bundle: Path
) -> None:
    other = cpu.write_inventory(install={"image": "quay.io/rehearsal/vllm-cpu:v0.23.0"})
    answer = program("bundle", "load", bundle, "-i", other)
    assert answer.exit == 2
    assert f"its image is {REF}, the inventory has quay.io/rehearsal/vllm-cpu:v0.23.0" in answer.stderr

    cpu.fault("node2", "cpu/arch", "aarch64")
    answer = program("bundle", "load", bundle, "-i", cpu.inventory)
    assert answer.exit == 2
    assert "it is for linux/amd64, node2 is linux/arm64" in answer.stderr


def test_too_little_room_is_found_before_anything_is_moved(cpu: Practice, program: Program, bundle: Path) -> None:
    offline(cpu)
    cpu.fault("node2", "disk/var", str(4 << 30))
    before = cpu.fingerprint()
    answer = program("bundle", "load", bundle, "-i", cpu.inventory)
    assert answer.exit == 1
    assert "node2: there is no room for what has to come: /var is" in answer.stderr
    assert any(line.split()[1:3] == ["node2", "/var"] for line in answer.stderr.splitlines()), answer.stderr
    assert cpu.fingerprint() == before


def test_up_asks_for_room_before_it_moves_anything(cpu: Practice, program: Program) -> None:
    cpu.have_images(REF)
    cpu.docker("node2", "rmi", "-f", REF)
    cpu.fault("node2", "disk/var", str(12 << 30))
    before = cpu.fingerprint()
    answer = program("install", "-i", cpu.inventory)
    assert answer.exit == 1
    assert "node2: there is no room for what has to come: /var is" in answer.stderr
    assert "(as on node1)" in answer.stderr
    assert cpu.fingerprint() == before
    cpu.mend("node2", "disk/var")
    planned = program("install", "-i", cpu.inventory, "--check")
    assert planned.exit == 0, planned.text
    assert any(line.split()[1:3] == ["node2", "/"] for line in planned.stderr.splitlines()), planned.stderr


def test_a_bundle_holds_no_secret(cpu: Practice, program: Program) -> None:
    open_ = cpu.write_inventory(vars={"ansible_become_password": "hunter2"})
    answer = program("bundle", "create", "-i", open_, "-o", cpu.place / "prod.tar", "--via", "node1")
    assert answer.exit == 2
    assert "ansible_become_password" in answer.stderr
    assert "hunter2" not in answer.text
    assert not (cpu.place / "prod.tar").exists()


def test_wheels_of_a_builder(cpu: Practice, program: Program) -> None:
    """Fetched from the node that built, and in place on both nodes; the record that all is there comes last."""
    inventory = cpu.write_inventory(install={"method": "source", "image": None, "source": {"vllm": "vllm==0.1"}})
    shown = program("lint", "-i", inventory)
    assert shown.exit == 0, shown.text
    key = load(inventory).settings.install.source.key
    folder = cpu.root("node1") / f"var/lib/qnext/wheels/{key}"
    folder.mkdir(parents=True)
    wheels = {"vllm-0.1-py3-none-any.whl": b"a wheel", "built": b"{}", "sums": b"of them"}
    for name, content in wheels.items():
        (folder / name).write_bytes(content)
    out = cpu.place / "wheels.tar"
    made = program("bundle", "create", "-i", inventory, "-o", out, "--via", "node1", "--platform", "linux/amd64")
    assert made.exit == 0, made.text
    (folder / "built").unlink()

    answer = program("bundle", "load", out, "-i", inventory)
    assert answer.exit == 0, answer.text
    for name in cpu.nodes:
        found = cpu.files(name, f"var/lib/qnext/wheels/{key}")
        assert {path: found[path] for path in wheels} == wheels


def test_weights_of_a_bundle(cpu: Practice, program: Program) -> None:
    """On both nodes, verified there; a file that was changed is brought again, the others are not."""
    folder = cpu.place / "weights"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "tiny"}))
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 2000)
    path = "/data/weights/tiny"
    inventory = cpu.write_inventory(model={"path": path, "profile": None}, name="tiny.yaml")
    out = cpu.place / "tiny.tar"
    options = ("--no-image", "--weights", folder, "--platform", "linux/amd64")
    answer = program("bundle", "create", "-i", inventory, "-o", out, *options)
    assert answer.exit == 0, answer.text
    first = cpu.root("node1") / path.lstrip("/")
    first.mkdir(parents=True, exist_ok=True)
    second = cpu.root("node2") / path.lstrip("/")

    one = program("bundle", "load", out, "-i", inventory, "--limit", "node1")
    assert one.exit == 0, one.text
    assert (first / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert (first / ".qnext-manifest.json").exists()

    (first / "model.safetensors").write_bytes(b"x" * 512_000)
    again = program("bundle", "load", out, "-i", inventory, "--limit", "node1")
    assert again.exit == 0, again.text
    assert (first / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    assert not second.exists()

    both = program("bundle", "load", out, "-i", inventory)
    assert both.exit == 0, both.text
    assert (second / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    nothing = program("bundle", "load", out, "-i", inventory, "--json").json()
    assert (nothing["changed"], nothing["exit_code"]) == (0, 0)
