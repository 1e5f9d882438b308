"""As much of PyTorch as a proof of an image needs: devices, small tensors, and a collective over several processes.

``torch.distributed`` really meets: rank 0 listens on MASTER_ADDR:MASTER_PORT of its own node, the others dial it, and
sums are made there. The fault ``collective`` of a node stops (``hang``), breaks (``error``) or falsifies (``wrong``) it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Sequence
from types import ModuleType

from provision.clock import monotonic, sleep
from provision.rehearsal.node import Node
from provision.rehearsal.standins.faulty import wait_forever
from provision.rehearsal.standins.npu import HBM


class Tensor:
    """Numbers in a row; ``shape`` is not kept."""

    def __init__(self, values: Sequence[float]) -> None:
        self.values = [float(value) for value in values]

    def _same(self, *args: object, **options: object) -> Tensor:
        return self

    npu = cpu = to = cuda = contiguous = clone = detach = half = bfloat16 = view = reshape = _same

    def item(self) -> float:
        return self.values[0]

    def tolist(self) -> list[float]:
        return list(self.values)

    def numel(self) -> int:
        return len(self.values)

    def element_size(self) -> int:
        return 4

    def sum(self) -> Tensor:
        return Tensor([sum(self.values)])

    def mean(self) -> Tensor:
        return Tensor([sum(self.values) / len(self.values)])

    def max(self) -> Tensor:
        return Tensor([max(self.values)])

    def min(self) -> Tensor:
        return Tensor([min(self.values)])

    def all(self) -> Tensor:
        return Tensor([all(self.values)])

    def fill_(self, value: float) -> Tensor:
        self.values = [value] * len(self.values)
        return self

    def __float__(self) -> float:
        return self.item()

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> Tensor:
        return Tensor([self.values[index]])

    def __iter__(self) -> object:
        return iter(Tensor([value]) for value in self.values)

    def _paired(self, other: object, make: Callable[[float, float], float]) -> Tensor:
        others = other.values if isinstance(other, Tensor) else [_number(other)] * len(self.values)
        others = others * len(self.values) if len(others) == 1 else others
        return Tensor([make(left, right) for left, right in zip(self.values, others, strict=True)])

    def __add__(self, other: object) -> Tensor:
        return self._paired(other, lambda left, right: left + right)

    def __mul__(self, other: object) -> Tensor:
        return self._paired(other, lambda left, right: left * right)

    # As torch has it: a tensor of truths instead of one, and therefore no hash.
    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return self._paired(other, lambda left, right: left == right)

    __hash__ = None  # type: ignore[assignment]
    __radd__, __rmul__ = __add__, __mul__

    def __repr__(self) -> str:
        return f"tensor({self.values})"


class Npu:
    """``torch.npu``: the dies that the process may use."""

    def __init__(self, node: Node, devices: list[int]) -> None:
        self._node = node
        self._devices = devices
        self._current = 0

    def device_count(self) -> int:
        return len(self._devices)

    def is_available(self) -> bool:
        return bool(self._devices)

    def current_device(self) -> int:
        return self._current

    def set_device(self, device: object) -> None:
        index = int(str(device).rpartition(":")[2])
        if index >= len(self._devices):
            raise RuntimeError(
                "SetDevice: NPU function error: aclrtSetDevice, error code is 107001 [Error]: Invalid device ID. "
                f"set device={index}, valid device range is [0, {len(self._devices)})"
            )
        self._current = index

    def synchronize(self, *args: object) -> None:
        """Nothing runs."""

    empty_cache = manual_seed = manual_seed_all = synchronize

    def get_device_name(self, device: int = 0) -> str:
        return "Ascend910_9392" if self._node.on_a3 else "Ascend910B3"

    def get_soc_version(self) -> int:
        return 253 if self._node.on_a3 else 223

    def mem_get_info(self, device: int = 0) -> tuple[int, int]:
        return (HBM - 3400) << 20, HBM << 20


def fill(module: ModuleType) -> None:
    """``import torch``."""

    def full(size: object, value: float, **options: object) -> Tensor:
        return Tensor([value] * _count(size))

    def sized(value: float) -> Callable[..., Tensor]:
        return lambda *size, **options: full(size[0] if len(size) == 1 else size, value)

    module.__dict__.update(
        Tensor=Tensor, full=full, ones=sized(1.0), zeros=sized(0.0), empty=sized(0.0),
        tensor=lambda value, **options: Tensor(value if isinstance(value, list | tuple) else [value]),
        arange=lambda *bounds, **options: Tensor(list(range(*(int(bound) for bound in bounds)))),
        device=lambda *words: ":".join(str(word) for word in words),
        allclose=lambda one, other, **options: all(abs(a - b) < 1e-3 for a, b in zip(one.values, other.values, strict=True)),
        equal=lambda one, other: one.values == other.values, manual_seed=lambda seed: None, set_num_threads=lambda count: None,
        **{name: f"torch.{name}" for name in ("float32", "float16", "bfloat16", "int32", "int64", "float", "half")},
    )  # fmt: skip


def fill_part(node: Node, module: ModuleType, name: str) -> None:
    """``import torch.distributed`` and ``torch.multiprocessing``; other parts are empty."""
    if name == "distributed":
        _Group(node).fill(module)
    elif name == "multiprocessing":
        module.__dict__.update(spawn=_spawn, set_start_method=lambda *args, **options: None)


def _count(size: object) -> int:
    total = 1
    for number in size if isinstance(size, list | tuple) else (size,):
        total *= int(_number(number))
    return total


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float | str) else 0.0


def _spawn(function: Callable[..., object], args: Sequence[object] = (), nprocs: int = 1, **options: object) -> None:
    """One process a rank; a rank that fails fails all."""
    children = []
    for rank in range(nprocs):
        pid = os.fork()
        if not pid:
            status = 1
            try:
                function(rank, *args)
                status = 0
            except Exception as error:
                sys.stderr.write(
                    f"Process {rank} terminated with the following error:\n{type(error).__name__}: {error}\n"
                )
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(status)
        children.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    if any(statuses):
        raise RuntimeError(f"process {statuses.index(next(s for s in statuses if s))} terminated with exit code 1")


class _Group:
    """The process group: rank 0 adds up what the others send, and sends the sum back."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._rank, self._size = 0, 1
        self._peers: list[_Line] = []
        self._ready = False

    def fill(self, module: ModuleType) -> None:
        operations = type("ReduceOp", (), {"SUM": "sum", "MAX": "max", "MIN": "min", "AVG": "avg"})
        module.__dict__.update(
            init_process_group=self.init, all_reduce=self.all_reduce, barrier=self.barrier, ReduceOp=operations,
            get_rank=lambda *group: self._rank, get_world_size=lambda *group: self._size,
            destroy_process_group=self.destroy, is_initialized=lambda: self._ready, is_available=lambda: True,
            new_group=lambda *args, **options: None,
        )  # fmt: skip

    def init(
        self,
        backend: str = "hccl",
        init_method: str = "env://",
        rank: int = -1,
        world_size: int = -1,
        **options: object,
    ) -> None:
        """Meet the other ranks. Raises PyTorch's or HCCL's error when they don't come."""
        self._rank = rank if rank >= 0 else int(os.environ["RANK"])
        self._size = world_size if world_size > 0 else int(os.environ["WORLD_SIZE"])
        address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "29500")
        if init_method.startswith("tcp://"):
            address, _, port = init_method.removeprefix("tcp://").rpartition(":")
        patience = getattr(options.get("timeout"), "total_seconds", lambda: 60.0)()
        if self._size > 1:
            self._peers = self._gather(address, int(port), patience) if self._rank == 0 else [
                self._dial(address, int(port), patience)
            ]  # fmt: skip
        self._ready = True

    def all_reduce(self, tensor: Tensor, op: str = "sum", **options: object) -> None:
        """The same numbers on every rank afterwards."""
        fault = self._node.state.get("collective")
        if fault == "hang":
            wait_forever()
        if fault == "error":
            raise RuntimeError(
                "EI0006: Getting socket times out. Reason: 1. The remote does not initiate a connect request"
            )
        if self._rank == 0:
            rows = [tensor.values, *(line.receive() for line in self._peers)]
            combine = {"max": max, "min": min}.get(op, sum)
            tensor.values = [float(combine(column)) for column in zip(*rows, strict=True)]
            for line in self._peers:
                line.send(tensor.values)
        else:
            self._peers[0].send(tensor.values)
            tensor.values = self._peers[0].receive()
        if fault == "wrong":
            tensor.values = [value + 1 for value in tensor.values]

    def barrier(self, *args: object, **options: object) -> None:
        self.all_reduce(Tensor([0.0]))

    def destroy(self, *args: object) -> None:
        for line in self._peers:
            line.close()
        self._ready = False

    def _gather(self, address: str, port: int, patience: float) -> list[_Line]:
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(256)
            listener.settimeout(patience)
            lines: list[_Line] = []
            try:
                while len(lines) < self._size - 1:
                    lines.append(_Line(listener.accept()[0]))
            except TimeoutError:
                raise RuntimeError(
                    f"EI0015: topo exchange server get socket timeout! timeout[{patience:.0f} s], the connected num is "
                    f"{len(lines) + 1}, total {self._size}"
                ) from None
        return lines

    def _dial(self, address: str, port: int, patience: float) -> _Line:
        until = monotonic() + patience
        while (left := until - monotonic()) > 0:
            connection = socket.socket()
            connection.settimeout(left)
            try:
                connection.connect((address, port))
            except OSError:
                connection.close()
                sleep(0.05)
                continue
            connection.settimeout(None)
            return _Line(connection)
        raise RuntimeError(
            f"The client socket has timed out after {patience * 1000:.0f}ms while trying to connect to ({address}, {port})."
        )


class _Line:
    """A connection that carries lists of numbers, a line each."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("r")

    def send(self, values: list[float]) -> None:
        self._connection.sendall(json.dumps(values).encode() + b"\n")

    def receive(self) -> list[float]:
        line = self._file.readline()
        if not line:
            raise RuntimeError("EI0006: Getting socket times out. Reason: the remote rank is gone")
        return [float(value) for value in json.loads(line)]

    def close(self) -> None:
        self._file.close()
        self._connection.close()
