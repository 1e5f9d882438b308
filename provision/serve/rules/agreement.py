"""What every node must agree on (S07). Group and host variables may differ where it is harmless: addresses, interfaces,
devices, log levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from provision.inventory.model import Settings
from provision.serve.argv import engine_arguments
from provision.serve.environment import launcher_defaults
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, Together, fail, warn

_EVERYWHERE: dict[str, Callable[[Settings], object]] = {
    "cluster": lambda s: s.cluster,
    "hardware": lambda s: s.hardware,
    "install.method": lambda s: s.install.method,
    "install.image": lambda s: s.install.image,
    "install.digest": lambda s: s.install.digest,
    "install.source": lambda s: s.install.source if s.install.method == "source" else None,
    "install.privileged": lambda s: s.install.privileged,
    "model": lambda s: s.model,
    "serve.topology": lambda s: s.serve.topology,
    "serve.port": lambda s: s.serve.port,
    "serve.host": lambda s: s.serve.host,
    "serve.server_port": lambda s: s.serve.server_port,
    "serve.ray_port": lambda s: s.serve.ray_port,
    "serve.router": lambda s: s.serve.router,
    "serve.replicas_per_node": lambda s: s.serve.replicas_per_node,
    "serve.kv_transfer.connector": lambda s: s.serve.kv_transfer.connector,
    "serve.kv_pool": lambda s: s.serve.kv_pool,
    "serve.api_key": lambda s: s.serve.api_key,
}
_IN_A_GROUP: dict[str, Callable[[Settings], object]] = {
    "serve.group_topology": lambda s: s.serve.group_topology,
    "serve.tensor_parallel_size": lambda s: s.serve.tensor_parallel_size,
    "serve.pipeline_parallel_size": lambda s: s.serve.pipeline_parallel_size,
    "serve.data_parallel_size": lambda s: s.serve.data_parallel_size,
    "serve.expert_parallel": lambda s: s.serve.expert_parallel,
    "serve.master_port": lambda s: s.serve.master_port,
    "serve.data_parallel_rpc_port": lambda s: s.serve.data_parallel_rpc_port,
}

TOLERATED = frozenset({"additional-config", "gpu-memory-utilization"})
"""Arguments outside of vLLM's comparison of engines, which upstream's own configurations let differ."""

SHARED_ENV = ("HCCL_", "VLLM_ASCEND_", "VLLM_PP_LAYER_PARTITION", "PYTHONHASHSEED")
"""Variables that ranks must agree on, by the beginning of their names [vllm-ascend multi-node configurations]."""


def same_settings(layout: Layout) -> Iterator[Violation]:
    """S07: what the layout is computed from [all nodes serve one model in one layout]."""
    yield from _disagreements(layout, _EVERYWHERE, "the whole cluster")
    if layout.topology != "prefill-decode":
        yield from _disagreements(layout, _IN_A_GROUP, "the whole group")


def same_sizes(layout: Layout) -> Iterator[Violation]:
    """S07: the sizes of a prefill or decode group [ranks of a group are one engine, or step together]."""
    if layout.role:
        yield from _disagreements(layout, _IN_A_GROUP, f"all hosts of {layout.group}")


def _disagreements(layout: Layout, keys: Mapping[str, Callable[[Settings], object]], scope: str) -> Iterator[Violation]:
    for key, value in keys.items():
        for site, settings in zip(layout.sites[1:], layout.settings[1:], strict=True):
            if value(settings) != value(layout.head):
                yield fail(
                    "S07",
                    f"qnext.{key} of {site.node} differs from that of {layout.sites[0].node}",
                    "all nodes of a cluster serve one model in one layout",
                    f"set it for {scope}",
                )
                break


def one_answer(layout: Layout, groups: Sequence[Layout]) -> Iterator[Violation]:
    """S07: a router takes its servers for equal: who is asked must not matter [vllm-router]."""
    if layout.topology != "replicas":
        return
    first, seen = groups[0], [groups[0].head.serve]
    for group in groups[1:]:
        if group.head.serve in seen:
            continue
        seen.append(group.head.serve)
        one, other = engine_arguments(first, 0), engine_arguments(group, 0)
        for name in sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name)):
            yield warn(
                "S07",
                f"argument {name} of {group.sites[0].node} differs from that of {first.sites[0].node}",
                "vllm-router: requests go to any server",
                "set it for the whole cluster",
            )


def same_arguments(layout: Layout) -> Iterator[Violation]:
    """S07: engine arguments; only the head's cover what only a head takes [vLLM compares its engines]."""
    head = engine_arguments(layout, 0)
    for index in _others(layout):
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
    head = {**launcher_defaults(layout, 0), **_strings(layout.settings[0])}
    for index in _others(layout):
        other = {**launcher_defaults(layout, index), **_strings(layout.settings[index])}
        for name in sorted(head.keys() | other.keys()):
            if name.startswith(SHARED_ENV) and head.get(name) != other.get(name):
                yield fail(
                    "S07",
                    f"serve.env {name} of {layout.sites[index].node} differs from that of {layout.sites[0].node}",
                    "ranks of one group must agree on it",
                    "set it for the whole group",
                )


def _others(layout: Layout) -> Iterator[int]:
    """Sites whose ``serve`` differs from the head's: only these can disagree."""
    return (index for index in range(1, layout.nodes) if layout.settings[index].serve != layout.head.serve)


def _strings(settings: Settings) -> dict[str, str]:
    return {name: str(value) for name, value in settings.serve.env.items()}


WHOLE: tuple[Rule, ...] = (same_settings,)
RULES: tuple[Rule, ...] = (same_sizes, same_arguments, same_environment)
TOGETHER: tuple[Together, ...] = (one_answer,)
