"""Room for what comes, before it is moved: who is refused, who is warned, and when nothing is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.errors import ProvisionError, UsageError
from provision.facts.disk import Disk, DiskValue, Folder
from provision.facts.docker import ImageValue
from provision.facts.source import SourceInstallValue, Wheel, WheelsRecord
from provision.facts.weights import Held, VerifiedValue
from provision.install import needs
from provision.install.manifest import File, Manifest
from provision.inventory.model import Install, Model
from provision.modules import room
from tests.checks.world import settings
from tests.modules.world import Node, cluster, drive

GB = 1024**3


def lacking(node: Node, free: int) -> None:
    node.facts["image"] = ImageValue(node.settings.install.ref)
    full(node, free)


def full(node: Node, free: int) -> None:
    disk = node.facts["disk"]
    node.facts["disk"] = replace(disk, folders=tuple(replace(f, free=free, mount="/") for f in disk.folders))
    node.facts["docker"] = replace(node.facts["docker"], root_free=free)


def test_where_all_is_there_nothing_is_said() -> None:
    made = cluster()
    for node in made.nodes:
        full(node, 0)
    driven = drive(room.run(room.Args(), made))
    assert driven.outcome.message == "nothing has to be moved"
    assert (driven.actions, made.told, driven.outcome.findings) == ([], [], ())


def test_an_image_of_known_size_that_does_not_fit_is_refused_with_a_table() -> None:
    made = cluster()
    made.nodes[0].facts["image"] = replace(made.nodes[0].facts["image"], size=20 * GB)
    lacking(made.nodes[1], 12 * GB)
    with pytest.raises(ProvisionError) as caught:
        drive(room.run(room.Args(), made))
    assert caught.value.node == made.nodes[1].name
    assert f"as on {made.nodes[0].name}" in caught.value.evidence
    assert "/ is" in caught.value.message
    assert "docker image prune" in caught.value.hint


def test_an_estimate_warns_and_stops_nobody() -> None:
    made = cluster(settings("atlas-800-a3"))
    for node in made.nodes:
        lacking(node, 30 * GB)
    outcome = drive(room.run(room.Args(), made)).outcome
    assert [(finding.level, finding.node) for finding in outcome.findings] == [
        ("warn", node.name) for node in made.nodes
    ]
    assert outcome.data["rows"][0]["likely"] > 60 * GB


def test_all_that_it_looks_at_is_asked_beforehand() -> None:
    made = cluster()
    asked = set(room.facts(room.Args(), made.nodes[0].settings))
    assert any(isinstance(fact, Disk) for fact in asked)


def test_weights_from_here_are_counted_file_by_file(tmp_path: Any) -> None:
    (tmp_path / "one").write_bytes(b"x" * 5000)
    (tmp_path / "below").mkdir()
    (tmp_path / "below/two").write_bytes(b"x" * 3000)
    source = {"kind": "controller", "path": str(tmp_path)}
    made = cluster(settings("cpu", model=Model.model_validate({"path": "/data/m", "source": source})))
    for node in made.nodes:
        node.facts["model-folder"] = replace(node.facts["model-folder"], shards=(), size=0, config=None)
        node.facts["weights"] = VerifiedValue("/data/m")
    rows = drive(room.run(room.Args(), made)).outcome.data["rows"]
    sizes = [part["bytes"] for row in rows for part in row["for"] if part["what"] == "weights"]
    assert sizes == [8000] * len(made.nodes)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"kind": "controller", "path": "/nowhere/weights"}, "/nowhere/weights is no folder here"),
        ({"kind": "huggingface", "repository": "a/b", "token": {"env": "QNEXT_NO_SUCH_TOKEN"}}, "not set"),
    ],
)
def test_a_source_that_cannot_give_is_told_before_an_image_is_pulled(source: dict[str, Any], words: str) -> None:
    made = cluster(settings("cpu", model=Model.model_validate({"path": "/data/m", "source": source})))
    for node in made.nodes:
        node.facts["model-folder"] = replace(node.facts["model-folder"], shards=(), size=0, config=None)
        node.facts["weights"] = VerifiedValue("/data/m")
    with pytest.raises(UsageError, match=words):
        drive(room.run(room.Args(), made))


def test_a_manifest_tells_which_files_are_to_come() -> None:
    manifest = Manifest.of([File("a", 5000, "0" * 64), File("b", 3000, "1" * 64), File("c", 700, "2" * 64)])
    source = {"kind": "huggingface", "repository": "org/m"}
    made = cluster(settings("cpu", model=Model.model_validate({"path": "/data/m", "source": source})))
    first, second = made.nodes
    first.facts["weights"] = VerifiedValue("/data/m", True, True, files=_all(manifest), manifest=manifest.text())
    second.facts["weights"] = VerifiedValue("/data/m", True, True, files=_all(manifest)[:1], partial=(("b", 1000),))
    (row,) = drive(room.run(room.Args(), made)).outcome.data["rows"]
    assert (row["node"], [p["bytes"] for p in row["for"] if p["what"] == "weights"]) == (second.name, [2700])


def _all(manifest: Manifest) -> tuple[Held, ...]:
    return tuple(Held(file.path, file.size, file.sha256) for file in manifest.files)


@pytest.mark.parametrize(("spread", "loads"), [("each", []), ("tree", [1])])
def test_who_gets_the_image_from_a_node_needs_room_for_its_archive(spread: str, loads: list[int]) -> None:
    install = Install.model_validate({"image": "registry.example/vllm-cpu:1", "spread": spread})
    made = cluster(settings("cpu", install=install))
    made.nodes[0].facts["image"] = replace(made.nodes[0].facts["image"], size=20 * GB)
    for node in made.nodes[1:]:
        node.facts["image"] = ImageValue(install.ref)
    rows = drive(room.run(room.Args(), made)).outcome.data["rows"]
    found = [part["how"] for row in rows for part in row["for"] if part["what"] == "image"]
    assert ["docker load" in how for how in found] == [bool(loads)] * (len(made.nodes) - 1)


@pytest.mark.parametrize(("spread", "nodes"), [("registry", ["first"]), ("each", [])])
def test_the_first_node_needs_room_for_the_registry_s_cache(spread: str, nodes: list[str]) -> None:
    install = Install.model_validate({"image": "registry.example/vllm-cpu:1", "spread": spread})
    made = cluster(settings("cpu", install=install))
    for node in made.nodes:
        node.facts["image"] = ImageValue(install.ref)
    rows = drive(room.run(room.Args(), made)).outcome.data["rows"]
    found = [row["node"] for row in rows for part in row["for"] if part["what"] == "registry's cache"]
    assert found == [made.nodes[0].name for _ in nodes]


@pytest.mark.parametrize("builder", [None, "nobody"])
def test_wheels_that_a_node_has_are_shipped_by_their_size_and_nobody_builds(builder: str | None) -> None:
    install = Install.model_validate({"method": "source", "source": {"vllm": "vllm==1", "builder": builder}})
    made = cluster(settings("cpu", install=install))
    wheels = WheelsRecord("1" * 64, files=(Wheel("vllm.whl", 5 * GB, "0" * 64),))
    for node in made.nodes:
        node.facts["source-install"] = SourceInstallValue()
        node.facts["disk"] = DiskValue(
            tuple(Folder(p, exists=True, mount="/", free=90 * GB) for p in needs.measured(node.settings).paths)
        )
    built = drive(room.run(room.Args(), made)).outcome.data["rows"]
    assert [row["node"] for row in built for part in row["for"] if part["what"] == "build"] == [made.nodes[0].name]

    made.nodes[1].facts["source-install"] = SourceInstallValue(wheels=wheels, sizes={"vllm.whl": 5 * GB})
    shipped = drive(room.run(room.Args(), made)).outcome.data["rows"]
    parts = [(row["node"], part["what"], part["bytes"]) for row in shipped for part in row["for"]]
    assert [part for part in parts if part[1] in ("wheels", "build")] == [(made.nodes[0].name, "wheels", 5 * GB)]
