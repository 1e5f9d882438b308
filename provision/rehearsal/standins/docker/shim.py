"""What containerd's shim is to a container: it starts the process in its own group, keeps its output, records its end.

It is detached from whoever ran ``docker run``, so containers outlive the session, the SSH server and the controller.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
from contextlib import suppress

from provision.rehearsal import wall
from provision.rehearsal.node import CONTAINER, Node
from provision.rehearsal.standins.docker.store import SHIM, SHIM_BORN, Container, ended_file, strings, write_json
from provision.rehearsal.standins.process import birth, hide_in_proc, show_in_proc
from provision.rehearsal.standins.ps import all_pids, environment

_LOOK_EVERY = 0.2
"""Seconds between two looks whether PID 1 has ended while something still holds its output."""


def main(node: Node, name: str, argv: list[str]) -> int:
    """Supervise the container in the folder ``argv[0]``; ``argv[1]`` is the descriptor to report the start on."""
    container, ready = Container(argv[0]), int(argv[1])
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = _start(container)
    container.write_state(
        Status="running", Running=True, Pid=process.pid, StartedAt=timestamp(node), FinishedAt="0001-01-01T00:00:00Z",
        ExitCode=0, **{SHIM: os.getpid(), SHIM_BORN: birth(os.getpid())},
    )  # fmt: skip
    show_in_proc(node, process.pid, f"0::/system.slice/docker-{container.id}.scope")
    os.write(ready, b"1")
    os.close(ready)
    _keep_output(node, process, container.folder)
    status = process.wait()
    _end_others(container.folder)
    hide_in_proc(node, process.pid)
    _end(node, container, status if status >= 0 else 128 - status)
    return 0


def timestamp(node: Node, age: float = 0.0) -> str:
    """Now, or ``age`` seconds ago, as docker on this node writes times (UTC, nanoseconds)."""
    return wall.stamp(wall.now(node.state) - age)


def _start(container: Container) -> subprocess.Popen[bytes]:
    environment = container.config["environment"]
    return subprocess.Popen(
        strings(container.config["command"]),
        env={str(k): str(v) for k, v in environment.items()} if isinstance(environment, dict) else {},
        cwd=str(container.config["cwd"]),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _end_others(folder: str) -> None:
    """What ``exec`` started, or what left the first process's group, ends with that process."""
    mark = f"{CONTAINER}={folder}".encode()
    for pid in all_pids():
        if mark in environment(pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _keep_output(node: Node, process: subprocess.Popen[bytes], folder: str) -> None:
    """Copy both streams, line by line with the time each came, until both are closed. PID 1's end is everybody's."""
    root = os.path.join(folder, "fs", "").encode()
    selector = selectors.DefaultSelector()
    buffers = {"stdout": b"", "stderr": b""}
    for stream, name in ((process.stdout, "stdout"), (process.stderr, "stderr")):
        if stream is not None:
            selector.register(stream, selectors.EVENT_READ, name)
    with open(os.path.join(folder, "log"), "a", encoding="utf-8") as log:
        while selector.get_map():
            if process.poll() is not None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            for key, _ in selector.select(_LOOK_EVERY):
                data = os.read(key.fd, 65536)
                *lines, rest = (buffers[key.data] + data).split(b"\n")
                buffers[key.data] = rest
                if not data:
                    selector.unregister(key.fileobj)
                    lines = [rest] if rest else []
                _log(node, log.write, key.data, [line.replace(root, b"/") for line in lines], ended=not data)
            log.flush()


def _log(node: Node, write: object, stream: str, lines: list[bytes], *, ended: bool) -> None:
    if not callable(write):
        return
    for line in lines:
        text = line.decode("utf-8", "replace") + ("" if ended else "\n")
        write(json.dumps({"log": text, "stream": stream, "time": timestamp(node)}, ensure_ascii=False) + "\n")


def _end(node: Node, container: Container, code: int) -> None:
    if not os.path.isdir(container.folder):
        return
    if container.config.get("auto_remove") and container.config.get("attached"):
        write_json(ended_file(container.folder), code)
    killed = os.path.exists(os.path.join(container.folder, "oom"))
    container.write_state(
        Status="exited", Running=False, Pid=0, ExitCode=code, FinishedAt=timestamp(node), OOMKilled=killed
    )
    if container.config.get("auto_remove"):
        container.remove()
