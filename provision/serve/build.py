"""Makes the ``LaunchPlan``: settings and sites in; every process with command, environment, devices and waves out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from provision import clock
from provision.inventory.model import Settings
from provision.serve import argv
from provision.serve.environment import environment
from provision.serve.layout import Layout, layout_of
from provision.serve.lint import judge, layout_error
from provision.serve.plan import LaunchPlan, Process, Site, Violation
from provision.serve.shape import ModelShape
from provision.serve.topologies.base import Seat, topology

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
    chosen = topology(layout.topology)
    seats = chosen.seats(layout)
    processes = tuple(_process(layout, seat) for seat in seats)
    return LaunchPlan(
        cluster=layout.head.cluster,
        topology=layout.topology,
        hardware=layout.head.hardware,
        image=layout.head.install.image,
        model_path=layout.head.model.path,
        served_name=layout.served_name,
        processes=processes,
        waves=tuple(chosen.waves(seats)),
        head=processes[0].name,
        endpoint=endpoint(layout),
        engines=layout.dp,
        warnings=tuple(_warning(v) for v in violations if v.severity == "warn"),
    )


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


def endpoint(layout: Layout) -> str:
    """The URL of the API: the address it listens on, or the head's own where it listens on all."""
    serve, site = layout.head.serve, layout.sites[0]
    host = serve.host if serve.host not in _WILDCARDS else site.address or site.node
    return f"http://[{host}]:{serve.port}" if ":" in host else f"http://{host}:{serve.port}"


def _process(layout: Layout, seat: Seat) -> Process:
    site = layout.sites[seat.index]
    env, interface_env = environment(layout, seat.index)
    return Process(
        name=seat.name,
        node=site.node,
        node_index=site.index,
        rank=seat.rank,
        argv=_argv(layout, seat),
        env=env,
        devices=layout.devices_of(site),
        api_port=None if seat.headless else layout.head.serve.port,
        headless=seat.headless,
        engines=seat.engines,
        ports=seat.ports,
        address=site.address,
        interface_env=interface_env,
    )


def _argv(layout: Layout, seat: Seat) -> tuple[str, ...]:
    serve = layout.head.serve
    api = ("--headless",) if seat.headless else ("--host", serve.host, "--port", str(serve.port))
    return (
        *("vllm", "serve", layout.head.model.path),
        *api,
        *("--served-model-name", layout.served_name),
        *seat.words,
        *("--tensor-parallel-size", str(layout.tp)),
        *(("--pipeline-parallel-size", str(layout.pp)) if layout.pp > 1 else ()),
        *(("--enable-expert-parallel",) if layout.expert_parallel else ()),
        *argv.flatten(argv.engine_arguments(layout, seat.index), headless=seat.headless),
    )


def _warning(violation: Violation) -> str:
    return f"{violation.code}: {violation.reason}; {violation.remedy}"
