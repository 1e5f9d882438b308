"""Every parser against recorded outputs: a case is a file of ``cases/``, its facts read off the sample by hand."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from provision.facts.base import Fact
from provision.facts.kinds import KINDS, as_data, matching, standard_facts
from provision.inventory.model import Hardware, Install, Model, Settings

CASES = sorted((Path(__file__).parent / "cases").glob("*.yaml"))
SAMPLES = Path(__file__).parents[3] / "shared" / "samples"
DIE = (
    *("npu", "chip", "phy_id", "device", "name", "health", "power_w", "temp_c", "bus_id", "aicore_percent"),
    *("memory", "hbm", "hugepages"),
)
LOGS = ("plog", "vllm", "torc", "trai")
NPU_SMI = ("smi_", "a5_", "err_")
PROCESS = ("npu", "chip", "pid", "name", "memory_mb", "container_pid")


def text_of(case: dict[str, Any]) -> str:
    if "text" in case:
        return str(case["text"])
    if not SAMPLES.is_dir():
        pytest.skip("the recorded samples (../shared/samples) are not here")
    return (SAMPLES / case["sample"]).read_bytes().decode("utf-8", "replace")


def die(row: list[Any]) -> dict[str, Any]:
    """A case's row as the parser's object: ``used/total`` pairs become two numbers."""
    said = dict(zip(DIE, row, strict=True))
    for name, unit in (("memory", "_mb"), ("hbm", "_mb"), ("hugepages", "")):
        pair = said.pop(name)
        used, total = map(int, pair.split("/")) if pair else (None, None)
        said |= {f"{name}_used{unit}": used, f"{name}_total{unit}": total}
    return said


def expected(case: dict[str, Any]) -> dict[str, Any]:
    if "expect" in case:
        return dict(case["expect"])
    return {
        "tool_version": case["tool_version"],
        "driver_version": case["driver_version"],
        "dies": [die(row) for row in case["dies"]],
        "processes": [dict(zip(PROCESS, row, strict=True)) for row in case["processes"]],
        "problems": case["problems"],
    }


def fill(expect: Any, actual: Any) -> Any:
    """What a case leaves out must be empty: take it from the value where it is."""
    if isinstance(expect, dict) and isinstance(actual, dict):
        empty = {key: value for key, value in actual.items() if value in (None, [], "", False, 0)}
        return {**empty, **{key: fill(value, actual.get(key)) for key, value in expect.items()}}
    if isinstance(expect, list) and isinstance(actual, list) and len(expect) == len(actual):
        return [fill(a, b) for a, b in zip(expect, actual, strict=True)]
    return expect


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_recorded_output(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    kind = KINDS[case["kind"]]
    actual = kind.to_json(kind.parse(text_of(case)))
    assert json.loads(json.dumps(actual)) == fill(expected(case), actual)


def test_every_recorded_table_and_mapping_has_a_case() -> None:
    if not SAMPLES.is_dir():
        pytest.skip("the recorded samples (../shared/samples) are not here")
    patterns = (
        "smi_*",
        "a5_smi_*",
        "err_*",
        "hccn_link_[UD]*",
        "hccn_tls_[gl]*",
    )
    samples = {path.name for pattern in patterns for path in (SAMPLES / "npu").glob(pattern)}
    cases = {str(yaml.safe_load(path.read_text()).get("sample", "")).removeprefix("npu/") for path in CASES}
    assert samples
    assert samples <= cases


@pytest.mark.parametrize(
    "path", [path for path in CASES if path.stem.startswith(("smi_", "a5_"))], ids=lambda p: p.stem
)
def test_the_kind_of_an_npu_smi_output_is_recognised(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    kind, text = KINDS[case["kind"]], text_of(case)
    refused = "Invalid card id" in text
    assert kind.read_nothing(kind.parse(text)) is refused
    assert (kind.name in matching(text)[:2]) is not refused


def test_every_recording_of_another_tool_has_a_case() -> None:
    """By the command that INDEX.md names; logs of applications are for the failure catalogue (tests/diagnose)."""
    if not SAMPLES.is_dir():
        pytest.skip("the recorded samples (../shared/samples) are not here")
    index = (SAMPLES / "npu" / "INDEX.md").read_text()
    rows = re.findall(r"^\| (\S+\.txt) \| `(.+?)(?:`|\\\\)", index, re.MULTILINE)
    samples = {name for name, command in rows if not re.match("npu-smi|kubectl exec", command) and name[:4] not in LOGS}
    cases = {str(yaml.safe_load(path.read_text()).get("sample", "")).removeprefix("npu/") for path in CASES}
    assert len(samples) > 30
    assert sorted(samples - cases) == []


@pytest.mark.parametrize("path", [path for path in CASES if not path.stem.startswith(NPU_SMI)], ids=lambda p: p.stem)
def test_a_kind_reads_something_of_its_own_recording(path: Path) -> None:
    case = yaml.safe_load(path.read_text())
    kind, text = KINDS[case["kind"]], text_of(case)
    assert not kind.read_nothing(kind.parse(text))
    assert (kind.name in matching(text)) is (kind.name != "ascend-messages")


def test_npu_smi_info_is_the_first_kind_and_every_kind_is_named_as_it_is_found() -> None:
    assert next(iter(KINDS)) == "npu-smi-info"
    assert all(kind.name == name and kind.description for name, kind in KINDS.items())


@dataclass(frozen=True)
class Thing:
    raw: bytes
    names: tuple[str, ...]


def test_as_data_is_plain_json() -> None:
    value = {"one": Thing(b"\xff\x00", ("a",)), "two": Thing(b"text", ())}
    assert json.loads(json.dumps(as_data(value))) == {
        "one": {"raw": "base64:/wA=", "names": ["a"]},
        "two": {"raw": "text", "names": []},
    }


@pytest.mark.parametrize("hardware", get_args(Hardware))
def test_standard_facts_are_named_once_and_fit_the_hardware(hardware: Hardware) -> None:
    settings = Settings(cluster="demo", hardware=hardware, install=Install(image="x/y:1"), model=Model(path="/data/m"))
    facts: list[Fact[object]] = standard_facts(settings)
    names = [fact.name for fact in facts]
    assert len(names) == len(set(names))
    assert ("npu-smi" in names) is (hardware != "cpu")
    assert all(fact.script() for fact in facts)
