"""``serve.env``: nothing computed, values in their ranges, no secrets, nothing deprecated (S08, S15, S18, S20)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from provision.serve.environment import FILLED, computed_names, environment
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.releases import Release
from provision.serve.rules.base import Rule, fail, representatives, warn

_SECRET = re.compile(r"(?:TOKEN|SECRET|PASSWORD|PASSWD|ACCESS_KEY|API_KEY)\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Range:
    """Legal values of a variable, ends included, and who says so."""

    low: float
    high: float
    source: str
    unit: str = ""


_HCCL = "CANN manual: other values end the process with EI0001"
RANGES = {
    "HCCL_CONNECT_TIMEOUT": Range(120, 7200, _HCCL, " s"),
    "HCCL_BUFFSIZE": Range(1, float("inf"), _HCCL, " MB"),
    "HCCL_EXEC_TIMEOUT": Range(0, float("inf"), _HCCL, " s"),
    "HCCL_IF_BASE_PORT": Range(1024, 65520, _HCCL),
    "VLLM_RPC_TIMEOUT": Range(
        60_000, float("inf"), "vLLM: milliseconds; the first step over nodes takes longer", " ms"
    ),
}
READY_OVER_NODES = Range(1800, float("inf"), "vLLM waits this long for each engine; 600 is too short over nodes", " s")

_MOVED = "vllm-ascend PR 9064: use --additional-config"
_NOTES = "vllm-ascend release notes"
DEPRECATED = {
    "VLLM_ASCEND_ENABLE_FLASHCOMM1": "remove it: FlashComm is deprecated",
    "VLLM_ASCEND_BALANCE_SCHEDULING": f"{_MOVED} scheduler_config.enable_balance_scheduling",
    "MSMONITOR_USE_DAEMON": f"{_MOVED} msmonitor_use_daemon",
    "VLLM_ASCEND_ENABLE_MLAPO": f"{_MOVED} enable_mlapo",
    "VLLM_ASCEND_ENABLE_NZ": f"{_MOVED} weight_nz_mode",
    "VLLM_ASCEND_ENABLE_FUSED_MC2": f"{_MOVED} enable_fused_mc2",
    "VLLM_ASCEND_FUSION_OP_TRANSPOSE_KV_CACHE_BY_BLOCK": f"{_MOVED} enable_transpose_kv_cache_by_block",
    "VLLM_NIXL_ABORT_REQUEST_TIMEOUT": "VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT replaces it",
}
"""Variables that later releases read no longer [vllm-ascend release notes]."""

REMOVED = {
    "ASCEND_BUFFER_POOL": ("0.23.0rc1", "remove it: there is no replacement"),
    "VLLM_ASCEND_ENABLE_CONTEXT_PARALLEL": ("0.23.0rc1", "use --additional-config enable_dsa_cp"),
}
"""Variables that are read no longer: since which release, and what to do [vllm-ascend release notes]."""

_REFERENCE = re.compile(r"\$(?:\{([A-Za-z_]\w*)|([A-Za-z_]\w*))")


def not_computed(layout: Layout) -> Iterator[Violation]:
    """S07: what differs by node is computed for each node [HCCL_IF_IP, HCCL_SOCKET_IFNAME, CANN manual]."""
    for name in _declared(layout):
        if name in computed_names(layout):
            yield fail(
                "S07",
                f"serve.env: {name} cannot be given: it is computed for each node",
                "addresses, interfaces and devices differ by node",
                "remove it; qnext.data_address, qnext.data_interface and qnext.devices of a host say it",
            )


def ranges(layout: Layout) -> Iterator[Violation]:
    """S15: numbers that HCCL and vLLM take [CANN manual; vLLM envs]."""
    legal = RANGES | ({"VLLM_ENGINE_READY_TIMEOUT_S": READY_OVER_NODES} if layout.nodes > 1 else {})
    for index in representatives(layout):
        final, _ = environment(layout, index)
        for name, allowed in legal.items():
            if name in final and not _within(final[name], allowed):
                reason = f"{name}={final[name]}: legal are {_limits(allowed)}"
                yield warn("S15", reason, allowed.source, _correction(name, allowed))


def deprecated(layout: Layout) -> Iterator[Violation]:
    """S18: variables whose days are counted, or over [vllm-ascend release notes]."""
    for name in _declared(layout):
        if name in DEPRECATED:
            yield warn("S18", f"serve.env: {name} is deprecated", _NOTES, DEPRECATED[name])
        elif name in REMOVED:
            since, remedy = REMOVED[name]
            gone = layout.release is not None and layout.release >= Release(since)
            ending = f"does nothing since {since}" if gone else f"is read no longer from {since} on"
            yield warn("S18", f"serve.env: {name} {ending}", _NOTES, remedy)


def unfilled(layout: Layout) -> Iterator[Violation]:
    """S20: a value is passed on as written: nobody fills a $NAME in it, as upstream's own launcher would; only what
    refers to itself extends what the image sets [launch scripts quote every value]."""
    for name, value in sorted({(n, str(v)) for s in layout.settings for n, v in s.serve.env.items()}):
        found = next((f for f in _REFERENCE.finditer(value) if name not in (f[1], f[2]) and f[1] not in FILLED), None)
        if found:
            yield warn(
                "S20",
                f"serve.env: {name} holds {found[0].replace('{', '')}, which the server gets as these very characters",
                "launch scripts pass values on exactly as written",
                f"write the value out (docker run --rm IMAGE bash -lic 'echo ${found[1] or found[2]}' shows it), or "
                f"leave {name} out: the image sets its own paths; to extend the image's own, write ${name} itself",
            )


def secrets(layout: Layout) -> Iterator[Violation]:
    """S20: a secret in serve.env would stand in the launch script and in docker inspect [docker inspect]."""
    for name in sorted({name for s in layout.settings for name in s.serve.env.keys() & s.serve.secret_env.keys()}):
        reason = f"{name} is in serve.env and in serve.secret_env, and the one in clear would count"
        yield fail("S20", reason, "docker run: -e counts more than --env-file", f"take {name} out of serve.env")
    for name in _declared(layout):
        if name == "VLLM_API_KEY":
            yield fail("S20", "serve.env: VLLM_API_KEY would be readable in the script", "secrets", "use serve.api_key")
        elif _SECRET.search(name):
            reason = f"serve.env: {name} looks like a secret, and will be readable in the launch script"
            yield warn(
                "S20",
                reason,
                "launch scripts hold the environment in clear",
                f"move it to serve.secret_env, as {name}: {{env: {name}}}",
            )


def _declared(layout: Layout) -> list[str]:
    return sorted({name for settings in layout.settings for name in settings.serve.env})


def _limits(allowed: Range) -> str:
    top = f" to {allowed.high:g}" if allowed.high != float("inf") else " or more"
    return f"{allowed.low:g}{top}{allowed.unit}"


def _correction(name: str, allowed: Range) -> str:
    if name == "VLLM_ENGINE_READY_TIMEOUT_S":
        return f"set serve.ready_timeout to {allowed.low:g} or more"
    return f"correct {name} in serve.env, or leave it out"


def _within(text: str, allowed: Range) -> bool:
    try:
        return allowed.low <= float(text) <= allowed.high
    except ValueError:
        return False


RULES: tuple[Rule, ...] = (not_computed, ranges, deprecated, unfilled, secrets)
