"""One rank of an all-reduce over all nodes: run in the image by `qnext-provision check --deep` (collective, X17).

    RANK=… LOCAL_RANK=… WORLD_SIZE=… MASTER_ADDR=… MASTER_PORT=… python3 all_reduce.py BACKEND SECONDS MEGABYTES…

Each rank says "joined RANK" once all have met. Of each size every rank proves the sum, then rank 0 says
"measured MEGABYTES SECONDS": the mean time of one, by the slowest rank. A size for which the time would not suffice, or
of which one would take over 10 s, is left out: by then the smaller ones have told. What it prints is read by the check.
"""

import os
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist

TOO_LONG = 10.0

backend, seconds, sizes = sys.argv[1], float(sys.argv[2]), [float(word) for word in sys.argv[3:]]
rank, local, world = (int(os.environ[name]) for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"))
ends = time.monotonic() + seconds
device = "cpu"
if backend == "hccl":
    import torch_npu  # noqa: F401 - importing it gives torch its NPU back end

    device = f"npu:{local}"
    torch.npu.set_device(device)


def full(count, value):
    return torch.full((count,), float(value), dtype=torch.float32, device=device)


def reduced(tensor, rounds=1):
    """Mean seconds of one all-reduce."""
    dist.barrier()
    started = time.perf_counter()
    for _ in range(rounds):
        dist.all_reduce(tensor)
    if device != "cpu":
        torch.npu.synchronize()
    return (time.perf_counter() - started) / rounds


def slowest(value):
    """The largest of all ranks' values, so that all decide alike."""
    tensor = full(1, value)
    dist.all_reduce(tensor, op=dist.ReduceOp.MAX)
    return float(tensor.max().item())


dist.init_process_group(backend, timeout=timedelta(seconds=seconds))
dist.barrier()
print("joined", rank, flush=True)
expected, pace = world * (world + 1) / 2, 0.0
for size in sizes:
    count = max(1, int(size * 1e6 / 4))
    left = ends - time.monotonic()
    if slowest(max(4 * pace * count - left, pace * count - TOO_LONG)) > 0:
        break
    tensor = full(count, rank + 1)
    reduced(tensor)
    low, high = float(tensor.min().item()), float(tensor.max().item())
    if (low, high) != (expected, expected):
        sys.exit(f"wrong sum on rank {rank}: {low:g} to {high:g} of {size:g} MB, expected {expected:g}")
    tensor.fill_(0.0)
    once = slowest(reduced(tensor))
    each = slowest(reduced(tensor, max(1, min(20, int(1 / max(once, 0.001))))))
    pace = max(once, each) / count
    if rank == 0:
        print("measured", f"{size:g}", f"{each:.9f}", flush=True)
dist.barrier()
dist.destroy_process_group()
