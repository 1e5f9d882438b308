"""Compose files, one a node: ``docker compose -f node0.compose.yaml up -d`` starts what the launch scripts would.

A compose file cannot look at its node. What a launch script finds out there is a variable here, with the usual value
where there is one: the interface that owns the node's address, the place of ``npu-smi``, the optional files. Missing
sources are errors (``create_host_path: false``), never empty folders. Waves of one node are ``depends_on``; order over
nodes is up to the operator, and told in the README. [compose-spec/compose-spec, schema/compose-spec.json]
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from provision.accel.protocol import ContainerRecipe, Mount
from provision.inventory.model import Settings
from provision.serve.environment import extends
from provision.serve.export.base import (
    MARK,
    ExportFile,
    asked_at,
    bracketed,
    companions,
    earlier,
    image_of,
    listening,
    nodes,
    refuse_native,
    secret_lines,
)
from provision.serve.export.yamlfile import Value, dump
from provision.serve.launch import Launch
from provision.serve.plan import LaunchPlan, Process
from provision.serve.render import (
    certain_mounts,
    container_name,
    labels,
    order,
    ready,
    recipe_of,
    runtime_environment,
    secrets_path,
    start_command,
    weights_mounts,
)

PROBE_SECONDS = 20
"""How often an API is asked for its health."""

_PYTHON = "import sys, urllib.request as u; u.build_opener(u.ProxyHandler({})).open(sys.argv[1], timeout=9)"
_CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 9)"


def files(launch: Launch, settings: Mapping[str, Settings]) -> tuple[ExportFile, ...]:
    """A compose file a node with its companions beside it, and the README."""
    found: list[ExportFile] = []
    for own in settings.values():
        refuse_native(own, "compose files")
    for node, processes in nodes(launch.plan):
        prefix = f"node{processes[0].node_index}."
        found.append(ExportFile(f"{prefix}compose.yaml", _text(launch.plan, node, processes, settings[node])))
        found += [each for process in processes for each in companions(process, prefix)]
    return (*found, ExportFile("README.txt", _readme(launch, settings)))


def _text(plan: LaunchPlan, node: str, processes: Sequence[Process], settings: Settings) -> str:
    services: dict[str, Value] = {each.name: _service(plan, each, settings) for each in processes}
    return dump(
        list(_header(plan, node, processes, settings)), [{"name": f"qnext-{plan.cluster}", "services": services}]
    )


def _service(plan: LaunchPlan, process: Process, settings: Settings) -> dict[str, Value]:
    recipe = recipe_of(process, settings)
    shell = ["bash", "-lic"] if process.login else ["sh", "-c"]
    service: dict[str, Value] = {
        "image": _literal(image_of(plan, process, settings)),
        "container_name": container_name(plan.cluster, process.name),
        "labels": {f"qnext.{key}": value for key, value in labels(plan, process).items()},
        "network_mode": "host",
        "shm_size": settings.install.shm_size,
        "ulimits": {"memlock": -1, "nofile": 1048576},
        "logging": {"driver": "json-file", "options": {"max-size": "100m", "max-file": "5"}},
        "restart": "no",
        "stop_grace_period": "60s",
        "depends_on": _dependencies(plan, process),
        "privileged": settings.install.privileged and bool(process.devices),
        "devices": [f"{device}:{device}" for device in recipe.devices],
        "volumes": [*_volumes(plan, process, settings, recipe)],
        "env_file": _secrets(secrets_path(process, settings)),
        "environment": _environment(process, settings),
        "entrypoint": [*shell, _literal(start_command(process)), "qnext"],
        "command": [_literal(word) for word in process.argv],
        "healthcheck": _healthcheck(process, settings),
    }
    return {key: value for key, value in service.items() if value}


def _literal(text: str) -> str:
    """Text in which compose fills no variable [compose specification, interpolation]."""
    return text.replace("$", "$$")


def _environment(process: Process, settings: Settings) -> dict[str, Value]:
    fixed: dict[str, Value] = dict(runtime_environment(process, settings))
    given = {name: _literal(value) for name, value in process.env.items() if not extends(name, value)}
    found = {name: _literal(prefix) + _interface(process) for name, prefix in process.interface_env.items()}
    return {**fixed, **given, **found}


def _interface(process: Process) -> str:
    return f"${{QNEXT_INTERFACE:?the network interface that owns {process.address}}}"


def _secrets(path: str) -> list[Value]:
    """As docker run --env-file reads it: nothing in it is filled or unquoted."""
    return [{"path": _literal(path), "required": True, "format": "raw"}] if path else []


# ---- mounts


def _volumes(plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe) -> Iterator[Value]:
    for mount in (*certain_mounts(recipe), *weights_mounts(plan, process, settings)):
        yield _bind(mount, _literal(mount.source))
    for choice in recipe.one_of:
        yield _bind(choice[0], _variable(choice[0]))
    for mount in (mount for mount in recipe.mounts if mount.optional):
        yield _bind(mount, _variable(mount))
    for each in process.files:
        source = f"./node{process.node_index}.{process.name}.{each.name}"
        yield _bind(Mount(source, f"/qnext/{each.name}", "file", read_only=True), _literal(source))


def _bind(mount: Mount, source: str) -> dict[str, Value]:
    bind: dict[str, Value] = {"type": "bind", "source": source, "target": _literal(mount.target)}
    bind |= {"read_only": True} if mount.read_only else {}
    return {**bind, "bind": {"create_host_path": False}}


def _variable(mount: Mount) -> str:
    return f"${{{_variable_name(mount)}:-{_literal(mount.source)}}}"


def _variable_name(mount: Mount) -> str:
    """QNEXT_NPU_SMI for /usr/local/bin/npu-smi."""
    return "QNEXT_" + re.sub(r"\W", "_", mount.source.rsplit("/", 1)[-1]).upper()


# ---- order and health


def _dependencies(plan: LaunchPlan, process: Process) -> dict[str, Value]:
    """On the same node. The front waits for healthy servers, and all for a pool's master that listens; others only
    for the start, as ranks of one engine are not healthy before all have started."""
    return {other.name: {"condition": _condition(process, other)} for other in earlier(plan, process)}


def _condition(process: Process, other: Process) -> str:
    return "service_healthy" if process.kind == "router" or other.kind == "pool" else "service_started"


def _healthcheck(process: Process, settings: Settings) -> dict[str, Value]:
    """Asked in the container, by what its image has: python3, else curl, else wget."""
    test = _test(process)
    if not test:
        return {}
    shell = ["bash", "-lic"] if process.login else ["sh", "-c"]
    return {
        "test": ["CMD", *shell, _literal(test)],
        "interval": f"{PROBE_SECONDS}s",
        "timeout": "15s",
        "retries": 3,
        "start_period": f"{round(settings.serve.ready_timeout)}s",
    }


def _test(process: Process) -> str:
    if process.kind == "pool":
        port = next(iter(process.ports.values()), None)
        return f"exec python3 -c '{_CONNECT}' {asked_at(process)} {port}" if port else ""
    if process.api_port is None:
        return ""
    url = f"http://{bracketed(listening(process) or '127.0.0.1')}:{process.api_port}{process.health}"
    return (
        f"if command -v python3 >/dev/null; then exec python3 -c '{_PYTHON}' {url}; "
        f"elif command -v curl >/dev/null; then exec curl -fsS --noproxy '*' -o /dev/null {url}; "
        f"else exec wget -q -Y off -O /dev/null {url}; fi"
    )


# ---- what people read


def _header(plan: LaunchPlan, node: str, processes: Sequence[Process], settings: Settings) -> Iterator[str]:
    name = f"node{processes[0].node_index}.compose.yaml"
    yield f"Cluster {plan.cluster}, node {node}. {MARK} --format compose."
    yield ""
    yield f"As root on {node}: docker compose -f {name} up -d"
    yield f"To stop it:        docker compose -f {name} down -t 60"
    yield "Needs Docker Compose 2.30. Missing mounts are errors. Where the kernel refuses the ulimits, remove them."
    variables = list(_variables(processes, settings))
    if variables:
        yield ""
        yield "What only the node knows, in the environment or in a file .env beside this one:"
        yield from (f"  {line}" for line in variables)
    yield ""
    yield "Order over the cluster; this file keeps it among the processes of its own node:"
    yield from order(plan)


def _variables(processes: Sequence[Process], settings: Settings) -> Iterator[str]:
    asking = next((process for process in processes if process.interface_env), None)
    if asking:
        look = f"ip -o -4 addr show | grep -wF {asking.address}"
        yield f"QNEXT_INTERFACE  the interface that owns {asking.address}: {look}"
    recipes = [recipe_of(process, settings) for process in processes]
    for choice in dict.fromkeys(choice for recipe in recipes for choice in recipe.one_of):
        others = " or ".join(mount.source for mount in choice[1:])
        yield f"{_variable_name(choice[0])}  where it is not {choice[0].source}: {others}"
    for mount in dict.fromkeys(mount for recipe in recipes for mount in recipe.mounts if mount.optional):
        yield f"{_variable_name(mount)}  /dev/null where the node has no {mount.source}"


def _readme(launch: Launch, settings: Mapping[str, Settings]) -> str:
    plan = launch.plan
    lines = [f"Compose files of cluster {plan.cluster}: {plan.served_name}, topology {plan.topology}", ""]
    lines += ["Copy each to its node, with the files that are named like it:", ""]
    for node, processes in nodes(plan):
        prefix = f"node{processes[0].node_index}."
        own = [f"{prefix}compose.yaml", *(each.path for p in processes for each in companions(p, prefix))]
        lines.append(f"  {node}: {' '.join(own)}")
    lines += ["", "Start them there as their first lines say, in this order:", "", *order(plan)]
    lines += [*secret_lines(launch, settings), "", *ready(plan), "", f"{MARK} --format compose."]
    return "\n".join(lines) + "\n"
