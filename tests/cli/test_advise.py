"""``advise``: what an operator and a script see of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision import yamlio
from provision.cli import advise as command
from provision.cli.advise import WIDTH
from provision.serve.advise import advise
from provision.serve.layout import layout_of
from tests.scenarios.program import Program
from tests.serve.clusters import QWEN3_NEXT, pairs, settings

DENSE = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "num_hidden_layers": 64,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "torch_dtype": "bfloat16",
}


def test_a_table_the_layout_asked_for_and_what_to_paste(program: Program, inventory: Path) -> None:
    answer = program("advise", "-i", inventory)

    assert answer.exit == 0, answer.text
    lines = answer.stdout.splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    assert lines[0].startswith("2 x atlas-800-a3, 32 devices, vllm-ascend 0.18.0: Qwen3-Next-80B-A3B-Instruct (BF16).")
    assert any(line.split()[:4] == ["1", "replicas", "8", "of"] for line in lines), answer.stdout
    assert "* The inventory asks for data-parallel" in answer.stdout
    assert "Not advised: ray" in answer.stdout
    assert "Rejected by S04: " in answer.stdout
    block = answer.stdout[answer.stdout.index("\nserve:\n") :]
    assert yamlio.parse(block).data["serve"]["topology"] == "replicas"


def test_all_of_it_is_as_wide_at_most(program: Program, inventory: Path) -> None:
    shown, every = program("advise", "-i", inventory), program("advise", "-i", inventory, "--all")

    assert "--all" in shown.stdout
    assert "--all" not in every.stdout
    assert len(every.stdout.splitlines()) > len(shown.stdout.splitlines())
    assert all(len(line) <= WIDTH for line in every.stdout.splitlines())


def test_as_data_everything(program: Program, inventory: Path) -> None:
    data = program("plan-layout", "-i", inventory, "--for", "context", "--json").json()

    assert (data["for"], data["nodes"], data["devices"], data["release"]) == ("context", 2, 32, "0.18.0")
    ranks = [row["rank"] for row in data["layouts"] if row["status"] == "valid"]
    assert ranks == list(range(1, len(ranks) + 1))
    assert data["asked"]["rank"] == next(row["rank"] for row in data["layouts"] if row["asked"])
    for row in data["layouts"]:
        assert row["why"]
        assert row["serve"]["topology"]
        if row["status"] == "rejected":
            assert all(failure["code"] and failure["source"] for failure in row["failures"])
            assert row["rank"] is None
    apart = next(row for row in data["layouts"] if row["serve"]["topology"] == "prefill-decode")
    assert apart["roles"]["prefill"]["role"] == "prefill"


def test_another_model_by_its_file(program: Program, inventory: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(DENSE))

    data = program("advise", "-i", inventory, "--model", tmp_path, "--json").json()

    assert data["model"] == "Qwen3ForCausalLM"
    best = data["layouts"][0]
    assert best["layout"].startswith("replicas")
    assert best["numbers"]["weights"] == pytest.approx(65.5e9 / best["numbers"]["width"], rel=0.01)
    assert any("S05" in {v["code"] for v in row["warnings"]} or row["failures"] for row in data["layouts"])


def test_another_model_by_its_profile(program: Program, inventory: Path) -> None:
    data = program("advise", "-i", inventory, "--model", "deepseek-v3.1", "--json").json()

    assert data["model"].startswith("DeepSeek-V3.1")
    assert data["layouts"][0]["layout"] == "data-parallel with tensor_parallel_size 8 and data_parallel_size 4"


def test_without_a_model_it_says_what_it_cannot_know(program: Program, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("profile: qwen3-next-80b-a3b-instruct, ", ""))

    answer = program("advise", "-i", inventory)

    assert answer.exit == 0, answer.text
    assert "memory was not judged" in " ".join(answer.stdout.split())
    assert "give --model" in " ".join(answer.stdout.split())


def test_nothing_fits(program: Program, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("serve: {", "devices: [0, 1]\n      serve: {"))

    answer = program("advise", "-i", inventory, "--model", "deepseek-v3.1")

    assert answer.exit == 3
    assert "No layout of these nodes is valid for this model." in answer.stdout
    assert "Rejected by S16" in answer.stdout


def test_prefill_and_decode_come_with_their_hosts() -> None:
    layout = layout_of(pairs(settings(profile=QWEN3_NEXT, pipeline_parallel_size=2), 2))
    row = next(row for row in advise(layout, "throughput").of("valid") if row.candidate.prefill)
    data = yamlio.parse("\n".join(command._yaml(layout, row))).data

    assert data["vars"]["qnext"]["serve"] == {"topology": "prefill-decode", "pipeline_parallel_size": 1}
    assert list(data["children"]["prefill"]["hosts"]) == ["node1"]
    assert list(data["children"]["decode"]["hosts"]) == ["node2"]
    assert data["children"]["decode"]["vars"]["qnext"]["serve"]["role"] == "decode"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "deepseek-v3"], "no profile is called 'deepseek-v3'"),
        (["--model", "qwen3-nxt"], "did you mean 'qwen3-next-80b-a3b-instruct', "),
        (["--model", "deepseek-v3"], "did you mean 'deepseek-v3.1', 'deepseek-v3.1-w8a8' or 'deepseek-v3.2-w8a8'?"),
        (["--model", "/nowhere/config.json"], "/nowhere/config.json: No such file or directory"),
        (["--for", "speed"], "'speed' is not one of 'throughput', 'latency', 'context'"),
    ],
)
def test_what_it_refuses(words: list[str], says: str, program: Program, inventory: Path) -> None:
    answer = program("advise", "-i", inventory, *words)

    assert answer.exit == 2
    assert says in answer.stderr
