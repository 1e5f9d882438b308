"""Where a server runs: its container's devices, addresses and model folder, and what of that makes it fail."""

from __future__ import annotations

import json
import os
import struct
from typing import NamedTuple

from provision.rehearsal.node import CONTAINER, Node
from provision.rehearsal.rewrite import map_path
from provision.rehearsal.standins import npu
from provision.rehearsal.standins.docker.store import Container, Store
from provision.rehearsal.standins.inside import visible
from provision.rehearsal.standins.net import INTERFACE
from provision.rehearsal.standins.vllm.arguments import Arguments
from provision.rehearsal.standins.vllm.failure import StartFailed

_GIB = 1 << 30
_SOC = {"atlas-800-a2": "ascend910b", "atlas-800-a3": "ascend910_93"}
_TYPES = {"atlas-800-a2": "A2", "atlas-800-a3": "A3"}
_RESERVE = 4 * _GIB
"""Bytes of a die that activations, graphs and communication buffers take beside the weights."""


class Model(NamedTuple):
    """What config.json and the index say; ``size`` in bytes."""

    path: str
    kind: str
    heads: int
    experts: int
    positions: int
    size: int
    shards: tuple[str, ...]


class Site:
    """A server's surroundings."""

    __slots__ = ("arguments", "container", "node", "root")

    def __init__(self, node: Node, arguments: Arguments) -> None:
        self.node = node
        self.arguments = arguments
        self.container = Container(os.environ[CONTAINER])
        self.root = os.path.join(self.container.folder, "fs")

    # ---- parallel sizes

    @property
    def tp(self) -> int:
        return self.arguments.number("tensor-parallel-size", 1)

    @property
    def pp(self) -> int:
        return self.arguments.number("pipeline-parallel-size", 1)

    @property
    def dp(self) -> int:
        return self.arguments.number("data-parallel-size", 1)

    @property
    def nnodes(self) -> int:
        return self.arguments.number("nnodes", 1)

    @property
    def headless(self) -> bool:
        return self.arguments.on("headless")

    @property
    def balancing(self) -> str:
        """Who spreads requests over ranks: ``internal`` (this server), ``hybrid`` (one a node), ``external`` (outside).

        A start rank without ``--headless`` silently means the second, and one local rank turns that into the third.
        """
        if self.arguments.has("data-parallel-rank"):
            return "external"
        inferred = self.start_rank > 0 and not self.headless
        if not (inferred or self.arguments.on("data-parallel-hybrid-lb")) or len(self.engines) == self.dp:
            return "internal"
        return "external" if len(self.engines) == 1 else "hybrid"

    @property
    def on_ray(self) -> bool:
        return self.arguments.text("distributed-executor-backend") == "ray"

    @property
    def start_rank(self) -> int:
        return self.arguments.number("data-parallel-start-rank", self.arguments.number("data-parallel-rank", 0))

    @property
    def engines(self) -> list[int]:
        """Data-parallel ranks of this process."""
        default = 1 if self.arguments.has("data-parallel-rank") else self.dp
        return list(
            range(self.start_rank, self.start_rank + self.arguments.number("data-parallel-size-local", default))
        )

    @property
    def local_ranks(self) -> int:
        """Devices that this process needs."""
        needed = len(self.engines) * self.tp * self.pp // self.nnodes
        return min(needed, len(self.devices())) if self.on_ray else needed

    @property
    def several(self) -> bool:
        """Whether ranks talk to each other at all."""
        return self.tp * self.pp * self.dp > 1

    # ---- devices

    def devices(self) -> list[int]:
        """Davinci numbers that the process sees, in the order of its ranks."""
        given = visible(self.node)
        chosen = os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "")
        if not chosen:
            return given
        indexes = [int(word) for word in chosen.split(",") if word.strip().isdigit()]
        return [given[index] for index in indexes if index < len(given)]

    def take_devices(self) -> list[int]:
        """The dies of this process's ranks. Raises what the driver would."""
        if not self.node.is_npu:
            return []
        self._refuse_wrong_image()
        seen = self.devices()
        if not seen:
            raise StartFailed("RuntimeError: Failed to infer device type, please set the environment variable "
                              "`VLLM_LOGGING_LEVEL=DEBUG` to turn on verbose logging to help debug the issue.", in_engine=False)  # fmt: skip
        if self.local_ranks > len(seen):
            raise StartFailed(
                "RuntimeError: SetDevice: NPU function error: aclrtSetDevice, error code is 107001 [Error]: Invalid device ID. "
                f"EE1001: The argument is invalid. Reason: Set device failed, invalid device, set device={len(seen)}, "
                f"valid device range is [0, {len(seen)})"
            )
        mine = seen[: self.local_ranks]
        self._refuse_held(mine)
        self._refuse_missing_mounts()
        return mine

    def _refuse_missing_mounts(self) -> None:
        for path in ("/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"):
            if path not in self.container.devices and not self.container.config["privileged"]:
                raise StartFailed("RuntimeError: Initialize:torch_npu/csrc/core/npu/sys_ctrl/npu_sys_ctrl.cpp:120 NPU error, "
                                  "error code is 507899 drvRetCode=87 Can't get ascend_hal device count")  # fmt: skip
        driver = os.path.join(self.root, "usr/local/Ascend/driver/lib64")
        if not os.path.isdir(driver) or not os.listdir(driver):
            raise StartFailed("ImportError: libascend_hal.so: cannot open shared object file: No such file or directory",
                              in_engine=False)  # fmt: skip

    def _refuse_wrong_image(self) -> None:
        soc = os.environ.get("SOC_VERSION", "")
        if soc and not soc.startswith(_SOC[self.node.hardware]):
            built = "A3" if soc.startswith("ascend910_93") else "A2"
            raise StartFailed(
                f"AssertionError: Current device type: AscendDeviceType.{_TYPES[self.node.hardware]} does not match the "
                f"installed version's device type: AscendDeviceType.{built}, please check your installation package.",
                in_engine=False,
            )

    def _refuse_held(self, dies: list[int]) -> None:
        """A die that another container was given belongs to it; a foreign process leaves too little memory."""
        for other in Store(self.node).containers():
            if other.id != self.container.id and other.running and not other.config["privileged"]:
                shared = [die for die in dies if f"/dev/davinci{die}" in other.devices]
                if shared:
                    raise StartFailed("RuntimeError: dcmi model initialized failed, because the device is used. ret is -8020 "
                                      f"(device {shared[0]}) drvRetCode=87", in_engine=False)  # fmt: skip
        wanted = self.arguments.fraction("gpu-memory-utilization", 0.9)
        for die in npu.dies(self.node):
            free = (npu.HBM - die.used) / 1024
            if die.number in dies and free < wanted * npu.HBM / 1024:
                raise StartFailed(
                    f"ValueError: Free memory on device ({free:.2f}/{npu.HBM / 1024:.2f} GiB) on startup is less than desired "
                    f"GPU memory utilization ({wanted}, {wanted * npu.HBM / 1024:.2f} GiB). Decrease GPU memory utilization "
                    "or reduce GPU memory used by other processes."
                )

    def hold(self, dies: list[int]) -> None:
        """The ranks take their memory."""
        used = int(self.arguments.fraction("gpu-memory-utilization", 0.9) * npu.HBM) - 3500
        held = "".join(f"{die} {os.getpid()} {used} VLLM::Worker_TP\n" for die in dies)
        path = os.path.join(self.container.folder, npu.HOLDING)
        with open(path + "~", "w", encoding="utf-8") as file:
            file.write(held)
        os.replace(path + "~", path)

    # ---- addresses

    def local(self, address: str) -> str:
        """The address to bind or dial for ``address`` as the node means it."""
        return self.node.address if address in ("127.0.0.1", "localhost", "0.0.0.0", "::", "") else address

    def own(self, address: str) -> str | None:
        """The address to bind for ``address``; None for one that isn't the node's, though the machine would bind it."""
        local = self.local(address)
        return local if local == self.node.address else None

    def check_addresses(self) -> None:
        """What HCCL and Gloo read from the environment must be of this node."""
        given = os.environ.get("HCCL_IF_IP", "")
        if self.several and self.node.is_npu and given and given != self.node.address:
            raise StartFailed(f"RuntimeError: EI0001: Environment variable [HCCL_IF_IP] is invalid. Reason: the ip {given} is not "
                              "found in the nic list.")  # fmt: skip
        for name in ("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME"):
            wanted = os.environ.get(name, "")
            if wanted and self.several and not _names_interface(name, wanted):
                raise StartFailed(f"RuntimeError: EI0001: Environment variable [{name}] is invalid. Reason: set ifname to [{wanted}] "
                                  f"by {name}, but not found.")  # fmt: skip
        own = os.environ.get("VLLM_HOST_IP", "")
        if own and own != self.node.address:
            raise StartFailed(f"RuntimeError: [enforce fail at gloo/transport/tcp/device.cc] bind: Cannot assign requested address "
                              f"({own})")  # fmt: skip

    # ---- model

    def place(self, path: str) -> str:
        """Where a path of the container really is."""
        mapped = map_path(path, self.root)
        return self.root + path if mapped == path and os.path.exists(self.root + path) else mapped

    def model(self) -> Model:
        """Read the model folder as vLLM would before it loads. Raises its errors."""
        path = self.place(self.arguments.model)
        config = _json(os.path.join(path, "config.json"))
        if config is None:
            raise StartFailed(
                f"ValueError: Invalid repository ID or local directory specified: '{self.arguments.model}'. Please verify the "
                "following requirements: 1. Provide a valid Hugging Face repository ID. 2. Specify a local directory that "
                "contains a recognized configuration file.",
                in_engine=False,
            )
        index = _json(os.path.join(path, "model.safetensors.index.json")) or {}
        weights = index.get("weight_map")
        names = tuple(sorted({str(name) for name in weights.values()})) if isinstance(weights, dict) else ()
        return Model(
            path=path,
            kind=str(config.get("model_type", "")),
            heads=_int(config, "num_attention_heads"),
            experts=_int(config, "num_experts"),
            positions=_int(config, "max_position_embeddings"),
            size=sum(os.path.getsize(f) for n in names if os.path.exists(f := os.path.join(path, n))),
            shards=names,
        )

    def check_weights(self, model: Model) -> None:
        """Every shard is there and whole."""
        if not model.shards:
            raise StartFailed(f"RuntimeError: Cannot find any model weights with `{self.arguments.model}`")
        for name in model.shards:
            path = os.path.join(model.path, name)
            if not os.path.exists(path):
                raise StartFailed(
                    "ValueError: Following weights were not initialized from checkpoint: "
                    f"{{'model.layers.{_number(name)}.mlp.experts.w13_weight'}}"
                )
            if os.path.getsize(path) != _expected_size(path):
                raise StartFailed(
                    "safetensors_rust.SafetensorError: Error while deserializing header: incomplete metadata, file not fully covered"
                )

    def check_memory(self, model: Model) -> None:
        """The weights of a rank fit into its die, as the inventory's memory arithmetic has it [domain.md 1.5]."""
        if not self.node.is_npu:
            return
        experts = int(model.size * 0.965) if model.experts else 0
        spread = self.tp * self.dp if self.arguments.on("enable-expert-parallel") else self.tp
        weights = ((model.size - experts) // self.tp + experts // spread) // self.pp
        room = self.arguments.fraction("gpu-memory-utilization", 0.9) * npu.HBM * (1 << 20)
        if weights + _RESERVE > room:
            raise StartFailed(
                f"RuntimeError: NPU out of memory. Tried to allocate 2.00 GiB (NPU 0; {npu.HBM / 1024:.2f} GiB total capacity; "
                f"{min(weights, room) / _GIB:.2f} GiB already allocated; 764.23 MiB free)"
            )


def _names_interface(variable: str, wanted: str) -> bool:
    """HCCL knows prefixes, ``=`` and ``^``; the others take a plain name."""
    if variable != "HCCL_SOCKET_IFNAME":
        return wanted in (INTERFACE, "lo", "docker0")
    if wanted.startswith("="):
        return wanted[1:] in (INTERFACE, "lo", "docker0")
    return wanted.startswith("^") or any(INTERFACE.startswith(part) for part in wanted.split(","))


def _json(path: str) -> dict[str, object] | None:
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _int(values: dict[str, object], name: str) -> int:
    value = values.get(name)
    return value if isinstance(value, int) else 0


def _number(name: str) -> int:
    digits = "".join(c if c.isdigit() else " " for c in name).split()
    return int(digits[0]) if digits else 0


def _expected_size(path: str) -> int:
    """How long a safetensors file must be, by its own header."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
    ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
    return 8 + int(size) + max(ends, default=0)
