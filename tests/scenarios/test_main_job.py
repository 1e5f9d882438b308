"""The main job: from bare nodes to proven generation, and back, on every hardware and topology."""

from __future__ import annotations

import pytest

from tests.scenarios import shared
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.xdist_group("a3")]

HEAD_AND_WORKER = [("node1", "head"), ("node2", "worker1")]


def test_data_parallel_on_two_a3(a3: Practice, program: Program) -> None:
    a3.forget_images()

    shared.main_job(program, a3.inventory, HEAD_AND_WORKER)
