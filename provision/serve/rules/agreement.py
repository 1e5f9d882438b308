"""What every node must agree on (S07). Group and host variables may differ where it is harmless: addresses, interfaces,
devices, log levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from provision.inventory.model import Settings
from provision.serve.argv import engine_arguments
from provision.serve.environment import defaults
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, warn

_MUST: dict[str, Callable[[Settings], object]] = {
    "cluster": lambda s: s.cluster,
    "hardware": lambda s: s.hardware,
    "install.image": lambda s: s.install.image,
    "model": lambda s: s.model,
    "serve.topology": lambda s: s.serve.topology,
    "serve.tensor_parallel_size": lambda s: s.serve.tensor_parallel_size,
    "serve.pipeline_parallel_size": lambda s: s.serve.pipeline_parallel_size,
    "serve.data_parallel_size": lambda s: s.serve.data_parallel_size,
    "serve.expert_parallel": lambda s: s.serve.expert_parallel,
    "serve.port": lambda s: s.serve.port,
    "serve.master_port": lambda s: s.serve.master_port,
    "serve.data_parallel_rpc_port": lambda s: s.serve.data_parallel_rpc_port,
}

TOLERATED = frozenset({"additional-config", "gpu-memory-utilization"})
"""Arguments outside of vLLM's comparison of engines, which upstream's own configurations let differ."""

SHARED_ENV = ("HCCL_", "VLLM_ASCEND_", "PYTHONHASHSEED")
"""Variables that ranks must agree on, by the beginning of their names [vllm-ascend multi-node configurations]."""


def same_settings(layout: Layout) -> Iterator[Violation]:
    """S07: what the layout is computed from [all nodes serve one model in one layout]."""
    for key, value in _MUST.items():
        for site, settings in zip(layout.sites[1:], layout.settings[1:], strict=True):
            if value(settings) != value(layout.head):
                yield fail(
                    "S07",
                    f"qnext.{key} of {site.node} differs from that of {layout.sites[0].node}",
                    "all nodes of a cluster serve one model in one layout",
                    "set it for the whole group",
                )
                break


def same_arguments(layout: Layout) -> Iterator[Violation]:
    """S07: engine arguments; only the head's cover what only a head takes [vLLM compares its engines]."""
    head = engine_arguments(layout, 0)
    for index in range(1, layout.nodes):
        other = engine_arguments(layout, index)
        for name in sorted(head.keys() | other.keys()):
            if head.get(name) == other.get(name):
                continue
            make = warn if name.partition(".")[0] in TOLERATED else fail
            yield make(
                "S07",
                f"argument {name} of {layout.sites[index].node} differs from that of {layout.sites[0].node}",
                "vLLM: engines of one group must run with the same configuration",
                "set it for the whole group",
            )


def same_environment(layout: Layout) -> Iterator[Violation]:
    """S07: variables that change what ranks say to each other [vllm-ascend multi-node configurations]."""
    merged = [{**defaults(layout, i), **_strings(layout.settings[i])} for i in range(layout.nodes)]
    for index in range(1, layout.nodes):
        for name in sorted(merged[0].keys() | merged[index].keys()):
            if name.startswith(SHARED_ENV) and merged[0].get(name) != merged[index].get(name):
                yield fail(
                    "S07",
                    f"serve.env {name} of {layout.sites[index].node} differs from that of {layout.sites[0].node}",
                    "ranks of one group must agree on it",
                    "set it for the whole group",
                )


def _strings(settings: Settings) -> dict[str, str]:
    return {name: str(value) for name, value in settings.serve.env.items()}


RULES: tuple[Rule, ...] = (same_settings, same_arguments, same_environment)
