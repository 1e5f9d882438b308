"""The weights can be read fast enough for the servers to be ready in time.

Every rank takes every tensor of every shard, and the page cache spares all but the first reading, so a node reads the
whole model once; engines that wait longer than ``serve.ready_timeout`` give up [domain 12, row 19; 14.2, N26]. Up to
2 GB of the shards are read as one stream, past the page cache where the file system lets that be, on all nodes at the
same time: shared storage serves them all at a start, too. Nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydantic import Field

from provision.actions import On, Run
from provision.checks.base import CheckArgs, Finding, Shown, TrialRun
from provision.checks.support import Skip, size
from provision.facts.base import Fact
from provision.facts.model import ModelFolder, ModelFolderValue
from provision.findings import Measure
from provision.inventory.model import Settings
from provision.node import Cluster, Node
from provision.results import ActionResult
from provision.shell import join

CODE = "N26"
LEVEL = "warn"
SCOPE = "trial"
DEEP = True

BLOCK = 4 * 1024**2
"""Bytes of a single read: enough for any disk to give its full speed, and aligned for direct reads."""

_COPIED = re.compile(r"^(\d{1,18}) bytes\b.* copied, ([0-9.e+-]{1,20}) s", re.MULTILINE)

_SCRIPT = """\
blocks={blocks} end=$(($(date +%s) + {seconds})) piece=1 flag=iflag=direct
gentle=
command -v ionice >/dev/null 2>&1 && gentle='ionice -c 2 -n 7'
for file in {files}; do
  length=$((($(stat -Lc %s "$file") + {block} - 1) / {block})) skip=0
  while [ $skip -lt $length ]; do
    left=$((end - $(date +%s)))
    [ $left -gt 0 ] && [ $blocks -gt 0 ] || exit 0
    [ $piece -le $blocks ] || piece=$blocks
    said=$(timeout $left $gentle dd if="$file" of=/dev/null bs={block} count=$piece skip=$skip $flag 2>&1) || {{
      [ "$flag" ] && [ $skip = 0 ] && [ $piece = 1 ] || {{ printf '%s\\n' "$said"; exit 0; }}
      flag= && echo '@@ buffered' && continue
    }}
    printf '%s\\n' "$said"
    skip=$((skip + piece)) blocks=$((blocks - piece))
    [ $piece -ge 64 ] || piece=$((piece * 2))
  done
done
"""
"""Pieces grow from one block to 256 MB, so that a slow disk gives a figure too before its time is over."""


class Args(CheckArgs):
    """How much is read, and what is enough."""

    gigabytes: float = Field(2.0, gt=0, le=100, description="GB to read on each node at most")
    seconds: int = Field(20, ge=1, le=600, description="seconds to read at most")
    share: float = Field(1.0, gt=0, description="share of serve.ready_timeout that reading the weights may take")


@dataclass(frozen=True, slots=True)
class _Read:
    """What was read: bytes, seconds, and whether the page cache may have helped."""

    count: int
    seconds: float
    buffered: bool

    @property
    def speed(self) -> float:
        """Bytes a second."""
        return self.count / max(self.seconds, 1e-6)


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return (ModelFolder(settings.model.folder),)


def run(args: Args, cluster: Cluster) -> TrialRun:
    whole = {node.name: value for node in cluster.nodes if (value := _folder(node)).complete and value.shards}
    if not whole:
        raise Skip("no whole model is on the nodes: the check model says so")
    results = yield On({name: _reading(args, value) for name, value in whole.items()})
    return [shown for node in cluster.nodes if node.name in whole for shown in _told(args, node, results[node.name])]


def _folder(node: Node) -> ModelFolderValue:
    return node.get(ModelFolder(node.settings.model.folder))


def _reading(args: Args, value: ModelFolderValue) -> Run:
    files = [f"{value.path}/{shard.name}" for shard in sorted(value.shards, key=lambda shard: -(shard.size or 0))]
    blocks = max(1, int(args.gigabytes * 1e9 / BLOCK))
    return Run(
        label="read the weights",
        script=_SCRIPT.format(blocks=blocks, seconds=args.seconds, files=join(files), block=BLOCK),
        deadline=args.seconds + 30.0,
        ok_exits=tuple(range(256)),
        affects=frozenset(),
    )


def _told(args: Args, node: Node, result: ActionResult) -> Iterator[Shown]:
    read = _measured(result)
    if not read.count:
        yield _unread(args, node, result)
        return
    total = sum(shard.size or 0 for shard in _folder(node).shards)
    predicted, allowed = total / read.speed, node.settings.serve.ready_timeout * args.share
    note = f"{size(read.count)} read" + (", through the page cache: may flatter" if read.buffered else "")
    yield Measure("reading the weights", round(read.speed / 1e6, 1), "MB/s", node.name, note)
    yield Measure("predicted time to load", round(predicted, 1), "s", node.name, f"{size(total)} of weights")
    if predicted > allowed:
        yield _too_slow(node, total, read.speed, predicted, allowed)


def _measured(result: ActionResult) -> _Read:
    """GNU's and busybox' dd both say ``N bytes … copied, S s``."""
    pieces = [(int(count), float(seconds)) for count, seconds in _COPIED.findall(result.stdout)]
    return _Read(sum(c for c, _ in pieces), sum(s for _, s in pieces), "@@ buffered" in result.stdout)


def _too_slow(node: Node, total: int, speed: float, predicted: float, allowed: float) -> Finding:
    return Finding(
        f"the weights ({size(total)}) are read at {speed / 1e6:.0f} MB/s, so loading takes about {_minutes(predicted)}",
        f"put the weights on a faster local disk, or raise qnext.serve.ready_timeout above {predicted * 1.5:.0f}",
        node=node.name,
        expected=f"at most {_minutes(allowed)}",
        observed=_minutes(predicted),
    )


def _unread(args: Args, node: Node, result: ActionResult) -> Finding:
    last = next(iter(reversed(f"{result.stdout}\n{result.stderr}".strip().splitlines())), "")
    return Finding(
        f"not even {size(BLOCK)} of the weights could be read within {args.seconds} s" + (f": {last}" if last else ""),
        f"dd if=… of=/dev/null bs=4M count=1 on a shard in {_folder(node).path}; "
        "`dmesg` tells of disk and network storage errors",
        node=node.name,
        expected="a figure",
        observed=last or "nothing",
    )


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
