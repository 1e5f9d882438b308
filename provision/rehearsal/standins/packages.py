"""What is installed in an image: the Python packages of each release of vllm-ascend, as pip, imports and metadata tell it.

``image/package/<name>`` is the fault of a node whose image has another version of one; ``cann`` counts as one.
"""

from __future__ import annotations

import os
import re

from provision.rehearsal.node import CONTAINER, Node
from provision.rehearsal.standins.docker.programs import has_program
from provision.rehearsal.standins.docker.store import Container

_COMMON = {"modelscope": "1.31.0", "transformers": "4.57.6"}
RELEASES = {
    "0.13.0": {"vllm": "0.13.0+empty", "vllm-ascend": "0.13.0", "torch": "2.8.0", "torch-npu": "2.8.0.post2",
               "triton-ascend": "3.2.0", "cann": "8.5.0"},
    "0.16.0rc1": {"vllm": "0.16.0+empty", "vllm-ascend": "0.16.0rc1", "torch": "2.9.0", "torch-npu": "2.9.0",
                  "triton-ascend": "3.2.0", "cann": "8.5.1"},
    "0.18.0": {"vllm": "0.18.0+empty", "vllm-ascend": "0.18.0", "torch": "2.9.0", "torch-npu": "2.9.0.post1+git4c901a4",
               "triton-ascend": "3.2.0.dev20260322", "cann": "8.5.1", "mooncake-transfer-engine-npu": "0.3.9"},
    "0.23.0": {"vllm": "0.23.0+empty", "vllm-ascend": "0.23.0", "torch": "2.10.0", "torch-npu": "2.10.0.post4",
               "triton-ascend": "3.2.2", "cann": "9.1.0", "mooncake-transfer-engine-npu": "0.3.11.post1",
               "memcache-hybrid": "1.2.0", "transformers": "5.14.1"},
}  # fmt: skip
_PROGRAMS = {"ray": "2.48.0", "vllm-router": "0.1.17"}
"""Packages whose command an image may lack."""

_EDITABLE = {"vllm": "/vllm-workspace/vllm", "vllm-ascend": "/vllm-workspace/vllm-ascend"}


def container() -> Container:
    """The container that this process runs in."""
    return Container(os.environ[CONTAINER])


def filesystem() -> str:
    """The root of the container that this process runs in."""
    return os.path.join(os.environ[CONTAINER], "fs")


def release_of(image: str) -> str:
    """The release in an image's name; the newest tested one for a name that tells none."""
    found = re.search(r":v?([0-9][0-9a-z.]*)", image.rpartition("/")[2])
    return found[1] if found and found[1] in RELEASES else "0.18.0"


def versions(node: Node, image: str) -> dict[str, str]:
    """Every package of the image with its version, the node's faults counted in."""
    release = release_of(image)
    if "vllm-cpu" in image:
        found = {**_COMMON, "vllm": f"{release}+cpu", "torch": "2.9.0+cpu"}
    else:
        found = {**_COMMON, **RELEASES[release]}
    found |= {name: version for name, version in _PROGRAMS.items() if has_program(node, image, name)}
    return {name: node.state.get(f"image/package/{name}", version) for name, version in found.items()}


def python_of(image: str) -> str:
    """Images have Python 3.12 from 0.23 on."""
    return "3.12.12" if release_of(image) == "0.23.0" else "3.11.13"


def location_of(name: str) -> tuple[str, str]:
    """Where pip says a package is, and from where when it is editable."""
    return "/usr/local/python3.11.13/lib/python3.11/site-packages", _EDITABLE.get(name, "")
