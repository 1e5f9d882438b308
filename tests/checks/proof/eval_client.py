"""The evaluation's environment is not there."""

from __future__ import annotations

from typing import Any

from provision.facts.python import PathState, PythonEnvironmentValue
from provision.inventory.model import Evaluate
from tests.checks.proof import Proof
from tests.checks.world import MODEL, FakeNode, healthy, settings

VENV, DATA = "/opt/aisbench", "/data/datasets/gsm8k"


def client(**changes: Any) -> FakeNode:
    """A head that can evaluate, but for ``changes``."""
    node = healthy(0, settings(evaluate=Evaluate(venv=VENV, datasets=(DATA,))))
    files = (PathState(MODEL, "dir", entries=20), PathState(f"{MODEL}/tokenizer.json", "file", 7_000_000))
    value: dict[str, Any] = {
        "path": VENV,
        "exists": True,
        "python": f"{VENV}/bin/python3",
        "version": "3.11.2",
        "modules": {"ais_bench": "3.0.1"},
        "files": (*files, PathState(DATA, "dir", entries=2)),
    }
    node.facts["python-environment"] = PythonEnvironmentValue(**{**value, **changes})
    return node


PROOF = Proof(
    passes=client,
    fails=lambda: client(exists=False, python="", version="", modules={}),
    says="/opt/aisbench is missing",
    faults={"evaluate/aisbench": "missing"},
    node="node1",
    qnext={"evaluate": {"venv": VENV, "datasets": [DATA]}},
)
