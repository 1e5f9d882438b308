"""What lint says of a source install; rules about images are silent then."""

from __future__ import annotations

from typing import Any

import pytest

from provision.inventory.model import Install, Source
from provision.serve.lint import lint
from provision.serve.plan import Violation
from tests.serve.clusters import QWEN3_NEXT, pairs, settings

SHA = "0123456789abcdef0123456789abcdef01234567"


def found(
    hardware: Any = "atlas-800-a3", *, image: str = "", serve: dict[str, Any] | None = None, **source: Any
) -> list[Violation]:
    given = settings(hardware, profile=QWEN3_NEXT, **(serve or {"tensor_parallel_size": 4}))
    install = Install(method="source", image=image, source=Source(**{"release": "v0.18.0", **source}))
    return list(lint(pairs(given.model_copy(update={"install": install}), 1)))


def told(violations: list[Violation]) -> list[tuple[str, str]]:
    return [(violation.code, violation.severity) for violation in violations]


def test_a_release_is_well() -> None:
    assert found() == []


def test_an_image_that_is_left_in_the_inventory_is_not_judged() -> None:
    assert found(image="quay.io/ascend/vllm-ascend:v0.9.1") == []


def test_the_release_is_judged_for_the_model_as_an_image_s_is() -> None:
    (violation,) = [v for v in found(release="v0.9.1") if v.severity == "fail"]
    assert "does not know" in violation.reason
    (other,) = [v for v in found(vllm_ascend="vllm-ascend==0.9.1", vllm="v0.18.0") if v.severity == "fail"]
    assert "does not know" in other.reason


@pytest.mark.parametrize(
    ("source", "code", "severity", "says"),
    [
        ({"release": None}, "S09", "fail", "neither which release nor which vLLM"),
        ({"vllm": "abcdef12"}, "S09", "fail", "a commit cut short"),
        ({"builder": "node9"}, "S09", "fail", "there is no host node9"),
        ({"soc_version": "ascend910b1"}, "S10", "fail", "ascend910b1 is not atlas-800-a3"),
        ({"vllm": "main"}, "S10", "warn", "main of vllm moves"),
        ({"vllm_ascend": "pull/7"}, "S10", "warn", "pull/7 of vllm-ascend moves"),
        ({"index": "https://u:hunter2@h/simple"}, "S20", "warn", "install.source.index holds a user name or password"),
    ],
)
def test_what_is_wrong_is_told(source: dict[str, Any], code: str, severity: str, says: str) -> None:
    (violation,) = found(**source)
    assert (violation.code, violation.severity) == (code, severity)
    assert says in violation.reason
    assert violation.remedy
    assert "hunter2" not in f"{violation.reason} {violation.remedy}"


def test_a_commit_and_a_matching_processor_are_fine() -> None:
    assert found(vllm=SHA, vllm_ascend=SHA, soc_version="ascend910_9392", builder="node1") == []


def test_main_warns_as_the_image_of_that_name_does() -> None:
    assert told(found(release="main")) == [("S10", "warn")]


def test_what_only_images_hold_must_be_asked_for() -> None:
    ray = {"topology": "ray", "tensor_parallel_size": 8}
    said = [v for v in found(serve=ray) if "needs the package ray" in v.reason]
    assert [(v.code, v.severity) for v in said] == [("S09", "warn")]
    assert not [v for v in found(serve=ray, requirements=("ray[default]>=2.47.1",)) if "package ray" in v.reason]
