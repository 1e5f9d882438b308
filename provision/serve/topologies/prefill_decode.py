"""Groups of servers behind a proxy: some read prompts, the others write answers from the KV caches they are handed.

Long prompts then don't hold up answers that are being written, and each side is laid out for its own work. A host's
``serve.role`` says on which side it is, ``serve.group`` tells several groups of a side apart, and each group has sizes
and a topology of its own (``serve.group_topology``), set for the hosts of the role. What both sides must know of each
other is computed from the real groups: see ``serve/kv.py`` [vllm-ascend disaggregation guide; nightly cases].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from provision.serve import kv, router
from provision.serve.layout import Layout
from provision.serve.plan import Process, Violation
from provision.serve.topologies.base import Attendant, Seat

_SOURCE = "topology prefill-decode"


def violations(layout: Layout) -> Iterator[Violation]:
    yield from _roles(layout)
    yield from _sides(groups(layout))
    yield from router.violations(layout)


def _roles(layout: Layout) -> Iterator[Violation]:
    roles = [settings.serve.role for settings in layout.settings]
    for site, role in zip(layout.sites, roles, strict=True):
        if role is None:
            yield _uncut(f"{site.node} is neither prefill nor decode", "set serve.role: prefill or decode for it")
    for side in kv.ROLES:
        if side not in roles:
            yield _uncut(f"no host has the role {side}", "set serve.role for a group of hosts on each side")


def _sides(found: Sequence[Layout]) -> Iterator[Violation]:
    names: dict[str, str] = {}
    for group in found:
        if names.setdefault(group.group, group.role) != group.role:
            reason = f"the group {group.group} is on both sides"
            yield _uncut(reason, "give serve.group another name on one side, or leave it out")
    for role in kv.ROLES:
        for first, other in pairwise(group for group in found if group.role == role):
            if kv.sizes(other) != kv.sizes(first):
                yield Violation(
                    code="S12",
                    severity="fail",
                    reason=f"{role} groups {first.group} and {other.group} have other sizes: "
                    f"{_text(first)} and {_text(other)}",
                    source="vllm-ascend disaggregation guide: kv-transfer-config has one block a side",
                    remedy="give all groups of a side the same tensor, pipeline and data parallel sizes",
                )


def _uncut(reason: str, remedy: str) -> Violation:
    """Without it the groups can't be told."""
    return Violation("S02", "fail", reason, _SOURCE, remedy)


def _text(group: Layout) -> str:
    return f"TP {group.tp}, PP {group.pp}, DP {group.dp}"


def groups(layout: Layout) -> Sequence[Layout]:
    """Prefill groups, then decode groups, each in the order in which the inventory first names it."""
    made: dict[tuple[str, str], list[int]] = {}
    for role in kv.ROLES:
        for index, settings in enumerate(layout.settings):
            if settings.serve.role == role:
                made.setdefault((role, settings.serve.group or role), []).append(index)
    return [_group(layout, role, name, members) for (role, name), members in made.items()]


def _group(layout: Layout, role: str, name: str, members: Sequence[int]) -> Layout:
    settings = tuple(layout.settings[index] for index in members)
    serve = settings[0].serve
    return replace(
        layout,
        sites=tuple(layout.sites[index] for index in members),
        settings=settings,
        topology=serve.group_topology,
        tp=serve.tensor_parallel_size,
        pp=serve.pipeline_parallel_size,
        dp=serve.data_parallel_size,
        port=serve.server_port if layout.routed else serve.port,
        group=name,
        role=role,
    )


def dressed(layout: Layout, groups: Sequence[Layout], group: Layout, seats: Sequence[Seat]) -> Sequence[Seat]:
    return [_dressed(layout, groups, group, seat) for seat in seats]


def _dressed(layout: Layout, groups: Sequence[Layout], group: Layout, seat: Seat) -> Seat:
    config = kv.transfer_config(groups, group, seat.index, f"{group.group}-{seat.name}")
    return replace(
        seat,
        arguments={**seat.arguments, **kv.role_arguments(group, seat.index), "kv-transfer-config": config},
        ports={**seat.ports, **kv.ports(group, seat)},
        defaults={**seat.defaults, **kv.environment(group, seat.index)},
        env={**seat.env, **kv.pool_environment(layout)},
        files=(*seat.files, *kv.pool_files(layout)),
    )


def front(layout: Layout, servers: Sequence[Process]) -> Sequence[Attendant]:
    return router.proxies(layout, servers)


def back(layout: Layout, groups: Sequence[Layout]) -> Sequence[Attendant]:
    return kv.pool_master(layout)
