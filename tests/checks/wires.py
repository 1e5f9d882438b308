"""What lies between the nodes of ``tests.checks.world``: NPU pings and TCP connections, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from provision import clock
from provision.actions import Call, On
from provision.errors import ConnectionLost, DeadlineExceeded
from provision.results import Result
from tests.checks.proof import Trial
from tests.checks.world import FakeNode

_ASK = re.compile(r"^(?:printf %s ')?(\d+) (\d+) (ping|hccs_ping) (\S+) \d+", re.MULTILINE)

Fate = Callable[[str, int, str, str], str]
"""Of a ping from a node and its device by a way (ping, hccs_ping) to an address: ok, lost, partial, slow, hang, busy,
or an end of the whole sweep (break, over, hangs, missing, stuck: a call that nothing ends)."""

SAID = {
    "ok": "recv seq=0,time=0.2ms\nrecv seq=1,time=0.05ms\n2 packets transmitted, 2 received, 0.00% packet loss",
    "slow": "recv seq=0,time=9.2ms\nrecv seq=1,time=9.05ms\n2 packets transmitted, 2 received, 0.00% packet loss",
    "partial": "recv seq=0,time=0.2ms\n2 packets transmitted, 1 received, 50.00% packet loss",
    "lost": "recv time out seq=0\n2 packets transmitted, 0 received, 100.00% packet loss",
    "hang": "",
    "busy": "hccn_tool is busy, please try again.",
}
EXITS = {"lost": 1, "hang": 124, "busy": 11}


def well(node: str, device: int, way: str, address: str) -> str:
    return "ok"


@dataclass
class Wired(FakeNode):
    """A node whose sweeps and connections have a fate."""

    fate: Fate = well

    def stream(self, script: str, *, deadline: float | None = None) -> Iterator[str]:
        for number, device, way, address in _ASK.findall(script):
            fate = self.fate(self.name, int(device), way, address)
            if fate == "stuck":
                assert deadline, "would hang for ever"
                clock.sleep(deadline)
                late = Result("stream", 124, "", timed_out=True)
                raise DeadlineExceeded("a script had not ended", late, node=self.name)
            if fate == "break":
                raise ConnectionLost("the connection broke", node=self.name)
            if fate in ("over", "hangs", "missing"):
                yield f"@@ {fate}"
                return
            yield f"@@ {number} {EXITS.get(fate, 0)}"
            yield f"device {device} PING {address}"
            yield from SAID[fate].splitlines()


def pinged(cluster: Any, fate: Fate = well) -> Trial:
    """A trial of pings."""

    def answer(group: On) -> Mapping[str, Result]:
        nodes = {node.name: node for node in cluster.nodes}
        return {name: _do(action, nodes[name], fate) for name, action in group.actions.items()}

    return Trial(cluster, answer)


def _do(action: Any, node: FakeNode, fate: Fate) -> Result:
    assert isinstance(action, Call)
    return action.do(Wired(node.index, node.settings, node.facts, fate=fate))


Way = Callable[[str, str, int], str]
"""Of a connection from a node to a node's port: ok, refused, timeout…; ``slow`` is ok and takes long."""

PORTS = {"port": 8000, "random": 40001}


@dataclass
class Connected(FakeNode):
    """A node that listens on ``PORTS`` and connects. ``tools``: whether it has any to do so."""

    way: Way = lambda source, target, port: "ok"
    tools: bool = True

    def read(self, script: str, *, deadline: float = 30.0, label: str = "") -> Result:
        if not self.tools:
            return Result(label, 0, "no tool\n")
        if label.startswith("listen"):
            return Result(label, 0, "".join(f"{kind} {port}\n" for kind, port in PORTS.items()) + "pid 4711\n")
        if label.startswith("connect"):
            return Result(label, 0, "".join(f"{line}\n" for line in self._tried(script)))
        return Result(label, 0, "ended 1\n")

    def _tried(self, script: str) -> Iterator[str]:
        for place, ports in re.findall(r"(\d+)=[\w-]*=[\d.]+=([\d,]+)", _words(script)):
            target = f"atlas-{int(place) + 1}"
            fates = {port: self.way(self.name, target, int(port)) for port in ports.split(",")}
            yield from (f"{place} {port} {'ok' if fate == 'slow' else fate}" for port, fate in fates.items())
            if "ok" in fates.values() or "slow" in fates.values():
                yield f"{place} latency {'7.5' if 'slow' in fates.values() else '0.1'}"


def _words(script: str) -> str:
    return next(line for line in script.splitlines() if line.startswith("set -- "))


def connected(cluster: Any, way: Way = lambda source, target, port: "ok", toolless: tuple[str, ...] = ()) -> Trial:
    """A trial of connections. ``toolless``: nodes on which nothing can be tried with."""

    def answer(group: On) -> Mapping[str, Result]:
        nodes = {node.name: node for node in cluster.nodes}
        return {
            name: action.do(
                Connected(
                    nodes[name].index, nodes[name].settings, nodes[name].facts, way=way, tools=name not in toolless
                )
            )
            for name, action in group.actions.items()
            if isinstance(action, Call)
        }

    return Trial(cluster, answer)


def devices(node: FakeNode, fact: str, *numbers: int, **changes: Any) -> None:
    """Change devices of one of the facts of the NPUs' network."""
    found = node.facts[fact].devices
    node.alter(fact, devices=tuple(replace(d, **changes) if d.device in numbers else d for d in found))
