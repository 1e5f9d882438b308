"""Launch scripts are run with a ``docker`` that records its words: it gets what the plan says, whatever the values."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, strategies
from hypothesis import settings as tuning

from provision.accel.protocol import ContainerRecipe, Mount
from provision.errors import ConfigError
from provision.serve.build import build_plan
from provision.serve.plan import Companion, LaunchPlan, Process
from provision.serve.render import (
    Script,
    command_lines,
    digest_of,
    docker_options,
    model_mount,
    readme,
    render_script,
    render_scripts,
)
from tests.serve.clusters import QWEN3_NEXT, pairs, settings

SHELLS = [[path] for name in ("sh", "dash", "bash") if (path := shutil.which(name))]
SHELLS += [[path, "sh"] for path in [shutil.which("busybox")] if path]
DOCKER = '#!/bin/sh\nprintf "%s\\0" "$@" >"$RECORD"\necho 0123456789ab\n'


class Machine:
    """A folder of commands in front of PATH, and what ``docker`` was given."""

    def __init__(self, folder: Path) -> None:
        self.commands = folder / "bin"
        self.commands.mkdir()
        self.record = folder / "docker.argv"
        self.model = folder / "weights"
        self.model.mkdir()
        self.state = folder / "state"
        self.command("docker", DOCKER)

    def command(self, name: str, script: str) -> None:
        path = self.commands / name
        path.write_text(script)
        path.chmod(0o755)

    def run(
        self, script: Script, shell: list[str] = SHELLS[0], *, path: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        self.record.unlink(missing_ok=True)
        environment = {"PATH": path or f"{self.commands}:{os.environ['PATH']}", "RECORD": str(self.record)}
        return subprocess.run([*shell, "-s"], input=script.text, text=True, capture_output=True, env=environment)

    def words(self) -> list[str]:
        """What docker got, without the limits, which depend on whether this user may raise them."""
        words = self.record.read_bytes().decode().split("\0")[:-1]
        limits = [i for i, word in enumerate(words) if word == "--ulimit"]
        assert {words[i + 1] for i in limits} <= {"memlock=-1", "nofile=1048576:1048576"}
        return [word for i, word in enumerate(words) if i not in limits and i - 1 not in limits]

    def plan(self, **serve: object) -> tuple[LaunchPlan, Process]:
        found = build_plan(pairs(settings("cpu", path=str(self.model), **serve), 1, interface="eth0"))
        return found, found.processes[0]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def expected(
    plan: LaunchPlan, process: Process, script: Script, recipe: ContainerRecipe, found: Mapping[str, str] | None = None
) -> list[str]:
    """What docker must get, put together without the template."""
    settings_ = settings(plan.hardware, path=plan.model_path)
    environment = {**{name: process.env[name] for name in sorted(process.env)}, **(found or {})}
    return [
        *("run", "-d"),
        *(word for words in docker_options(plan, process, settings_, recipe) for word in words),
        *("--label", f"qnext.digest={script.digest}"),
        *(word for name, value in environment.items() for word in ("-e", f"{name}={value}")),
        *(plan.image, "bash", "-lic", 'exec "$@"', "qnext"),
        *process.argv,
    ]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_docker_gets_what_the_plan_says(machine: Machine, shell: list[str]) -> None:
    plan, process = machine.plan(
        env={"GREETING": 'it\'s "$HOME" `id`\n\ttwo lines \\ end', "EMPTY": "", "EQUALS": "=x"},
        engine_args={"hf-overrides": {"a b": ["$x", "'"]}, "seed": -1, "note": "über; rm -rf $HOME"},
    )
    script = render_script(plan, process, settings("cpu", path=str(machine.model)))
    done = machine.run(script, shell)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0123456789ab\n", "")
    assert machine.words() == expected(plan, process, script, ContainerRecipe())


TEXT = strategies.text(strategies.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30)


@tuning(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=TEXT, argument=TEXT)
@example(value="'\"$(id)`id`\\\n\n{{ 7 * 7 }}{% raw %}", argument="-x\n--label qnext.digest=0123456789abcdef \\\n")
@example(value="\r\n\r\u2028", argument="=a")
def test_any_value_arrives_unchanged(machine: Machine, value: str, argument: str) -> None:
    plan, process = machine.plan(env={"VALUE": value}, engine_args={"chat-template": argument})
    script = render_script(plan, process, settings("cpu", path=str(machine.model)))
    raw = subprocess.run(
        [*SHELLS[0], "-s"],
        input=script.text.encode(),
        capture_output=True,
        env={"PATH": f"{machine.commands}:{os.environ['PATH']}", "RECORD": str(machine.record)},
    )
    assert raw.returncode == 0, raw.stderr
    assert machine.words() == expected(plan, process, script, ContainerRecipe())
    assert digest_of(script.text) == script.digest


def test_ascend_recipe_is_decided_on_the_node(machine: Machine, tmp_path: Path) -> None:
    plan, process = machine.plan()
    there, absent = tmp_path / "there", tmp_path / "absent"
    there.write_text("")
    recipe = ContainerRecipe(
        devices=("/dev/null", "/dev/zero"),
        mounts=(
            Mount(str(tmp_path), "/a b", "dir"),
            Mount(str(there), "/x", "file", optional=True),
            Mount(str(absent), "/y", "file", optional=True),
        ),
        one_of=((Mount(str(absent), "/n", "file", optional=True), Mount(str(there), "/m", "file", optional=True)),),
    )
    script = render_script(plan, process, settings("cpu", path=str(machine.model)), recipe)
    assert machine.run(script).returncode == 0
    words = machine.words()
    volumes = [words[i + 1] for i, word in enumerate(words) if word == "-v"]
    assert volumes == [
        f"{tmp_path}:/a b",
        f"{machine.model}:{machine.model}:ro",
        f"{there}:/x",
        f"{there}:/m",
    ]
    assert [words[i + 1] for i, word in enumerate(words) if word == "--device"] == ["/dev/null", "/dev/zero"]


@pytest.mark.parametrize(
    ("recipe", "text"),
    [
        (ContainerRecipe(devices=("/dev/davinci99",)), "/dev/davinci99 is missing or of the wrong kind"),
        (ContainerRecipe(mounts=(Mount("/dev", "/x", "file"),)), "/dev is missing or of the wrong kind"),
        (ContainerRecipe(one_of=((Mount("/no/a", "/a", "file"), Mount("/no/b", "/b", "file")),)), "no /no/a or /no/b"),
    ],
)
def test_docker_is_not_asked_where_the_node_lacks_something(
    machine: Machine, recipe: ContainerRecipe, text: str
) -> None:
    plan, process = machine.plan()
    done = machine.run(render_script(plan, process, settings("cpu", path=str(machine.model)), recipe))
    assert (done.returncode, done.stdout) == (1, "")
    assert text in done.stderr
    assert "qnext-qnext-test-server not started" in done.stderr
    assert "driver" in done.stderr
    assert not machine.record.exists()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_limits_are_raised_where_the_user_may(machine: Machine, shell: list[str]) -> None:
    plan, process = machine.plan()
    script = render_script(plan, process, settings("cpu"))
    assert machine.run(script, shell).returncode == 0
    may = subprocess.run([*shell, "-c", "ulimit -n 1048576"], capture_output=True).returncode == 0
    assert ("nofile=1048576:1048576" in machine.record.read_text().split("\0")) == may


def test_missing_weights_are_named(machine: Machine) -> None:
    plan, process = machine.plan()
    machine.model.rmdir()
    done = machine.run(render_script(plan, process, settings("cpu")))
    assert done.returncode == 1
    assert f"{machine.model} is missing" in done.stderr
    assert "same path on every node" in done.stderr


def test_dockers_failure_is_the_scripts(machine: Machine) -> None:
    plan, process = machine.plan()
    machine.command("docker", "#!/bin/sh\necho 'name is in use' >&2\nexit 125\n")
    done = machine.run(render_script(plan, process, settings("cpu")))
    assert (done.returncode, done.stderr) == (125, "name is in use\n")


def test_a_variable_that_names_itself_extends_the_images(machine: Machine) -> None:
    plan, process = machine.plan(env={"LD_LIBRARY_PATH": '/x"$y`:${LD_LIBRARY_PATH}', "OTHER": "$LD_LIBRARY_PATH"})
    assert machine.run(render_script(plan, process, settings("cpu", path=str(machine.model)))).returncode == 0
    words = machine.words()
    start = words[words.index("-lic") + 1]
    assert not any(word.startswith("LD_LIBRARY_PATH=") for word in words)
    assert "OTHER=$LD_LIBRARY_PATH" in words
    shown = [*SHELLS[0], "-c", start, "qnext", "printenv", "LD_LIBRARY_PATH"]
    filled = subprocess.run(shown, text=True, capture_output=True, env={**os.environ, "LD_LIBRARY_PATH": "/image"})
    assert filled.stdout == '/x"$y`:/image\n'


def test_companions_lie_beside_the_script_and_are_mounted(machine: Machine) -> None:
    plan, process = machine.plan()
    given = settings("cpu", path=str(machine.model)).model_copy(update={"state_dir": str(machine.state)})
    script = render_script(plan, replace(process, files=(Companion("a.conf", "text"),)), given)
    ((path, text),) = script.files.items()
    assert (path, text) == (f"{machine.state}/qnext-test/launch/{process.name}.a.conf", "text")
    assert f"{path} is missing" in machine.run(script).stderr
    Path(path).parent.mkdir(parents=True)
    Path(path).write_text(text)
    assert machine.run(script).returncode == 0
    assert f"{path}:/qnext/a.conf:ro" in machine.words()


# ---- secrets


def test_the_api_key_is_in_no_script_and_read_from_its_file(machine: Machine) -> None:
    given = settings("cpu", path=str(machine.model), api_key="sk-very-secret").model_copy(
        update={"state_dir": str(machine.state)}
    )
    plan = build_plan(pairs(given, interface="eth0"))
    (script,) = render_scripts(plan, {"node1": given})
    assert "sk-very-secret" not in script.text
    done = machine.run(script)
    assert done.returncode == 1
    assert f"{script.secrets_path} is missing" in done.stderr
    path = Path(script.secrets_path)
    path.parent.mkdir(parents=True)
    path.write_text("VLLM_API_KEY=sk-very-secret\n")
    assert machine.run(script).returncode == 0
    words = machine.words()
    assert words[words.index("--env-file") + 1] == script.secrets_path


def test_headless_processes_need_no_key() -> None:
    given = settings("cpu", topology="tensor-parallel", tensor_parallel_size=2, api_key="sk-1234")
    plan = build_plan(pairs(given, 2))
    head, worker = render_scripts(plan, dict.fromkeys(("node1", "node2"), given))
    assert head.secrets_path == "/var/lib/qnext/qnext-test/launch/head.env"
    assert worker.secrets_path == ""
    assert "env-file" not in worker.text


# ---- the interface


def interface_case(machine: Machine, address: str) -> Script:
    plan, process = machine.plan()
    wanted = {"GLOO_SOCKET_IFNAME": "", "HCCL_SOCKET_IFNAME": "="}
    process = replace(process, env={}, address=address, interface_env=wanted)
    return render_script(plan, process, settings("cpu", path=str(machine.model)))


def found_interface(machine: Machine) -> str:
    words = machine.words()
    plain = next(word for word in words if word.startswith("GLOO_SOCKET_IFNAME="))
    exact = next(word for word in words if word.startswith("HCCL_SOCKET_IFNAME="))
    name = plain.partition("=")[2]
    assert exact == f"HCCL_SOCKET_IFNAME=={name}"
    return name


IP_ADDR = """\
1: lo    inet 127.0.0.1/8 scope host lo
2: eth1    inet 10.0.0.11/24 brd 10.0.0.255 scope global eth1
3: eth10    inet 10.0.0.1/24 brd 10.0.0.255 scope global eth10
4: tun0    inet 10.9.0.1 peer 10.9.0.2/32 scope global tun0
"""
IFCONFIG = """\
eth1: flags=4163<UP,BROADCAST>  mtu 1500
        inet 10.0.0.11  netmask 255.255.255.0
eth10: flags=4163<UP,BROADCAST>  mtu 1500
        inet 10.0.0.1  netmask 255.255.255.0
bond0     Link encap:Ethernet  HWaddr 00:00:00:00:00:00
          inet addr:10.9.0.1  Bcast:10.9.0.255  Mask:255.255.255.0
"""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
@pytest.mark.parametrize(("address", "name"), [("10.0.0.1", "eth10"), ("10.9.0.1", "tun0"), ("127.0.1.2", "lo")])
def test_interface_is_found_by_ip(machine: Machine, address: str, name: str, shell: list[str]) -> None:
    machine.command("ip", f"#!/bin/sh\ncat <<'END'\n{IP_ADDR}END\n")
    assert machine.run(interface_case(machine, address), shell).returncode == 0
    assert found_interface(machine) == name


@pytest.mark.parametrize(("address", "name"), [("10.0.0.1", "eth10"), ("10.9.0.1", "bond0")])
def test_interface_is_found_by_ifconfig(machine: Machine, address: str, name: str) -> None:
    machine.command("ip", "#!/bin/sh\nexit 127\n")
    machine.command("ifconfig", f"#!/bin/sh\ncat <<'END'\n{IFCONFIG}END\n")
    assert machine.run(interface_case(machine, address)).returncode == 0
    assert found_interface(machine) == name


def own_address() -> tuple[str, str] | None:
    """An address of this machine and its interface, where there is one beside loopback."""
    done = subprocess.run(["ip", "-o", "-4", "addr", "show"], capture_output=True, text=True)
    rows = [line.split() for line in done.stdout.splitlines()]
    return next(((row[3].split("/")[0], row[1]) for row in rows if row[1] != "lo" and "/32" not in row[3]), None)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: Path(shell[0]).name)
def test_interface_is_found_without_any_tool(machine: Machine, shell: list[str]) -> None:
    own = own_address() if shutil.which("ip") else None
    if own is None:
        pytest.skip("this machine has no address beside loopback, or no ip to tell it by")
    for name in ("ip", "ifconfig"):
        machine.command(name, "#!/bin/sh\nexit 127\n")
    assert machine.run(interface_case(machine, own[0]), shell).returncode == 0
    assert found_interface(machine) == own[1]


def test_an_address_that_no_interface_owns_is_refused(machine: Machine) -> None:
    machine.command("ip", f"#!/bin/sh\ncat <<'END'\n{IP_ADDR}END\n")
    machine.command("ifconfig", "#!/bin/sh\nexit 1\n")
    done = machine.run(interface_case(machine, "203.0.113.7"))
    assert done.returncode == 1
    assert "no network interface owns 203.0.113.7" in done.stderr
    assert "data_address of node1" in done.stderr
    assert not machine.record.exists()


# ---- the scripts as files


def two_nodes() -> tuple[LaunchPlan, tuple[Script, ...]]:
    given = settings(profile=QWEN3_NEXT, topology="data-parallel", tensor_parallel_size=4, data_parallel_size=8)
    plan = build_plan(pairs(given, 2))
    return plan, render_scripts(plan, dict.fromkeys(("node1", "node2"), given))


def test_scripts_are_named_by_node_and_process() -> None:
    _, scripts = two_nodes()
    assert [script.filename for script in scripts] == ["node0.head.sh", "node1.worker1.sh"]
    assert [script.path for script in scripts] == [
        "/var/lib/qnext/qnext-test/launch/head.sh",
        "/var/lib/qnext/qnext-test/launch/worker1.sh",
    ]
    assert [script.container for script in scripts] == ["qnext-qnext-test-head", "qnext-qnext-test-worker1"]


def test_the_digest_identifies_the_script() -> None:
    first, second = two_nodes()[1], two_nodes()[1]
    assert first == second
    digests = {script.digest for script in first}
    assert len(digests) == 2
    for script in first:
        assert len(script.digest) == 16
        assert script.text.count(script.digest) == 1
        assert digest_of(script.text) == script.digest
        assert digest_of(script.text.replace("--seed 1024", "--seed 1025")) != script.digest


def test_a3_script_has_the_whole_recipe() -> None:
    text = two_nodes()[1][0].text
    for number in range(16):
        assert f"\n  --device /dev/davinci{number} \\\n" in text
    for device in ("davinci_manager", "devmm_svm", "hisi_hdc"):
        assert f"\n  --device /dev/{device} \\\n" in text
    for source in ("/usr/local/dcmi", "/usr/local/Ascend/driver/lib64", "/etc/ascend_install.info"):
        assert f"\n  -v {source}:{source} \\\n" in text
    assert "if test -f /etc/hccn.conf; then set --" in text
    assert '\n  -e HCCL_SOCKET_IFNAME=="$interface" \\\n' in text
    assert "\n  --net=host \\\n  --shm-size=16g \\\n" in text
    assert "--rm" not in text
    assert "--privileged" not in text


def test_the_header_tells_how_to_run_it_by_hand() -> None:
    _, scripts = two_nodes()
    for script in scripts:
        assert "1. head on node1; go on when TCP port 13389 listens there" in script.text
        assert "2. worker1 on node2" in script.text
        assert f"docker logs -f {script.container}" in script.text
        assert all(len(line) <= 130 for line in script.text.splitlines() if line.startswith("#"))


def test_the_readme_lists_the_scripts_in_order() -> None:
    text = readme(*two_nodes())
    assert text.index("1. head") < text.index("2. worker1")
    assert "node1.worker1.sh" in text
    assert "http://10.0.0.1:8000/v1/chat/completions" in text


def test_a_value_no_script_can_hold_is_refused() -> None:
    given = settings("cpu")
    plan = build_plan(pairs(given))
    process = replace(plan.processes[0], env={"A": "x\0y"})
    with pytest.raises(ConfigError, match="NUL"):
        render_script(plan, process, given)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("/data/weights/Q", "/data/weights/Q"),
        ("/data/weights/Q/", "/data/weights/Q"),
        ("/c/hub/models--Qwen--Q/snapshots/0a1b", "/c/hub/models--Qwen--Q"),
        ("/data/snapshots/monday", "/data/snapshots/monday"),
    ],
)
def test_the_model_is_mounted_read_only_at_its_own_path(path: str, source: str) -> None:
    assert model_mount(path).volume == f"{source}:{source}:ro"


def test_options_stand_one_a_line() -> None:
    assert list(command_lines(["vllm", "serve", "/m", "--a", "1", "2", "--b", "--c=-1"])) == [
        ("vllm", "serve", "/m"),
        ("--a", "1", "2"),
        ("--b",),
        ("--c=-1",),
    ]
