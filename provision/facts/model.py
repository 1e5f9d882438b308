"""A folder of weights: is it whole, what model is it, is it the same one on every node.

Weights are tens of gigabytes, so nothing reads them whole: names and sizes come from the index and the folder, and a
shard's header (safetensors: 8 bytes of length, JSON, then the tensors) says how long the file must be.

The folder may be a model's place in Hugging Face's cache (``models--org--name``): the weights are then those of a
snapshot, whose files are links [huggingface_hub, local cache].
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import Json, complaints, integer, pairs, section, sections
from provision.results import Result
from provision.shell import quote


@dataclass(frozen=True, slots=True)
class LatentAttention:
    """Multi-head latent attention (DeepSeek, Kimi, GLM-5): all heads share one latent vector a token; 0 where not said.

    ``index_dim`` and ``index_heads`` belong to the indexer of sparse attention, which caches a key of its own."""

    kv_rank: int
    rope_dim: int = 0
    query_rank: int = 0
    nope_dim: int = 0
    value_dim: int = 0
    index_dim: int = 0
    index_heads: int = 0


@dataclass(frozen=True, slots=True)
class LinearAttention:
    """Heads of layers of linear attention (Qwen3-Next), which keep a state of fixed size instead of a KV cache."""

    key_heads: int = 0
    value_heads: int = 0
    key_dim: int = 0
    value_dim: int = 0


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How positions are stretched beyond those of the training: ``original`` positions times ``factor``."""

    kind: str = ""
    factor: float = 1.0
    original: int = 0


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """What config.json says; None where it doesn't.

    ``attention_layers``: layers with a KV cache, where others have none. ``expert_layers``: layers with experts.
    ``shared_size``: inner size of the experts that every token goes through, together. ``mtp_layers``: layers for
    multi-token prediction, beyond ``layers``. ``weight_bits``: bits of a quantised weight.
    """

    model_type: str = ""
    architectures: tuple[str, ...] = ()
    attention_heads: int | None = None
    kv_heads: int | None = None
    experts: int | None = None
    layers: int | None = None
    hidden_size: int | None = None
    head_dim: int | None = None
    vocab_size: int | None = None
    max_positions: int | None = None
    dtype: str = ""
    quantization: str = ""
    attention_layers: int | None = None
    intermediate_size: int | None = None
    expert_layers: int | None = None
    expert_size: int | None = None
    shared_size: int | None = None
    mtp_layers: int | None = None
    weight_bits: int | None = None
    tied_embeddings: bool = False
    latent: LatentAttention | None = None
    linear: LinearAttention | None = None
    rope: RopeScaling | None = None


@dataclass(frozen=True, slots=True)
class Shard:
    """A weights file: ``size`` in bytes as it is, ``expected`` as its own header tells (None: it has none to ask).

    ``header`` is that header's length; ``broken``: a safetensors file whose header can't be read."""

    name: str
    size: int
    expected: int | None = None
    header: int | None = None
    broken: bool = False

    @property
    def whole(self) -> bool:
        """Its header could be read and its size is what that header says."""
        return not self.broken and (self.expected is None or self.size == self.expected)

    @property
    def data(self) -> int:
        """Bytes of tensors: what is left without the header."""
        return self.size if self.header is None else self.size - 8 - self.header


@dataclass(frozen=True, slots=True)
class ModelFolderValue:
    """``path`` is where the files are: the folder asked for, or the snapshot in it. ``missing`` are shards that the
    index names and the folder lacks; ``truncated`` those whose size is wrong.

    ``size`` is the sum of the shards in bytes, ``indexed_size`` the index' ``total_size``. ``digest`` covers
    config.json, the index and (name, size) of every shard: equal digests are the same model [domain.md 14.3, X04].
    ``quantized``: a quant_model_description*.json is there, and ``quantized_as`` what it calls the model: W8A8_DYNAMIC.
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
    quantized_as: str = ""
    problems: tuple[str, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors: what the index says, else what the files hold where none is missing; 0: not known."""
        whole = bool(self.shards) and not (self.missing or self.truncated) and (self.index or len(self.shards) == 1)
        return self.indexed_size or (sum(shard.data for shard in self.shards) if whole else 0)

    @property
    def complete(self) -> bool:
        """Everything that vllm needs is there and whole."""
        return self.config is not None and self.tokenizer and bool(self.shards) and not (self.missing or self.truncated)


@dataclass(frozen=True, slots=True)
class ModelFolder(Fact[ModelFolderValue]):
    """The weights at ``path``; of a model in Hugging Face's cache the snapshot that ``refs/main`` names, which is the
    one that a server takes, else the newest."""

    name: ClassVar[str] = "model-folder"
    deadline: ClassVar[float] = 60.0
    path: str = ""

    def script(self) -> str:
        return f"cd {quote(self.path)} 2>/dev/null || {{ echo '@@ absent'; exit 0; }}\n{_LOOK}"

    def parse(self, raw: Result) -> ModelFolderValue:
        text = raw.stdout
        if ("folder",) not in {part.words for part in sections(text)}:
            return ModelFolderValue(self.path, problems=complaints(raw))
        said = pairs(section(text, "folder").splitlines())
        shards = _shards(text)
        names = [line for line in section(text, "index").splitlines() if line]
        indexed = integer(said.get("total_size", ""))
        config = parse_config(section(text, "config"))
        data = sum(shard.data for shard in shards)
        value = ModelFolderValue(
            path=f"{self.path}/snapshots/{said['snapshot']}" if said.get("snapshot") else self.path,
            exists=True,
            config=config,
            tokenizer="tokenizer" in said,
            index="index" in said,
            shards=shards,
            missing=tuple(sorted(set(names) - {shard.name for shard in shards})),
            truncated=tuple(shard.name for shard in shards if not shard.whole),
            size=sum(shard.size for shard in shards),
            indexed_size=indexed,
            quantized="quantized" in said,
            quantized_as=said.get("quantized_as", ""),
            digest=_digest(section(text, "sums"), shards),
        )
        unnamed = (UNNAMED,) if "unnamed" in said else ()
        return replace(value, problems=complaints(raw) + tuple(_problems(value, data)) + unnamed)


UNNAMED = "refs/main names none of the snapshots: a server finds no weights here, and asks the hub for them"

_LOOK = """\
echo '@@ folder'
if [ -d snapshots ] && [ ! -e config.json ]; then
  r=$(head -c 200 refs/main 2>/dev/null | tr -d ' \\r\\n')
  { [ -n "$r" ] && [ -d "snapshots/$r" ]; } || { r=$(ls -1t snapshots | head -n 1); [ -n "$r" ] && echo unnamed=; }
  [ -n "$r" ] && cd "snapshots/$r" && echo "snapshot=$r"
fi
for f in tokenizer.json tokenizer.model vocab.json tekken.json *.tiktoken; do [ -f "$f" ] && echo "tokenizer=$f"; done
for f in quant_model_description*.json; do
  [ -f "$f" ] && echo "quantized=$f" &&
    grep -o '"model_quant_type" *: *"[A-Za-z0-9_]*"' "$f" | head -n 1 | sed 's/.*"\\([^"]*\\)"/quantized_as=\\1/'
done
x=
for f in model.safetensors.index.json pytorch_model.bin.index.json *.safetensors.index.json; do
  [ -f "$f" ] && { x=$f; echo "index=$f"; break; }
done
total=
[ -n "$x" ] && total=$(sed -n 's/.*"total_size"[^0-9]*\\([0-9][0-9]*\\).*/\\1/p' "$x" | head -n 1)
[ -n "$x" ] && echo "total_size=$total"
[ -f config.json ] && { echo '@@ config'; head -c 262144 config.json; echo; }
echo '@@ sums'; sha256sum config.json ${x:+"$x"} 2>/dev/null
[ -n "$x" ] && { echo '@@ index'; grep -o -E '"[^"]*\\.(safetensors|bin)"' "$x" | tr -d '"' | sort -u; }
echo '@@ shards'
# Each header tells how long its file must be; reading them all is slow, so it is done only where the sum is wrong.
deep() {
  for f in "$@"; do
    s=$(stat -L -c %s "$f" 2>/dev/null) || continue
    h=; e=
    case $f in *.safetensors)
      h=$(od -A n -t u8 -N 8 "$f" | tr -d ' ')
      if [ "${#h}" -gt 0 ] && [ "${#h}" -lt 10 ] && [ $((h + 8)) -le "$s" ]; then
        e=$(tail -c +9 "$f" | head -c "$h" | grep -o '"data_offsets" *: *\\[[^]]*\\]' |
          awk -F '[^0-9]+' '{ e = $(NF - 1) + 0; if (e > m) m = e } END { printf "%.0f", m }')
      fi ;;
    esac
    echo "$s ${h:--} ${e:--} $f"
  done
}
set -- *.safetensors; [ -e "$1" ] || set -- pytorch_model*.bin
stat -L -c '%s %n' "$@" 2>/dev/null | {
  lines= sum=0
  while read -r s f; do
    h=$(od -A n -t u8 -N 8 "$f" 2>/dev/null); h=${h##* }
    [ "${#h}" -gt 0 ] && [ "${#h}" -lt 10 ] || { sum=; break; }
    e=$((s - 8 - h)) && sum=$((sum + e))
    lines="$lines$s $h $e $f
"
  done
  if [ -n "$total" ] && [ "$sum" = "$total" ]; then printf '%s' "$lines"; else deep "$@"; fi
}
:
"""


def _shards(text: str) -> tuple[Shard, ...]:
    """``size header data name``: ``-`` for what isn't safetensors, or whose header is cut off or absurd."""
    found = []
    for line in section(text, "shards").splitlines():
        size, header, data, name = [*line.split(" ", 3), "", "", ""][:4]
        length = integer(size)
        if length is None or not name:
            continue
        head, tail = integer(header), integer(data)
        broken = name.endswith(".safetensors") and (head is None or tail is None)
        expected = None if head is None or tail is None else 8 + head + tail
        found.append(Shard(name, length, expected, head, broken))
    return tuple(sorted(found, key=lambda shard: shard.name))


def _digest(sums: str, shards: tuple[Shard, ...]) -> str:
    """Over the checksums of config.json and the index, and every shard's name and size; empty without shards."""
    if not shards:
        return ""
    lines = [*sums.splitlines(), *(f"{shard.name} {shard.size}" for shard in shards)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "replace")).hexdigest()


def parse_config(text: str) -> ModelConfig | None:
    """config.json; a model of more than text keeps its numbers in ``text_config``. None for what is no JSON object."""
    top = Json.load(text)
    return _config(top) if top.entries else None


def _config(top: Json) -> ModelConfig:
    source = _Config(top, next((top.at(*path) for path in _NESTED if top.at(*path).entries), top))
    layers = source.number("num_hidden_layers", "n_layer", "num_layers")
    experts = source.number(*_EXPERTS)
    return ModelConfig(
        model_type=top.at("model_type").text,
        architectures=top.at("architectures").texts,
        attention_heads=source.number("num_attention_heads", "n_head"),
        kv_heads=source.number("num_key_value_heads"),
        experts=experts,
        layers=layers,
        hidden_size=source.number("hidden_size", "n_embd"),
        head_dim=source.number("head_dim"),
        vocab_size=source.number("vocab_size"),
        max_positions=source.number("max_position_embeddings"),
        dtype=source.word("dtype", "torch_dtype"),
        quantization=source.at("quantization_config", "quant_method").text,
        attention_layers=_attention_layers(source, layers),
        intermediate_size=source.number("intermediate_size_mlp", "intermediate_size"),
        expert_layers=_expert_layers(source, layers) if experts else None,
        expert_size=source.number(*_EXPERT_SIZES) if experts else None,
        shared_size=_shared_size(source),
        mtp_layers=source.number("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"),
        weight_bits=_weight_bits(source),
        tied_embeddings=source.at("tie_word_embeddings").true,
        latent=_latent(source),
        linear=_linear(source),
        rope=_rope(source),
    )


_NESTED = (("text_config",), ("thinker_config", "text_config"), ("llm_config",), ("language_config",))
_EXPERTS = ("num_experts", "n_routed_experts", "num_local_experts", "moe_num_experts", "num_moe_experts")
_EXPERT_SIZES = ("moe_intermediate_size", "expert_intermediate_size", "intermediate_size")
_EXPERT_PERIODS = ("decoder_sparse_step", "moe_layer_freq", "interleave_moe_layer_step")


@dataclass(frozen=True, slots=True)
class _Config:
    """Where to look: in the part about text first."""

    top: Json
    inner: Json

    def at(self, *keys: str) -> Json:
        """What stands at a path, in the part about text or at the top; null is nothing."""
        found = self.inner.at(*keys)
        return self.top.at(*keys) if found.value is None else found

    def number(self, *keys: str) -> int | None:
        """The first of these keys that holds a number, in the part about text, then at the top."""
        values = (source.at(key).number for source in (self.inner, self.top) for key in keys)
        return next((value for value in values if value is not None), None)

    def count(self, key: str) -> int:
        """A number that can't be negative; 0 where there is none."""
        return max(self.number(key) or 0, 0)

    def word(self, *keys: str) -> str:
        return next((self.at(key).text for key in keys if self.at(key).text), "")


def _attention_layers(source: _Config, layers: int | None) -> int | None:
    """Layers with a KV cache, by the ways in which hybrid models say it; None where all have one, or none is known."""
    kinds = source.at("layer_types").texts
    if kinds:
        linear = sum("linear" in kind or "mamba" in kind or kind == "conv" for kind in kinds)
        return len(kinds) - linear if linear else None
    interval = source.count("full_attention_interval")
    if interval and layers:
        return layers // interval
    pattern = source.word("hybrid_override_pattern")  # Nemotron-H: M mamba, * attention, - feed-forward
    if pattern:
        return pattern.count("*")
    marks = [mark.number for mark in source.at("attn_type_list").items]  # MiniMax-Text-01: 1 full, 0 linear
    return marks.count(1) if 0 in marks else None


def _expert_layers(source: _Config, layers: int | None) -> int | None:
    """Layers with experts: all but the first dense ones, those named, and those that a period leaves out."""
    if layers is None:
        return None
    kinds = source.at("mlp_layer_types").texts
    if kinds:
        return sum(kind != "dense" for kind in kinds)
    marks = [mark.number for mark in source.at("moe_layer_freq").items]
    if marks:
        return sum(mark == 1 for mark in marks)
    named = len(source.at("moe_layers").items)
    if named:
        return named
    dense = source.count("first_k_dense_replace")
    period = next((n for n in map(source.count, _EXPERT_PERIODS) if n), 1)
    return max(0, (layers - dense) // period - len(source.at("mlp_only_layers").items))


def _shared_size(source: _Config) -> int | None:
    given = source.number("shared_expert_intermediate_size", "moe_shared_expert_intermediate_size")
    if given is not None:
        return given
    count, size = source.number("n_shared_experts", "num_shared_experts"), source.number("moe_intermediate_size")
    return count * size if count is not None and size is not None else None


def _weight_bits(source: _Config) -> int | None:
    """Bits of a weight as ``quantization_config`` says them: AWQ and GPTQ, compressed-tensors, FP8, ModelOpt."""
    quantized = source.at("quantization_config")
    groups = list(quantized.at("config_groups").entries.values())
    said = [quantized.at(key).number for key in ("bits", "w_bit")]
    said += [group.at("weights", "num_bits").number for group in groups]
    number = next((bits for bits in said if bits), None)
    if number is not None:
        return number
    named = (quantized.at("quant_method").text + quantized.at("quant_algo").text).lower()
    return 8 if "fp8" in named else 4 if "fp4" in named else None


def _latent(source: _Config) -> LatentAttention | None:
    rank = source.count("kv_lora_rank")
    if not rank:
        return None
    return LatentAttention(
        kv_rank=rank,
        rope_dim=source.count("qk_rope_head_dim"),
        query_rank=source.count("q_lora_rank"),
        nope_dim=source.count("qk_nope_head_dim"),
        value_dim=source.count("v_head_dim"),
        index_dim=source.count("index_head_dim"),
        index_heads=source.count("index_n_heads"),
    )


def _linear(source: _Config) -> LinearAttention | None:
    if not source.count("linear_num_value_heads"):
        return None
    return LinearAttention(
        key_heads=source.count("linear_num_key_heads"),
        value_heads=source.count("linear_num_value_heads"),
        key_dim=source.count("linear_key_head_dim"),
        value_dim=source.count("linear_value_head_dim"),
    )


def _rope(source: _Config) -> RopeScaling | None:
    """``rope_scaling``, or ``rope_parameters`` as newer files call it; None where nothing is stretched."""
    said = next((source.at(key) for key in ("rope_scaling", "rope_parameters") if source.at(key).entries), Json(None))
    factor = said.at("factor").value
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not 0 < factor < 1e6:
        return None
    kind = said.at("rope_type").text or said.at("type").text
    return RopeScaling(kind, float(factor), max(said.at("original_max_position_embeddings").number or 0, 0))


def _problems(value: ModelFolderValue, data: int) -> Iterator[str]:
    if value.config is None:
        yield "config.json is missing or no JSON"
    if not value.tokenizer:
        yield "no tokenizer file"
    if not value.shards:
        yield "no weights (*.safetensors or pytorch_model*.bin)"
    elif not value.index and len(value.shards) > 1:
        yield f"{len(value.shards)} weight files and no index: whether any is missing is unknown"
    whole = value.shards and not (value.missing or value.truncated) and all(s.expected for s in value.shards)
    if whole and value.indexed_size is not None and data != value.indexed_size:
        yield f"the index says {value.indexed_size} bytes of tensors, the files hold {data}"
