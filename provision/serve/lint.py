"""Judges a layout offline: every rule it breaks, with the reason, the rule's source and what would work instead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from provision.errors import LayoutError
from provision.inventory.model import Settings
from provision.serve.layout import UNLIMITED, Layout, layout_of
from provision.serve.plan import Site, Violation
from provision.serve.rules import (
    additional,
    agreement,
    arguments,
    disaggregation,
    environment,
    model,
    nodes,
    ports,
    release,
)
from provision.serve.rules.base import Rule
from provision.serve.shape import ModelShape
from provision.serve.topologies.base import topologies, topology

RULES: tuple[Rule, ...] = (
    *model.RULES,
    *nodes.RULES,
    *release.RULES,
    *ports.RULES,
    *arguments.RULES,
    *additional.RULES,
    *environment.RULES,
    *disaggregation.RULES,
    *agreement.RULES,
)

_SHOWN_ALTERNATIVES = 4


def lint(
    settings_by_site: Sequence[tuple[Site, Settings]], *, shape: ModelShape | None = None
) -> tuple[Violation, ...]:
    """All violations of the requested layout, failures first. Addresses are not judged: they may be found only later.
    ``shape``: what the weights' config.json says, where known. Raises ``ConfigError`` for an unknown profile."""
    return judge(layout_of(settings_by_site, shape))


def judge(layout: Layout, *, placed: bool = False) -> tuple[Violation, ...]:
    """All violations of a layout, failures first; where a remedy is another layout, the valid ones are named.
    ``placed``: the sites are final, so their addresses are judged too."""
    found = list(dict.fromkeys(_violations(layout, (*nodes.ADDRESS_RULES, *RULES) if placed else RULES)))
    if any(not violation.remedy for violation in found):
        remedy = _remedy(layout)
        found = [violation if violation.remedy else replace(violation, remedy=remedy) for violation in found]
    return tuple(sorted(found, key=lambda violation: violation.severity != "fail"))


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
    candidates = [each for each in _candidates(layout) if _is_sound(each)]
    candidates.sort(key=lambda each: (_worries(each), *_distance(each, layout)))
    return tuple(describe(each) for each in candidates[:_SHOWN_ALTERNATIVES])


def describe(layout: Layout) -> str:
    """A layout in an operator's words."""
    sizes = [f"tensor_parallel_size {layout.tp}"]
    if layout.topology == "data-parallel":
        sizes.append(f"data_parallel_size {layout.dp}")
    return f"{layout.topology} with {' and '.join(sizes)}"


def _violations(layout: Layout, rules: Sequence[Rule]) -> Iterator[Violation]:
    yield from topology(layout.topology).violations(layout)
    for rule in rules:
        yield from rule(layout)


def _remedy(layout: Layout) -> str:
    valid = alternatives(layout)
    if valid:
        return "valid here: " + "; ".join(valid)
    return "no layout of this model fits these nodes: more nodes or devices, or a quantised model"


_SIZE_RULES: tuple[Rule, ...] = (
    nodes.enough_devices,
    model.legal_tensor_parallel,
    model.heads_divide,
    model.wide_qwen3_next,
    model.experts_divide,
    model.memory,
    release.model_release,
)
"""The rules that sizes can break or mend; what else is wrong is no reason to call a size invalid."""


def _is_sound(layout: Layout) -> bool:
    found = [*topology(layout.topology).violations(layout), *(v for rule in _SIZE_RULES for v in rule(layout))]
    return not any(violation.severity == "fail" and violation.code != "S09" for violation in found)


def _worries(layout: Layout) -> int:
    """How many warnings its sizes bring."""
    return sum(violation.severity == "warn" for rule in _SIZE_RULES for violation in rule(layout))


def _candidates(layout: Layout) -> Iterator[Layout]:
    for name in topologies():
        for tp in (1, 2, 4, 8, 16, 32):
            for dp in _engine_counts(layout, name, tp):
                yield replace(layout, topology=name, tp=tp, dp=dp, pp=1)


def _engine_counts(layout: Layout, name: str, tp: int) -> list[int]:
    if name != "data-parallel":
        return [1] if name == "single" or layout.nodes > 1 else []
    room = layout.devices_available
    local = max(1, room // tp) if room != UNLIMITED else 1
    return sorted({layout.nodes, layout.nodes * local} - {1})


def _distance(candidate: Layout, asked: Layout) -> tuple[bool, int, int, int]:
    wasted = asked.devices_available - candidate.devices_needed
    return candidate.topology != asked.topology, abs(candidate.tp - asked.tp), wasted, candidate.dp
