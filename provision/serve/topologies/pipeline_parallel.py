"""One engine whose pipeline stages are the nodes: each holds some of the layers, split by tensor parallel within it.

Only activations cross the network, once a stage, where tensor-parallel over nodes crosses it twice a layer. It runs by
vLLM's multi-node executor, as tensor-parallel does [vllm-ascend feature guide, pipeline parallel].
"""

from __future__ import annotations

from collections.abc import Iterator

from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.topologies import tensor_parallel
from provision.serve.topologies.base import uneven

seats = tensor_parallel.seats
waves = tensor_parallel.waves


def violations(layout: Layout) -> Iterator[Violation]:
    yield from tensor_parallel.violations(layout)
    if layout.pp % layout.nodes and not layout.tp * layout.pp % layout.nodes:
        yield uneven("pipeline_parallel_size", layout.pp, layout.nodes)
