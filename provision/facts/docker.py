"""Docker on a node: the daemon, our containers and those of others that hold NPUs, images.

That docker is missing, or that its daemon refuses us, is a value: only the one who asked knows whether it matters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

from provision.errors import RemoteError
from provision.facts.base import Fact
from provision.facts.reading import Json, complaints, integer, section, sections
from provision.results import Result
from provision.shell import quote

CONTAINER_FORMAT = (
    '{"Id":{{json .Id}},"Name":{{json .Name}},"Image":{{json .Image}},"Created":{{json .Created}},'
    '"State":{{json .State}},"RestartCount":{{json .RestartCount}},"Ref":{{json .Config.Image}},'
    '"Labels":{{json .Config.Labels}},"Privileged":{{json .HostConfig.Privileged}},'
    '"Runtime":{{json .HostConfig.Runtime}},"User":{{json .Config.User}},'
    '"Devices":{{json .HostConfig.Devices}}} @env {{json .Config.Env}}'
)
"""What is asked of ``docker inspect``. Of the environment only ASCEND_VISIBLE_DEVICES leaves the node: the rest may
hold secrets."""


@dataclass(frozen=True, slots=True)
class DockerValue:
    """``error`` is the daemon's or client's own text where ``reachable`` is false. ``root_free`` in bytes, of
    the file system mounted at ``root_mount``.
    ``engine``: what answers to the name: docker, podman, nerdctl; processes, where servers run without any.
    ``others``: further engines that are installed, told where the one asked for is not."""

    installed: bool = False
    reachable: bool = False
    error: str = ""
    client_version: str = ""
    server_version: str = ""
    root_dir: str = ""
    root_free: int | None = None
    root_mount: str = ""
    storage_driver: str = ""
    runtimes: tuple[str, ...] = ()
    default_runtime: str = ""
    arch: str = ""
    engine: str = ""
    others: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Docker(Fact[DockerValue]):
    """Client, daemon and where it keeps images."""

    name: ClassVar[str] = "docker"
    deadline: ClassVar[float] = 30.0

    def script(self) -> str:
        return """\
echo '@@ version'; docker --version 2>/dev/null ||
  { echo '@@ others'; for e in docker podman nerdctl; do [ ! -x "$(command -v $e)" ] || echo $e; done; exit 0; }
echo '@@ info'; i=$(timeout 25 docker info --format '{{json .}}' 2>&1); e=$?; printf '%s\\n' "$i"; echo "@@ exit $e"
d=$(printf '%s\\n' "$i" | sed -n 's/.*"DockerRootDir":"\\([^"]*\\)".*/\\1/p')
[ -n "$d" ] && { echo '@@ df'; timeout 4 df -P -k "$d" | tail -n 1; }
:
"""

    def parse(self, raw: Result) -> DockerValue:
        client = section(raw.stdout, "version")
        version = re.search(r"(\w+) version ([^\s,]+)", client)
        lines = section(raw.stdout, "info").splitlines()
        info = next((Json.load(line) for line in lines if line.startswith("{")), Json(None))
        error = "" if info.at("ServerVersion").text else _refusal(raw, info, lines)
        room = section(raw.stdout, "df").split()
        missing = ("others",) in {part.words for part in sections(raw.stdout)}
        installed = raw.timed_out or (bool(sections(raw.stdout)) and not missing)
        return DockerValue(
            installed=installed,
            reachable=bool(info.at("ServerVersion").text),
            error=error if installed else "docker is not installed",
            client_version=version[2] if version else "",
            server_version=info.at("ServerVersion").text,
            root_dir=info.at("DockerRootDir").text,
            root_free=_kilobytes(room[3]) if len(room) > 3 else None,
            root_mount=" ".join(room[5:]) if "".join(room[5:6]).startswith("/") else "",
            storage_driver=info.at("Driver").text,
            runtimes=tuple(sorted(info.at("Runtimes").entries)),
            default_runtime=info.at("DefaultRuntime").text,
            arch=info.at("Architecture").text,
            engine=version[1].lower() if version else "",
            others=tuple(section(raw.stdout, "others").split()),
            problems=complaints(raw),
        )


def _refusal(raw: Result, info: Json, lines: list[str]) -> str:
    """Why there is no daemon to talk to, in docker's own words."""
    if raw.timed_out or ("exit", "124") in {part.words for part in sections(raw.stdout)}:
        return "the docker daemon does not answer"
    said = [*info.at("ServerErrors").texts, *(line for line in lines if line and not line.startswith("{"))]
    return said[0].strip() if said else "the docker daemon did not say its version"


def _kilobytes(text: str) -> int | None:
    number = integer(text)
    return None if number is None else number * 1024


@dataclass(frozen=True, slots=True)
class Container:
    """A container as ``docker inspect`` tells it.

    ``state``: created, running, paused, restarting, removing, exited, dead. Times are RFC 3339 as docker writes them,
    empty where it never happened. ``devices`` are the davinci numbers it maps. ``user`` is whom its program runs as,
    empty for root. ``pod`` is ``namespace/name`` of a Kubernetes pod that it belongs to. ``process``, ``digest``,
    ``rank``, ``group``, ``kind`` (router, pool; empty for a server) and ``headless`` are our labels; empty (None) on
    containers that aren't ours.
    """

    id: str
    name: str
    image: str = ""
    image_id: str = ""
    state: str = ""
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""
    created: str = ""
    started: str = ""
    finished: str = ""
    restarts: int = 0
    pid: int | None = None
    devices: tuple[int, ...] = ()
    privileged: bool = False
    user: str = ""
    pod: str = ""
    cluster: str = ""
    process: str = ""
    digest: str = ""
    rank: int | None = None
    group: str = ""
    kind: str = ""
    headless: bool = False

    @property
    def running(self) -> bool:
        return self.state in ("running", "restarting", "paused")

    def age(self, now: float | None) -> float | None:
        """Seconds that it runs; ``now`` by its node's clock, since the epoch. None where that can't be told."""
        if not self.running or now is None:
            return None
        try:
            # Docker writes nanoseconds; datetime reads microseconds.
            started = datetime.fromisoformat(self.started[:26].rstrip("Z")).replace(tzinfo=UTC)
        except ValueError:
            return None
        return max(0.0, now - started.timestamp())


@dataclass(frozen=True, slots=True)
class ContainersValue:
    """``containers`` carry our label for the cluster, in any state; ``foreign`` run, aren't of this cluster, and map
    NPUs or are privileged."""

    containers: tuple[Container, ...] = ()
    foreign: tuple[Container, ...] = ()
    reachable: bool = False
    problems: tuple[str, ...] = ()

    def process(self, name: str) -> Container | None:
        """Our container for the process called ``name``."""
        return next((c for c in self.containers if c.process == name), None)

    def answered(self, node: str) -> ContainersValue:
        """Itself, for what may not take silence for absence. Raises ``RemoteError`` where docker did not answer."""
        if self.reachable:
            return self
        raise RemoteError(
            f"docker does not tell which containers there are: {'; '.join(self.problems) or 'no answer'}",
            node=node,
            hint="docker ps on the node shows whether it answers; where the node is busy loading, run it again later",
        )


@dataclass(frozen=True, slots=True)
class Containers(Fact[ContainersValue]):
    """Our containers of one cluster, and foreign ones that can reach NPUs."""

    name: ClassVar[str] = "containers"
    deadline: ClassVar[float] = 30.0
    cluster: str = ""

    def script(self) -> str:
        label = quote(f"label=qnext.cluster={self.cluster}")
        return f"""\
command -v docker >/dev/null || {{ echo '@@ missing'; exit 0; }}
a=$(timeout 10 docker ps -a --no-trunc -q --filter {label} 2>&1) || {{ echo '@@ error'; printf '%s\\n' "$a"; exit 0; }}
b=$(timeout 10 docker ps --no-trunc -q 2>&1) || {{ echo '@@ error'; printf '%s\\n' "$b"; exit 0; }}
ids=$(printf '%s\\n' "$a" "$b" | grep -x '[0-9a-f]\\{{12,64\\}}' | sort -u)
c=
if [ -n "$(echo $ids)" ]; then
  c=$(timeout 10 docker inspect --type container --format {quote(CONTAINER_FORMAT)} $ids 2>/dev/null)
  case $? in 124 | 143) echo '@@ error'; echo 'docker inspect did not answer'; exit 0 ;; esac
fi
echo '@@ containers'
printf '%s\\n' "$c" |
  sed -e 's/ @env .*"ASCEND_VISIBLE_DEVICES=\\([^"]*\\)".*$/ @visible \\1/' -e 's/ @env .*$//'
:
"""

    def parse(self, raw: Result) -> ContainersValue:
        parts = {part.words: part for part in sections(raw.stdout)}
        if ("missing",) in parts:
            return ContainersValue(problems=(*complaints(raw), "docker is not installed"))
        if ("containers",) not in parts:
            said = section(raw.stdout, "error").strip().splitlines()
            return ContainersValue(problems=(*complaints(raw), *said[:1]) or ("docker did not answer",))
        found = [_container(line) for line in parts["containers",].lines if line.startswith("{")]
        known = [c for c in found if c is not None]
        ours = [c for c in known if c.cluster == self.cluster and self.cluster]
        foreign = [c for c in known if c not in ours and c.running and (c.devices or c.privileged)]
        unread = ("docker inspect answered what is no JSON",) if len(known) < len(found) else ()
        return ContainersValue(
            containers=tuple(sorted(ours, key=lambda c: c.name)),
            foreign=tuple(sorted(foreign, key=lambda c: c.name)),
            reachable=True,
            problems=complaints(raw) + unread,
        )


def _container(line: str) -> Container | None:
    """One line of ``docker inspect`` with ``CONTAINER_FORMAT``."""
    text, _, visible = line.partition(" @visible ")
    said = Json.load(text)
    if not said.at("Id").text:
        return None
    state, labels = said.at("State"), said.at("Labels")
    mapped = (*said.at("Devices").items, *said.at("HostConfig", "Devices").items)
    return Container(
        id=said.at("Id").text,
        name=said.at("Name").text.removeprefix("/"),
        image=said.at("Ref").text,
        image_id=_image_id(said.at("Image").text),
        state=state.at("Status").text,
        exit_code=state.at("ExitCode").number,
        oom_killed=state.at("OOMKilled").true,
        error=state.at("Error").text,
        created=said.at("Created").text,
        started=_moment(state.at("StartedAt").text),
        finished=_moment(state.at("FinishedAt").text),
        restarts=said.at("RestartCount").number or 0,
        pid=state.at("Pid").number or None,
        devices=_devices(mapped, "" if said.at("Runtime").text in _PLAIN_RUNTIMES else visible),
        privileged=said.at("Privileged").true or said.at("HostConfig", "Privileged").true,
        user=said.at("User").text,
        pod="/".join(labels.at(f"io.kubernetes.pod.{key}").text for key in ("namespace", "name")).strip("/"),
        cluster=labels.at("qnext.cluster").text,
        process=labels.at("qnext.process").text,
        digest=labels.at("qnext.digest").text,
        rank=integer(labels.at("qnext.rank").text),
        group=labels.at("qnext.group").text,
        kind=labels.at("qnext.kind").text,
        headless=labels.at("qnext.headless").text == "true",
    )


def _image_id(text: str) -> str:
    """podman leaves out which kind of digest it is; nerdctl gives the image's name, which is none."""
    if text.startswith("sha256:"):
        return text
    return f"sha256:{text}" if re.fullmatch("[0-9a-f]{64}", text) else ""


_PLAIN_RUNTIMES = ("runc", "crun", "io.containerd.runc.v2", "oci", "native")
"""What maps no NPU, whatever ASCEND_VISIBLE_DEVICES says: images may set it, only Ascend's own runtime heeds it."""


def _moment(text: str) -> str:
    """Docker writes the year 1 for what never happened."""
    return "" if text.startswith("0001-") else text


def _devices(devices: Iterable[Json], visible: str) -> tuple[int, ...]:
    """Davinci numbers that a container maps itself, or has the Ascend runtime map (``0,2-5``, ``Ascend910-3``)."""
    paths = (device.at("PathOnHost").text for device in devices)
    numbers = {int(m[1]) for m in (re.fullmatch(r"/dev/davinci([0-9]{1,5})", path) for path in paths) if m}
    for first, last in re.findall(r"(?<![0-9])([0-9]{1,4})(?:-([0-9]{1,4}))?(?![0-9])", _CHIP.sub("", visible)):
        numbers.update(range(int(first), int(last or first) + 1))
    return tuple(sorted(numbers))


_CHIP = re.compile(r"Ascend[0-9A-Za-z]*-")


@dataclass(frozen=True, slots=True)
class ImageValue:
    """``id`` is the digest of the image's configuration: equal ids are equal images. ``size`` in bytes."""

    ref: str
    present: bool = False
    id: str = ""
    arch: str = ""
    digests: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    size: int | None = None
    created: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Image(Fact[ImageValue]):
    """One image by reference."""

    name: ClassVar[str] = "image"
    deadline: ClassVar[float] = 30.0
    ref: str = ""

    def script(self) -> str:
        return f"""\
command -v docker >/dev/null || {{ echo '@@ missing'; exit 0; }}
i=$(timeout 20 docker image inspect --format '{{{{json .}}}}' {quote(self.ref)} 2>&1); e=$?
echo "@@ exit $e"; printf '%s\\n' "$i"
"""

    def parse(self, raw: Result) -> ImageValue:
        lines = [line for part in sections(raw.stdout) for line in part.lines if line.strip()]
        said = next((Json.load(line) for line in lines if line.startswith("{")), Json(None))
        if not said.at("Id").text:
            return ImageValue(self.ref, problems=_no_image(raw, lines))
        env = (entry.partition("=") for entry in said.at("Config", "Env").texts)
        return ImageValue(
            ref=self.ref,
            present=True,
            id=_image_id(said.at("Id").text),
            arch=said.at("Architecture").text,
            digests=said.at("RepoDigests").texts,
            env={key: value for key, _, value in env},
            size=said.at("Size").number,
            created=said.at("Created").text,
            problems=complaints(raw),
        )


_ABSENT = ("no such image", "image not known")
"""What docker and nerdctl say, and podman."""


def _no_image(raw: Result, lines: list[str]) -> tuple[str, ...]:
    """Absent is no problem; that docker couldn't be asked is."""
    words = {part.words for part in sections(raw.stdout)}
    if ("missing",) in words:
        return (*complaints(raw), "docker is not installed")
    if ("exit", "124") in words:
        return (*complaints(raw), "the docker daemon does not answer")
    said = [line for line in lines if line not in ("[]", "{}")]
    absent = any(words in line.lower() for words in _ABSENT for line in said)
    return complaints(raw) if absent else (*complaints(raw), *said[:1]) or ("docker image inspect said nothing",)
