"""What all nodes of a cluster must say alike: different values here would start ranks that cannot work together.

[domain facts, section 6.9: what every node must agree on]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

from provision.errors import ConfigError
from provision.inventory.model import Host, Serve
from provision.yamlio import Node, describe

SHARED: tuple[tuple[str, ...], ...] = (
    ("cluster",),
    ("hardware",),
    ("install", "method"),
    ("install", "image"),
    ("model", "profile"),
    ("model", "path"),
    ("model", "served_name"),
    ("state_dir",),
    *(("serve", name) for name in Serve.model_fields),
)

_BY_HOST = frozenset(
    {
        *("role", "group", "kv_transfer", "server_port"),
        *("max_model_len", "gpu_memory_utilization", "engine_args", "argument_order", "env"),
    }
)
"""Keys of ``serve`` in which hosts may differ: a rule (S07) judges what the ranks of one group must share."""

_BY_GROUP = frozenset(
    {
        *("group_topology", "tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"),
        *("expert_parallel", "master_port", "data_parallel_rpc_port", "ray_port"),
    }
)
"""Keys of ``serve`` in which the groups of prefill-decode may differ."""


def disagreements(hosts: Sequence[Host], qnext: Mapping[str, Node]) -> Iterator[ConfigError]:
    """An error for each setting that isn't the same on all hosts, at the place of the rarest value."""
    if len({id(host.settings) for host in hosts}) < 2:
        return
    grouped = all(host.settings.serve.topology == "prefill-decode" for host in hosts)
    for path in SHARED:
        if path[0] == "serve" and path[1] in (_BY_HOST | _BY_GROUP if grouped else _BY_HOST):
            continue
        parties = _parties(hosts, path)
        if len(parties) > 1:
            yield _disagreement(path, parties, qnext)


def _parties(hosts: Sequence[Host], path: tuple[str, ...]) -> list[list[Host]]:
    """Hosts that say the same, by value; the first party comes first."""
    parties: list[tuple[object, list[Host]]] = []
    for host in hosts:
        value = _value(host, path)
        party = next((party for said, party in parties if said == value), None)
        if party is None:
            parties.append((value, [host]))
        else:
            party.append(host)
    return [party for _, party in parties]


def _value(host: Host, path: tuple[str, ...]) -> object:
    return reduce(getattr, path, host.settings)


def _disagreement(path: tuple[str, ...], parties: list[list[Host]], qnext: Mapping[str, Node]) -> ConfigError:
    parties.sort(key=len, reverse=True)
    said = "; ".join(f"{_names(party)} {_say(_value(party[0], path))}" for party in parties)
    where = qnext[parties[-1][0].name].where(path)
    hint = "set it once, in vars: of a group that holds all hosts; one inventory describes one cluster"
    return ConfigError(f"qnext.{'.'.join(path)} must be the same on all hosts: {said}", where=where, hint=hint)


def _names(hosts: list[Host], shown: int = 3) -> str:
    names = [host.name for host in hosts]
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest + (" has" if len(names) == 1 else " have")


def _say(value: object) -> str:
    return str(value) if isinstance(value, str) else describe(value)
