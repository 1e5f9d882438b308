"""Rehearsal clusters for the scenarios: one of each hardware for a worker, started when first asked for.

A worker has ports, and by them loopback addresses, of its own. Tests find the nodes as new, apart from pulled images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from provision.rehearsal import cluster as rehearsal
from provision.rehearsal.cluster import ClusterInfo
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

PORTS = {"a3": 2700, "a2": 2720, "cpu": 2740, "standing": 2760}


class Clusters(Protocol):
    """Start a cluster of two nodes, or give the one of that ``name`` that runs."""

    def __call__(self, hardware: str, name: str = "") -> ClusterInfo: ...


@pytest.fixture(scope="session")
def clusters(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Clusters]:
    """Clusters as they are asked for; what was started is ended with the session."""
    running: dict[str, ClusterInfo] = {}
    number = int(worker_id.removeprefix("gw") or 0) if worker_id != "master" else 19

    def of(hardware: str, name: str = "") -> ClusterInfo:
        name = name or hardware
        if name not in running:
            folder = tmp_path_factory.mktemp(name) / "cluster"
            running[name] = rehearsal.up(folder, 2, hardware, port=PORTS[name] + number)
        return running[name]

    try:
        yield of
    finally:
        for info in running.values():
            rehearsal.down(info.folder)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path)


@pytest.fixture
def a3(clusters: Clusters, tmp_path: Path) -> Iterator[Practice]:
    """Two Atlas A3 nodes."""
    yield from _practice(clusters("a3"), tmp_path)


@pytest.fixture
def a2(clusters: Clusters, tmp_path: Path) -> Iterator[Practice]:
    """Two Atlas A2 nodes."""
    yield from _practice(clusters("a2"), tmp_path)


@pytest.fixture
def cpu(clusters: Clusters, tmp_path: Path) -> Iterator[Practice]:
    """Two nodes without NPU: the quickest, for all that has nothing to do with NPUs."""
    yield from _practice(clusters("cpu"), tmp_path)


def _practice(info: ClusterInfo, place: Path) -> Iterator[Practice]:
    practice = Practice(info, place)
    try:
        yield practice
    finally:
        practice.reset()
