"""How docker shows containers: rows of ``ps``, the object of ``inspect``, lines of ``logs``."""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple, TextIO

from provision.clock import sleep
from provision.rehearsal import wall
from provision.rehearsal.node import Node
from provision.rehearsal.standins.docker.errors import DockerError
from provision.rehearsal.standins.docker.store import SHIM, SHIM_BORN, Container, Json, as_int, strings
from provision.rehearsal.standins.docker.template import render

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s)")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_COLUMNS = {"ID": "CONTAINER ID", "Image": "IMAGE", "Command": "COMMAND", "RunningFor": "CREATED", "Status": "STATUS",
            "Ports": "PORTS", "Names": "NAMES"}  # fmt: skip


class LogOptions(NamedTuple):
    """What part of a log to print; ``since`` and ``until`` are seconds since 1970, 0 for no limit."""

    follow: bool = False
    since: float = 0.0
    until: float = 0.0
    tail: str = "all"
    timestamps: bool = False


def described(node: Node, container: Container) -> Json:
    """A container as ``docker inspect`` tells it."""
    config = container.config
    written = strings(config["written"])
    entrypoint = [str(config["entrypoint"])] if config["entrypoint"] else None
    argv = (entrypoint or []) + written
    state = container.state()
    state.pop(SHIM, None)
    state.pop(SHIM_BORN, None)
    return {
        "Id": container.id, "Created": config["created"], "Path": argv[0], "Args": argv[1:], "State": state,
        "Image": config["image_id"], "Name": f"/{container.name}", "RestartCount": 0, "Driver": "overlay2",
        "Platform": "linux", "LogPath": f"/var/lib/docker/containers/{container.id}/{container.id}-json.log",
        "HostConfig": _host_config(container),
        "Mounts": [_mount(bind) for bind in strings(config["binds"])],
        "Config": {
            "Hostname": node.name if config["network"] == "host" else container.id[:12], "Domainname": "",
            "User": config["user"], "Tty": config["tty"], "OpenStdin": config["interactive"], "Env": config["env"],
            "Cmd": written, "Image": config["image"], "WorkingDir": config["workdir"], "Entrypoint": entrypoint,
            "Labels": container.labels,
        },
        "NetworkSettings": {"Ports": {}, "Networks": {str(config["network"]): {"IPAddress": ""}}},
    }  # fmt: skip


def row(node: Node, container: Container, *, full: bool) -> Json:
    """A container as ``docker ps`` tells it."""
    config, state = container.config, container.state()
    command = " ".join(strings(config["written"]))
    shown = command if full or len(command) <= 20 else command[:19] + "…"
    return {
        "Command": f'"{shown}"', "CreatedAt": _local(str(config["created"])),
        "ID": container.id if full else container.id[:12], "Image": config["image"],
        "Labels": ",".join(f"{key}={value}" for key, value in container.labels.items()), "LocalVolumes": "0",
        "Mounts": ",".join(bind.split(":")[0] for bind in strings(config["binds"])), "Names": container.name,
        "Networks": config["network"], "Ports": "", "RunningFor": f"{_ago(node, str(config['created']))} ago", "Size": "0B",
        "State": state["Status"], "Status": _status(node, state),
    }  # fmt: skip


def table_of(rows: list[Json], template: str) -> list[str]:
    """Rows under headings, columns aligned."""
    template = template or "\t".join(f"{{{{.{name}}}}}" for name in _COLUMNS)
    headings: Json = {**{name: name.upper() for name in (rows[0] if rows else {})}, **_COLUMNS}
    cells = [render(template, item).split("\t") for item in [headings, *rows]]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return ["   ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def passes(container: Container, filters: list[str]) -> bool:
    """Whether a container fits: of one kind any value will do, except that all labels must fit."""
    kinds: dict[str, list[str]] = {}
    for text in filters:
        kind, _, value = text.partition("=")
        kinds.setdefault(kind, []).append(value)
    return all(_passes(container, kind, values) for kind, values in kinds.items())


def moment(node: Node, text: str) -> float:
    """``10m``, ``1h30m``, a Unix time or an RFC 3339 time as seconds since 1970; 0 for no text."""
    if not text:
        return 0.0
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if re.fullmatch(rf"(?:{_DURATION.pattern})+", text):
        return wall.now(node.state) - sum(float(number) * _SECONDS[unit] for number, unit in _DURATION.findall(text))
    try:
        return _epoch(text)
    except ValueError:
        raise DockerError(f'invalid value for "since": failed to parse value as time or duration: "{text}"') from None


def print_logs(container: Container, options: LogOptions, *, out: TextIO, err: TextIO) -> None:
    """Print what is there, then, when following, what comes until the container ends."""
    with open(os.path.join(container.folder, "log"), encoding="utf-8") as file:
        print_lines(file, container, options, out=out, err=err)


def print_lines(file: TextIO, container: Container, options: LogOptions, *, out: TextIO, err: TextIO) -> None:
    """The same from an open log: the container may be removed meanwhile."""
    lines = [json.loads(line) for line in file if line.endswith("\n")]
    chosen = [line for line in lines if _within(line, options)]
    if options.tail.isdigit():
        chosen = chosen[len(chosen) - min(int(options.tail), len(chosen)) :]
    for line in chosen:
        _print_line(line, options, out, err)
    pause = 0.01
    while options.follow:
        over = not os.path.isdir(container.folder) or not container.running
        for text in file:
            _print_line(json.loads(text), options, out, err)
        if over:
            return
        sleep(pause)
        pause = min(0.1, pause * 1.5)


def _within(line: dict[str, str], options: LogOptions) -> bool:
    at = _epoch(line["time"]) if options.since or options.until else 0.0
    return at >= options.since and (not options.until or at <= options.until)


def _print_line(line: dict[str, str], options: LogOptions, out: TextIO, err: TextIO) -> None:
    stream = out if line["stream"] == "stdout" else err
    stream.write((f"{line['time']} " if options.timestamps else "") + line["log"])
    stream.flush()


def _passes(container: Container, kind: str, values: list[str]) -> bool:
    if kind == "label":
        pairs = [value.partition("=") for value in values]
        return all(
            key in container.labels and (not given or container.labels[key] == value) for key, given, value in pairs
        )
    if kind == "name":
        return any(re.search(value, f"/{container.name}") or re.search(value, container.name) for value in values)
    if kind == "status":
        return str(container.state()["Status"]) in values
    if kind == "id":
        return any(container.id.startswith(value) for value in values)
    if kind == "ancestor":
        return any(value in (container.config["image"], container.config["image_id"]) for value in values)
    if kind == "exited":
        state = container.state()
        return state["Status"] == "exited" and str(state["ExitCode"]) in values
    raise DockerError(f"Error response from daemon: invalid filter '{kind}'")


def _host_config(container: Container) -> Json:
    config = container.config
    return {
        "Binds": config["binds"], "NetworkMode": config["network"], "IpcMode": config["ipc"],
        "PidMode": config["pid_mode"], "Privileged": config["privileged"], "ShmSize": config["shm_size"],
        "Runtime": config["runtime"], "AutoRemove": config["auto_remove"],
        "Devices": [{"PathOnHost": p, "PathInContainer": p, "CgroupPermissions": "rwm"} for p in container.devices],
        "RestartPolicy": {"Name": config["restart"], "MaximumRetryCount": 0},
        "Ulimits": [_ulimit(text) for text in strings(config["ulimits"])],
        "LogConfig": {"Type": "json-file", "Config": {}}, "PortBindings": {}, "Memory": 0, "NanoCpus": 0,
    }  # fmt: skip


def _ulimit(text: str) -> Json:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    return {"Name": name, "Soft": int(soft), "Hard": int(hard or soft)}


def _mount(bind: str) -> Json:
    source, destination, *mode = bind.split(":")
    return {"Type": "bind", "Source": source.rstrip("/"), "Destination": destination.rstrip("/"),
            "Mode": mode[0] if mode else "", "RW": "ro" not in mode, "Propagation": "rprivate"}  # fmt: skip


def _status(node: Node, state: Json) -> str:
    if state["Status"] == "running":
        return f"Up {_ago(node, str(state['StartedAt']))}"
    if state["Status"] == "exited":
        return f"Exited ({state['ExitCode']}) {_ago(node, str(state['FinishedAt']))} ago"
    return "Created"


def _ago(node: Node, text: str) -> str:
    seconds = int(wall.now(node.state) - _epoch(text)) if not text.startswith("0001") else 0
    if seconds < 1:
        return "Less than a second"
    if seconds < 120:
        return f"{seconds} second{'s' if seconds > 1 else ''}" if seconds < 60 else "About a minute"
    return f"{seconds // 60} minutes" if seconds < 7200 else f"{seconds // 3600} hours"


def _epoch(text: str) -> float:
    """An RFC 3339 time as seconds since 1970."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (int(match[i]) for i in range(1, 7))
    zone = match[8] or "Z"
    shift = 0 if zone == "Z" else int(zone[0] + "1") * (int(zone[1:3]) * 3600 + int(zone[4:]) * 60)
    clock = hour * 3600 + minute * 60 + second
    return _days(year, month, day) * 86400 + clock + float(match[7] or 0) - shift


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970 of a date of the Gregorian calendar; importing one costs more than this."""
    year -= month <= 2
    century_day = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return year * 365 + year // 4 - year // 100 + year // 400 + century_day - 719468


def _local(text: str) -> str:
    return text[:19].replace("T", " ") + " +0000 UTC"


def exit_code(state: Json) -> int:
    """The exit status on record."""
    return as_int(state["ExitCode"])
