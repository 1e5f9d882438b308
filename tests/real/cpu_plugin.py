"""What vLLM's CPU build lacks to serve in every topology on a small machine: a plugin of the real tier's image.

vLLM loads it in each of its processes, by the entry point that `assets.py` writes; it imports nothing of ours, and acts
only where a server's environment asks for it:

* `REAL_TIER_CPU_COLLECTIVES=1`: the two collectives that data parallelism of a mixture of experts needs. Without them
  such servers come up healthy and die at their first token, which is worth having as a negative case.
* `REAL_TIER_PATIENT_NIXL=1`: NIXL's threads, which poll without a pause, give way to whoever has work. Without it two
  servers on two cores leave no time for answers.
"""

# mypy: ignore-errors
# (vLLM and torch live in the image only, so no checker outside can see their types.)

from __future__ import annotations

import os


def register() -> None:
    """Add what the environment asks for."""
    if os.environ.get("REAL_TIER_CPU_COLLECTIVES") == "1":
        from vllm.distributed.device_communicators.cpu_communicator import CpuCommunicator

        CpuCommunicator.all_gatherv = all_gatherv
        CpuCommunicator.reduce_scatterv = reduce_scatterv
    if os.environ.get("REAL_TIER_PATIENT_NIXL") == "1":
        from vllm.distributed.nixl_utils import NixlWrapper

        make_patient(NixlWrapper)


def make_patient(agent):
    """Let the threads that an agent starts have the lowest priority."""
    start = agent.__init__

    def patiently(self, *args, **kwargs):
        before = set(os.listdir("/proc/self/task"))
        start(self, *args, **kwargs)
        for thread in set(os.listdir("/proc/self/task")) - before:
            os.setpriority(os.PRIO_PROCESS, int(thread), 19)

    agent.__init__ = patiently


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
