"""Detached jobs: started once, followed by anybody, ended as a whole."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.actions import Job, JobProgress
from provision.errors import CommandFailed, ConnectionLost, Interrupted, ProvisionError
from provision.inventory.model import Connection
from provision.results import Result
from provision.transport import jobs
from provision.transport.local import LocalTransport
from tests.transport.servers import host

pytestmark = pytest.mark.rehearsal


@pytest.fixture
def node() -> LocalTransport:
    return LocalTransport(host(Connection(kind="local")))


@pytest.fixture
def folder(tmp_path: Path, node: LocalTransport) -> Iterator[str]:
    """A folder of jobs; what still runs there at the end is ended."""
    path = str(tmp_path / "state of it" / "jobs")
    yield path
    node.run(jobs.cancel_all_script(path), deadline=20)


def job(script: str, **more: object) -> Job:
    return Job(label="try it", name="try", script=script, **more)  # type: ignore[arg-type]


def until(holds: object, seconds: float = 5.0) -> bool:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if holds():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


def alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def pid_of(folder: str) -> str:
    return Path(folder, "try", "pid").read_text().split()[0]


def test_a_job_runs_to_its_end(node: LocalTransport, folder: str) -> None:
    told: list[JobProgress] = []
    count = job("echo one; sleep 0.3; echo two >&2; exit 7", progress=lambda log: JobProgress(None, log))
    result = jobs.run_job(node, count, state_dir=folder, progress=told.append)
    assert (result.label, result.exit, result.stdout, result.timed_out) == ("try it", 7, "one\ntwo\n", False)
    assert told[-1].text == "one\ntwo\n"
    assert {path.name for path in Path(folder, "try").iterdir()} == {"script", "pid", "log", "exit", "started"}


def test_the_same_job_is_attached_to_not_started_twice(node: LocalTransport, folder: str, tmp_path: Path) -> None:
    script = f"echo $$ >>{tmp_path}/runs; sleep 0.8; echo done"
    assert jobs.start(node, folder, "try", script) == "started"
    assert jobs.start(node, folder, "try", script) == "attached"
    assert jobs.run_job(node, job(script), state_dir=folder).stdout == "done\n"
    assert len((tmp_path / "runs").read_text().split()) == 1


def test_a_finished_job_runs_again_unless_told_not_to(node: LocalTransport, folder: str) -> None:
    script = "date +%s.%N"
    first = jobs.run_job(node, job(script), state_dir=folder)
    assert jobs.start(node, folder, "try", script, again=False) == "ended"
    assert jobs.run_job(node, job(script), state_dir=folder).stdout != first.stdout


def test_another_script_of_the_same_name_is_refused_while_one_runs(node: LocalTransport, folder: str) -> None:
    jobs.start(node, folder, "try", "sleep 30")
    with pytest.raises(jobs.JobBusy) as caught:
        jobs.start(node, folder, "try", "sleep 31")
    assert caught.value.hint
    jobs.cancel(node, folder, "try")
    assert jobs.start(node, folder, "try", "true") == "started"


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(0, id="no such process"),
        pytest.param(1, id="number used again"),
        pytest.param(2, id="booted since"),
    ],
)
def test_a_job_that_died_is_recognised_and_started_again(node: LocalTransport, folder: str, field: int) -> None:
    jobs.start(node, folder, "try", "sleep 30")
    file = Path(folder, "try", "pid")
    words = file.read_text().split()
    jobs.cancel(node, folder, "try")
    Path(folder, "try", "exit").unlink()
    if field:
        words[0] = str(__import__("os").getpid())
        words[1] = "1" if field == 1 else Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        words[2] = words[2] if field == 1 else "another-boot"
    file.write_text(" ".join(words) + "\n")
    assert jobs.poll(node, folder, "try").state == "dead"
    assert jobs.start(node, folder, "try", "sleep 30", again=False) == "started"
    assert jobs.poll(node, folder, "try").state == "live"


def test_cancel_ends_all_of_it(node: LocalTransport, folder: str, tmp_path: Path) -> None:
    jobs.start(node, folder, "try", f"(trap '' TERM; sh -c 'echo $$ >{tmp_path}/pid; exec sleep 300') & wait")
    assert until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    child = (tmp_path / "pid").read_text().strip()
    jobs.cancel(node, folder, "try")
    assert until(lambda: not alive(child))
    assert [(j.name, j.state, j.exit) for j in jobs.list_jobs(node, folder)] == [("try", "ended", 143)]
    jobs.cancel(node, folder, "try")
    jobs.cancel(node, folder, "never-heard-of")


def test_past_its_deadline_it_is_cancelled(node: LocalTransport, folder: str) -> None:
    result = jobs.run_job(node, job("echo begun; sleep 300"), state_dir=folder, deadline=0.5)
    assert (result.exit, result.timed_out, result.stdout) == (124, True, "begun\n")
    assert until(lambda: not alive(pid_of(folder)))


def test_the_node_keeps_the_deadline_too(node: LocalTransport, folder: str) -> None:
    jobs.start(node, folder, "try", "sleep 300", deadline=0.5 + 0.5)
    assert until(lambda: not alive(pid_of(folder)), 8)
    polled = jobs.poll(node, folder, "try")
    assert (polled.state, polled.exit) == ("ended", 124)


def test_a_stop_leaves_the_job_running(node: LocalTransport, folder: str) -> None:
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    with pytest.raises(Interrupted):
        jobs.run_job(node, job("sleep 30"), state_dir=folder, stop=stop)
    assert jobs.poll(node, folder, "try").state == "live"


def test_the_log_is_read_piece_by_piece(node: LocalTransport, folder: str) -> None:
    result = jobs.run_job(node, job("seq 100000"), state_dir=folder)
    assert result.stdout.endswith("99999\n100000\n")
    first = jobs.poll(node, folder, "try")
    second = jobs.poll(node, folder, "try", offset=first.offset)
    assert (first.text + second.text).startswith("1\n2\n3\n")
    assert len(first.text) == 256 * 1024
    assert jobs.poll(node, folder, "absent") == jobs.Polled("absent", 0, "", 0)


def test_a_lost_connection_is_waited_out(node: LocalTransport, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, calls = node.run, iter(range(100))

    def flaky(script: str, **more: object) -> Result:
        if next(calls) in (1, 2, 4):
            raise ConnectionLost("gone")
        return ask(script, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(node, "run", flaky)
    monkeypatch.setattr(jobs, "_LAST_POLL", 0.05)
    told: list[JobProgress] = []
    result = jobs.run_job(node, job("sleep 0.3; echo done"), state_dir=folder, progress=told.append)
    assert result.stdout == "done\n"
    assert "connecting again" in told[0].text


def test_a_node_out_of_reach_for_too_long(node: LocalTransport, folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object, **__: object) -> Result:
        raise ConnectionLost("gone")

    monkeypatch.setattr(node, "run", gone)
    monkeypatch.setattr(jobs, "OUT_OF_REACH", 0.0)
    with pytest.raises(ConnectionLost):
        jobs.run_job(node, job("true"), state_dir=folder)


def test_all_jobs_of_a_folder_are_ended_by_one_script(node: LocalTransport, folder: str) -> None:
    for name in ("one", "two"):
        jobs.start(node, folder, name, "sleep 300")
    assert node.run(jobs.cancel_all_script(folder) + "echo after", deadline=20).stdout == "after\n"
    assert {j.state for j in jobs.list_jobs(node, folder)} == {"ended"}
    assert node.run(jobs.cancel_all_script(folder + "/absent"), deadline=20).ok


def test_names_that_would_leave_the_folder_are_refused(node: LocalTransport) -> None:
    with pytest.raises(ProvisionError, match="no name for a job"):
        jobs.start(node, "/nonexistent", "../x", "true")


def test_a_folder_that_cannot_be_made(node: LocalTransport) -> None:
    with pytest.raises(CommandFailed):
        jobs.start(node, "/proc/nonexistent", "x", "true")
