"""Masters of pools of key-value blocks: ``mooncake_master``, and the meta service of ``memcache_hybrid``.

They listen at their ports and let everybody in; no block is ever kept.
"""

from __future__ import annotations

import os
import socket
import sys
import threading

from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path
from provision.rehearsal.standins.net import bound_to_all
from provision.rehearsal.standins.packages import filesystem

_PORT, _METRICS = "50051", "9003"


def main(node: Node, name: str, argv: list[str]) -> int:
    """``mooncake_master``: serve until told to stop."""
    given = _options(argv)
    port = int(given.get("rpc_port", given.get("port", _PORT)))
    try:
        _serve(node, [port, int(given.get("metrics_port", _METRICS))])
    except OSError as error:
        sys.stderr.write(
            f"E1124 06:20:00.000000 {os.getpid()} coro_rpc_server.hpp:112] listen error: {error.strerror}\n"
        )
        return 1
    sys.stderr.write(f"I1124 06:20:00.000000 {os.getpid()} master.cpp:206] Master service started on port {port}\n")
    sys.stderr.flush()
    threading.Event().wait()
    return 0


def meta_service(node: Node) -> None:
    """``MetaService.main()`` of memcache_hybrid: serve at the addresses of its file. Raises OSError and KeyError."""
    path = os.environ["MMC_META_CONFIG_PATH"]
    place = map_path(path, filesystem())
    with open(place, encoding="utf-8") as file:
        rows = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in file)}
    urls = [rows["ock.mmc.meta_service_url"], rows["ock.mmc.meta_service.config_store_url"]]
    _serve(node, [int(url.rpartition(":")[2]) for url in urls])
    threading.Event().wait()


def _options(argv: list[str]) -> dict[str, str]:
    """gflags: ``--name value``, ``--name=value``, one dash or two."""
    found, rest = {}, list(argv)
    while rest:
        name, given, value = rest.pop(0).lstrip("-").partition("=")
        found[name] = value if given or not rest or rest[0].startswith("-") else rest.pop(0)
    return found


def _serve(node: Node, ports: list[int]) -> None:
    for listener in [_open(node, port) for port in ports]:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()


def _open(node: Node, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((node.address, port))
    listener.listen(64)
    bound_to_all(node, port)
    return listener


def _accept(listener: socket.socket) -> None:
    """Let everybody in, and keep them."""
    kept = []
    while True:
        connection, _ = listener.accept()
        kept.append(connection)
