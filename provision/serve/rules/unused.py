"""Settings that nothing reads with the topology at hand (S08): mostly left over from another one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from provision.inventory.model import Serve
from provision.serve.layout import ROUTED, SPANNING, Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, representatives, warn

_PD = frozenset({"prefill-decode"})
_RPC = frozenset({"data-parallel", "hybrid-dp", "external-dp", "prefill-decode"})
_SOURCE = "the topology, docs/serving.md"


@dataclass(frozen=True, slots=True)
class Use:
    """Which topologies read a setting, and its value."""

    topologies: frozenset[str]
    value: Callable[[Serve], object]


_USES: Mapping[str, Use] = {
    "group": Use(_PD, lambda s: s.group),
    "group_topology": Use(_PD, lambda s: s.group_topology),
    "kv_transfer": Use(_PD, lambda s: s.kv_transfer),
    "kv_pool": Use(_PD, lambda s: s.kv_pool),
    "replicas_per_node": Use(frozenset({"replicas"}), lambda s: s.replicas_per_node),
    "server_port": Use(ROUTED, lambda s: s.server_port),
    "router": Use(ROUTED, lambda s: s.router),
    "ray_port": Use(frozenset({"ray"}), lambda s: s.ray_port),
    "master_port": Use((SPANNING - {"ray"}) | _PD, lambda s: s.master_port),
    "data_parallel_rpc_port": Use(_RPC, lambda s: s.data_parallel_rpc_port),
}
_DEFAULTS = Serve()


def of_another_topology(layout: Layout) -> Iterator[Violation]:
    """S08: a setting that only other topologies read [docs/serving.md, topologies]."""
    for index in representatives(layout):
        serve = layout.settings[index].serve
        for name, use in _USES.items():
            if layout.topology not in use.topologies and use.value(serve) != use.value(_DEFAULTS):
                yield warn(
                    "S08",
                    f"serve.{name} has no effect with topology {layout.topology}",
                    _SOURCE,
                    f"remove it; it is for {', '.join(sorted(use.topologies))}",
                )


def role_elsewhere(layout: Layout) -> Iterator[Violation]:
    """S08: a host of a layout without roles has none: it would serve what nobody sends it [docs/serving.md,
    prefill-decode]."""
    named = [s.node for s, settings in zip(layout.sites, layout.settings, strict=True) if settings.serve.role]
    if named and layout.topology != "prefill-decode":
        yield fail(
            "S08",
            f"serve.role of {', '.join(named[:4])}{' and more' * (len(named) > 4)} means nothing with topology "
            f"{layout.topology}",
            _SOURCE,
            "set serve.topology: prefill-decode, or remove serve.role",
        )


def router_options(layout: Layout) -> Iterator[Violation]:
    """S08: options of one router that another is to run [vllm-router; nginx; vllm-ascend's proxy]."""
    router = layout.head.serve.router
    if layout.topology not in ROUTED:
        return
    kind = router.kind
    readers = {
        "policy": (router.policy, {"auto", "vllm-router"}),
        "script": (router.script, {"auto", "vllm-ascend"}),
        "args": (router.args, {"auto", "vllm-router", "nginx", "built-in", "vllm-ascend"}),
        "image": (router.image, {"auto", "vllm-router", "nginx", "built-in", "vllm-ascend"}),
        "node": (router.node, {"auto", "vllm-router", "nginx", "built-in", "vllm-ascend"}),
    }
    for name, (value, kinds) in readers.items():
        if value and kind not in kinds:
            yield warn(
                "S08",
                f"serve.router.{name} has no effect with router {kind}",
                "the router's own options",
                f"remove it, or set serve.router.kind to one of {', '.join(sorted(kinds - {'auto'}))}",
            )


def restart_budget(layout: Layout) -> Iterator[Violation]:
    """S08: a budget of restarts is for the policy that restarts [docs/inventory.md, serve.on_failure]."""
    serve = layout.head.serve
    if serve.restart_budget != _DEFAULTS.restart_budget and serve.on_failure != "restart-group":
        yield warn(
            "S08",
            "serve.restart_budget has no effect with on_failure: fail",
            "docs/inventory.md, serve.on_failure",
            "set serve.on_failure: restart-group, or remove it",
        )


WHOLE: tuple[Rule, ...] = (of_another_topology, role_elsewhere, router_options, restart_budget)
