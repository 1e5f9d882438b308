"""What fan-out costs, side by side in one run, as a table.

``python -m tests.bench [--nodes 1,8,32,64] [--rounds 5] [--ansible-rounds 1] [--only NAME,…] [--command …]…``

Contenders are ``start-up``, ``check`` and ``up`` (whole ``qnext-provision`` processes on nodes where nothing is to be
done), ``ansible`` (a play of the same tasks, which gathers no facts) and ``ansible-facts`` (gathering them, and nothing
else), and those of ``contenders.py``: the bare tuned script (``bare-…``) and our transport alone (``ours-…``).

Every round runs every contender once, in turn, so that what else the machine does hits all alike; the median of the
rounds is shown, then the ratios that the product holds. A play on 64 nodes takes minutes.

``--command NAME=COMMAND LINE`` adds a whole command line as a contender: ``{inventory}`` in it becomes the path of the
inventory (valid for Ansible too), ``{folder}`` a folder to write to. Its memory and CPU are those of the process with
its children.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.bench import follow, programs, satisfied, spread, sshd
from tests.bench.contenders import CONTENDERS
from tests.bench.endpoint import Endpoint, serving
from tests.bench.programs import Void

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
RATIOS = (
    ("ours-facts", "bare-facts", "at most 1.1"),
    ("check", "bare-check", ""),
    ("up", "bare-up", ""),
    ("ansible", "up", "at least 40"),
    ("ansible-facts", "ours-facts", "at least 7"),
    ("ansible-facts", "check", ""),
)
Figures = dict[str, float]
Row = dict[str, object]


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        environment = _environment(Path(folder))
        if "start-up" in options.only:
            _print_start_up(environment)
        if "spread" in options.only:
            _print_spread(Path(folder) / "spread", options)
        if "follow" in options.only:
            follow.measure(Path(folder) / "follow", max(options.nodes), options.seconds, environment)
        if set(options.only) <= {"start-up", "spread", "follow"}:
            return
        with serving() as endpoint:
            table: list[Row] = []
            for count in options.nodes:
                if not table:
                    _fill_caches(Path(folder) / "first", endpoint, options, environment)
                with _nodes(Path(folder) / str(count), count, endpoint, environment) as server:
                    table += _measure(server, _contenders(server, options, environment), options)
    print_table(table)
    print_ratios(table)


def _options() -> argparse.Namespace:
    all_names = ["start-up", "check", "up", "ansible", "ansible-facts", *CONTENDERS]
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", default=[1, 8, 32, 64], type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ansible-rounds", type=int, default=1, help="rounds in which Ansible takes part")
    parser.add_argument(
        "--only", default=all_names, type=lambda text: text.split(","),
        help=f"of {', '.join(all_names)}, spread, follow",
    )  # fmt: skip
    parser.add_argument("--seconds", type=int, default=20, help="of follow: how long the nodes talk")
    parser.add_argument("--megabytes", type=int, default=1024, help="of spread: how much is copied")
    parser.add_argument("--files", type=int, default=1, help="of spread: in how many files")
    parser.add_argument(
        "--rate", default=[40, 0], type=lambda text: [int(word) for word in text.split(",")],
        help="of spread: MB a second that each copy is held to; 0: no limit",
    )  # fmt: skip
    parser.add_argument("--command", action="append", default=[], metavar="NAME=COMMAND LINE")
    return parser.parse_args()


def _environment(folder: Path) -> dict[str, str]:
    """Of all contenders: compiled modules are kept, as in an installed package, but not in the tree."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "QNEXT_STATE")}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder / "pyc"), "QNEXT_STATE": str(folder / "state")}


def _print_start_up(environment: dict[str, str]) -> None:
    starts = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "qnext-provision --help": [sys.executable, "-m", "provision", "--help"],
    }
    for name, argv in starts.items():
        taken = programs.start_up(argv, environment)
        print(f"{name}: {statistics.median(taken) * 1000:.0f} ms (median of 10, best {min(taken) * 1000:.0f})")
    print(flush=True)


def _print_spread(folder: Path, options: argparse.Namespace) -> None:
    if lacking := spread.missing():
        raise Void(f"for spread this machine lacks {lacking}")
    for rate in options.rate:
        spread.measure(folder, options.nodes, options.megabytes, options.files, rate)


@contextmanager
def _nodes(folder: Path, count: int, endpoint: Endpoint, environment: dict[str, str]) -> Iterator[sshd.Server]:
    """As many nodes as wanted, on which all is as declared."""
    folder.mkdir()
    endpoint.restart(count)
    begin = satisfied.begin(folder)
    with sshd.running(folder, count, options=begin, environment=satisfied.session(folder)) as server:
        _describe(server)
        satisfied.prepare(server, endpoint.server_port, environment)
        argv = [sys.executable, "-m", "tests.bench.probes", str(folder / "cluster.yaml"), str(folder)]
        subprocess.run(argv, check=True, cwd=satisfied.ROOT, env=environment)
        yield server


def _describe(server: sshd.Server) -> None:
    described = {
        "folder": str(server.folder),
        "addresses": server.addresses,
        "port": server.port,
        "user": server.user,
        "key": str(server.key),
        "known_hosts": str(server.known_hosts),
    }
    (server.folder / "nodes.json").write_text(json.dumps(described))


def _contenders(
    server: sshd.Server, options: argparse.Namespace, environment: dict[str, str]
) -> dict[str, Callable[[], Figures]]:
    """What runs in each round, by name."""
    known: dict[str, Callable[[], Figures]] = {
        name: partial(_contender, server, name, environment) for name in CONTENDERS
    }
    for command in ("check", "up"):
        known[command] = partial(programs.ours, server, command, environment)
    for name, facts in (("ansible", False), ("ansible-facts", True)):
        known[name] = partial(programs.ansible, server, facts=facts, environment=environment)
    chosen = {name: known[name] for name in options.only if name in known}
    added = dict(text.split("=", 1) for text in options.command)
    return {**chosen, **{name: partial(_command, server, line, environment) for name, line in added.items()}}


def _contender(server: sshd.Server, name: str, environment: dict[str, str]) -> Figures:
    argv = [sys.executable, "-m", "tests.bench.contenders", name, str(server.folder)]
    run = programs.used(argv, environment)
    figures: Figures = json.loads(run.stdout.splitlines()[-1])
    return {"wall": run.wall, **figures}


def _command(server: sshd.Server, command: str, environment: dict[str, str]) -> Figures:
    filled = command.replace("{inventory}", str(server.folder / "cluster.yaml"))
    return programs.used(shlex.split(filled.replace("{folder}", str(server.folder))), environment).figures()


def _fill_caches(folder: Path, endpoint: Endpoint, options: argparse.Namespace, environment: dict[str, str]) -> None:
    """Run everything once on one node: the first run compiles what it imports."""
    with _nodes(folder, 1, endpoint, environment) as server:
        for run in _contenders(server, options, environment).values():
            run()


def _measure(
    server: sshd.Server, contenders: dict[str, Callable[[], Figures]], options: argparse.Namespace
) -> list[Row]:
    taken: dict[str, list[Figures]] = {name: [] for name in contenders}
    for number in range(options.rounds):
        for name, run in contenders.items():
            if name.startswith("ansible") and number >= options.ansible_rounds:
                continue
            before = server.cpu()
            figures = run()
            time.sleep(0.3)  # sshd's children end a little later
            taken[name].append({**figures, "server": server.cpu() - before})
    rows = [
        {"nodes": len(server.addresses), "what": name, **{key: _median(runs, key) for key in runs[0]}}
        for name, runs in taken.items()
        if runs
    ]
    print_table(rows)
    print(f"load {os.getloadavg()[0]:.1f}\n", flush=True)
    return rows


def _median(runs: list[Figures], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def print_table(table: list[Row]) -> None:
    """Markdown, as docs/performance.md has it."""
    print(" | ".join(COLUMNS))
    print("|".join("---" for _ in COLUMNS))
    for row in table:
        print(" | ".join(_cells(row)), flush=True)


def _cells(row: Row) -> list[str]:
    wall, cpu, served, memory, nodes = (float(str(row[key])) for key in ("wall", "cpu", "server", "memory", "nodes"))
    figures = [f"{wall:.2f}", f"{cpu:.2f}", f"{cpu / nodes * 1000:.1f}", f"{served:.2f}", f"{memory / 1024:.0f}"]
    counted = [f"{row[key]:g}" if key in row else "" for key in ("execs", "connections")]
    return [str(row["nodes"]), str(row["what"]), *figures, *counted]


def print_ratios(table: list[Row]) -> None:
    """Wall times against each other, and our client CPU for each node more."""
    wall = {(row["nodes"], row["what"]): float(str(row["wall"])) for row in table}
    cpu = {(row["nodes"], row["what"]): float(str(row["cpu"])) for row in table}
    counts = list(dict.fromkeys(int(str(row["nodes"])) for row in table))
    print()
    for over, under, wanted in RATIOS:
        pairs = [(n, wall[n, over] / wall[n, under]) for n in counts if (n, over) in wall and (n, under) in wall]
        if pairs:
            text = ", ".join(f"{ratio:.2f} ({n})" for n, ratio in pairs)
            print(f"wall {over} / {under}, by nodes: {text}" + (f"; wanted: {wanted}" if wanted else ""))
    for name in ("check", "up"):
        ends = (counts[0], name), (counts[-1], name)
        if counts[0] < counts[-1] and all(end in cpu for end in ends):
            more = (cpu[ends[1]] - cpu[ends[0]]) / (counts[-1] - counts[0])
            print(f"client CPU of {name} for each node more: {more * 1000:.1f} ms; wanted: at most 15")


if __name__ == "__main__":
    try:
        main()
    except Void as error:
        sys.exit(f"void: {error}")
