"""A builder without NNAL, for a source install."""

from __future__ import annotations

from typing import Any

from provision.facts.cann import CannInstall, CannValue
from provision.facts.source import SourceInstallValue
from provision.facts.toolchain import ToolchainValue
from provision.inventory.model import Install, Source
from tests.checks.proof import Proof
from tests.checks.world import FakeNode, healthy, settings

ASCEND = "/usr/local/Ascend"
TOOLKIT = CannInstall(
    f"{ASCEND}/cann-8.5.1", f"{ASCEND}/cann-8.5.1", version="8.5.1", set_env=f"{ASCEND}/set_env.sh", current=True
)
NNAL = CannInstall(f"{ASCEND}/nnal/atb/8.5.1", "", version="8.5.1", set_env=f"{ASCEND}/nnal/atb/set_env.sh")
TOOLS = {"gcc": "10.3.1", "g++": "10.3.1", "cmake": "3.22.0", "ninja": "1.10.2", "make": "4.3", "git": "2.33.0"}


def equipped(**source: Any) -> FakeNode:
    """A node that can build and install a release; ``source`` are further keys of ``install.source``."""
    own = settings(install=Install(method="source", source=Source(**{"release": "v0.18.0", **source})))
    node = healthy(0, own)
    node.facts["toolchain"] = ToolchainValue(
        TOOLS, "3.11.6", headers=frozenset({"numa.h", "Python.h"}), manager="dnf", root=True
    )
    node.facts["source-install"] = SourceInstallValue(machine="aarch64", python="3.11.6")
    node.facts["cann"] = CannValue((TOOLKIT,), NNAL, f"{ASCEND}/nnal/atb/latest/atb/cxx_abi_0/lib/libatb.so")
    return node


PROOF = Proof(
    passes=equipped,
    fails=lambda: equipped().alter("cann", nnal=None, nnal_library=None),
    says=r"NNAL \(libatb.so\) is not installed",
    faults={"cann/nnal": "missing"},
    qnext={"install": {"method": "source", "source": {"release": "v0.18.0"}}},
    alone=True,
)
