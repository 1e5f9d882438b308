"""The failure catalogue is data, and so are its tests: one line that an entry explains, one that it does not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import BaseModel

from provision import checks
from provision.diagnose import codes
from provision.diagnose.catalogue import (
    Entry,
    entries,
    exit_status,
    explain,
    fatal,
    match,
    named,
    runbooks,
    without_code,
)
from provision.diagnose.diagnosis import ProcessLog
from provision.diagnose.first_cause import first_cause
from provision.inventory.model import Settings

HERE = Path(__file__).parent
LINES = yaml.safe_load((HERE / "entries.yaml").read_text(encoding="utf-8"))
ROWS = yaml.safe_load((HERE / "domain12.yaml").read_text(encoding="utf-8"))
SAMPLE_LOGS = yaml.safe_load((HERE / "samples.yaml").read_text(encoding="utf-8"))
INNOCENT = (HERE / "innocent.txt").read_text(encoding="utf-8").splitlines()
CHECKS = [path for path in Path(checks.__file__).parent.glob("*.py") if "\nCODE = " in path.read_text()]
SAMPLES = HERE.parents[2] / "shared" / "samples" / "npu"


@pytest.mark.parametrize("name", LINES)
def test_an_entry_explains_its_line_and_not_the_other(name: str) -> None:
    found, other = match(LINES[name]["matches"]), match(LINES[name]["other"])
    assert found is not None
    assert found.id == name
    assert other is None or other.id != name


@pytest.mark.parametrize(("name", "line"), [(name, line) for name in LINES for line in LINES[name].get("also", ())])
def test_other_words_for_it(name: str, line: str) -> None:
    found = match(line)
    assert found is not None
    assert found.id == name


def test_every_entry_has_its_lines_and_every_line_its_entry() -> None:
    assert sorted(entry.id for entry in entries()) == sorted(LINES)


def test_every_entry_is_complete() -> None:
    for entry in entries():
        assert entry.role in ("cause", "end", "symptom", "consequence", "complaint", "noise"), entry.id
        assert entry.scope in ("node", "device", "cluster", "config", "image", "model", "client"), entry.id
        assert all((entry.title, entry.cause, entry.remedy, entry.source)), entry.id
        assert entry.cause.endswith((".", ".)")), entry.id


def test_wrappers_never_hide_a_cause_in_the_same_line() -> None:
    found = match("EngineCore failed to start: RuntimeError: NPU out of memory. Tried to allocate 2 GiB")
    assert found is not None
    assert found.id == "npu-out-of-memory"


def test_a_text_of_several_lines_is_explained_by_its_cause() -> None:
    found = explain("docker: Error response from daemon\nBroken pipe\nno space left on device\n")
    assert found is not None
    assert found.id == "disk-full"
    assert explain("nothing known\nhere") is None


def test_what_dooms_a_start_up() -> None:
    found = fatal("INFO 01-01 00:00:00 [a.py:1] hello\nvllm: error: unrecognized arguments: --x\n")
    assert found is not None
    assert found.id == "unknown-argument"
    assert fatal("WARNING 01-01 00:00:00 [a.py:1] Address already in use. Retrying with a new port.") is None
    assert fatal("INFO 01-01 00:00:00 [a.py:1] args: on_error='EADDRINUSE'") is None


def test_exit_statuses() -> None:
    killed = exit_status(137)
    assert killed is not None
    assert "OOM killer" in killed.cause
    assert exit_status(1) is None


def test_importing_the_catalogue_reads_no_data() -> None:
    probe = "from provision.diagnose import catalogue, first_cause; print(catalogue.entries.cache_info().currsize)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_a_prefixed_acl_error_is_not_the_harmless_one_of_ray() -> None:
    found = match("(EngineCore pid=9) ERROR 11-24 12:30:00 [core.py:1] ModuleNotFoundError: No module named 'acl'")
    assert found is not None
    assert found.id == "python-module-missing"


def test_who_complains_of_another_may_doom_a_start_up() -> None:
    found = fatal("2026-11-24 12:31:33 ERROR vllm_router_rs::x: Timeout 600s waiting for hosts [] to become healthy\n")
    assert found is not None
    assert (found.id, found.role) == ("router-startup-timeout", "complaint")
    assert fatal("[2026-11-24 12:40:35,000 W 1 1] gcs_client.cc:210: Failed to get cluster ID from GCS server") is None


INVENTORY_KEYS = re.compile(r"\b(?:serve|qnext|install|model)\.\w+(?:\.\w+)*")


def test_every_inventory_key_of_a_remedy_exists() -> None:
    named = {key for entry in entries() for key in INVENTORY_KEYS.findall(entry.remedy)}
    assert len(named) > 20
    assert [key for key in sorted(named) if not is_setting(key.removeprefix("qnext.").split("."))] == []


def is_setting(path: list[str]) -> bool:
    """Whether the inventory has this key."""
    model: type[BaseModel] | None = Settings
    for name in path:
        if model is None or name not in model.model_fields:
            return False
        kinds = (model.model_fields[name].annotation, *get_args(model.model_fields[name].annotation))
        model = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
    return True


def test_every_failure_of_the_domain_is_there() -> None:
    assert sorted(ROWS) == list(range(1, 66))


@pytest.mark.parametrize("number", ROWS)
def test_a_failure_of_the_domain_is_explained_by_an_entry_that_cites_it(number: int) -> None:
    found = match(ROWS[number]["line"])
    assert found is not None
    assert found.id == ROWS[number]["entry"]
    cited = re.findall(r"\b12 (#\d+(?:, #\d+)*)", found.source)
    assert f"#{number}" in {one for row in cited for one in row.split(", ")}


def test_every_cause_says_what_to_fetch_and_what_treats_it() -> None:
    for entry in entries():
        if entry.role == "cause":
            assert entry.runbook in runbooks(), entry.id
            assert entry.evidence, entry.id


def test_every_runbook_is_named_by_an_entry() -> None:
    assert set(runbooks()) == {entry.runbook for entry in entries() if entry.runbook}


def test_checks_that_are_to_be_run_exist() -> None:
    known = {re.findall(r'(?m)^CODE = "(\w+)"', path.read_text())[0] for path in CHECKS}
    told = [text for entry in entries() for text in (*entry.evidence, entry.remedy)]
    told += [code.remedy for code in codes.codes()]
    asked = {code for text in told for found in re.findall(r"check --only ([\w,]+)", text) for code in found.split(",")}
    assert len(asked) > 20
    assert asked <= known


@pytest.mark.parametrize("line", INNOCENT)
def test_what_a_healthy_server_prints_is_nothing(line: str) -> None:
    found = match(line)
    assert found is None or found.role == "noise" or found.scope == "client"


@pytest.mark.parametrize("name", SAMPLE_LOGS)
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the recorded samples in ../shared/samples/npu")
def test_a_recorded_log_gives_the_right_entry(name: str) -> None:
    text = (SAMPLES / name).read_text(encoding="utf-8", errors="replace")
    found = first_cause([ProcessLog("atlas-1", "head", text)])
    assert (found.id if found else None) == SAMPLE_LOGS[name]


LOGS = re.compile(r"(?:plog|vllm|train|messages|dmesg|pymotor|npu_exporter|err|torch_npu|driver_install|mindie|ray)_")


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the recorded samples in ../shared/samples/npu")
def test_no_recorded_log_is_left_out() -> None:
    assert {path.name for path in SAMPLES.iterdir() if LOGS.match(path.name)} <= set(SAMPLE_LOGS)


def every_line() -> list[str]:
    """Every line that a test of the catalogue knows."""
    told = [line for case in LINES.values() for line in (case["matches"], case["other"], *case.get("also", ()))]
    return [
        *told,
        *INNOCENT,
        *(row["line"] for row in ROWS.values()),
        *(codes.example(code) for code in codes.codes()[::9]),
    ]


def slowly(line: str, *, calm: bool) -> Entry | None:
    """What a line means by trying every entry."""
    order = ("noise", "cause", "end", "complaint", "symptom", "consequence")
    found = [entry for entry in entries() if (entry.quiet or not calm) and entry.signature.search(line)]
    return min(found, key=lambda entry: order.index(entry.role), default=None)


@pytest.mark.parametrize("calm", [False, True])
def test_looking_at_triggers_first_changes_no_answer(calm: bool) -> None:
    for line in every_line():
        found, wanted = match(line, calm=calm), slowly(line, calm=calm)
        assert (found.id if found else None) == (wanted.id if wanted else None), line


@pytest.mark.parametrize("code", ["EI0099", "EM0007", "EH0077", "E10035", "EQ1234"])
def test_an_unknown_code_of_a_known_family_is_told_as_such(code: str) -> None:
    found, told = match(f"{code}: [PID: 9] 2026-01-05-10:00:00.000.001 nobody has seen this"), codes.lookup(code)
    assert found is not None
    assert told is not None
    assert code in found.title
    assert told.meaning in found.cause
    assert not told.known


def test_an_entry_tells_of_the_code_in_its_line() -> None:
    found = match("RuntimeError: NPU function error: aclrtX, error code is 507012")
    assert found is not None
    assert found.id == "acl-device"
    assert found.title == "the NPU or its driver failed (507012)"
    assert found.cause == "507012 ACL_ERROR_RT_REPORT_TIMEOUT: the device did not answer in time."
    group = match("HCCL function error: hcclCommInitRootInfoConfig(numRanks), error code is 21")
    assert group is not None
    assert "the peer has ended" in group.cause


def test_without_a_line_an_entry_speaks_of_no_code() -> None:
    for entry in entries():
        told = without_code(entry)
        assert "{" not in "".join((told.title, told.cause)), entry.id


def test_an_entry_by_its_name() -> None:
    found = named("hccl-link-timeout")
    assert found is not None
    assert found.runbook == "hccl-timeout"
    assert "`check --only N20,X05,X06,X14,N35`" in found.evidence
    assert named("nothing-like-it") is None
