"""A model on this machine, by its config.json or its folder: for ``explain model``, before any node is asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provision.errors import UsageError
from provision.facts.model import ModelConfig, parse_config
from provision.facts.reading import Json
from provision.serve.memory import WeightBytes, weight_bytes
from provision.serve.parameters import Parameters, parameters_of
from provision.serve.profiles import Profile, load_profile, profile_names
from provision.serve.shape import ModelShape, estimated_bytes, shape_of

MOST_BYTES = 64 * 1024**2
"""A config.json has some kilobytes, an index some megabytes; what is larger is something else."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """``weights`` are None where neither files nor numbers tell their size; ``estimated``: no file did."""

    path: str
    config: ModelConfig
    shape: ModelShape
    parameters: Parameters | None
    weights: WeightBytes | None
    estimated: bool

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The shipped profiles of models with the same numbers."""
        return tuple(profile for profile in map(load_profile, profile_names()) if _same(profile.shape, self.shape))


def read_model(path: Path) -> LocalModel:
    """The model at ``path``: a folder of weights, or a config.json, with the weights beside it or without. Raises
    ``UsageError`` for anything else."""
    file = path / "config.json" if path.is_dir() else path
    config = parse_config(_text(file))
    if config is None:
        raise UsageError(f"{file} is no JSON object", hint="give the config.json of a model, or its folder")
    if not config.attention_heads and not config.layers:
        raise UsageError(f"{file} tells no heads and no layers", hint="give the config.json of a language model")
    on_disk = _bytes_beside(file.parent)
    shape = shape_of(config, on_disk or estimated_bytes(config))
    counted, estimated = parameters_of(config), not on_disk
    weights = weight_bytes(None, shape)
    return LocalModel(str(path), config, shape, counted, weights, estimated)


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise UsageError(f"{file} has {file.stat().st_size} bytes: no config.json is that large")
        return file.read_text("utf-8", "replace")
    except OSError as error:
        hint = "give the path of a model's folder, or of its config.json, on this machine"
        raise UsageError(f"{file}: {error.strerror}", hint=hint) from error


def _bytes_beside(folder: Path) -> int:
    """Bytes of the weights in a folder: what the index says, else the sum of the files; 0: there are none."""
    for index in sorted(folder.glob("*.index.json")):
        total = Json.load(_text(index)).at("metadata", "total_size").number
        if total:
            return max(total, 0)
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def _same(one: ModelShape, other: ModelShape) -> bool:
    def numbers(shape: ModelShape) -> tuple[object, ...]:
        return (shape.architecture, shape.layers, shape.hidden, shape.heads, shape.experts, shape.context)

    return numbers(one) == numbers(other)
