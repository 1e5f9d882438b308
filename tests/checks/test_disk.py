"""Room for what is still to come: weights from a hub, and the image of a router."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.checks import disk
from provision.facts.docker import ImageValue
from provision.inventory.model import Model, Serve
from tests.checks.world import FakeNode, healthy, model, settings


class Holding(FakeNode):
    """A node that holds the servers' image, and not the router's."""

    def get(self, fact: Any) -> Any:
        return ImageValue("", present=fact.ref != "nginx:1") if fact.name == "image" else super().get(fact)


def test_room_for_weights_is_made_by_another_cache() -> None:
    profiled = Model(path="Qwen/Qwen3-235B-A22B", profile="qwen3-235b-a22b")
    made = healthy(0, settings("cpu", model=profiled))
    made.facts["model-folder"] = model(exists=False, shards=(), size=0, config=None)
    value = made.facts["disk"]
    place = replace(value.folders[0], path=profiled.folder, free=1 << 30)
    made.facts["disk"] = replace(value, folders=(*value.folders, place))

    (found,) = [f for f in disk.run(disk.Args(), made) if "lacks weights" in f.summary]

    assert "set qnext.model.cache to a folder" in found.remedy


@pytest.mark.parametrize(("index", "told"), [(0, True), (1, False)])
def test_room_is_asked_for_a_routers_image_on_its_node_alone(index: int, told: bool) -> None:
    serve = Serve.model_validate({"topology": "replicas", "router": {"image": "nginx:1"}})
    made = healthy(index, settings("cpu", serve=serve)).alter("docker", root_free=3 << 30)

    node = Holding(made.index, made.settings, made.facts)
    found = [f.summary for f in disk.run(disk.Args(), node) if f.level == "fail"]
    assert any("to pull the image" in summary for summary in found) == told
