"""Launch scripts: one complete POSIX-sh script a process, which an operator can read and run without this tool.

What ``docker run`` gets is made here as words; the template only lays them out, and quotes every one. What only the
node can tell (its interface, whether an optional mount exists) the script finds out itself, so that the same
inventory gives the same script to the byte whether or not the node has been looked at. Secrets are in no script: it
reads them from a 0600 file.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from provision.accel.protocol import ContainerRecipe, Mount, accelerator
from provision.errors import ConfigError
from provision.inventory.model import Settings
from provision.serve import native
from provision.serve.environment import extends
from provision.serve.plan import Companion, LaunchPlan, Process, Wave

TEMPLATE = "launch/process.sh.j2"
HANDSHAKE_MINUTES = 5
"""How long a data-parallel worker waits for the head; fixed in vLLM [vllm v1/engine/core.py]."""

TRIAL = "check-"
"""How the process names of trials begin: they are no servers."""

_DIGEST_LABEL = re.compile(r"(?m)^(  --label qnext\.digest=)[0-9a-f]{16}( \\)$")
_HEADER = re.compile(r"\A(?:#.*\n)+")
_BLANK_LABEL = re.compile(r"(?m)^(  --label qnext\.digest=)( \\)$")


@dataclass(frozen=True, slots=True)
class Script:
    """A rendered launch script. ``filename`` is what ``render --out`` calls it; ``path`` is its place on the node;
    ``digest`` identifies its content and is the value of the container's ``qnext.digest`` label. ``secrets_path`` is
    the environment file that it reads, empty where it reads none. ``files`` are texts by path on the node, which it
    mounts."""

    node_index: int
    node: str
    process: str
    filename: str
    text: str
    digest: str
    container: str
    path: str
    secrets_path: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


def render_scripts(
    plan: LaunchPlan, settings_of: Mapping[str, Settings], recipes: Mapping[str, ContainerRecipe] | None = None
) -> tuple[Script, ...]:
    """The scripts of all processes, in the plan's order. ``settings_of`` is by node name, ``recipes`` by process
    name; without recipes the scripts decide on their node which optional mounts there are. Raises ``ConfigError`` for
    what no script can hold."""
    return tuple(
        render_script(plan, process, settings_of[process.node], (recipes or {}).get(process.name))
        for process in plan.processes
    )


def render_script(
    plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe | None = None
) -> Script:
    """The script of one process."""
    made = recipe or recipe_of(process, settings)
    folder = launch_folder(settings)
    secrets = secrets_path(process, settings)
    blank = _render(_context(plan, process, settings, made, secrets))
    digest = _digest(blank)
    return Script(
        node_index=process.node_index,
        node=process.node,
        process=process.name,
        filename=f"node{process.node_index}.{process.name}.sh",
        text=_BLANK_LABEL.sub(rf"\g<1>{digest}\2", blank, count=1),
        digest=digest,
        container=container_name(plan.cluster, process.name),
        path=f"{folder}/{process.name}.sh",
        secrets_path=secrets,
        files=_files(process, settings),
    )


def _files(process: Process, settings: Settings) -> dict[str, str]:
    """What must lie beside the script, by path."""
    files = {companion_path(settings, process, each): each.text for each in process.files}
    return files | ({native.keeper_path(settings): native.keeper_text()} if native.is_native(settings) else {})


def render_foreground(plan: LaunchPlan, process: Process, settings: Settings, header: Sequence[str]) -> str:
    """The launch script of a process for a supervisor such as systemd: it stays until the container ends, passes on
    signals, and prints the log. Its container has the digest of the launch script itself."""
    context = _context(plan, process, settings, recipe_of(process, settings), secrets_path(process, settings))
    blank = _render({**context, "header": [_one_line(line) for line in header], **_mode(process, settings, "stay")})
    digest = render_script(plan, process, settings).digest
    return _BLANK_LABEL.sub(rf"\g<1>{digest}\2", blank, count=1)


def secrets_path(process: Process, settings: Settings) -> str:
    """The environment file on the node that holds the API key and other secrets; empty where the process gets none."""
    keyed = settings.serve.api_key and (process.serves or process.keyed)
    secret = settings.serve.secret_env and process.kind == "server"
    return f"{launch_folder(settings)}/{process.name}.env" if keyed or secret else ""


def secret_lines(process: Process, settings: Settings) -> str:
    """What that file holds, for those who must write it themselves: a router needs the key alone."""
    names = list(settings.serve.secret_env) if process.kind == "server" else []
    names += ["VLLM_API_KEY"] if settings.serve.api_key else []
    return f"the line{'s' * (len(names) != 1)} " + ", ".join(f"{name}=…" for name in names)


def recipe_of(process: Process, settings: Settings) -> ContainerRecipe:
    """What a process needs of the hardware: a server its devices, a pool's master the driver's libraries, which its
    own are linked to, a router nothing."""
    return ContainerRecipe() if process.kind == "router" else accelerator(settings.hardware).recipe(process.devices)


def launch_folder(settings: Settings) -> str:
    """Where a node keeps its launch scripts."""
    return f"{settings.state_dir}/{settings.cluster}/launch"


def companion_path(settings: Settings, process: Process, companion: Companion) -> str:
    """Where a companion lies on its node."""
    return f"{launch_folder(settings)}/{process.name}.{companion.name}"


def render_trial(plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe, *, title: str) -> str:
    """A script that tries something in a container made as the launch scripts make theirs: the same image, devices,
    mounts, limits, network and environment, and ``process.argv`` as its command. It runs in the foreground and is gone
    when it ends; its labels let ``down`` find one that a broken connection left behind. It gets neither weights nor
    secrets. ``title`` says what is tried."""
    context = _context(plan, replace(process, weights=False), settings, recipe, secrets="")
    header = [
        f"{title}, on {process.node} of cluster {plan.cluster}.",
        "Leaves nothing behind; can be run by hand as root.",
    ]
    blank = _render({**context, "header": header, **_mode(process, settings, "try")})
    return _BLANK_LABEL.sub(r"\g<1>trial\2", blank, count=1)


def container_name(cluster: str, process: str) -> str:
    return f"qnext-{cluster}-{process}"


def digest_of(text: str) -> str:
    """The digest of a script as it stands: 16 hex digits of the SHA-256 over it, without its header and with the
    digest's own label blank."""
    return _digest(_DIGEST_LABEL.sub(r"\1\2", text, count=1))


def readme(plan: LaunchPlan, scripts: Sequence[Script]) -> str:
    """How to run a folder of rendered scripts by hand."""
    title = f"Launch scripts of cluster {plan.cluster}: {plan.served_name}, topology {plan.topology}"
    files = [f"  {script.filename:<24} on {script.node}" for script in scripts]
    lines = [
        title,
        "",
        "Each runs as root on its node, in this order:",
        "",
        *order(plan),
        "",
        *files,
        "",
        *ready(plan),
    ]
    return "\n".join(lines) + "\n"


def model_mount(path: str) -> Mount:
    """The weights, read-only at the same path. A snapshot of Hugging Face's cache is links into the ``blobs`` folder
    beside it, so there the whole model's folder is mounted."""
    clean = posixpath.normpath(path)
    model, snapshots, _ = clean.rpartition("/snapshots/")
    source = model if snapshots and posixpath.basename(model).startswith("models--") else clean
    return Mount(source, source, "dir", read_only=True)


def weights_mounts(plan: LaunchPlan, process: Process, settings: Settings) -> tuple[Mount, ...]:
    """The folder of the weights; for a repository, the cache of the hubs, where their clients look for it and keep
    notes of their own."""
    if not process.weights:
        return ()
    if plan.model_path.startswith("/"):
        return (model_mount(plan.model_path),)
    return (Mount(settings.model.cache, "/root/.cache", "dir"),)


def companion_mounts(process: Process, settings: Settings) -> tuple[Mount, ...]:
    """Its companions, read-only."""
    return tuple(
        Mount(companion_path(settings, process, each), f"/qnext/{each.name}", "file", read_only=True)
        for each in process.files
    )


# ---- what docker run gets


_MODES: Mapping[native.Mode, tuple[str, ...]] = {"start": ("-d",), "stay": ("--sig-proxy=true",), "try": ("--rm",)}


def _mode(process: Process, settings: Settings, mode: native.Mode) -> dict[str, object]:
    """Whether the script waits for what it starts."""
    own = native.of_process(process, settings, mode) if native.is_native(settings) else None
    return {"mode": _MODES[mode], "native": own}


def docker_options(
    plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe
) -> list[tuple[str, ...]]:
    """The options of ``docker run`` that are the same on every node, one a line, without environment and digest.

    No ``--rm``: logs outlive a crash. ``--entrypoint=``: some images (vLLM's own for CPU) have one that would swallow
    our command. Logs are bounded at 500 MB."""
    mounts = (*certain_mounts(recipe), *weights_mounts(plan, process, settings), *companion_mounts(process, settings))
    return [
        (f"--name={container_name(plan.cluster, process.name)}",),
        *(("--label", f"qnext.{key}={value}") for key, value in labels(plan, process).items()),
        ("--net=host",),
        (f"--shm-size={settings.install.shm_size}",),
        ("--log-driver=json-file",),
        ("--log-opt", "max-size=100m"),
        ("--log-opt", "max-file=5"),
        *_engine_options(process, settings),
        *((("--privileged",),) if settings.install.privileged and process.devices else ()),
        *(("--device", device) for device in recipe.devices),
        *(("-v", mount.volume) for mount in mounts),
        *(("-e", f"{name}={value}") for name, value in runtime_environment(process, settings)),
    ]


def _engine_options(process: Process, settings: Settings) -> list[tuple[str, ...]]:
    """nerdctl takes an empty entry point for a program's name. podman limits a container to 2048 threads, and keeps it
    from bind mounts where SELinux enforces; Docker does neither [podman-run(1), --pids-limit, --security-opt]."""
    match settings.install.engine:
        case "nerdctl":
            return [(f"--entrypoint={_shell(process)[0]}",)]
        case "podman":
            return [("--entrypoint=",), ("--pids-limit=-1",), ("--security-opt", "label=disable")]
        case _:
            return [("--entrypoint=",)]


def _native_options(
    plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe
) -> list[tuple[str, ...]]:
    """The same for a process without a container: names and values, as the keeper reads them."""
    devices = [path for path in recipe.devices if path.removeprefix("/dev/davinci").isdigit()]
    return [
        ("--name", container_name(plan.cluster, process.name)),
        *(("--label", f"qnext.{key}={value}") for key, value in labels(plan, process).items()),
        ("--image", process.image or plan.image),
        ("--venv", settings.venv),
        *(("--device", device) for device in devices),
        *(("-e", f"{name}={value}") for name, value in native.environment(process, settings).items()),
    ]


def _shell(process: Process) -> list[str]:
    return ["bash", "-lic"] if process.login else ["sh", "-c"]


def runtime_environment(process: Process, settings: Settings) -> list[tuple[str, str]]:
    """Variables for Docker's runtime rather than for the server."""
    fixed = accelerator(settings.hardware).fixed_environment() if process.kind == "server" else {}
    return sorted(fixed.items())


def labels(plan: LaunchPlan, process: Process) -> dict[str, str]:
    """The labels by which a container is found, without the digest; ``qnext.`` is left out of the keys. One server of a
    cluster's only group has no more of them than a cluster, a process and a rank."""
    more = {"group": process.group, "kind": "" if process.kind == "server" else process.kind}
    if process.files:  # what it mounts is a part of what it was started with
        more["files"] = _short_digest("\0".join(f"{each.name}\0{each.text}" for each in process.files))
    if process.headless and process.group:
        more["headless"] = "true"
    always = {"cluster": plan.cluster, "process": process.name, "rank": str(process.rank)}
    return always | {key: value for key, value in more.items() if value}


def certain_mounts(recipe: ContainerRecipe) -> tuple[Mount, ...]:
    return tuple(mount for mount in recipe.mounts if not mount.optional)


def start_command(process: Process) -> str:
    """What the container's shell runs: the command, after the variables that extend the image's own."""
    exports = [
        f'export {name}="{_live(name, value)}"; ' for name, value in sorted(process.env.items()) if extends(name, value)
    ]
    return "".join(exports) + 'exec "$@"'


def _live(name: str, value: str) -> str:
    """``value`` between double quotes, in which only the reference to ``name`` itself is filled."""
    reference = "${" + name + "-}"
    parts = re.split(rf"\$(?:\{{{name}\}}|{name}\b)", value)
    return reference.join(re.sub(r'([\\"$`])', r"\\\1", part) for part in parts)


def command_lines(argv: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """``argv`` as lines: the command and its positional words, then each option with its values."""
    line: list[str] = []
    for word in argv:
        if word.startswith("--") and line:
            yield tuple(line)
            line = []
        line.append(word)
    yield tuple(line)


# ---- what the template gets


def _context(
    plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe, secrets: str
) -> dict[str, object]:
    if native.is_native(settings):
        return _native_context(plan, process, settings, recipe, secrets)
    shell = _shell(process)
    return {
        **_common(plan, process, settings, secrets),
        **_mode(process, settings, "start"),
        "needs": list(_needs(plan, process, settings, recipe)),
        "optional": [_WhereItIs(_test(mount), mount.volume) for mount in recipe.mounts if mount.optional],
        "choices": [_Choice.of(choice) for choice in recipe.one_of],
        "engine": settings.install.engine,
        "options": docker_options(plan, process, settings, recipe),
        "image": process.image or plan.image,
        "shell": shell[1:] if settings.install.engine == "nerdctl" else shell,
        "start": start_command(process),
        "command": list(command_lines(process.argv)),
    }


def _common(plan: LaunchPlan, process: Process, settings: Settings, secrets: str) -> dict[str, object]:
    return {
        "header": [_one_line(line) for line in _header(plan, process, secrets, settings)],
        "container": container_name(plan.cluster, process.name),
        "node": process.node,
        "address": process.address,
        "interface_env": sorted(process.interface_env.items()),
        "secrets": secrets,
        "secret_lines": secret_lines(process, settings),
        "environment": [f"{name}={value}" for name, value in sorted(process.env.items()) if not extends(name, value)],
    }


def _native_context(
    plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe, secrets: str
) -> dict[str, object]:
    """Without a container there is nothing to mount: companions are named by their place on the node."""
    places = {f"/qnext/{each.name}": companion_path(settings, process, each) for each in process.files}
    here = replace(
        process,
        argv=tuple(native.placed(word, places) for word in process.argv),
        env={name: native.placed(value, places) for name, value in process.env.items()},
    )
    # Library paths of CANN are set by what only bash reads; a container's login shell has nothing to say here.
    shell = ["bash", "-c"] if native.needs_cann(process, settings) else ["sh", "-c"]
    return {
        **_common(plan, here, settings, secrets),
        **_mode(process, settings, "start"),
        "needs": list(_native_needs(plan, process, settings, recipe)),
        "options": _native_options(plan, process, settings, recipe),
        "shell": shell,
        "start": native.start_command(process, settings, start_command(here)),
        "command": list(command_lines(here.argv)),
    }


@dataclass(frozen=True, slots=True)
class _Need:
    """Paths that must pass ``test`` on the node before Docker is asked."""

    test: str
    paths: tuple[str, ...]
    hint: str


@dataclass(frozen=True, slots=True)
class _WhereItIs:
    """A mount that is made where ``test`` holds on the node."""

    test: tuple[str, str]
    volume: str


@dataclass(frozen=True, slots=True)
class _Choice:
    """Mounts of which at least one must be there; ``hint`` where none is."""

    mounts: tuple[_WhereItIs, ...]
    hint: str

    @classmethod
    def of(cls, choice: Sequence[Mount]) -> _Choice:
        places = " or ".join(mount.source for mount in choice)
        hint = f"no {places}; the Ascend driver brings it: is it installed?"
        return cls(tuple(_WhereItIs(_test(mount), mount.volume) for mount in choice), hint)


def _needs(plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe) -> Iterator[_Need]:
    driver = "the Ascend driver brings it: is it installed and loaded?"
    mounts = [_test(mount) for mount in certain_mounts(recipe)]
    groups = {"-c": list(recipe.devices)}
    groups |= {kind: [path for test, path in mounts if test == kind] for kind in ("-d", "-f")}
    yield from (_Need(test, tuple(paths), driver) for test, paths in groups.items() if paths)
    for weights in weights_mounts(plan, process, settings):
        yield _Need("-d", (weights.source,), "the weights must be at the same path on every node")
    companions = tuple(mount.source for mount in companion_mounts(process, settings))
    if companions:
        yield _Need("-f", companions, "it comes with this script, from qnext-provision render --out")


def _native_needs(plan: LaunchPlan, process: Process, settings: Settings, recipe: ContainerRecipe) -> Iterator[_Need]:
    if recipe.devices:
        yield _Need("-c", recipe.devices, "the Ascend driver brings it: is it installed and loaded?")
    if native.needs_cann(process, settings):
        yield _Need("-f", (native.NNAL_ENVIRONMENT,), "install the packages of CANN: toolkit, ops and nnal")
    if process.weights and plan.model_path.startswith("/"):
        yield _Need("-d", (plan.model_path,), "the weights must be at the same path on every node")
    companions = tuple(companion_path(settings, process, each) for each in process.files)
    if companions:
        yield _Need("-f", companions, "it comes with this script, from qnext-provision render --out")


def _test(mount: Mount) -> tuple[str, str]:
    return ("-f" if mount.kind == "file" else "-d"), mount.source


def _header(plan: LaunchPlan, process: Process, secrets: str, settings: Settings) -> Iterator[str]:
    container = container_name(plan.cluster, process.name)
    yield f"Process {process.name} (rank {process.rank}) of cluster {plan.cluster}, for node {process.node}."
    yield "Made by qnext-provision render; complete in itself."
    yield ""
    if native.is_native(settings):
        yield from _about_native(process, settings)
    else:
        docker = settings.install.engine
        yield f"Run as root on {process.node}: starts the container {container}, prints its id, and does not wait"
        yield "until it serves. Changes nothing else. An earlier container of that name must be removed first:"
        yield f"  {docker} stop -t 60 {container}; {docker} rm {container}"
        yield f"Follow it: {docker} logs -f {container}"
    if secrets:
        what = "The API key is" if settings.serve.api_key and not settings.serve.secret_env else "Secrets are"
        yield f"{what} read from {secrets} (mode 0600, with {secret_lines(process, settings)})."
    yield ""
    yield "Order over the cluster:"
    yield from order(plan)
    yield ""
    yield from ready(plan)


def _about_native(process: Process, settings: Settings) -> Iterator[str]:
    run = native.run_folder(settings, process.name)
    yield f"Run as root on {process.node}: starts the server as a process of the node, prints an id, and does not wait"
    yield f"until it serves. What is known of it is in {run}. Refuses while an earlier one runs; to end that:"
    yield f"  kill -TERM $(cut -d' ' -f1 {run}/pid)"
    yield f"Follow it: tail -F {run}/log"


def order(plan: LaunchPlan) -> Iterator[str]:
    """The waves as lines of text: what starts where, and when to go on."""
    homes = {process.name: process.node for process in plan.processes}
    for number, wave in enumerate(plan.waves, start=1):
        where = ", ".join(f"{name} on {homes[name]}" for name in wave.processes)
        after = plan.waves[number : number + 1]
        condition = _ready_to_front(plan) if after and after[0].front else _started(plan, wave)
        yield f"  {number}. {where}" + (f"; go on when {condition}" if after else "")
    if any(wave.started == "port:rpc" for wave in plan.waves):
        yield f"Workers give up when the head does not answer within {HANDSHAKE_MINUTES} minutes."


def _started(plan: LaunchPlan, wave: Wave) -> str:
    kind, _, purpose = wave.started.partition(":")
    port = plan.process(wave.processes[0]).ports.get(purpose)
    return f"TCP port {port} listens there" if kind == "port" else "it runs"


def _ready_to_front(plan: LaunchPlan) -> str:
    paths = ", ".join(dict.fromkeys(server.health for server in plan.servers))
    return f"every server with an API answers 200 at {paths}"


def ready(plan: LaunchPlan) -> Iterator[str]:
    """How to tell that the cluster serves, as lines of text."""
    yield "Ready when this answers with text (200 from /health alone proves nothing):"
    yield f"  curl --noproxy '*' {plan.endpoint}/v1/chat/completions -H 'Content-Type: application/json' \\"
    message = '"messages": [{"role": "user", "content": "Who are you?"}], "max_completion_tokens": 32'
    yield f"""    -d '{{"model": "{plan.served_name}", {message}}}'"""


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)


def _render(context: Mapping[str, object]) -> str:
    """The script with its digest's label left blank: the digest is taken over this."""
    from provision.template.environment import render_template

    try:
        return render_template(TEMPLATE, **context, digest="")
    except ValueError as error:
        raise ConfigError(f"launch script: {error}") from error


def _digest(blank: str) -> str:
    """Without the header, which tells of the whole cluster: another process there changes nothing here."""
    return _short_digest(_HEADER.sub("", blank, count=1))


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
