"""Weights that are named by their repository: what is wrong in the hub's cache, and the command that mends it."""

from __future__ import annotations

from typing import Any

import pytest

from provision.checks import model as check
from provision.checks import same_model
from provision.checks.base import Finding
from provision.facts.model import UNNAMED, ModelFolderValue
from provision.facts.weights import Held, VerifiedValue
from provision.findings import Comparison
from provision.install.manifest import File, Manifest
from provision.inventory.model import Install, Model
from tests.checks.world import FakeCluster, FakeNode, healthy, model, pair, settings

HUGGING_FACE = Model(path="Qwen/Qwen3-8.1B", cache="/data/cache")
MODELSCOPE = Model(path="Qwen/Qwen3-8.1B", hub="modelscope")
RUN = "docker run --rm --net=host --entrypoint= -v {} img bash -lic '{}' on one node, then rsync -a --partial {}/ to"


def node(named: Model, index: int = 0, **changes: Any) -> FakeNode:
    made = healthy(index, settings("cpu", model=named, install=Install(image="img")))
    made.facts["model-folder"] = model(path=f"{named.folder}/snapshots/aa11", **changes)
    return made


@pytest.mark.parametrize(
    ("named", "folder", "command"),
    [
        (
            HUGGING_FACE,
            "/data/cache/huggingface/hub/models--Qwen--Qwen3-8.1B",
            ("/data/cache:/root/.cache", "hf download Qwen/Qwen3-8.1B"),
        ),
        (
            MODELSCOPE,
            "/root/.cache/modelscope/hub/models/Qwen/Qwen3-8___1B",
            ("/root/.cache:/root/.cache", "modelscope download --model Qwen/Qwen3-8.1B"),
        ),
    ],
)
def test_what_is_missing_is_downloaded_into_the_cache(named: Model, folder: str, command: tuple[str, str]) -> None:
    (found,) = check.run(node(named, exists=False, shards=(), size=0))

    assert found.summary.startswith(f"no folder {folder}, where ")
    assert RUN.format(*command, folder) in found.remedy
    assert "correct qnext.model.path, .hub and .cache" in found.remedy


def test_what_is_broken_is_downloaded_again() -> None:
    (found,) = check.run(node(HUGGING_FACE, shards=model().shards[:2], missing=("model-3-of-3.safetensors",)))

    assert found.summary.startswith(f"{HUGGING_FACE.folder}/snapshots/aa11: 1 of 3 shards are missing")
    assert "download it again: docker run" in found.remedy


def test_a_snapshot_that_no_server_would_find_is_told() -> None:
    (found,) = check.run(node(HUGGING_FACE, problems=(UNNAMED,)))

    assert (found.level, "refs/main names none" in found.summary) == ("warn", True)
    assert "copy refs/ too" in found.remedy


def test_other_weights_are_copied_from_the_cache_of_the_first_node() -> None:
    made = FakeCluster([node(HUGGING_FACE), node(HUGGING_FACE, 1, digest="d2")])

    (found,) = list(same_model.run(made))[1:]  # the first is the comparison itself

    assert found.remedy == f"rsync -a --checksum atlas-1:{HUGGING_FACE.folder}/ {HUGGING_FACE.folder}/ on atlas-2"


def test_a_file_of_another_content_than_the_manifests_is_told() -> None:
    made = healthy()
    made.facts["weights"] = _verified(_ONE, "b" * 64)

    found = list(check.run(made))

    assert [finding.level for finding in found] == ["fail"]
    assert "a.safetensors has SHA-256 bbbbbbbbbbbb…, not aaaaaaaaaaaa…" in found[0].summary
    assert "weights --repair" in found[0].remedy


def test_what_a_source_will_bring_stops_nothing() -> None:
    named = Model.model_validate({"path": "/data/w", "source": {"kind": "controller", "path": "/w"}})
    made = healthy(0, settings("cpu", model=named, install=Install(image="img")))
    made.facts["model-folder"] = ModelFolderValue("/data/w")

    found = list(check.run(made))

    assert [finding.level for finding in found] == ["info"]
    assert "fetched by model.source (controller)" in found[0].remedy


def test_contents_are_compared_where_they_are_known_on_two_nodes() -> None:
    two = pair()
    for one, digest in zip(two.nodes, ("a", "b"), strict=True):
        one.facts["weights"] = _verified(_ONE, digest * 64)
    rows = [shown for shown in same_model.run(two) if isinstance(shown, Comparison)]
    findings = [shown for shown in same_model.run(two) if isinstance(shown, Finding)]

    assert [row.same for row in rows if row.subject == "model checksums"] == [False]
    assert "other contents than" in findings[0].summary
    two.nodes[1].facts["weights"] = _verified(_ONE, "")
    assert not [shown for shown in same_model.run(two) if isinstance(shown, Finding)]


_ONE = Manifest.of([File("a.safetensors", 5, "a" * 64)], source="recorded:atlas-1").text()


def _verified(manifest: str, sha256: str) -> VerifiedValue:
    return VerifiedValue("/data/w", True, files=(Held("a.safetensors", 5, sha256),), manifest=manifest)
