"""``python3`` of a node: the real interpreter, on the node's own address, with the faults of the way to other nodes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from provision.rehearsal.faults import fault
from provision.rehearsal.standins.system import login_environment
from provision.shell import quote
from tests.rehearsal.conftest import Machine

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]

LISTEN = """
import socket
listener = socket.socket()
listener.bind((HOST, 0))
listener.listen()
print(listener.getsockname()[1], flush=True)
connection, peer = listener.accept()
connection.sendall(b"hello")
print(peer[0], flush=True)
"""
CONNECT = """
import socket, sys, time
began = time.monotonic()
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.5) as connection:
        said = connection.recv(9).decode()
except OSError as error:
    said = type(error).__name__
print(said, time.monotonic() - began)
"""
ASYNC = """
import asyncio, sys
async def main():
    try:
        await asyncio.wait_for(asyncio.open_connection(sys.argv[1], 9), 0.3)
    except (OSError, asyncio.TimeoutError) as error:
        print(type(error).__name__)
asyncio.run(main())
"""


@pytest.fixture
def pair(machines: Machines) -> tuple[Machine, Machine]:
    first, second = machines(2, "a3", image=None)
    return first, second


@contextmanager
def listening(machine: Machine, host: str = "") -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A listener on a node, on a free port of its own choice."""
    with subprocess.Popen(
        [f"{machine.node.root}/usr/bin/python3", "-c", f"HOST = {host!r}{LISTEN}"],
        env=login_environment(machine.node, "root"), stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process
        finally:
            process.kill()


def connect(machine: Machine, target: str, port: int) -> tuple[str, float]:
    """What came, or the error's name; and seconds."""
    said, seconds = machine.ok(f"python3 -c {quote(CONNECT)} {target} {port}").split()
    return said, float(seconds)


def test_nodes_reach_each_other_from_their_own_addresses(pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    for host in ("", "0.0.0.0", second.node.address):
        with listening(second, host) as (port, process):
            assert connect(first, second.node.address, port)[0] == "hello"
            assert process.communicate()[0] == f"{first.node.address}\n"


def test_listeners_are_the_nodes_alone(pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    with listening(second, "127.0.0.1") as (port, _):
        assert connect(first, first.node.address, port)[0] == "ConnectionRefusedError"
        assert connect(second, "127.0.0.1", port)[0] == "hello"
    for host in (first.node.address, "10.0.0.1"):
        done = second.run(f"python3 -c 'import socket; socket.socket().bind((\"{host}\", 0))'")
        assert (done.exit, done.err.splitlines()[-1]) == (1, "OSError: [Errno 99] Cannot assign requested address")


def test_ways_that_are_closed_or_slow(pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    with listening(second) as (port, _):
        with fault(first.folder, "node1", "tcp/node2", "refused"):
            assert connect(first, second.node.address, port)[0] == "ConnectionRefusedError"
        with fault(first.folder, "node1", "tcp/node2", "dropped"):
            said, seconds = connect(first, second.node.address, port)
            assert (said, 0.45 < seconds < 2) == ("TimeoutError", True)
        with fault(first.folder, "node2", "tcp/node1", "dropped"), fault(first.folder, "node1", "tcp/node2", "slow 80"):
            said, seconds = connect(first, second.node.address, port)
            assert (said, seconds > 0.08) == ("hello", True)


@pytest.mark.parametrize(("value", "error"), [("refused", "ConnectionRefusedError"), ("dropped", "TimeoutError")])
def test_event_loops_see_the_same(pair: tuple[Machine, Machine], value: str, error: str) -> None:
    first, second = pair
    with fault(first.folder, "node1", "tcp/node2", value):
        assert first.ok(f"python3 -c {quote(ASYNC)} {second.node.address}") == f"{error}\n"


def test_names_are_those_of_the_node(pair: tuple[Machine, Machine]) -> None:
    first, second = pair
    ask = "import socket; print(socket.gethostname(), socket.gethostbyname('node1'))"
    assert first.ok(f"python3 -c {quote(ask)}") == f"node1 {first.node.address}\n"
    with listening(first) as (port, _):
        assert connect(first, "node1", port)[0] == "hello"
        assert connect(second, "node1", port)[0] == "gaierror"


FORMS = [
    ("python3 --version", 0, "Python 3.11.6\n", ""),
    ("python3 -c 'import sys; print(sys.argv)' a 'b c'", 0, "['-c', 'a', 'b c']\n", ""),
    ("echo 'print(1 + 1)' | python3", 0, "2\n", ""),
    ("printf 'import sys\\nsys.exit(7)\\n' | python3 - x", 7, "", ""),
    ("python3 -c 'import sys; sys.exit(\"no\")'", 1, "", "no\n"),
    ("python3 -u -E -c 'print(open(\"/etc/hostname\").read().strip())'", 0, "node1\n", ""),
    ("echo 'import sys; print(sys.argv[1:], __name__)' >/tmp/x.py; python3 -W ignore /tmp/x.py 3", 0,
     "['3'] __main__\n", ""),
    ("python3 /tmp/none.py", 2, "", "python3: can't open file '/tmp/none.py': [Errno 2] No such file or directory\n"),
    ("python3 -m json.tool /tmp/empty.json 2>/dev/null || echo failed", 0, "failed\n", ""),
    ("/opt/aisbench/bin/python -c 'import ais_bench; print(ais_bench.__version__)'", 0, "3.0.1\n", ""),
    ("python3 -c 'import ais_bench'", 1, "", "Traceback (most recent call last):\n"
     "  File \"<string>\", line 1, in <module>\nModuleNotFoundError: No module named 'ais_bench'\n"),
]  # fmt: skip


@pytest.mark.parametrize(("command", "status", "out", "err"), FORMS)
def test_ways_to_call_it(pair: tuple[Machine, Machine], command: str, status: int, out: str, err: str) -> None:
    done = pair[0].run(command)
    assert (done.exit, done.out, done.err) == (status, out, err)


def test_a_hanging_interpreter(pair: tuple[Machine, Machine]) -> None:
    with fault(pair[0].folder, "node1", "command/python3", "hang"):
        assert pair[0].run("timeout 0.2 python3 -c 1").exit == 124
