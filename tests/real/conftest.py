"""Hand the real tier's assets and nodes to its scenarios, or say plainly why not.

Everything in this folder carries the marker `real`. Without root or the packages the
scenarios are skipped with the way to get them; with QNEXT_REAL=require, as CI sets it, that
is an error instead. Nothing is installed from here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from . import assets as asset_store
from . import nodes
from .assets import Assets
from .nodes import Cluster

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder; the hook is given those of all folders."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def assets() -> Assets:
    """Return the image's registry store and the model folders, built on first use (minutes)."""
    lacks = nodes.missing()
    if lacks:
        refuse(f"needs {', '.join(lacks)}; as root on Debian 12, run .ci/real-packages")
    try:
        return asset_store.ensure()
    except asset_store.AssetsError as error:
        refuse(f"its image and models could not be built: {error}")


@pytest.fixture(scope="session")
def raised_cluster(assets: Assets) -> Iterator[Cluster]:
    """Raise two nodes for the whole session."""
    raised = nodes.up(assets, 2, owner=os.getpid())
    try:
        yield raised
    finally:
        raised.down()


@pytest.fixture
def cluster(raised_cluster: Cluster) -> Cluster:
    """Return two nodes as good as new, but for images that earlier tests pulled."""
    raised_cluster.reset()
    return raised_cluster


def refuse(reason: str) -> NoReturn:
    """Skip, or fail where the real tier is required."""
    message = f"real tier skipped: {reason}"
    if os.environ.get("QNEXT_REAL") == "require":
        pytest.fail(f"QNEXT_REAL=require, but: {message}", pytrace=False)
    pytest.skip(message)
