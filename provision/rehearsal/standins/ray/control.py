"""The head's control store: it knows every node with its resources, and lends devices to whoever serves a model."""

from __future__ import annotations

import os
import socket
import threading
from dataclasses import dataclass, field

from provision.clock import monotonic
from provision.rehearsal.standins.ray.lines import Json, Line, numbers

_SETTLING = 0.3
"""Seconds in which a cluster has no report of itself yet; really some ten."""


@dataclass(slots=True)
class Member:
    """A node. ``used`` are devices lent."""

    id: str
    ip: str
    resources: dict[str, float]
    line: Line
    head: bool
    alive: bool = True
    used: dict[str, float] = field(default_factory=dict)

    def told(self) -> Json:
        return {"id": self.id, "ip": self.ip, "resources": self.resources, "used": self.used, "alive": self.alive,
                "head": self.head}  # fmt: skip

    def free(self, resource: str) -> int:
        return int(self.resources.get(resource, 0) - self.used.get(resource, 0))


class ControlStore:
    """Answers nodes, ``ray status`` and servers. Raises OSError where the port is taken."""

    def __init__(self, address: str, port: int) -> None:
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(128)
        self._members: list[Member] = []
        self._drivers: dict[Line, dict[str, int]] = {}
        self._lock = threading.RLock()
        self._born = monotonic()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            threading.Thread(target=self._talk, args=(Line(connection),), daemon=True).start()

    def _talk(self, line: Line) -> None:
        message = line.receive()
        if message is None:
            return
        kind = message.get("kind")
        if kind == "node":
            self._have_node(line, message)
        elif kind == "driver":
            self._have_driver(line, message)
        else:
            with self._lock:
                age = monotonic() - self._born
                line.send(nodes=[member.told() for member in self._members], settled=age > _SETTLING)
        line.close()

    def _have_node(self, line: Line, message: Json) -> None:
        """A node is a member as long as its connection lives."""
        with self._lock:
            head = not self._members
            me = Member(os.urandom(28).hex(), str(message["ip"]), numbers(message["resources"]), line, head)
            self._members.append(me)
        line.send(ok=True)
        while (answer := line.receive()) is not None:
            self._tell_drivers(me.ip, problem=str(answer.get("problem", "")))
        with self._lock:
            me.alive = False
        self._tell_drivers(me.ip, lost=me.ip)

    def _tell_drivers(self, ip: str, **message: object) -> None:
        with self._lock:
            for line, share in self._drivers.items():
                if ip in share:
                    line.send(**message)

    def _have_driver(self, line: Line, message: Json) -> None:
        """A server asks again and again until it gets its devices, which it keeps as long as it lives."""
        while message is not None and not self._lend(line, message):
            line.send(nodes=[member.told() for member in self._members])
            following = line.receive()
            if following is None:
                return
            message = following
        while line.receive() is not None:
            continue
        self._take_back(line)

    def _lend(self, line: Line, message: Json) -> bool:
        """Bundles are packed: first on the server's own node, then on the others in their order."""
        need, own, resource = int(str(message["need"])), str(message["ip"]), str(message["resource"])
        with self._lock:
            alive = sorted((m for m in self._members if m.alive), key=lambda m: m.ip != own)
            if sum(m.free(resource) for m in alive) < need:
                return False
            share: dict[str, int] = {}
            for member in alive:
                count = min(member.free(resource), need - sum(share.values()))
                if count:
                    share[member.ip] = count
                    member.used[resource] = member.used.get(resource, 0) + count
            self._drivers[line] = share
            line.send(share=share)
            for member in alive:
                if member.ip in share and member.ip != own:
                    member.line.send(do="hold", dies=share[member.ip], mb=message["mb"], model=message["model"])
        return True

    def _take_back(self, line: Line) -> None:
        with self._lock:
            share = self._drivers.pop(line)
            for member in self._members:
                if member.ip in share:
                    member.used = {}
                    member.line.send(do="free")
