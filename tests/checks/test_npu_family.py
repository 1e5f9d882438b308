"""Which NPU belongs to which family, and why some are refused."""

from __future__ import annotations

import pytest

from provision.checks import runner
from provision.checks.npu_family import family
from provision.checks.policy import Choice
from provision.inventory.model import Install

from .ills import dies
from .world import healthy, settings


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        *((name, "atlas-800-a2") for name in ("910B1", "910B2", "910B2C", "910B3", "910B4", "910B4-1", "Ascend910B3")),
        *((name, "atlas-800-a3") for name in ("Ascend910", "Ascend910_9391")),
        *((name, "") for name in ("910B", "910A", "910ProB", "310P3", "310B4", "Ascend950PR", "")),
    ],
)
def test_a_family_by_the_name_that_npu_smi_prints(name: str, wanted: str) -> None:
    assert family(name) == wanted


@pytest.mark.parametrize(
    ("image", "remedy"),
    [
        ("r/v:v0.18.0-openeuler", "set qnext.hardware: atlas-800-a3 and install.image: r/v:v0.18.0-a3-openeuler"),
        ("r/own:prod", "set qnext.hardware: atlas-800-a3 and an image built for it"),
    ],
)
def test_the_remedy_names_the_image_of_the_other_family(image: str, remedy: str) -> None:
    node = healthy(0, settings("atlas-800-a2", install=Install(image=image)))
    dies(node, 2, name="Ascend910")
    (outcome,) = runner.run_node(node, Choice(only=("N06",)))
    assert [finding.remedy for finding in outcome.findings] == [remedy]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("910A", "vllm-ascend does not run on the first Ascend 910"),
        ("910ProB", "vllm-ascend does not run on the first Ascend 910"),
        ("910PremiumA", "vllm-ascend does not run on the first Ascend 910"),
        ("310B4", "vllm-ascend does not run on the Ascend 310 and 310B"),
        ("310P3", "this tool does not provision 310P, and Qwen3-Next's kernels do not run there"),
        ("Ascend950PR", "this tool does not provision Ascend 950 yet"),
    ],
)
def test_what_is_not_served_is_refused_with_the_reason(name: str, why: str) -> None:
    node = healthy(0, settings("atlas-800-a2"))
    dies(node, 2, name=name)
    (outcome,) = runner.run_node(node, Choice(only=("N06",)))
    (finding,) = outcome.findings
    assert finding.summary == f"npu-smi names {name}, which is no NPU that is served here: {why}"
    assert (finding.observed, finding.remedy, finding.level) == (
        f"{name} on davinci 2 (NPU 2 chip 0)",
        "use another node",
        "fail",
    )
