"""What the inventory's tests share: shipped examples, cases, and Ansible's own opinion of both."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision.inventory.load import load
from provision.inventory.model import Inventory
from provision.resources import shipped

HERE = Path(__file__).parent
CASES = {path.parent.name: path for path in sorted(HERE.glob("cases/*/inventory.yaml"))}
EXAMPLES = {path.name: path for path in sorted(shipped("inventories").glob("*.yaml"))}
LOOKED_UP = {"QNEXT_TEST_LOOKUP": "seen"}
QNEXT = "{cluster: test, hardware: cpu, install: {image: x}, model: {path: /m}}"


def ask_ansible(inventories: list[Path], patterns: list[tuple[Path, str]], scratch: Path) -> dict[str, Any]:
    """See ``ansible_says.py``. Skips where ansible-core isn't installed."""
    if importlib.util.find_spec("ansible") is None:
        pytest.skip("ansible-core is not installed (extra: test)")
    config = scratch / "ansible.cfg"
    config.write_text("[defaults]\n")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        **LOOKED_UP,
        "ANSIBLE_HOME": str(scratch),
        "ANSIBLE_CONFIG": str(config),
        "ANSIBLE_LOCALHOST_WARNING": "false",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LC_ALL": "C.UTF-8",
    }
    asked = {"inventories": [str(path) for path in inventories], "patterns": [(str(p), text) for p, text in patterns]}
    done = subprocess.run(
        [sys.executable, str(HERE / "ansible_says.py")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write files below a folder of the test: ``write("text", **{"group_vars/all.yml": "…"})``; gives the inventory."""

    def writer(text: str, **files: str) -> Path:
        for name, content in {"cluster.yaml": text, **files}.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        return tmp_path / "cluster.yaml"

    return writer


@pytest.fixture
def loaded(write: Callable[..., Path]) -> Callable[..., Inventory]:
    """Load a text as an inventory."""
    return lambda text, **files: load(write(text, **files), env=LOOKED_UP)
