"""Docker: missing, refusing, slow, and what its JSON becomes."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provision.facts.docker import Containers, Docker, Image
from provision.results import Result

OURS, THEIRS, PLAIN = "a1" * 32, "b2" * 32, "c3" * 32
NO_DAEMON = "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
DENIED = "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock"


def inspected(id: str, name: str, *, labels: dict[str, str], devices: list[int], status: str, **more: Any) -> str:
    """A container as ``docker inspect`` prints it with our format."""
    return json.dumps(
        {
            "Id": id,
            "Name": f"/{name}",
            "Image": "sha256:1234",
            "Created": "2026-01-02T03:04:05.6Z",
            "State": {
                "Status": status,
                "ExitCode": 137,
                "OOMKilled": True,
                "Error": "",
                "Pid": 0,
                "StartedAt": "2026-01-02T03:04:06Z",
                "FinishedAt": "0001-01-01T00:00:00Z",
            },
            "RestartCount": 2,
            "Ref": "quay.io/ascend/vllm-ascend:v1-a3",
            "Labels": labels or None,
            "Privileged": False,
            "Devices": [{"PathOnHost": f"/dev/davinci{n}", "PathInContainer": f"/dev/davinci{n}"} for n in devices]
            or None,
            **more,
        }
    )


LABELS = {
    "qnext.cluster": "demo",
    "qnext.process": "head",
    "qnext.digest": "0123456789abcdef",
    "qnext.rank": "0",
}


@pytest.fixture
def daemon(tool: Any, tmp_path: Path) -> Path:
    """A docker that lists and inspects; the folder holds what it prints."""
    lines = [
        inspected(OURS, "qnext-demo-head", labels=LABELS, devices=[0, 1], status="exited") + ' @env ["KEY=secret"]',
        inspected(THEIRS, "train", labels={}, devices=[], status="running")
        + ' @env ["KEY=secret","ASCEND_VISIBLE_DEVICES=0,4-6","LAST=\\"x\\""]',
        inspected(PLAIN, "web", labels={}, devices=[], status="running") + ' @env ["KEY=secret"]',
    ]
    (tmp_path / "inspect").write_text("\n".join(lines) + "\n")
    tool(
        "docker",
        f"""\
echo 'WARNING: Error loading config file: permission denied' >&2
case "$*" in
  *"ps -a "*label=qnext.cluster=demo*) echo {OURS} ;;
  *"ps --no-trunc"*) echo {THEIRS}; echo {PLAIN} ;;
  inspect*{OURS}*) cat {shlex.quote(str(tmp_path / "inspect"))} ;;
esac
""",
    )
    return tmp_path


def test_our_containers_and_foreign_holders(daemon: Path, tmp_path: Path) -> None:
    script = Containers("demo").script()
    done = subprocess.run(
        ["sh", "-s"], input=script, capture_output=True, text=True, env={"PATH": f"{daemon / 'bin'}:/usr/bin:/bin"}
    )
    assert "secret" not in done.stdout
    value = Containers("demo").parse(Result("containers", done.returncode, done.stdout))
    [ours] = value.containers
    assert (ours.name, ours.process, ours.digest, ours.rank) == ("qnext-demo-head", "head", "0123456789abcdef", 0)
    assert (ours.state, ours.exit_code, ours.oom_killed, ours.restarts) == ("exited", 137, True, 2)
    assert (ours.devices, ours.finished, ours.pid) == ((0, 1), "", None)
    assert [(c.name, c.devices) for c in value.foreign] == [("train", (0, 4, 5, 6))]
    assert value.process("head") == ours
    assert value.reachable
    assert value.problems == ()


@pytest.mark.parametrize(
    ("visible", "runtime", "devices"),
    [
        ("0,4-6", "ascend", (0, 4, 5, 6)),
        ("Ascend910-1,Ascend910-3", "ascend", (1, 3)),
        ("0-1", "", (0, 1)),
        ("0-1", "runc", ()),
        ("void", "ascend", ()),
    ],
)
def test_only_the_ascend_runtime_heeds_what_is_to_be_visible(
    visible: str, runtime: str, devices: tuple[int, ...]
) -> None:
    line = inspected(THEIRS, "train", labels={}, devices=[], status="running", Privileged=True, Runtime=runtime)
    value = Containers("demo").parse(Result("x", 0, f"@@ containers\n{line} @visible {visible}\n"))
    assert [container.devices for container in value.foreign] == [devices]


def test_whose_a_container_is() -> None:
    labels = {"io.kubernetes.pod.namespace": "team", "io.kubernetes.pod.name": "train-0"}
    line = inspected(THEIRS, "k8s_train", labels=labels, devices=[3], status="running", User="1000:1000")
    (container,) = Containers("demo").parse(Result("x", 0, f"@@ containers\n{line}\n")).foreign
    assert (container.user, container.pod) == ("1000:1000", "team/train-0")


@pytest.mark.parametrize("said", [NO_DAEMON, DENIED])
def test_a_daemon_that_refuses(look: Any, tool: Any, said: str) -> None:
    tool("docker", f"[ \"$1\" = --version ] && exec echo 'Docker version 27.1.0, build x'\necho '{said}' >&2; exit 1\n")
    docker = look(Docker())
    assert (docker.installed, docker.reachable, docker.error, docker.client_version) == (True, False, said, "27.1.0")
    containers = look(Containers("demo"))
    assert (containers.reachable, containers.problems) == (False, (said,))
    assert look(Image("x:1")).problems == (said,)


def test_a_daemon_that_hangs(look: Any, tool: Any) -> None:
    tool("docker", "echo 'Docker version 27.1.0, build x'\n")
    tool("timeout", "exit 124\n")
    assert look(Docker()).error == "the docker daemon does not answer"
    assert look(Image("x:1")).problems == ("the docker daemon does not answer",)


def test_an_inspection_that_hangs_is_no_empty_list(look: Any, tool: Any, daemon: Path) -> None:
    tool("timeout", 'shift; [ "$2" = inspect ] && exit 124; exec "$@"\n')
    assert not look(Containers("demo")).reachable


def test_docker_info(look: Any, tool: Any, tmp_path: Path) -> None:
    info = {
        "ServerVersion": "24.0.7",
        "DockerRootDir": str(tmp_path),
        "Driver": "overlay2",
        "Runtimes": {"runc": {}, "ascend": {}},
        "DefaultRuntime": "ascend",
        "Architecture": "aarch64",
    }
    tool("docker", f"[ \"$1\" = info ] && printf '%s\\n' {shlex.quote(json.dumps(info, separators=(',', ':')))}; :\n")
    value = look(Docker())
    assert (value.reachable, value.server_version, value.error) == (True, "24.0.7", "")
    assert (value.runtimes, value.default_runtime) == (("ascend", "runc"), "ascend")
    assert value.root_free is not None
    assert tmp_path.is_relative_to(value.root_mount)


def test_no_docker_at_all() -> None:
    docker = Docker().parse(Result("docker", 0, ""))
    assert (docker.installed, docker.reachable, docker.error) == (False, False, "docker is not installed")
    missing = Result("x", 0, "@@ missing\n")
    assert Containers("demo").parse(missing).problems == ("docker is not installed",)
    assert Image("x:1").parse(missing).problems == ("docker is not installed",)


@pytest.mark.parametrize("said", ["Error: No such image: x:1", "Error response from daemon: no such image: x:1"])
def test_an_absent_image_is_no_problem(look: Any, tool: Any, said: str) -> None:
    tool("docker", f"echo '[]'; echo '{said}' >&2; exit 1\n")
    value = look(Image("x:1"))
    assert (value.present, value.problems) == (False, ())


def test_an_image(look: Any, tool: Any) -> None:
    image = {
        "Id": "sha256:1234",
        "Architecture": "arm64",
        "RepoDigests": ["quay.io/x@sha256:99"],
        "Config": {"Env": ["SOC_VERSION=ascend910_9391", "EMPTY="]},
        "Size": 12,
        "Created": "2026-01-02T03:04:05Z",
    }
    tool("docker", f"printf '%s\\n' {shlex.quote(json.dumps(image))}\n")
    value = look(Image("it's:1"))
    assert (value.present, value.id, value.arch, value.size) == (True, "sha256:1234", "arm64", 12)
    assert value.env == {"SOC_VERSION": "ascend910_9391", "EMPTY": ""}


def test_what_there_is_in_the_place_of_docker(look: Any, tool: Any) -> None:
    tool("docker", "exit 127\n")
    tool("podman", ":\n")
    value = look(Docker())
    assert (value.installed, value.engine) == (False, "")
    assert "podman" in value.others


def test_docker_that_is_podman_says_so() -> None:
    value = Docker().parse(Result("docker", 0, "@@ version\npodman version 4.3.1\n@@ info\n@@ exit 0\n"))
    assert (value.installed, value.engine, value.client_version) == (True, "podman", "4.3.1")


@pytest.mark.parametrize(
    ("said", "image_id"),
    [("sha256:" + "a" * 64, "sha256:" + "a" * 64), ("a" * 64, "sha256:" + "a" * 64), ("quay.io/ascend/x:1", "")],
    ids=["docker", "podman", "nerdctl"],
)
def test_ids_of_images_by_engine(said: str, image_id: str) -> None:
    line = json.dumps({"Id": OURS, "Name": "x", "Image": said, "Labels": {"qnext.cluster": "demo"}})
    (container,) = Containers("demo").parse(Result("x", 0, f"@@ containers\n{line}\n")).containers
    assert container.image_id == image_id


def test_nerdctl_tells_what_a_container_may_reach_in_one_piece() -> None:
    host = {"Privileged": True, "Devices": [{"PathOnHost": "/dev/davinci3"}]}
    line = json.dumps({"Id": THEIRS, "Name": "train", "Labels": {}, "State": {"Status": "running"}, "HostConfig": host})
    (container,) = Containers("demo").parse(Result("x", 0, f"@@ containers\n{line}\n")).foreign
    assert (container.privileged, container.devices) == (True, (3,))


def test_podmans_word_for_an_absent_image(look: Any, tool: Any) -> None:
    tool("docker", "echo 'Error: inspecting object: x:1: image not known' >&2; exit 125\n")
    assert look(Image("x:1")).problems == ()
