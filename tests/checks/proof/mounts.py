"""A file that Docker made a folder of."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.checks.proof import Proof
from tests.checks.world import healthy


def ill() -> Any:
    node = healthy()
    sources = node.facts["mount-sources"].sources
    made = tuple(replace(s, kind="dir") if s.path == "/etc/ascend_install.info" else s for s in sources)
    return node.alter("mount-sources", sources=made)


PROOF = Proof(
    passes=healthy,
    fails=ill,
    says="ascend_install.info is a folder",
    faults={"mount/ascend_install.info": "folder"},
)
