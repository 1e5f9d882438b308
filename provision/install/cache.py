"""A registry on one node that fetches each layer once, for a pull by all: its names, its scripts, and the ways to it.

A cache of one registry [distribution, pull-through cache]. dockerd trusts TLS or its own loopback, so every other node
reaches it by a forward from its own loopback, over the ties of ``install/ties.py``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from provision.install import images
from provision.install.images import Wanted
from provision.install.ties import Door
from provision.shell import assign, join, quote

FIRST_PORT, PORTS = 15580, 200
"""Where a port that is free on all nodes is looked for."""
PROCESS = "registry"
"""Its name among our containers."""
START_DEADLINE = 180.0
"""Seconds that the cache may take to come up, the registries asked before."""


@dataclass(frozen=True, slots=True)
class Cache:
    """``folder``: on its node what it fetches, on the others the key. It lies in the cluster's own, as ``down`` removes
    that."""

    cluster: str
    folder: str
    image: str
    port: int

    @property
    def name(self) -> str:
        return f"qnext-{self.cluster}-registry"

    @property
    def labels(self) -> Mapping[str, str]:
        """Ours, so that ``down`` and ``status`` know it."""
        return {
            "qnext.cluster": self.cluster,
            "qnext.process": PROCESS,
            "qnext.kind": PROCESS,
            "qnext.port": str(self.port),
        }


def free_port(taken: Callable[[int], bool]) -> int:
    """The first port of ours that is not ``taken`` on any node; the first of all where each is."""
    ports = range(FIRST_PORT, FIRST_PORT + PORTS)
    return next((port for port in ports if not taken(port)), FIRST_PORT)


def through(wanted: Wanted, cache: Cache, source: str) -> Wanted:
    """The same image by the cache before ``source``, and where that fails as if there were none."""
    first, _, rest = source.partition("/")
    named = bool(rest) and ("." in first or ":" in first or first == "localhost")
    path = rest if named else source
    if not named or first == "docker.io":
        path = path if "/" in path else f"library/{path}"
    return replace(wanted, sources=(f"127.0.0.1:{cache.port}/{path}", *wanted.sources), race=False)


def start_script(cache: Cache, wanted: Wanted) -> str:
    """Start it before the first source that has the image; read its output with ``remote``."""
    given = [
        assign("api", "yes" if wanted.api else "no"),
        assign("tag", wanted.tag),
        assign("digest", wanted.digest),
        assign("container", cache.name),
        assign("image", cache.image),
        assign("folder", cache.folder),
        assign("port", cache.port),
        f"set -- {join(wanted.sources)}",
    ]
    labels = "".join(f"echo {quote(f'{key}={value}')} >>$work/labels\n" for key, value in cache.labels.items())
    head = "\n".join(given)
    return f"{head}\n{images.part('registry')}\nlabels=$work/labels\n{labels}{images.part('cache')}"


def remote(stdout: str) -> str:
    """The repository that the cache stands before."""
    found = re.search(r"^remote (\S+)$", stdout, re.MULTILINE)
    return found[1] if found else ""


def look_script(cache: Cache) -> str:
    """Look whether it runs; read its output with ``standing``."""
    shown = '{{.State.Running}} {{index .Config.Labels "qnext.port"}} {{index .Config.Labels "qnext.remote"}}'
    return f"docker inspect --type container --format {quote(shown)} {cache.name} 2>/dev/null\n:\n"


def standing(stdout: str) -> tuple[int, str] | None:
    """Port of a cache that runs, and the repository that it stands before."""
    found = re.fullmatch(r"true ([0-9]{1,5}) (\S+)", stdout.strip())
    return (int(found[1]), found[2]) if found else None


def way(cache: Cache, door: Door) -> str:
    """Lines before a pull that open the way to the cache behind ``door``, for as long as the pull runs."""
    given = [
        assign("here", cache.port),
        assign("there", cache.port),
        assign("key", f"{cache.folder}/key"),
        assign("known_hosts", f"{cache.folder}/known_hosts"),
        assign("bind", f"{cache.folder}/bind"),
        assign("user", door.user),
        assign("address", door.address),
        assign("port", door.port),
    ]
    return "\n".join(given) + f"\n{images.part('forward')}\n"


def end_script(cache: Cache) -> str:
    """Remove it with all that it holds; where there is none that is fine."""
    return (
        f"if docker inspect --type container {cache.name} >/dev/null 2>&1; then docker rm -f {cache.name} || exit; fi\n"
        f"rm -rf -- {quote(cache.folder)}\n"
    )
