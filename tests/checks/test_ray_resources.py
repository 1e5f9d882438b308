"""Findings of ``ray_resources`` beyond its proof."""

from __future__ import annotations

from typing import Any

from provision.accel.ascend.ray import RayStatus
from provision.checks import runner
from provision.checks.policy import Choice
from provision.facts.ray import RayClusterValue
from provision.findings import CheckOutcome
from tests.checks.proof.ray_resources import cluster
from tests.checks.world import launched


def judged(subject: Any) -> CheckOutcome:
    (outcome,) = runner.run_launched(subject, Choice(only=("ray_resources",)))
    return outcome


def test_npus_registered_as_gpu_are_named_with_the_remedy() -> None:
    (finding,) = judged(cluster(npus=8, gpus=8)).findings
    assert finding.summary == "Ray has 8 of 16 NPU, and 8 GPU"
    assert "RAY_OVERRIDE_RESOURCES: '{\"NPU\": 8}'" in finding.remedy


def test_a_refusal_of_ray_status_is_told() -> None:
    two = cluster()
    refused = RayStatus(problems=("ConnectionError: Could not find any running Ray instance.",))
    two.nodes[0].facts["ray-cluster"] = RayClusterValue(refused)
    assert "Could not find any running Ray" in judged(two).findings[0].summary


def test_without_the_heads_container_others_tell() -> None:
    two = cluster()
    two.nodes[0].facts["ray-cluster"] = RayClusterValue()
    assert judged(two).status == "skipped"


def test_other_topologies_are_not_asked() -> None:
    assert runner.run_launched(launched(), Choice(only=("ray_resources",))) == ()
