"""``--distributed-executor-backend ray``: a server that borrows the devices of a Ray cluster."""

from __future__ import annotations

import os
import threading

from provision.clock import monotonic, sleep
from provision.rehearsal import wall
from provision.rehearsal.standins import npu
from provision.rehearsal.standins.ray.lines import Json, Line, dial, numbers, rows
from provision.rehearsal.standins.ray.runtime import session_file
from provision.rehearsal.standins.vllm import log
from provision.rehearsal.standins.vllm.failure import StartFailed
from provision.rehearsal.standins.vllm.site import Site

_WHO = "EngineCore_DP0"
_LOG_EVERY = 10.0
_KEY = "NPU"


class RayExecutor:
    """The workers on other nodes; ``lost`` holds a rank as soon as one of their nodes is gone."""

    def __init__(self, line: Line | None, others: int) -> None:
        self.lost: list[int] = []
        self._ready = threading.Semaphore(0)
        self._others = others
        self._problem = ""
        if line is not None:
            threading.Thread(target=self._follow, args=(line,), daemon=True).start()

    def await_ready(self) -> None:
        """Wait until the workers of every other node have loaded. Raises what stopped one."""
        for _ in range(self._others):
            self._ready.acquire()
        if self._problem:
            raise StartFailed(f"ray.exceptions.RayTaskError: ray::RayWorkerWrapper.execute_method()\n{self._problem}")
        if self.lost:
            raise StartFailed("ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task. The "
                              "actor died because its node has died. Node Id: unknown")  # fmt: skip

    def generate(self, rank: int, timeout: float) -> bool:
        """The workers do their part as long as all are there."""
        return not self.lost

    def _follow(self, line: Line) -> None:
        while (message := line.receive()) is not None:
            if "lost" in message:
                self.lost.append(1)
            self._problem = self._problem or str(message.get("problem", ""))
            self._ready.release()
        self.lost.append(0)
        self._ready.release()


def executor(site: Site, patience: float) -> RayExecutor:
    """Get the devices for all ranks, waiting ``patience`` seconds. Raises as vLLM's ray_utils does."""
    if not site.node.is_npu:
        raise StartFailed("ValueError: current platform cpu does not support ray.")
    address = os.environ.get("RAY_ADDRESS", "") or _session()
    need = site.tp * site.pp * site.dp
    if not address:
        return _alone(site, need, patience)
    _ray_log(f"Connecting to existing Ray cluster at address: {address}...")
    line = dial(site.node.address, address)
    if line is None:
        raise StartFailed(
            f"ConnectionError: Failed to connect to Ray cluster at {address}: ray start --head does not run there"
        )
    _ray_log("Connected to Ray cluster.")
    log.info(_WHO, "ray_utils.py:339", "No current placement group found. Creating a new placement group.")
    share = _reserve(site, line, need, patience)
    return RayExecutor(line, sum(1 for ip in share if ip != site.node.address))


def _alone(site: Site, need: int, patience: float) -> RayExecutor:
    """Without a cluster one is started, of this container's devices only."""
    _ray_log("Started a local Ray instance.")
    count = len(site.devices())
    if count < need:
        log.warning(_WHO, "ray_utils.py:350", _too_many())
        _wait(need, patience, lambda: False)
    return RayExecutor(None, 0)


def _reserve(site: Site, line: Line, need: int, patience: float) -> dict[str, float]:
    """How many devices of each node this server got."""
    used = int(site.arguments.fraction("gpu-memory-utilization", 0.9) * npu.HBM) - 3500
    granted: dict[str, float] = {}
    told: list[str] = []

    def ask() -> bool:
        line.send(kind="driver", ip=site.node.address, need=need, resource=_KEY, mb=used, model=site.arguments.model)
        answer = line.receive()
        if answer is None:
            raise StartFailed("ConnectionError: Failed to connect to GCS: the head of the Ray cluster is gone")
        granted.update(numbers(answer.get("share")))
        if not granted:
            _refuse_bare_node(site, rows(answer.get("nodes")))
            if not told:
                told.append(_too_many())
                log.warning(_WHO, "ray_utils.py:350", told[0])
        return bool(granted)

    _wait(need, patience, ask)
    return granted


def _refuse_bare_node(site: Site, nodes: list[Json]) -> None:
    """The engine's own node must have a device."""
    mine = next((node for node in nodes if node["ip"] == site.node.address and node["alive"]), None)
    own = numbers(mine["resources"]) if mine else {}
    if own.get(_KEY, 0) < 1:
        raise StartFailed(
            f"ValueError: Current node has no {_KEY} available. current_node_resource={own}. vLLM engine cannot start without "
            f"{_KEY}. Make sure you have at least 1 {_KEY} available in a node current_node_id="
            f"'{mine['id'] if mine else ''}' current_ip='{site.node.address}'."
        )


def _wait(need: int, patience: float, ask: object) -> None:
    """Until the placement group is ready, with a remark now and then that grows rarer."""
    began = monotonic()
    remark, specs = min(_LOG_EVERY, patience / 3), [{_KEY: 1.0}] * need
    while callable(ask) and not ask():
        waited = monotonic() - began
        if waited > patience:
            raise StartFailed(f"ValueError: Cannot provide a placement group of placement_group_specs={specs} within 1800 seconds. "
                              "See `ray status` to make sure the cluster has enough resources.")  # fmt: skip
        if waited > remark:
            remark *= 3
            log.info(_WHO, "ray_utils.py:233", f"Waiting for creating a placement group of specs for {max(10, int(waited))} seconds. "
                     f"specs={specs}. Check `ray status` and `ray list nodes` to see if you have enough resources, and make sure "
                     "the IP addresses used by ray cluster are the same as VLLM_HOST_IP environment variable specified in each "
                     "node if you are running on a multi-node.")  # fmt: skip
        sleep(0.1)


def _too_many() -> str:
    return f"The number of required {_KEY}s exceeds the total number of available {_KEY}s in the placement group."


def _session() -> str:
    try:
        with open(session_file(), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _ray_log(text: str) -> None:
    log.plain(f"{wall.local('%Y-%m-%d %H:%M:%S')},000\tINFO worker.py:1771 -- {text}")
