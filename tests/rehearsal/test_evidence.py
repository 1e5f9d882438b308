"""What a node leaves behind for who looks for a cause: clocks that differ, plogs, the kernel's log, copied files."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from provision import clock
from provision.rehearsal.faults import fault, set_fault
from provision.rehearsal.standins.docker.store import Store
from provision.rehearsal.standins.system import login_environment
from tests.rehearsal.client import TP4, Client, fast
from tests.rehearsal.conftest import Machine, until
from tests.rehearsal.test_vllm import parallel

pytestmark = pytest.mark.rehearsal

PLOG = re.compile(r"\[ERROR\] HCCL\(\d+,python3\):\d{4}(-\d\d){3}:\d\d:\d\d\.\d{3}\.\d{3} \[\w+\.cc:\d+\] \[\d+\]")

Machines = Callable[..., list[Machine]]


@pytest.fixture
def quick(machine: Machine) -> Machine:
    fast(machine)
    return machine


def copied(machine: Machine, words: str) -> tarfile.TarFile:
    """``docker cp WORDS -``."""
    done = subprocess.run(
        [f"{machine.node.root}/usr/bin/docker", "cp", words, "-"],
        capture_output=True, check=True, env=login_environment(machine.node, "root"), cwd=machine.node.root,
    )  # fmt: skip
    return tarfile.open(fileobj=io.BytesIO(done.stdout))


def ahead(text: str) -> float:
    """Seconds that an RFC 3339 time of now is ahead of this machine's clock."""
    return datetime.fromisoformat(f"{text[:19]}+00:00").timestamp() - clock.now()


# ---- one clock for all that a node stamps


@pytest.mark.parametrize("skew", ["90", "-3600.5", "0.25"])
def test_date_follows_the_clock_of_the_node(machine: Machine, skew: str) -> None:
    with fault(machine.folder, machine.node.name, "clock/skew", skew):
        found = float(machine.ok("date +%s.%N")) - clock.now()
    assert found == pytest.approx(float(skew), abs=0.7)


def test_all_that_a_node_stamps_bears_its_clock(quick: Machine) -> None:
    set_fault(quick.folder, quick.node.name, "clock/skew", "5400")
    set_fault(quick.folder, quick.node.name, "vllm/oom_killed", "0")
    quick.serve(*TP4)
    assert quick.ended()[0] == 137

    state = quick.state()
    assert ahead(str(state["StartedAt"])) == pytest.approx(5400, abs=5)
    assert ahead(str(state["FinishedAt"])) == pytest.approx(5400, abs=5)
    line = quick.docker("logs", "--timestamps", "server").out.splitlines()[-1]
    assert ahead(line.split()[0]) == pytest.approx(5400, abs=5)
    said = re.search(r"INFO (\d\d-\d\d) (\d\d:\d\d:\d\d) ", line)
    assert said
    assert ahead(f"{line[:5]}{said[1]}T{said[2]}") == pytest.approx(5400, abs=5)
    kernel = quick.ok("dmesg -T").splitlines()[-1]
    assert ahead(datetime.strptime(kernel[1:25], "%a %b %d %H:%M:%S %Y").isoformat()) == pytest.approx(5400, abs=5)
    journal = quick.ok("journalctl --no-pager -o short-iso -k -n 1").splitlines()
    assert ahead(journal[0]) == pytest.approx(5400, abs=5)
    assert quick.docker("logs", "--since", "60s", "server").out, "since is told by the node's own clock"
    assert "second" in quick.docker("ps", "-a", "--format", "{{.Status}}").out


def test_the_kernel_says_whom_it_ended(quick: Machine) -> None:
    set_fault(quick.folder, quick.node.name, "vllm/oom_killed", "0")
    quick.serve(*TP4)
    code, log = quick.ended()

    assert (code, quick.state()["OOMKilled"]) == (137, False), "the machine's memory, no limit of the container"
    assert "Traceback" not in log
    assert "Out of memory: Killed process" in quick.ok("journalctl -k -n 5")


# ---- plogs


def test_the_code_of_a_failed_collective_is_in_the_plog_alone(quick: Machine) -> None:
    set_fault(quick.folder, quick.node.name, "hccl/fails", "0 EI0015")
    quick.serve(*TP4)
    code, log = quick.ended()

    assert code == 1
    assert "hcclCommInitRootInfoConfig, error code is 4" in log
    assert "EI0015" not in log
    archive = copied(quick, "server:/root/ascend/log")
    (name,) = [name for name in archive.getnames() if name.endswith(".log")]
    assert re.fullmatch(r"log/debug/plog/plog-\d+_\d{17}\.log", name)
    member = archive.extractfile(name)
    assert member
    lines = member.read().decode().splitlines()
    assert all(PLOG.match(line) for line in lines)
    assert "EI0015" in lines[-1]


def test_plogs_lie_where_the_environment_says(quick: Machine) -> None:
    set_fault(quick.folder, quick.node.name, "hccl/fails", "0")
    quick.serve(*TP4, env={"ASCEND_PROCESS_LOG_PATH": "/workspace/plogs"})
    quick.ended()

    assert any(name.startswith("plogs/debug/plog/") for name in copied(quick, "server:/workspace/plogs").getnames())


# ---- ranks that fall silent, and those that wait for them


def test_who_falls_silent_is_named_by_the_plog_of_those_who_wait(machines: Machines) -> None:
    head, worker = machines(2, "a3")
    for machine in (head, worker):
        fast(machine)
        set_fault(machine.folder, machine.node.name, "hccl/timeout", "0.5")
    set_fault(worker.folder, worker.node.name, "vllm/silent", "0")
    worker.serve(*parallel(head), "--data-parallel-start-rank", "4", "--headless")
    head.serve(*parallel(head))
    code, log = head.ended()

    assert code == 1
    assert "EI0006: [PID: " in log
    assert worker.state()["Running"] is True
    assert "Error" not in worker.logs()
    archive = copied(head, "server:/root/ascend/log/.")
    plog = archive.extractfile(next(name for name in archive.getnames() if name.endswith(".log")))
    assert plog
    text = plog.read().decode()
    assert "LINK_ERROR_INFO" in text
    assert [int(rank) for rank in re.findall(r"\|  192\.0\.2\.\d+\((\d+)\)", text)] == [4, 5, 6, 7]


def test_peers_of_a_lost_rank_are_the_loudest(machines: Machines) -> None:
    head, worker = machines(2, "a3")
    for machine in (head, worker):
        fast(machine)
        set_fault(machine.folder, machine.node.name, "vllm/mourns", "0.2 3")
    set_fault(worker.folder, worker.node.name, "vllm/die_at_start", "0 1 RuntimeError: NPU out of memory.")
    worker.serve(*parallel(head), "--data-parallel-start-rank", "4", "--headless")
    head.serve(*parallel(head))

    assert worker.ended()[1].count("Traceback") == 2
    assert head.ended()[1].count("Connection closed by peer") > 3 * 4


# ---- docker cp


def test_copying_files_out_of_a_container(machine: Machine) -> None:
    machine.start("bash", "-lic", "mkdir -p /workspace/a; echo hello > /workspace/a/b")
    machine.docker("wait", "server")

    assert copied(machine, "server:/workspace/a").getnames() == ["a", "a/b"]
    assert sorted(copied(machine, "server:/workspace/a/.").getnames()) == [".", "./b"]
    assert copied(machine, "server:/workspace/a/b").getnames() == ["b"]
    assert machine.ok("docker cp server:/workspace/a /tmp/taken && cat /tmp/taken/b").strip() == "hello"


REFUSED = [
    (("cp", "nobody:/tmp", "-"), "Error response from daemon: No such container: nobody"),
    (
        ("cp", "server:/nowhere", "-"),
        "daemon: Could not find the file /nowhere in container server",
    ),
    (("cp", "server:/tmp"), "requires 2 arguments"),
]


@pytest.mark.parametrize(("words", "error"), REFUSED)
def test_what_cannot_be_copied(machine: Machine, words: tuple[str, ...], error: str) -> None:
    machine.start("bash", "-lic", "true")
    done = machine.docker(*words)

    assert done.exit == 1
    assert error in done.err
    assert done.out == ""


def test_a_path_cannot_leave_the_container(machine: Machine) -> None:
    machine.start("bash", "-lic", "true")

    assert "Could not find" in machine.docker("cp", "server:/../../state.json", "-").err


# ---- Ray and the driver


def test_ray_keeps_the_logs_of_its_session(machine: Machine) -> None:
    machine.start("bash", "-lic", f"ray start --head --block --node-ip-address={machine.node.address} --port=6379")
    until(lambda: "Ray runtime started" in machine.logs(), "Ray runs")

    archive = copied(machine, "server:/tmp/ray/session_latest/.")
    assert {"./logs/gcs_server.out", "./logs/raylet.out"} <= set(archive.getnames())


def test_the_driver_keeps_logs_on_the_host(machine: Machine) -> None:
    assert "slogdlog" in machine.ok("ls /var/log/npu/slog/slogd")


def test_a_server_that_generates_has_no_errors_in_its_plogs(quick: Machine) -> None:
    quick.serve(*TP4)
    Client(quick).wait()
    (container,) = Store(quick.node).containers()

    assert not list(Path(container.folder, "fs/root/ascend").rglob("debug/plog/*.log"))
