"""The script reads real files; what it says becomes a speed and a time."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provision.actions import On, Run
from provision.facts.model import Shard
from provision.findings import Measure
from provision.results import Result
from tests.checks.trying import all_say, summaries, tried
from tests.checks.world import cluster, healthy, model, pair


def really(group: On) -> Mapping[str, Result]:
    """Run the scripts on this machine."""
    answers = {}
    for name, action in group.actions.items():
        assert isinstance(action, Run)
        done = subprocess.run(["sh", "-s"], input=action.script, capture_output=True, text=True, check=False)
        answers[name] = Result(action.label, done.returncode, done.stdout, done.stderr)
    return answers


def on_disk(folder: Path, *sizes: int) -> Any:
    """A node whose weights lie in ``folder``."""
    shards = []
    for number, size in enumerate(sizes):
        name = f"model {number}'.safetensors"
        (folder / name).write_bytes(b"\0" * size)
        shards.append(Shard(name, size, size, 100))
    node = healthy()
    node.facts["model-folder"] = replace(model(), path=str(folder), shards=tuple(shards))
    return cluster(node)


def test_all_of_a_small_model_is_read(tmp_path: Path) -> None:
    outcome = tried(on_disk(tmp_path, 9_000_000, 5_000_000), "read_speed", really)
    speed, predicted = outcome.exhibits
    assert isinstance(speed, Measure)
    assert isinstance(predicted, Measure)
    assert outcome.status == "pass", outcome
    assert speed.note.startswith("13 MB read")
    assert speed.value > 0
    assert predicted.note == "13 MB of weights"


@pytest.mark.parametrize(
    ("text", "exit_status", "wanted"),
    [
        ("@@ buffered\n4194304 bytes (4.0MB) copied, 0.002 seconds, 2.0GB/s\n", 0, []),
        ("dd: error reading 'x': Input/output error\n", 0, ["warn not even 4 MB of the weights could be read"]),
        ("", 0, ["warn not even 4 MB of the weights could be read within 20 s"]),
    ],
)
def test_what_dd_says(text: str, exit_status: int, wanted: list[str]) -> None:
    one = cluster(healthy())
    outcome = tried(one, "read_speed", all_say(text, exit=exit_status))
    found = summaries(outcome)
    assert [text[: len(start)] for text, start in zip(found, wanted, strict=True)] == wanted
    if not wanted:
        assert next(m.note for m in outcome.exhibits if isinstance(m, Measure)).endswith("may flatter")


def test_nodes_without_a_whole_model_are_left_out() -> None:
    two = pair()
    for node in two.nodes:
        node.facts["model-folder"] = model(exists=False, shards=())
    assert tried(two, "read_speed", all_say()).reason == "no whole model is on the nodes: the check model says so"
