"""The failure catalogue is data, and so are its tests: one line that an entry explains, one that it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from provision.diagnose.catalogue import entries, exit_status, explain, fatal, match

LINES = yaml.safe_load((Path(__file__).parent / "entries.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LINES)
def test_an_entry_explains_its_line_and_not_the_other(name: str) -> None:
    found, other = match(LINES[name]["matches"]), match(LINES[name]["other"])
    assert found is not None
    assert found.id == name
    assert other is None or other.id != name


def test_every_entry_has_its_lines_and_every_line_its_entry() -> None:
    assert sorted(entry.id for entry in entries()) == sorted(LINES)


def test_every_entry_is_complete() -> None:
    for entry in entries():
        assert entry.role in ("cause", "symptom", "consequence", "noise"), entry.id
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
