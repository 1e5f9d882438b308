"""The runbook: what a node has and lacks, by whose word, and the commands, without a package and with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.accel.ascend.driver import DriverVersion, FirmwareVersion
from provision.facts.cann import CannInstall, CannValue
from provision.facts.driver import DriverValue
from provision.modules import driver_plan
from tests.checks.world import FakeCluster
from tests.modules.test_driver import node, package
from tests.modules.world import Node, drive


def advice(*nodes: Node) -> Any:
    return drive(driver_plan.run(driver_plan.Args(), FakeCluster(list(nodes)))).outcome


def old(**facts: Any) -> Node:
    return node(driver=DriverValue(DriverVersion("25.2.0"), FirmwareVersion("7.8.0.6.201")), allowed=False, **facts)


def cann(version: str) -> CannValue:
    install = CannInstall("/usr/local/Ascend/cann", "/usr/local/Ascend/cann", version=version, current=True)
    return CannValue((install,), nnal=install)


def test_a_node_that_has_what_it_needs() -> None:
    found = advice(node(allowed=False))

    assert (found.message, found.next) == ("every node has what it needs", ())


def test_an_old_driver_is_told_with_its_reason_and_never_fails() -> None:
    found = advice(old())

    assert {finding.level for finding in found.findings} == {"warn"}
    assert "driver: 25.2.0 -> 25.5.1 or later" in found.summary[old().name]
    assert "Atlas-A3-hdk-npu-driver_<version>_linux-aarch64.run" in "\n".join(found.next)
    assert found.next.index("reboot") == len(found.next) - 2


def test_from_source_cann_is_wanted_too_of_the_releases_own_version() -> None:
    subject = old(cann=cann("8.3.RC1"))
    source = {"method": "source", "source": {"release": "v0.18.0"}}
    install = type(subject.settings.install).model_validate(source)
    subject.settings = subject.settings.model_copy(update={"install": install})

    titles = [step.title for step in driver_plan.advice_of(subject).steps]

    assert titles[-3:] == [
        "CANN toolkit: 8.3.RC1 -> 8.5.1",
        "CANN ops: unknown -> 8.5.1",
        "NNAL: 8.3.RC1 -> 8.5.1",
    ]


@pytest.mark.parametrize("allowed", [True, False])
def test_with_packages_they_are_what_is_wanted(tmp_path: Path, allowed: bool) -> None:
    subject = node(package(tmp_path), allowed=allowed)

    found = advice(subject)

    assert "firmware: 7.8.0.6.201 -> 7.9.0.1.1" in found.summary[subject.name]
    assert ("qnext-provision driver --apply" in found.next) is allowed
    assert f"# copy {tmp_path}/" in "\n".join(found.next)


def test_a_bare_node_gets_the_driver_first() -> None:
    bare = node(driver=DriverValue(), allowed=False)

    titles = [step.title for step in driver_plan.advice_of(bare).steps]

    assert titles == [
        "driver: none -> 25.5.1 or later",
        "firmware: none -> of the driver's HDK release",
        "boot: loads what was installed",
    ]
