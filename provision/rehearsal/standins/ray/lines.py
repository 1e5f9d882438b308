"""Messages between the parts of a Ray cluster: lines of JSON over TCP."""

from __future__ import annotations

import json
import socket
import threading

Json = dict[str, object]


class Line:
    """One end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self._lock = threading.Lock()

    def send(self, **message: object) -> None:
        """Send; that the other side is gone shows in ``receive``."""
        try:
            with self._lock:
                self._connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def receive(self) -> Json | None:
        """The next message; None when the other side is gone."""
        try:
            line = self._file.readline()
        except OSError:
            return None
        value = json.loads(line) if line.endswith(b"\n") else None
        return value if isinstance(value, dict) else None

    def close(self) -> None:
        self._file.close()
        self._connection.close()


def dial(source: str, address: str, seconds: float = 2.0) -> Line | None:
    """A connection from the node ``source`` to ``host:port``; None where nobody answers."""
    host, _, port = address.rpartition(":")
    try:
        connection = socket.create_connection((host, int(port)), timeout=seconds, source_address=(source, 0))
    except (OSError, ValueError):
        return None
    connection.settimeout(None)
    return Line(connection)


def numbers(value: object) -> dict[str, float]:
    """A message's table of amounts by name."""
    return {str(k): float(v) for k, v in value.items()} if isinstance(value, dict) else {}


def rows(value: object) -> list[Json]:
    """A message's list of objects."""
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
