"""Whom complaints lead to: the process that another one waits for, or that closed the connection.

A rank that waits in vain, or finds its peer gone, fails loudly and is innocent. The process to look at is the one that
it names (by rank, address or name), the one that never came, came late, or has not said anything for long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

from provision.diagnose.diagnosis import Evidence, Odd
from provision.diagnose.heard import Kind, Seen
from provision.diagnose.parties import TOGETHER, Party, strong
from provision.diagnose.timeline import shown

LATE = 60.0
"""Seconds after the others from which a start is late, where the others' own starts are not further apart."""

QUIET = 60.0
"""Seconds without a word before the others failed that are conspicuous."""

_ADDRESS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
_WAITED = re.compile(r"timeout\[(\d+)(?: s)?\]|timeout:(\d+) s|within (\d+) seconds|after (\d+) s\b")
_READ = 200
"""Lines of each process that are read for whom they name."""

_SAYS = (Kind.COMPLAINT, Kind.SYMPTOM, Kind.ERROR)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A process without an error of its own that others wait for. ``why``: what is conspicuous, in words that follow
    its name; ``by``: the lines that lead to it. ``named``: a line names it. ``stopped``: it was told to end."""

    party: Party
    why: str
    by: tuple[Seen, ...] = ()
    named: bool = False
    stopped: bool = False


def suspect(evidence: Evidence, parties: Sequence[Party], zone: float = 0.0) -> Suspect | None:
    """Who is to blame where nobody has an error of its own; None where nothing leads away from those that complain."""
    failed = [party for party in parties if party.own and party.own.kind in _SAYS]
    if not failed or any(party.own and strong(party.own) for party in parties):
        return None
    looks = (
        _shut_down(failed, parties, zone),
        _named(evidence, failed, parties),
        _not_there(evidence, failed, parties),
        _came_late(failed, parties),
        _fell_silent(failed, parties, zone),
    )
    return next((found for found in looks if found), None)


def silent(evidence: Evidence, parties: Sequence[Party], zone: float = 0.0) -> tuple[Odd, ...]:
    """Processes that are conspicuous by what they did not say, where others failed."""
    clear = any(p.own and strong(p.own) for p in parties)
    end = None if clear else _end(parties)
    found = ((party, _silence(party, end, zone)) for party in parties if len(parties) > 1)
    return tuple(Odd(party.node, party.name, *why) for party, why in found if why)


def addresses(text: str) -> list[str]:
    """The addresses of other machines that a text names."""
    return [found for found in _ADDRESS.findall(text) if not found.startswith(("127.", "0."))]


def _end(parties: Iterable[Party]) -> float | None:
    return min((p.own.at for p in parties if p.own and p.own.at is not None), default=None)


def late(parties: Sequence[Party]) -> tuple[Odd, ...]:
    """Processes that started long after those that they work with."""
    units = {_unit(party, parties): None for party in parties}
    return tuple(odd for unit in units for odd in _late_of([p for p in parties if p.name in unit]))


def waited(one: Seen) -> float | None:
    """Seconds for which a process waited before it said so; then what it waited for began so much earlier."""
    found = _WAITED.search(one.line.raw) if one.line else None
    return float(next(filter(None, found.groups()))) if found else None


def blame(evidence: Evidence, party: Party, other: Party) -> Seen | None:
    """The first line with which a process complains of another one, naming its address or its name."""
    return next((one for one in _said(party) if _called(evidence, one, party, [other])), None)


# ---- by what is said


def _shut_down(failed: Sequence[Party], parties: Sequence[Party], zone: float) -> Suspect | None:
    """Who was told to end, and did so in good order, before the others lost it."""
    end = _end(failed)
    stops = [
        (stop, p) for p in parties for stop in (p.stopped,) if stop is not None and (p.own is None or not p.own.line)
    ]
    stop, party = min(stops, key=lambda pair: pair[0], default=(0.0, None))
    by = next((one for one in failed if party and one is not party and one.with_(party)), None)
    if party is None or by is None or (end is not None and stop > end + TOGETHER):
        return None
    why = f"was shut down in good order at {shown(stop, zone)[6:]}"
    said = tuple(one for one in (by.own, party.stop) if one)
    return Suspect(party, why, said, named=True, stopped=True)


def _named(evidence: Evidence, failed: Sequence[Party], parties: Sequence[Party]) -> Suspect | None:
    by_rank = _by_rank(failed, parties)
    if by_rank:
        return by_rank
    for party in sorted(failed, key=lambda one: one.own.when if one.own else 0.0):
        led = ((one, other) for one in _said(party) for other in _called(evidence, one, party, parties))
        for one, other in led:
            if other.own is None or other.own.kind in (Kind.ENDED, Kind.STOPPED, Kind.EXIT):
                return Suspect(other, _state(other), (one,), named=True)
    return None


def _said(party: Party) -> list[Seen]:
    """The first lines that may name another process; whoever repeats them says nothing new."""
    return list(islice((one for one in party.seen if one.kind in _SAYS and one.line), _READ))


def _called(evidence: Evidence, one: Seen, by: Party, parties: Sequence[Party]) -> list[Party]:
    """The other processes that a line names by their node's address or by their name."""
    text = one.line.raw if one.line else ""
    addresses = set(_ADDRESS.findall(text))
    nodes = {node.name for node in evidence.manifest.nodes if node.address and node.address in addresses}
    others = [party for party in parties if party.name and (party.node, party.name) != (by.node, by.name)]
    by_name = [p for p in others if re.search(rf"(?<![\w-]){re.escape(p.name)}(?![\w-])", text)]
    return by_name or [p for p in others if p.node in nodes and p.node != by.node]


def _by_rank(failed: Sequence[Party], parties: Sequence[Party]) -> Suspect | None:
    """The process whose ranks the others miss: that which most of them name."""
    named: dict[int, tuple[Party, set[int], list[Party]]] = {}
    for party in failed:
        for other, rank in _missed(party, [p for p in parties if _ranked(p) and party.with_(p)]):
            _, ranks, by = named.setdefault(other.order, (other, set(), []))
            ranks.add(rank)
            by.extend([party] if party not in by else [])
    if not named:
        return None
    other, ranks, by = max(named.values(), key=lambda one: len(one[2]))
    never = any(party.roll.absent or party.roll.came for party in by)
    first = min(by, key=lambda party: party.own.when if party.own else 0.0)
    return Suspect(other, _unjoined(other, sorted(ranks), never), _tables(first), named=True)


def _ranked(party: Party) -> bool:
    return party.entry is None or party.entry.kind == "server"


def _missed(party: Party, servers: Sequence[Party]) -> list[tuple[Party, int]]:
    """The ranks that a process did not reach, and whose they are, where these tell of no error themselves."""
    roll = party.roll
    world = max((p.roll.world for p in servers), default=0)
    absent = roll.absent or (set(range(world)) - roll.came if roll.came and world else set())
    found = [(_with_rank(rank, world, servers), rank) for rank in absent - roll.own]
    if not absent:
        found = [(_at_far_end(rank, world, servers), rank) for rank in roll.far - roll.near]
    return [(p, rank) for p, rank in found if p and p is not party and (p.own is None or not p.own.entry)]


def _with_rank(rank: int, world: int, servers: Sequence[Party]) -> Party | None:
    """The process of an HCCL rank: as it said itself, else by equal shares in order."""
    for party in servers:
        if rank in party.roll.own:
            return party
    if not world or world % len(servers) or rank >= world:
        return None
    share = _in_order(servers)[rank // (world // len(servers))]
    return share if not share.roll.own else None


def _at_far_end(rank: int, world: int, servers: Sequence[Party]) -> Party | None:
    """The process of a rank in LINK_ERROR_INFO. The table does not say which communicator it is about, but each process
    that prints one shows its own rank in it: the missing one is that which is left, or whose place in order it is."""
    ordered = _in_order(servers)
    if not any(p.roll.near for p in ordered):
        return _with_rank(rank, world, servers)
    if any(rank in p.roll.near for p in ordered):
        return next(p for p in ordered if rank in p.roll.near)
    left = [p for p in ordered if not p.roll.near]
    if len(left) == 1:
        return left[0]
    highest = max(rank, *(r for p in ordered for r in p.roll.near | p.roll.far))
    least = highest // len(ordered) + 1
    for share in range(least, highest + 2):
        if all(r // share == place for place, p in enumerate(ordered) for r in p.roll.near):
            return ordered[rank // share]
    return None


def _in_order(servers: Sequence[Party]) -> list[Party]:
    return sorted(servers, key=lambda p: (p.rank, p.order))


def _lines_of(party: Party) -> tuple[Seen, ...]:
    return (party.own,) if party.own else ()


def _tables(party: Party) -> tuple[Seen, ...]:
    """What a process complains of; first, where it printed a table of links, the line that the table follows."""
    plog = (one for one in party.seen if one.line and one.log.source in ("plog", "device") and one.kind in _SAYS)
    told = next((one for one in plog if waited(one)), None)
    return tuple(dict.fromkeys(one for one in (told, *_lines_of(party)) if one))


def _unjoined(party: Party, ranks: Sequence[int], never: bool) -> str:
    named = f"rank{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks[:8]))}{' …' if len(ranks) > 8 else ''}"
    if never:
        return f"never joined the others ({named}); {_rest(party)}"
    return f"did not answer the others ({named}); {_rest(party)}"


def _rest(party: Party) -> str:
    if party.absent:
        return "it has no container"
    if party.own:
        return _state(party)
    return "it shows no error" if party.heard else "there is no log of it"


# ---- by what is missing


def _not_there(evidence: Evidence, failed: Sequence[Party], parties: Sequence[Party]) -> Suspect | None:
    by = _lines_of(failed[0])
    for party in parties:
        together = party.own is None and any(one.with_(party) for one in failed)
        if together and (party.absent or (party.entry is not None and not party.heard)):
            return Suspect(party, _gone(evidence, party), by)
    return None


def _gone(evidence: Evidence, party: Party) -> str:
    if party.absent:
        return "has no container"
    node = evidence.manifest.node(party.node)
    return f"is not known to run: {node.missing if node and node.missing else 'there is no log of it'}"


def _came_late(failed: Sequence[Party], parties: Sequence[Party]) -> Suspect | None:
    """A rank that started so late that the others had given up, or nearly."""
    for odd in late(parties):
        party = next(p for p in parties if (p.node, p.name) == (odd.node, odd.process))
        for one in (p.own for p in failed if p is not party and p.own):
            limit = waited(one)
            if odd.seconds is not None and limit is not None and odd.seconds >= limit * 0.8:
                return Suspect(party, f"{odd.why}, who wait {limit:.0f} s", (one,))
    return None


def _fell_silent(failed: Sequence[Party], parties: Sequence[Party], zone: float) -> Suspect | None:
    """The only one that said nothing for long before several others complained."""
    end = _end(failed)
    quiet = [(p, why[0]) for p in parties if p.own is None and p.heard and (why := _silence(p, end, zone))]
    if len(failed) < 2 or len(quiet) != 1:
        return None
    party, gap = quiet[0]
    return Suspect(party, f"fell silent: {gap}", _lines_of(min(failed, key=lambda p: p.own.when if p.own else 0.0)))


# ---- what is odd


def _silence(party: Party, end: float | None, zone: float) -> tuple[str, float | None] | None:
    own = party.own
    if own and own.line:
        return None
    if party.absent:
        return "has no container", None
    if not party.heard:
        return "there is no log of it", None
    if own:
        return _state(party), None
    if party.last is None or end is None or end - party.last < QUIET:
        return None
    quiet = end - party.last
    return f"no line since {shown(party.last, zone)}, {told(quiet)} before the others failed", quiet


def _state(party: Party) -> str:
    if party.absent:
        return "has no container"
    if party.exit_code is not None:
        return f"ended with exit status {party.exit_code} and no error in its log"
    if not party.heard:
        return "there is no log of it"
    return "shows no error"


def _unit(party: Party, parties: Iterable[Party]) -> tuple[str, ...]:
    if party.entry and party.entry.unit:
        return tuple(sorted(party.entry.unit))
    return tuple(sorted(p.name for p in parties if not (p.entry and p.entry.kind != "server")))


def _late_of(unit: Sequence[Party]) -> list[Odd]:
    """Those behind the widest gap between starts, where it is wider than what lies before it."""
    starts = sorted(((p.start, p) for p in unit if p.start is not None), key=lambda pair: (pair[0], pair[1].order))
    gaps = [(after - before, index) for index, ((before, _), (after, _)) in enumerate(pairwise(starts), 1)]
    gap, index = max(gaps, default=(0.0, 0))
    if gap <= LATE or gap <= starts[index - 1][0] - starts[0][0]:
        return []
    return [
        Odd(p.node, p.name, f"started {told(at - starts[0][0])} after the first of the others", at - starts[0][0])
        for at, p in starts[index:]
    ]


def told(seconds: float) -> str:
    """``93 s``, ``5 min``, ``2 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 1 or seconds <= 0 else f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
