"""What every kind of recipe is read into: the server of each node, and the groups that they form.

A group is told by what its commands say (``--headless``, start ranks, whose address they join), never by lists of
roles: upstream has two prefill nodes that are two groups [vllm-ascend DeepSeek-R1-W8A8-EPLB].
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from provision.errors import ConfigError, Position
from provision.serve.importing.command import ServeCommand

RPC_PORT = 29550
"""vLLM's own handshake port, where a command names none [vllm/config/parallel.py]."""

PREFILL, DECODE = "prefill", "decode"


@dataclass(frozen=True, slots=True)
class Note:
    """Something an operator should know of the import. ``warning``: it may change what runs."""

    text: str
    where: Position | None = None
    warning: bool = True

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text


@dataclass(slots=True)
class Notes:
    """Notes as they are found, each once."""

    found: list[Note] = field(default_factory=list)
    _texts: set[str] = field(default_factory=set)

    def warn(self, text: str, where: Position | None = None) -> None:
        self._add(Note(text, where))

    def note(self, text: str, where: Position | None = None) -> None:
        self._add(Note(text, where, warning=False))

    def _add(self, note: Note) -> None:
        if note.text not in self._texts:
            self._texts.add(note.text)
            self.found.append(note)


@dataclass(frozen=True, slots=True)
class Ranks:
    """A node of an external layout: a server for each of its ranks. ``head`` is the node of rank 0."""

    port: int
    size: int
    local: int
    start: int
    rpc_port: int
    tensor_parallel: int
    pipeline_parallel: int
    head: int


@dataclass(frozen=True, slots=True)
class Container:
    """What a ``docker run`` says beside the command."""

    image: str = ""
    name: str = ""
    privileged: bool = False
    shm_size: str = ""
    devices: tuple[int, ...] = ()
    mounts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    """The server of node ``index``; of an external layout, the one that each of its ``ranks`` starts."""

    index: int
    command: ServeCommand
    env: Mapping[str, str]
    where: Position
    role: str = ""
    ranks: Ranks | None = None
    container: Container = field(default_factory=Container)

    @property
    def headless(self) -> bool:
        return self.command.has("headless")


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool of KV cache."""

    kind: str
    master_port: int | None
    metrics_port: int | None
    config: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole recipe. ``addresses`` are those it names itself, by node. ``entry_port``: where its clients ask."""

    title: str
    servers: tuple[Server, ...]
    disaggregated: bool = False
    npu_per_node: int | None = None
    addresses: tuple[str, ...] = ()
    pool: Pool | None = None
    entry_port: int | None = None
    about: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    """Text of what has no place in an inventory, for its comments: benchmarks."""

    def node_at(self, address: str, server: Server) -> int | None:
        """The node that an address or a variable of upstream's harness stands for; None where nothing tells."""
        name = address.removeprefix("$").strip("{}")
        if name == "LOCAL_IP":
            return server.index
        if name == "MASTER_IP":
            return self.master_of(server)
        if found := re.fullmatch(r"NODE_(\d+)_IP", name):
            return int(found[1])
        return self.addresses.index(address) if address in self.addresses else None

    def master_of(self, server: Server) -> int:
        """``$MASTER_IP``: node 0; for a decode node the first of them."""
        peers = [each.index for each in self.servers if each.role == DECODE]
        return peers[0] if server.role == DECODE and peers else 0


@dataclass(frozen=True, slots=True)
class Group:
    """Servers that work as one, the head first. Sizes are over all of them."""

    role: str
    servers: tuple[Server, ...]
    topology: str
    tensor_parallel: int
    pipeline_parallel: int
    data_parallel: int
    rpc_port: int
    name: str = ""

    @property
    def head(self) -> Server:
        return self.servers[0]


def groups_of(recipe: Recipe) -> tuple[Group, ...]:
    """The groups in the order of their heads. Raises ``ConfigError`` where commands contradict each other."""
    heads = [server for server in recipe.servers if _is_head(server)]
    members: dict[int, list[Server]] = {head.index: [head] for head in heads}
    for server in recipe.servers:
        if not _is_head(server):
            members[_head_of(recipe, server, members)].append(server)
    groups = [_group(recipe, servers) for servers in members.values()]
    return tuple(_named(groups))


def _is_head(server: Server) -> bool:
    if server.ranks:
        return server.ranks.start == 0
    if (server.command.number("nnodes") or 1) > 1:
        return server.command.number("node-rank") in (None, 0)
    return not server.headless and not server.command.number("data-parallel-start-rank")


def _start(server: Server) -> int:
    if server.ranks:
        return server.ranks.start
    return server.command.number("data-parallel-start-rank") or server.command.number("node-rank") or 0


def _head_of(recipe: Recipe, server: Server, members: Mapping[int, list[Server]]) -> int:
    """The node of the head that a server joins: the one it names, else the nearest before it of its role."""
    if not members:
        raise ConfigError(
            f"node {server.index} joins others, but no node has the API: all are --headless",
            where=server.command.where,
            hint="give the head's command too: the one without --headless",
        )
    named = server.ranks.head if server.ranks else _named_head(recipe, server)
    if named is not None and named in members:
        return named
    if named is not None:
        raise ConfigError(
            f"node {server.index} joins node {named}, which is no head: it is headless, or has ranks of its own",
            where=server.command.where,
            hint="which node has rank 0 of this group? It must not be --headless",
        )
    alike = [index for index, (head, *_) in members.items() if head.role == server.role] or list(members)
    return max((index for index in alike if index < server.index), default=alike[0])


def _named_head(recipe: Recipe, server: Server) -> int | None:
    name = "master-addr" if server.command.has("nnodes") else "data-parallel-address"
    address = server.command.text(name)
    if address is None:
        raise ConfigError(
            f"node {server.index} has no --{name}: it would wait for itself",
            where=server.command.where,
            hint=f"give it --{name} with the address of its group's head",
        )
    return recipe.node_at(address, server)


def _group(recipe: Recipe, servers: Sequence[Server]) -> Group:
    ordered = tuple(sorted(servers, key=lambda server: (_start(server), server.index)))
    group = _external(ordered) if ordered[0].ranks else _internal(ordered)
    for server in ordered:
        _agrees(group, server)
    _counted(group)
    return group


def _external(servers: tuple[Server, ...]) -> Group:
    ranks = servers[0].ranks
    assert ranks is not None
    return Group(
        servers[0].role,
        servers,
        "external-dp",
        ranks.tensor_parallel,
        ranks.pipeline_parallel,
        ranks.size,
        ranks.rpc_port,
    )


def _internal(servers: tuple[Server, ...]) -> Group:
    command = servers[0].command
    return Group(
        role=servers[0].role,
        servers=servers,
        topology=_topology(servers),
        tensor_parallel=command.number("tensor-parallel-size") or 1,
        pipeline_parallel=command.number("pipeline-parallel-size") or 1,
        data_parallel=command.number("data-parallel-size") or 1,
        rpc_port=command.number("data-parallel-rpc-port") or RPC_PORT,
    )


def _topology(servers: Sequence[Server]) -> str:
    command = servers[0].command
    if command.has("data-parallel-rank"):
        raise ConfigError(
            "a server for each rank (--data-parallel-rank) is not read from single commands",
            where=command.where,
            hint="give serve.topology external-dp and the sizes by hand; upstream's external_dp files are imported",
        )
    if (command.number("nnodes") or 1) > 1:
        stages = command.number("pipeline-parallel-size") or 1
        return "pipeline-parallel" if stages > 1 and stages % len(servers) == 0 else "tensor-parallel"
    if command.text("distributed-executor-backend") == "ray":
        return "ray"
    if len(servers) == 1:
        return "single"
    return "data-parallel" if all(server.headless for server in servers[1:]) else "hybrid-dp"


def _agrees(group: Group, server: Server) -> None:
    """Raise where a server is started with other sizes than its head."""
    theirs = _external((server,)) if server.ranks else _sizes(server)
    for what, ours, other in (
        ("tensor-parallel-size", group.tensor_parallel, theirs.tensor_parallel),
        ("pipeline-parallel-size", group.pipeline_parallel, theirs.pipeline_parallel),
        ("data-parallel-size", group.data_parallel, theirs.data_parallel),
        ("data-parallel-rpc-port", group.rpc_port, theirs.rpc_port),
    ):
        if ours != other:
            raise ConfigError(
                f"node {server.index} has {what} {other}, but node {group.head.index}, its head, has {ours}",
                where=server.where,
                hint="all nodes of a group must say the same",
            )


def _sizes(server: Server) -> Group:
    return _internal((replace(server, command=_without(server.command, "nnodes", "data-parallel-rank")),))


def _without(command: ServeCommand, *names: str) -> ServeCommand:
    return replace(command, options=tuple(each for each in command.options if each.name not in names))


def _counted(group: Group) -> None:
    """Raise where the ranks of the nodes are not those of the group, or not as many on each."""
    if group.topology in ("tensor-parallel", "pipeline-parallel", "ray"):
        wanted = group.head.command.number("nnodes") or 1
        if group.topology != "ray" and len(group.servers) != wanted:
            raise ConfigError(
                f"--nnodes {wanted}, but {len(group.servers)} commands are given",
                where=group.head.where,
                hint="give the command of each node, one after the other",
            )
        return
    locals_ = [_local(group, server) for server in group.servers]
    expected = 0
    for server, local in zip(group.servers, locals_, strict=True):
        if _start(server) != expected:
            raise ConfigError(
                f"node {server.index} starts at data-parallel rank {_start(server)}, but the nodes before it end at "
                f"{expected - 1}",
                where=server.where,
                hint="start ranks follow each other without a gap: each is the sum of the local sizes before it",
            )
        expected += local
    if expected != group.data_parallel:
        raise ConfigError(
            f"data-parallel-size is {group.data_parallel}, but the nodes hold {' + '.join(map(str, locals_))} ranks",
            where=group.head.where,
            hint="is the command of a node missing? The local sizes must add up to the size",
        )
    if len(set(locals_)) > 1:
        raise ConfigError(
            f"the nodes hold {' + '.join(map(str, locals_))} ranks: uneven local sizes cannot be imported",
            where=group.head.where,
            hint="give every node the same --data-parallel-size-local",
        )


def _local(group: Group, server: Server) -> int:
    if server.ranks:
        return server.ranks.local
    local = server.command.number("data-parallel-size-local")
    return group.data_parallel if local is None else local


def _named(groups: Sequence[Group]) -> Iterator[Group]:
    """Groups of a role that has several of them get names."""
    for group in groups:
        peers = [each for each in groups if each.role == group.role]
        if group.role and len(peers) > 1:
            yield replace(group, name=f"{group.role}{peers.index(group)}")
        else:
            yield group


def counted(count: int, what: str) -> str:
    """``1 host``, ``2 hosts``."""
    return f"{count} {what}{'s' * (count != 1)}"
