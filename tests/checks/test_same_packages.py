"""What is inside of the images, and whether the release is made for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from provision.inventory.model import Compatibility, Install
from provision.rehearsal.standins import packages
from provision.serve.stack import packages_judged

from .proof.same_packages import FINE, said
from .trying import all_say, summaries, tried
from .world import healthy, pair, settings, with_image

TRITON, MOONCAKE = "3.2.0.dev20260322", "mooncake-transfer-engine-npu none"


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("", "", []),
        (TRITON, "3.2.0", [f"warn triton-ascend 3.2.0 is installed; vllm-ascend v0.18.0 is made for {TRITON}"]),
        (
            "torch-npu 2.9.0.post1",
            "torch-npu 2.8.0",
            ["warn torch-npu 2.8.0 is installed; vllm-ascend v0.18.0 is made for 2.9.0.post1+git4c901a4"],
        ),
        (
            MOONCAKE,
            "mooncake-transfer-engine-npu 0.3.8",
            ["warn mooncake 0.3.8 is installed; vllm-ascend v0.18.0 is made for v0.3.9"],
        ),
        (MOONCAKE, "mooncake-transfer-engine-npu 0.3.9", []),
        ("transformers 4.57.6", "transformers 5.0.0", []),
    ],
)
def test_what_all_nodes_have_is_what_the_release_is_made_for(old: str, new: str, told: list[str]) -> None:
    outcome = tried(with_image(pair()), "same_packages", all_say(FINE.replace(old, new)))
    assert summaries(outcome) == told
    for finding in outcome.findings:
        assert finding.source.startswith("vllm-ascend versioning policy")
        assert finding.remedy.startswith("use the image of v0.18.0 as published")


def test_where_nodes_differ_that_alone_is_told() -> None:
    outcome = tried(with_image(pair()), "same_packages", said(FINE.replace(TRITON, "3.2.1")))
    assert [text.partition(":")[0] for text in summaries(outcome)] == [
        "fail triton-ascend in the image is not the same everywhere"
    ]


@pytest.mark.parametrize(
    "own",
    [
        {"install": Install(image="registry/own:prod")},
        {"compatibility": Compatibility.model_validate({"releases": {"v0.18.0": {"triton_ascend": "3.2.0"}}})},
    ],
    ids=["no release is named", "the operator knows better"],
)
def test_nothing_is_said_of_what_the_operator_answers_for(own: dict[str, Any]) -> None:
    outcome = tried(with_image(pair(settings(**own))), "same_packages", all_say(FINE.replace(TRITON, "3.2.0")))
    assert summaries(outcome) == []


@pytest.mark.parametrize("release", ["0.13.0", "0.16.0rc1", "0.18.0", "0.23.0"])
def test_the_images_of_a_rehearsal_hold_what_their_release_is_made_for(release: str) -> None:
    image = f"quay.io/ascend/vllm-ascend:v{release}-a3"
    node: Any = SimpleNamespace(state={})
    judged: Any = healthy(0, settings(install=Install(image=image)))
    assert packages_judged(judged, packages.versions(node, image)) == ()
