"""``explain model`` and ``explain profile``: what follows from a model's numbers, with no node asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.program import Program
from tests.serve.published import MODELS


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(_named("DeepSeek-V3.2")))
    return tmp_path / "config.json"


def _named(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(model["config"] for model in MODELS if model["name"].startswith(name))
    return found


def test_a_config_json(config: Path, program: Program) -> None:
    answer = program("explain", "model", str(config))
    assert answer.exit == 0, answer.text
    for piece in (
        "DeepseekV32ForCausalLM (deepseek_v32)",
        "layers      61, and 1 for multi-token prediction",
        "attention   128 heads; 576 latent numbers and 128 of an index a token, the same for all heads",
        "experts     256 in each of 58 layers, 2048 wide",
        "context     163840 tokens",
        "quantised   fp8",
        "parameters  683.5e9, 665.2e9 of them in experts",
        "weights     701.8 GB, about 665.2 GB of it experts: estimated from the numbers above",
        "profile     deepseek-v3.2-w8a8: DeepSeek-V3.2 (W8A8)",
        "legal TP    1, 2, 4, 8, 16, 32, 64, 128",
        "  atlas-800-a2  2 nodes, TP 4 and DP 4 with expert parallel: 50.7 GB a device",
        "  atlas-800-a3  one node, TP 16: 43.9 GB a device",
    ):
        assert piece in answer.stdout, piece


def test_as_data(config: Path, program: Program) -> None:
    told = program("explain", "model", str(config.parent), "--json").json()
    assert told["legal_tensor_parallel"] == [1, 2, 4, 8, 16, 32, 64, 128]
    assert told["shape"]["latent_dim"] == 576
    assert told["weights_estimated"] is True
    assert told["profiles"] == ["deepseek-v3.2-w8a8"]
    assert {each["hardware"] for each in told["minimum_layouts"]} == {"atlas-800-a2", "atlas-800-a3"}


def test_little_is_said_to_be_little(tmp_path: Path, program: Program) -> None:
    (tmp_path / "config.json").write_text('{"num_hidden_layers": 8}')
    text = program("explain", "model", str(tmp_path)).stdout
    for piece in ("no named architecture", "unknown heads", "legal TP    unknown", "weights     unknown", "none has"):
        assert piece in text, piece
    assert "smallest" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model"], "explain model takes one path"),
        (["model", "a", "b"], "explain model takes one path"),
        (["model", "/nowhere/at/all"], "/nowhere/at/all: No such file or directory"),
    ],
)
def test_bad_words(words: list[str], said: str, program: Program) -> None:
    answer = program("explain", *words)
    assert answer.exit == 2
    assert said in answer.text


def test_a_profile_says_which_scenarios_cannot_be(program: Program) -> None:
    text = program("explain", "profile", "qwen3-next-80b-a3b-instruct").stdout
    assert "  high-throughput: high throughput, requests of about 16K tokens; TP 4 and DP 1" in text
    assert "valid: false for the sizes that its source prints: TP 1 and DP 1 put 163.0 GB of weights" in text
    assert "  atlas-800-a2  one node, TP 4: 40.8 GB a device" in text
    assert "0.13.0rc2" in text
