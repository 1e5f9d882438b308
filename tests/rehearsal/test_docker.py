"""The docker stand-in keeps docker's rules, words and exit statuses."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from provision.clock import monotonic
from provision.rehearsal.faults import fault, set_fault
from tests.rehearsal.conftest import IMAGE, Done, Machine, alive, until

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]


@pytest.fixture
def bare(machines: Machines) -> Machine:
    """A node without any image."""
    return machines(image=None)[0]


def inspect(machine: Machine, template: str, name: str = "c") -> object:
    return json.loads(machine.docker("inspect", "--format", template, name).out)


def sleeper(machine: Machine, *options: str, name: str = "c") -> Done:
    return machine.docker("run", "-d", "--name", name, *options, IMAGE, "sh", "-c", "echo begun; exec sleep 60")


# ---- images


def test_pull_shows_layers_and_the_digest(bare: Machine) -> None:
    first = bare.docker("pull", IMAGE)
    assert first.exit == 0
    lines = first.out.splitlines()
    assert lines[0] == "v0.18.0-a3: Pulling from ascend/vllm-ascend"
    assert sum(line.endswith(": Pull complete") for line in lines) == 8
    assert lines[-2:] == [f"Status: Downloaded newer image for {IMAGE}", IMAGE]
    assert f"Status: Image is up to date for {IMAGE}" in bare.docker("pull", IMAGE).out
    image = json.loads(bare.docker("image", "inspect", IMAGE).out)[0]
    assert image["Architecture"] == "arm64"
    assert "SOC_VERSION=ascend910_9391" in image["Config"]["Env"]
    assert image["RepoDigests"][0].removeprefix("quay.io/ascend/vllm-ascend@") in lines[-3]


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("quay.io/ascend/vllm-ascend:nope", "manifest for quay.io/ascend/vllm-ascend:nope not found: manifest unknown"),
        ("quay.io/nobody/nothing:1", "unauthorized: access to the requested resource is not authorized"),
        ("nobody/nothing", "pull access denied for nobody/nothing, repository does not exist or may require"),
        ("registry.invalid/x:1", "lookup registry.invalid on 127.0.0.53:53: no such host"),
    ],
)
def test_what_cannot_be_pulled(bare: Machine, ref: str, words: str) -> None:
    done = bare.docker("pull", ref)
    assert done.exit == 1
    assert done.err.startswith("Error response from daemon: ")
    assert words in done.err
    assert not bare.docker("images", "-q").out


def test_a_pull_that_fails_keeps_no_layers(bare: Machine) -> None:
    """As Docker 20.10 was seen to do; layers of another image are there the next time."""
    set_fault(Path(bare.node.cluster_folder), "node1", "disk/full")
    done = bare.docker("pull", IMAGE)
    assert done.exit == 1
    assert "no space left on device" in done.err
    bare.node.state.clear("disk/full")
    assert "Already exists" not in bare.docker("pull", IMAGE).out
    assert bare.docker("pull", IMAGE.replace("v0.18.0", "v0.23.0")).out.count("Already exists") == 1


def test_mirrors_hold_the_same_image(bare: Machine) -> None:
    mirror = IMAGE.replace("quay.io", "quay.nju.edu.cn")
    with fault(Path(bare.node.cluster_folder), "node1", "registry/quay.io", "down"):
        assert bare.docker("pull", IMAGE).exit == 1
        assert bare.docker("pull", mirror).exit == 0
    assert bare.docker("tag", mirror, IMAGE).exit == 0
    ids = {bare.docker("image", "inspect", "-f", "{{.Id}}", ref).out for ref in (IMAGE, mirror)}
    assert len(ids) == 1
    assert "Status: Image is up to date" in bare.docker("pull", IMAGE).out


def asks(machine: Machine, request: str, header: str = "", *, closed: bool = False) -> str:
    """What the daemon answers a request over dial-stdio, whose end is kept open, or not."""
    text = f"{request} HTTP/1.0\\r\\nContent-Length: 0\\r\\n{header}\\r\\n"
    if closed:
        return machine.ok(f"printf '{text}' | docker system dial-stdio")
    keep = f"p=$(mktemp -u); mkfifo $p; exec 3<>$p; printf '{text}' >&3; docker system dial-stdio <$p; rm $p"
    return machine.ok(keep)


REPOSITORY, TAG = IMAGE.rsplit(":", 1)
MIRROR = REPOSITORY.replace("quay.io", "quay.nju.edu.cn")


def digest_at(machine: Machine, repository: str = REPOSITORY) -> str:
    """Which digest a registry tells for the tag."""
    answer = asks(machine, f"GET /v1.41/distribution/{repository}:{TAG}/json")
    assert answer.startswith("HTTP/1.0 200 OK"), answer
    return str(json.loads(answer.splitlines()[-1])["Descriptor"]["digest"])


def test_the_daemon_tells_whose_digest_a_tag_is(bare: Machine) -> None:
    digest = digest_at(bare)
    assert digest_at(bare, MIRROR) == digest
    with fault(Path(bare.node.cluster_folder), "node1", "registry_rebuilt/quay.nju.edu.cn"):
        assert digest_at(bare, MIRROR) != digest
        refused = bare.docker("pull", f"{MIRROR}@{digest}")
        assert f"manifest for {MIRROR}@{digest} not found: manifest unknown: manifest unknown" in refused.err
    unknown = asks(bare, f"GET /distribution/{REPOSITORY}:nope/json")
    assert unknown.startswith("HTTP/1.0 404 Not Found")
    assert unknown.endswith('{"message":"manifest unknown: manifest unknown"}\n')


def test_a_pull_over_the_api_tells_bytes(bare: Machine) -> None:
    digest = digest_at(bare)
    gone = asks(bare, f"POST /images/create?fromImage={REPOSITORY}&tag={digest}", closed=True)
    assert "context canceled" in gone, "a sender that has closed its end is taken for one that is gone"
    told = asks(bare, f"POST /images/create?fromImage={REPOSITORY}&tag={digest}")
    assert '{"status":"Downloading","progressDetail":{"current":' in told
    assert '{"status":"Status: Downloaded newer image for ' in told
    assert f'["{REPOSITORY}@{digest}"]' in bare.docker("image", "inspect", "-f", "{{json .RepoDigests}}",
                                                     f"{REPOSITORY}@{digest}").out  # fmt: skip


def test_a_registry_that_dies_in_the_middle(bare: Machine) -> None:
    with fault(Path(bare.node.cluster_folder), "node1", "registry_dies/quay.io", "3"):
        done = bare.docker("pull", IMAGE)
        assert (done.exit, done.err) == (1, "unexpected EOF\n")
        assert done.out.count("Pull complete") == 3
    assert bare.docker("pull", IMAGE).exit == 0


def test_a_private_registry(bare: Machine) -> None:
    with fault(Path(bare.node.cluster_folder), "node1", "registry_login/quay.io", "me:secret"):
        assert "unauthorized" in bare.docker("pull", IMAGE).err
        assert asks(bare, f"GET /distribution/{IMAGE}/json").startswith("HTTP/1.0 401")
        assert bare.ok("echo secret | docker login -u me --password-stdin quay.io") == "Login Succeeded\n"
        login = base64.urlsafe_b64encode(b'{"username":"me","password":"secret"}').decode()
        header = f"X-Registry-Auth: {login}\\r\\n"
        assert asks(bare, f"GET /distribution/{IMAGE}/json", header).startswith("HTTP/1.0 200")
        assert bare.docker("pull", IMAGE).exit == 0


def test_save_and_load_carry_an_image_to_another_node(machines: Machines) -> None:
    first, second = machines(2)
    second.docker("rmi", IMAGE)
    assert second.docker("image", "inspect", IMAGE).exit == 1
    archive = f"{first.node.cluster_folder}/image.tar"
    first.ok(f"docker save {IMAGE} | gzip >/data/image.tgz")
    os.rename(f"{first.node.root}/data/image.tgz", archive)
    os.rename(archive, f"{second.node.root}/data/image.tgz")
    assert second.ok("docker load -i /data/image.tgz") == f"Loaded image: {IMAGE}\n"
    assert second.docker("image", "inspect", "-f", "{{.Architecture}}", IMAGE).out == "arm64\n"


def test_an_image_in_use_stays(machine: Machine) -> None:
    sleeper(machine)
    done = machine.docker("rmi", IMAGE)
    assert done.exit == 1
    assert "conflict: unable to remove" in done.err
    machine.docker("rm", "-f", "c")
    assert "Deleted: sha256:" in machine.docker("rmi", IMAGE).out


# ---- containers


def test_a_container_has_everything_that_inspect_tells(machine: Machine) -> None:
    sleeper(machine, "--label", "qnext.cluster=x", "-l", "b=c d", "-e", "A=b c", "--net=host", "--shm-size=16g",
            "--device", "/dev/davinci3", "-v", "/data/weights:/data/weights:ro", "--ulimit", "nofile=5:6")  # fmt: skip
    state = inspect(machine, "{{json .State}}")
    assert isinstance(state, dict)
    assert (state["Status"], state["Running"], state["ExitCode"], state["OOMKilled"]) == ("running", True, 0, False)
    assert alive(state["Pid"])
    assert inspect(machine, "{{json .Config.Labels}}") == {"qnext.cluster": "x", "b": "c d"}
    assert "A=b c" in str(inspect(machine, "{{json .Config.Env}}"))
    assert inspect(machine, "{{json .Config.Cmd}}") == ["sh", "-c", "echo begun; exec sleep 60"]
    host = inspect(machine, "{{json .HostConfig}}")
    assert isinstance(host, dict)
    assert host["Devices"] == [
        {"PathOnHost": "/dev/davinci3", "PathInContainer": "/dev/davinci3", "CgroupPermissions": "rwm"}
    ]
    assert host["Binds"] == ["/data/weights:/data/weights:ro"]
    assert (host["NetworkMode"], host["ShmSize"]) == ("host", 16 << 30)
    image = machine.docker("image", "inspect", "-f", "{{json .Id}}", IMAGE).out
    assert inspect(machine, "{{json .Image}}") == json.loads(image)


def test_ps_filters_and_formats(machine: Machine) -> None:
    sleeper(machine, "--label", "k=1", "--label", "l=1", name="one")
    sleeper(machine, "--label", "k=2", name="two")
    machine.docker("stop", "-t", "0", "two")

    def names(*words: str) -> list[str]:
        return machine.docker("ps", "--format", "{{.Names}}", *words).out.split()

    assert names() == ["one"]
    assert names("-a") == ["two", "one"]
    assert names("-a", "--filter", "label=k") == ["two", "one"]
    assert names("-a", "--filter", "label=k", "--filter", "label=l=1") == ["one"]
    assert names("--filter", "status=exited") == ["two"]
    assert names("-a", "--filter", "name=^tw") == ["two"]
    short = machine.docker("ps", "-q").out.strip()
    full = machine.docker("ps", "-q", "--no-trunc").out.strip()
    assert (len(short), len(full)) == (12, 64)
    assert full.startswith(short)
    assert json.loads(machine.docker("ps", "--format", "{{json .}}").out)["Labels"] == "k=1,l=1"
    assert machine.docker("ps", "-a").out.splitlines()[1].split()[0] == machine.docker("ps", "-aq").out.split()[0]


@pytest.mark.parametrize(
    ("words", "complaint", "exit"),
    [
        (["run", "-d", "--name", "c", IMAGE], 'The container name "/c" is already in use by container "', 125),
        (["run", "-d", "--device", "/dev/davinci99", IMAGE],
         'error gathering device information while adding custom device "/dev/davinci99": no such file', 125),
        (["run", "--nope", IMAGE], "unknown flag: --nope", 125),
        (["run", "-d", IMAGE, "nosuchprogram"], 'exec: "nosuchprogram": executable file not found in $PATH', 127),
        (["run", "-d", "--mount", "type=bind,src=/nope,dst=/x", IMAGE], "bind source path does not exist: /nope", 125),
        (["run", "-d", "quay.io/ascend/vllm-ascend:nope", "sh"], "Unable to find image", 125),
        (["inspect", "nope"], "Error: No such object: nope", 1),
        (["logs", "nope"], "Error response from daemon: No such container: nope", 1),
        (["stop", "nope"], "Error response from daemon: No such container: nope", 1),
        (["rm", "c"], "container is running: stop the container before removing or force remove", 1),
        (["image", "inspect", "nope"], "Error response from daemon: No such image: nope:latest", 1),
        (["frobnicate"], "unknown command: docker frobnicate", 1),
    ],
)  # fmt: skip
def test_refusals(machine: Machine, words: list[str], complaint: str, exit: int) -> None:
    sleeper(machine)
    done = machine.docker(*words)
    assert complaint in done.err
    assert done.exit == exit


def test_removing_what_is_not_there_by_force_is_fine(machine: Machine) -> None:
    assert machine.docker("rm", "-f", "nope").exit == 0


def test_a_missing_mount_source_becomes_a_folder(machine: Machine) -> None:
    sleeper(machine, "-v", "/usr/local/sbin/npu-smi:/usr/local/sbin/npu-smi")
    assert machine.ok("[ -d /usr/local/sbin/npu-smi ] && rmdir /usr/local/sbin/npu-smi && echo folder") == "folder\n"


def test_logs_keep_streams_times_and_tails(machine: Machine) -> None:
    machine.docker("run", "--name", "c", IMAGE, "sh", "-c", "echo one; sleep 0.3; echo two >&2; sleep 0.3; echo three")
    done = machine.docker("logs", "c")
    assert (done.out, done.err) == ("one\nthree\n", "two\n")
    assert machine.docker("logs", "--tail", "1", "c").out == "three\n"
    moment, _, text = machine.docker("logs", "-t", "c").err.partition(" ")
    assert text == "two\n"
    later = machine.docker("logs", "--since", moment, "c")
    assert (later.out, later.err) == ("three\n", "two\n")
    assert machine.docker("logs", "--since", "1h", "c").out == "one\nthree\n"


def test_following_logs_ends_with_the_container(machine: Machine) -> None:
    machine.docker("run", "-d", "--name", "c", IMAGE, "sh", "-c", "echo one; sleep 0.5; echo two; exit 3")
    assert machine.docker("logs", "-f", "c").out == "one\ntwo\n"
    assert machine.docker("wait", "c").out == "3\n"
    assert "Exited (3)" in machine.docker("ps", "-a").out


def test_stop_is_gentle_then_not(machine: Machine) -> None:
    machine.docker(
        "run", "-d", "--name", "deaf", IMAGE, "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"
    )
    until(lambda: "ready" in machine.logs("deaf"), "the trap is set")
    began = monotonic()
    assert machine.docker("stop", "-t", "1", "deaf").out == "deaf\n"
    assert monotonic() - began >= 1
    assert machine.state("deaf")["ExitCode"] == 137
    sleeper(machine)
    machine.docker("stop", "c")
    assert machine.state("c")["ExitCode"] == 143


def test_a_container_outlives_who_started_it_and_a_kill_is_noticed(machine: Machine) -> None:
    sleeper(machine)
    pid = machine.state("c")["Pid"]
    assert isinstance(pid, int)
    assert os.getsid(pid) == pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: machine.state("c")["Status"] == "exited", "the end is on record")
    assert machine.state("c")["ExitCode"] == 137


def test_exec_runs_inside(machine: Machine) -> None:
    sleeper(machine, "-e", "A=b", "-v", "/data/weights:/models")
    assert machine.docker("exec", "c", "sh", "-c", "echo $A; ls /models; exit 3").exit == 3
    assert machine.docker("exec", "c", "sh", "-c", "echo $A; ls /models").out == "b\nQwen3-Next-80B-A3B-Instruct\n"
    assert machine.docker("exec", "c", "pip", "show", "vllm").out.startswith("Name: vllm\nVersion: 0.18.0")
    machine.docker("stop", "-t", "0", "c")
    assert "is not running" in machine.docker("exec", "c", "true").err


def test_the_daemon_may_be_down_forbidden_or_missing(machine: Machine) -> None:
    folder = Path(machine.node.cluster_folder)
    with fault(folder, "node1", "docker/daemon", "down"):
        done = machine.docker("ps")
        assert (done.exit, done.err) == (
            1, "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?\n"
        )  # fmt: skip
        assert machine.docker("--version").exit == 0
    assert "permission denied while trying to connect" in machine.run("docker ps", user="operator").err
    with fault(folder, "node1", "docker/missing"):
        assert machine.run("command -v docker").exit == 127
        assert "not found" in machine.run("docker ps").err
    assert machine.docker("ps").exit == 0


def test_info_and_version(machine: Machine) -> None:
    info = json.loads(machine.docker("info", "--format", "{{json .}}").out)
    assert (info["DockerRootDir"], info["Architecture"], info["OSType"]) == ("/var/lib/docker", "aarch64", "linux")
    version = machine.docker("version", "--format", "{{.Server.Version}}").out.strip()
    assert version == info["ServerVersion"]
    assert version in machine.docker("--version").out


# ---- podman in its place


@pytest.fixture
def podmans(machine: Machine) -> Iterator[Machine]:
    """A node whose containers are podman's."""
    with fault(machine.folder, machine.node.name, "engine", "podman"):
        yield machine


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("ps -a --format '{{.Label \"qnext.process\"}}'", "can't evaluate field Label"),
        ("inspect --format '{{.Id}}' c", "can't evaluate field Id"),
        ("logs --tail all c", 'invalid argument "all" for "--tail" flag'),
        ("image inspect x:1", "x:1: image not known"),
        ("system dial-stdio", "unable to connect to Podman socket"),
    ],
)
def test_podman_refuses_what_only_docker_knows(podmans: Machine, words: str, said: str) -> None:
    podmans.ok(f"podman run -d --name c {IMAGE} sleep 60")
    done = podmans.run(f"podman {words}")
    assert (done.exit, said in done.err) == (125, True)
    assert podmans.run("docker ps").exit == 127


def test_podman_names_things_in_its_own_way(podmans: Machine) -> None:
    podmans.ok(f"podman run -d --name c --label a=b {IMAGE} sh -c 'echo begun; exec sleep 60'")
    assert podmans.ok("podman --version") == "podman version 4.3.1\n"
    assert podmans.ok("""podman ps --format '{{.Names}} {{index .Labels "a"}}'""") == "c b\n"
    assert podmans.ok("podman info --format '{{.Store.GraphRoot}}'") == "/var/lib/containers/storage\n"
    (listed,) = json.loads(podmans.ok(f"podman image inspect --format '{{{{json .}}}}' {IMAGE}"))
    said = json.loads(podmans.ok(f"podman image inspect --format '{{{{with .}}}}{{{{json .}}}}{{{{end}}}}' {IMAGE}"))
    assert listed == said
    assert len(said["Id"]) == 64
    assert podmans.ok("podman inspect --format '{{.Image}}' c").strip() == said["Id"]
    until(lambda: podmans.ok("podman logs --tail -1 c") == "begun\n", "its log")
