"""A folder that all nodes are to share is one and the same: what the head writes there, every node reads.

``qnext.shared_folders`` names them (NFS, a parallel file system); a node on which the mount is missing has an empty
local folder of that name, and loads nothing or the wrong thing [domain 14.3, X12]. The head writes a file of a name
that never was, the others look for it, and it is removed at the end, also where that fails.
"""

from __future__ import annotations

import posixpath
import secrets
from collections.abc import Generator, Iterable, Iterator, Mapping

from pydantic import Field

from provision.actions import On, Run
from provision.checks.base import CheckArgs, Finding, Shown, TrialRun
from provision.facts.base import Fact
from provision.inventory.model import Settings
from provision.node import Cluster
from provision.results import ActionResult
from provision.shell import quote

CODE = "X12"
LEVEL = "fail"
SCOPE = "trial"
DEEP = True

Answers = Mapping[str, ActionResult]


class Args(CheckArgs):
    """How patiently."""

    seconds: int = Field(10, ge=1, le=300, description="seconds until a node must see what the head has written")


def applies(settings: Settings) -> bool:
    return bool(settings.shared_folders)


def facts(settings: Settings) -> Iterable[Fact[object]]:
    return ()


def run(args: Args, cluster: Cluster) -> TrialRun:
    shown: list[Shown] = []
    for folder in cluster.settings.shared_folders:
        shown += yield from _try(args, cluster, folder)
    return shown


def _try(args: Args, cluster: Cluster, folder: str) -> Generator[On, Answers, list[Finding]]:
    head, others = cluster.nodes[0].name, [node.name for node in cluster.nodes[1:]]
    word = secrets.token_hex(8)
    marker = posixpath.join(folder, f".qnext-{cluster.settings.cluster}-check-{word}")
    try:
        written = yield On({head: _write(marker, word)})
        if written[head].exit:
            return [_unwritten(head, folder, written[head])]
        seen = yield On({name: _look(marker, word, args.seconds) for name in others})
        return list(_unseen(head, folder, args.seconds, seen))
    finally:
        yield On({head: _remove(marker)})


def _write(marker: str, word: str) -> Run:
    script = f"umask 077; printf '%s\\n' {quote(word)} >{quote(marker)}\n"
    return _run(f"write {marker}", script, 60.0)


def _look(marker: str, word: str, seconds: int) -> Run:
    """Listing the folder makes NFS ask its server anew."""
    folder, name = posixpath.split(marker)
    script = f"""\
end=$(($(date +%s) + {seconds}))
[ -d {quote(folder)} ] || {{ echo missing; exit 1; }}
until [ "$(cat {quote(marker)} 2>/dev/null)" = {quote(word)} ]; do
  [ "$(date +%s)" -lt $end ] || {{ df -P {quote(folder)} 2>/dev/null | awk 'NR == 2 {{ print $1 }}'; exit 1; }}
  ls -a {quote(folder)} >/dev/null 2>&1
  sleep 1
done
"""
    return _run(f"look for {name} in {folder}", script, seconds + 30.0)


def _remove(marker: str) -> Run:
    return _run(f"remove {marker}", f"rm -f -- {quote(marker)}\n", 60.0)


def _run(label: str, script: str, deadline: float) -> Run:
    return Run(label=label, script=script, deadline=deadline, ok_exits=tuple(range(256)), affects=frozenset())


def _unwritten(head: str, folder: str, result: ActionResult) -> Finding:
    last = next(iter(reversed(result.stderr.strip().splitlines())), "no reason told")
    return Finding(
        f"{head} cannot write into the shared folder {folder}: {last}",
        f"findmnt -T {folder} on {head}; mount it writable, or take it out of qnext.shared_folders",
        node=head,
        expected="a folder that root may write",
        observed=last,
    )


def _unseen(head: str, folder: str, seconds: int, seen: Answers) -> Iterator[Finding]:
    for name, result in seen.items():
        if result.exit:
            there = result.stdout.strip()
            what = "does not exist" if there == "missing" else f"is not that of {head}"
            yield Finding(
                f"{folder} on {name} {what}"
                + (f": a file written there is not seen within {seconds} s" if there != "missing" else ""),
                f"findmnt -T {folder} on {name} and {head} shows what is mounted; mount the same there",
                node=name,
                expected=f"the folder that {head} has",
                observed=there or "another folder",
            )
