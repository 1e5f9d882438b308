"""Features that a layout uses are those that its servers really get, the topology's own defaults included."""

from __future__ import annotations

from typing import Any

import pytest

from provision.serve.build import build_plan
from provision.serve.compatibility import shipped
from provision.serve.features import features
from provision.serve.layout import layout_of
from tests.serve.clusters import settings, sites

FABRIC = "ASCEND_ENABLE_USE_FABRIC_MEM"
OFF = {FABRIC: 0, "HCCL_INTRA_ROCE_ENABLE": 1}


def two_sides(release: str, hardware: str = "atlas-800-a3", decode: Any = None, **serve: Any) -> Any:
    """A host that reads prompts and one that writes answers; ``decode``: settings of the second alone."""
    suffix = "-a3" if hardware == "atlas-800-a3" else ""
    sizes = {"tensor_parallel_size": 8, "data_parallel_size": 1}
    each = [
        settings(
            hardware,
            image=f"quay.io/ascend/vllm-ascend:{release}{suffix}",
            **{"topology": "prefill-decode", "role": role, **sizes, **serve, **more},
        )
        for role, more in (("prefill", {}), ("decode", decode or {}))
    ]
    return list(zip(sites(hardware, 2), each, strict=True))


@pytest.mark.parametrize(
    ("pairs", "used"),
    [
        (two_sides("v0.23.0rc1"), {"fabric-memory"}),
        (two_sides("v0.18.0"), set()),
        (two_sides("v0.23.0rc1", "atlas-800-a2"), set()),
        (two_sides("v0.23.0rc1", env=OFF), set()),
        (two_sides("v0.23.0rc1", env=OFF, decode={"env": {}}), {"fabric-memory"}),
        (two_sides("v0.23.0rc1", kv_pool={}), {"fabric-memory", "kv-pool"}),
        (two_sides("v0.23.0rc1", as_given=True), {"full-and-piecewise"}),
        (
            two_sides(
                "v0.23.0rc1",
                env=OFF,
                decode={"engine_args": {"compilation-config": {"cudagraph_mode": "FULL_AND_PIECEWISE"}}},
            ),
            {"full-and-piecewise"},
        ),
    ],
    ids=["by-default", "older", "a2", "roce-alone", "decode-alone", "pool", "as-given", "graphs-asked-for"],
)
def test_prefill_and_decode(pairs: Any, used: set[str]) -> None:
    assert set(features(layout_of(pairs), shipped())) == used
    given = {process.env.get(FABRIC, "0") for process in build_plan(pairs).servers}
    assert ("1" in given) == ("fabric-memory" in used)


def test_a_host_alone_is_judged_by_its_role() -> None:
    for pair in two_sides("v0.23.0rc1"):
        assert features(layout_of([pair]), shipped()) == ("fabric-memory",)


def test_a_server_alone_has_the_release_s_own_graph_mode() -> None:
    image = "quay.io/ascend/vllm-ascend:v0.23.0rc1-a3"
    layout = layout_of([(sites("atlas-800-a3")[0], settings(image=image))])

    assert features(layout, shipped()) == ("full-and-piecewise",)
