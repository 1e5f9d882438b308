"""Features of the server that need more of a node than the release itself does: which a layout uses.

Their needs are rows of ``compatibility.yaml``; here stands how each is recognised.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from provision.serve import kv
from provision.serve.argv import engine_arguments
from provision.serve.compatibility import Table
from provision.serve.environment import environment
from provision.serve.layout import Layout
from provision.serve.releases import parse_release
from provision.serve.structured import connectors, mapping, structure
from provision.serve.verdicts import Declared

_POOLS = frozenset({"AscendStoreConnector", "MooncakeConnectorStoreV1"})
"""Connectors that keep the KV cache in a pool [vllm-ascend KV pool guide]."""


def asked(layout: Layout, rows: Table) -> Declared:
    """The layout as the table of compatibility is asked of it. Hardware without images of vllm-ascend is asked of
    nothing."""
    if layout.accelerator.image_suffixes is None:
        return Declared(layout.accelerator.name)
    release = layout.release.name if layout.release else ""
    if not release and "main" in (layout.image.tag.partition("-")[0], _built(layout)):
        release = "main"
    model = layout.profile.name if layout.profile else ""
    return Declared(layout.accelerator.name, release, features(layout, rows), model)


def _built(layout: Layout) -> str:
    """The release that is built from source, as the inventory says it."""
    install = layout.head.install
    return (install.source.release or "") if install.method == "source" else ""


def features(layout: Layout, rows: Table) -> tuple[str, ...]:
    """Names of the features that a server uses, asked for or by default."""
    places = _places(layout)
    return tuple(name for name, uses in _USES.items() if any(uses(*place, rows) for place in places))


def _places(layout: Layout) -> Sequence[tuple[Layout, int]]:
    """The head; where hosts have roles, the first of each, as a layout of that role."""
    if layout.topology != "prefill-decode":
        return [(layout, 0)]
    by_role = {settings.serve.role: index for index, settings in reversed([*enumerate(layout.settings)])}
    return [(replace(layout, role=role or ""), index) for role, index in by_role.items()]


def _full_and_piecewise(layout: Layout, index: int, rows: Table) -> bool:
    """Asked for, or the default of the release where no mode is named [vllm-ascend graph mode guide]."""
    by_role = kv.role_arguments(layout, index) if layout.role else {}
    arguments = {**by_role, **engine_arguments(layout, index)}
    if arguments.get("enforce-eager") is True or not layout.accelerator.default_devices:
        return False
    mode = {**mapping(arguments.get("compilation-config")), **structure(layout, index, "compilation-config")}.get(
        "cudagraph_mode"
    )
    if mode is not None:
        return str(mode).upper() == "FULL_AND_PIECEWISE"
    since = parse_release(rows.features["full-and-piecewise"].default_since)
    return bool(since and layout.release and layout.release >= since)


def _kv_pool(layout: Layout, index: int, rows: Table) -> bool:
    given = any(connector.get("kv_connector") in _POOLS for connector in connectors(layout, index))
    return given or layout.head.serve.kv_pool is not None


def _fabric_memory(layout: Layout, index: int, rows: Table) -> bool:
    defaults = kv.environment(layout, index) if layout.role else {}
    env = environment(layout, index, defaults=defaults)[0]
    return env.get("ASCEND_ENABLE_USE_FABRIC_MEM", "0") not in ("", "0", "False", "false")


_USES: Mapping[str, Callable[[Layout, int, Table], bool]] = {
    "full-and-piecewise": _full_and_piecewise,
    "kv-pool": _kv_pool,
    "fabric-memory": _fabric_memory,
}
