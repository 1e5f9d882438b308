"""The list of vLLM's arguments: what it says of releases, and that it knows all that upstream writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provision.serve.argv import COMPUTED, HEAD_ONLY, JSON_ARGUMENTS, SWITCHES, normal, positive
from provision.serve.known_arguments import known_arguments
from provision.serve.releases import Release

UPSTREAM = Path(__file__).resolve().parents[3] / "shared" / "acceptance" / "vllm-ascend"


@pytest.mark.parametrize(
    ("name", "vllm", "lacks"),
    [
        ("max-num-seqs", "0.10.2", False),
        ("max-num-seqs", "99.0.0", False),
        ("nnodes", "0.11.0", True),
        ("nnodes", "0.12.0", False),  # between two that were looked at: not known
        ("nnodes", "0.13.0", False),
        ("rope-scaling", "0.11.0", False),
        ("rope-scaling", "0.12.0", False),
        ("rope-scaling", "0.13.0", True),
    ],
)
def test_what_a_release_lacks_for_certain(name: str, vllm: str, lacks: bool) -> None:
    assert known_arguments()[name].lacks(Release(vllm)) is lacks


def test_names_are_normal_and_spans_are_in_order() -> None:
    for name, span in known_arguments().items():
        assert normal(name) == name
        assert span.first <= span.last
        assert span.before is None or span.before < span.first
        assert span.after is None or span.after > span.last


@pytest.mark.parametrize("name", sorted({*COMPUTED, *HEAD_ONLY, *SWITCHES, *JSON_ARGUMENTS}))
def test_arguments_that_are_handled_by_name_are_known(name: str) -> None:
    assert name in known_arguments()


@pytest.mark.skipif(not UPSTREAM.is_dir(), reason="upstream's cases lie beside the project, and are not part of it")
def test_all_that_upstream_writes_is_known() -> None:
    scripts = [*UPSTREAM.rglob("node*.sh"), *UPSTREAM.rglob("run_dp_template*.sh")]
    written = {positive(normal(word)) for s in scripts for word in re.findall(r"(?m)^\s*--([\w-]+)", s.read_text())}
    assert written
    assert written <= known_arguments().keys()
