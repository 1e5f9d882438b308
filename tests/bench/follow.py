"""What following costs: nodes that each say so many numbered lines a second, and ``logs -f`` that must give them all.

Every node is a connection to an address of its own; its ``docker`` is a small stand-in whose ``logs --follow`` says
lines of some 190 bytes, in bursts every 20 ms. What is checked: every number of every node, in order. Delay is from the
stamp of a line to the moment when it is read from the program's output. The second row has no rate: the most that goes
through.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from resource import struct_rusage

from tests.bench import satisfied, sshd
from tests.bench.programs import Void

COLUMNS = ("nodes", "lines a node and second", "s", "lines", "lost", "out of order", "longest delay s", "client CPU s",
           "lines/s", "peak MiB", "load")  # fmt: skip

DOCKER = r"""#!/bin/sh
connection=${SSH_CONNECTION% *}; id=$(printf '%s' "${connection##* }" | sha256sum | cut -d' ' -f1)
case "$1" in
ps) echo "$id" ;;
inspect) printf '{"Id":"%s","Name":"/qnext-bench-head","Image":"sha256:1","Created":"","State":{"Status":"running","Running":true,"StartedAt":"2026-01-01T00:00:00Z"},"RestartCount":0,"Ref":"x","Labels":{"qnext.cluster":"bench","qnext.process":"head"}} @env []\n' "$id" ;;
logs) exec {python} -S {folder}/say.py ;;
esac
"""  # noqa: E501 - one line of JSON

SAY = """\
import sys, time
rate, count, begin = {rate}, {count}, max({begin}, time.time())
text = "INFO 11-24 06:03:01 [loggers.py:257] Engine 000: Avg prompt throughput: 1003.2 tokens/s, Running: 12 reqs"
step = max(1, rate // 50) if rate else 500
time.sleep(max(0.0, begin - time.time()))
for first in range(0, count, step):
    if rate:
        time.sleep(max(0.0, begin + first / rate - time.time()))
    at = time.time_ns()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 10**9)) + ".%09dZ" % (at % 10**9)
    lines = "".join(f"{{stamp}} {{text}} #{{at}} {{n}}\\n" for n in range(first, min(first + step, count)))
    sys.stdout.write(lines)
    sys.stdout.flush()
time.sleep(600)
"""


@dataclass
class Seen:
    """What came out. ``delay``: seconds, of the slowest line."""

    next: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    disorder: int = 0
    delay: float = 0.0
    first: float = 0.0
    last: float = 0.0
    rest: bytes = b""

    def take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        now = time.time_ns()
        for line in lines:
            if b" #" not in line:
                continue
            words = line.split()
            node, at, number = words[0].decode(), int(words[-2][1:]), int(words[-1])
            self.disorder += number != self.next.get(node, 0)
            self.next[node] = number + 1
            self.lines += 1
            self.delay = max(self.delay, (now - at) / 1e9)
        if lines:
            self.first, self.last = self.first or time.monotonic(), time.monotonic()


def measure(folder: Path, nodes: int, seconds: int, environment: dict[str, str]) -> None:
    """Print both tables. Raises ``Void`` where nothing came at all."""
    print(" | ".join(COLUMNS))
    print("|".join("---" for _ in COLUMNS))
    for rate, count in ((1000, 1000 * seconds), (0, 10_000)):
        _one(folder / str(rate), nodes, rate, count, environment)


def _one(folder: Path, nodes: int, rate: int, count: int, environment: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    with sshd.running(folder, nodes, environment=satisfied.session(folder)) as server:
        (folder / "cluster.yaml").write_text(satisfied._inventory(server, 8000))
        (folder / "bin").mkdir()
        docker = folder / "bin" / "docker"
        docker.write_text(DOCKER.replace("{python}", sys.executable).replace("{folder}", str(folder)))
        docker.chmod(0o755)
        lead = 2.0 + nodes * 0.4  # all are connected by then, also on two cores
        (folder / "say.py").write_text(SAY.format(rate=rate, count=count, begin=time.time() + lead))
        seen, usage = _follow(folder, nodes * count, lead + count / (rate or count) + 120.0, environment)
    if not seen.lines:
        raise Void("no line came")
    taken = seen.last - seen.first
    cells = (nodes, rate or "as many as go", f"{taken:.1f}", seen.lines, nodes * count - seen.lines, seen.disorder,
             f"{seen.delay:.2f}" if rate else "",
             f"{usage.ru_utime + usage.ru_stime:.1f}", f"{seen.lines / taken:,.0f}",
             usage.ru_maxrss // 1024, f"{os.getloadavg()[0]:.1f}")  # fmt: skip
    print(" | ".join(map(str, cells)), flush=True)


def _follow(folder: Path, total: int, patience: float, environment: dict[str, str]) -> tuple[Seen, struct_rusage]:
    argv = [sys.executable, "-m", "provision", "logs", "-i", str(folder / "cluster.yaml"), "-f", "--no-fold"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=satisfied.ROOT, env=environment)
    assert process.stdout
    seen, until = Seen(), time.monotonic() + patience
    while seen.lines < total and time.monotonic() < until:
        if select.select([process.stdout], [], [], 1.0)[0]:
            data = os.read(process.stdout.fileno(), 1 << 20)
            if not data:
                break
            seen.take(data)
    process.send_signal(signal.SIGINT)
    process.stdout.close()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return seen, usage
