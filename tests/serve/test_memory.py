"""What a model takes of a device, worked out by hand."""

from __future__ import annotations

import pytest

from provision.serve.memory import (
    MIB,
    RESERVE_BYTES,
    Room,
    Sizes,
    WeightBytes,
    fits,
    minimum_layouts,
    request_bytes,
    reserve_bytes,
    smallest_plain,
    smallest_spread,
    weight_bytes,
    weights_a_device,
)
from provision.serve.profiles import legal_tensor_parallel, load_profile
from provision.serve.shape import ModelShape

GB = 1_000_000_000
HBM = 64 * 1024**3
NEXT = WeightBytes(163 * GB, 157_800_000_000, "by hand")


@pytest.mark.parametrize(
    ("sizes", "gigabytes"),
    [
        (Sizes(1), 163.0),
        (Sizes(2), 81.5),
        (Sizes(4), 40.75),
        (Sizes(8), 20.375),
        (Sizes(4, pipeline_parallel=2), 20.375),
        (Sizes(4, 4), 40.75),  # without expert parallel each engine has all experts
        (Sizes(4, 4, expert_parallel=True), 5.2 / 4 + 157.8 / 16),
        (Sizes(1, 16, expert_parallel=True), 5.2 + 157.8 / 16),
    ],
)
def test_weights_a_device(sizes: Sizes, gigabytes: float) -> None:
    assert weights_a_device(NEXT, sizes) / GB == pytest.approx(gigabytes)


def test_ranks() -> None:
    assert Sizes(4, 3, 2).ranks == 24


@pytest.mark.parametrize(
    ("profile", "tokens", "sizes", "bytes_each"),
    [
        # 12 layers x keys and values x 1 of 2 KV heads x 256 x 2 bytes
        ("qwen3-next-80b-a3b-instruct", 131072, Sizes(2), 131072 * 12 * 2 * 1 * 256 * 2),
        # beyond the KV heads, a rank holds one all the same
        ("qwen3-next-80b-a3b-instruct", 131072, Sizes(8), 131072 * 12 * 2 * 1 * 256 * 2),
        ("qwen3-235b-a22b", 1000, Sizes(2, pipeline_parallel=2), 1000 * 47 * 2 * 2 * 128 * 2),
        # latent attention: 512 + 64 numbers, the index of sparse attention 128, whole on every rank
        ("deepseek-v3.1", 1000, Sizes(16), 1000 * 61 * 576 * 2),
        ("deepseek-v3.2-w8a8", 1000, Sizes(1), 1000 * 61 * (576 + 128) * 2),
    ],
)
def test_a_request(profile: str, tokens: int, sizes: Sizes, bytes_each: int) -> None:
    assert request_bytes(load_profile(profile).shape, tokens, sizes) == bytes_each


def test_a_request_of_an_unknown_model_is_not_counted() -> None:
    assert request_bytes(None, 1000, Sizes(1)) == 0
    assert request_bytes(ModelShape(), 1000, Sizes(1)) == 0


@pytest.mark.parametrize(("buffsize", "more"), [(200, 0), (100, 0), (1024, 2 * 824 * MIB)])
def test_the_reserve_grows_with_hccl_buffers(buffsize: int, more: int) -> None:
    assert reserve_bytes(buffsize) == RESERVE_BYTES + more


def test_the_folder_outranks_the_profile() -> None:
    profile = load_profile("qwen3-next-80b-a3b-instruct")
    assert weight_bytes(profile, profile.shape) == WeightBytes(
        163 * GB, 157_800_000_000, "model card and config.json; arithmetic"
    )
    near = weight_bytes(profile, ModelShape(total_bytes=162 * GB, expert_bytes=1))
    assert near is not None
    assert (near.total, near.experts) == (162 * GB, 157_800_000_000 * 162 // 163)
    other = weight_bytes(profile, ModelShape(total_bytes=82 * GB, expert_bytes=77 * GB))
    assert other is not None
    assert (other.total, other.experts) == (82 * GB, 77 * GB)


def test_no_size_is_no_judgement() -> None:
    assert weight_bytes(None, None) is None
    assert weight_bytes(None, ModelShape(heads=16)) is None


def test_what_fits() -> None:
    shape, room = load_profile("qwen3-next-80b-a3b-instruct").shape, Room(16, HBM * 0.8)
    assert not fits(NEXT, shape, Sizes(2), room)
    assert fits(NEXT, shape, Sizes(4), room, 131072)
    # 40.75 GB of weights, 5.4 reserved: 8.9 are left for the cache, of 12,288 bytes a token
    assert fits(NEXT, shape, Sizes(4), room, 720_000)
    assert not fits(NEXT, shape, Sizes(4), room, 740_000)


@pytest.mark.parametrize(
    ("profile", "hardware", "plain", "spread"),
    [
        ("qwen3-next-80b-a3b-instruct", "atlas-800-a2", 4, (1, 1)),
        ("qwen3-next-80b-a3b-instruct-w8a8", "atlas-800-a2", 2, (1, 1)),
        ("qwen3-235b-a22b", "atlas-800-a2", None, (2, 1)),
        ("qwen3-235b-a22b", "atlas-800-a3", 16, (1, 1)),
        ("qwen3-235b-a22b-w8a8", "atlas-800-a2", 8, (1, 1)),
        ("deepseek-v3.1", "atlas-800-a3", None, (2, 4)),
        ("deepseek-v3.1-w8a8", "atlas-800-a2", None, (2, 4)),
        ("deepseek-v3.1-w8a8", "atlas-800-a3", 16, (1, 4)),
        ("kimi-k2.5-w4a8", "atlas-800-a2", None, (2, 1)),
        ("kimi-k2.5-w4a8", "atlas-800-a3", 16, (1, 1)),
        ("glm-5.1-w8a8", "atlas-800-a2", None, (2, 4)),
        ("glm-5.1-w8a8", "atlas-800-a3", 16, (1, 4)),
        ("glm-5.1-w4a8", "atlas-800-a2", 8, (1, 4)),
    ],
)
def test_smallest_layouts(profile: str, hardware: str, plain: int | None, spread: tuple[int, int]) -> None:
    """Tensor parallel on one node; nodes and tensor parallel with experts over all devices. Upstream's documents say
    the same of how many nodes each model needs."""
    known = load_profile(profile)
    weights = weight_bytes(known, None)
    assert weights is not None
    found = minimum_layouts(weights, known.shape, legal_tensor_parallel(known.shape, known), utilization=0.92)
    fit = next(each for each in found if each.hardware == hardware)
    assert (fit.plain.sizes.tensor_parallel if fit.plain else None) == plain
    assert fit.spread is not None
    assert (fit.spread.nodes, fit.spread.sizes.tensor_parallel) == spread
    assert fit.spread.sizes.ranks == fit.spread.nodes * (8 if hardware == "atlas-800-a2" else 16)


def test_what_no_node_holds() -> None:
    room = Room(8, HBM * 0.9)
    assert smallest_plain(NEXT, None, (1, 2), room) is None
    assert smallest_spread(WeightBytes(10**15, 10**14, ""), None, (1, 2, 4, 8), room) is None
    assert smallest_spread(WeightBytes(10 * GB, 0, ""), None, (1, 2), room) is None
