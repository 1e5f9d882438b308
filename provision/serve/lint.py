"""Judges a layout offline: every rule it breaks, with the reason, the rule's source and what would work instead.

Some rules judge the whole cluster, most each group of engines that the topology cuts it into, some the groups beside
each other. Groups that are alike are judged once; what only some of them break is said with their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from provision.errors import LayoutError
from provision.inventory.model import Settings
from provision.serve.candidates import candidates, made
from provision.serve.layout import Layout, layout_of
from provision.serve.plan import Site, Violation
from provision.serve.rules import (
    additional,
    agreement,
    arguments,
    disaggregation,
    environment,
    known,
    model,
    nodes,
    ports,
    release,
    scenario,
    sides,
    source,
    topologies,
    unused,
    weights,
    weights_source,
)
from provision.serve.rules.base import Rule, Together
from provision.serve.shape import ModelShape
from provision.serve.topologies.base import groups_of, topology

WHOLE: tuple[Rule, ...] = (
    *nodes.WHOLE,
    *sides.WHOLE,
    *unused.WHOLE,
    *agreement.WHOLE,
    *source.WHOLE,
    *weights_source.WHOLE,
)
"""Rules for all nodes together, however the topology groups them."""

GROUP: tuple[Rule, ...] = (
    *model.RULES,
    *nodes.RULES,
    *topologies.RULES,
    *release.RULES,
    *ports.RULES,
    *arguments.RULES,
    *known.RULES,
    *weights.RULES,
    *additional.RULES,
    *environment.RULES,
    *disaggregation.RULES,
    *scenario.RULES,
    *agreement.RULES,
)
"""Rules for each group of engines."""

TOGETHER: tuple[Together, ...] = (*nodes.TOGETHER, *ports.TOGETHER, *sides.TOGETHER, *agreement.TOGETHER)
"""Rules for the groups beside each other."""

RULES: tuple[Rule | Together, ...] = (*WHOLE, *GROUP, *TOGETHER)

_SHOWN_ALTERNATIVES = 4
_OFFERED = ("single", "replicas", "data-parallel", "tensor-parallel")
"""Topologies that are offered where another was asked for."""


def lint(
    settings_by_site: Sequence[tuple[Site, Settings]], *, shape: ModelShape | None = None
) -> tuple[Violation, ...]:
    """All violations of the requested layout, failures first. Addresses are not judged: they may be found only later.
    ``shape``: what the weights' config.json says, where known. Raises ``ConfigError`` for an unknown profile."""
    return judge(layout_of(settings_by_site, shape))


def judge(layout: Layout, *, placed: bool = False) -> tuple[Violation, ...]:
    """All violations of a layout, failures first; where a remedy is another layout, the valid ones are named.
    ``placed``: the sites are final, so their addresses are judged too."""
    found = violations(layout, placed=placed)
    if any(not violation.remedy for violation in found):
        remedy = _remedy(layout)
        found = tuple(violation if violation.remedy else replace(violation, remedy=remedy) for violation in found)
    return tuple(sorted(found, key=lambda violation: violation.severity != "fail"))


def violations(layout: Layout, *, placed: bool = False) -> tuple[Violation, ...]:
    """All violations as the rules say them: an empty remedy means that another layout is one."""
    return tuple(dict.fromkeys(_violations(layout, placed)))


def layout_error(violations: Sequence[Violation]) -> LayoutError | None:
    """The error for the failures among ``violations``, the first with the others behind it; None where nothing
    fails."""
    errors = [
        LayoutError(f"{violation.code}: {violation.reason} [{violation.source}]", hint=violation.remedy)
        for violation in violations
        if violation.severity == "fail"
    ]
    if not errors:
        return None
    return LayoutError(errors[0].message, hint=errors[0].hint, others=errors[1:])


def alternatives(layout: Layout) -> tuple[str, ...]:
    """Layouts of the same nodes that no rule refuses, the nearest to the requested one first."""
    names = tuple(dict.fromkeys((layout.topology, *_OFFERED)))
    sound: list[tuple[int, tuple[int, ...], str]] = []
    for candidate in candidates(layout, names):
        other = made(layout, candidate)
        found = size_violations(other)
        if not any(violation.severity == "fail" and violation.code != "S09" for violation in found):
            worries = sum(not violation.code.startswith("T") for violation in found)
            sound.append((worries, _distance(other, layout), candidate.text))
    return tuple(text for _, _, text in sorted(sound)[:_SHOWN_ALTERNATIVES])


def _violations(layout: Layout, placed: bool) -> Iterator[Violation]:
    own = tuple(topology(layout.topology).violations(layout))
    yield from own
    if placed:
        yield from (violation for rule in nodes.ADDRESS_RULES for violation in rule(layout))
    yield from (violation for rule in WHOLE for violation in rule(layout))
    if not _can_be_cut(own):
        # The sizes of prefill and decode are those of their groups: there are none to judge yet.
        skipped = _SIZE_RULES if layout.topology == "prefill-decode" else ()
        yield from _of_groups(layout, (layout,), [rule for rule in GROUP if rule not in skipped])
        return
    groups = groups_of(layout)
    yield from _of_groups(layout, groups, GROUP)
    if all(group.devices_needed <= min(group.devices_available, _MOST_RANKS) for group in groups):
        yield from (violation for together in TOGETHER for violation in together(layout, groups))


_MOST_RANKS = 1024
"""Ranks of a node up to which its processes are looked at: what asks for a million can't be seated, or only on cpu."""


def _can_be_cut(own: Iterable[Violation]) -> bool:
    """Whether the topology's own demands are met as far as its groups and ranks need it."""
    return not any(violation.severity == "fail" and violation.code in _GROUNDWORK for violation in own)


_GROUNDWORK = frozenset({"S01", "S02", "S03"})


def _of_groups(layout: Layout, groups: Sequence[Layout], rules: Sequence[Rule]) -> Iterator[Violation]:
    """What the rules say of the groups, each violation once: with the names of the groups that it is about, where it is
    not about all of them."""
    said: dict[Violation, list[str]] = {}
    for group, names in _distinct(groups):
        inner = topology(group.topology).violations(group) if group.topology != layout.topology else ()
        for violation in dict.fromkeys((*inner, *(v for rule in rules for v in rule(group)))):
            said.setdefault(violation, []).extend(names)
    for violation, names in said.items():
        about = ", ".join(names[:4]) + (" and more" if len(names) > 4 else "")
        everywhere = len(names) == len(groups)
        yield violation if everywhere else replace(violation, reason=f"{about}: {violation.reason}")


def _distinct(groups: Sequence[Layout]) -> list[tuple[Layout, list[str]]]:
    """Groups that differ in what rules look at, each with the names of those like it."""
    found: list[tuple[Layout, list[str]]] = []
    for group in groups:
        names = next((names for other, names in found if _alike(group, other)), None)
        if names is None:
            names = []
            found.append((group, names))
        names.append(group.group or group.sites[0].node)
    return found


def _alike(one: Layout, other: Layout) -> bool:
    sizes = [(g.topology, g.role, g.tp, g.pp, g.dp, [len(site.devices) for site in g.sites]) for g in (one, other)]
    return sizes[0] == sizes[1] and all(
        mine is theirs or _judged(mine) == _judged(theirs)
        for mine, theirs in zip(one.settings, other.settings, strict=True)
    )


def _judged(settings: Settings) -> tuple[object, ...]:
    """What of a host's settings the rules for groups look at: all but what is a host's own."""
    return (settings.serve, settings.model, settings.install, settings.hardware, settings.compatibility)


def _remedy(layout: Layout) -> str:
    valid = alternatives(layout)
    if valid:
        return "valid here: " + "; ".join(valid)
    return "no layout of this model fits these nodes: more nodes or devices, or a quantised model"


_SIZE_RULES: tuple[Rule, ...] = (
    nodes.enough_devices,
    model.legal_tensor_parallel,
    model.heads_divide,
    model.experts_divide,
    model.memory,
    topologies.dense_external,
    release.model_release,
)
"""The rules that sizes can break or mend; what else is wrong is no reason to call a size invalid."""


def size_violations(layout: Layout) -> tuple[Violation, ...]:
    """What the topology and the rules of sizes say against a layout."""
    own = tuple(topology(layout.topology).violations(layout))
    if not _can_be_cut(own):
        return own
    return (*own, *_of_groups(layout, groups_of(layout), _SIZE_RULES))


def _distance(candidate: Layout, wanted: Layout) -> tuple[int, ...]:
    same = candidate.topology == wanted.topology
    wasted = wanted.devices_available - candidate.devices_needed if candidate.topology != "replicas" else 0
    return not same, same and candidate.dp != wanted.dp, abs(candidate.tp - wanted.tp), wasted, candidate.dp
