"""Spreading files from node to node against one-by-one rsync, between real sshd processes on loopback, in one run.

Every node is a folder and an sshd of its own. On loopback the network is faster than two cores can encrypt, so what is
measured there is the processor. With ``--rate`` every single copy, ours and rsync's alike, is held to so many MB a
second: then the network is the bottleneck, as between real nodes. rsync uses the same cipher; it neither hashes the
whole file with SHA-256 nor flushes it, which ours does.
"""

from __future__ import annotations

import hashlib
import os
import random
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from provision.install import spread, ties
from provision.install.manifest import File
from provision.install.ties import Door, Key
from tests.bench import sshd

SHAPES: tuple[spread.Shape, ...] = ("pipeline", "tree")
CIPHER = "aes128-gcm@openssh.com"
MIB = 1 << 20


@dataclass(frozen=True)
class Node:
    """A node's server; ``data`` holds its files."""

    name: str
    server: sshd.Server

    @property
    def data(self) -> Path:
        return self.server.folder / "data"

    @property
    def plan(self) -> Path:
        return self.server.folder / "plan"

    @property
    def address(self) -> str:
        return self.server.addresses[0]

    @property
    def door(self) -> Door:
        key = " ".join((self.server.folder / "host_key.pub").read_text().split()[:2])
        return Door(self.name, self.server.user, self.address, self.server.port, (key,))


def measure(folder: Path, counts: list[int], megabytes: int, files: int, rate: int) -> None:
    """Print a table: seconds of each way, and its ratio to a single copy. ``rate``: MB a second, 0: no limit."""
    print(f"{megabytes} MiB in {files} file{'s' * (files != 1)}, " + (f"{rate} MB/s a copy" if rate else "not shaped"))
    print("nodes | what | wall s | times one rsync\n---|---|---|---", flush=True)
    for count in counts:
        with _nodes(folder / f"{count}-{files}-{rate}", count) as nodes:
            _fill(nodes[0].data, megabytes, files)
            _row(count, "rsync, one copy", one := _timed(nodes, lambda to: _rsync(nodes[0], to[:1], rate)), one)
            _row(count, "rsync, one by one", _timed(nodes, lambda to: _rsync(nodes[0], to, rate)), one)
            _row(count, "ours, one copy", _timed(nodes, lambda _: _ours(nodes[:2], "pipeline", rate)), one)
            for shape in SHAPES:
                _row(count, f"ours, {shape}", _timed(nodes, partial(_ours, nodes, shape, rate)), one)
    print(f"load {os.getloadavg()[0]:.1f}\n", flush=True)


def _row(count: int, what: str, seconds: float, one: float) -> None:
    print(f"{count} | {what} | {seconds:.1f} | {seconds / one:.2f}", flush=True)


@contextmanager
def _nodes(folder: Path, count: int) -> Iterator[list[Node]]:
    """The one that has the files, and ``count`` that want them."""
    with ExitStack() as stack:
        names = ["holder", *(f"node{number}" for number in range(1, count + 1))]
        found = []
        for name in names:
            (folder / name).mkdir(parents=True)
            found.append(Node(name, stack.enter_context(sshd.running(folder / name, 1))))
            found[-1].data.mkdir()
        yield found
    shutil.rmtree(folder)


def _fill(folder: Path, megabytes: int, files: int) -> None:
    chance = random.Random(1)
    for number in range(files):
        with (folder / f"model-{number + 1:05d}.safetensors").open("wb") as file:
            for _ in range(megabytes // files):
                file.write(chance.randbytes(MIB))


def _timed(nodes: list[Node], run: Callable[[list[Node]], None]) -> float:
    """Seconds that it takes, from nothing; what arrived is compared and removed."""
    os.sync()
    before = time.monotonic()
    run(nodes[1:])
    seconds = time.monotonic() - before
    wanted = _sums(nodes[0].data)
    for node in nodes[1:]:
        assert _sums(node.data) in (wanted, {}), f"{node.name} has something else"
        shutil.rmtree(node.data)
        shutil.rmtree(node.plan, ignore_errors=True)
        node.data.mkdir()
    return seconds


def _sums(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.glob("model-*")):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _rsync(holder: Node, takers: list[Node], rate: int) -> None:
    server = holder.server
    remote = (
        f"ssh -F /dev/null -c {CIPHER} -p {server.port} -i {server.key} -o IdentitiesOnly=yes "
        f"-o StrictHostKeyChecking=yes -o UserKnownHostsFile={server.known_hosts}"
    )
    limit = [f"--bwlimit={rate * 1000 * 1000 // 1024}"] if rate else []
    for taker in takers:
        source = f"{server.user}@{holder.address}:{holder.data}/"
        subprocess.run(["rsync", "-a", *limit, "-e", remote, source, f"{taker.data}/"], check=True)


def _ours(nodes: list[Node], shape: spread.Shape, rate: int, takers: object = None) -> None:
    """As ``modules/spreading.py`` has it, but that every node's folders are its own."""
    by_name = {node.name: node for node in nodes}
    listing = spread.Listing(
        tuple(
            File(path, (nodes[0].data / path).stat().st_size, sum) for path, sum in _remembered(nodes[0].data).items()
        )
    )
    asked = spread.parents(shape, [nodes[0].name], [node.name for node in nodes[1:]])
    key = ties.new_key()
    for node in nodes:
        _prepare(node, [by_name[parent].door for parent in asked.get(node.name, ())], listing, key, rate)
    jobs = [_start(by_name[name], listing, rate) for name in asked]
    for job in jobs:
        log = job.communicate()[0]
        if job.returncode:
            sys.exit(f"void: {spread.trouble(log).cause}")


_known: dict[Path, dict[str, str]] = {}


def _remembered(folder: Path) -> dict[str, str]:
    """The holder's checksums are known before: its files were verified."""
    if folder not in _known:
        _known[folder] = _sums(folder)
    return _known[folder]


def _prepare(node: Node, ask: list[Door], listing: spread.Listing, key: Key, rate: int) -> None:
    plan, data = str(node.plan), str(node.data)
    allowed = ties.options([node.address])
    line = f'{allowed},command="{spread.serve_command(plan)}" {key.public} {ties.comment("bench")}\n'
    own = (node.server.folder / "id.pub").read_text()
    (node.server.folder / "authorized_keys").write_text(line + own)
    texts = spread.texts(
        spread.serve_script(data, plan, listing, rate=rate * 1000 * 1000), listing=listing,
        want=[file.path for file in listing.files] if ask else None, ask=ask, address=node.address, key=key,
    )  # fmt: skip
    script = spread.prepare_script(plan, folder=data, takes=bool(ask))
    subprocess.run(["sh", "-c", script], input=spread.packed(texts), check=True)


def _start(node: Node, listing: spread.Listing, rate: int) -> subprocess.Popen[str]:
    script = spread.fetch_script(str(node.data), str(node.plan), listing, rate=rate)
    return subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def missing() -> str:
    """What this machine lacks for it."""
    tools = [tool for tool in ("ssh", "rsync") if not shutil.which(tool)]
    return shlex.join(tools if sshd.available() else [*tools, "sshd"])
