"""The environment of each server process.

Later sources win: what the hardware needs, the profile, the launcher's own values, ``serve.env``; at last what is
computed for the node (addresses, interface, devices), which ``serve.env`` may not name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from types import MappingProxyType

from provision.inventory.model import Scalar
from provision.serve.layout import Layout
from provision.serve.scenarios import scenario_of

_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_NOTHING: Mapping[str, str] = MappingProxyType({})
_VLLM_READY_DEFAULT = 600
"""Seconds that an API server waits for its engines, vLLM's own default of ``VLLM_ENGINE_READY_TIMEOUT_S``."""

FILLED = ("QNEXT_PORT", "QNEXT_RANK", "QNEXT_ADDRESS", "QNEXT_HEAD_ADDRESS")
"""What a value of ``serve.env`` or ``serve.engine_args`` may hold as ``${NAME}``: port, rank and address of its own
server, and the address of its group's head."""


def environment(
    layout: Layout, index: int, *, defaults: Mapping[str, str] = _NOTHING, computed: Mapping[str, str] = _NOTHING
) -> tuple[dict[str, str], dict[str, str]]:
    """(variables, interface variables) of a process on site ``index``, both sorted by name. The second are name to
    prefix and non-empty where the launch script must find the interface itself. ``defaults`` and ``computed`` are
    those of its topology: the operator's own lie between them."""
    site, serve = layout.sites[index], layout.settings[index].serve
    merged = {} if serve.as_given else {**launcher_defaults(layout, index), **defaults}
    for name in serve.secret_env:  # docker's -e would win over the file that holds its value
        merged.pop(name, None)
    merged |= declared(serve.env)
    interfaces: Mapping[str, str] = {}
    if site.address:
        merged |= layout.accelerator.address_environment(site.address)
        interfaces = layout.accelerator.interface_variables
    if site.interface:
        merged |= {name: prefix + site.interface for name, prefix in interfaces.items()}
        interfaces = {}
    merged |= computed
    return dict(sorted(merged.items())), dict(sorted(interfaces.items()))


def launcher_defaults(layout: Layout, index: int) -> dict[str, str]:
    """What the process gets where ``serve.env`` says nothing."""
    serve = layout.settings[index].serve
    ready = max(_VLLM_READY_DEFAULT, math.ceil(serve.ready_timeout))
    given = {**dict.fromkeys(serve.secret_env, "a secret"), **serve.env}
    merged = {**layout.accelerator.environment(layout.nodes), **no_proxies(layout, given)}
    merged["VLLM_ENGINE_READY_TIMEOUT_S"] = str(ready)
    model = layout.settings[index].model
    if model.repository and model.hub == "modelscope":
        merged["VLLM_USE_MODELSCOPE"] = "True"
    if layout.profile and layout.profile_applies:
        merged |= declared(layout.profile.always.env)
        merged |= declared(layout.profile.multi_node.env) if layout.nodes > 1 else {}
        scenario = scenario_of(layout.profile, serve.scenario)
        merged |= declared(scenario.env) if scenario else {}
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


def extends(name: str, value: str) -> bool:
    """Whether a variable's value refers to the variable itself: it then extends what the image sets, and only the
    container knows that."""
    return re.search(rf"\$(\{{{name}\}}|{name}\b)", value) is not None


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
