"""Who gets what from whom when files or an image are spread from node to node, and the scripts that do it.

Each node that lacks files fetches them from a *parent*, by one detached job of its own, so that a spread goes on
without the controller. A parent may still be receiving: it passes a file on while it grows, byte by byte, so a chain of
nodes takes hardly longer than a single copy, whether the files are many or one. Every node verifies for itself.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from provision.actions import JobProgress
from provision.amounts import size_text, time_text
from provision.install.manifest import File
from provision.install.ties import Door, Key
from provision.resources import shipped
from provision.shell import assign, quote

Shape = Literal["pipeline", "tree"]

UNIT = 4 * 1024 * 1024
"""Bytes of a block: the least that is moved of a file whose content is wrong."""

PATIENCE = 60
"""Seconds without a byte after which a node asks another parent; a node that boots is not waited for."""

SILENCE = 600
"""Seconds after which a connection is cut that is up, and over which nothing comes: its node's disk may hang."""

RESERVE = 64 * 1024 * 1024
"""Bytes that are left free on a file system."""

_PARENTS = 3


# ---- who from whom


def parents(shape: Shape, holders: Sequence[str], takers: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For each taker whom it asks, in order: its parent, then those that stand in when that fails.

    ``pipeline``: a chain from each holder, of about equal length. ``tree``: a binomial tree from all holders. Every
    node comes after its parents in the order of the answer. Raises ``ValueError`` where nobody holds anything.
    """
    if not holders:
        raise ValueError("nobody has the files")
    before = _chains(holders, takers) if shape == "pipeline" else _tree(holders, takers)
    return {taker: _line(taker, before, holders) for taker in before}


def _chains(holders: Sequence[str], takers: Sequence[str]) -> dict[str, str]:
    chains = min(len(holders), len(takers))
    before: dict[str, str] = {}
    for chain in range(chains):
        first, end = len(takers) * chain // chains, len(takers) * (chain + 1) // chains
        before |= dict(zip(takers[first:end], [holders[chain], *takers[first : end - 1]], strict=True))
    return before


def _tree(holders: Sequence[str], takers: Sequence[str]) -> dict[str, str]:
    nodes = [*holders, *takers]
    width = len(holders)
    before: dict[str, str] = {}
    for index in range(len(holders), len(nodes)):
        if index >= 2 * width:
            width *= 2
        before[nodes[index]] = nodes[index - width]
    return before


def _line(taker: str, before: Mapping[str, str], holders: Sequence[str]) -> tuple[str, ...]:
    """Its ancestors, the nearest first, the last one a holder; then another holder."""
    line = []
    at = taker
    while at in before:
        at = before[at]
        line.append(at)
    near = line if len(line) <= _PARENTS else [*line[: _PARENTS - 1], line[-1]]
    return tuple(dict.fromkeys([*near, *holders[: _PARENTS - len(near)]]))


def rounds(holders: Sequence[str], takers: Sequence[str]) -> list[dict[str, str]]:
    """Who gets it from whom, round by round: in each, everyone that has it gives it to one other."""
    have, left, found = list(holders), list(takers), []
    while left:
        now, left = left[: len(have)], left[len(have) :]
        found.append(dict(zip(now, have, strict=False)))
        have += now
    return found


# ---- on the nodes


@dataclass(frozen=True, slots=True)
class Listing:
    """Files of a folder by their numbers, from 1: what nodes speak of among themselves."""

    files: tuple[File, ...]

    @property
    def text(self) -> str:
        return "".join(f"{file.size} {file.sha256 or '-'} {file.path}\n" for file in self.files)

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def numbers(self, paths: Iterable[str]) -> list[int]:
        """The numbers of paths, ascending."""
        wanted = set(paths)
        return [number for number, file in enumerate(self.files, 1) if file.path in wanted]

    def bytes_of(self, paths: Iterable[str]) -> int:
        wanted = set(paths)
        return sum(file.size for file in self.files if file.path in wanted)


def place(state_dir: str, cluster: str, name: str) -> str:
    """The folder of a spread on every node."""
    return f"{state_dir}/{cluster}/spread/{name}"


def serve_script(folder: str, plan: str, listing: Listing, *, rate: int = 0) -> str:
    """What a parent runs for each that asks."""
    head = {"folder": folder, "plan": plan, "list": listing.digest, "rate": rate, "unit": UNIT}
    return _headed(head, "serve.sh")


def fetch_script(
    folder: str,
    plan: str,
    listing: Listing,
    *,
    rate: int = 0,
    patience: int = PATIENCE,
    silence: int = SILENCE,
    streams: int = 0,
) -> str:
    """The job of a taker. With a limit there is one stream, which the parent's side holds to it."""
    head = {"folder": folder, "plan": plan, "list": listing.digest, "unit": UNIT}
    return _headed(head | {"patience": patience, "silence": silence, "streams": 1 if rate else streams}, "fetch.sh")


def image_serve_script(ref: str, image_id: str) -> str:
    """What a parent runs that gives an image."""
    return _headed({"ref": ref, "id": image_id}, "serve-image.sh")


def image_fetch_script(ref: str, image_id: str, plan: str) -> str:
    """The job of a node that gets an image."""
    return _headed({"ref": ref, "id": image_id, "plan": plan}, "fetch-image.sh")


def _headed(values: Mapping[str, object], name: str) -> str:
    body = (shipped("templates") / "install" / name).read_text(encoding="utf-8")
    return "".join(f"{assign(key, value)}\n" for key, value in values.items()) + body


def serve_command(plan: str) -> str:
    """The forced command that runs it."""
    return f"sh {quote(plan)}/serve"


def texts(
    serve: str, *, listing: Listing | None = None, want: Iterable[str] | None = None, ask: Sequence[Door] = (),
    address: str = "", key: Key | None = None,
) -> dict[str, str]:  # fmt: skip
    """The files of a node's folder by name: those of one that gives, and of one that also takes."""
    found = {"serve": serve}
    if listing:
        found["files"] = listing.text
        if want is not None:
            found["want"] = "".join(f"{number}\n" for number in listing.numbers(want))
    if key and ask:
        found["key"] = key.private
        found["known_hosts"] = "".join(dict.fromkeys(door.known for door in ask))
        found["parents"] = "".join(f"{d.name} {d.user} {d.address} {d.port}\n" for d in ask)
        found["bind"] = f"{address}\n"
    return found


_MARK = "@@@@ "


def packed(files: Mapping[str, str]) -> bytes:
    """As the input of ``prepare_script``."""
    return "".join(f"{_MARK}{name}\n{text}" for name, text in files.items()).encode()


def prepare_script(plan: str, *, folder: str = "", takes: bool = False, asks: bool = False) -> str:
    """Makes a node's folder from ``packed`` input, which may hold a private key and is therefore not in the script.

    For one that ``asks`` another: refuses (exit status 69) where there is no SSH client. For one that ``takes`` files:
    refuses (28) where there is not enough room for what it lacks; what an earlier run has verified and nobody has
    changed since counts as done.
    """
    script = (_ASKS if asks or takes else "") + _PREPARE.format(plan=quote(plan), mark=_MARK.strip())
    return script + _TAKES.format(folder=quote(folder), reserve=RESERVE, unit=UNIT) if takes else script


_PREPARE = """\
umask 077
mkdir -p {plan} && cd {plan} || exit
rm -f .new.* failed alive
awk '$1 == "{mark}" {{ f = ".new." $2; next }} {{ print > f }}' || exit
[ -s .new.serve ] || {{ echo 'our files could not be written' >&2; exit 1; }}
for f in serve files want parents key known_hosts bind; do
if [ -e ".new.$f" ]; then mv -f ".new.$f" "$f"; else rm -f "$f"; fi
done
"""

_ASKS = "command -v ssh >/dev/null || { echo 'ssh: not found' >&2; exit 69; }\n"

_TAKES = """\
mkdir -p done && ( umask 022; mkdir -p -- {folder} ) || exit
size() {{ stat -L -c %s -- "$1" 2>/dev/null || echo 0; }}
need=0
while read -r n; do
r=$(sed -n "${{n}}p" files); s=${{r%% *}}; p=${{r#* }}; p={folder}/${{p#* }}
[ ! -f "done/$n" ] || [ "$(cat "done/$n")" = "$(stat -L -c '%s %.9Y %i' -- "$p" 2>/dev/null)" ] || rm -f "done/$n"
[ ! -f "done/$n" ] || continue
h=$(($(size "$p.part") + $(size "$p.fix.part")))
[ $h -gt 0 ] || [ "$(size "$p")" -lt {unit} ] || h=$(size "$p")
[ $h -ge $s ] || need=$((need + s - h))
done <want
room=$(df -Pk -- {folder} | awk 'NR > 1 {{ printf "%.0f", $(NF - 2) * 1024 }}')
[ $need = 0 ] || [ $((need + {reserve})) -le "${{room:-0}}" ] || {{ echo "room: $need of $room" >&2; exit 28; }}
"""


def remove_script(plan: str) -> str:
    """Takes a spread's folder away, and with it the private key."""
    return f"rm -rf -- {quote(plan)}\nrmdir -- {quote(plan.rpartition('/')[0])} 2>/dev/null || :\n"


# ---- what they say


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a job ended badly: ``cause`` in a sentence, and the remedy."""

    cause: str
    hint: str


_ROOM = re.compile(r"No space left on device|Disk quota exceeded")
_CAUSES: tuple[tuple[str, str], ...] = (
    (
        r"Connection refused|Connection timed out|No route to host|Network is unreachable|Operation timed out",
        "nodes must reach each other's sshd at the data address: open the port in the firewall, let sshd listen there "
        "(ListenAddress), name its port (qnext.install.spread_port), or bring the files to each node (spread: each)",
    ),
    (
        r"Permission denied",
        "sshd there does not take the key of this run: see AuthorizedKeysFile, AllowUsers and PubkeyAuthentication in "
        "its sshd_config, and its log (journalctl -u sshd)",
    ),
    (
        r"Host key verification failed|IDENTIFICATION HAS CHANGED",
        "another machine answers at this address than the one we are connected to: is qnext.data_address right?",
    ),
    (r"sudo: ", "the login user needs sudo without a password (NOPASSWD), or log in as root"),
    (r"Cannot assign requested address|Can't assign", "qnext.data_address is no address of this node: correct it"),
    (
        r"three times with a wrong content",
        "the disk or memory of one of the two is failing: dmesg, smartctl; then again",
    ),
    (r"No space left on device|Disk quota exceeded", "free space (df -h on the node) and run again: it goes on"),
    (
        r"Read-only file system|Permission denied.*part|cannot write",
        "the folder must be writable for root: mount, quota",
    ),
)


def trouble(log: str) -> Trouble:
    """What a job's log says of its end."""
    lines = [line for line in log.splitlines() if line and line[0] not in "@+"]
    tried = [line[2:] for line in lines if line.startswith("? ")]
    told = [line for line in lines if not line.startswith(("? ", "failed:"))]
    causes = list(dict.fromkeys([*tried[-3:], *told[-3:]]))
    text = "; ".join(causes) or "its job ended without a word"
    pattern_and_hint = next((pair for pair in _CAUSES if re.search(pair[0], text)), None)
    return Trouble(text, pattern_and_hint[1] if pattern_and_hint else "run again: it goes on where it is")


@dataclass(frozen=True, slots=True)
class Fetching:
    """Turns the log of a job into progress: bytes, rate, time left."""

    def __call__(self, log: str) -> JobProgress:
        rows = [match.groups() for match in _TOLD.finditer(log)]
        if not rows:
            return JobProgress(None, "asking")
        now, came, total, name = rows[-1]
        past = rows[-min(len(rows), 8)]
        seconds, gained = float(now) - float(past[0]), int(came) - int(past[1])
        done = min(int(came), int(total))  # a file that was begun anew has come more than once
        text = f"{size_text(done)} of {size_text(int(total))}"
        if seconds > 0 and gained > 0:
            rate = gained / seconds
            text += f", {size_text(rate)}/s, {time_text((int(total) - done) / rate)} left"
        share = done / int(total) if int(total) else None
        return JobProgress(share, text + (f": {name.removesuffix('.part')}" if name else ""))


_TOLD = re.compile(r"^@ ([0-9.]{1,20}) ([0-9]{1,18}) ([0-9]{1,18}) ?(.*)$", re.MULTILINE)


def moved(log: str) -> int:
    """Bytes that came over the network for the files of a job that ended well."""
    found = re.findall(r"^\+ (got|mended\(([0-9]+)\)) ([0-9]+) ", log, re.MULTILINE)
    return sum(int(some) if some else int(all_) for _, some, all_ in found)
