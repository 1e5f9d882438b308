"""Makes an inventory of a recipe: what is the same everywhere once, what differs by role or host where it differs.

What is written is checked by making from it the very arguments that will run: a ``kv-transfer-config`` that would come
out otherwise than the recipe has it is written out whole.
"""

from __future__ import annotations

import ipaddress
import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from provision.accel.protocol import accelerator
from provision.errors import ConfigError, UsageError
from provision.inventory.model import Hardware, Settings
from provision.serve import kv
from provision.serve.importing.arguments import Arguments, Divider
from provision.serve.importing.command import json_mapping
from provision.serve.importing.recipe import RPC_PORT, Group, Notes, Recipe, Server, counted, groups_of
from provision.serve.importing.secret import TOKEN_OPTION, TOKEN_VARIABLE, secret_names
from provision.serve.importing.yaml_text import Block, Comment, Flow, document
from provision.serve.layout import ROUTED, layout_of
from provision.serve.plan import Site
from provision.serve.topologies import prefill_decode

IMAGE = "quay.io/ascend/vllm-ascend"
RELEASE = "v0.23.0"
"""The image where a recipe names none: the newest release that the compatibility table knows."""

_KV = "kv-transfer-config"
_API_KEY = "VLLM_API_KEY"
_VISIBLE = "ASCEND_RT_VISIBLE_DEVICES"
_INTERFACES = ("HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+\Z")
_CLIENT_PORT = 8000
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\Z")

Path = tuple[str, ...]
Settled = dict[Path, object]


@dataclass(frozen=True, slots=True)
class Target:
    """Where it is to run. ``hosts`` are names or addresses, by node; empty: names are made up. ``source`` is what the
    recipe was read from, for the comments."""

    source: str
    hosts: tuple[str, ...] = ()
    hardware: Hardware | None = None
    image: str = ""
    cluster: str = ""


@dataclass(slots=True)
class _Node:
    """One host: its name, address, server, and what ``qnext`` says of it."""

    name: str
    address: str
    server: Server
    group: Group
    settled: Settled = field(default_factory=dict)


def inventory_of(recipe: Recipe, target: Target, notes: Notes) -> str:
    """The text of an inventory. Raises ``ConfigError`` where the recipe can't work, ``UsageError`` for hosts that
    don't fit it."""
    return _Composer(recipe, target, notes).text()


class _Composer:
    def __init__(self, recipe: Recipe, target: Target, notes: Notes) -> None:
        self._recipe, self._target, self._notes = recipe, target, notes
        self._groups = groups_of(recipe)
        self._topology, self._inner = _topology(recipe, self._groups)
        self._hardware = target.hardware or _hardware(recipe, target, notes)
        self._addresses = _addresses(recipe, target)
        self._nodes = [self._node(server, group) for group in self._groups for server in group.servers]
        self._nodes.sort(key=self._order)
        self._secret = _secret_variables(recipe)

    def _order(self, node: _Node) -> tuple[int, int]:
        """Inventory order: that of the recipe where it can be, else each group's head before its others."""
        if all(group.servers == _by_index(group.servers) for group in self._groups):
            return (0, node.server.index)
        return (self._groups.index(node.group), node.group.servers.index(node.server))

    def _node(self, server: Server, group: Group) -> _Node:
        given = self._target.hosts[server.index] if self._target.hosts else ""
        name = given if given and not _is_address(given) else f"node{server.index}"
        return _Node(name, self._addresses[server.index], server, group)

    def text(self) -> str:
        everywhere = self._everywhere()
        for node in self._nodes:
            node.settled = self._settled(node)
        self._write_out_kv(everywhere)
        common, by_role, by_host = _lifted(self._nodes)
        block = self._block({**everywhere, **common}, by_role, by_host)
        return document(block, head=self._head())

    # ---- what is the same for all

    def _everywhere(self) -> Settled:
        container = self._nodes[0].server.container
        privileged = container.privileged or any(_VISIBLE in node.server.env for node in self._nodes)
        if any(node.server.container.image != container.image for node in self._nodes):
            self._notes.warn(f"the nodes name several images: all get that of the first, {container.image}")
        made: Settled = {
            ("cluster",): self._target.cluster or _slug(self._recipe.title, self._target.source),
            ("hardware",): self._hardware,
            ("install", "image"): self._target.image or container.image or self._default_image(),
        }
        if container.shm_size:
            made["install", "shm_size"] = container.shm_size
        if privileged:
            made["install", "privileged"] = True
        made |= self._model()
        made["serve", "topology"] = self._topology
        if self._inner and self._inner != "data-parallel" and len({g.topology for g in self._groups}) == 1:
            made["serve", "group_topology"] = self._inner
        made |= self._entry()
        first = next(node for node in self._nodes if node.server.index == 0)
        if self._topology in ROUTED and first is not self._nodes[0]:
            made["serve", "router", "node"] = first.name
            self._notes.note("the hosts are in the order of the ranks, not of the recipe's nodes")
        if any(node.server.command.has("api-key") or _API_KEY in node.server.env for node in self._nodes):
            made["serve", "api_key"] = {"env": _API_KEY}
            self._notes.warn(f"the API key was left out: export it as {_API_KEY} before up")
        made |= self._secrets()
        made["serve", "as_given"] = True
        return made | self._pool()

    def _secrets(self) -> Settled:
        """The same on all nodes: what is secret on one of them is given to all."""
        if any(node.server.command.has(TOKEN_OPTION) for node in self._nodes):
            self._notes.warn(f"--{TOKEN_OPTION} was left out: {TOKEN_VARIABLE} in the environment says the same")
        for name in self._secret:
            self._notes.warn(f"the value of {name} was left out: export it before up")
        return {("serve", "secret_env", name): {"env": name} for name in self._secret}

    def _default_image(self) -> str:
        suffix = "-a3" if self._hardware == "atlas-800-a3" else ""
        image = f"{IMAGE}:{RELEASE}{suffix}"
        self._notes.warn(f"the recipe names no image: {image} is assumed; --image gives another")
        return image

    def _model(self) -> Settled:
        commands = [node.server.command for node in self._nodes]
        models = list(dict.fromkeys(command.model for command in commands))
        if len(models) > 1:
            raise ConfigError(
                f"the nodes serve several models: {', '.join(models)}",
                where=next(c.where for c in commands if c.model != models[0]),
                hint="one inventory describes one cluster, which serves one model",
            )
        path = _on_host(models[0], self._nodes[0].server.container.mounts, self._notes)
        if not path.startswith("/") and not _REPOSITORY.match(path):
            raise ConfigError(
                f"model {path!r} is neither an absolute path nor the name of a repository",
                where=commands[0].where,
                hint="set the variable before the command" if "$" in path else "write the folder's full path",
            )
        made: Settled = {("model", "path"): path}
        if not path.startswith("/"):
            wanted = str(self._nodes[0].server.env.get("VLLM_USE_MODELSCOPE", "")).lower()
            if wanted in ("true", "1"):
                made["model", "hub"] = "modelscope"
            cache = self._nodes[0].server.container.mounts.get("/root/.cache", "/root/.cache")
            if cache != "/root/.cache":
                made["model", "cache"] = cache
        made |= self._served_name(commands[0].option("served-model-name"))
        return made

    def _served_name(self, option: object) -> Settled:
        values = getattr(option, "values", ())
        if len(values) > 1:
            self._notes.warn(f"of the served names {', '.join(values)} only the first is kept")
        names = {node.server.command.text("served-model-name") for node in self._nodes if not node.server.headless}
        if len(names) > 1:
            self._notes.warn(f"the servers have several names: {', '.join(sorted(map(str, names)))}; the first is kept")
        return {("model", "served_name"): values[0]} if values else {}

    def _entry(self) -> Settled:
        """The port, and the address, of the entry point."""
        made: Settled = {}
        hosts = {node.server.command.text("host") for node in self._nodes if not node.server.headless}
        host = next(iter(hosts)) if len(hosts) == 1 else None
        if host and host != "0.0.0.0" and _is_address(host) and len(self._nodes) == 1:
            made["serve", "host"] = host
        elif hosts - {None, "0.0.0.0"}:
            self._notes.warn(f"--host {', '.join(sorted(filter(None, hosts)))}: here the API listens on 0.0.0.0")
        if self._topology not in ROUTED:
            made["serve", "port"] = self._nodes[0].server.command.number("port") or _CLIENT_PORT
            return made
        taken = {self._server_port(node) for node in self._nodes}
        port = self._recipe.entry_port or (_CLIENT_PORT if _CLIENT_PORT not in taken else 8080)
        made["serve", "port"] = port
        return made

    def _pool(self) -> Settled:
        pool = self._recipe.pool
        if pool is None:
            return {}
        made: Settled = {("serve", "kv_pool", "kind"): pool.kind}
        if pool.master_port:
            made["serve", "kv_pool", "master_port"] = pool.master_port
        if pool.metrics_port:
            made["serve", "kv_pool", "metrics_port"] = pool.metrics_port
        if pool.config:
            made["serve", "kv_pool", "config"] = dict(pool.config)
        return made

    # ---- what is said of each host

    def _settled(self, node: _Node) -> Settled:
        server, group = node.server, node.group
        made: Settled = {}
        if group.role:
            made["serve", "role"] = group.role
            if group.name:
                made["serve", "group"] = group.name
            if len({each.topology for each in self._groups}) > 1 and group.topology != "data-parallel":
                made["serve", "group_topology"] = group.topology
        if self._topology in ROUTED:
            made["serve", "server_port"] = self._server_port(node)
        made |= self._sizes(group)
        devices = self._devices(server)
        if devices:
            made[("devices",)] = list(devices)
        if interface := _interface(server.env):
            made[("data_interface",)] = interface
        arguments = self._arguments(node)
        for name, value in (
            ("expert_parallel", arguments.expert_parallel),
            ("max_model_len", arguments.max_model_len),
            ("gpu_memory_utilization", arguments.gpu_memory_utilization),
        ):
            if value is not None:
                made["serve", name] = value
        made |= self._kv_transfer(node)
        self._draft_model(arguments)
        made |= {("serve", "engine_args", name): value for name, value in arguments.engine_args.items()}
        made |= {("serve", "env", name): _typed(value) for name, value in self._env(node).items()}
        made["serve", "argument_order"] = arguments.order
        return made

    def _sizes(self, group: Group) -> Settled:
        made: Settled = {("serve", "tensor_parallel_size"): group.tensor_parallel}
        if group.pipeline_parallel > 1:
            made["serve", "pipeline_parallel_size"] = group.pipeline_parallel
        if group.data_parallel > 1 or group.topology in ("data-parallel", "external-dp", "hybrid-dp"):
            made["serve", "data_parallel_size"] = group.data_parallel
        named = group.head.ranks or group.head.command.has("data-parallel-rpc-port")
        if named or (len(group.servers) > 1 and group.topology in ("data-parallel", "hybrid-dp")):
            made["serve", "data_parallel_rpc_port"] = group.rpc_port
            if not named:
                self._notes.note(
                    f"no --data-parallel-rpc-port: vLLM's own default, {RPC_PORT}", group.head.command.where
                )
        if group.topology in ("tensor-parallel", "pipeline-parallel"):
            port = group.head.command.number("master-port")
            made |= {("serve", "master_port"): port} if port else {}
        return made

    def _server_port(self, node: _Node) -> int:
        if node.server.ranks:
            return node.server.ranks.port
        return node.group.head.command.number("port") or _CLIENT_PORT

    def _devices(self, server: Server) -> tuple[int, ...]:
        given = server.env.get(_VISIBLE, "")
        visible = tuple(int(each) for each in given.split(",")) if re.fullmatch(r"\d+(,\d+)*", given) else ()
        return visible or server.container.devices

    def _arguments(self, node: _Node) -> Arguments:
        divider = Divider(
            topology=self._topology,
            headless=node.server.headless,
            placed=lambda text: self._placed(text, node),
            notes=self._notes,
            taken=frozenset({_KV}) if node.group.role else frozenset(),
        )
        return divider.divide(node.server.command)

    def _draft_model(self, arguments: Arguments) -> None:
        config = arguments.engine_args.get("speculative-config")
        draft = config.get("model") if isinstance(config, dict) else None
        if isinstance(draft, str):
            self._notes.warn(f"the draft model {draft} has weights of its own: they must be on every node too")

    def _env(self, node: _Node) -> dict[str, str]:
        """The environment, without what is computed for each node and without secrets."""
        kept = dict(node.server.env)
        hardware = accelerator(self._hardware)
        names = {*hardware.fixed_environment(), *hardware.address_environment(""), *hardware.interface_variables}
        for name in sorted(names & kept.keys()):
            self._notes.note(f"{name} is left out: it is computed for each node", node.server.where)
            del kept[name]
        kept.pop(_VISIBLE, None)
        for name in kept.keys() & {*self._secret, _API_KEY}:
            del kept[name]
        return {name: self._placed(value, node) for name, value in kept.items()}

    def _placed(self, text: str, node: _Node) -> str:
        """Addresses that upstream's harness would fill, as what is filled here."""

        def address(found: re.Match[str]) -> str:
            index = self._recipe.node_at(found[0], node.server)
            if index == node.server.index:
                return "${QNEXT_ADDRESS}"
            if index == node.group.head.index:
                return "${QNEXT_HEAD_ADDRESS}"
            known = self._addresses[index] if index is not None and index < len(self._addresses) else ""
            if not known:
                self._notes.warn(f"{found[0]} stays as it is: put the address of node {index} there")
            return known or found[0]

        return re.sub(r"\$\{?(?:LOCAL_IP|MASTER_IP|NODE_\d+_IP)\b\}?", address, text)

    # ---- how caches are handed on

    def _kv_transfer(self, node: _Node) -> Settled:
        if not node.group.role:
            return {}
        text = node.server.command.text(_KV)
        config = json_mapping(self._placed(text, node)) if text else None
        if config is None:
            self._notes.warn(
                "no kv-transfer-config: one is computed" if text is None else "kv-transfer-config is no JSON object",
                node.server.where,
            )
            return {}
        return dict(_kv_settled(config))

    def _write_out_kv(self, everywhere: Settled) -> None:
        """Write the whole ``kv-transfer-config`` of those whose computed one would be another."""
        if self._topology != "prefill-decode":
            return
        sites = [
            (Site(node.name, index, node.address or f"192.0.2.{index + 1}", "", ()), _validated(everywhere, node))
            for index, node in enumerate(self._nodes)
        ]
        groups = prefill_decode.groups(layout_of(sites))
        by_name = {node.name: node for node in self._nodes}
        for group in groups:
            for index, site in enumerate(group.sites):
                node = by_name[site.node]
                text = node.server.command.text(_KV)
                written = json_mapping(self._placed(text, node)) if text else None
                made = kv.transfer_config(groups, group, index, site.node)
                if text is not None and written != made:
                    node.settled["serve", "engine_args", _KV] = written if written is not None else text
                    self._notes.warn(
                        f"kv-transfer-config of node {node.server.index} is kept as it stands: computed for this "
                        f"layout it would be {json.dumps(made)}",
                        node.server.command.where,
                    )

    # ---- the file

    def _block(self, common: Settled, by_role: Mapping[str, Settled], by_host: Mapping[str, Settled]) -> Block:
        hosts: dict[str | Comment, object] = {}
        if not any(node.address for node in self._nodes) and len(self._nodes) > 1:
            hosts[Comment(self._address_hint())] = None
        for node in self._nodes:
            hosts[node.name] = self._host(node, by_host[node.name])
        top: dict[str | Comment, object] = {"vars": {"qnext": _nested(common)}, "hosts": hosts}
        roles = {
            role: {
                "vars": {"qnext": _nested(settled)},
                "hosts": {node.name: None for node in self._nodes if node.group.role == role},
            }
            for role, settled in by_role.items()
        }
        if roles:
            top["children"] = roles
        return {"all": top}

    def _address_hint(self) -> str:
        """What to do before ranks can find each other."""
        first = self._nodes[0].name
        if self._target.hosts:
            return (
                "The address that ranks use is found on each node; to say it, and to render offline, give each host\n"
                f"{first}: {{qnext: {{data_address: 192.0.2.1}}}}"
            )
        return (
            "Give each host its address: ansible_host, and where ranks use another one, qnext.data_address, e.g.\n"
            f"{first}: {{ansible_host: 192.0.2.1}}"
        )

    def _host(self, node: _Node, settled: Settled) -> Block | None:
        made: dict[str | Comment, object] = {}
        if node.address:
            made["ansible_host"] = node.address
            settled = {("data_address",): node.address, **settled}
        if settled:
            made["qnext"] = _nested(settled)
        return made or None

    def _head(self) -> list[str]:
        sizes = [_described(group) for group in self._groups]
        lines = [
            f"Imported by qnext-provision import from {self._target.source}.",
            *_wrapped(f"{self._recipe.title}: {self._topology}: {'; '.join(sizes)}."),
            "",
            "as_given: exactly this environment and these arguments run, in the order of argument_order; ranks,",
            "addresses, devices and ports are computed. Next: qnext-provision lint, then qnext-provision render.",
        ]
        if self._notes.found:
            lines += ["", "Of the import:"]
            lines += [line for note in self._notes.found for line in _wrapped(str(note), "- ")]
        if self._recipe.left:
            lines += ["", *self._recipe.left]
        return lines


def _secret_variables(recipe: Recipe) -> tuple[str, ...]:
    """The variables of all servers that are secret, without the API key."""
    names = [name for server in recipe.servers for name in secret_names(server.env)]
    names += [TOKEN_VARIABLE for server in recipe.servers if server.command.has(TOKEN_OPTION)]
    return tuple(name for name in dict.fromkeys(names) if name != _API_KEY)


def _by_index(servers: Sequence[Server]) -> tuple[Server, ...]:
    return tuple(sorted(servers, key=lambda server: server.index))


def _topology(recipe: Recipe, groups: Sequence[Group]) -> tuple[str, str]:
    """The topology of the whole, and that of its groups where it has several."""
    if recipe.disaggregated:
        wrong = next((g for g in groups if g.topology in ("hybrid-dp", "ray")), None)
        if wrong:
            raise ConfigError(
                f"{wrong.topology} inside prefill-decode cannot be imported",
                where=wrong.head.where,
                hint="make every node but the group's head --headless",
            )
        return "prefill-decode", groups[0].topology
    if len(groups) == 1:
        return groups[0].topology, ""
    alone = all(len(group.servers) == 1 for group in groups)
    sizes = {(g.tensor_parallel, g.pipeline_parallel, g.data_parallel) for g in groups}
    if alone and len(sizes) == 1:
        return "replicas", ""
    raise ConfigError(
        f"{len(groups)} servers with an API that form no one cluster: {'; '.join(map(_described, groups))}",
        where=groups[1].head.where,
        hint="import each into an inventory of its own",
    )


def _hardware(recipe: Recipe, target: Target, notes: Notes) -> Hardware:
    """By the name where it says so, else by the devices of a node."""
    container = recipe.servers[0].container
    suffix = re.search(r"-(a3)\b", container.image)
    named = re.findall(r"(?<![A-Za-z0-9])[aA]([23])(?![A-Za-z0-9])", f"{recipe.title} {target.source}")
    devices = max([recipe.npu_per_node or 0, *(max(s.container.devices, default=-1) + 1 for s in recipe.servers)])
    found: Hardware
    if container.image and "ascend" in container.image:
        found, why = ("atlas-800-a3" if suffix else "atlas-800-a2"), "by its image"
    elif named:
        found, why = ("atlas-800-a3" if named[-1] == "3" else "atlas-800-a2"), "by its name"
    elif devices:
        found, why = ("atlas-800-a3" if devices > 8 else "atlas-800-a2"), f"by its {devices} NPUs a node"
    else:
        found, why = "atlas-800-a3", "as nothing says otherwise"
    if re.search(r"(?i)(?<![a-z0-9])(310p|950|560t)", f"{recipe.title} {target.source} {container.image}"):
        notes.warn(f"its name says that it is for other hardware than {found}: see --hardware")
    notes.note(f"taken for {found} {why}; --hardware says otherwise")
    room = len(accelerator(found).default_devices)
    if recipe.npu_per_node and recipe.npu_per_node > room:
        notes.warn(f"npu_per_node is {recipe.npu_per_node}, but {found} has {room}: is it right?")
    return found


def _addresses(recipe: Recipe, target: Target) -> tuple[str, ...]:
    """The address of each node where it is known; else empty."""
    count = len(recipe.servers)
    for host in target.hosts:
        if not _is_address(host) and not _HOST.match(host):
            raise UsageError(f"--hosts: {host!r} is neither a name nor an address", hint="--hosts 10.0.0.1,10.0.0.2")
    if target.hosts and len(target.hosts) != count:
        raise UsageError(
            f"--hosts names {counted(len(target.hosts), 'host')}, but the recipe has {counted(count, 'node')}",
            hint="name one host for each node, in the recipe's order",
        )
    if len(set(target.hosts)) < len(target.hosts):
        raise UsageError("--hosts names a host twice", hint="each node is a host of its own")
    if target.hosts:
        return tuple(host if _is_address(host) else "" for host in target.hosts)
    return recipe.addresses or ("",) * count


def _interface(env: Mapping[str, str]) -> str:
    """The network interface that a recipe names; empty where it names none, or a placeholder."""
    names = {env[name].lstrip("=") for name in _INTERFACES if env.get(name)}
    name = next(iter(names)) if len(names) == 1 else ""
    return name if re.fullmatch(r"(?!x+\Z)[a-z][a-z0-9._-]{1,14}", name) else ""


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _slug(*texts: str) -> str:
    for text in texts:
        words = text.lower().rpartition("/")[2].removeprefix("test ")
        name = re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:40].strip("-")
        if name and name != "untitled-test":
            return name
    return "imported"


def _on_host(model: str, mounts: Mapping[str, str], notes: Notes) -> str:
    """The folder on the node that a container's mounts show as ``model``."""
    for inside in sorted(mounts, key=len, reverse=True):
        if model == inside or model.startswith(inside.rstrip("/") + "/"):
            outside = mounts[inside].rstrip("/") + model[len(inside.rstrip("/")) :]
            if outside != model:
                notes.warn(
                    f"the model is {model} in the container, and {outside} on the node: the latter is used for both"
                )
            return outside
    return model


def _kv_settled(config: Mapping[str, object]) -> Iterator[tuple[Path, object]]:
    """A ``kv-transfer-config`` as keys of ``serve.kv_transfer``."""
    base = ("serve", "kv_transfer")
    connector, port = config.get("kv_connector"), str(config.get("kv_port", ""))
    if isinstance(connector, str) and connector:
        yield (*base, "connector"), connector
    if re.fullmatch(r"[1-9][0-9]{0,4}", port) and int(port) < 65536:
        yield (*base, "port"), int(port)
    if isinstance(config.get("engine_id"), str):
        yield (*base, "engine_id"), config["engine_id"]
    known = {"kv_connector", "kv_role", "kv_port", "engine_id", "kv_connector_extra_config"}
    fields = {name: value for name, value in config.items() if name not in known}
    if fields:
        yield (*base, "fields"), fields
    extra = config.get("kv_connector_extra_config")
    if isinstance(extra, dict):
        more = {name: value for name, value in extra.items() if name not in ("prefill", "decode", "connectors")}
        if more:
            yield (*base, "extra"), more


def _typed(text: str) -> object:
    """A variable's value as YAML may have it: what becomes the same text again."""
    if text in ("True", "False"):
        return text == "True"
    return int(text) if re.fullmatch(r"0|[1-9][0-9]{0,17}", text) else text


def _validated(everywhere: Settled, node: _Node) -> Settings:
    def plain(value: object) -> object:
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return value.value if isinstance(value, Flow) else value

    return Settings.model_validate(plain(_nested({**everywhere, **node.settled})))


def _lifted(nodes: Sequence[_Node]) -> tuple[Settled, dict[str, Settled], dict[str, Settled]]:
    """What all say alike, what all of a role say alike, and what is left to each host. A value is in one place only,
    so nothing is merged."""
    common = _shared(nodes)
    roles = list(dict.fromkeys(node.group.role for node in nodes if node.group.role))
    by_role = {
        role: {k: v for k, v in _shared([n for n in nodes if n.group.role == role]).items() if k not in common}
        for role in roles
    }
    by_host = {
        node.name: {
            k: v for k, v in node.settled.items() if k not in common and k not in by_role.get(node.group.role, {})
        }
        for node in nodes
    }
    return common, by_role, by_host


def _shared(nodes: Sequence[_Node]) -> Settled:
    first, *others = nodes
    return {
        path: value
        for path, value in first.settled.items()
        if all(path in node.settled and _same(node.settled[path], value) for node in others)
    }


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and one == other


_ORDER = (
    *("topology", "role", "group", "group_topology", "host", "port", "server_port", "tensor_parallel_size"),
    *("pipeline_parallel_size", "data_parallel_size", "data_parallel_rpc_port", "master_port", "expert_parallel"),
    *(
        "max_model_len",
        "gpu_memory_utilization",
        "api_key",
        "secret_env",
        "as_given",
        "router",
        "kv_transfer",
        "kv_pool",
        "engine_args",
        "env",
    ),
    "argument_order",
)


def _nested(settled: Settled) -> dict[str | Comment, object]:
    """Paths as nested mappings, the keys of ``serve`` in the order in which one reads them."""

    def rank(path: Path) -> int:
        return _ORDER.index(path[1]) if path[0] == "serve" and path[1] in _ORDER else -1

    made: dict[str | Comment, object] = {}
    for path in sorted(settled, key=rank):
        below = made
        for step in path[:-1]:
            inner = below.get(step)
            if not isinstance(inner, dict):
                inner = below[step] = {}
            below = inner
        value = settled[path]
        below[path[-1]] = Flow(value) if isinstance(value, list | dict) else value
    return made


def _described(group: Group) -> str:
    name = group.name or group.role
    nodes = ", ".join(str(server.index) for server in group.servers)
    sizes = f"TP {group.tensor_parallel}" + (f" PP {group.pipeline_parallel}" if group.pipeline_parallel > 1 else "")
    sizes += f" DP {group.data_parallel}" if group.data_parallel > 1 else ""
    where = f"node{'s' * (len(group.servers) > 1)} {nodes}"
    return f"{name} {group.topology} {sizes} on {where}".strip()


def _wrapped(text: str, lead: str = "") -> list[str]:
    """Lines of a comment; words are never cut."""
    return textwrap.wrap(
        text,
        110,
        initial_indent=lead,
        subsequent_indent=" " * len(lead),
        break_long_words=False,
        break_on_hyphens=False,
    )
