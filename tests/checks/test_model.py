"""Weights that are named by their repository: what is wrong in the hub's cache, and the command that mends it."""

from __future__ import annotations

from typing import Any

import pytest

from provision.checks import model as check
from provision.checks import same_model
from provision.facts.model import UNNAMED
from provision.inventory.model import Install, Model
from tests.checks.world import FakeCluster, FakeNode, healthy, model, settings

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
