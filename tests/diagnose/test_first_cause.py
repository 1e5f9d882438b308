from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.diagnose.diagnosis import ProcessLog
from provision.diagnose.first_cause import first_cause

SCENARIOS = yaml.safe_load((Path(__file__).parent / "scenarios.yaml").read_text(encoding="utf-8"))
SAMPLES = Path(__file__).parents[2] / ".." / "shared" / "samples" / "npu"


def logs_of(scenario: dict[str, Any]) -> list[ProcessLog]:
    return [
        ProcessLog(f"atlas-{rank + 1}", name, log["text"], log.get("exit"), rank, log.get("oom", False))
        for rank, (name, log) in enumerate(scenario["logs"].items())
    ]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_scenario(scenario: dict[str, Any]) -> None:
    found, wanted = first_cause(logs_of(scenario)), scenario["cause"]
    if wanted is None:
        assert found is None
        return
    assert found is not None
    told = {key: getattr(found, key) for key in wanted} | {"followers": len(found.followers)}
    assert told == {"followers": told["followers"], **wanted}
    assert found.explanation
    assert found.remedy


def test_the_node_and_the_followers_are_named() -> None:
    scenario = next(s for s in SCENARIOS if s["name"].startswith("an unknown error of the worker"))
    found = first_cause(logs_of(scenario))
    assert found is not None
    assert found.node == "atlas-2"
    assert found.summary() == "worker1 on atlas-2: AssertionError"
    assert found.followers == ("head on atlas-1 (11-24 06:03:05): another rank closed the connection",)
    assert 'File "moe.py", line 7, in dispatch' in found.excerpt


SAMPLE_CAUSES = {
    "vllm_fail_507035_engine_dead.txt": "npu-kernel-failed",
    "vllm_fail_507899_EL0004_oom.txt": "npu-out-of-memory",
    "vllm_fail_507899_no_driver_310P.txt": "npu-not-visible",
    "vllm_fail_EI0006_engine_v0.txt": "hccl-link-timeout",
    "vllm_fail_EI0006_socket_timeout.txt": "hccl-link-timeout",
    "vllm_fail_engine_core_init_tail.txt": "engine-init-wrapper",
    "vllm_fail_workerproc_init_10-05.txt": "engine-init-wrapper",
    "vllm_oom_310P_44g_excerpt.txt": "npu-out-of-memory",
    "vllm_warn_port_in_use_generic.txt": "port-in-use",
    "torch_npu_oom_message.txt": "npu-out-of-memory",
    "train_fail_EJ0001_hccp.txt": "hccp-left-over",
    "plog_aicpu_notify_timeout.txt": "hccl-notify-timeout",
    "plog_hccl_link_error_info_2026.txt": "hccl-link-timeout",
    "plog_hccl_p2p_timeout.txt": "hccl-link-timeout",
    "plog_hccl_socket_timeout.txt": "hccl-link-timeout",
    "err_9005_board_type_container.txt": "npu-in-use",
    "err_dcmi_8005_vllm_container.txt": "npu-in-use",
    "err_dcmi_8020_container.txt": "npu-in-use",
    "err_lib_libc_sec.txt": "driver-libraries",
    "err_torch_npu_device_count0_A3_container.txt": "npu-not-visible",
    "err_command_not_found_ci.txt": "npu-smi-missing",
    "vllm_server_started.txt": None,
    "vllm_ok_start_V0_plugin_0.7.1.txt": None,
    "vllm_ascend_plugin_detected.txt": None,
}


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs the recorded samples in ../shared/samples/npu")
@pytest.mark.parametrize("name", SAMPLE_CAUSES)
def test_recorded_logs(name: str) -> None:
    found = first_cause([ProcessLog("atlas-1", "head", (SAMPLES / name).read_text(encoding="utf-8"))])
    assert (found.id if found else None) == SAMPLE_CAUSES[name]


@settings(database=None)
@given(st.lists(st.tuples(st.text(), st.none() | st.integers(0, 255)), max_size=3))
def test_no_text_breaks_it(logs: list[tuple[str, int | None]]) -> None:
    first_cause([ProcessLog("n", f"p{i}", text, code) for i, (text, code) in enumerate(logs)])
