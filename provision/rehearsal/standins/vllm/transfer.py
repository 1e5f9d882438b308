"""Prefill and decode apart: what ``--kv-transfer-config`` makes a server check, open, give and fetch.

Every rank of an instance listens at a port of its own, ``kv_port`` + data-parallel rank x ranks an engine + rank. Who
decodes fetches the prompt's blocks from the port that the prefill's answer named, or asks the proxy to have them sent
(layerwise). What can't be fetched is computed again, as MooncakeConnectorV1 does it [domain.md 6.7].
"""

from __future__ import annotations

import http.client
import json
import os
import selectors
import socket
import threading
from collections.abc import Callable
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

from provision.rehearsal.standins.vllm import log
from provision.rehearsal.standins.vllm.failure import StartFailed
from provision.rehearsal.standins.vllm.site import Site

_ROLES = ("kv_both", "kv_consumer", "kv_producer")
_DEFAULT_PORT = 14579
_PULL = "MooncakeConnectorV1"
_LAYERWISE = "MooncakeLayerwiseConnector"
_ASCEND = (_PULL, _LAYERWISE, "MooncakeHybridConnector", "MooncakeConnectorStoreV1", "AscendStoreConnector",
           "UCMConnector", "SimpleCPUOffloadConnector", "RecomputeCPUOffloadConnector", "SfaRemoteD2HConnector")  # fmt: skip
_VLLM = ("MultiConnector", "OffloadingConnector", "LMCacheConnectorV1", "LMCacheMPConnector", "NixlConnector",
         "SharedStorageConnector", "ExampleConnector", "P2pNcclConnector")  # fmt: skip
_LISTENING = (_PULL, _LAYERWISE, "MooncakeHybridConnector")
_POOLED = ("AscendStoreConnector", "MooncakeConnectorStoreV1")
_SECONDS = 2.0
_BLOCK = 128
"""Tokens of a block."""

_Json = dict[str, object]


class Config(NamedTuple):
    """One connector's part of the configuration. ``backend`` is the pool's kind, of one that has a pool."""

    connector: str
    role: str
    port: int
    engine: str
    prefill: _Json
    decode: _Json
    backend: str


class Transfer:
    """The exchange of key-value blocks of one server."""

    def __init__(self, site: Site, config: Config) -> None:
        self._site = site
        self._config = config
        self._listeners: list[socket.socket] = []

    @property
    def _ranks(self) -> int:
        return self._site.tp * self._site.pp

    def _own_ranks(self) -> range:
        """The ranks of an engine that this process has: all, or a node's part of them."""
        local = self._ranks // self._site.nnodes
        first = self._site.arguments.number("node-rank", 0) * local
        return range(first, first + local)

    def listen(self) -> None:
        """Open the port of each rank of this process. Raises ZeroMQ's error for one that is taken."""
        if self._config.connector not in _LISTENING:
            return
        for engine in self._site.engines:
            for rank in self._own_ranks():
                self._listeners.append(self._open(self._config.port + engine * self._ranks + rank, engine))
        threading.Thread(target=self._answer, daemon=True).start()

    def fetch(self, params: _Json) -> bool:
        """Have the blocks of a prompt that another instance has read; False where they must be computed here."""
        if self._config.role == "kv_producer" or not params.get("do_remote_prefill"):
            return False
        asked_proxy = str(params.get("metaserver") or "")
        try:
            if asked_proxy:
                self._ask(asked_proxy, params)
            else:
                self._pull(str(params.get("remote_host")), int(str(params.get("remote_port"))), params)
        except (OSError, ValueError, http.client.HTTPException) as error:
            who = f"EngineCore_DP{self._site.engines[0]}"
            log.error(who, "mooncake_connector.py:412", f"Failed to transfer KV cache for request "
                      f"{params.get('request_id')}: {error}")  # fmt: skip
            return False
        return True

    def offer(self, params: _Json, prompt_tokens: int) -> _Json | None:
        """What an answer says of where the prompt's blocks can be fetched; None where nobody asked."""
        if self._config.role == "kv_consumer" or not params.get("do_remote_decode"):
            return None
        engine = self._site.engines[0]
        return {
            "do_remote_prefill": True, "do_remote_decode": False,
            "remote_block_ids": list(range(1, 2 + prompt_tokens // _BLOCK)), "remote_engine_id": self._config.engine,
            "remote_host": self._site.node.address, "remote_port": self._config.port + engine * self._ranks,
            "remote_pcp_size": 1, "remote_dcp_size": 1, "num_prompt_blocks": 1 + prompt_tokens // _BLOCK,
            "last_token_id": 0,
        }  # fmt: skip

    def _open(self, port: int, engine: int) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self._site.node.address, port))
            listener.listen(16)
        except OSError as error:
            cause = f"zmq.error.ZMQError: {error.strerror} (addr='tcp://{self._site.node.address}:{port}')"
            raise StartFailed(cause, engine=engine) from None
        return listener

    def _answer(self) -> None:
        """Give blocks to whoever asks at any of the ports."""
        selector = selectors.DefaultSelector()
        for listener in self._listeners:
            selector.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if isinstance(key.fileobj, socket.socket):
                    _give(key.fileobj)

    def _pull(self, host: str, port: int, params: _Json) -> None:
        with socket.create_connection((self._site.local(host), port), timeout=_SECONDS) as connection:
            connection.sendall(f"GET_META_MSG {params.get('remote_engine_id')}\n".encode())
            if connection.recv(64) != b"ACK\n":
                raise OSError("the remote engine does not answer")

    def _ask(self, url: str, params: _Json) -> None:
        """Layerwise: this side goes first and has the proxy start the prefill."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(self._site.local(parts.hostname or ""), parts.port, timeout=30)
        told = {**params, "do_remote_prefill": False, "do_remote_decode": True, "remote_host": self._site.node.address,
                "remote_port": self._config.port, "remote_engine_id": self._config.engine}  # fmt: skip
        try:
            connection.request("POST", parts.path, json.dumps(told), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            if answer.status != 200:
                raise OSError(f"{url} answered {answer.status}")
        finally:
            connection.close()


def transfer_of(site: Site) -> Transfer | None:
    """The exchange that the command line asks for. Raises what vLLM and vllm-ascend refuse."""
    text = site.arguments.text("kv-transfer-config")
    _check_recompute(site, json.loads(text) if text else {})
    if not text:
        return None
    found = _flat(json.loads(text))
    for config in found:
        _check(site, config)
        if config.connector in _POOLED:
            _reach_pool(site, _memcache if config.backend == "memcache" else _mooncake)
    return Transfer(site, next((config for config in found if config.connector in _LISTENING), found[0]))


def _flat(given: _Json) -> list[Config]:
    """The connectors of a configuration: one, or those that a MultiConnector holds."""
    extra = _object(given.get("kv_connector_extra_config"))
    inner = extra.get("connectors")
    if given.get("kv_connector") == "MultiConnector" and isinstance(inner, list):
        outer = {key: value for key, value in given.items() if key in ("kv_role", "engine_id", "kv_port")}
        return [config for part in inner if isinstance(part, dict) for config in _flat({**outer, **part})]
    return [
        Config(
            connector=str(given.get("kv_connector", "")),
            role=str(given.get("kv_role", "")),
            port=int(str(given.get("kv_port", _DEFAULT_PORT))),
            engine=str(given.get("engine_id") or os.urandom(8).hex()),
            prefill=_object(extra.get("prefill")),
            decode=_object(extra.get("decode")),
            backend=str(extra.get("backend", "mooncake")),
        )
    ]


def _check(site: Site, config: Config) -> None:
    known = (*_VLLM, *(_ASCEND if site.node.is_npu else ()))
    if config.connector and not config.role:
        _refuse(f"ValueError: Please specify kv_role when kv_connector is set, supported roles are {_ROLES}")
    if config.role not in _ROLES:
        _refuse(f"ValueError: Unsupported kv_role: {config.role}. Supported roles are {_ROLES}")
    if config.connector not in known:
        _refuse(f"ValueError: Unsupported connector type: {config.connector}")
    if config.connector not in _LISTENING:
        return
    for name, block in (("prefill", config.prefill), ("decode", config.decode)):
        if not {"tp_size", "dp_size"} <= set(block):
            _refuse(
                f"AssertionError: {name} of kv_connector_extra_config must hold tp_size and dp_size", in_engine=True
            )
    if config.role in ("kv_producer", "kv_both"):
        _compare(site, "prefill", config.prefill)
    if config.role in ("kv_consumer", "kv_both"):
        _compare(site, "decode", config.decode)
    if _number(config.prefill, "tp_size") % _number(config.decode, "tp_size"):
        _refuse("AssertionError: Prefill TP size must be divisible by Decode TP size.")
    if _number(config.decode, "pp_size") != 1:
        _refuse("AssertionError: decode pp size must be 1", in_engine=True)


def _reach_pool(site: Site, read: Callable[[Site], str]) -> None:
    """A connector of a pool dials the pool's master, whose address its configuration file has."""
    try:
        address = read(site)
    except (OSError, ValueError, KeyError) as error:
        _refuse(f"{type(error).__name__}: {error}", in_engine=True)
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((site.local(host), int(port)), timeout=_SECONDS).close()
    except (OSError, ValueError):
        _refuse(f"RuntimeError: Initialize mooncake failed. ret: -1 (master {address})", in_engine=True)


def _mooncake(site: Site) -> str:
    with open(_configured(site, "MOONCAKE_CONFIG_PATH"), encoding="utf-8") as file:
        return str(json.load(file)["master_server_address"])


def _memcache(site: Site) -> str:
    with open(_configured(site, "MMC_LOCAL_CONFIG_PATH"), encoding="utf-8") as file:
        rows = dict(line.partition("=")[::2] for line in file if "=" in line)
    return {key.strip(): value.strip() for key, value in rows.items()}["ock.mmc.meta_service_url"].removeprefix(
        "tcp://"
    )


def _configured(site: Site, variable: str) -> str:
    path = os.environ.get(variable, "")
    if not path:
        raise ValueError(f"The environment variable '{variable}' is not set.")
    return site.place(path)


def _compare(site: Site, name: str, block: _Json) -> None:
    """A block that describes this side must describe it truly [vllm-ascend utils.py, check_kv_extra_config]."""
    for key, real, what in (("tp_size", site.tp, "tensor"), ("dp_size", site.dp, "data")):
        if _number(block, key) != real:
            _refuse(f"ValueError: KV transfer '{name}' config has a conflicting {what} parallel size. Expected {real}, "
                    f"but got {_number(block, key)}.")  # fmt: skip


def _check_recompute(site: Site, given: _Json) -> None:
    extra = json.loads(site.arguments.text("additional-config") or "{}")
    if isinstance(extra, dict) and extra.get("recompute_scheduler_enable") and given.get("kv_role") != "kv_consumer":
        _refuse("ValueError: recompute_scheduler_enable can only be enabled on PD-disaggregated D nodes "
                "(kv_role='kv_consumer').")  # fmt: skip


def _refuse(cause: str, *, in_engine: bool = False) -> NoReturn:
    raise StartFailed(cause, in_engine=in_engine)


def _give(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(_SECONDS)
        try:
            if connection.recv(256).startswith(b"GET_META_MSG"):
                connection.sendall(b"ACK\n")
        except OSError:
            return


def _object(value: object) -> _Json:
    return value if isinstance(value, dict) else {}


def _number(block: _Json, key: str) -> int:
    return int(str(block.get(key, 1)))
