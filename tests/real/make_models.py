"""Make the real tier's tiny models; runs inside the image's root, never on its own.

Weights are random (seeded), so answers are nonsense, but every step of serving is the
real one: the architectures, the sharded safetensors files with their index, a byte-level
BPE tokenizer and a chat template. `assets.py` calls this as

    python3 make_models.py OUTPUT_FOLDER

with the transformers and torch that the image serves with. It imports nothing of ours.
"""

# mypy: ignore-errors
# (torch and transformers live in the image only, so no checker outside can see their types.)

from __future__ import annotations

import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3NextConfig,
    Qwen3NextForCausalLM,
)

CONTEXT = 2048
VOCABULARY = 1024

CORPUS = (
    "A rank is one worker of a cluster, and a node holds as many ranks as it has devices.",
    "The head node listens; the other nodes join it, and then every rank loads its weights.",
    "Who are you? I am a very small model with random weights, and I answer in nonsense.",
    "Give me a short introduction to large language models and mixture-of-experts routing.",
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many in May.",
    "0123456789 + - * / = ( ) [ ] { } < > , . ; : ! ? ' \" ` ~ @ # $ % ^ & | \\ _",
    "def add(a: int, b: int) -> int:\n    return a + b\n",
)

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
)


def main(output: Path) -> None:
    """Write every model folder below `output`."""
    tokenizer = make_tokenizer()
    write(output / "Qwen3-Next-Tiny", Qwen3NextForCausalLM, next_config(tokenizer), tokenizer)
    write(output / "Qwen3-Tiny", Qwen3ForCausalLM, dense_config(tokenizer), tokenizer)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Train a byte-level BPE: with the whole byte alphabet there is no unknown text."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            show_progress=False,
        ),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
        model_max_length=CONTEXT,
    )


def next_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3NextConfig:
    """Describe about 2 M parameters: three linear-attention layers and a full one.

    The linear head dims stay 128: vLLM's CPU kernels take 64 or 128 only, and with anything
    else the server is healthy until its first token.
    """
    return Qwen3NextConfig(
        **common(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        num_experts=8,
        num_experts_per_tok=2,
        moe_intermediate_size=64,
        shared_expert_intermediate_size=64,
        decoder_sparse_step=1,
    )


def dense_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3Config:
    """Describe about 0.5 M parameters of the dense architecture."""
    return Qwen3Config(
        **common(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=64,
    )


def common(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    """Return what both configurations share."""
    return {
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "tie_word_embeddings": False,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "dtype": "bfloat16",
    }


def make_talkative(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> None:
    """Keep the output head from saying anything but printable text, and make it decided.

    Untouched, its probabilities are nearly even over the vocabulary: an answer may then end at
    its first token, or hold no character. Rows of zero stay far below the best of the others.
    """
    head = model.lm_head.weight.data
    head *= 20
    for token in range(VOCABULARY):
        text = tokenizer.decode([token]) if token < len(tokenizer) else ""
        special = token in tokenizer.all_special_ids
        if special or not (text.isascii() and text.isprintable() and text):
            head[token] = 0


def write(folder: Path, architecture: type, config: object, tokenizer: object) -> None:
    """Write one folder, its weights in several shards with an index, as the big ones come."""
    torch.manual_seed(20)
    model = architecture(config)
    make_talkative(model, tokenizer)
    model = model.to(torch.bfloat16)
    parameters = sum(p.numel() for p in model.parameters())
    shard_bytes = parameters * 2 // 3
    model.save_pretrained(folder, max_shard_size=shard_bytes)
    tokenizer.save_pretrained(folder)
    shards = sorted(folder.glob("*.safetensors"))
    if len(shards) < 2 or not (folder / "model.safetensors.index.json").exists():
        raise SystemExit(f"{folder.name}: expected several shards and an index, got {shards}")
    sys.stdout.write(f"{folder.name}: {parameters / 1e6:.1f} M parameters, {len(shards)} shards\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
