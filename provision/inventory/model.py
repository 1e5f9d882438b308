"""The ``qnext`` variables: the typed, strict border between an operator's YAML and the program.

Every key that operators, playbooks and other tools rely on is a field here, with its unit and source; the published
JSON Schema is generated from these models.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from ipaddress import ip_address
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from provision.errors import Position
from provision.secrets import Secret
from provision.yamlio import Node

Hardware = Literal["atlas-800-a2", "atlas-800-a3", "cpu"]
Topology = Literal[
    "single",
    "replicas",
    "tensor-parallel",
    "pipeline-parallel",
    "data-parallel",
    "hybrid-dp",
    "external-dp",
    "ray",
    "prefill-decode",
]
GroupTopology = Literal["single", "tensor-parallel", "pipeline-parallel", "data-parallel", "external-dp"]
RouterKind = Literal["auto", "vllm-router", "nginx", "built-in", "vllm-ascend", "none"]
CheckLevel = Literal["fail", "warn", "info", "off"]
Scalar = str | int | float | bool
_DIGEST = r"^sha256:[0-9a-f]{64}$"
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Repository = Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:]+\]|[^\s/:@]+)(:\d+)?/[^\s:@]+$")]
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
EnvironmentName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]

VersionText = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9A-Za-z]+)*$")]
ReleaseName = Annotated[str, Field(pattern=r"^(main|v?[0-9]+(\.[0-9]+){1,3}((rc|\.post)[0-9]+)?)$")]


def _is_address(text: str) -> str:
    try:
        ip_address(text)
    except ValueError:
        raise ValueError("an IP address such as 192.0.2.1") from None
    return text


def _are_different(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(numbers)) < len(numbers):
        raise ValueError("numbers that are all different")
    return numbers


Address = Annotated[str, AfterValidator(_is_address)]
Devices = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), AfterValidator(_are_different)]


class Strict(BaseModel):
    """Base: an unknown key is an error, values are not coerced across kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(Strict):
    """What is built where ``install.method`` is ``source``: once, on one node, as wheels that all nodes install."""

    release: ReleaseName | None = Field(
        None, description="release of vllm-ascend; vLLM's and all other versions follow from the compatibility table"
    )
    vllm: str | None = Field(
        None,
        pattern=r"^\S+$",
        description="what of vLLM is built: a tag, a branch, a commit, or pull/123; default: by release. "
        "name==version: a package of the index in its place",
    )
    vllm_ascend: str | None = Field(
        None, pattern=r"^\S+$", description="the same for vllm-ascend; default: the release's tag; none: without it"
    )
    vllm_repository: str = Field("https://github.com/vllm-project/vllm.git", description="where vLLM is cloned from")
    vllm_ascend_repository: str = Field(
        "https://github.com/vllm-project/vllm-ascend.git", description="where vllm-ascend is cloned from"
    )
    builder: str | None = Field(None, description="host that builds; default: the first")
    python: str = Field("python3", pattern=r"^\S+$", description="interpreter on the nodes that the venv is made from")
    index: str | None = Field(None, pattern=r"^\S+$", description="URL of the package index; default: pip's own")
    extra_indexes: tuple[str, ...] = Field((), description="URLs of further indexes: torch-npu, triton-ascend")
    trusted_hosts: tuple[str, ...] = Field((), description="hosts of indexes that are asked without TLS being verified")
    system_packages: bool = Field(True, description="install compilers and libraries by apt, dnf or yum on the builder")
    requirements: tuple[str, ...] = Field((), description="more packages for the venv, as pip takes them")
    soc_version: str | None = Field(
        None, pattern=r"^\S+$", description="SOC_VERSION of the build; default: by hardware (ascend910_9391 on a3)"
    )
    env: dict[EnvironmentName, Scalar] = Field(
        default_factory=dict, description="more environment of the build: MAX_JOBS, http_proxy"
    )
    supervisor: Literal["auto", "systemd", "setsid"] = Field(
        "auto", description="what keeps a server running: a transient unit of systemd, or a session of its own"
    )
    timeout: Seconds = Field(7200.0, description="seconds that the build may take")

    @property
    def key(self) -> str:
        """Twelve hex digits over all that what is built depends on: equal keys are the same venv."""
        incidental = {"builder", "supervisor", "timeout", "system_packages"}
        return hashlib.sha256(self.model_dump_json(exclude=incidental).encode()).hexdigest()[:12]


class Package(Strict):
    """A package of the driver, the firmware or CANN: given, never searched for."""

    kind: Literal["driver", "firmware", "toolkit", "ops", "nnal"] = Field(description="what is in it")
    path: str = Field(pattern=r"^\S+$", description="the .run file: an absolute path on the nodes, or one here")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="its checksum, as published with it")
    on: Literal["node", "controller"] = Field("controller", description="where path is")


class Install(Strict):
    """How vLLM gets onto the nodes."""

    method: Literal["image", "source"] = Field(
        "image", description="image: a container image; source: wheels built once, in a venv on every node"
    )
    image: str = Field(
        "",
        pattern=r"^\S*$",
        description="full reference, e.g. quay.io/ascend/vllm-ascend:v0.18.0-a3, also with @sha256:…",
    )
    digest: str | None = Field(
        None, pattern=_DIGEST, description="digest of the image's manifest: nothing else is accepted"
    )
    mirrors: tuple[Repository, ...] = Field(
        (), description="repositories that hold the same image, asked when the first does not answer"
    )
    mirror_order: Literal["in-order", "race"] = Field(
        "in-order", description="in-order: as they are listed; race: the one that answers first"
    )
    spread: Literal["each", "registry", "tree"] = Field(
        "each",
        description="each: every node pulls; registry: through a cache on the first node; tree: one node pulls, "
        "the others get it from node to node",
    )
    registry_image: str = Field(
        "registry:2", pattern=r"^\S+$", description="image of the cache, where spread is registry"
    )
    pull_timeout: Seconds = Field(3600.0, description="seconds a pull may take on one node")
    pull_retries: int = Field(
        3, ge=0, le=20, description="further attempts after a pull that broke, with growing pauses"
    )
    engine: Literal["docker", "podman", "nerdctl"] = Field("docker", description="what runs containers on the nodes")
    shm_size: str = Field("16g", pattern=r"^\d+[kmg]$", description="/dev/shm of each container")
    privileged: bool = Field(
        False,
        description="run servers with --privileged: each sees all NPUs of the cluster on its node, and is given its "
        "own by ASCEND_RT_VISIBLE_DEVICES; default: each container is given its own devices alone",
    )
    source: Source = Field(default_factory=Source, description="what is built where method is source")
    driver: bool = Field(False, description="whether the driver playbook may install packages and boot nodes")
    packages: tuple[Package, ...] = Field((), description="packages of driver, firmware and CANN that it may install")
    spread_port: Port | None = Field(
        None, description="port of sshd at the data address, for copies from node to node; default: ansible_port"
    )

    @model_validator(mode="after")
    def _names_what_is_installed(self) -> Self:
        if self.method == "image" and not self.image:
            raise ValueError("image must be given, as repository:tag or repository@sha256:…")
        named = re.search(r"@(.*)", self.image)
        if named and not re.fullmatch(_DIGEST, named[1]):
            raise ValueError("image: what follows @ must be sha256: and 64 hex digits")
        if named and self.digest not in (None, named[1]):
            raise ValueError("image and digest name different digests: leave one of them out")
        return self

    @property
    def pinned(self) -> str:
        """The manifest digest (``sha256:…``) that alone is accepted, from ``digest`` or ``image``; empty: none."""
        return self.digest or self.image.partition("@")[2]

    @property
    def ref(self) -> str:
        """The name by which nodes know what is installed, in launch scripts and facts.

        A pinned image has a tag of its own, ``repository:sha256-…``, given only after its digest was proven: by which
        way it came (a mirror, another node, an archive) does not matter then, and a tag that somebody moved can't be
        taken for it. For source it is the venv's name.
        """
        if self.method == "source":
            return f"qnext/source:{self.source.key}"
        return f"{self.repository}:{self.pinned.replace(':', '-')}" if self.pinned else self.image

    @property
    def repository(self) -> str:
        """The image's name without tag and digest."""
        name = self.image.partition("@")[0]
        return name[: name.rfind(":")] if ":" in name.rpartition("/")[2] else name


class WeightsSource(Strict):
    """Where weights come from, and how they get to all nodes."""

    kind: Literal["modelscope", "huggingface", "controller", "node"] = Field(
        description="modelscope, huggingface: downloaded; controller: a folder here; node: a folder on one node"
    )
    repository: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$",
        description="name at the hub: Qwen/Qwen3-8B; default: model.path's",
    )
    revision: str | None = Field(
        None, pattern=r"^\S+$", description="branch, tag or commit; default: the hub's main one"
    )
    endpoint: str | None = Field(
        None, pattern=r"^https?://\S+$", description="URL of the hub or of a mirror of it; default: the hub's own"
    )
    token: Secret | None = Field(None, description="token of the hub for private repositories; a secret reference")
    proxy: str | None = Field(None, pattern=r"^\S+$", description="URL of an HTTP proxy for downloads")
    path: str | None = Field(None, pattern=r"^\S", description="the folder, of kinds controller and node")
    node: str | None = Field(None, description="host that downloads, or has the folder; default: the first")
    spread: Literal["pipeline", "tree", "each"] = Field(
        "pipeline",
        description="from node to node, one after the other (pipeline) or doubling (tree); each: every node downloads",
    )
    bandwidth: str | None = Field(
        None, pattern=r"^\d+[kmg]$", description="bytes a second of each copy at most, such as 200m; default: unlimited"
    )
    timeout: Seconds = Field(86400.0, description="seconds until every node has them")


class Model(Strict):
    """What is served."""

    profile: str | None = Field(None, description="name of a shipped model profile; adds its rules and settings")
    path: str = Field(
        pattern=r"^/|^[A-Za-z0-9][\w.-]*/[\w.-]+$",
        description="folder of the weights, the same path on every node; or the name of a repository (Qwen/Qwen3-8B), "
        "whose weights lie in the hub's cache on every node",
    )
    served_name: str | None = Field(None, description="name in the API; default: the profile's, else the folder's name")
    hub: Literal["modelscope", "huggingface"] = Field(
        "huggingface", description="whose cache holds the weights where path is the name of a repository"
    )
    cache: str = Field("/root/.cache", pattern=r"^/", description="folder on the nodes that holds the hubs' caches")

    source: WeightsSource | None = Field(
        None, description="where the weights come from; default: they are at path on every node already"
    )
    verify: Literal["auto", "sha256", "quick"] = Field(
        "auto",
        description="sha256: every byte, once, remembered by size, time and inode; quick: sizes, headers and the "
        "index; auto: sha256 where checksums are known, else quick",
    )

    @property
    def repository(self) -> bool:
        """Whether ``path`` names a repository."""
        return not self.path.startswith("/")

    @property
    def folder(self) -> str:
        """Where the weights lie on a node. A repository lies where its hub's client puts it below ``cache``:
        ModelScope's writes ``___`` for a dot [modelscope, file download], Hugging Face's keeps snapshots."""
        if not self.repository:
            return self.path
        organisation, _, name = self.path.partition("/")
        if self.hub == "modelscope":
            return f"{self.cache}/modelscope/hub/models/{organisation}/{name.replace('.', '___')}"
        return f"{self.cache}/huggingface/hub/models--{organisation}--{name}"


class Router(Strict):
    """The one entry point before several servers. It runs on the first node, or the one named."""

    kind: RouterKind = Field(
        "auto",
        description="auto: vllm-router where the image has it, else nginx where it has that, else the built-in one; "
        "for prefill-decode the proxy of vllm-ascend; none: clients ask the servers themselves",
    )
    image: str | None = Field(None, pattern=r"^\S+$", description="image that holds it; default: the servers'")
    node: str | None = Field(None, description="host that runs it; default: the first")
    policy: str | None = Field(None, description="how vllm-router spreads requests; default: round_robin")
    script: str | None = Field(
        None, pattern=r"^/", description="path of vllm-ascend's proxy inside the image; default: by connector"
    )
    args: dict[str, Scalar | list[Scalar] | None] = Field(
        default_factory=dict, description="more arguments of the router by name"
    )


class KvTransfer(Strict):
    """How the KV cache gets from prefill to decode. The sizes of both sides are computed."""

    connector: str = Field("MooncakeConnectorV1", description="kv_connector: the same on both sides")
    port: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="first port of this host's connectors, one more a device; default: clear of the ranges that "
        "Mooncake and HCCL take",
    )
    engine_id: str | None = Field(None, description="engine_id; default: one of its own for each server")
    fields: dict[str, object] = Field(
        default_factory=dict, description="more fields of kv-transfer-config, as they stand"
    )
    extra: dict[str, object] = Field(
        default_factory=dict, description="more fields of kv_connector_extra_config, beside prefill and decode"
    )


class KvPool(Strict):
    """A shared pool of KV cache, whose master runs on the first node."""

    kind: Literal["mooncake", "memcache"] = Field("mooncake", description="whose master is started")
    master_port: Port = Field(50088, description="port of the pool's master")
    metrics_port: Port = Field(50089, description="port of its metrics")
    config: dict[str, object] = Field(
        default_factory=dict, description="fields of the pool's configuration file over the computed ones"
    )


class Serve(Strict):
    """How it is served. Ranks, addresses, devices and ports that vary by node are computed, never given."""

    topology: Topology = Field(
        "single",
        description="single: one node; replicas: independent servers behind a router; tensor-parallel, "
        "pipeline-parallel, ray: one engine over all nodes; data-parallel: engines on each node, one API; hybrid-dp: "
        "an API a node, external-dp: an API a rank, behind a router; prefill-decode: two groups behind a proxy",
    )
    role: Literal["prefill", "decode"] | None = Field(None, description="what this host does in prefill-decode")
    group: Name | None = Field(
        None, description="hosts of one engine group in prefill-decode have the same; default: the role"
    )
    group_topology: GroupTopology = Field("data-parallel", description="topology inside each group of prefill-decode")
    replicas_per_node: int | None = Field(
        None,
        ge=1,
        le=256,
        description="servers of each node in replicas; default: as many as its devices hold (cpu: one)",
    )
    host: str = Field("0.0.0.0", description="address the API listens on")
    port: Port = Field(8000, description="port of the entry point: of the API on the head, or of the router")
    server_port: Port = Field(
        8100, description="port of the first server of each node where a router stands before them; the next has +1"
    )
    router: Router = Field(default_factory=Router, description="the entry point before several servers")
    kv_transfer: KvTransfer = Field(default_factory=KvTransfer, description="prefill to decode")
    kv_pool: KvPool | None = Field(None, description="a shared pool of KV cache for prefill-decode")
    ray_port: Port = Field(6379, description="port of Ray's head (its GCS)")
    tensor_parallel_size: int = Field(1, ge=1, description="devices that share each layer of an engine")
    pipeline_parallel_size: int = Field(1, ge=1, description="groups of devices that share the layers of an engine")
    data_parallel_size: int = Field(1, ge=1, description="engines over all nodes; spread evenly")
    expert_parallel: bool | None = Field(
        None, description="default: on for a mixture of experts over more than one rank"
    )
    master_port: Port = Field(29501, description="rendezvous port of tensor-parallel over nodes")
    data_parallel_rpc_port: Port = Field(13389, description="handshake port of the data-parallel head")
    scenario: str | None = Field(
        None, description="settings of the model's profile for a purpose, by name; your own lie over them"
    )
    max_model_len: int | None = Field(None, ge=1, description="tokens, prompt and answer together")
    gpu_memory_utilization: float | None = Field(None, gt=0, le=1, description="share of a device's memory")
    engine_args: dict[str, Scalar | dict[str, object] | list[object] | None] = Field(
        default_factory=dict,
        description="more arguments of vllm serve by name (dashes or underscores); "
        "true: a bare flag; false: off; null: left out; a mapping: JSON",
    )
    env: dict[EnvironmentName, Scalar] = Field(
        default_factory=dict, description="more environment of each server process"
    )
    secret_env: dict[EnvironmentName, Secret] = Field(
        default_factory=dict,
        description="environment of each server process that is secret: secret references, such as {env: HF_TOKEN}",
    )
    argument_order: tuple[str, ...] = Field(
        (),
        description="arguments of vllm serve in the order to write them, by name (its value is the computed one or "
        "that of engine_args), or name=value as it stands; those not named follow",
    )
    as_given: bool = Field(
        False,
        description="run exactly what is given: nothing that profile or launcher would add; ranks, addresses and "
        "devices are computed all the same",
    )
    on_failure: Literal["fail", "restart-group"] = Field(
        "fail", description="what happens to a group of which a process has died while it is watched"
    )
    restart_budget: int = Field(2, ge=0, description="restarts of a group, with restart-group, before it fails")
    ready_timeout: Seconds = Field(3000.0, description="seconds until every rank must have generated")
    api_key: Secret | None = Field(None, description="key that clients must send; a secret reference")


class Waiver(Strict):
    """A finding that the operator knows of and accepts for a while. It is shown, and stops nothing."""

    reason: str = Field(min_length=3, description="why it is accepted: shown with the finding")
    until: date = Field(description="last day on which it holds, as 2026-12-31; from the next day on it counts again")
    finding: str = Field("", description="only findings that contain this text; default: all of the check")


class Evaluate(Strict):
    """What an evaluation needs on the node that runs it."""

    venv: str | None = Field(None, pattern=r"^/", description="virtual environment that holds AISBench")
    tokenizer: str | None = Field(None, pattern=r"^/", description="folder of the tokenizer; default: the model's")
    datasets: tuple[Annotated[str, Field(pattern=r"^/")], ...] = Field((), description="files or folders of data sets")


Feature = Literal["full-and-piecewise", "kv-pool", "fabric-memory"]


class ReleaseRow(Strict):
    """What an operator knows better of a release of vllm-ascend than the shipped table; None: as shipped."""

    vllm: str | None = Field(None, description="release of vLLM inside")
    python: str | None = Field(
        None, pattern=r"^[<>=!~]=?[0-9.]+(,[<>=!~]=?[0-9.]+)*$", description="range of Python, e.g. >=3.10,<3.12"
    )
    cann: VersionText | None = Field(None, description="CANN inside")
    torch: str | None = Field(None, description="PyTorch inside")
    torch_npu: str | None = Field(None, description="torch_npu inside")
    triton_ascend: str | None = Field(None, description="triton-ascend inside")
    mooncake: str | None = Field(None, description="Mooncake inside")
    min_hdk: VersionText | None = Field(None, description="driver (HDK) below which to warn")


class CannRow(Strict):
    """What an operator knows better of a version of CANN; None: as shipped."""

    min_hdk: VersionText | None = Field(None, description="driver (HDK) below which to warn")
    family: str | None = Field(None, description="the toolkit's own family, e.g. V100R001C25")
    drivers: tuple[str, ...] | None = Field(None, description="families of drivers it works with")


class Need(Strict):
    """Lowest versions that a feature works with; what is left out does not matter."""

    hdk: VersionText | None = Field(None, description="driver (HDK)")
    cann: VersionText | None = Field(None, description="CANN")
    mooncake: VersionText | None = Field(None, description="Mooncake")


class FeatureRow(Strict):
    """What a feature of the server needs."""

    needs: tuple[Need, ...] = Field(description="alternatives, of which one must hold; empty: nothing is needed")


class ModelRow(Strict):
    """What an operator knows better of a model; None: as its profile says."""

    first: ReleaseName | None = Field(None, description="first release of vllm-ascend that serves it at all")
    stable: ReleaseName | None = Field(None, description="first release on which it runs stably")


class Compatibility(Strict):
    """The operator's rows over the shipped table of what works with what."""

    releases: dict[ReleaseName, ReleaseRow] = Field(
        default_factory=dict, description="by release of vllm-ascend: what is inside, and the lowest driver"
    )
    cann: dict[VersionText, CannRow] = Field(
        default_factory=dict, description="by version of CANN: the lowest driver, and families of drivers"
    )
    features: dict[Feature, FeatureRow] = Field(
        default_factory=dict, description="by feature of the server: lowest driver, CANN and Mooncake"
    )
    models: dict[str, ModelRow] = Field(
        default_factory=dict, description="by model profile: the first and the first stable release"
    )


class Settings(Strict):
    """``qnext`` of one host, after all groups are merged."""

    cluster: Name = Field(
        description="name of the cluster: in labels, container names and folders, and typed to confirm down"
    )
    hardware: Hardware = Field(description="a2: 8 x 64 GB; a3: 16 dies x 64 GB; cpu: no NPU")
    install: Install = Field(description="how vLLM gets onto the nodes")
    model: Model = Field(description="what is served")
    serve: Serve = Field(default_factory=Serve, description="how it is served")
    data_address: Address | None = Field(
        None, description="address that ranks use among themselves; default: found on the node"
    )
    data_interface: str | None = Field(
        None, pattern=r"^[^\s/]{1,15}$", description="its network interface; default: found on the node"
    )
    devices: Devices | None = Field(None, description="davinci numbers this cluster may use; default: all")
    state_dir: str = Field("/var/lib/qnext", pattern=r"^/", description="folder on the nodes for launch files and jobs")
    checks: dict[str, CheckLevel | dict[str, Scalar | list[Scalar] | None]] = Field(
        default_factory=dict,
        description="judgement by a check's name or code: a level, or a mapping of level and thresholds",
    )
    waive: dict[str, Waiver] = Field(
        default_factory=dict, description="findings that are known and accepted, by a check's name or code"
    )
    compatibility: Compatibility = Field(
        default_factory=Compatibility, description="what works with what, over the shipped table"
    )
    shared_folders: tuple[Annotated[str, Field(pattern=r"^/")], ...] = Field(
        (), description="folders that are one and the same on all nodes (NFS, a parallel file system)"
    )
    evaluate: Evaluate = Field(default_factory=Evaluate, description="what an evaluation needs on the head")

    @property
    def venv(self) -> str:
        """Folder on every node of the virtual environment, where ``install.method`` is source."""
        return f"{self.state_dir}/venvs/{self.install.source.key}"

    @property
    def wheels(self) -> str:
        """Folder on every node of the wheels that it is made from."""
        return f"{self.state_dir}/wheels/{self.install.source.key}"


@dataclass(frozen=True, slots=True)
class Connection:
    """How a host is reached: what the ``ansible_*`` variables say, and nothing else.

    ``None`` (an empty tuple for ``known_hosts``) means that the inventory doesn't say: the transport then asks
    ~/.ssh/config for ``host``, and takes OpenSSH's default where that is silent too. Host keys are verified unless
    inventory or ssh config choose otherwise. Paths may begin with ``~``; ``proxy_command`` keeps its ``%h %p %r``.

    ``jump`` lists the hops, the first one dialled from here; an empty tuple is an explicit "directly". Where ``jump``
    or ``proxy_command`` is given, the ssh config's proxies don't count. A hop says only host, port and user; for its
    key, password, known hosts, policy, timeout and agent the transport asks the ssh config, then this connection.
    """

    kind: Literal["ssh", "local"] = "ssh"
    host: str = ""
    port: int | None = None
    user: str | None = None
    key_file: str | None = None
    password: Secret | None = None
    become: bool = False
    become_password: Secret | None = None
    known_hosts: tuple[str, ...] = ()
    host_key_policy: Literal["strict", "accept-new", "off"] | None = None
    host_key_alias: str | None = None
    jump: tuple[Connection, ...] | None = None
    proxy_command: str | None = None
    connect_timeout: float | None = None
    use_agent: bool | None = None
    ssh_config: str | None = None
    """``-F``: this file alone instead of ~/.ssh/config and /etc/ssh/ssh_config; "none": no ssh config at all."""


@dataclass(frozen=True, slots=True)
class Host:
    """One host of the inventory. ``index`` is its position in inventory order, from 0."""

    name: str
    index: int
    groups: tuple[str, ...]
    connection: Connection
    settings: Settings
    variables: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Inventory:
    """A loaded, validated inventory; ``hosts`` in inventory order, as Ansible lists them.

    ``groups`` names the hosts of every group, ``all`` and ``ungrouped`` included. ``digest`` is the SHA-256 of all that
    was resolved, without secrets. ``warnings`` are for the operator to see before anything is done. ``written`` is the
    ``qnext`` of each host as its files have it, which knows the places.
    """

    path: str
    hosts: tuple[Host, ...]
    groups: Mapping[str, tuple[str, ...]]
    digest: str = ""
    warnings: tuple[str, ...] = ()
    written: Mapping[str, Node] = field(default_factory=dict, compare=False, repr=False)

    @property
    def settings(self) -> Settings:
        """The first host's settings: for what is the same on all."""
        return self.hosts[0].settings

    def where(self, host: str, path: Sequence[str], *, key: bool = False) -> Position | None:
        """The place of a host's value (or key) at ``path`` below ``qnext``, for errors found after loading."""
        return self.written[host].where(path, key=key) if host in self.written else None
