"""A folder of weights: is it whole, what model is it, is it the same one on every node.

Weights are tens of gigabytes, so nothing reads them whole: names and sizes come from the index and the folder, and a
shard's header (safetensors: 8 bytes of length, JSON, then the tensors) says how long the file must be.
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
class ModelConfig:
    """What config.json says; None where it doesn't."""

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
        return self.config is not None and self.tokenizer and bool(self.shards) and not (self.missing or self.truncated)


@dataclass(frozen=True, slots=True)
class ModelFolder(Fact[ModelFolderValue]):
    """The weights at ``path``."""

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
        config = _config(section(text, "config"))
        data = sum(shard.data for shard in shards)
        value = ModelFolderValue(
            path=self.path,
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
            digest=_digest(section(text, "sums"), shards),
        )
        return replace(value, problems=complaints(raw) + tuple(_problems(value, data)))


_LOOK = """\
echo '@@ folder'
for f in tokenizer.json tokenizer.model vocab.json tekken.json *.tiktoken; do [ -f "$f" ] && echo "tokenizer=$f"; done
for f in quant_model_description*.json; do [ -f "$f" ] && echo "quantized=$f"; done
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


def _config(text: str) -> ModelConfig | None:
    """config.json; a model of more than text keeps its numbers in ``text_config``."""
    top = Json.load(text)
    if not top.entries:
        return None
    inner = top.at("text_config") if top.at("text_config").entries else top

    def number(*keys: str) -> int | None:
        values = (source.at(key).number for source in (inner, top) for key in keys)
        return next((value for value in values if value is not None), None)

    return ModelConfig(
        model_type=top.at("model_type").text,
        architectures=top.at("architectures").texts,
        attention_heads=number("num_attention_heads"),
        kv_heads=number("num_key_value_heads"),
        experts=number("num_experts", "n_routed_experts", "num_local_experts"),
        layers=number("num_hidden_layers"),
        hidden_size=number("hidden_size"),
        head_dim=number("head_dim"),
        vocab_size=number("vocab_size"),
        max_positions=number("max_position_embeddings"),
        dtype=inner.at("dtype").text or inner.at("torch_dtype").text or top.at("torch_dtype").text,
        quantization=top.at("quantization_config", "quant_method").text,
    )


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
