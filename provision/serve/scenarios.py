"""Named settings of a model profile for a purpose (``serve.scenario``), and whether their source's sizes can be true.

The table of a model's document may print sizes that its weights can't have: it is arithmetic that decides, for the
weights of the profile at hand, and names the smallest layout that works instead.
"""

from __future__ import annotations

from dataclasses import dataclass

from provision.errors import ConfigError
from provision.registry import did_you_mean
from provision.serve.memory import (
    HCCL_BUFFSIZE_MB,
    Room,
    Sizes,
    fits,
    request_bytes,
    reserve_bytes,
    weight_bytes,
    weights_a_device,
)
from provision.serve.profiles import Profile, Scenario, ScenarioLayout, legal_tensor_parallel

VLLM_UTILIZATION = 0.9
"""vLLM's own --gpu-memory-utilization where none is given."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """``asks``: the layout to use: the printed one where it is ``valid``, else the smallest that works; None where none
    on one node does. ``reason``: why the printed one can't work."""

    valid: bool
    reason: str
    asks: ScenarioLayout | None


def scenario_of(profile: Profile | None, name: str | None) -> Scenario | None:
    """The scenario that ``serve.scenario`` names; None where it names none. Raises ``ConfigError`` with a did-you-mean
    for an unknown one."""
    if name is None:
        return None
    if profile is None:
        hint = "set model.profile, or leave serve.scenario out"
        raise ConfigError("serve.scenario: scenarios belong to a model profile, and none is given", hint=hint)
    if name not in profile.scenarios:
        known = sorted(profile.scenarios)
        near = did_you_mean(name, known)
        listed = f"{profile.name} has {', '.join(known)}" if known else f"{profile.name} has no scenarios"
        hint = f"{near} {listed}" if near.startswith("did you mean") else listed
        raise ConfigError(f"serve.scenario: no scenario of {profile.name} is called {name!r}", hint=hint)
    return profile.scenarios[name]


def judged(profile: Profile, scenario: Scenario, device_bytes: int, devices: int) -> Judgement:
    """Whether the sizes that the scenario's source prints can work with these weights on nodes of ``devices`` devices
    of ``device_bytes`` each. Without known sizes of the weights, they are believed."""
    printed = scenario.layout
    reason = _obstacle(profile, scenario, printed, device_bytes)
    if not reason:
        return Judgement(True, "", printed)
    for size in legal_tensor_parallel(profile.shape, profile):
        asked = ScenarioLayout(size * printed.data_parallel_size, size, printed.data_parallel_size)
        if asked.npus <= devices and not _obstacle(profile, scenario, asked, device_bytes):
            return Judgement(False, reason, asked)
    return Judgement(False, reason, None)


def _obstacle(profile: Profile, scenario: Scenario, layout: ScenarioLayout, device_bytes: int) -> str:
    """Why a layout can't work for a scenario; empty where it can."""
    tp, dp = layout.tensor_parallel_size, layout.data_parallel_size
    if tp not in legal_tensor_parallel(profile.shape, profile):
        return f"TP {tp}: {profile.tensor_parallel.reason}"
    weights = weight_bytes(profile, None)
    if weights is None or not device_bytes:
        return ""
    sizes = Sizes(tp, dp, expert_parallel=bool(weights.experts) and tp * dp > 1)
    room, tokens = room_of(profile, scenario, device_bytes), longest_request(profile, scenario)
    if fits(weights, profile.shape, sizes, room, tokens):
        return ""
    parts = f"{_gb(weights_a_device(weights, sizes))} of weights ({_gb(weights.total)} in all)"
    beside = f"{_gb(room.reserve)} for the work and {_gb(request_bytes(profile.shape, tokens, sizes))} for one request"
    return (
        f"TP {tp} and DP {dp} put {parts} on a device, with {beside} of {tokens} tokens: {_gb(room.budget)} are there"
    )


def room_of(profile: Profile, scenario: Scenario | None, device_bytes: int, devices: int = 0) -> Room:
    """What a profile's settings, and those of a scenario over them, leave of a device."""
    share = _argument(profile, scenario, "gpu-memory-utilization")
    env = {**profile.always.env, **(scenario.env if scenario else {})}
    buffsize = str(env.get("HCCL_BUFFSIZE", HCCL_BUFFSIZE_MB))
    utilization = share if isinstance(share, int | float) else VLLM_UTILIZATION
    return Room(devices, device_bytes * utilization, reserve_bytes(int(buffsize)))


def longest_request(profile: Profile, scenario: Scenario | None = None) -> int:
    """Tokens of the longest request: --max-model-len, else the model's context."""
    given = _argument(profile, scenario, "max-model-len")
    return given if isinstance(given, int) else profile.shape.context


def _argument(profile: Profile, scenario: Scenario | None, name: str) -> object:
    return {**profile.always.engine_args, **(scenario.engine_args if scenario else {})}.get(name)


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
