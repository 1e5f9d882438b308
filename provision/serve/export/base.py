"""What the formats share: their files, what a process waits for, and where a server's API can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from provision.errors import ConfigError
from provision.inventory.model import Settings
from provision.serve import native
from provision.serve.plan import LaunchPlan, Process, Wave

if TYPE_CHECKING:
    from provision.serve.launch import Launch

MARK = "Made by qnext-provision render"
"""What stands near the top of every file that may replace one of its name."""

WILDCARDS = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True)
class ExportFile:
    """A file below the folder of an export: ``path`` is relative. ``companion``: it belongs to another file, and its
    text is not ours to mark."""

    path: str
    text: str
    executable: bool = False
    companion: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """What must answer before a process starts: a TCP port, or a path of it by HTTP with 200."""

    process: str
    address: str
    port: int
    path: str = ""

    @property
    def url(self) -> str:
        host = bracketed(self.address)
        return f"http://{host}:{self.port}{self.path}" if self.path else f"tcp://{host}:{self.port}"


def image_of(plan: LaunchPlan, process: Process, settings: Settings) -> str:
    """What whoever runs the export pulls: a pinned image by its digest, since the tag that stands for it is one that
    our nodes alone know."""
    if process.image and process.image != plan.image:
        return process.image
    install = settings.install
    return f"{install.repository}@{install.pinned}" if install.pinned and install.method == "image" else plan.image


def gates(plan: LaunchPlan, process: Process) -> Iterator[Gate]:
    """What a process waits for, besides that its image is there. The front waits for all servers that have an API."""
    for wave in plan.waves:
        if process.name in wave.processes:
            yield from _ready_servers(plan) if wave.front else ()
            return
        yield from _opened(plan, process, wave)


def earlier(plan: LaunchPlan, process: Process) -> list[Process]:
    """What starts before it on the same node: the processes of the nearest wave that has some there. For the front
    all servers."""
    found: list[Process] = []
    for wave in plan.waves:
        if process.name in wave.processes:
            return [server for server in plan.servers if server.node == process.node] if wave.front else found
        found = [each for each in _of(plan, wave) if each.node == process.node] or found
    return found


def _of(plan: LaunchPlan, wave: Wave) -> list[Process]:
    return [plan.process(name) for name in wave.processes]


def _opened(plan: LaunchPlan, process: Process, wave: Wave) -> Iterator[Gate]:
    """Groups don't wait for each other; all servers wait for a pool's master."""
    kind, _, purpose = wave.started.partition(":")
    if kind != "port" or process.kind != "server":
        return
    for other in _of(plan, wave):
        if other.kind == "pool" or other.group == process.group:
            yield Gate(other.name, other.address or "127.0.0.1", other.ports[purpose])


def _ready_servers(plan: LaunchPlan) -> Iterator[Gate]:
    for server in plan.servers:
        yield Gate(server.name, asked_at(server), server.api_port or 0, server.health)


def asked_at(process: Process) -> str:
    """The address at which an API answers others: the one it listens on, or its node's."""
    return listening(process) or process.address or "127.0.0.1"


def listening(process: Process) -> str:
    """The one address that its ``--host`` binds; empty where that is all of them, or isn't said."""
    words = [*process.argv, ""]
    given = words[words.index("--host") + 1] if "--host" in words else ""
    return "" if given in WILDCARDS else given


def bracketed(address: str) -> str:
    """As a URL holds it."""
    return f"[{address}]" if ":" in address else address


def nodes(plan: LaunchPlan) -> list[tuple[str, Sequence[Process]]]:
    """Each node with its processes, in the inventory's order."""
    found: dict[tuple[int, str], list[Process]] = {}
    for process in plan.processes:
        found.setdefault((process.node_index, process.node), []).append(process)
    return [(node, processes) for (_, node), processes in sorted(found.items())]


def companions(process: Process, prefix: str) -> list[ExportFile]:
    """The files that a process reads, each ``<prefix><process>.<name>``."""
    return [ExportFile(f"{prefix}{process.name}.{each.name}", each.text, companion=True) for each in process.files]


def keepers(settings: Settings, folder: str) -> list[ExportFile]:
    """The program that keeps servers which have no container; none where they have."""
    if not native.is_native(settings):
        return []
    return [ExportFile(f"{folder}{native.KEEPER}", native.keeper_text(), companion=True)]


def refuse_native(settings: Settings, what: str) -> None:
    """Raise ``ConfigError`` where servers run without containers, which is all that this format can start."""
    if native.is_native(settings):
        raise ConfigError(
            f"{what} start containers, and install.method is source: servers are processes of their nodes",
            hint="use --format systemd or scripts, or install.method: image",
        )


def secret_lines(launch: Launch, settings: Mapping[str, Settings]) -> list[str]:
    """Where secrets are to lie, and which, for a README; empty where there are none."""
    from provision.serve import render

    places = [
        f"  {p.node}: {path}: {render.secret_lines(p, settings[p.node])}"
        for p in launch.plan.processes
        if (path := render.secrets_path(p, settings[p.node]))
    ]
    if not places:
        return []
    return ["", "Secrets are in no file here. Write these (mode 0600, owner root):", "", *places]
