"""What ``docker`` becomes where something else runs the servers: by fake engines that record their words, and by real
processes where there is none."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from provision.facts.docker import CONTAINER_FORMAT, Containers, Docker, Image, ImageValue
from provision.facts.launch_folder import StaleSecrets
from provision.facts.logs import LogTails
from provision.facts.processes import Processes
from provision.inventory.model import Settings
from provision.results import Result
from provision.serve.build import build_plan
from provision.serve.render import render_scripts
from provision.transport.engine import prologue, worded
from tests.serve.clusters import pairs

SHELLS = [[path] for name in ("dash", "bash") if (path := shutil.which(name))] or [["sh"]]
LABEL = '{{.ID}} {{.Label "qnext.process"}}'


def lines(engine: str) -> str:
    made: Any = SimpleNamespace(install=SimpleNamespace(method="image", engine=engine))
    return prologue(made)


def test_docker_itself_needs_nothing() -> None:
    assert lines("docker") == ""
    assert worded("docker() { :; }\n", "uname -m\n") == "uname -m\n"


@pytest.fixture
def said(tmp_path: Path) -> Any:
    """Run a script behind the lines of an engine, whose program records its words."""

    def run(engine: str, script: str, shell: list[str] = SHELLS[0]) -> list[list[str]]:
        program = tmp_path / "bin" / engine
        program.parent.mkdir(exist_ok=True)
        program.write_text('#!/bin/sh\nfor w; do printf "%s\\037" "$w"; done >>"$RECORD"; echo >>"$RECORD"; exit 7\n')
        program.chmod(0o755)
        record = tmp_path / "record"
        record.write_text("")
        env = {"PATH": f"{program.parent}:{os.environ['PATH']}", "RECORD": str(record)}
        done = subprocess.run([*shell, "-s"], input=lines(engine) + script, text=True, capture_output=True, env=env)
        assert done.stderr == ""
        return [line.split("\037")[:-1] for line in record.read_text().splitlines()]

    return run


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: os.path.basename(shell[0]))
@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"docker ps -a --format '{LABEL}'", ["ps", "-a", "--format", '{{.ID}} {{index .Labels "qnext.process"}}']),
        ("timeout 10 docker logs --timestamps --tail all x", ["logs", "--timestamps", "--tail", "-1", "x"]),
        ("timeout -k 5 30 docker stop -t 9 'a b'", ["stop", "-t", "9", "a b"]),
        (
            "docker image inspect --format '{{json .}}' x:1",
            ["image", "inspect", "--format", "{{with .}}{{json .}}{{end}}", "x:1"],
        ),
        ("docker image inspect -f '{{.Id}}' x:1", ["image", "inspect", "-f", "sha256:{{.ID}}", "x:1"]),
        ("docker exec x echo --tail all '{{.Id}}'", ["exec", "x", "echo", "--tail", "all", "{{.Id}}"]),
        ("docker rm -f x || :", ["rm", "-f", "x"]),
    ],
)
def test_podman_is_asked_in_its_own_words(said: Any, shell: list[str], script: str, words: list[str]) -> None:
    assert said("podman", script + "\n", shell) == [words]


def test_podman_tells_of_a_container_what_docker_does(said: Any) -> None:
    ((*_, form, name),) = said("podman", f"docker inspect --type container --format '{CONTAINER_FORMAT}' x\n")
    assert name == "x"
    assert form == CONTAINER_FORMAT.replace(".Id}", ".ID}")


def test_podmans_information_has_the_keys_of_dockers(said: Any) -> None:
    ((*_, form),) = said("podman", "timeout 25 docker info --format '{{json .}}'\n")
    assert all(f'"{key}":' in form for key in ("ServerVersion", "DockerRootDir", "Driver", "Architecture"))


def test_exit_statuses_come_through(said: Any, tmp_path: Path) -> None:
    said("podman", f"timeout 3 docker ps; echo $? >{tmp_path}/a; timeout 0.2 sleep 9; echo $? >{tmp_path}/b\n")
    assert ((tmp_path / "a").read_text(), (tmp_path / "b").read_text()) == ("7\n", "124\n")


def test_nerdctl_fills_a_template_from_json_where_a_field_is_unknown(said: Any) -> None:
    ((*_, form, name),) = said(
        "nerdctl", f"timeout 9 docker inspect --type container --format '{CONTAINER_FORMAT}' x\n"
    )
    assert name == "x"
    assert form.startswith("{{with .Id}}{{end}}{")
    assert '(index . "HostConfig")' in form
    assert said("nerdctl", "docker logs --tail all x\n") == [["logs", "--tail", "all", "x"]]


# ---- no engine at all


VLLM = """#!/bin/sh
echo "serving $*, $GREETING"
trap 'echo bye; exit 0' TERM
sleep 600 & wait
"""


def of_source(folder: Path, supervisor: str) -> Settings:
    return Settings.model_validate(
        {
            "cluster": "demo",
            "hardware": "cpu",
            "state_dir": str(folder / "state"),
            "install": {"method": "source", "source": {"vllm": "v0.18.0", "supervisor": supervisor}},
            "model": {"path": str(folder / "weights")},
            "serve": {"env": {"GREETING": 'hel"lo $x'}},
        }
    )


class Node:
    """A folder that stands for a node, with one server of method source."""

    def __init__(self, folder: Path) -> None:
        self.settings = of_source(folder, "setsid")
        (folder / "weights").mkdir()
        plan = build_plan(pairs(self.settings, 1, interface="lo"))
        (self.script,) = render_scripts(plan, {process.node: self.settings for process in plan.processes})
        self.run_folder = folder / "state/demo/run" / self.script.process
        programs = Path(self.settings.venv, "bin")
        programs.mkdir(parents=True)
        (programs / "python").symlink_to(sys.executable)
        (programs / "vllm").write_text(VLLM)
        (programs / "vllm").chmod(0o755)
        Path(self.settings.venv, "qnext.json").write_text(
            f'{{"id": "sha256:{"a" * 64}", "created": "", "arch": "arm64"}}'
        )
        for path, text in self.script.files.items():
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text)

    def sh(self, script: str, shell: list[str] = SHELLS[0]) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"], "HOME": "/root", "SSH_TTY": "/dev/pts/7"}
        return subprocess.run([*shell, "-s"], input=script, text=True, capture_output=True, env=env, check=False)

    def docker(self, script: str, shell: list[str] = SHELLS[0]) -> str:
        return self.sh(prologue(self.settings) + script + "\n", shell).stdout

    def look(self, fact: Any) -> Any:
        done = self.sh(worded(prologue(self.settings), fact.script()))
        return fact.parse(Result("x", done.returncode, done.stdout, done.stderr))

    def start(self) -> str:
        done = self.sh(self.script.text)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def until(self, script: str, wanted: str) -> None:
        """Ask again until it says so: it is asked on the node, where the wait is."""
        loop = f'n=0; until [ "$({script})" = {wanted} ] || [ $n -gt 99 ]; do sleep 0.05; n=$((n + 1)); done\n'
        self.sh(prologue(self.settings) + loop)

    @property
    def state(self) -> Any:
        (found,) = self.look(Containers("demo")).containers
        return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.docker("docker rm -f $(docker ps -aq)")


def test_a_server_without_engine_from_start_to_end(node: Node) -> None:
    identity = node.start()
    found = node.state
    assert (found.id, found.state, found.process, found.digest) == (
        identity,
        "running",
        node.script.process,
        node.script.digest,
    )
    assert (found.image_id, found.image) == ("sha256:" + "a" * 64, node.settings.install.ref)
    assert "it runs already" in node.sh(node.script.text).stderr
    assert node.docker(f"docker ps --filter label=qnext.process={found.process} --format '{LABEL}'").split() == [
        identity,
        found.process,
    ]
    assert node.docker("docker ps -aq --filter label=qnext.cluster=other") == ""
    node.until(f"docker logs {found.name} | wc -l", "1")
    tail = node.look(LogTails("demo")).tails[found.process]
    assert tail.startswith("serving serve /")
    assert tail.endswith(', hel"lo $x\n')
    (stamped,) = node.docker(f"timeout 9 docker logs --timestamps --tail all --since 10m {identity}").splitlines()
    assert stamped.split(" ", 1)[0].endswith("Z")
    assert stamped.split(" ", 1)[1] == tail.rstrip("\n")
    assert node.docker(f"docker logs --since 2100-01-01T00:00:00Z {identity}") == ""
    inside = node.docker(f"timeout 9 docker exec {identity} sh -c 'echo $QNEXT_RUN ${{SSH_TTY-none}} $PATH'").split()
    assert inside[:2] == [identity, "none"]
    assert inside[2].startswith(node.settings.venv)
    assert node.docker("docker stop -t 9 " + found.name).strip() == found.name
    assert (node.state.state, node.state.exit_code, node.state.running) == ("exited", 0, False)
    assert node.docker(f"docker logs --tail 1 {found.name}") == "bye\n"
    assert node.docker(f"docker rm -f {found.name}").strip() == found.name
    assert not node.run_folder.exists()
    assert node.look(Containers("demo")).containers == ()


def test_a_server_that_is_killed_and_a_keeper_that_is(node: Node) -> None:
    node.start()
    server = (node.run_folder / "server").read_text().split()[0]
    node.sh(f"kill -KILL {server}")
    node.until("docker ps -q | wc -l", "0")
    assert (node.state.state, node.state.exit_code, node.state.oom_killed) == ("exited", 137, False)
    assert node.state.finished >= node.state.started
    node.start()
    keeper, server = ((node.run_folder / name).read_text().split()[0] for name in ("pid", "server"))
    node.sh(f"kill -KILL {keeper}")
    node.until("docker ps -q | wc -l", "0")
    assert (node.state.state, node.state.running) == ("dead", False)
    node.docker("docker rm -f $(docker ps -aq)")
    for _ in range(100):  # what was killed takes a moment to go
        if not (left := members(server)):
            break
        node.sh("sleep 0.02")
    assert not left


def members(session: str) -> list[str]:
    """Processes of a session that have not ended, whether or not somebody has noticed their end."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, *rest = path.read_text().rpartition(") ")[2].split()
            found += [path.parent.name] if rest[2] == session and state not in "ZX" else []
    return found


def test_after_a_reboot_nothing_runs(node: Node) -> None:
    node.start()
    pid = node.run_folder / "pid"
    kept = pid.read_text()
    pid.write_text(f"{kept.rsplit(' ', 1)[0]} another-boot\n")
    assert node.state.state == "dead"
    pid.write_text(kept)


def test_processes_are_of_their_run(node: Node) -> None:
    identity = node.start()
    found = node.look(Processes()).processes
    own = [process for process in found if node.settings.venv in process.args]
    assert own
    assert {process.container for process in own} == {identity}


def test_what_stands_for_the_image_is_the_venv(node: Node) -> None:
    value = node.look(Image(node.settings.install.ref))
    assert (value.present, value.id, value.arch) == (True, "sha256:" + "a" * 64, "arm64")
    assert node.look(Image("nginx:1")) == ImageValue("nginx:1")
    docker = node.look(Docker())
    assert (docker.installed, docker.reachable, docker.engine) == (True, True, "processes")
    assert docker.root_dir == node.settings.state_dir


def test_secrets_that_changed_are_noticed(node: Node) -> None:
    node.start()
    (node.run_folder / "secrets").write_text("VLLM_API_KEY=old\n")
    folder = node.run_folder.parents[1] / "launch"
    (folder / f"{node.script.process}.env").write_text("VLLM_API_KEY=new\n")
    assert node.look(StaleSecrets("demo", str(folder))).processes == (node.script.process,)
    (folder / f"{node.script.process}.env").write_text("VLLM_API_KEY=old\n")
    assert node.look(StaleSecrets("demo", str(folder))).processes == ()


def test_what_only_an_engine_can_do_is_refused(node: Node) -> None:
    done = node.sh(prologue(node.settings) + "docker pull x\n")
    assert (done.returncode, done.stderr) == (
        125,
        "docker pull: no container engine is used on this node (install.method: source)\n",
    )


def test_the_lines_travel_with_many_scripts(node: Node) -> None:
    assert len(prologue(node.settings)) < 6700


def test_where_systemd_runs_it_keeps_the_server(tmp_path: Path) -> None:
    """A systemd-run that records its words, and starts what it is told to."""
    node = Node(tmp_path)
    assert "systemd-run" not in node.script.text  # setsid was asked for
    own = of_source(tmp_path, "systemd")
    plan = build_plan(pairs(own, 1, interface="lo"))
    (script,) = render_scripts(plan, {process.node: own for process in plan.processes})
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = (
        'echo "$@" >>"$RECORD"\nwhile [ "${1#-}" != "$1" ]; do [ "$1" != -p ] || shift; shift; done\n'
        'setsid "$@" </dev/null >/dev/null 2>&1 &\n'
    )
    for name, body in {"systemd-run": fake, "systemctl": "exit 3\n"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}")
        (programs / name).chmod(0o755)
    env = {"PATH": f"{programs}:{os.environ['PATH']}", "RECORD": str(tmp_path / "record")}

    def run(folder: str) -> subprocess.CompletedProcess[str]:
        """The script where this folder tells whether systemd runs."""
        text = script.text.replace("-d /run/systemd/system", f"-d {folder}")
        return subprocess.run(["sh", "-s"], input=text, text=True, capture_output=True, env=env, check=False)

    done = run(str(programs))
    node.docker("docker rm -f $(docker ps -aq)")
    assert (done.returncode, done.stderr) == (0, "")
    words = (tmp_path / "record").read_text()
    assert f"--unit=qnext-demo-{script.process}" in words
    assert "KillMode=control-group" in words
    assert "systemd does not run on this node" in run("/nowhere").stderr
