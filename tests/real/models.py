"""Model folders of any size, to be moved: with real headers, an index, and bytes that no compression makes smaller."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from .assets import Assets

PIECE = 1 << 24


def shard_names(count: int) -> list[str]:
    """What the files of so many shards are called."""
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def big_model(folder: Path, assets: Assets, sizes: Sequence[int]) -> Path:
    """Write the dense tiny model with other weights: a shard of each of ``sizes`` in bytes, with one tensor."""
    shutil.copytree(assets.models["Qwen3-Tiny"], folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    names = [(f"tensor.{number}", name) for number, name in enumerate(shard_names(len(sizes)))]
    shards = [(*name, size) for name, size in zip(names, sizes, strict=True)]
    for tensor, name, size in shards:
        write_shard(folder / name, tensor, size)
    total = sum(data_size(tensor, size) for tensor, _, size in shards)
    index = {"metadata": {"total_size": total}, "weight_map": {tensor: name for tensor, name, _ in shards}}
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
