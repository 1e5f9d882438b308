"""The same image on every node: by id."""

from __future__ import annotations

import pytest

from provision.errors import ProvisionError
from provision.facts.docker import ImageValue
from provision.modules import same_image
from tests.modules.world import IMAGE, IMAGE_ID, cluster, drive


def test_all_hold_one_image() -> None:
    driven = drive(same_image.run(same_image.Args(), cluster(nodes=3)))

    assert driven.actions == []
    assert driven.outcome.data == {"image_id": IMAGE_ID}


def test_the_node_that_differs_is_named() -> None:
    made = cluster(nodes=3)
    made.nodes[1].facts["image"] = ImageValue(IMAGE, present=True, id="sha256:" + "2e" * 32)

    with pytest.raises(ProvisionError, match="not the same image") as caught:
        drive(same_image.run(same_image.Args(), made))

    assert caught.value.node == "atlas-2"
    assert "atlas-1, atlas-3" in caught.value.evidence
    assert f"docker rmi {IMAGE}" in caught.value.hint
