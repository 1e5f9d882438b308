"""The command line in this process, without nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.program import Program

INVENTORY = """\
all:
  vars:
    qnext:
      cluster: qnext-test
      hardware: atlas-800-a3
      install: {image: "quay.io/ascend/vllm-ascend:v0.18.0-a3"}
      model: {profile: qwen3-next-80b-a3b-instruct, path: /data/weights/Qwen3-Next}
      serve: {topology: data-parallel, tensor_parallel_size: 4, data_parallel_size: 8}
  hosts:
    atlas-[1:2]: {}
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Two A3 nodes by addresses that no test calls."""
    path = tmp_path / "cluster.yaml"
    hosts = "".join(f"    atlas-{n}: {{ansible_host: 192.0.2.{n}}}\n" for n in (1, 2))
    path.write_text(INVENTORY.replace("    atlas-[1:2]: {}\n", hosts))
    return path
