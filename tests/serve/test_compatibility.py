"""The table itself: whole, in agreement with the rest of the product, and laid over by an operator's rows."""

from __future__ import annotations

from typing import get_args

import pytest

from provision.accel.ascend.version import parse_version
from provision.accel.protocol import accelerator
from provision.inventory.model import CannRow, Compatibility, Feature, Hardware, ReleaseRow
from provision.serve.compatibility import OWN, image_for, platform_for, shipped, table
from provision.serve.compatibility import ReleaseRow as Row
from provision.serve.images import parse_image
from provision.serve.profiles import load_profile, profile_names
from provision.serve.releases import Release, parse_release

RELEASES = shipped().releases


@pytest.mark.parametrize("name", [name for name in RELEASES if name != "main"])
def test_every_row_of_a_release_is_whole(name: str) -> None:
    row = RELEASES[name]
    assert parse_release(name)
    assert row.vllm
    assert row.torch
    assert row.python.startswith(">=3.")
    assert parse_version(row.cann)
    assert row.source.startswith("vllm-ascend")


def test_vllm_is_of_the_same_release_but_for_two() -> None:
    """[vllm-ascend versioning policy: vllm and vllm-ascend match on X.Y.Z]"""
    odd = {
        name: row.vllm
        for name, row in RELEASES.items()
        if name != "main"
        and Release(name[1:]).final != Release(row.vllm.removeprefix("v"))
        and Release(name[1:]).final != Release(row.vllm.removeprefix("v").partition(".post")[0])
    }
    assert odd == {"v0.14.0rc1": "v0.14.1", "v0.11.0rc0": "v0.11.0rc3"}


def test_every_cann_since_8_5_has_an_advised_driver() -> None:
    """[domain 2.4: default warning below 25.5.1 for releases using CANN 8.5 or later]"""
    since = parse_version("8.5.0")
    assert since
    for name, row in RELEASES.items():
        cann = parse_version(row.cann)
        advised = shipped().least_driver(name)[0]
        assert advised == ("25.5.1" if cann and cann >= since else ""), name


def test_every_release_that_a_profile_speaks_of_is_in_the_table() -> None:
    for profile in profile_names():
        for note in load_profile(profile).releases.table:
            assert shipped().release(note.release), note.release


def test_hardware_is_that_of_the_accelerators() -> None:
    for name in get_args(Hardware):
        row, suffixes = shipped().hardware_named(name), accelerator(name).image_suffixes
        assert (row is None) == (suffixes is None)
        assert row is None or suffixes is None or row.suffix == suffixes[0]
    assert shipped().hardware_named("") is None


def test_features_are_those_that_an_inventory_may_name() -> None:
    assert set(shipped().features) == set(get_args(Feature))
    for row in shipped().features.values():
        assert row.needs
        assert row.source.startswith("vllm-ascend")
        assert all(parse_version(v) for need in row.needs for v in (need.hdk, need.cann, need.mooncake) if v)


@pytest.mark.parametrize(
    ("reference", "hardware", "other"),
    [
        ("quay.io/ascend/vllm-ascend:v0.18.0", "atlas-800-a3", "quay.io/ascend/vllm-ascend:v0.18.0-a3"),
        ("r:5000/v:v0.18.0-a3-openeuler", "atlas-800-a2", "r:5000/v:v0.18.0-openeuler"),
        ("r:5000/v:v0.18.0-openeuler@sha256:12", "a3", "r:5000/v:v0.18.0-a3-openeuler"),
        ("q/v:main-a3", "310p", "q/v:main-310p"),
        ("q/own:prod", "atlas-800-a3", ""),
        ("q/v:v0.18.0", "cpu", ""),
    ],
)
def test_the_image_for_other_hardware(reference: str, hardware: str, other: str) -> None:
    assert image_for(parse_image(reference), hardware) == other


@pytest.mark.parametrize(
    ("machine", "platform"),
    [("aarch64", "linux/arm64"), ("x86_64", "linux/amd64"), ("arm64", "linux/arm64"), ("mips", "")],
)
def test_the_platform_of_a_machine(machine: str, platform: str) -> None:
    assert platform_for(machine) == platform


def test_without_rows_of_ones_own_the_table_is_the_shipped_one() -> None:
    assert table() is table(Compatibility()) is shipped()


def test_a_row_given_in_part_keeps_the_rest_and_names_its_source() -> None:
    own = Compatibility(
        releases={"0.18.0": ReleaseRow(min_hdk="25.2.0"), "v0.99.0": ReleaseRow(cann="9.9.0")},
        cann={"9.1": CannRow(min_hdk="26.0.0")},
    )
    made = table(own)
    changed, kept = made.release("v0.18.0"), shipped().release("0.18.0")
    assert changed
    assert kept
    assert (changed.min_hdk, changed.cann, changed.source) == ("25.2.0", kept.cann, OWN)
    assert made.release("0.99.0") == Row(cann="9.9.0", source=OWN)
    assert made.least_driver("v0.23.0") == ("26.0.0", OWN)
    assert made.release("0.17.0rc1") == shipped().release("0.17.0rc1")
    assert "v0.99.0" not in shipped().releases
