"""The environment of each server process.

Later sources win: what the hardware needs, the profile, the launcher's own values, ``serve.env``; at last what is
computed for the node (addresses, interface, devices), which ``serve.env`` may not name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from provision.inventory.model import Scalar
from provision.serve.layout import Layout

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_VLLM_READY_DEFAULT = 600
"""Seconds that an API server waits for its engines, vLLM's own default of ``VLLM_ENGINE_READY_TIMEOUT_S``."""


def environment(layout: Layout, index: int) -> tuple[dict[str, str], dict[str, str]]:
    """(variables, interface variables) of the process on site ``index``, both sorted by name. The second are name to
    prefix and non-empty where the launch script must find the interface itself."""
    site = layout.sites[index]
    merged = {**defaults(layout, index), **declared(layout.settings[index].serve.env)}
    merged |= layout.accelerator.fixed_environment()
    interfaces: Mapping[str, str] = {}
    if site.address:
        merged |= layout.accelerator.address_environment(site.address)
        interfaces = layout.accelerator.interface_variables
    if site.interface:
        merged |= {name: prefix + site.interface for name, prefix in interfaces.items()}
        interfaces = {}
    return dict(sorted(merged.items())), dict(sorted(interfaces.items()))


def defaults(layout: Layout, index: int) -> dict[str, str]:
    """What the process gets where ``serve.env`` says nothing."""
    serve = layout.settings[index].serve
    ready = max(_VLLM_READY_DEFAULT, math.ceil(serve.ready_timeout))
    merged = {**layout.accelerator.environment(layout.nodes), **no_proxies(layout, serve.env)}
    merged["VLLM_ENGINE_READY_TIMEOUT_S"] = str(ready)
    if layout.profile and layout.profile_applies:
        merged |= declared(layout.profile.always.env)
        merged |= declared(layout.profile.multi_node.env) if layout.nodes > 1 else {}
    return merged


def no_proxies(layout: Layout, env: Mapping[str, Scalar]) -> dict[str, str]:
    """Ranks talk HTTP and TCP among themselves, and a proxy inherited from the image or the Docker client's
    configuration breaks that: proxies are emptied. Where the operator sets one, the ranks' addresses bypass it."""
    if any(env.get(name) or env.get(name.upper()) for name in _PROXIES):
        bypass = ",".join(dict.fromkeys(["localhost", "127.0.0.1", *(s.address for s in layout.sites if s.address)]))
    else:
        bypass = "*"
    cleared = {spelled: "" for name in _PROXIES for spelled in (name, name.upper())}
    return cleared | {"no_proxy": bypass, "NO_PROXY": bypass}


def declared(env: Mapping[str, Scalar]) -> dict[str, str]:
    """Values as upstream's launcher spells them: True and False for booleans."""
    return {name: str(value) for name, value in env.items()}


def computed_names(layout: Layout) -> frozenset[str]:
    """Variables that ``serve.env`` may not set."""
    accelerator = layout.accelerator
    by_devices = {"ASCEND_RT_VISIBLE_DEVICES"} if accelerator.default_devices else set()
    return frozenset(
        {
            *accelerator.fixed_environment(),
            *accelerator.address_environment(""),
            *accelerator.interface_variables,
            *by_devices,
        }
    )
