"""How many parameters a model has, and how many of them are experts, counted from its config.json.

Matrices are counted; norms, biases and routers' corrections are not: they are far below a thousandth. The counts
agree with the makers' own within one in a hundred (235e9 for Qwen3-235B-A22B, 671e9 and one layer of multi-token
prediction for DeepSeek-V3.1, 1.03e12 for Kimi-K2.5).
"""

from __future__ import annotations

from dataclasses import dataclass

from provision.facts.model import LatentAttention, LinearAttention, ModelConfig


@dataclass(frozen=True, slots=True)
class Parameters:
    """``experts``: those that expert parallelism spreads; the rest is on every rank, or divided by tensor parallel."""

    total: int
    experts: int

    @property
    def dense(self) -> int:
        return self.total - self.experts


def parameters_of(config: ModelConfig) -> Parameters | None:
    """Counted from the numbers of a config.json; None where one of those that count is missing."""
    hidden, layers, vocabulary = config.hidden_size or 0, config.layers or 0, config.vocab_size or 0
    attention = _attention(config)
    feed_forward = _feed_forward(config)
    if min(hidden, layers, vocabulary) <= 0 or attention is None or feed_forward is None:
        return None
    dense, experts = feed_forward
    # A layer of multi-token prediction also has a matrix that joins two vectors into one [DeepSeek-V3 report, 2.2].
    joins = max(config.mtp_layers or 0, 0) * 2 * hidden * hidden
    embeddings = vocabulary * hidden * (1 if config.tied_embeddings else 2)
    return Parameters(embeddings + attention + dense + joins + experts, experts)


def _feed_forward(config: ModelConfig) -> tuple[int, int] | None:
    """(parameters beside experts, parameters of experts) of all layers; each block has three matrices."""
    hidden, layers = config.hidden_size or 0, config.layers or 0
    inner, mtp = config.intermediate_size or 0, max(config.mtp_layers or 0, 0)
    experts = max(config.experts or 0, 0)
    if not experts:
        return ((layers + mtp) * 3 * hidden * inner, 0) if inner > 0 else None
    size, sparse = config.expert_size or 0, config.expert_layers
    if size <= 0 or sparse is None:
        return None
    routed = sparse + mtp
    beside = (layers - sparse) * 3 * hidden * inner + routed * hidden * (3 * (config.shared_size or 0) + experts)
    return beside, routed * experts * 3 * hidden * size


def _attention(config: ModelConfig) -> int | None:
    """Parameters of the attention of all layers; None where the heads aren't known, or other layers of another kind
    (Mamba) stand among those of attention."""
    hidden, heads = config.hidden_size or 0, config.attention_heads or 0
    layers = (config.layers or 0) + max(config.mtp_layers or 0, 0)
    if heads <= 0 or hidden <= 0 or (config.attention_layers is not None and not config.linear):
        return None
    if config.latent:
        return layers * _latent(config.latent, hidden, heads)
    dim = config.head_dim or hidden // heads
    # Hybrid models with linear attention gate the output of the full one: as many columns again as the queries have.
    queries = 2 if config.linear else 1
    full = hidden * dim * (heads * (queries + 1) + 2 * (config.kv_heads or heads))
    if not config.linear or config.attention_layers is None:
        return layers * full
    return config.attention_layers * full + (layers - config.attention_layers) * _linear(config.linear, hidden)


def _latent(latent: LatentAttention, hidden: int, heads: int) -> int:
    """Down and up projections of queries, keys and values, the output, and the indexer of sparse attention."""
    rank = latent.query_rank or hidden
    queries = rank * heads * (latent.nope_dim + latent.rope_dim) + (hidden * rank if latent.query_rank else 0)
    keys = hidden * (latent.kv_rank + latent.rope_dim) + latent.kv_rank * heads * (latent.nope_dim + latent.value_dim)
    index = rank * latent.index_heads * latent.index_dim + hidden * (latent.index_dim + latent.index_heads)
    return queries + keys + heads * latent.value_dim * hidden + (index if latent.index_dim else 0)


def _linear(linear: LinearAttention, hidden: int) -> int:
    """Queries, keys, values, gate, two numbers a value head, and the output of a gated delta net."""
    keys, values = linear.key_heads * linear.key_dim, linear.value_heads * linear.value_dim
    return hidden * (2 * keys + 2 * values + 2 * linear.value_heads) + values * hidden
