"""What image references tell."""

from __future__ import annotations

import pytest

from provision.serve.images import parse_image


@pytest.mark.parametrize(
    ("reference", "repository", "release", "hardware", "floating", "known"),
    [
        ("quay.io/ascend/vllm-ascend:v0.18.0-a3", "quay.io/ascend/vllm-ascend", "0.18.0", "a3", False, True),
        ("quay.io/ascend/vllm-ascend:v0.18.0", "quay.io/ascend/vllm-ascend", "0.18.0", "", False, True),
        ("a/vllm-ascend:v0.11.0rc1-openeuler", "a/vllm-ascend", "0.11.0rc1", "", False, True),
        ("a/vllm-ascend:v0.11.0rc1-a3-openeuler", "a/vllm-ascend", "0.11.0rc1", "a3", False, True),
        ("a/vllm-ascend:v0.23.0-950DT", "a/vllm-ascend", "0.23.0", "950DT", False, True),
        ("a/vllm-ascend:v0.7.3.post1", "a/vllm-ascend", "0.7.3.post1", "", False, True),
        ("a/vllm-ascend:nightly-a2", "a/vllm-ascend", None, "a2", True, True),
        ("a/vllm-ascend:releases-v0.18.0-a3", "a/vllm-ascend", "0.18.0", "a3", True, True),
        ("a/vllm-ascend", "a/vllm-ascend", None, "", True, True),
        ("registry:5000/vllm", "registry:5000/vllm", None, "", True, True),
        ("registry:5000/vllm:prod-a3", "registry:5000/vllm", None, "", False, False),
        ("a/vllm-ascend@sha256:00", "a/vllm-ascend", None, "", False, False),
        ("a/vllm-ascend:main@sha256:00", "a/vllm-ascend", None, "", False, True),
    ],
)
def test_parse_image(
    reference: str, repository: str, release: str | None, hardware: str, floating: bool, known: bool
) -> None:
    image = parse_image(reference)
    assert image.repository == repository
    assert (image.release.name if image.release else None) == release
    assert (image.hardware, image.floating, image.known) == (hardware, floating, known)


@pytest.mark.parametrize(
    ("tag", "suffix", "other"),
    [
        ("v0.18.0", "a3", "v0.18.0-a3"),
        ("v0.18.0-openeuler", "a3", "v0.18.0-a3-openeuler"),
        ("v0.18.0-a3-openeuler", "", "v0.18.0-openeuler"),
        ("v0.18.0-a3", "", "v0.18.0"),
        ("main-310p", "a3", "main-a3"),
    ],
)
def test_the_same_image_for_other_hardware(tag: str, suffix: str, other: str) -> None:
    assert parse_image(f"q/v:{tag}").with_hardware(suffix) == f"q/v:{other}"
