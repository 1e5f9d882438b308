"""Fan-out, side by side in one run, as a table.

``python -m tests.bench [--nodes 1,8,32,64] [--rounds 5] [--only NAME,…] [--command 'NAME=COMMAND LINE']…``

Every round runs every contender once, in turn, so that what else the machine does hits all alike; the median of the
rounds is shown. ``--command`` adds a whole command line as a contender: ``{inventory}`` in it becomes the path of an
inventory (valid for Ansible too) of the nodes, ``{folder}`` a folder to write to. Its memory and CPU are those of the
process with its children.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import sshd
from tests.bench.contenders import CONTENDERS

COLUMNS = (
    "nodes",
    "what",
    "wall s",
    "client CPU s",
    "CPU ms a node",
    "server CPU s",
    "peak MiB",
    "execs a node",
    "connections a node",
)


def main() -> None:
    options = _options()
    names = options.only.split(",") if options.only else list(CONTENDERS)
    commands = dict(command.split("=", 1) for command in options.command)
    table = []
    for count in [int(word) for word in options.nodes.split(",")]:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder, sshd.running(Path(folder), count) as server:
            _describe(server)
            table += _measure(server, [*names, *commands], commands, options.rounds)
    print_table(table)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--nodes", default="1,8,32,64")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help=f"of {', '.join(CONTENDERS)}")
    parser.add_argument("--command", action="append", default=[], metavar="NAME=COMMAND LINE")
    return parser.parse_args()


def _describe(server: sshd.Server) -> None:
    described = {
        "addresses": server.addresses,
        "port": server.port,
        "user": server.user,
        "key": str(server.key),
        "known_hosts": str(server.known_hosts),
    }
    (server.folder / "nodes.json").write_text(json.dumps(described))
    hosts = "".join(f"    n{index:03}: {{ansible_host: {address}}}\n" for index, address in enumerate(server.addresses))
    (server.folder / "cluster.yaml").write_text(
        f"""\
all:
  vars:
    ansible_user: {server.user}
    ansible_port: {server.port}
    ansible_ssh_private_key_file: {server.key}
    ansible_ssh_common_args: -o UserKnownHostsFile={server.known_hosts} -o StrictHostKeyChecking=yes
    qnext:
      cluster: bench
      hardware: cpu
      install: {{image: "bench/vllm:cpu"}}
      model: {{path: /nonexistent/model}}
  hosts:
{hosts}"""
    )


def _measure(server: sshd.Server, names: list[str], commands: dict[str, str], rounds: int) -> list[dict[str, object]]:
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            before = server.cpu()
            run = _once(server, name, commands.get(name))
            time.sleep(0.3)  # sshd's children end a little later
            taken[name].append({**run, "server": server.cpu() - before})
    return [
        {"nodes": len(server.addresses), "what": name, **{k: _median(runs, k) for k in runs[0]}}
        for name, runs in taken.items()
    ]


def _median(runs: list[dict[str, float]], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def _once(server: sshd.Server, name: str, command: str | None) -> dict[str, float]:
    if command is None:
        argv = [sys.executable, "-m", "tests.bench.contenders", name, str(server.folder)]
        started = time.monotonic()
        done = subprocess.run(argv, capture_output=True, check=False, text=True)
        wall = time.monotonic() - started
        if done.returncode:
            sys.exit(f"{name}: {done.stderr}")
        return {"wall": wall, **json.loads(done.stdout.splitlines()[-1])}
    inventory = str(server.folder / "cluster.yaml")
    filled = command.replace("{inventory}", inventory).replace("{folder}", str(server.folder))
    started = time.monotonic()
    child = subprocess.Popen(shlex.split(filled), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, used = os.wait4(child.pid, 0)
    child.returncode = 0
    return {"wall": time.monotonic() - started, "cpu": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss}


def print_table(table: list[dict[str, object]]) -> None:
    """Markdown, as the README has it."""
    print(" | ".join(COLUMNS))
    print("|".join("---" for _ in COLUMNS))
    for row in table:
        print(" | ".join(_cells(row)))


def _cells(row: dict[str, object]) -> list[str]:
    wall, cpu, served, memory, nodes = (float(str(row[key])) for key in ("wall", "cpu", "server", "memory", "nodes"))
    figures = [f"{wall:.2f}", f"{cpu:.2f}", f"{cpu / nodes * 1000:.1f}", f"{served:.2f}", f"{memory / 1024:.0f}"]
    return [str(row["nodes"]), str(row["what"]), *figures, str(row.get("execs", "")), str(row.get("connections", ""))]


if __name__ == "__main__":
    main()
