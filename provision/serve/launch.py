"""The launch of a cluster, from what was declared and what was observed: plan, scripts and secrets in one value.

``declared`` needs no node; ``observed`` uses the addresses and devices that were found. Where an inventory names the
data addresses, both give the same scripts to the byte.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from provision.accel.protocol import accelerator
from provision.errors import ConfigError, RemoteError, UsageError
from provision.facts.base import Fact
from provision.facts.davinci import Davinci
from provision.facts.docker import Containers, Image
from provision.facts.launch_folder import StaleSecrets
from provision.facts.model import ModelFolder
from provision.facts.network import Network
from provision.inventory.model import Connection, Host, Inventory, Settings
from provision.node import Cluster, Node
from provision.serve.build import build_plan, endpoint
from provision.serve.layout import ROUTED, SPANNING
from provision.serve.plan import LaunchPlan, Site
from provision.serve.render import Script, render_scripts
from provision.serve.shape import ModelShape, folder_shape
from provision.shell import quote

KEPT_LINES = 20_000
"""Lines of each process that are kept as evidence."""


@dataclass(frozen=True, slots=True)
class Launch:
    """``scripts`` in the plan's order. ``secrets`` are variables for the 0600 file that a script may read."""

    plan: LaunchPlan
    scripts: tuple[Script, ...]
    secrets: Mapping[str, str] = field(default_factory=dict)

    def scripts_of(self, node: str) -> list[Script]:
        """The scripts of the processes on a node."""
        return [script for script in self.scripts if script.node == node]

    def secrets_for(self, process: str) -> Mapping[str, str]:
        """What the file of a process holds: a server's all, a router's the key alone."""
        if self.plan.process(process).kind == "server":
            return self.secrets
        return {name: value for name, value in self.secrets.items() if name == "VLLM_API_KEY"}

    @property
    def token(self) -> str:
        """The key that clients must send, or empty."""
        return self.secrets.get("VLLM_API_KEY", "")


def declared(inventory: Inventory) -> Launch:
    """The launch by the inventory alone. Raises ``ConfigError`` where an address can only be found on the node."""
    alone = len(inventory.hosts) == 1
    return _launch([(_declared_site(host, alone=alone), host.settings) for host in inventory.hosts])


def observed(cluster: Cluster) -> Launch:
    """The launch on these nodes as they are, for the model as it lies there.

    Where they are a part of the cluster, and its servers know nothing of each other, it is the part of the whole launch
    that is theirs: names, ports and the router's list are those of all. Raises ``ConfigError`` where the address of a
    host out of sight can only be found on it.
    """
    if is_part(cluster) and stands_alone(cluster.settings):
        return _part(_launch(_sites(cluster.hosts, cluster), _observed_shape(cluster)), cluster)
    return _launch([(observed_site(node), node.settings) for node in cluster.nodes], _observed_shape(cluster))


def is_part(cluster: Cluster) -> bool:
    """Whether some of the inventory's hosts are not among the nodes."""
    return bool({host.name for host in cluster.hosts} - {node.name for node in cluster.nodes})


def stands_alone(settings: Settings) -> bool:
    """Whether each node's servers are of use without those of the others."""
    return settings.serve.topology == "replicas"


def _part(whole: Launch, cluster: Cluster) -> Launch:
    """What of a launch is on these nodes. Where its entry point is elsewhere, the first server takes its place."""
    names = {node.name for node in cluster.nodes}
    plan = whole.plan
    processes = tuple(process for process in plan.processes if process.node in names)
    kept = {process.name for process in processes}
    waves = (replace(wave, processes=tuple(n for n in wave.processes if n in kept)) for wave in plan.waves)
    groups = tuple(group for group in plan.groups if kept.issuperset(group.processes))
    serving = [process.name for process in processes if process.serves]
    if not serving:
        raise ConfigError(f"no server of the cluster is on {', '.join(sorted(names))}", hint="widen --limit")
    head = plan.head if plan.head in kept else serving[0]
    part = replace(
        plan,
        processes=processes,
        waves=tuple(wave for wave in waves if wave.processes),
        groups=groups,
        head=head,
        endpoint=plan.endpoint if head == plan.head else endpoint(cluster.settings, plan.process(head)),
        engines=sum(group.engines for group in groups),
    )
    return replace(whole, plan=part, scripts=tuple(script for script in whole.scripts if script.node in names))


def partly_observed(inventory: Inventory, cluster: Cluster) -> Launch:
    """The launch on all hosts where only some of them are in sight: the others are taken as declared.

    Raises ``ConfigError`` where the address of one out of sight can only be found on the node.
    """
    return _launch(_sites(inventory.hosts, cluster), _observed_shape(cluster))


def _sites(hosts: Sequence[Host], cluster: Cluster) -> list[tuple[Site, Settings]]:
    seen = {node.name: (observed_site(node), node.settings) for node in cluster.nodes}
    alone = len(hosts) == 1
    return [seen.get(h.name) or (_declared_site(h, alone=alone), h.settings) for h in hosts]


def facts(settings: Settings) -> list[Fact[object]]:
    """What ``observed`` looks at."""
    always: list[Fact[object]] = [Network(), ModelFolder(settings.model.folder)]
    return always if settings.hardware == "cpu" else [*always, Davinci()]


def compared(settings: Settings) -> list[Fact[object]]:
    """What more must be known to tell whether what runs is what is declared."""
    images = dict.fromkeys(ref for ref in (settings.install.ref, router_image(settings)) if ref)
    always: list[Fact[object]] = [Containers(settings.cluster), *map(Image, images)]
    return [*always, stale_secrets(settings)] if settings.serve.api_key or settings.serve.secret_env else always


def router_image(settings: Settings) -> str:
    """The image of a router that has another one than the servers; empty where there is none."""
    serve = settings.serve
    own = serve.router.image if serve.topology in ROUTED and serve.router.kind != "none" else None
    return own if own and own != settings.install.ref else ""


def routes(node: Node) -> bool:
    """Whether the node is the one that runs the router where there is one: the one named, else the first."""
    named = node.settings.serve.router.node
    return node.name == named if named else node.index == 0


def stale_secrets(settings: Settings) -> StaleSecrets:
    """Which processes run with other secrets than those in their files."""
    return StaleSecrets(settings.cluster, script_folder(settings))


def _observed_shape(cluster: Cluster) -> ModelShape | None:
    """The model as the first of these nodes holds it."""
    head = cluster.nodes[0]
    weights = head.get(ModelFolder(head.settings.model.folder))
    return folder_shape(weights)


def observed_site(node: Node) -> Site:
    """A node's address among the ranks and its devices, declared or found."""
    settings = node.settings
    devices = settings.devices
    if devices is None:
        devices = () if settings.hardware == "cpu" else node.get(Davinci()).devices
    return Site(node.name, node.index, address_of(node), settings.data_interface or "", tuple(devices))


def address_of(node: Node) -> str:
    """A node's address among the others, declared or found."""
    return node.settings.data_address or _found_address(node)


def _found_address(node: Node) -> str:
    """The address we reached the node at, where it is its own; else the one of its default route."""
    network = node.get(Network())
    reached = network.ssh_server_address
    if reached and network.interface_of(reached):
        return reached
    interface = network.interface(network.default_interface or "")
    if interface and interface.addresses:
        return interface.addresses[0].ip
    hint = "set qnext.data_address for this host"
    raise RemoteError("no address for the ranks was found on the node", node=node.name, hint=hint)


def _declared_site(host: Host, *, alone: bool) -> Site:
    """A single host needs no address: nobody else talks to it."""
    settings = host.settings
    devices = settings.devices
    if devices is None:
        devices = accelerator(settings.hardware).default_devices
    address = settings.data_address or _literal_address(host.connection)
    if not address and not alone:
        raise ConfigError(
            f"{host.name}: the address of its ranks is not known without asking the node",
            hint="set qnext.data_address (or an address as ansible_host)",
        )
    return Site(host.name, host.index, address, settings.data_interface or "", tuple(devices))


def _literal_address(connection: Connection) -> str:
    try:
        return str(ipaddress.ip_address(connection.host))
    except ValueError:
        return ""


def _launch(sites: list[tuple[Site, Settings]], shape: ModelShape | None = None) -> Launch:
    plan, scripts = _planned(sites, shape)
    return Launch(plan, scripts, secrets_of(sites[0][1]))


def secrets_of(settings: Settings) -> dict[str, str]:
    """All variables of the servers that are secret. Raises ``UsageError``, which never shows a value."""
    found: dict[str, str] = {}
    for name, secret in settings.serve.secret_env.items():
        found[name] = secret.reveal()
        if not found[name].isprintable() or found[name] != found[name].strip():
            hint = f"{secret!r} must give one line of text, without spaces at its ends"
            raise UsageError(f"qnext.serve.secret_env.{name} can't stand on a line of a file", hint=hint)
    key = api_key(settings)
    return {**found, "VLLM_API_KEY": key} if key else found


def api_key(settings: Settings) -> str:
    """The key that clients must send; empty where none is asked for. Raises ``UsageError``, which never shows it.

    It travels in an HTTP header and stands on a line of a file, so it is one line of ASCII.
    """
    secret = settings.serve.api_key
    key = secret.reveal() if secret else ""
    if secret and not re.fullmatch(r"[!-~]([ -~]*[!-~])?", key):
        found = "has other characters than an HTTP header can carry" if key else "is empty"
        hint = f"{secret!r} must give one line of printable ASCII, without spaces at its ends"
        raise UsageError(f"qnext.serve.api_key {found}", hint=hint)
    return key


_Planned = tuple[LaunchPlan, tuple[Script, ...]]
_latest: list[tuple[object, _Planned]] = []
"""The last launch with what it was made from. Six modules of ``up`` ask for the same one, and rendering the scripts of
64 nodes takes 0.1 s of CPU. Settings cannot be hashed, but are compared at once: they are the same objects."""


def _planned(sites: list[tuple[Site, Settings]], shape: ModelShape | None) -> _Planned:
    for given, planned in _latest:
        if given == (sites, shape):
            return planned
    plan = build_plan(sites, shape=shape)
    planned = plan, render_scripts(plan, {site.node: settings for site, settings in sites})
    _latest[:] = [((sites, shape), planned)]
    return planned


# ---- on the node


def folder(settings: Settings) -> str:
    """The cluster's folder on a node."""
    return f"{settings.state_dir}/{settings.cluster}"


def script_folder(settings: Settings) -> str:
    """Where a node keeps its launch scripts."""
    return f"{folder(settings)}/launch"


def script_path(settings: Settings, process: str) -> str:
    """Where a process's launch script is on its node."""
    return f"{script_folder(settings)}/{process}.sh"


def ports_on(node: Node) -> dict[str, int]:
    """TCP ports by purpose that this cluster's processes may take on a node, whatever its layout says of the others.

    Where a router stands before several servers, those of a node have the ports from ``server_port`` on, as many as
    its devices hold."""
    settings, serve = node.settings, node.settings.serve
    ports = {"API": serve.port}
    inner = serve.group_topology if serve.topology == "prefill-decode" else serve.topology
    if inner in SPANNING - {"ray"}:
        ports["rendezvous"] = serve.master_port
    if inner in ("data-parallel", "hybrid-dp", "external-dp"):
        ports["data-parallel handshake"] = serve.data_parallel_rpc_port
    if serve.topology == "ray":
        ports["Ray"] = serve.ray_port
    if serve.topology in ROUTED:
        first = serve.port if serve.router.kind == "none" else serve.server_port
        ports |= {f"server {number}": first + number for number in range(_local_servers(settings))}
    return ports


def _local_servers(settings: Settings) -> int:
    """The most servers with an API that a node of this layout has."""
    serve = settings.serve
    if serve.topology == "replicas" and serve.replicas_per_node:
        return serve.replicas_per_node
    inner = serve.group_topology if serve.topology == "prefill-decode" else serve.topology
    if inner not in ("replicas", "external-dp"):
        return 1
    held = len(settings.devices or accelerator(settings.hardware).default_devices)
    size = serve.tensor_parallel_size * serve.pipeline_parallel_size
    return max(1, held // size) if held else (1 if inner == "replicas" else serve.data_parallel_size)


def read_logs(node: Node) -> dict[str, str]:
    """The end of each of our containers' logs by process name, running or ended."""
    label = quote(f"label=qnext.cluster={node.settings.cluster}")
    marker = "==> qnext process "
    script = f"""\
docker ps -a --filter {label} --format '{{{{.ID}}}} {{{{.Label "qnext.process"}}}}' | while read -r id process; do
  printf '%s%s\\n' {quote(marker)} "$process"
  docker logs --tail {KEPT_LINES} "$id" 2>&1
  echo
done
"""
    result = node.read(script, deadline=60.0, label="read logs")
    logs: dict[str, str] = {}
    for part in result.stdout.split(marker)[1:]:
        process, _, text = part.partition("\n")
        logs[process] = text
    return logs
