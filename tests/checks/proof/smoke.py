"""The devices are not to be seen in a container."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provision.actions import On
from provision.results import Result
from tests.checks.proof import Proof, Trial
from tests.checks.world import pair, with_image

FINE = """\
@@ npu-smi
| npu-smi 25.5.1                   Version: 25.5.1                                               |
@@ npu-smi-exit 0
@@ python3
@@ devices
count 8
@@ plugin
INFO 11-24 06:00:00 [__init__.py:238] Platform plugin ascend is activated
version 0.18.0+empty
@@ loaded
@@ pip
No broken requirements found.
@@ pip-exit 0
"""
NO_TERMINAL = "bash: no job control in this shell\n"


def said(text: str) -> Callable[[On], Mapping[str, Result]]:
    """The first node says what is fine, the second this."""

    def answer(group: On) -> Mapping[str, Result]:
        texts = zip(group.actions, (FINE, text), strict=True)
        return {name: Result("smoke container", 0, told, NO_TERMINAL) for name, told in texts}

    return answer


PROOF = Proof(
    passes=lambda: Trial(with_image(pair()), said(FINE)),
    fails=lambda: Trial(with_image(pair()), said(FINE.replace("count 8", "count 0"))),
    says="torch sees 0 devices of",
    faults={"smoke/fails": "devices"},
    pulled=True,
    alone=True,
)
