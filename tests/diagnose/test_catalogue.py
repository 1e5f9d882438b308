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

from provision.diagnose.catalogue import entries, exit_status, explain, fatal, match
from provision.inventory.model import Settings

LINES = yaml.safe_load((Path(__file__).parent / "entries.yaml").read_text(encoding="utf-8"))


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
        assert entry.role in ("cause", "symptom", "consequence", "complaint", "noise"), entry.id
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
