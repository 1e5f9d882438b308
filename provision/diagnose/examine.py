"""From the evidence of a failure to its diagnosis: the first cause, what proves it, what followed from it.

When one rank fails, every other rank fails a moment later, and vLLM wraps each failure several times; a router before
several servers, and a rank that lost its head, tell of the dead one too. So: all logs are put on one time line
(``timeline``), every line is judged by the catalogue (``heard``), each process has one reason of its own (``parties``),
and of these the earliest wins, within a second a known one before an unknown one. Where all that is left are complaints
about others, they are followed to whom they name (``follow``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite

from provision.diagnose import follow, timeline
from provision.diagnose.catalogue import Entry, exit_status
from provision.diagnose.diagnosis import Confidence, Diagnosis, Evidence, Proof, Step
from provision.diagnose.follow import Suspect
from provision.diagnose.heard import LAST_LINES, OF_NODES, Heard, Kind, Seen, listen
from provision.diagnose.parties import OOM, TOGETHER, Party, parties, strong

_CUT = 500
_BEFORE = 6
_EARLIEST = 12
"""Errors of processes that are shown where the cause is unknown."""

_ALIKE_SECONDS = 10.0
"""Within which the same error elsewhere is no consequence: ranks do the same things at the same time."""

_NODE_SECONDS = 600.0
"""How long before a process's end a fault of its node may explain it."""


def examine(evidence: Evidence) -> Diagnosis:
    """What failed first, of all that is known. Pure; the same evidence always gets the same answer.

    Logs in order of rank: where nothing else tells two errors apart, the first in the sequence wins.
    """
    case = _case(evidence)
    failed = [party for party in case.parties if party.own] or _node_alone(case)
    if not failed:
        return _without_a_word(case)
    if told := _told_to_end(case, failed):
        return _led(case, told)
    if at_fault := _at_fault(case, failed):
        return _found(case, at_fault)
    if led := follow.suspect(evidence, case.parties):
        return _led(case, led)
    return _found(case, _where_it_ran(case, _earliest(case, failed)))


@dataclass(frozen=True, slots=True)
class _Case:
    """``frames`` by a log's identity; ``faults``: what the nodes' own logs say."""

    evidence: Evidence
    heard: tuple[Heard, ...]
    parties: tuple[Party, ...]
    faults: tuple[Seen, ...] = ()

    def heard_of(self, one: Seen) -> Heard | None:
        return next((h for h in self.heard if h.log is one.log), None)

    def zone_of(self, one: Seen | None) -> float:
        """Seconds ahead of UTC in which to show times: as the log of the first cause writes them."""
        heard = self.heard_of(one) if one else None
        return heard.frame.zone if heard and one and one.line and not one.line.utc else 0.0


def _case(evidence: Evidence) -> _Case:
    served, frames = evidence.manifest.served_name, timeline.frames(evidence)
    heard = tuple(listen(log, frame, served) for log, frame in zip(evidence.logs, frames, strict=True))
    faults = tuple(one for h in heard if h.log.source in OF_NODES and not h.log.process for one in h.seen)
    return _Case(evidence, heard, tuple(parties(evidence, heard)), faults)


# ---- who was first


def _told_to_end(case: _Case, failed: Sequence[Party]) -> Suspect | None:
    """The first that shut down in good order, where none of those that ended has any error."""
    if any(p.own is None or p.own.kind not in (Kind.ENDED, Kind.STOPPED) or p.stopped is None for p in failed):
        return None
    first, *others = sorted(failed, key=lambda p: p.stopped or 0.0)
    at = _clock(first.stopped or 0.0, 0.0)
    more = f", and {len(others)} other{'s' if len(others) > 1 else ''}" if others else ""
    why = f"was shut down in good order at {at}{more}; nothing failed before"
    return Suspect(first, why, (first.stop,) if first.stop else (), named=True, stopped=True)


def _node_alone(case: _Case) -> list[Party]:
    """Where only nodes' own logs are at hand: the first fault that each tells of."""
    if case.parties:
        return []
    first: dict[str, Seen] = {}
    for fault in sorted(case.faults, key=lambda one: one.when):
        first.setdefault(fault.log.node, fault)
    return [Party(node, "", order, own=fault) for order, (node, fault) in enumerate(first.items())]


def _earliest(case: _Case, failed: Sequence[Party]) -> Party:
    """Known errors and exceptions compete by time; the weaker kinds only among themselves, but for an end without a
    word that is known to come before them."""
    pool = _innocent_left_out(case, [p for p in failed if p.own and strong(p.own)]) or _weakest(failed)
    start = min(_when(p) for p in pool)
    together = [p for p in pool if _when(p) == start or _when(p) - start <= TOGETHER]
    return _explained_by_node(case, min(together, key=_precedence))


def _innocent_left_out(case: _Case, pool: list[Party]) -> list[Party]:
    """Where clocks were not compared, who complains of another one that failed comes after it, whatever its clock."""
    if not timeline.unmeasured(case.evidence):
        return pool
    blamed = [(p, q) for p in pool for q in pool if p is not q and follow.blame(case.evidence, p, q)]
    after = [p for p, q in blamed if not any(a is q and b is p for a, b in blamed)]
    return [p for p in pool if not any(p is one for one in after)] or pool


def _weakest(failed: Sequence[Party]) -> list[Party]:
    kind = min(p.own.kind for p in failed if p.own)
    pool = [p for p in failed if p.own and p.own.kind == kind]
    start = min(map(_when, pool))
    ended = [p for p in failed if p.own and p.own.line is None and p.own.at is not None and p.own.at < start]
    return ended or pool


def _where_it_ran(case: _Case, party: Party) -> Party:
    """The process whose line another one prints: Ray's driver prints what its workers on all nodes say."""
    told = _RAY.search(party.own.line.raw) if party.own and party.own.line else None
    node = next((n for n in case.evidence.manifest.nodes if told and n.address == told[1]), None)
    if node is None or node.name == party.node:
        return party
    there = next((p for p in case.parties if p.node == node.name and party.with_(p)), None)
    return replace(there, own=party.own, support=party.support) if there else replace(party, node=node.name, name="")


_RAY = re.compile(r"\(\w+ pid=\d+, ip=([\d.]+)\)")


def _when(party: Party) -> float:
    return party.own.when if party.own else float("inf")


def _precedence(party: Party) -> tuple[int, float, bool, int]:
    kind = party.own.kind if party.own else Kind.WARNED
    timed = kind is Kind.EXIT and party.own is not None and party.own.at is not None
    return (Kind.KNOWN if timed else kind, _when(party), party.exit_code is None, party.order)


def _explained_by_node(case: _Case, party: Party) -> Party:
    """The process with a fault of its node as the reason, where it has none that is known."""
    own = party.own
    if own is None or own.kind is Kind.KNOWN or own.at is None:
        return party
    near = [fault for fault in _faults_before(case, own.at) if _met(party, fault)]
    return replace(party, own=near[-1], support=(own, *party.support)) if near else party


def _at_fault(case: _Case, failed: Sequence[Party]) -> Party | None:
    """Where all processes only wait for each other: that on the node whose own log tells of a fault before."""
    start = min(map(_when, failed))
    if any(p.own and strong(p.own) for p in failed) or not isfinite(start):
        return None
    here = ((p, fault) for fault in _faults_before(case, start) for p in case.parties if _met(p, fault))
    party, fault = next(here, (None, None))
    return replace(party, own=fault, support=(party.own,) if party.own else ()) if party else None


def _faults_before(case: _Case, end: float) -> list[Seen]:
    """What nodes' logs say shortly before; whom the kernel killed for lack of memory is known of each process."""
    near = [fault for fault in case.faults if fault.at is not None and _just_before(fault.at, end)]
    return [f for f in near if f.line and f.entry and f.entry.fatal and not OOM.search(f.line.raw)]


def _met(party: Party, fault: Seen) -> bool:
    """Whether a process was there when its node had a fault: what came before its start is another story."""
    started = party.entry.started if party.entry else None
    early = started is not None and fault.at is not None and fault.at < started - TOGETHER
    return party.node == fault.log.node and not early


def _just_before(fault: float, end: float) -> bool:
    return -TOGETHER <= end - fault <= _NODE_SECONDS


# ---- what is said of it


def _found(case: _Case, party: Party) -> Diagnosis:
    own = party.own
    assert own is not None
    zone = case.zone_of(own)
    title, explanation, remedy, confidence = explained(own, party)
    told = exit_status(party.exit_code) if own.line is None and party.exit_code else None
    known = own.entry is not None or party.oom_killed or told is not None
    chain = _chain(case, party, own, zone)
    proof = tuple(_proof(case, one, zone) for one in (own, *party.support, *_complaints(case, party)))
    entry = own.entry
    made = Diagnosis(
        failed=True,
        known=known,
        sentence=_sentence(case, party, title, chain, zone, known=known),
        title=title,
        id=entry.id if entry else "",
        node=party.node,
        process=party.name,
        scope=entry.scope if entry else "",
        explanation=explanation + _other_master(case, party),
        remedy=remedy,
        runbook=entry.runbook if entry else "",
        evidence=entry.evidence if entry else (),
        source=entry.source if entry else "",
        confidence=confidence,
        proof=_unique(proof),
        chain=chain,
        commands=_commands(entry, party.node, party.name),
        earliest=() if known else _all_earliest(case, zone),
    )
    return _with_the_odd(case, made, zone)


def _other_master(case: _Case, party: Party) -> str:
    """That a process was given another address to meet at than the others, by what each says itself."""
    if party.own is None or party.own.entry is None or party.own.entry.id != "master-unreachable":
        return ""
    mates = [p for p in case.parties if party.with_(p)]
    said = {p.place: found[1] for p in mates for h in p.printed if (found := _MEETS.search(h.log.text))}
    own = said.get(party.place)
    other = next((place for place, at in said.items() if own and at != own), None)
    return f" {party.place} was told to meet at {own}, {other} at {said[other]}." if other else ""


_MEETS = re.compile(r"distributed_init_method=tcp://(?!127\.)([^\s,:'\"]+)")
"""Where torch's ranks meet; engines of a data-parallel group differ in the port."""


def _led(case: _Case, led: Suspect) -> Diagnosis:
    """Nobody has an error of its own, but those that complain lead to one process."""
    party, first = led.party, led.by[0] if led.by else None
    entry = first.entry if first and not led.stopped else None
    zone = case.zone_of(first)
    stand_in = first or Seen(Kind.COMPLAINT, case.evidence.logs[0])
    chain = _chain(case, party, stand_in, zone)
    otherwise = _TOLD_TO_END if led.stopped else (_WAITED_FOR, _READ_LOG)
    explanation, remedy = (entry.cause, entry.remedy) if entry else otherwise
    sentence = f"{party.place} {led.why}" + _waiting(case, led, zone)
    made = Diagnosis(
        failed=True,
        known=entry is not None or led.stopped,
        sentence=sentence,
        title=entry.title if entry else f"it {led.why}" if led.stopped else led.why,
        id=entry.id if entry else "",
        node=party.node,
        process=party.name,
        scope=entry.scope if entry else "",
        explanation=explanation,
        remedy=remedy,
        runbook=entry.runbook if entry else "",
        evidence=entry.evidence if entry else (),
        source=entry.source if entry else "",
        confidence="medium" if led.named or party.absent else "low",
        proof=_unique(_proof(case, one, zone) for one in led.by),
        chain=chain,
        commands=_commands(entry, party.node, party.name),
    )
    return _with_the_odd(case, made, zone)


def _waiting(case: _Case, led: Suspect, zone: float) -> str:
    one = led.by[0] if led.by else None
    if one is None or one.line is None or one.kind is Kind.STOPPED:
        return ""
    who = next((p for p in case.parties if p.own is one or one in p.seen), None)
    limit = follow.waited(one)
    since = f" from {_clock(one.at - limit, zone)} on" if limit and one.at is not None else ""
    title = explained(one, who or led.party)[0]
    at = f" at {_clock(one.at, zone)}" if one.at is not None else ""
    others = [p for p in case.parties if p.own and p not in (who, led.party) and led.party.with_(p)]
    more = f" and {len(others)} other{'s' if len(others) > 1 else ''}" if others else ""
    if led.stopped:
        return f"; {who.place if who else 'another'}{more} ended because of it{at}"
    return f"; {who.place if who else 'another'}{more} waited for it{since} and failed{at}: {title}"


def _sentence(case: _Case, party: Party, title: str, chain: Sequence[Step], zone: float, *, known: bool) -> str:
    own = party.own
    at = f" at {_clock(own.at, zone)}" if own and own.at is not None else ""
    if not known and own and own.line:
        head = f"{party.place} failed first{at}, with an error that the catalogue does not know: {title}"
    else:
        head = f"{party.place} failed{' first' if chain else ''}{at}: {title}"
    if own and own.log.source in OF_NODES and own.log.node:
        head += f" (in the {own.log.source} log of {own.log.node})"
    return head + _unseen(case, party) + _followers(case, party, chain)


def _unseen(case: _Case, party: Party) -> str:
    """The other end that a complaint names, where nothing of it is among the evidence."""
    own = party.own
    if own is None or own.line is None or own.kind not in (Kind.SYMPTOM, Kind.COMPLAINT):
        return ""
    known = {node.address for node in case.evidence.manifest.nodes}
    if len(case.parties) > 1 and (not known or "" in known):  # then one of the others may be it
        return ""
    told = own.entry.title if own.entry else ""
    named = [a for a in follow.addresses(own.line.text) if a not in known and a not in told]
    return f" (it names {named[0]}, of which there is no log)" if named else ""


def _followers(case: _Case, party: Party, chain: Sequence[Step]) -> str:
    """``; head on atlas-1 and 6 others failed because of it 2 s later``."""
    names = {(p.node, p.name): _alike(party, p) for p in case.parties if party.with_(p)}
    steps = [step for step in chain if (step.node, step.process) in names]
    alike = [step for step in steps if names[step.node, step.process]]
    after = [step for step in steps if step not in alike]
    same = f"; the same on {_places(alike)}{_later(alike[0])}" if alike else ""
    return same + (f"; {_places(after)} failed because of it{_later(after[0])}" if after else "")


def _alike(first: Party, other: Party) -> bool:
    """Whether a process met the very same error by itself: soon after, and not by losing the other."""
    own, its = first.own, other.own
    if not (own and its and own.line and its.line and strong(own) and its.kind is own.kind) or its is own:
        return False
    soon = own.at is None or its.at is None or abs(its.at - own.at) <= _ALIKE_SECONDS
    return soon and explained(own, first)[0] == explained(its, other)[0]


def _places(steps: Sequence[Step]) -> str:
    more = f" and {len(steps) - 1} other{'s' if len(steps) > 2 else ''}" if len(steps) > 1 else ""
    return f"{steps[0].process} on {steps[0].node}".removesuffix(" on ") + more


def _later(step: Step) -> str:
    return f" {follow.told(step.after)} later" if step.after is not None and step.after > 0 else ""


def _clock(at: float, zone: float) -> str:
    return timeline.shown(at, zone)[6:]


def _chain(case: _Case, first: Party, own: Seen, zone: float) -> tuple[Step, ...]:
    """What the other processes met, in order of time."""
    others = [p for p in case.parties if p.own and (p.node, p.name) != (first.node, first.name)]
    blind = timeline.unmeasured(case.evidence)
    since = None if first.node in blind else own.at
    steps = [_step(p, p.own, None if p.node in blind else since, zone) for p in sorted(others, key=_when) if p.own]
    return tuple(dict.fromkeys(steps))


def _step(party: Party, own: Seen, since: float | None, zone: float) -> Step:
    after = round(own.at - since, 3) if own.at is not None and since is not None else None
    line = own.line.raw.strip()[:_CUT] if own.line else ""
    return Step(party.node, party.name, explained(own, party)[0], timeline.shown(own.at, zone), after, line)


def _complaints(case: _Case, party: Party) -> Iterable[Seen]:
    """Lines of others that failed and name it."""
    for other in case.parties:
        said = follow.blame(case.evidence, other, party) if other.own and other is not party else None
        if said:
            yield said


def explained(seen: Seen, party: Party) -> tuple[str, str, str, Confidence]:
    """Title, explanation, remedy, confidence."""
    entry, status = seen.entry, party.exit_code
    if entry:
        return entry.title, entry.cause, entry.remedy, _confidence(seen.kind)
    if seen.line:
        title = " ".join(seen.line.text.split())[:160]
        return title, _UNKNOWN, _READ_LOG, "medium" if seen.kind is Kind.EXCEPTION else "low"
    if party.oom_killed:
        return _OOM_TITLE, _OOM_CAUSE, _OOM_REMEDY, "high"
    if party.entry and party.entry.state == "created":
        remedy = f"`docker inspect -f '{{{{.State.Error}}}}' {_container(party) or 'NAME'}` on {party.node} shows why"
        return "its container was made, but never started", "Docker could not start it.", remedy, "medium"
    told = exit_status(status) if status is not None else None
    if told:
        remedy = told.remedy.replace("NAME", _container(party) or "NAME")
        return told.title, told.cause, remedy, "low" if told.stopped else "medium"
    return f"it ended with exit status {status}", "Its log holds no error.", _READ_LOG, "low"


def _container(party: Party) -> str:
    told = next((h.log.container for h in party.heard if h.log.container), "")
    return told or (party.entry.container if party.entry else "")


def _confidence(kind: Kind) -> Confidence:
    if kind is Kind.KNOWN:
        return "high"
    return "medium" if kind in (Kind.SYMPTOM, Kind.EXIT) else "low"


# ---- what proves it


def _proof(case: _Case, one: Seen, zone: float) -> Proof:
    heard = case.heard_of(one)
    line, dated = one.line, bool(heard and heard.frame.dated)
    return Proof(
        node=one.log.node,
        process=one.log.process,
        line=line.raw.strip()[:_CUT] if line else "",
        time=timeline.shown(one.at, zone),
        at=one.at if dated or line is None else None,
        source=one.log.source,
        worker=line.who if line else "",
        path=one.log.path,
        number=line.number + 1 + (heard.skipped if heard else 0) if line else 0,
        excerpt=_excerpt(one),
    )


def _excerpt(one: Seen) -> str:
    """The lines around the cause: what a human reads to judge it; the log's end where no line tells."""
    lines = one.log.text.splitlines()[-LAST_LINES:]
    if one.line is None:
        return "\n".join(lines[-8:])
    return "\n".join(lines[max(one.line.number - _BEFORE, 0) : one.line.number + _BEFORE])


def _unique(proofs: Iterable[Proof]) -> tuple[Proof, ...]:
    return tuple(dict.fromkeys(proofs))


def _all_earliest(case: _Case, zone: float) -> tuple[Proof, ...]:
    """The first error of each process."""
    failed = sorted((p for p in case.parties if p.own and p.own.line), key=_when)
    return tuple(_proof(case, p.own, zone) for p in failed[:_EARLIEST] if p.own)


# ---- nothing, or what is odd


def _with_the_odd(case: _Case, made: Diagnosis, zone: float) -> Diagnosis:
    """The diagnosis with who was silent, late or missing, and what of the clocks must be known to judge it."""
    unknown = timeline.unmeasured(case.evidence)
    note = f" How far the clocks of {', '.join(unknown)} are off was not measured." if unknown and made.chain else ""
    rivals = len({p.node for p in case.parties if p.own and strong(p.own)}) > 1
    return replace(
        made,
        explanation=made.explanation + note,
        confidence="medium" if unknown and rivals and made.confidence == "high" else made.confidence,
        silent=follow.silent(case.evidence, case.parties, zone),
        late=follow.late(case.parties),
        missing=_missing(case),
        offsets=timeline.skews(case.evidence),
    )


def _missing(case: _Case) -> tuple[str, ...]:
    nodes = [node.name for node in case.evidence.manifest.nodes if node.missing]
    without = [p.place for p in case.parties if not p.heard and not p.absent and p.node not in nodes]
    return (*nodes, *without)


def _without_a_word(case: _Case) -> Diagnosis:
    """No process shows a failure: all is well, or a process is not there, or only the run tells that it failed."""
    absent = [p for p in case.parties if p.absent]
    if absent and len(absent) < len(case.parties):
        return _with_the_odd(case, _absent(case, absent), 0.0)
    error = case.evidence.manifest.error
    if error:
        sentence = f"{error}; no log tells why{_unlooked(case)}"
        made = Diagnosis(failed=True, known=False, sentence=sentence, remedy=_READ_LOG)
        commands = _commands(None, "", "")
        return _with_the_odd(case, replace(made, explanation=_NO_TRACE, commands=commands), 0.0)
    made = Diagnosis(failed=False, known=False, sentence=_looked_at(case, absent), confidence="high")
    return replace(made, missing=_missing(case), offsets=timeline.skews(case.evidence))


def _absent(case: _Case, absent: Sequence[Party]) -> Diagnosis:
    first, more = absent[0], len(absent) - 1
    others = f", nor have {more} others" if more > 1 else f", nor has {absent[1].place}" if more else ""
    return Diagnosis(
        failed=True,
        known=False,
        sentence=f"{first.place} has no container{others}; no log tells why",
        title="a process has no container",
        node=first.node,
        process=first.name,
        explanation="Its container was removed, or never made; so nothing of what it said is left.",
        remedy="`qnext-provision up` starts it again; `docker events --since 1h` on the node shows who removed it",
        commands=("qnext-provision status -i cluster.yaml", "qnext-provision up -i cluster.yaml"),
        confidence="medium",
    )


def _looked_at(case: _Case, absent: Sequence[Party]) -> str:
    if absent:
        return f"none of the {len(absent)} processes runs, and nothing that failed left a trace"
    lines = sum(h.lines for h in case.heard)
    nodes = {p.node for p in case.parties if p.heard} | {h.log.node for h in case.heard}
    count = sum(1 for p in case.parties if p.heard)
    what = f"{count} process{'es' if count != 1 else ''} on {len(nodes)} node{'s' if len(nodes) != 1 else ''}"
    return f"nothing has failed: no error that counts in {lines:,} lines of {what}{_unlooked(case)}"


def _unlooked(case: _Case) -> str:
    missing = _missing(case)
    return f"; not looked at: {', '.join(missing)}" if missing else ""


# ---- what to do next

_BY_SCOPE = {
    "node": ("qnext-provision check -i cluster.yaml --limit {node}",),
    "device": ("qnext-provision check -i cluster.yaml --limit {node} --only npu_health",),
    "cluster": ("qnext-provision check -i cluster.yaml",),
    "config": ("qnext-provision lint -i cluster.yaml", "qnext-provision check -i cluster.yaml"),
    "image": ("qnext-provision check -i cluster.yaml --only same_image",),
    "model": ("qnext-provision weights -i cluster.yaml --rehash",),
}


_CHECKS = re.compile(r"`check --only ([A-Z]\d\d(?:,[A-Z]\d\d)*)`")


def _commands(entry: Entry | None, node: str, process: str) -> tuple[str, ...]:
    """What to run: the checks that the entry's evidence names, else those of its scope. Without an entry, the log."""
    if entry is None:
        own = f" --process {process}" if process else ""
        return (f"qnext-provision logs -i cluster.yaml{own}",)
    named = next((found[1] for text in entry.evidence if (found := _CHECKS.search(text))), "")
    alone = node and entry.scope in ("node", "device") and all(code.startswith("N") for code in named.split(","))
    checks = f"qnext-provision check -i cluster.yaml --only {named}" + (f" --limit {node}" if alone else "")
    by_scope = [line.format(node=node) for line in _BY_SCOPE.get(entry.scope, ()) if node or "{node}" not in line]
    return (*([checks] if named else by_scope), f"qnext-provision explain {entry.id}")


_UNKNOWN = "An error that the catalogue does not know; it is the earliest that any process shows."
_READ_LOG = "read the log: `qnext-provision logs`; the run directory keeps it"
_TOLD_TO_END = (
    "Somebody or something told it to end: `down`, `docker stop`, a signal; it had no error before.",
    "`docker events --since 1h` on the node shows what was done to it; `qnext-provision up` starts it again",
)
_WAITED_FOR = "The others waited for this process, or lost their connection to it."
_NO_TRACE = "The run failed, and no log holds an error; what was waited for had not come yet, or hangs."
_OOM_TITLE = "the kernel ended the process for lack of memory: of its container, or of the node"
_OOM_CAUSE = "The container was ended by the OOM killer; the weights' page cache and pinned buffers count too."
_OOM_REMEDY = (
    "`dmesg -T | grep -iA2 oom-kill` shows whose limit it was and the amounts; raise the container's limit, or run "
    "fewer servers on the node"
)
