"""What a model takes of each device: weights, KV cache, and what is reserved beside them. Arithmetic alone.

An estimate to refuse what can't work and to warn of what hardly does, not the truth: vLLM measures for itself. Sizes
are in bytes; a model whose size isn't known is not judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from provision.accel.protocol import accelerator
from provision.inventory.model import Hardware
from provision.serve.profiles import Profile
from provision.serve.shape import ModelShape

MIB = 1024**2

RESERVE_BYTES = 5 * 1024**3
"""Activations, graphs and HCCL's usual buffers of one device: 3 to 6 GB as seen in practice."""

HCCL_BUFFSIZE_MB = 200
"""HCCL's own HCCL_BUFFSIZE where none is given."""

CACHED_BYTES = 2
"""Bytes of a cached number: the KV cache has 16 bits unless it is quantised."""


@dataclass(frozen=True, slots=True)
class WeightBytes:
    """``experts``: the part of ``total`` that expert parallelism spreads. ``source``: who says so."""

    total: int
    experts: int
    source: str


@dataclass(frozen=True, slots=True)
class Sizes:
    """How an engine is spread. With ``expert_parallel`` its experts are spread over data-parallel ranks too."""

    tensor_parallel: int
    data_parallel: int = 1
    pipeline_parallel: int = 1
    expert_parallel: bool = False

    @property
    def ranks(self) -> int:
        return self.tensor_parallel * self.data_parallel * self.pipeline_parallel


def weight_bytes(profile: Profile | None, shape: ModelShape | None) -> WeightBytes | None:
    """The sizes of the weights: those of the folder where it was looked at, else the profile's; None: not known.

    The profile tells best how much of a folder of about its size are experts."""
    known = profile.weights if profile and profile.weights.total_bytes else None
    if shape and shape.total_bytes:
        near = known is not None and abs(shape.total_bytes - known.total_bytes) < known.total_bytes / 10
        experts = shape.expert_bytes
        if known and near:
            experts = known.expert_bytes * shape.total_bytes // known.total_bytes
        return WeightBytes(shape.total_bytes, experts, "the weights' own folder and config.json")
    return WeightBytes(known.total_bytes, known.expert_bytes, known.source) if known else None


def weights_a_device(weights: WeightBytes, sizes: Sizes) -> float:
    """Bytes of weights that each device holds: dense / TP + experts / (TP x DP with expert parallel, else TP). Pipeline
    stages share the layers evenly."""
    spread = sizes.tensor_parallel * (sizes.data_parallel if sizes.expert_parallel else 1)
    dense = (weights.total - weights.experts) / sizes.tensor_parallel
    return (dense + weights.experts / spread) / sizes.pipeline_parallel


def request_bytes(shape: ModelShape | None, tokens: int, sizes: Sizes) -> float:
    """Bytes of KV cache that a request of ``tokens`` takes on each device; 0 where the model's numbers aren't known.

    Layers of linear attention keep a state of fixed size, and don't count. A latent vector is the same for all heads,
    so every tensor-parallel rank holds it whole [vLLM, MLA]."""
    if shape is None:
        return 0.0
    layers = (shape.attention_layers or shape.layers) / sizes.pipeline_parallel
    if shape.latent_dim:
        return tokens * layers * (shape.latent_dim + shape.index_dim) * CACHED_BYTES
    heads = max(1.0, shape.kv_heads / sizes.tensor_parallel)
    return tokens * layers * 2 * heads * shape.head_dim * CACHED_BYTES


def reserve_bytes(buffsize_mb: int = HCCL_BUFFSIZE_MB) -> int:
    """Bytes of a device beside weights and KV cache: activations, graphs, and HCCL's two buffers a communicator, which
    grow with HCCL_BUFFSIZE [CANN manual, HCCL_BUFFSIZE]."""
    return RESERVE_BYTES + 2 * MIB * max(0, buffsize_mb - HCCL_BUFFSIZE_MB)


@dataclass(frozen=True, slots=True)
class Room:
    """What the devices of a cluster give: nodes of ``devices`` each, of which vLLM may take ``budget`` bytes."""

    devices: int
    budget: float
    reserve: int = RESERVE_BYTES


@dataclass(frozen=True, slots=True)
class Fit:
    """A layout that holds the weights, and what they take of each device."""

    nodes: int
    sizes: Sizes
    device_bytes: float


def fits(weights: WeightBytes, shape: ModelShape | None, sizes: Sizes, room: Room, tokens: int = 0) -> bool:
    """Whether weights, reserve and one request of ``tokens`` fit each device."""
    taken = weights_a_device(weights, sizes) + room.reserve + request_bytes(shape, tokens, sizes)
    return taken <= room.budget


def smallest_plain(
    weights: WeightBytes, shape: ModelShape | None, legal: tuple[int, ...], room: Room, tokens: int = 0
) -> Fit | None:
    """The smallest tensor-parallel size that fits one node on its own; None where none does."""
    for size in sorted(legal):
        sizes = Sizes(size)
        if size <= room.devices and fits(weights, shape, sizes, room, tokens):
            return Fit(1, sizes, weights_a_device(weights, sizes))
    return None


def smallest_spread(
    weights: WeightBytes, shape: ModelShape | None, legal: tuple[int, ...], room: Room, tokens: int = 0
) -> Fit | None:
    """The fewest nodes, all of whose devices share the experts, and the smallest tensor-parallel size on them; None
    where none fits, or the model has no experts."""
    if not weights.experts:
        return None
    experts = shape.experts if shape else 0
    for nodes in (n for n in _NODE_COUNTS if experts % (n * room.devices) == 0):
        for size in (s for s in sorted(legal) if room.devices % s == 0):
            sizes = Sizes(size, nodes * room.devices // size, expert_parallel=True)
            if fits(weights, shape, sizes, room, tokens):
                return Fit(nodes, sizes, weights_a_device(weights, sizes))
    return None


_NODE_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)


@dataclass(frozen=True, slots=True)
class Minimum:
    """The smallest layouts on one kind of hardware: ``plain``, one engine by tensor parallel alone on one node;
    ``spread``, experts over all devices of as few nodes as may be."""

    hardware: Hardware
    plain: Fit | None
    spread: Fit | None


def minimum_layouts(
    weights: WeightBytes,
    shape: ModelShape | None,
    legal: tuple[int, ...],
    *,
    utilization: float,
    reserve: int = RESERVE_BYTES,
    tokens: int = 0,
) -> tuple[Minimum, ...]:
    """By hardware that has devices, what holds the weights, the reserve and one request of ``tokens`` in the share of a
    device's memory that vLLM may take."""
    found = []
    for name in get_args(Hardware):
        kind = accelerator(name)
        if kind.default_devices:
            room = Room(len(kind.default_devices), kind.device_bytes * utilization, reserve)
            plain = smallest_plain(weights, shape, legal, room, tokens)
            found.append(Minimum(name, plain, smallest_spread(weights, shape, legal, room, tokens)))
    return tuple(found)
