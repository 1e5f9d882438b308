"""The weights of Qwen3-Next-80B-A3B-Instruct as a folder: every file with its name, header and size, and no content.

The shards are sparse: 41 safetensors files of about 163 GB in all take a few hundred kilobytes. Each begins with a
valid header (8 bytes of length, then JSON with consistent offsets): whoever checks names, headers and sizes is served.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator

SHARDS = 41
LAYERS = 48
EXPERTS = 512
HIDDEN = 2048
EXPERT_SIZE = 512
VOCABULARY = 151936

CONFIG: dict[str, object] = {
    "architectures": ["Qwen3NextForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 151643,
    "decoder_sparse_step": 1,
    "eos_token_id": 151645,
    "full_attention_interval": 4,
    "head_dim": 256,
    "hidden_act": "silu",
    "hidden_size": HIDDEN,
    "initializer_range": 0.02,
    "intermediate_size": 5120,
    "linear_conv_kernel_dim": 4,
    "linear_key_head_dim": 128,
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "max_position_embeddings": 262144,
    "mlp_only_layers": [],
    "model_type": "qwen3_next",
    "moe_intermediate_size": EXPERT_SIZE,
    "norm_topk_prob": True,
    "num_attention_heads": 16,
    "num_experts": EXPERTS,
    "num_experts_per_tok": 10,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": 2,
    "output_router_logits": False,
    "partial_rotary_factor": 0.25,
    "rms_norm_eps": 1e-06,
    "rope_scaling": None,
    "rope_theta": 10000000,
    "router_aux_loss_coef": 0.001,
    "shared_expert_intermediate_size": EXPERT_SIZE,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.57.0.dev0",
    "use_cache": True,
    "use_sliding_window": False,
    "vocab_size": VOCABULARY,
}

_GENERATION = {"bos_token_id": 151643, "do_sample": True, "eos_token_id": [151645, 151643], "temperature": 0.7}
_TOKENIZER_CONFIG = {"eos_token": "<|im_end|>", "model_max_length": 1010000, "tokenizer_class": "Qwen2Tokenizer"}
_VOCABULARY = {"a": 0, "b": 1, "ab": 2}
_TOKENIZER: dict[str, object] = {
    "version": "1.0",
    "added_tokens": [],
    "normalizer": {"type": "NFC"},
    "model": {"type": "BPE", "vocab": _VOCABULARY, "merges": ["a b"]},
}
_SMALL_FILES: dict[str, dict[str, object]] = {
    "config.json": CONFIG,
    "generation_config.json": {**_GENERATION},
    "tokenizer.json": _TOKENIZER,
    "tokenizer_config.json": {**_TOKENIZER_CONFIG},
    "vocab.json": {**_VOCABULARY},
}

_Tensor = tuple[str, tuple[int, ...]]


def write_weights(folder: str) -> None:
    """Make the model folder."""
    os.makedirs(folder, exist_ok=True)
    for name, value in _SMALL_FILES.items():
        _write(os.path.join(folder, name), json.dumps(value, indent=2))
    _write(os.path.join(folder, "merges.txt"), "#version: 0.2\na b\n")
    shards = _spread(list(_tensors()))
    total, weight_map = 0, {}
    for number, tensors in enumerate(shards, start=1):
        name = shard_name(number)
        total += _write_shard(os.path.join(folder, name), tensors)
        weight_map.update({tensor: name for tensor, _ in tensors})
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    _write(os.path.join(folder, "model.safetensors.index.json"), json.dumps(index))


def shard_name(number: int) -> str:
    """The file of shard ``number``, from 1."""
    return f"model-{number:05d}-of-{SHARDS:05d}.safetensors"


def _tensors() -> Iterator[_Tensor]:
    """The model's tensors; the experts of a layer as three stacked ones, which keeps headers small and sizes true."""
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}"
        yield f"{prefix}.input_layernorm.weight", (HIDDEN,)
        yield f"{prefix}.post_attention_layernorm.weight", (HIDDEN,)
        yield f"{prefix}.mlp.gate.weight", (EXPERTS, HIDDEN)
        yield from _experts(f"{prefix}.mlp")
        yield from (
            _full_attention(f"{prefix}.self_attn") if layer % 4 == 3 else _linear_attention(f"{prefix}.linear_attn")
        )
    yield from _experts("mtp.layers.0.mlp")
    yield "mtp.fc.weight", (HIDDEN, 2 * HIDDEN)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def _experts(prefix: str) -> Iterator[_Tensor]:
    yield f"{prefix}.experts.gate_proj.weight", (EXPERTS, EXPERT_SIZE, HIDDEN)
    yield f"{prefix}.experts.up_proj.weight", (EXPERTS, EXPERT_SIZE, HIDDEN)
    yield f"{prefix}.experts.down_proj.weight", (EXPERTS, HIDDEN, EXPERT_SIZE)
    yield f"{prefix}.shared_expert.gate_proj.weight", (EXPERT_SIZE, HIDDEN)
    yield f"{prefix}.shared_expert.up_proj.weight", (EXPERT_SIZE, HIDDEN)
    yield f"{prefix}.shared_expert.down_proj.weight", (HIDDEN, EXPERT_SIZE)
    yield f"{prefix}.shared_expert_gate.weight", (1, HIDDEN)


def _full_attention(prefix: str) -> Iterator[_Tensor]:
    yield f"{prefix}.q_proj.weight", (8192, HIDDEN)
    yield f"{prefix}.k_proj.weight", (512, HIDDEN)
    yield f"{prefix}.v_proj.weight", (512, HIDDEN)
    yield f"{prefix}.o_proj.weight", (HIDDEN, 4096)


def _linear_attention(prefix: str) -> Iterator[_Tensor]:
    yield f"{prefix}.in_proj_qkvz.weight", (12288, HIDDEN)
    yield f"{prefix}.in_proj_ba.weight", (64, HIDDEN)
    yield f"{prefix}.conv1d.weight", (8192, 1, 4)
    yield f"{prefix}.A_log", (32,)
    yield f"{prefix}.dt_bias", (32,)
    yield f"{prefix}.norm.weight", (128,)
    yield f"{prefix}.out_proj.weight", (HIDDEN, 4096)


def _bytes(shape: tuple[int, ...]) -> int:
    size = 2
    for length in shape:
        size *= length
    return size


def _spread(tensors: list[_Tensor]) -> list[list[_Tensor]]:
    """In order over all shards, about the same size each."""
    total = sum(_bytes(shape) for _, shape in tensors)
    shards: list[list[_Tensor]] = [[] for _ in range(SHARDS)]
    done = 0
    for tensor in tensors:
        shards[min(SHARDS - 1, done * SHARDS // total)].append(tensor)
        done += _bytes(tensor[1])
    return shards


def _write_shard(path: str, tensors: list[_Tensor]) -> int:
    """Header and a hole; returns the bytes of tensors."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, shape in tensors:
        end = at + _bytes(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    return at


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
