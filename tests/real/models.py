"""Model folders of any size, for tests of moving weights: real headers, an index, and bytes that no copy makes smaller."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from .assets import Assets

PIECE = 1 << 24


def big_model(folder: Path, assets: Assets, *, shards: int, size: int) -> Path:
    """Write the dense tiny model with other weights: ``shards`` files of ``size`` bytes each, a tensor a file."""
    shutil.copytree(assets.models["Qwen3-Tiny"], folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    names = [f"model-{number:05d}-of-{shards:05d}.safetensors" for number in range(1, shards + 1)]
    for number, name in enumerate(names):
        write_shard(folder / name, f"tensor.{number}", size)
    weight_map = {f"tensor.{number}": name for number, name in enumerate(names)}
    index = {"metadata": {"total_size": sum(data_size(name, size) for name in weight_map)}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def header(tensor: str, size: int) -> bytes:
    """The head of a safetensors file of ``size`` bytes that holds one tensor."""
    fields = {tensor: {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}}
    for _ in range(2):  # its own length counts, and depends on how long the numbers are
        length = size - 8 - len(json.dumps(fields))
        fields[tensor].update(shape=[length], data_offsets=[0, length])
    text = json.dumps(fields).encode()
    padded = text + b" " * (size - 8 - length - len(text))
    return len(padded).to_bytes(8, "little") + padded


def data_size(tensor: str, size: int) -> int:
    """Bytes of the tensor in such a file."""
    return size - len(header(tensor, size))


def write_shard(file: Path, tensor: str, size: int) -> None:
    """Write one file of random bytes."""
    left = data_size(tensor, size)
    with file.open("wb") as out:
        out.write(header(tensor, size))
        while left:
            out.write(os.urandom(min(PIECE, left)))
            left -= min(PIECE, left)
