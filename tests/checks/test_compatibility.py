"""Driver, image and release on nodes: who tells of what, and that one cause is told once (N10, N12, N31, X03)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.accel.ascend.driver import AscendInstall, DriverVersion, FirmwareVersion
from provision.checks import compatibility, driver, image, same_driver
from provision.facts.cann import CannInstall, CannValue
from provision.facts.docker import ImageValue
from provision.facts.driver import DriverValue
from provision.findings import Comparison, Finding
from provision.inventory.model import Install, Model, Serve

from .world import IMAGE, MODEL, FakeNode, cluster, healthy, settings

Ill = Callable[[FakeNode], object]

NEW = "quay.io/ascend/vllm-ascend:v0.23.0-a3"
EAGER = {"enforce-eager": True}


def own(reference: str = IMAGE, **more: Any) -> Any:
    return settings(install=Install(image=reference), **more)


def served(**args: Any) -> Serve:
    return Serve(topology="data-parallel", data_parallel_size=2, tensor_parallel_size=8, **args)


def hdk(version: str, **more: Any) -> Ill:
    """A node with this driver, which runs."""

    def change(node: FakeNode) -> None:
        node.facts["driver"] = DriverValue(
            DriverVersion(version, firmware_range=("7.0.0", "7.8.99"), **more),
            FirmwareVersion("7.8.0.6.201"),
            AscendInstall(driver_status="complete"),
        )
        node.alter("npu-smi", driver_version=version)

    return change


def firmware(value: FirmwareVersion | None, limits: tuple[str, str] | None = ("7.0.0", "7.8.99")) -> Ill:
    return lambda n: n.alter("driver", driver=DriverVersion("25.5.1", firmware_range=limits), firmware=value)


def inside(reference: str = IMAGE, arch: str = "arm64", **env: str) -> Ill:
    """A node whose image has this environment."""

    def change(node: FakeNode) -> None:
        node.facts["image"] = ImageValue(reference, True, "sha256:" + "1" * 64, arch, env=env)

    return change


KNOWS_BETTER = {"releases": {"v0.18.0": {"min_hdk": "25.2.0"}}}
POOL = {"kv-transfer-config": {"kv_connector": "AscendStoreConnector", "kv_role": "kv_both"}}

DRIVER: dict[str, tuple[Any, Ill, list[str]]] = {
    "healthy": (own(), lambda n: None, []),
    "a build number more": (own(), hdk("25.5.1.b030"), []),
    "older than advised": (own(), hdk("25.2.0"), ["warn driver (HDK) 25.2.0 is older than 25.5.1, which is advised"]),
    "older than advised, and the operator knows it works": (
        settings(compatibility=KNOWS_BETTER),
        hdk("25.2.0"),
        [],
    ),
    "too old for what is in use: compatibility tells": (own(NEW), hdk("25.2.0"), []),
    "no release is named": (own("registry/own:prod"), hdk("23.0.0"), []),
    "a family that CANN does not name": (
        own("q/vllm-ascend:v0.15.0rc1-a3"),
        hdk("25.5.1", inner_version="V100R001C13SPC010B220"),
        ["warn CANN 8.5.0 does not name drivers of family V100R001C13"],
    ),
    "a family that CANN names": (
        own("q/vllm-ascend:v0.15.0rc1-a3"),
        hdk("25.5.1", inner_version="V100R001C21SPC006B220"),
        [],
    ),
    "no firmware file": (own(), firmware(None), ["warn the firmware's version cannot be read"]),
    "firmware below the driver's range": (
        own(),
        firmware(FirmwareVersion("6.4.0.4.220")),
        ["warn firmware 6.4.0.4.220 is not one that driver 25.5.1 works with"],
    ),
    "firmware with a build number at the range's end": (own(), firmware(FirmwareVersion("7.8.99.1.100")), []),
    "firmware that names the driver": (
        own(),
        firmware(FirmwareVersion("7.8.0", driver_ranges=(("25.5.0", "25.5.0."), ("25.5.1", "25.5.1."))), None),
        [],
    ),
    "firmware that names other drivers, and a driver that names none": (
        own(),
        firmware(FirmwareVersion("7.1.0", driver_ranges=(("23.0.rc3", "23.0.rc3."), ("23.0.0", "23.0.0."))), None),
        ["warn driver 25.5.1 is not one that firmware 7.1.0 names"],
    ),
    "older firmware that the driver names": (
        own(),
        firmware(FirmwareVersion("7.1.0", driver_ranges=(("23.0.0", "23.0.0."),))),
        ["info driver 25.5.1 is not one that firmware 7.1.0 names"],
    ),
    "another driver runs": (
        own(),
        lambda n: n.alter("npu-smi", driver_version="25.5.10"),
        ["warn driver 25.5.10 runs, 25.5.1 is installed"],
    ),
    "an installation that broke off": (
        own(),
        lambda n: n.alter("driver", install=AscendInstall(driver_status="uncomplete")),
        ["warn /etc/ascend_install.info says that the driver's installation is uncomplete"],
    ),
    "no version": (own(), lambda n: n.alter("driver", driver=None), ["fail the driver's version cannot be read"]),
}

STACK: dict[str, tuple[Any, Ill, list[str]]] = {
    "healthy": (own(), lambda n: None, []),
    "graph mode by default on an old driver": (
        own(NEW),
        hdk("25.5.0"),
        ["fail graph mode FULL_AND_PIECEWISE needs driver (HDK) 25.5.1 or later and CANN 8.5.0 or later; here: driver"],
    ),
    "graph mode by default on the driver it needs": (own(NEW), hdk("25.5.1"), []),
    "no graphs at all": (own(NEW, serve=served(engine_args=EAGER)), hdk("25.5.0"), []),
    "another graph mode": (
        own(NEW, serve=served(engine_args={"compilation-config": {"cudagraph_mode": "FULL_DECODE_ONLY"}})),
        hdk("25.5.0"),
        [],
    ),
    "another graph mode by the profile": (
        own(NEW, model=Model(path=MODEL, profile="qwen3-next-80b-a3b-instruct")),
        hdk("25.5.0"),
        [],
    ),
    "graph mode asked for before it was the default": (
        own(serve=served(engine_args={"compilation_config": '{"cudagraph_mode": "FULL_AND_PIECEWISE"}'})),
        hdk("25.5.0"),
        ["fail graph mode FULL_AND_PIECEWISE needs"],
    ),
    "graph mode that the release's CANN can't: the layout tells": (
        own(
            "q/vllm-ascend:v0.12.0rc1-a3",
            serve=served(engine_args={"compilation-config.cudagraph_mode": "FULL_AND_PIECEWISE"}),
        ),
        hdk("25.2.0"),
        [],
    ),
    "fabric memory": (
        own(serve=served(env={"ASCEND_ENABLE_USE_FABRIC_MEM": 1})),
        hdk("25.5.1"),
        ["fail fabric memory (ASCEND_ENABLE_USE_FABRIC_MEM) needs driver (HDK) 26.0 or later, or driver (HDK) 25.5"],
    ),
    "the KV pool on A3": (own(serve=served(engine_args=POOL)), hdk("25.2.0"), []),
    "the KV pool on A2": (
        settings("atlas-800-a2", serve=served(engine_args=POOL)),
        hdk("25.2.0"),
        ["fail the KV pool needs driver (HDK) 25.5 or later"],
    ),
    "CANN of another release in the image": (
        own(),
        inside(ASCEND_TOOLKIT_HOME="/usr/local/Ascend/cann-9.0.0"),
        ["warn CANN 9.0.0 is in use; vllm-ascend v0.18.0 is made for 8.5.1"],
    ),
    "Python of another release in the image": (
        own(),
        inside(PATH="/usr/local/python3.12.9/bin:/usr/bin"),
        ["warn Python 3.12.9; vllm-ascend v0.18.0 takes >=3.10,<3.12"],
    ),
    "an image as published": (
        own(),
        inside(
            PATH="/usr/local/python3.11.14/bin",
            ASCEND_TOOLKIT_HOME="/usr/local/Ascend/cann-8.5.1",
            SOC_VERSION="ascend910_9391",
        ),
        [],
    ),
}

INSIDE: dict[str, tuple[Any, Ill, list[str]]] = {
    "built for it": (own(), inside(SOC_VERSION="ascend910_9391"), []),
    "says nothing": (own(), inside(), []),
    "the tag lies": (
        own(),
        inside(SOC_VERSION="ascend910b1"),
        [
            "fail the image is built for ascend910b1 (atlas-800-a2), not for atlas-800-a3, though its tag v0.18.0-a3 "
            "says so: docker rmi"
        ],
    ),
    "a tag of one's own": (
        own("registry/own:prod"),
        inside("registry/own:prod", SOC_VERSION="ascend910b1"),
        ["fail the image is built for ascend910b1 (atlas-800-a2), not for atlas-800-a3: use the tag"],
    ),
    "a tag for other hardware": (
        own("q/vllm-ascend:v0.18.0-openeuler"),
        inside("q/vllm-ascend:v0.18.0-openeuler", SOC_VERSION="ascend910b1"),
        [
            "fail the image is built for ascend910b1 (atlas-800-a2), not for atlas-800-a3: "
            "install.image: q/vllm-ascend:v0.18.0-a3-openeuler"
        ],
    ),
    "of hardware that nobody knows": (
        own(),
        inside(SOC_VERSION="ascend1000"),
        ["warn the image is built for ascend1000, of which nothing is known"],
    ),
}


def told(check: Any, own: Any, make_ill: Ill) -> list[str]:
    node = healthy(0, own)
    node.facts["image"] = ImageValue(own.install.image, present=False)
    make_ill(node)
    findings = list(check.run(node))
    assert all(f.remedy and (f.source or "cannot be read" in f.summary) for f in findings)
    return [f"{f.level} {f.summary}: {f.remedy}" for f in findings]


def assert_tells(check: Any, case: tuple[Any, Ill, list[str]]) -> None:
    own, make_ill, wanted = case
    found = told(check, own, make_ill)
    assert [text[: len(start)] for text, start in zip(found, wanted, strict=False)] == wanted
    assert len(found) == len(wanted), found


@pytest.mark.parametrize("name", DRIVER)
def test_the_driver(name: str) -> None:
    assert_tells(driver, DRIVER[name])


@pytest.mark.parametrize("name", STACK)
def test_the_whole_stack(name: str) -> None:
    assert_tells(compatibility, STACK[name])


@pytest.mark.parametrize("name", INSIDE)
def test_the_image(name: str) -> None:
    assert_tells(image, INSIDE[name])


def cann(version: str) -> CannValue:
    home = f"/usr/local/Ascend/cann-{version}"
    return CannValue((CannInstall(home, home, version=version, current=True),) if version else ())


def compare(drivers: tuple[str, ...], canns: tuple[str, ...]) -> tuple[list[Comparison], list[Finding]]:
    """What ``same_driver`` shows of nodes with these."""
    nodes = [healthy(index) for index, _ in enumerate(drivers)]
    for node, version, toolkit in zip(nodes, drivers, canns, strict=True):
        hdk(version)(node)
        node.facts["cann"] = cann(toolkit)
    shown = list(same_driver.run(cluster(*nodes)))
    return [s for s in shown if isinstance(s, Comparison)], [s for s in shown if isinstance(s, Finding)]


def test_nodes_that_are_the_same_give_two_rows_and_no_finding() -> None:
    rows, findings = compare(("25.5.1",) * 3, ("8.5.1",) * 3)
    assert [(row.subject, row.same) for row in rows] == [("driver and firmware", True), ("CANN of the host", True)]
    assert findings == []


def test_the_odd_node_is_named_against_the_majority() -> None:
    _, (found,) = compare(("25.5.1", "25.5.0", "25.5.1"), ("8.5.1",) * 3)
    assert (found.level, found.node) == ("warn", "atlas-2")
    assert found.expected.startswith("driver 25.5.1, firmware 7.8.0.6.201, as most nodes have")
    assert found.observed == "driver 25.5.0, firmware 7.8.0.6.201"


def test_cann_of_the_hosts_is_only_noted_where_images_bring_their_own() -> None:
    _, (found,) = compare(("25.5.1",) * 3, ("8.5.1", "8.5.1", ""))
    assert (found.level, found.node) == ("info", "atlas-3")
    assert found.summary == "CANN on the hosts differs: 8.5.1 on atlas-1, atlas-2; none on atlas-3"


def test_cann_of_the_hosts_fails_where_servers_run_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(same_driver, "CANN_INSIDE", frozenset())
    _, (found,) = compare(("25.5.1",) * 3, ("8.5.1", "8.3.RC2", "8.5.1"))
    assert (found.level, found.node, found.observed) == ("fail", "atlas-2", "8.3.RC2")
    assert found.remedy.startswith("install one CANN toolkit")
