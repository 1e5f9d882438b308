"""Left-over servers are found by their titles, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest

from provision.facts.processes import KINDS, Processes


def test_a_process_with_a_servers_title(look: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()", "VLLM::EngineCore"], stdin=subprocess.PIPE) as server:
        found = {process.pid: process for process in look(Processes()).processes}
        server.communicate(b"\n")
    process = found[server.pid]
    assert (process.parent, process.kind) == (os.getpid(), "vllm")
    assert process.args.endswith("VLLM::EngineCore")
    assert process.age is not None
    assert process.age < 60
    assert abs(process.started + process.age - time.time()) < 30


def test_keys_on_the_command_line_stay_on_the_node(look: Any) -> None:
    words = ["vllm serve", "--api-key", "sk-1234567890", "--hf-token=hf_abc", "--tokenizer", "/data/m"]
    with subprocess.Popen([sys.executable, "-c", "input()", *words], stdin=subprocess.PIPE) as server:
        found = {process.pid: process.args for process in look(Processes()).processes}
        server.communicate(b"\n")
    assert found[server.pid].endswith("vllm serve --api-key *** --hf-token=*** --tokenizer /data/m")


@pytest.mark.parametrize(
    ("title", "kind"),
    [
        ("VLLM::Worker_TP0", "vllm"),
        ("/usr/bin/python3 /usr/local/bin/vllm serve /data/m --port 8000", "vllm"),
        ("python3 -m vllm.entrypoints.openai.api_server", "vllm"),
        ("ray::RayWorkerWrapper.execute_method", "ray"),
        ("/usr/lib/python3/ray/core/src/ray/raylet/raylet --raylet_socket_name=x", "ray"),
        ("mooncake_master --port 50088", "mooncake"),
        ("python load_balance_proxy_server_example.py --host 10.0.0.1 --port 1999", "proxy"),
        ("/opt/venv/bin/vllm-router --policy cache_aware", "proxy"),
        ("vim /home/me/vllm.txt", None),
        ("tail -f /var/log/array.log", None),
        ("grep -r vllm serve.py", None),
    ],
)
def test_kinds(title: str, kind: str | None) -> None:
    assert next((name for name, pattern in KINDS.items() if pattern.search(title)), None) == kind
