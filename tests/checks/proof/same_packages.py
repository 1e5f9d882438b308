"""Another Triton in the image of one node."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from provision.actions import On
from provision.results import Result
from tests.checks.proof import Proof, Trial
from tests.checks.world import pair, with_image

FINE = """\
package python 3.11.13
package vllm 0.18.0+empty
package vllm-ascend 0.18.0
package torch 2.9.0
package torch-npu 2.9.0.post1
package triton-ascend 3.2.0.dev20260322
package transformers 4.57.6
package ray none
package mooncake-transfer-engine-npu none
@@ cann
package_name=Ascend-cann-toolkit
version=8.5.1
"""


def said(text: str) -> Callable[[On], Mapping[str, Result]]:
    """The first node says what is fine, the second this."""
    return lambda group: {
        name: Result("versions", 0, told) for name, told in zip(group.actions, (FINE, text), strict=True)
    }


PROOF = Proof(
    passes=lambda: Trial(with_image(pair()), said(FINE)),
    fails=lambda: Trial(with_image(pair()), said(FINE.replace("3.2.0.dev20260322", "3.2.1"))),
    says="triton-ascend in the image is not the same everywhere",
    faults={"image/package/triton-ascend": "3.2.1"},
    pulled=True,
)
