"""A LeaderWorkerSet manifest: the cluster's groups as pods of Kubernetes.

One LeaderWorkerSet a group: the leader is its head, the workers are one template, in which a rank is computed from the
pod's index. Addresses are known only to the pods: their own by the downward API, the head's by its name, which each
worker resolves, as HCCL and vLLM want numbers. Everything that is no rank or address is the same as in the launch
scripts; where two workers differ in anything else, no manifest is written and the difference is named.

The device plugin hands out the devices and the runtime brings the driver's tools, so a pod gets neither ``/dev``
entries nor ``ASCEND_VISIBLE_DEVICES`` from us [kubernetes-sigs/lws, api/leaderworkerset/v1; vllm-ascend nightly,
multi_node/scripts; MindCluster, Ascend Device Plugin].
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from provision.accel.protocol import Mount, accelerator
from provision.errors import ConfigError
from provision.inventory.model import Hardware, Settings
from provision.serve.environment import extends
from provision.serve.export.base import MARK, ExportFile, gates, image_of, listening, refuse_native
from provision.serve.export.yamlfile import Value, dump
from provision.serve.launch import Launch
from provision.serve.plan import LaunchPlan, Process
from provision.serve.render import certain_mounts, command_lines, recipe_of, start_command, weights_mounts
from provision.shell import join, quote

RESOURCE = "huawei.com/Ascend910"
"""How Huawei's device plugin names the devices of an A2 (8) and the dies of an A3 (16); the plugin of the cloud's CCE
says ``huawei.com/ascend-1980`` [MindCluster; vllm-ascend nightly]."""

RANKS = ("--node-rank", "--data-parallel-start-rank")
"""Options whose value is a multiple of the pod's index."""

SIZES = ("--nnodes",)
"""Options whose value is the number of pods of a group."""

PROBE_SECONDS = 10
RESOLVE_SECONDS = 300
"""How long a worker looks for its leader's address. Its name is published once the leader's pod has an address."""

_DEVICES = "ASCEND_RT_VISIBLE_DEVICES"
_HASH = 11
"""Characters of a revision's hash with the hyphen before it."""

_SEVERAL_APIS = (
    "each of its servers has an API and a port of its own, several to a node; the pods of a LeaderWorkerSet's workers "
    "are alike, and only leaders have a Service"
)
_UNFIT = {
    "external-dp": _SEVERAL_APIS,
    "hybrid-dp": "each of its nodes has an API behind the router; only the leader of a LeaderWorkerSet has a Service",
}
_INTERFACE_FILE = "interface.py"
_FIND_INTERFACE = """\
# Prints the network interface that owns an address: pods have no ip and no ifconfig.
import fcntl, socket, struct, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for _, name in socket.if_nameindex():
    try:
        found = fcntl.ioctl(s, 0x8915, struct.pack("256s", name.encode()[:15]))
    except OSError:
        continue
    if socket.inet_ntoa(found[20:24]) == sys.argv[1]:
        print(name)
        break
"""


def files(launch: Launch, settings: Mapping[str, Settings], *, resource: str = RESOURCE) -> tuple[ExportFile, ...]:
    """The one manifest. Raises ``ConfigError`` for what it cannot express, with what to do."""
    plan = launch.plan
    for own in settings.values():
        refuse_native(own, "the pods of a LeaderWorkerSet")
    _refuse_unfit(plan)
    base = f"qnext-{plan.cluster}"
    sets = _sets(plan, base)
    given = _Given(plan, settings, resource)
    documents = [each for one in sets for each in _group_documents(given, one)]
    documents += _entry_documents(plan, base, sets, settings)
    text = dump(list(_header(plan, base, sets, settings, resource)), documents)
    return (ExportFile("lws.yaml", text),)


def _refuse_unfit(plan: LaunchPlan) -> None:
    if plan.topology in _UNFIT:
        hint = "use topology data-parallel or replicas for Kubernetes, or another --format"
        raise ConfigError(f"{plan.topology} can't be a LeaderWorkerSet: {_UNFIT[plan.topology]}", hint=hint)
    for group in plan.groups:
        if sum(plan.process(name).serves for name in group.processes) > 1:
            hint = f"use serve.group_topology data-parallel for the hosts of {group.name}, or another --format"
            raise ConfigError(f"group {group.name} can't be a LeaderWorkerSet: {_SEVERAL_APIS}", hint=hint)
    if any(process.kind == "pool" for process in plan.processes):
        raise ConfigError(
            "a KV pool can't be exported to Kubernetes: its servers find the master by a file with its node's address",
            hint="leave serve.kv_pool out and run the pool as a Deployment of its own, or use another --format",
        )


# ---- which sets there are


@dataclass(frozen=True, slots=True)
class _Set:
    """One LeaderWorkerSet: the processes of one group, ``replicas`` of it."""

    name: str
    processes: tuple[Process, ...]
    replicas: int = 1

    @property
    def leader(self) -> Process:
        return self.processes[0]

    @property
    def workers(self) -> tuple[Process, ...]:
        return self.processes[1:]


def _sets(plan: LaunchPlan, base: str) -> list[_Set]:
    groups = [tuple(plan.process(name) for name in group.processes) for group in plan.groups]
    if plan.topology == "replicas":
        return [_Set(base, groups[0], _alike(groups))]
    if len(groups) == 1:
        return [_Set(base, groups[0])]
    return [_Set(f"{base}-{group.name}", found) for group, found in zip(plan.groups, groups, strict=True)]


def _alike(groups: Sequence[tuple[Process, ...]]) -> int:
    """How many replicas there are; each must be the first but for its address and port."""
    first = groups[0][0]
    for (other,) in groups[1:]:
        words = _difference(_words_of_replica(first), _words_of_replica(other))
        if words or _device_count(other) != _device_count(first):
            found = words or f"{_device_count(other)} devices, not {_device_count(first)}"
            raise ConfigError(
                f"replicas of a LeaderWorkerSet are alike, but {other.name} differs from {first.name}: {found}",
                hint="give all hosts the same qnext settings, or use another --format",
            )
    return len(groups)


def _device_count(process: Process) -> int:
    """A privileged container sees all devices of its node, and is told which are its own."""
    chosen = process.env.get(_DEVICES, "")
    return len(chosen.split(",")) if chosen else len(process.devices)


def _words_of_replica(process: Process) -> list[str]:
    """Its command and variables, without its address and port."""
    variables = [f"{name}={value}" for name, value in sorted(process.env.items()) if name != _DEVICES]
    words = [*process.argv, *variables]
    text = [_replaced(word, {process.address: "ADDRESS"}) for word in words]
    place = text.index("--port") + 1 if "--port" in text else 0
    return [*text[:place], "PORT", *text[place + 1 :]] if place else text


def _difference(one: Sequence[str], other: Sequence[str]) -> str:
    pairs = zip(one, other, strict=False)
    differing = next((f"{second}, not {first}" for first, second in pairs if first != second), "")
    return differing or ("" if len(one) == len(other) else "another number of words")


# ---- words that only a pod can fill


def _replaced(text: str, names: Mapping[str, str]) -> str:
    """``text`` with whole addresses replaced."""
    for address, name in names.items():
        if address:
            before = r"(?<![\w.:])" if ":" in address else r"(?<![\w.])"
            text = name.join(re.split(rf"{before}{re.escape(address)}(?![\w.])", text))
    return text


@dataclass(frozen=True, slots=True)
class _Live:
    """Text with parts that the pod's shell fills: ``marks`` are shell variables by the address they stand for."""

    marks: Mapping[str, str] = field(default_factory=dict)

    def word(self, text: str) -> str:
        """``text`` as a word of sh, all of it literal but the addresses."""
        marked = _replaced(text, {address: f"\0{name}\0" for address, name in self.marks.items()})
        parts = marked.split("\0")
        return "".join(
            f'"${part}"' if number % 2 else (quote(part) if part else "") for number, part in enumerate(parts)
        ) or quote("")

    def has(self, text: str) -> bool:
        return _replaced(text, self.marks) != text


def _live(one: _Set, process: Process) -> _Live:
    """A leader is its own head."""
    if process is one.leader:
        return _Live({process.address: "POD_IP"})
    return _Live({one.leader.address: "QNEXT_HEAD_ADDRESS", process.address: "POD_IP"})


def _command(one: _Set, process: Process, index: int) -> list[str]:
    """The command in lines of sh, for the pod with this index."""
    live = _live(one, process)
    return [_line(words, live, index, len(one.processes)) for words in command_lines(process.argv)]


def _line(words: Sequence[str], live: _Live, index: int, size: int) -> str:
    option, value = words[0], words[1] if len(words) == 2 else ""
    if option in SIZES and value == str(size):
        return f'{option} "$LWS_GROUP_SIZE"'
    if option in RANKS and index and value.isdigit() and int(value) % index == 0:
        ranks = int(value) // index
        return f"{option} " + ('"$LWS_WORKER_INDEX"' if ranks == 1 else f'"$((LWS_WORKER_INDEX * {ranks}))"')
    return " ".join(live.word(word) for word in words)


def _environment(one: _Set, process: Process, hardware: Hardware) -> tuple[list[Value], list[str]]:
    """(variables of the pod, lines of sh for those that need the head's address). Interface and devices are those of
    the pod, whatever the nodes have."""
    live = _live(one, process)
    interfaces = accelerator(hardware).interface_variables
    own: list[Value] = []
    exported: list[str] = []
    for name, value in sorted(process.env.items()):
        if extends(name, value) or name == _DEVICES or name in interfaces:
            continue
        if process is not one.leader and _replaced(value, {one.leader.address: ""}) != value:
            exported.append(f"export {name}={live.word(value)}")
        else:
            own.append({"name": name, "value": _filled(value, process)})
    return own, exported


def _filled(value: str, process: Process) -> str:
    """A variable's value as Kubernetes reads it, which fills ``$(NAME)``."""
    parts = _replaced(value, {process.address: "\0"}).split("\0")
    return "$(POD_IP)".join(part.replace("$", "$$") for part in parts)


# ---- the scripts that pods run


def _script(plan: LaunchPlan, one: _Set, process: Process, index: int, settings: Settings) -> str:
    _, exported = _environment(one, process, settings.hardware)
    lines = ["#!/bin/sh", f"# {process.name if not index else 'workers'} of cluster {plan.cluster}", "set -eu"]
    if len(one.processes) > 1:
        lines += _right_size(len(one.processes))
    if index:
        lines += _meet_head(plan, process, settings)
    if process.address:
        lines += _interface(settings)
    lines += exported
    lines += [line for line in [start_command(process).removesuffix('exec "$@"').rstrip("; ")] if line]
    first, *others = _command(one, process, index)
    lines += [" \\\n  ".join((f"exec {first}", *others))]
    return "\n".join(lines) + "\n"


def _right_size(size: int) -> list[str]:
    return [
        f'if test "$LWS_GROUP_SIZE" -ne {size}; then',
        f"  echo 'qnext: its sizes are for {size} pods: change the inventory and render again' >&2",
        "  exit 1",
        "fi",
    ]


def _meet_head(plan: LaunchPlan, process: Process, settings: Settings) -> list[str]:
    """Workers may start long before the head: their images come first. A data-parallel one gives up after minutes."""
    lines = [
        "waited=0",
        "until QNEXT_HEAD_ADDRESS=$(getent ahostsv4 \"$LWS_LEADER_ADDRESS\" | awk '{ print $1; exit }') &&",
        '  test "$QNEXT_HEAD_ADDRESS"; do',
        f'  if test "$waited" -ge {RESOLVE_SECONDS}; then',
        '    echo "qnext: $LWS_LEADER_ADDRESS has no address" >&2',
        "    exit 1",
        "  fi",
        "  sleep 2",
        "  waited=$((waited + 2))",
        "done",
        "export QNEXT_HEAD_ADDRESS",
    ]
    for gate in gates(plan, process):
        lines += _meet_port(gate.port, round(settings.serve.ready_timeout))
    return lines


def _meet_port(port: int, seconds: int) -> list[str]:
    return [
        f"echo 'qnext: waiting for the head at port {port}' >&2",
        "waited=0",
        f'until timeout 5 bash -c "</dev/tcp/$QNEXT_HEAD_ADDRESS/{port}" 2>/dev/null; do',
        f'  if test "$waited" -ge {seconds}; then',
        f"    echo 'qnext: the head does not listen at port {port}: see its log' >&2",
        "    exit 1",
        "  fi",
        "  sleep 2",
        "  waited=$((waited + 2))",
        "done",
    ]


def _interface(settings: Settings) -> list[str]:
    variables = accelerator(settings.hardware).interface_variables
    exports = [f'export {name}={quote(prefix) if prefix else ""}"$interface"' for name, prefix in variables.items()]
    return [
        'interface=$(python3 /qnext/interface.py "$POD_IP")',
        'test "$interface" || { echo "qnext: no network interface of this pod owns $POD_IP" >&2; exit 1; }',
        *exports,
    ]


def _refuse_long_name(one: _Set) -> None:
    """The controller makes StatefulSets named after it, and Kubernetes labels their pods with that name and a hash:
    labels hold 63 characters [Kubernetes issue 64023]."""
    index = f"-{one.replicas - 1}" if one.workers else ""
    if len(one.name + index) + _HASH > 63:
        raise ConfigError(
            f"the LeaderWorkerSet's name {one.name} is too long for the labels of its pods",
            hint=f"shorten qnext.cluster or serve.group: {len(one.name + index) + _HASH - 63} characters too many",
        )


def _refuse_other_workers(given: _Given, one: _Set) -> None:
    """Workers are one template: what is made from any two of them must be the same."""
    rendered = [(worker, _worker_lines(given, one, worker, index)) for index, worker in enumerate(one.workers, start=1)]
    for worker, lines in rendered[1:]:
        first, expected = rendered[0]
        differing = _difference(expected, lines)
        if differing:
            raise ConfigError(
                f"workers of a LeaderWorkerSet are alike, but {worker.name} differs from {first.name}: {differing}",
                hint="give all hosts of a group the same qnext settings, or use another --format",
            )


def _worker_lines(given: _Given, one: _Set, worker: Process, index: int) -> list[str]:
    own = given.settings[worker.node]
    variables, _ = _environment(one, worker, own.hardware)
    return [*_script(given.plan, one, worker, index, own).splitlines(), *(str(each) for each in variables)]


# ---- documents


@dataclass(frozen=True, slots=True)
class _Given:
    """What all documents are made from; ``resource`` is the name of the devices."""

    plan: LaunchPlan
    settings: Mapping[str, Settings]
    resource: str


def _group_documents(given: _Given, one: _Set) -> list[dict[str, Value]]:
    _refuse_long_name(one)
    _refuse_other_workers(given, one)
    data: dict[str, Value] = {_INTERFACE_FILE: _FIND_INTERFACE} if one.leader.address else {}
    for role, process in _roles(one).items():
        script = _script(given.plan, one, process, 0 if process is one.leader else 1, given.settings[process.node])
        data |= {f"{role}.sh": script, **{each.name: each.text for each in process.files}}
    pods = {role: _pod(given, one, process, f"{role}.sh", data) for role, process in _roles(one).items()}
    template: dict[str, Value] = {"size": len(one.processes), "restartPolicy": "RecreateGroupOnPodRestart"}
    if "worker" in pods:
        template |= {"leaderTemplate": pods["leader"], "workerTemplate": pods["worker"]}
    else:
        template["workerTemplate"] = pods["leader"]  # the API wants this one, and takes it for the leader too
    spec: dict[str, Value] = {
        "replicas": one.replicas,
        "startupPolicy": "LeaderCreated",
        "leaderWorkerTemplate": template,
    }
    return [
        _document("v1", "ConfigMap", f"{one.name}-launch", {"data": data}),
        _document("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", one.name, {"spec": spec}),
    ]


def _roles(one: _Set) -> dict[str, Process]:
    return {"leader": one.leader, **({"worker": one.workers[0]} if one.workers else {})}


def _document(version: str, kind: str, name: str, body: dict[str, Value]) -> dict[str, Value]:
    if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name):
        raise ConfigError(f"Kubernetes takes no {kind} named {name}", hint="use a shorter qnext.cluster or serve.group")
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **body}


def _pod(given: _Given, one: _Set, process: Process, script: str, data: Mapping[str, Value]) -> dict[str, Value]:
    settings = given.settings[process.node]
    variables, _ = _environment(one, process, settings.hardware)
    mounts = _mounts(given.plan, process, settings)
    container: dict[str, Value] = {
        "name": "vllm",
        "image": image_of(given.plan, process, settings),
        "command": [*_shell(process), 'exec "$@"', "qnext", "sh", f"/qnext/{script}"],
        "env": [_pod_ip(), *_key(given.plan, process, settings), *variables],
        **_resources(process, given.resource),
        "volumeMounts": [
            {"name": "dshm", "mountPath": "/dev/shm"},
            {"name": "launch", "mountPath": "/qnext", "readOnly": True},
            *(_volume_mount(number, mount) for number, mount in enumerate(mounts)),
        ],
        **_ports_and_probes(process, settings),
    }
    volumes: list[Value] = [
        {"name": "dshm", "emptyDir": {"medium": "Memory", "sizeLimit": _size(settings.install.shm_size)}},
        {"name": "launch", "configMap": {"name": f"{one.name}-launch"}},
        *(_volume(number, mount) for number, mount in enumerate(mounts)),
    ]
    metadata: dict[str, Value] = {
        "labels": {"app.kubernetes.io/part-of": f"qnext-{given.plan.cluster}"},
        "annotations": {"qnext/launch": _digest(data)},
    }
    return {"metadata": metadata, "spec": {"containers": [container], "volumes": volumes}}


def _digest(data: Mapping[str, Value]) -> str:
    """What pods read is a part of what they are: changed files make new pods."""
    return hashlib.sha256("\0".join(f"{name}\0{data[name]}" for name in sorted(data)).encode()).hexdigest()[:16]


def _mounts(plan: LaunchPlan, process: Process, settings: Settings) -> list[Mount]:
    """The driver and the weights; where KV caches travel, what tells the devices' own addresses too."""
    recipe = recipe_of(process, settings)
    optional = [mount for mount in recipe.mounts if mount.optional] if process.role else []
    return [*certain_mounts(recipe), *optional, *weights_mounts(plan, process, settings)]


def _volume(number: int, mount: Mount) -> dict[str, Value]:
    kind = "File" if mount.kind == "file" else "Directory"
    return {"name": f"host{number}", "hostPath": {"path": mount.source, "type": kind}}


def _volume_mount(number: int, mount: Mount) -> dict[str, Value]:
    found: dict[str, Value] = {"name": f"host{number}", "mountPath": mount.target}
    return {**found, "readOnly": True} if mount.read_only else found


def _shell(process: Process) -> list[str]:
    return ["bash", "-lic"] if process.login else ["sh", "-c"]


def _pod_ip() -> dict[str, Value]:
    return {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def _key(plan: LaunchPlan, process: Process, settings: Settings) -> list[Value]:
    if not settings.serve.api_key or not (process.serves or process.keyed):
        return []
    reference: dict[str, Value] = {"name": f"qnext-{plan.cluster}-key", "key": "VLLM_API_KEY"}
    return [{"name": "VLLM_API_KEY", "valueFrom": {"secretKeyRef": reference}}]


def _resources(process: Process, resource: str) -> dict[str, Value]:
    count = _device_count(process)
    wanted: dict[str, Value] = {resource: str(count)} if count else {}
    return {"resources": {"requests": wanted, "limits": wanted}} if wanted else {}


def _size(text: str) -> str:
    """16Gi for 16g."""
    return text[:-1] + {"k": "Ki", "m": "Mi", "g": "Gi"}[text[-1]]


def _ports_and_probes(process: Process, settings: Settings) -> dict[str, Value]:
    """The kubelet asks at the pod's address. It counts the start-up apart: loading takes as long as it takes."""
    if process.api_port is None:
        return {}
    asked: dict[str, Value] = {"httpGet": {"path": process.health, "port": process.api_port}}
    starting = max(1, round(settings.serve.ready_timeout / PROBE_SECONDS))
    often: dict[str, Value] = {"periodSeconds": PROBE_SECONDS, "timeoutSeconds": 5}
    return {
        "ports": [{"name": "api", "containerPort": process.api_port}],
        "startupProbe": {**asked, **often, "failureThreshold": starting},
        "readinessProbe": {**asked, **often, "failureThreshold": 3},
    }


# ---- the entry point


def _entry_documents(
    plan: LaunchPlan, base: str, sets: Sequence[_Set], settings: Mapping[str, Settings]
) -> list[dict[str, Value]]:
    """The Service that clients ask: before the leaders, or before the proxy of prefill and decode. Without a proxy
    each leader has one."""
    entry = plan.entry
    port = entry.api_port or 0
    if len(sets) == 1:
        return [_service(base, _leaders(sets[0]), port, sets[0].leader.api_port or port)]
    if entry.kind != "router":
        return [_service(one.name, _leaders(one), one.leader.api_port or 0, one.leader.api_port or 0) for one in sets]
    own: dict[str, Value] = {"app.kubernetes.io/name": f"{base}-router"}
    return [*_router_documents(plan, base, sets, settings[entry.node], own), _service(base, own, port, port)]


def _leaders(one: _Set) -> dict[str, Value]:
    """The labels that the controller gives to its leaders."""
    return {"leaderworkerset.sigs.k8s.io/name": one.name, "leaderworkerset.sigs.k8s.io/worker-index": "0"}


def _service(base: str, selector: dict[str, Value], port: int, target: int) -> dict[str, Value]:
    ports: list[Value] = [{"name": "http", "port": port, "targetPort": target, "protocol": "TCP"}]
    return _document("v1", "Service", f"{base}-api", {"spec": {"selector": selector, "ports": ports}})


def _router_documents(
    plan: LaunchPlan, base: str, sets: Sequence[_Set], settings: Settings, own: dict[str, Value]
) -> list[dict[str, Value]]:
    router, name = plan.entry, f"{base}-router"
    script = _router_script(plan, router, sets)
    data: dict[str, Value] = {"router.sh": script, **{each.name: each.text for each in router.files}}
    variables: list[Value] = [
        {"name": key, "value": value.replace("$", "$$")} for key, value in sorted(router.env.items())
    ]
    container: dict[str, Value] = {
        "name": "router",
        "image": image_of(plan, router, settings),
        "command": [*_shell(router), 'exec "$@"', "qnext", "sh", "/qnext/router.sh"],
        "env": [_pod_ip(), *_key(plan, router, settings), *variables],
        "volumeMounts": [{"name": "launch", "mountPath": "/qnext", "readOnly": True}],
        **_ports_and_probes(router, settings),
    }
    launch: dict[str, Value] = {"name": "launch", "configMap": {"name": f"{name}-launch"}}
    template: dict[str, Value] = {
        "metadata": {"labels": own},
        "spec": {"containers": [container], "volumes": [launch]},
    }
    spec: dict[str, Value] = {"replicas": 1, "selector": {"matchLabels": own}, "template": template}
    return [
        _document("v1", "ConfigMap", f"{name}-launch", {"data": data}),
        _document("apps/v1", "Deployment", name, {"spec": spec}),
    ]


def _router_script(plan: LaunchPlan, router: Process, sets: Sequence[_Set]) -> str:
    """Waits for the servers, then becomes the router. A leader's name is that of its pod in its set's own Service."""
    names = {one.leader.address: f"{one.name}-0.{one.name}" for one in sets}
    where = _router_words(router, names)
    lines = ["#!/bin/sh", f"# router of cluster {plan.cluster}", "set -eu"]
    for one in sets:
        host = names[one.leader.address]
        port = one.leader.api_port
        lines += [
            f"echo 'qnext: waiting for {host}:{port}' >&2",
            f"until timeout 5 bash -c '</dev/tcp/{host}/{port}' 2>/dev/null; do sleep 2; done",
        ]
    return "\n".join([*lines, " \\\n  ".join(where)]) + "\n"


def _router_words(router: Process, names: Mapping[str, str]) -> list[str]:
    own = _Live({router.address: "POD_IP"})
    lines: list[str] = []
    for words in command_lines(router.argv):
        word: Callable[[str], str] = own.word if words[0] == "--host" else lambda text: quote(_replaced(text, names))
        lines.append(" ".join(word(each) for each in words))
    return [f"exec {lines[0]}", *lines[1:]]


# ---- what people read


def _header(
    plan: LaunchPlan, base: str, sets: Sequence[_Set], settings: Mapping[str, Settings], resource: str
) -> Iterator[str]:
    serve = settings[plan.entry.node].serve
    yield f"Cluster {plan.cluster}: {plan.served_name}, topology {plan.topology}. {MARK} --format lws."
    yield ""
    devices = any(process.devices for process in plan.processes)
    more = ", Ascend's device plugin and its Docker runtime" if devices else ""
    yield f"Needs the LeaderWorkerSet controller (kubernetes-sigs/lws){more}:"
    yield "  kubectl apply -f lws.yaml"
    if devices:
        yield f"A pod asks for {resource}; if your plugin has another name for it: render --npu-resource NAME."
        yield "It mounts the driver from its node; a path that is missing there is an event of the pod."
    own = settings[plan.entry.node].model
    place = plan.model_path if plan.model_path.startswith("/") else f"in the hub's cache, {own.cache}"
    yield f"The weights lie on each node: {place}."
    if serve.api_key:
        yield "The API key is a secret of yours:"
        yield f"  kubectl create secret generic {base}-key --from-env-file=FILE   # one line VLLM_API_KEY=…"
    if len(sets) == 1 or plan.entry.kind == "router":
        yield f"Clients ask the Service {base}-api, port {plan.entry.api_port}."
    else:
        yield f"Each group has a Service: {', '.join(f'{one.name}-api' for one in sets)}."
    yield "A group whose pod fails is made anew as one, whatever serve.on_failure says."
    if plan.topology == "replicas":
        yield f"{sets[0].replicas} replicas behind the Service, which takes the router's place;"
        yield f"  kubectl scale lws {base} --replicas=N makes more or fewer."
    if any(settings[process.node].install.privileged for process in plan.processes):
        yield "install.privileged is left out: the device plugin hands out the devices."
    bound = [process.name for process in plan.processes if listening(process) not in ("", process.address)]
    if bound:
        yield f"WARNING: {join(bound)} listen on one address by serve.host, which no pod has: set 0.0.0.0."
