"""Makes the ``LaunchPlan``: settings and sites in; every process with command, environment, devices and waves out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest

from provision import clock
from provision.inventory.model import Settings
from provision.serve import argv
from provision.serve.environment import FILLED, environment, no_proxies
from provision.serve.layout import ROUTED, Layout, layout_of
from provision.serve.lint import judge, layout_error
from provision.serve.plan import Group, LaunchPlan, Process, Site, Violation, Wave
from provision.serve.profiles import Argument
from provision.serve.shape import ModelShape
from provision.serve.topologies.base import Attendant, Seat, topology

_WILDCARDS = ("0.0.0.0", "::", "")

FINAL = frozenset({"S01", "S02", "S03", "S06", "S08"})
"""Rules whose breach leaves nothing to compute. Failures by other rules an operator may lower or waive."""


def build_plan(settings_by_site: Sequence[tuple[Site, Settings]], *, shape: ModelShape | None = None) -> LaunchPlan:
    """The plan for these sites, the first being the head. Pure: the same input gives the same plan.

    ``shape``: what the weights' config.json says, where it has been read. Failures that ``qnext.checks`` lowers, or
    ``qnext.waive`` accepts until today or later, become warnings of the plan. Raises ``LayoutError`` where the layout
    cannot work (its ``others`` are further reasons), ``ConfigError`` for an unknown profile.
    """
    layout = layout_of(settings_by_site, shape)
    violations = [_lowered(violation, layout.head) for violation in judge(layout, placed=True)]
    error = layout_error(violations)
    if error:
        raise error
    return _assembled(layout, tuple(_warning(v) for v in violations if v.severity == "warn"))


def _assembled(layout: Layout, warnings: tuple[str, ...]) -> LaunchPlan:
    chosen = topology(layout.topology)
    groups = chosen.groups(layout)
    back = [_attendant(layout, each) for each in chosen.back(layout, groups)]
    servers: list[Process] = []
    members: list[Group] = []
    waves: list[Sequence[Wave]] = []
    for group in groups:
        inner = topology(group.topology)
        seats = [
            replace(seat, name=_name(layout, group, seat))
            for seat in chosen.dressed(layout, groups, group, inner.seats(group))
        ]
        processes = [_process(layout, group, seat) for seat in seats]
        servers += processes
        members.append(Group(group.group, group.role, tuple(p.name for p in processes), group.dp))
        waves.append(inner.waves(seats))
    front = [_attendant(layout, each) for each in chosen.front(layout, servers)]
    entry = front[0] if front else next(p for p in servers if p.serves)
    return LaunchPlan(
        cluster=layout.head.cluster,
        topology=layout.topology,
        hardware=layout.head.hardware,
        image=layout.head.install.ref,
        model_path=layout.head.model.path,
        served_name=layout.served_name,
        processes=(*back, *servers, *front),
        waves=(*_wave(back, "port:pool"), *_side_by_side(waves), *_wave(front, front=True)),
        head=entry.name,
        endpoint=endpoint(layout.head, entry),
        engines=sum(group.engines for group in members),
        warnings=warnings,
        groups=tuple(members),
    )


def _name(layout: Layout, group: Layout, seat: Seat) -> str:
    """A group of one server has its name; servers of a larger group are told apart in it."""
    if not group.group:
        return seat.name
    return group.group if seat.name == "server" else f"{group.group}-{seat.name}"


def _wave(processes: Sequence[Process], started: str = "running", *, front: bool = False) -> tuple[Wave, ...]:
    return (Wave(tuple(process.name for process in processes), started, front=front),) if processes else ()


def _side_by_side(waves: Sequence[Sequence[Wave]]) -> Iterator[Wave]:
    """The groups' waves together, first with first: groups don't wait for each other. Where they wait for different
    things, each for its own."""
    for together in zip_longest(*waves):
        by_condition: dict[str, tuple[str, ...]] = {}
        for wave in together:
            if wave is not None:
                by_condition[wave.started] = (*by_condition.get(wave.started, ()), *wave.processes)
        yield from (Wave(names, started) for started, names in by_condition.items())


def _lowered(violation: Violation, settings: Settings) -> Violation:
    """The violation as a warning where the operator says that its rule is not to stop them."""
    if violation.code in FINAL or not (_is_lowered(violation.code, settings) or _is_waived(violation, settings)):
        return violation
    return replace(violation, severity="warn")


def _is_lowered(code: str, settings: Settings) -> bool:
    """Whether ``qnext.checks`` gives the code, or the check of the layout, a level below fail."""
    given = {name.lower(): value for name, value in settings.checks.items()}
    values = [given[name] for name in (code.lower(), "layout", "s00") if name in given]
    levels = [value.get("level") if isinstance(value, dict) else value for value in values]
    return next((level for level in levels if level is not None), "fail") != "fail"


def _is_waived(violation: Violation, settings: Settings) -> bool:
    """Whether ``qnext.waive`` accepts it, until a day that has not passed."""
    today = datetime.fromtimestamp(clock.now()).date()
    given = {name.lower(): waiver for name, waiver in settings.waive.items()}
    waivers = [waiver for waiver in (given.get(violation.code.lower()), given.get("layout")) if waiver]
    return any(waiver.until >= today and waiver.finding in violation.reason for waiver in waivers[:1])


def endpoint(settings: Settings, entry: Process) -> str:
    """The URL of the API: the address it listens on, or its node's own where it listens on all."""
    host = settings.serve.host
    if host in _WILDCARDS or (entry.kind == "server" and _has_router(settings)):
        host = entry.address or entry.node
    return f"http://[{host}]:{entry.api_port}" if ":" in host else f"http://{host}:{entry.api_port}"


def _attendant(layout: Layout, given: Attendant) -> Process:
    site = layout.sites[given.index]
    return Process(
        name=given.name,
        node=site.node,
        node_index=site.index,
        rank=0,
        argv=given.argv,
        env={**no_proxies(layout, {}), **given.env},
        api_port=given.api_port,
        headless=given.api_port is None,
        engines=(),
        ports=given.ports,
        address=site.address,
        kind=given.kind,
        image=given.image,
        health=given.health,
        login=given.login,
        keyed=given.keyed,
        weights=False,
        files=given.files,
    )


def _process(layout: Layout, group: Layout, seat: Seat) -> Process:
    site = group.sites[seat.index]
    mounted, visible = _devices(layout, group, seat)
    fill = filler(group, seat)
    env, interface_env = environment(group, seat.index, defaults=seat.defaults, computed={**visible, **seat.env})
    return Process(
        name=seat.name,
        node=site.node,
        node_index=site.index,
        rank=seat.rank,
        argv=(*seat.before, *(fill(word) for word in serve_argv(group, seat))),
        env={name: fill(value) for name, value in env.items()},
        devices=mounted,
        api_port=None if seat.headless else seat.port,
        headless=seat.headless,
        engines=seat.engines,
        ports=seat.ports,
        address=site.address,
        interface_env=interface_env,
        group=group.group,
        role=group.role,
        files=seat.files,
    )


def filler(group: Layout, seat: Seat) -> Callable[[str], str]:
    """Fills what ``serve.env`` and ``serve.engine_args`` may say of their own server: see ``environment.FILLED``."""
    values = {
        "QNEXT_PORT": str(seat.port),
        "QNEXT_RANK": str(seat.rank),
        "QNEXT_ADDRESS": group.sites[seat.index].address,
        "QNEXT_HEAD_ADDRESS": group.sites[0].address,
    }

    def fill(text: str) -> str:
        if "${QNEXT_" in text:
            for name in FILLED:
                text = text.replace(f"${{{name}}}", values[name])
        return text

    return fill


def _devices(layout: Layout, group: Layout, seat: Seat) -> tuple[tuple[int, ...], dict[str, str]]:
    """The devices of a server's container, and the variables that choose among them.

    A device goes into one container only, so each gets its own alone; privileged containers share all of a node, and
    choose by index among those that they see [vllm-ascend issues 2698, 632]. A process without a container sees all
    that the node has, in the order of their numbers."""
    site = group.sites[seat.index]
    own = group.devices_of(site) if seat.devices is None else seat.devices
    if own and layout.settings[0].install.method == "source":
        return own, {"ASCEND_RT_VISIBLE_DEVICES": ",".join(map(str, own))}
    if not (own and layout.settings[0].install.privileged):
        return own, {}
    every = sorted(next(each.devices for each in layout.sites if each.node == site.node))
    return tuple(every), {"ASCEND_RT_VISIBLE_DEVICES": ",".join(str(every.index(device)) for device in own)}


def serve_argv(layout: Layout, seat: Seat) -> tuple[str, ...]:
    """``vllm serve`` with all its arguments, for one seat of a group."""
    needed = computed_arguments(layout, seat)
    given = argv.engine_arguments(layout, seat.index)
    needed |= {name: value for name, value in seat.arguments.items() if name not in given}
    needed |= {"tensor-parallel-size": layout.tp}
    needed |= {"pipeline-parallel-size": layout.pp} if layout.pp > 1 else {}
    needed |= {"enable-expert-parallel": True} if layout.expert_parallel else {}
    spare = {
        **seat.spare,
        "host": listening(layout, seat.index),
        "port": seat.port,
        "pipeline-parallel-size": layout.pp,
    }
    words = argv.ordered(layout.settings[seat.index].serve, needed, argv.allowed(given, headless=seat.headless), spare)
    return ("vllm", "serve", layout.head.model.path, *words)


def listening(layout: Layout, index: int) -> str:
    """The address that a server's API listens on: ``serve.host``; but where that is one address, and a router has it,
    a server has its node's own."""
    host = layout.head.serve.host
    behind = _has_router(layout.head) and host not in _WILDCARDS
    return layout.sites[index].address or host if behind else host


def _has_router(settings: Settings) -> bool:
    return settings.serve.topology in ROUTED and settings.serve.router.kind != "none"


def computed_arguments(layout: Layout, seat: Seat) -> dict[str, Argument]:
    """What every topology gives: the API, or that there is none, and the served name."""
    api: dict[str, Argument] = {"host": listening(layout, seat.index), "port": seat.port}
    needed: dict[str, Argument] = {"headless": True} if seat.headless else api
    if layout.served_name != layout.head.model.path:
        needed["served-model-name"] = layout.served_name
    return needed


def _warning(violation: Violation) -> str:
    return f"{violation.code}: {violation.reason}; {violation.remedy}"
