"""``--limit`` where it differs from Ansible on purpose; where it doesn't, ``test_as_ansible`` compares the two."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import UsageError
from provision.inventory.load import load
from provision.inventory.model import Inventory
from provision.inventory.select import select
from provision.render.fold import fold


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        "all:\n  vars:\n    qnext:\n      cluster: c\n      hardware: cpu\n"
        "      install: {image: i}\n      model: {path: /m}\n"
        "  hosts:\n    atlas-[1:4]:\n    atlas-9:\n    rack[08:10]-a:\n"
    )
    return load(path)


@pytest.mark.parametrize("names", [["atlas-2", "atlas-3"], ["atlas-1", "atlas-2", "atlas-9"], ["rack08-a", "rack09-a"]])
def test_what_a_run_prints_can_be_typed(names: list[str], inventory: Inventory) -> None:
    assert [host.name for host in select(inventory, fold(names))] == names


def test_a_range_may_be_excluded(inventory: Inventory) -> None:
    assert [host.name for host in select(inventory, "atlas*:!atlas-[1:3]")] == ["atlas-4", "atlas-9"]


@pytest.mark.parametrize("pattern", ["atlas-[1:5]", "atlas-[3:1]", "atlas-[", "nobody[1:2]", "", " "])
def test_what_names_nobody_is_refused(pattern: str, inventory: Inventory) -> None:
    with pytest.raises(UsageError):
        select(inventory, pattern)
