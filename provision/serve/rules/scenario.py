"""The scenario that ``serve.scenario`` names, and what a release can of multi-token prediction (S04, S09, S17)."""

from __future__ import annotations

from collections.abc import Iterator

from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.profiles import Profile, ScenarioLayout
from provision.serve.rules.base import Rule, warn
from provision.serve.rules.release import speculative
from provision.serve.scenarios import judged, scenario_of
from provision.serve.structured import structure


def scenario_applies(layout: Layout) -> Iterator[Violation]:
    """S09: a scenario is a profile's, and its settings are meant for certain hardware [the profile]."""
    profile = layout.profile
    scenario = scenario_of(profile, layout.head.serve.scenario)
    if profile and scenario and not layout.profile_applies:
        yield warn(
            "S09",
            f"serve.scenario {layout.head.serve.scenario} has no effect: {_why_not(layout, profile)}",
            scenario.source,
            "leave serve.scenario out",
        )


def _why_not(layout: Layout, profile: Profile) -> str:
    if layout.head.serve.as_given:
        return "serve.as_given takes nothing from a profile"
    return f"profile {profile.name} is for {', '.join(profile.hardware)}"


def scenario_layout(layout: Layout) -> Iterator[Violation]:
    """S04: a scenario's settings were made for certain sizes; where the weights can't have those that its source
    prints, the smallest that work take their place [the scenario's source; arithmetic]."""
    profile, name = layout.profile, layout.head.serve.scenario
    scenario = scenario_of(profile, name)
    if not profile or not scenario or not layout.profile_applies:
        return
    site = layout.sites[0]
    found = judged(profile, scenario, layout.device_bytes(site), layout.devices_available)
    printed = "" if found.valid else f"; the {_sizes(scenario.layout)} that its source prints can't be: {found.reason}"
    if found.asks is None:
        yield warn(
            "S04",
            f"scenario {name} fits no layout on one node of this kind{printed}",
            scenario.source,
            "judge its settings for your layout yourself, or leave serve.scenario out",
        )
    elif (layout.tp, layout.dp) != (found.asks.tensor_parallel_size, found.asks.data_parallel_size):
        has = _sizes_of(layout.tp, layout.dp)
        yield warn(
            "S04",
            f"scenario {name} is for {_sizes(found.asks)}, and the layout has {has}{printed}",
            scenario.source,
            f"set serve.tensor_parallel_size: {found.asks.tensor_parallel_size} and serve.data_parallel_size: "
            f"{found.asks.data_parallel_size}, or judge its settings for your layout yourself",
        )


def _sizes(wanted: ScenarioLayout) -> str:
    return _sizes_of(wanted.tensor_parallel_size, wanted.data_parallel_size)


def _sizes_of(tp: int, dp: int) -> str:
    return f"TP {tp} and DP {dp}"


def mtp_of_release(layout: Layout) -> Iterator[Violation]:
    """S17: what multi-token prediction can differs by release [release notes, as the model's profile tells them]."""
    profile, release = layout.profile, layout.release
    known = profile.mtp.on(release) if profile and release and speculative(layout) else None
    if not profile or known is None or _forbidden(layout):
        return
    source = "vllm-ascend release notes"
    later = next((each.release for each in profile.mtp.releases if each.works), "")
    if not known.works:
        reason = f"MTP of {profile.title} is not known to work on vllm-ascend {release}: {known.statement}"
        yield warn("S17", reason, source, f"use vllm-ascend {later} or later, or leave speculative-config out")
        return
    mode = str(structure(layout, 0, "compilation-config").get("cudagraph_mode", ""))
    full = next((each.release for each in profile.mtp.releases if "full-graph" in each.beside), "")
    if mode.startswith("FULL") and full and "full-graph" not in known.beside:
        reason = f"MTP of {profile.title} in full graph mode is not known to work on vllm-ascend {release}"
        yield warn("S17", reason, source, f"use vllm-ascend {full} or later, or cudagraph_mode: PIECEWISE")


def _forbidden(layout: Layout) -> bool:
    """Whether S09 refuses MTP on this release already."""
    note = layout.profile.releases.entry(layout.release) if layout.profile and layout.release else None
    return note is not None and "mtp" in note.forbids


RULES: tuple[Rule, ...] = (scenario_applies, scenario_layout, mtp_of_release)
