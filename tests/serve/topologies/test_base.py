"""Topologies are found by the listing of their folder."""

from __future__ import annotations

from typing import get_args

import pytest

from provision.errors import ConfigError
from provision.inventory import model
from provision.serve.topologies.base import topologies, topology


def test_the_inventory_knows_every_topology() -> None:
    assert set(topologies()) == set(get_args(model.Topology))


@pytest.mark.parametrize("name", topologies())
def test_every_topology_explains_itself(name: str) -> None:
    assert topology(name).name == name
    assert topology(name).doc.splitlines()[0].endswith(".")


def test_an_unknown_topology_is_an_error_with_a_suggestion() -> None:
    with pytest.raises(ConfigError) as refused:
        topology("tensor-paralel")
    assert "tensor_parallel" in refused.value.hint
