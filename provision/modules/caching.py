"""How all nodes pull through a cache on one of them, so that each layer crosses the way to the registry once.

No module of its own: ``image`` does it where ``install.spread`` is registry. The cache and the keys to it go when all
have the image, when something fails, and with ``down``.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from provision.actions import On, Put, Run
from provision.errors import Interrupted, ProvisionError
from provision.facts.docker import Containers, Image
from provision.facts.network import Ports
from provision.install import cache as caches
from provision.install import images, ties
from provision.install.cache import Cache
from provision.install.images import Wanted
from provision.install.ties import Door, Key
from provision.modules import pulling
from provision.modules.base import ClusterRun
from provision.modules.pulling import Pulled, Steps
from provision.modules.spreading import all_of
from provision.node import Cluster, Node
from provision.results import ActionResult, PlannedResult
from provision.serve import launch

CONTAINERS = frozenset({"containers", "ports", "disk", "listing"})
KEYS = frozenset({"authorized-keys", "listing"})


def pull(cluster: Cluster, wanted: Wanted, nodes: Sequence[Node], timeout: float) -> Steps:
    """Pull on the first of ``nodes`` through a cache there, then on the others through the same cache.

    A cache that a run has left which was interrupted is used on, as pulls that go on need it.
    """
    host = next((node for node in cluster.nodes if _stands(node)), nodes[0])
    takers = [node for node in nodes if node is not host]
    if not takers:
        pulled = yield from pulling.pull(nodes, wanted, timeout)
        yield from tidy(cluster)
        return pulled
    install = cluster.settings.install
    said = caches.standing(host.read(caches.look_script(_cache(cluster, 0)), label="look for a cache").stdout)
    port = said[0] if said else caches.free_port(lambda port: any(n.get(Ports()).holder(port) for n in nodes))
    cache = _cache(cluster, port)
    if not said and not host.get(Image(cache.image)).present:
        yield from pulling.pull([host], images.other(cache.image, install), timeout)
    try:
        source = said[1] if said else (yield from _started(cache, wanted, host))
        first = [host] if host in nodes else []
        pulled = yield from _through(cache, caches.through(wanted, cache, source or wanted.sources[0]), host, first,
                                     takers, timeout)  # fmt: skip
    except Interrupted:
        raise  # the pulls go on, and need it; the next run, or down, takes it away
    except ProvisionError:
        with suppress(ProvisionError):
            yield from _end(cache, host, takers)
        raise
    yield from _end(cache, host, takers)
    return pulled


def tidy(cluster: Cluster) -> ClusterRun:
    """Take away what a run has left that was interrupted; looks at ``Containers`` of the cluster."""
    left = [node for node in cluster.nodes if _stands(node)]
    if left:
        yield from _end(_cache(cluster, 0), left[0], [node for node in cluster.nodes if node is not left[0]])
    return None


def _stands(node: Node) -> bool:
    """Whether a cache of ours is on the node."""
    return node.get(Containers(node.settings.cluster)).process(caches.PROCESS) is not None


def _cache(cluster: Cluster, port: int) -> Cache:
    return Cache(
        cluster=cluster.settings.cluster,
        folder=f"{launch.folder(cluster.settings)}/registry",
        image=cluster.settings.install.registry_image,
        port=port,
    )


def _through(
    cache: Cache, near: Wanted, host: Node, lacks: Sequence[Node], takers: Sequence[Node], timeout: float
) -> Steps:
    """``near``: the image by way of the cache, as its own node names it. ``lacks``: that node, where it lacks it."""
    door = yield from _opened(cache, host, takers)
    first = Pulled(near.digest)
    if lacks:
        first = yield from pulling.pull(lacks, near, timeout)
    far = replace(near, digest=first.digest, way=caches.way(cache, door))
    rest = yield from pulling.pull(takers, far, timeout)
    return Pulled(
        first.digest or rest.digest,
        first.planned or rest.planned,
        {**(first.sources or {}), **(rest.sources or {})},
        {**(first.passed or {}), **(rest.passed or {})},
    )


def _started(cache: Cache, wanted: Wanted, host: Node) -> Generator[On, Mapping[str, ActionResult], str]:
    start = Run(
        label=f"start a cache of the registry ({cache.name})",
        script=caches.start_script(cache, wanted),
        deadline=caches.START_DEADLINE,
        affects=CONTAINERS,
        hint="docker logs says more while it is there; or set spread: each, or tree",
    )
    answer = (yield On({host.name: start}))[host.name]
    return "" if isinstance(answer, PlannedResult) else caches.remote(answer.stdout)


def _opened(cache: Cache, host: Node, takers: Sequence[Node]) -> Generator[On, Mapping[str, ActionResult], Door]:
    """Let ``takers`` reach the cache, and nothing else, by a key of this run."""
    key = ties.new_key()
    address = launch.address_of(host)
    admit = _admit(cache, host, takers, key)
    answer = (yield On({host.name: admit}))[host.name]
    if isinstance(answer, PlannedResult):
        door = Door(host.name, "", address, 22, ())
    else:
        try:
            door = ties.door(host.name, address, answer.stdout)
        except ValueError as error:
            hint = "other nodes could not know it for sure: make its host keys readable, or set spread: each"
            raise ProvisionError(f"{host.name}: {error}", node=host.name, hint=hint) from None
    yield On({node.name: _put(f"{cache.folder}/key", key.private, secret=True) for node in takers})
    yield On({node.name: _put(f"{cache.folder}/known_hosts", door.known) for node in takers})
    yield On({node.name: _put(f"{cache.folder}/bind", f"{launch.address_of(node)}\n") for node in takers})
    return door


def _admit(cache: Cache, host: Node, takers: Sequence[Node], key: Key) -> Run:
    permits = ("port-forwarding", f'permitopen="127.0.0.1:{cache.port}"')
    allowed = ties.options((launch.address_of(node) for node in takers), permits)
    port = host.settings.install.spread_port or 0
    return Run(
        label=f"let {', '.join(node.name for node in takers)} reach it by SSH",
        script=ties.admit(cache.cluster, key, allowed, "false", become=False, port=port),
        become=False,
        affects=KEYS,
        hint="the login user needs a home folder with room; or set spread: each",
    )


def _put(path: str, text: str, *, secret: bool = False) -> Put:
    return Put(label=f"write {path}", path=path, content=text.encode(), mode=0o600, secret=secret, affects=KEYS)


def _end(cache: Cache, host: Node, takers: Sequence[Node]) -> ClusterRun:
    """Take the cache and the keys away again."""
    lines = replace(_remove(ties.dismiss(cache.cluster), "the run's key"), become=False)
    ends = {node.name: _remove(caches.end_script(cache), "the cache's key") for node in takers}
    ends[host.name] = _remove(caches.end_script(cache), "the cache")
    yield from all_of([On({host.name: lines}), On(ends)])
    return None


def _remove(script: str, what: str) -> Run:
    return Run(label=f"remove {what}", script=script, affects=CONTAINERS | KEYS, hint="run down, which removes it too")
