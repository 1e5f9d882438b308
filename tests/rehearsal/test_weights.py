"""The model folder: 163 GB by its look, next to nothing on the disk, and consistent to the byte."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

from provision.rehearsal.weights import SHARDS, write_weights


def header(path: Path) -> tuple[int, dict[str, dict[str, list[int]]]]:
    """A safetensors file's header and where its tensors begin."""
    with path.open("rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        return 8 + size, json.loads(file.read(size))


def test_weights_are_consistent_and_sparse(tmp_path: Path) -> None:
    write_weights(str(tmp_path))
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) == SHARDS == 41
    assert set(index["weight_map"].values()) == {shard.name for shard in shards}
    total = 0
    for shard in shards:
        begin, entries = header(shard)
        entries.pop("__metadata__")
        ends = [entry["data_offsets"] for entry in entries.values()]
        assert [b for b, _ in ends] == [0, *(e for _, e in ends[:-1])], "tensors follow each other without a gap"
        assert shard.stat().st_size == begin + ends[-1][1]
        assert {name for name, where in index["weight_map"].items() if where == shard.name} == entries.keys()
        total += ends[-1][1]
    assert index["metadata"]["total_size"] == total
    assert 155e9 < total < 170e9
    assert sum(os.stat(shard).st_blocks * 512 for shard in shards) < 4e6


def test_config_is_qwen3_next(tmp_path: Path) -> None:
    write_weights(str(tmp_path))
    config = json.loads((tmp_path / "config.json").read_text())
    shape = [
        config[k] for k in ("model_type", "num_hidden_layers", "hidden_size", "num_attention_heads", "num_experts")
    ]
    assert shape == ["qwen3_next", 48, 2048, 16, 512]
    assert (config["num_key_value_heads"], config["head_dim"]) == (2, 256)
