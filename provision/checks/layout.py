"""The layout can work: rules that are known before a node is touched.

Every rule of the domain's list S01 to S20 that the requested topology, sizes, devices, ports, arguments or image break,
with its own code, its reason and its source. Rules are in ``provision/serve/rules``.
"""

from __future__ import annotations

from collections.abc import Iterable

from provision.accel.protocol import accelerator
from provision.checks.base import Finding
from provision.errors import ConfigError
from provision.inventory.model import Host, Inventory
from provision.serve.lint import lint
from provision.serve.plan import Site, Violation

CODE = "S00"
LEVEL = "fail"
SCOPE = "static"


def run(inventory: Inventory) -> Iterable[Finding]:
    for violation in _violations(inventory):
        yield Finding(
            violation.reason,
            violation.remedy,
            code=violation.code,
            level=violation.severity,
            source=violation.source,
        )


def _violations(inventory: Inventory) -> tuple[Violation, ...]:
    try:
        return lint([(site_of(host), host.settings) for host in inventory.hosts])
    except ConfigError as unknown:
        key = unknown.message.partition(":")[0]  # model.profile or serve.scenario
        unknown.where = inventory.where(inventory.hosts[0].name, tuple(key.split(".")))
        raise


def site_of(host: Host) -> Site:
    """A host as it is declared; rules look at numbers, so the name that ssh uses will do for an address."""
    settings = host.settings
    devices = accelerator(settings.hardware).default_devices if settings.devices is None else settings.devices
    address = settings.data_address or host.connection.host or host.name
    return Site(host.name, host.index, address, settings.data_interface or "", devices)
