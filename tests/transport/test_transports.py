"""What every transport must do: the same tests over a local shell, OpenSSH and asyncssh."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from provision.errors import CommandFailed, DeadlineExceeded
from provision.facts.base import Fact
from provision.transport.base import Transport
from provision.transport.pool import Pool
from tests.transport.servers import Door

pytestmark = pytest.mark.rehearsal


@dataclass(frozen=True, slots=True)
class Look(Fact[str]):
    text: str
    seconds: float = 10.0
    name = "look"

    def script(self) -> str:
        return self.text

    @property
    def deadline(self) -> float:  # type: ignore[override]
        return self.seconds


def alive(pid: str) -> bool:
    try:
        state = Path(f"/proc/{pid.strip()}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def gone(pid: str) -> bool:
    return within(3.0, lambda: not alive(pid))


def within(seconds: float, holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.02)
    return holds()


def greet(listener: socket.socket) -> None:
    sock, _ = listener.accept()
    with sock:
        sock.sendall(b"hello")


def test_run_tells_exit_stdout_and_stderr_apart(node: Transport) -> None:
    result = node.run("echo out; echo err >&2; exit 3", deadline=10, label="try")
    assert (result.label, result.exit, result.stdout, result.stderr) == ("try", 3, "out\n", "err\n")
    assert not result.timed_out


@pytest.mark.parametrize(
    ("script", "stdout"),
    [
        ("printf no-newline", "no-newline"),
        ("printf 'a\\0b'", "a\0b"),
        ("printf '\\377'", "\ufffd"),
        ('echo "it\'s" \'"$HOME"\'', 'it\'s "$HOME"\n'),
        ("echo $#", "0\n"),
        ("echo ${LC_ALL}", "C\n"),
        ("cat", ""),
        ("cat <<'E'\nhere\nE", "here\n"),
        ("", ""),
        ("# only a comment", ""),
        ("echo ä 龙", "ä 龙\n"),
    ],
)
def test_scripts_arrive_as_they_are(node: Transport, script: str, stdout: str) -> None:
    assert node.run(script, deadline=10).stdout == stdout


def test_a_syntax_error_is_the_scripts_own_failure(node: Transport) -> None:
    result = node.run("if true; then", deadline=10)
    assert result.exit == 2
    assert "yntax error" in result.stderr


def test_input_is_the_scripts_stdin(node: Transport) -> None:
    content = bytes(range(256)) * 40
    result = node.run("wc -c; echo done", deadline=10, input=content)
    assert result.stdout.split() == [str(len(content)), "done"]


def test_input_that_nobody_reads_does_no_harm(node: Transport) -> None:
    assert node.run("echo done", deadline=10, input=b"x" * 300_000).stdout == "done\n"


def test_big_output_big_script_and_big_input_do_not_block(node: Transport) -> None:
    content = b"0123456789abcdef" * 65_536
    result = node.run("# " + "x" * 1_000_000 + "\ncat; head -c 9000000 /dev/zero", deadline=60, input=content)
    assert result.ok
    assert len(result.stdout) == 9_000_000 + len(content)


def test_the_deadline_ends_the_whole_process_group(node: Transport) -> None:
    started = time.monotonic()
    result = node.run("(trap '' TERM; echo $$; sh -c 'echo $$; exec sleep 300') & sleep 300", deadline=0.5)
    assert result.timed_out
    assert result.exit == 124
    assert time.monotonic() - started < 5
    assert gone(result.stdout.split()[-1])
    with pytest.raises(DeadlineExceeded):
        result.check()


def test_a_script_that_itself_exits_with_124_did_not_time_out(node: Transport) -> None:
    result = node.run("exit 124", deadline=10)
    assert (result.exit, result.timed_out) == (124, False)


def test_all_probes_travel_in_one_exec(node: Transport) -> None:
    before = node.counters.execs
    facts = [Look(f"echo {n}; echo e{n} >&2; exit {n}", 5.0 + n % 3) for n in range(12)]
    answers = node.probe([*facts, facts[0]])
    assert node.counters.execs - before <= 2  # a server that gives no process group costs one more, once
    assert list(answers) == facts
    assert [(a.exit, a.stdout, a.stderr) for a in answers.values()] == [(n, f"{n}\n", f"e{n}\n") for n in range(12)]


def test_a_probe_knows_when_it_ran(node: Transport) -> None:
    answers = node.probe([Look("sleep 0.5"), Look("date +%s.%N"), Look("sleep 0.7")])
    (_, told, _) = answers.values()
    assert told.when
    assert told.when[0] - 0.02 <= float(told.stdout) <= told.when[1] + 0.02


def test_a_hanging_probe_costs_its_deadline_and_those_after_it_still_run(node: Transport) -> None:
    facts = [Look("echo first"), Look("echo partly; sleep 1000", 0.4), Look("cat /proc/uptime"), Look("exit 7")]
    started = time.monotonic()
    first, hung, program, last = node.probe(facts).values()
    assert time.monotonic() - started < 5
    assert (first.stdout, program.ok, last.exit) == ("first\n", True, 7)
    assert (hung.timed_out, hung.stdout) == (True, "partly\n")


def test_probes_do_not_see_each_other(node: Transport) -> None:
    answers = node.probe([Look("x=1; cd /; set -e; exit 0"), Look('echo "${x-unset}"; false; echo on')])
    assert [a.stdout for a in answers.values()] == ["", "unset\non\n"]


def test_a_probes_output_is_kept_up_to_a_bound(node: Transport) -> None:
    big, small = node.probe([Look("head -c 3000000 /dev/zero"), Look("echo small")]).values()
    assert len(big.stdout) == 1024 * 1024
    assert "dropped" in big.stderr
    assert small.stdout == "small\n"


def test_a_failing_programs_complaint_is_its_own(node: Transport) -> None:
    good, bad, other = node.probe([Look("uname"), Look("cat /nonexistent"), Look("echo x >&2")]).values()
    assert (good.stderr, bad.exit, other.stderr) == ("", 1, "x\n")
    assert "/nonexistent" in bad.stderr


def test_stream_gives_lines_as_they_come(node: Transport) -> None:
    lines = node.stream("echo one; sleep 0.3; printf two")
    started = time.monotonic()
    assert next(lines) == b"one"
    assert time.monotonic() - started < 5
    assert list(lines) == [b"two"]


def test_stream_raises_what_the_script_failed_with(node: Transport) -> None:
    with pytest.raises(CommandFailed, match="no such thing") as caught:
        list(node.stream("echo one; echo no such thing >&2; exit 4"))
    assert caught.value.result.exit == 4


def test_closing_a_stream_ends_the_remote_processes(node: Transport) -> None:
    lines = node.stream("echo $$; sh -c 'echo $$; exec sleep 500'")
    next(lines)
    pid = next(lines).decode()
    assert alive(pid)
    lines.close()  # type: ignore[attr-defined]
    assert gone(pid)


def test_a_stream_ends_at_its_deadline_with_what_came_before_heard(node: Transport) -> None:
    lines, heard = node.stream("echo $$; sh -c 'echo $$; exec sleep 500'", deadline=0.6), list[bytes]()
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        heard.extend(iter(lambda: next(lines), None))
    assert time.monotonic() - started < 5
    assert len(heard) == 2
    assert gone(heard[1].decode())


@pytest.mark.rehearsal
def test_the_connection_serves_on_after_a_streams_deadline(openssh_door: Door) -> None:
    """With OpenSSH: asyncssh at times closes the connection when a channel goes while its process still writes."""
    there = openssh_door.host()
    with Pool([there]) as pool:
        node = pool.get(there)
        with pytest.raises(DeadlineExceeded):
            list(node.stream("exec sleep 500", deadline=0.3))
        assert node.run("echo on", deadline=5).stdout == "on\n"


def test_a_streams_deadline_holds_where_it_never_falls_silent(node: Transport) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded):
        list(node.stream("trap '' TERM; while echo on; do sleep 0.05; done", deadline=0.5))
    assert time.monotonic() - started < 5


def test_put_is_whole_and_has_its_mode(node: Transport, tmp_path: Path) -> None:
    path, content = tmp_path / "new folder" / "it's here", bytes(range(256)) * 3000
    node.put(str(path), content, mode=0o750)
    assert path.read_bytes() == content
    assert path.stat().st_mode & 0o7777 == 0o750
    node.put(str(path), b"", mode=0o600)
    assert path.read_bytes() == b""
    assert os.listdir(path.parent) == ["it's here"]


def test_put_says_why_it_failed_and_leaves_nothing(node: Transport, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CommandFailed, match="is a folder"):
        node.put(str(tmp_path / "folder"), b"x", mode=0o600)
    with pytest.raises(CommandFailed) as caught:
        node.put("/dev/full/x", b"x", mode=0o600)
    assert caught.value.evidence
    assert os.listdir(tmp_path) == ["folder"]


def test_get_gives_bytes_or_says_why_not(node: Transport, tmp_path: Path) -> None:
    content = os.urandom(700_000)
    (tmp_path / "it's").write_bytes(content)
    assert node.get(str(tmp_path / "it's")) == content
    with pytest.raises(CommandFailed, match="No such file"):
        node.get(str(tmp_path / "absent"))


def test_a_tcp_connection_from_the_node(node: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        sock = node.open_tcp("127.0.0.1", listener.getsockname()[1], timeout=5)
        assert sock.recv(100) == b"hello"
        assert sock.recv(100) == b""
        sock.close()


def test_nothing_listens(node: Transport) -> None:
    with pytest.raises(OSError, match="refused"):
        node.open_tcp("127.0.0.1", 1, timeout=5)


def test_many_threads_share_a_connection(node: Transport) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda n: node.run(f"sleep 0.05; echo {n}", deadline=20).stdout, range(20)))
    assert answers == [f"{n}\n" for n in range(20)]
    assert node.counters.connections == 1
