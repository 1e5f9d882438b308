"""Teach vLLM's CPU build the two collectives that data parallelism of a mixture of experts needs.

Its `CpuCommunicator` lacks them, so such servers come up healthy and die at their first
token. That is worth having as a negative case; so this plugin of the real tier's image acts
only where `REAL_TIER_CPU_COLLECTIVES=1` is in a server's environment. With it the ranks of
external data parallelism really step together. vLLM loads it in each of its processes, by
the entry point that `assets.py` writes; it imports nothing of ours.
"""

# mypy: ignore-errors
# (vLLM and torch live in the image only, so no checker outside can see their types.)

from __future__ import annotations

import os


def register() -> None:
    """Add the collectives, where the environment asks for them."""
    if os.environ.get("REAL_TIER_CPU_COLLECTIVES") == "1":
        from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator

        CpuCommunicator.all_gatherv = all_gatherv
        CpuCommunicator.reduce_scatterv = reduce_scatterv


def all_gatherv(self, input_, dim=0, sizes=None):
    """Join every rank's tensor (or each of a list of tensors); `sizes` are their rows by rank."""
    if isinstance(input_, list):
        return [all_gatherv(self, tensor, dim, sizes) for tensor in input_]
    if sizes is None:
        return self.all_gather(input_, dim)
    import torch

    rows = input_.movedim(dim, 0).contiguous()
    padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
    padded[: rows.shape[0]] = rows
    parts = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(parts, padded, group=self.device_group)
    joined = torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
    return joined.movedim(0, dim)


def reduce_scatterv(self, input_, dim=-1, sizes=None):
    """Add up every rank's tensor and return this rank's rows of the sum."""
    import torch

    total = input_.movedim(dim, 0).contiguous().clone()
    torch.distributed.all_reduce(total, group=self.device_group)
    sizes = sizes or [total.shape[0] // self.world_size] * self.world_size
    first = sum(sizes[: self.rank_in_group])
    return total[first : first + sizes[self.rank_in_group]].movedim(0, dim).contiguous()
