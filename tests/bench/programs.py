"""Whole programs side by side: ours by its command line, and an Ansible play of the same tasks.

Each runs as an operator would start it. What it must have reported is checked, else a figure would mean nothing: that
nothing changed, and for ours that a node took one exec and one connection.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench import satisfied
from tests.bench.sshd import Server


@dataclass(frozen=True)
class Used:
    """What a program took, with its children: seconds of wall and CPU, KiB at the peak of its largest process."""

    stdout: str
    wall: float
    cpu: float
    memory: float

    def figures(self) -> dict[str, float]:
        return {"wall": self.wall, "cpu": self.cpu, "memory": self.memory}


class Void(Exception):
    """A program did not do what was to be measured."""


def used(argv: list[str], environment: Mapping[str, str]) -> Used:
    """Run a program to its end. Raises ``Void`` where it fails."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        started = time.monotonic()
        child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment, cwd=satisfied.ROOT
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        said, errors = stdout.read(), stderr.read()
    if child.returncode:
        raise Void(f"{' '.join(argv)} ended with {child.returncode}:\n{said[-3000:]}\n{errors[-3000:]}")
    return Used(said, wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss)


def ours(server: Server, command: str, environment: Mapping[str, str]) -> dict[str, float]:
    """``qnext-provision check`` (without trials, which send commands of their own) or ``up``, its report as JSON."""
    argv = [sys.executable, "-m", "provision", command, "-i", str(server.folder / "cluster.yaml"), "--json"]
    run = used([*argv, "--trials", "never"] if command == "check" else argv, environment)
    report = json.loads(run.stdout)
    nodes = report["execs"].values()
    if report["exit_code"] or report["changed"] or len(nodes) != len(server.addresses):
        raise Void(f"{command}: {run.stdout[:3000]}")
    if any((n["execs"], n["connections"]) != (1, 1) for n in nodes):
        raise Void(f"{command}: more than one exec and connection a node: {report['execs']}")
    return {**run.figures(), "execs": 1, "connections": 1}


def ansible(server: Server, *, facts: bool, environment: Mapping[str, str]) -> dict[str, float]:
    """The play, with pipelining and as many forks as nodes up to 64; its SSH masters start afresh, and end after it.

    ``facts``: only gather facts, which the play itself does without; what it would take with them is the sum.
    """
    sockets = server.folder / "cp"
    settings = {
        "ANSIBLE_CONFIG": str(_empty(server.folder / "ansible.cfg")),
        "ANSIBLE_FORKS": "64",
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_GATHERING": "implicit" if facts else "explicit",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
        "ANSIBLE_HOME": str(server.folder / "ansible"),
        "ANSIBLE_LOCALHOST_WARNING": "0",
    }
    inventory = server.folder / "cluster.yaml"
    extra = {
        "ansible_python_interpreter": sys.executable,
        "folder": str(server.folder),
        "state_dir": satisfied.STATE,
        "model": str(server.folder / "model"),
        "image": satisfied.IMAGE,
        "image_id": satisfied.IMAGE_ID,
        "port": int(re.findall(r"port: (\d+)}", inventory.read_text())[0]),
    }
    play = Path(__file__).with_name("play.yaml")
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    try:
        argv = [
            program,
            "-i",
            str(inventory),
            "-e",
            json.dumps(extra),
            *(["--tags", "facts"] if facts else []),
            str(play),
        ]
        run = used(argv, {**environment, **settings})
    finally:
        _end_masters(sockets)
    recap = run.stdout.rpartition("PLAY RECAP")[2]
    if set(re.findall(r"changed=(\d+)", recap)) != {"0"} or recap.count("changed=") != len(server.addresses):
        raise Void(f"ansible: not all was satisfied: {recap[:3000]}")
    return run.figures()


def _empty(path: Path) -> Path:
    path.touch()
    return path


def _end_masters(sockets: Path) -> None:
    for socket in sockets.glob("*"):
        argv = ["ssh", "-F", "none", "-O", "exit", "-o", f"ControlPath={socket}", "bench"]
        subprocess.run(argv, check=False, capture_output=True)


def start_up(argv: list[str], environment: Mapping[str, str], times: int = 10) -> list[float]:
    """Seconds of wall time of each start, after one that does not count."""
    return [used(argv, environment).wall for _ in range(times + 1)][1:]
