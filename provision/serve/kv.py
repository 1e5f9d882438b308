"""How the KV cache gets from the servers that read prompts to those that write answers: ``kv-transfer-config``, the
ports it opens, the environment it wants, and the pool that it may keep caches in.

Both sides are told the sizes of both, which must be the real ones: here they are computed from the groups themselves.
A server listens from ``kv_port`` + data-parallel rank x ranks of an engine on, one port a rank [vllm-ascend
mooncake_connector.py, side_channel_port]; so the servers of a group share a ``kv_port`` and don't meet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from provision.inventory.model import KvPool
from provision.serve.argv import engine_arguments
from provision.serve.layout import Layout
from provision.serve.plan import Companion
from provision.serve.profiles import Argument
from provision.serve.releases import Release
from provision.serve.topologies.base import Attendant, Seat

ROLES: Mapping[str, str] = {"prefill": "kv_producer", "decode": "kv_consumer"}

LAYERWISE = "MooncakeLayerwiseConnector"
"""The decode side goes first, and has each layer pushed to it: it wants a proxy of its own."""

POOL_CONNECTOR = "AscendStoreConnector"

NIXL_PORT = 5600
"""``VLLM_NIXL_SIDE_CHANNEL_PORT``; each data-parallel rank takes the next [vLLM, NIXL connector usage guide]."""

MOONCAKE_FIRST = 20_000
MOONCAKE_STRIDE = 1_000
"""Mooncake's direct transport takes random ports of 20000 to 20000 + 1000 x NPUs of a node [vllm-ascend PD guide]."""

_LEAST_NPUS = 8
_SITE_PACKAGES = "/usr/local/Ascend/ascend-toolkit/latest/python/site-packages"
LIBRARY_PATH = f"{_SITE_PACKAGES}/mooncake:{_SITE_PACKAGES}:$LD_LIBRARY_PATH"
_TRANSFER_MS = 10_000
_LEASE_MS = 11_000
"""A pool's lease outlives both timeouts of a transfer [vllm-ascend KV pool guide, default_kv_lease_ttl]."""
_SEGMENT = 1 << 30
_FABRIC_SINCE = Release("0.23.0rc1")
"""The first release with Mooncake 0.3.11, whose fabric memory works from HDK 25.5 on [versioning policy]."""

Fields = dict[str, object]


def default_port(layout: Layout) -> int:
    """The first port above those that Mooncake takes at random: 28000 for 8 NPUs a node, 36000 for 16."""
    npus = max([_LEAST_NPUS, len(layout.accelerator.default_devices), *(len(site.devices) for site in layout.sites)])
    return MOONCAKE_FIRST + MOONCAKE_STRIDE * npus


def first_port(group: Layout, index: int) -> int:
    """``kv_port`` of a group's site: ``serve.kv_transfer.port``, else one clear of what Mooncake takes; NIXL's own."""
    given = group.settings[index].serve.kv_transfer
    return given.port or (NIXL_PORT if is_nixl(given.connector) else default_port(group))


def is_mooncake(connector: str) -> bool:
    """Whether it is one of those that listen on ``kv_port`` and read the sizes of both sides."""
    return connector.startswith("Mooncake")


def is_nixl(connector: str) -> bool:
    """Whether it is vLLM's own for NIXL, whose engines meet at a port of the environment."""
    return connector.startswith("Nixl")


def ranks_of(group: Layout) -> int:
    """Ranks of one engine of a group."""
    return group.tp * group.pp * group.context_parallel


def sizes(group: Layout) -> Fields:
    """A group as the other side is told of it."""
    block: Fields = {"dp_size": group.dp, "tp_size": group.tp}
    return {**block, "pp_size": group.pp} if group.pp > 1 else block


def sides(groups: Sequence[Layout]) -> Fields:
    """The ``prefill`` and ``decode`` blocks: groups of one role are alike."""
    return {role: sizes(next(group for group in groups if group.role == role)) for role in ROLES}


def transfer_config(groups: Sequence[Layout], group: Layout, index: int, engine_id: str) -> Fields:
    """``kv-transfer-config`` of a server of ``group`` on its site ``index``. ``engine_id`` is the server's own where
    the operator names none; as given, none is made up."""
    serve = group.settings[index].serve
    given = serve.kv_transfer
    chosen = given.engine_id or ("" if serve.as_given else engine_id)
    identity: Fields = {"engine_id": chosen} if chosen else {}
    role = ROLES[group.role]
    config: Fields = {"kv_connector": given.connector, "kv_role": role}
    extra: Fields = dict(given.extra)
    if is_mooncake(given.connector):
        config["kv_port"] = str(first_port(group, index))
        direct: Fields = {} if serve.as_given else {"use_ascend_direct": True}
        extra = {**direct, **sides(groups), **extra}
    elif is_nixl(given.connector) and not group.accelerator.default_devices:
        config["kv_buffer_device"] = "cpu"
    elif given.port and not is_nixl(given.connector):
        config["kv_port"] = str(given.port)
    if extra:
        config["kv_connector_extra_config"] = extra
    config |= given.fields
    if not serve.kv_pool:
        return {**config, **identity}
    # Each of several connectors is given the outer engine_id, and fails on one of its own [vLLM, MultiConnector].
    pool: Fields = {
        "kv_connector": POOL_CONNECTOR,
        "kv_role": role,
        "kv_connector_extra_config": {"backend": serve.kv_pool.kind, "lookup_rpc_port": "0"},
    }
    both: Fields = {"connectors": [config, pool]}
    return {"kv_connector": "MultiConnector", "kv_role": role, "kv_connector_extra_config": both, **identity}


def ports(group: Layout, seat: Seat) -> dict[str, int]:
    """The ports that a server's connector listens on by purpose: one a rank, NIXL's one an engine."""
    connector = group.settings[seat.index].serve.kv_transfer.connector
    if is_nixl(connector):
        return {f"kv{engine}": first_port(group, seat.index) + engine for engine in seat.engines}
    if not is_mooncake(connector):
        return {}
    each, first = ranks_of(group), first_port(group, seat.index)
    if group.spans_nodes:
        local = each // group.nodes
        offsets = list(range(seat.rank * local, (seat.rank + 1) * local))
    else:
        offsets = [engine * each + rank for engine in seat.engines for rank in range(each)]
    return {f"kv{offset}": first + offset for offset in offsets}


# ---- what a role adds


def role_arguments(group: Layout, index: int) -> dict[str, Argument]:
    """What vllm-ascend's guide gives a role beside its sizes, where the operator says nothing of it: prefill runs
    without graphs; decode captures whole decode steps, sends what it must compute again back to prefill, and keeps no
    prefixes, which would never be asked for [vllm-ascend disaggregation guide; issue 7944]."""
    settings = group.settings[index]
    if settings.serve.as_given or not _on_ascend(group, index):
        return {}
    graphs = {"enforce-eager", "compilation-config"} & {name.replace("_", "-") for name in settings.serve.engine_args}
    if group.role == "prefill":
        return {} if graphs else {"enforce-eager": True}
    known = engine_arguments(group, index)
    added: dict[str, Argument] = {} if graphs else {"compilation-config": {"cudagraph_mode": "FULL_DECODE_ONLY"}}
    if "additional-config" not in known:
        added["additional-config"] = {"recompute_scheduler_enable": True}
    if not {"enable-prefix-caching", "no-enable-prefix-caching"} & known.keys():
        added["enable-prefix-caching"] = False
    return added


def environment(group: Layout, index: int) -> dict[str, str]:
    """Variables of a server that hands KV caches on, which an operator may override [vllm-ascend disaggregation
    guide; vLLM, NIXL connector usage guide]."""
    if is_nixl(group.settings[index].serve.kv_transfer.connector):
        port = str(first_port(group, index))
        return {"VLLM_NIXL_SIDE_CHANNEL_HOST": group.sites[index].address, "VLLM_NIXL_SIDE_CHANNEL_PORT": port}
    if not _on_ascend(group, index):
        return {}
    wanted = {
        "ASCEND_CONNECT_TIMEOUT": str(_TRANSFER_MS),
        "ASCEND_TRANSFER_TIMEOUT": str(_TRANSFER_MS),
        "LD_LIBRARY_PATH": LIBRARY_PATH,
        "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT": "480",
    }
    if group.accelerator.name == "atlas-800-a2":
        wanted["HCCL_INTRA_ROCE_ENABLE"] = "1"
    else:
        fabric = group.release is not None and group.release >= _FABRIC_SINCE
        names = ("ACL_OP_INIT_MODE", "ASCEND_AGGREGATE_ENABLE", "ASCEND_TRANSPORT_PRINT")
        wanted |= dict.fromkeys((*names, "ASCEND_ENABLE_USE_FABRIC_MEM" if fabric else "ASCEND_A3_ENABLE"), "1")
    if group.head.serve.kv_pool:
        # Blocks are found again by their hashes, which all nodes must compute alike.
        wanted["PYTHONHASHSEED"] = "0"
    return wanted


def _on_ascend(group: Layout, index: int) -> bool:
    connector = group.settings[index].serve.kv_transfer.connector
    return bool(group.accelerator.default_devices) and is_mooncake(connector)


# ---- the pool


def pool_environment(layout: Layout) -> dict[str, str]:
    """What a server needs to find the pool."""
    pool = layout.head.serve.kv_pool
    if pool is None:
        return {}
    if pool.kind == "memcache":
        return {"MMC_LOCAL_CONFIG_PATH": "/qnext/mmc-local.conf"}
    return {"MOONCAKE_CONFIG_PATH": "/qnext/mooncake.json", "MOONCAKE_MASTER": _master(layout, pool.master_port)}


def pool_files(layout: Layout) -> tuple[Companion, ...]:
    """The pool's configuration as each server reads it."""
    pool = layout.head.serve.kv_pool
    if pool is None:
        return ()
    if pool.kind == "memcache":
        return (Companion("mmc-local.conf", _memcache(layout, pool, "local")),)
    computed: Fields = {
        "metadata_server": "P2PHANDSHAKE",
        "protocol": "ascend",
        "device_name": "",
        "global_segment_size": _SEGMENT,
    }
    config = {**computed, **pool.config, "master_server_address": _master(layout, pool.master_port)}
    return (Companion("mooncake.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n"),)


def pool_master(layout: Layout) -> tuple[Attendant, ...]:
    """The pool's master on the first node. Of a Memcache pool, ``master_port`` is the port of its meta service, and
    ``metrics_port`` that of its store of configuration."""
    pool = layout.head.serve.kv_pool
    if pool is None:
        return ()
    ports = {"pool": pool.master_port, "metrics": pool.metrics_port}
    if pool.kind == "memcache":
        start = ("python3", "-c", "from memcache_hybrid import MetaService; MetaService.main()")
        files = (Companion("mmc-meta.conf", _memcache(layout, pool, "meta")),)
        env = {"MMC_META_CONFIG_PATH": "/qnext/mmc-meta.conf"}
        return (Attendant("pool", 0, "pool", start, ports=ports, env=env, files=files, login=True),)
    words = {"port": pool.master_port, "metrics_port": pool.metrics_port, "eviction_high_watermark_ratio": 0.95,
             "eviction_ratio": 0.05, "default_kv_lease_ttl": _LEASE_MS}  # fmt: skip
    argv = ("mooncake_master", *(word for name, value in words.items() for word in (f"--{name}", str(value))))
    env = {"LD_LIBRARY_PATH": LIBRARY_PATH}
    return (Attendant("pool", 0, "pool", argv, ports=ports, env=env, login=True),)


def _master(layout: Layout, port: int) -> str:
    return f"{layout.sites[0].address}:{port}"


def _memcache(layout: Layout, pool: KvPool, part: str) -> str:
    """One of Memcache's two files, with the addresses that both must agree on [vllm-ascend nightly, kv_pool]."""
    given = pool.config.get(part)
    service = "meta_service" if part == "meta" else "local_service"
    lines: Fields = {
        **(given if isinstance(given, dict) else {}),
        "ock.mmc.meta_service_url": f"tcp://{_master(layout, pool.master_port)}",
        f"ock.mmc.{service}.config_store_url": f"tcp://{_master(layout, pool.metrics_port)}",
    }
    shown = {name: str(value).lower() if isinstance(value, bool) else value for name, value in lines.items()}
    return "".join(f"{name} = {value}\n" for name, value in shown.items())
