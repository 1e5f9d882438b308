"""Three spellings of CANN's version: install.info is in the recorded cases, these are the others."""

from __future__ import annotations

import pytest

from provision.accel.ascend.cann import parse_cann


@pytest.mark.parametrize(
    ("inside", "inner", "version"),
    [
        ("7.6.0.1.220:8.0.0", "7.6.0.1.220", "8.0.0"),
        ("7.2.T11.0.B218:8.0.RC2.alpha001", "7.2.T11.0.B218", "8.0.RC2.alpha001"),
        ("1.83.T8.0.B128:CANN-1.83", "1.83.T8.0.B128", "1.83"),
        ("8.3", None, "8.3"),
    ],
)
def test_version_cfg(inside: str, inner: str | None, version: str) -> None:
    read = parse_cann(f"# version: 1.0\nruntime_running_version=[{inside}]\nhccl_running_version=[{inside}]\n")
    assert (read.version, read.inner_version, read.problems) == (version, inner, ())


def test_components_of_two_versions_are_told() -> None:
    read = parse_cann("runtime_running_version=[7.6:8.0.0]\nhccl_running_version=[7.5:8.0.RC3]\n")
    assert read.version == "8.0.0"
    assert read.problems == ("components differ from runtime: hccl 8.0.RC3",)


def test_atb() -> None:
    read = parse_cann(
        "    Ascend-cann-atb : 8.2.RC2\n    Ascend-cann-atb Version : 8.2.RC2.B030\n    Platform : aarch64\n"
    )
    assert (read.package, read.version, read.inner_version, read.arch) == (
        "Ascend-cann-atb",
        "8.2.RC2",
        "8.2.RC2.B030",
        "aarch64",
    )


@pytest.mark.parametrize("text", ["", "version=\n", "Platform : aarch64\n"])
def test_no_version(text: str) -> None:
    assert parse_cann(text).version is None
    assert parse_cann(text).problems
