"""What a declared source of weights needs before any node is touched."""

from __future__ import annotations

from typing import Any

import pytest

from provision.inventory.model import Settings
from provision.serve.lint import lint
from tests.serve.clusters import pairs, settings

CASES: list[tuple[str, dict[str, Any], int, str]] = [
    ("no folder of the controller", {"kind": "controller"}, 2, "fail names no folder"),
    ("no folder of the node", {"kind": "node"}, 2, "fail names no folder"),
    ("a relative folder", {"kind": "node", "path": "w"}, 2, "fail is not absolute"),
    ("a relative folder here", {"kind": "controller", "path": "w"}, 2, ""),
    ("no repository", {"kind": "huggingface"}, 2, "fail names no repository"),
    ("no host", {"kind": "modelscope", "repository": "a/b", "node": "node9"}, 2, "fail node9 is no host"),
    ("a host", {"kind": "modelscope", "repository": "a/b", "node": "node2"}, 2, ""),
    ("a path at a hub", {"kind": "modelscope", "repository": "a/b", "path": "/x"}, 2, "warn path has no effect"),
    ("a hub's for a folder", {"kind": "node", "path": "/x", "endpoint": "http://x"}, 2, "warn endpoint has no effect"),
    ("spread of one", {"kind": "node", "path": "/x", "spread": "tree"}, 1, "warn spread has no effect with one node"),
    ("no spread of one", {"kind": "node", "path": "/x"}, 1, ""),
]


@pytest.mark.parametrize(("source", "count", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_source_that_cannot_be_is_refused(source: dict[str, Any], count: int, expected: str) -> None:
    base = settings("cpu", topology="replicas" if count > 1 else "single").model_dump(exclude_unset=True)
    given = Settings.model_validate(base | {"model": {"path": "/data/w", "source": source}})

    found = [v for v in lint(pairs(given, count)) if "model.source" in v.reason]

    severity, _, words = expected.partition(" ")
    assert [v.severity for v in found] == ([severity] if expected else [])
    assert all(words in v.reason and v.remedy for v in found)
