"""A folder of weights: is it whole, what model is it, is it the same one on every node.

Weights are tens of gigabytes, so nothing reads them whole: names and sizes come from the index and the folder, and a
shard's header (safetensors: 8 bytes of length, JSON, then the tensors) says how long the file must be.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What config.json says; None where it doesn't."""

    model_type: str = ""
    architectures: tuple[str, ...] = ()
    attention_heads: int | None = None
    kv_heads: int | None = None
    experts: int | None = None
    layers: int | None = None
    hidden_size: int | None = None
    vocab_size: int | None = None
    max_positions: int | None = None
    dtype: str = ""
    quantization: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """A weights file: ``size`` in bytes as it is, ``expected`` as its own header tells, None where unreadable."""

    name: str
    size: int
    expected: int | None = None

    @property
    def whole(self) -> bool:
        return self.expected is None or self.size == self.expected


@dataclass(frozen=True, slots=True)
class ModelFolderValue:
    """``missing`` are shards that the index names and the folder lacks; ``truncated`` those whose size is wrong.

    ``size`` is the sum of the shards in bytes, ``indexed_size`` the index' ``total_size``. ``digest`` covers
    config.json, the index and (name, size) of every shard: equal digests are the same model [domain.md 14.3, X04].
    ``quantized``: a quant_model_description*.json is there.
    """

    path: str
    exists: bool = False
    config: ModelConfig | None = None
    tokenizer: bool = False
    index: bool = False
    shards: tuple[Shard, ...] = ()
    missing: tuple[str, ...] = ()
    truncated: tuple[str, ...] = ()
    size: int = 0
    indexed_size: int | None = None
    quantized: bool = False
    digest: str = ""
    problems: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Everything that vllm needs is there and whole."""
        return (
            self.config is not None
            and self.tokenizer
            and bool(self.shards)
            and not (self.missing or self.truncated)
        )


@dataclass(frozen=True, slots=True)
class ModelFolder(Fact[ModelFolderValue]):
    """The weights at ``path``."""

    name: ClassVar[str] = "model-folder"
    deadline: ClassVar[float] = 60.0
    path: str = ""
