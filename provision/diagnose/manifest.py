"""What is in an archive of evidence, and what was known of the cluster when it was taken.

``manifest.json`` lies at the top of the archive's only folder; every other file there is named in it, and what could
not be had is named too. ``logs collect`` writes it, ``diagnose`` reads it; of a live cluster, or of log files from
anywhere, the same is made without an archive. ::

    evidence-<cluster>-<time>/
        manifest.json
        diagnosis.json  report.md            what this program makes of it
        inventory.yaml                       secrets masked
        run/                                 the run that failed: run.json, events.jsonl, commands/
        launch/<node>/<process>.sh           what was started
        worker-<index>/                      a node, as MindCluster's ascend-fd reads it [domain section 10]
            <process>.log                    what a server said
            process_log/<process>/{debug,run,security}/plog/plog-*.log, …/device-*/device-*.log
            device_log/                      the driver's logs on the host
            environment_check/               npu_info_after.txt and what else tools say of devices and network
            host/                            kernel log, journal, versions, containers, sockets
            ray/<process>/                   Ray's session logs
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from provision.errors import UsageError

FORMAT = 1

Kind = Literal["stdout", "plog", "device", "driver", "kernel", "journal", "ray", "state", "launch", "run", "summary"]
"""What a file is: ``stdout`` of a server, CANN's ``plog`` and ``device`` logs of it, ``ray``; of a node the logs of the
``driver``, ``kernel`` and ``journal``; ``state`` is what a tool answered."""


@dataclass(frozen=True, slots=True)
class FileEntry:
    """``path`` below the archive's folder. ``bytes`` as it lies there; ``whole``: on the node, more where only its end
    was taken (``cut``). ``command``: what gave it. ``problem``: why it is not there, or not whole."""

    path: str
    kind: Kind
    node: str = ""
    process: str = ""
    bytes: int = 0
    whole: int = 0
    command: str = ""
    exit: int = 0
    seconds: float = 0.0
    problem: str = ""

    @property
    def cut(self) -> bool:
        return self.whole > self.bytes


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """A process of the plan, or a container of ours that no plan names.

    ``kind``: server, router or pool. ``state``: docker's word, "missing", or "unknown" where nobody could look.
    ``started`` and ``finished`` are seconds since the epoch by the controller's clock. ``unit``: the names of those
    that live and die with it, itself included. ``argv`` is what runs in it, ``api`` its port.
    """

    name: str
    node: str
    kind: str = "server"
    rank: int | None = None
    group: str = ""
    role: str = ""
    headless: bool = False
    container: str = ""
    state: str = "unknown"
    exit_code: int | None = None
    oom_killed: bool = False
    started: float | None = None
    finished: float | None = None
    image: str = ""
    api: int | None = None
    argv: tuple[str, ...] = ()
    unit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """``offset``: seconds that the node's clock is ahead of the controller's; ``zone``: seconds that its local time is
    ahead of UTC; None where not measured. ``missing``: why nothing, or not all, could be had of it. ``versions``: by
    what they are of (driver, firmware, cann, vllm, vllm-ascend, torch, torch-npu, docker, kernel, os)."""

    name: str
    index: int
    folder: str
    address: str = ""
    offset: float | None = None
    zone: float | None = None
    missing: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Manifest:
    """``taken``: seconds since the epoch. ``error``: the sentence with which the run failed that made the archive."""

    cluster: str = ""
    taken: float = 0.0
    tool: str = ""
    run: str = ""
    command: str = ""
    error: str = ""
    topology: str = ""
    hardware: str = ""
    model: str = ""
    served_name: str = ""
    endpoint: str = ""
    nodes: tuple[NodeEntry, ...] = ()
    processes: tuple[ProcessEntry, ...] = ()
    files: tuple[FileEntry, ...] = ()
    format: int = FORMAT

    def node(self, name: str) -> NodeEntry | None:
        return next((node for node in self.nodes if node.name == name), None)

    def process(self, name: str, node: str = "") -> ProcessEntry | None:
        return next((one for one in self.processes if one.name == name and (not node or one.node == node)), None)

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what ``as_json`` wrote; keys that this version doesn't know are passed over. Raises ``UsageError`` for
        anything that is no manifest, or one of a later format."""
        try:
            raw = json.loads(text)
            made = cls(**_known(cls, raw, nodes=NodeEntry, processes=ProcessEntry, files=FileEntry))
        except (ValueError, TypeError, AttributeError) as error:
            raise UsageError(f"this is no manifest of an archive of evidence: {error}") from None
        if made.format > FORMAT:
            hint = "read it with the version of qnext-provision that made it, or a later one"
            raise UsageError(f"the archive has format {made.format}, this version reads up to {FORMAT}", hint=hint)
        return made


def _known(kind: type[Any], raw: Any, **parts: type[Any]) -> dict[str, Any]:
    """The keys that ``kind`` has, with lists of ``parts`` made into theirs and other lists into tuples."""
    if not isinstance(raw, dict):
        raise TypeError("not an object")
    known = {key: value for key, value in raw.items() if key in kind.__dataclass_fields__}
    for key, value in known.items():
        if key in parts:
            known[key] = tuple(parts[key](**_known(parts[key], one)) for one in value)
        elif isinstance(value, list):
            known[key] = tuple(value)
    return known
