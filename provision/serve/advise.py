"""Which layouts these nodes and this model could have, each judged by lint's rules, the best for a purpose first.

No speed is foretold: nothing here measures. Layouts are compared by what can be counted and is known to matter:

* what upstream tests of it (vllm-ascend's nightly cases), and what the rules warn of;
* what crosses between nodes for a token: nothing, activations once a stage, or collectives in each layer;
* engines, and devices left idle;
* room for the KV cache: tokens of an engine, and how many of the longest requests fit at once.

``throughput`` wants many engines that wait for nobody; ``latency`` many devices for each layer, in one node;
``context`` the longest request. The order of criteria is in ``_KEYS``; docs/serving.md, "Advice", says why.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from provision.serve.candidates import EVERY, Candidate, asked, candidates, made
from provision.serve.layout import SPANNING, UNLIMITED, Layout
from provision.serve.lint import violations
from provision.serve.plan import Violation
from provision.serve.rules import model
from provision.serve.rules.topologies import dense
from provision.serve.topologies.base import groups_of

Purpose = Literal["throughput", "latency", "context"]
Status = Literal["valid", "unadvised", "rejected"]

PURPOSES: Mapping[Purpose, str] = {
    "throughput": "as many answers as possible at once",
    "latency": "each answer as soon as possible",
    "context": "the longest requests",
}

FEW_REQUESTS = 4
"""An engine whose KV cache holds fewer of the longest requests at once is short of cache: a judgement, not a measure.
Below it, steps have too few requests to fill the devices."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What upstream knows of a topology on Ascend. ``level`` 0 is the best; from 3 on it is not advised."""

    level: int
    text: str
    source: str


_NIGHTLY = "vllm-ascend nightly configurations"
EVIDENCE: Mapping[str, Evidence] = {
    "single": Evidence(0, "upstream's main path", _NIGHTLY),
    "replicas": Evidence(0, "independent servers of upstream's main path", "vllm-router; vLLM single-node serving"),
    "data-parallel": Evidence(0, "upstream's main path over nodes", _NIGHTLY),
    "prefill-decode": Evidence(0, "nightly cases", _NIGHTLY),
    "external-dp": Evidence(1, "nightly only within prefill-decode", _NIGHTLY),
    "tensor-parallel": Evidence(1, "documented, no nightly case", "vllm-ascend pipeline parallel guide (--nnodes)"),
    "pipeline-parallel": Evidence(1, "documented, no nightly case", "vllm-ascend pipeline parallel guide (--nnodes)"),
    "hybrid-dp": Evidence(2, "no case of upstream", "vLLM --data-parallel-hybrid-lb"),
    "ray": Evidence(
        3,
        "a tutorial, no nightly case, many reports of failures",
        "vllm-ascend Ray tutorial; issues 3114, 3529, 4123, 7159, 8306, 10910",
    ),
}
_ON_CPU = Evidence(0, "no NPUs: upstream's cases say nothing of it", "hardware: cpu")
UNADVISED = 3

_WEIGHED = frozenset({"S05", "S09", "S12", "S13", "S16", "S19"})
"""Codes whose warnings are about the layout's sizes, and count in the order."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What crosses between nodes. ``level``: 0 nothing, 1 a KV cache once a request, 2 activations once a stage, 3
    collectives in layers; ``per_token``: how many times a step of one token crosses; None: not known."""

    level: int
    per_token: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """Bytes and tokens of one engine (the decode side's, of prefill-decode). 0, of ``cache`` None: not known.

    ``width``: devices that share each layer. ``coupled``: engines step together, as those of a mixture of experts do.
    ``weights``: bytes a device; ``cache``: tokens that an engine's KV cache holds; ``longest``: tokens of the longest
    request that is asked for; ``at_once``: how many of these all engines hold together; ``context``: tokens of the
    longest request that the model knows, and ``contexts`` how many of those."""

    engines: int
    devices: int
    idle: int
    width: int
    coupled: bool
    weights: float = 0.0
    cache: int | None = None
    longest: int = 0
    at_once: int = 0
    context: int = 0
    contexts: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A layout, judged. ``failures`` and ``warnings`` are those that are not true of every layout. ``known``: the
    profile of the model names it for a cluster like this."""

    candidate: Candidate
    status: Status
    numbers: Numbers
    traffic: Traffic
    evidence: Evidence
    why: str
    failures: tuple[Violation, ...] = ()
    warnings: tuple[Violation, ...] = ()
    asked: bool = False
    known: bool = False

    @property
    def text(self) -> str:
        return self.candidate.text


@dataclass(frozen=True, slots=True)
class Advice:
    """``rows``: valid ones, best first, then unadvised and rejected ones. ``everywhere``: what is true of every layout
    of these nodes; ``unknown``: what could not be judged, and how to make it known."""

    purpose: Purpose
    nodes: int
    devices: int
    rows: tuple[Row, ...]
    everywhere: tuple[Violation, ...] = ()
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def of(self, status: Status) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.status == status)

    def ranked(self, purpose: Purpose) -> Advice:
        """The same for another purpose."""
        return replace(self, purpose=purpose, rows=_sorted(self.rows, purpose))

    @property
    def asked(self) -> Row:
        """The layout that the inventory asks for."""
        return next(row for row in self.rows if row.asked)

    @property
    def rank(self) -> int | None:
        """The place of the layout asked for among the valid ones, from 1; None where it is none."""
        return next((i for i, row in enumerate(self.of("valid"), start=1) if row.asked), None)


def advise(layout: Layout, purpose: Purpose) -> Advice:
    """All layouts of the same nodes and settings, judged and ranked. ``layout`` is the one that the inventory asks for,
    and is always among them."""
    wanted = asked(layout)
    every = dict.fromkeys((wanted, *candidates(layout, _worth_trying(layout))))
    tried = {each: layout if each == wanted else made(layout, each) for each in every}
    judged = {each: violations(made_one) for each, made_one in tried.items()}
    everywhere = _common(list(judged.values()))
    rows = [_row(each, tried[each], _without(found, everywhere), each == wanted) for each, found in judged.items()]
    return Advice(
        purpose=purpose,
        nodes=layout.nodes,
        devices=_all_devices(layout),
        rows=_sorted(rows, purpose),
        everywhere=everywhere,
        unknown=_unknown(layout),
        notes=_notes(layout),
    )


def _worth_trying(layout: Layout) -> tuple[str, ...]:
    """On one node data-parallel and hybrid-dp are what single is."""
    alike = {"data-parallel", "hybrid-dp"} if layout.nodes == 1 else set()
    return tuple(name for name in EVERY if name not in alike)


def _common(found: Sequence[tuple[Violation, ...]]) -> tuple[Violation, ...]:
    """Violations that every layout has: no choice of one mends them."""
    counts = Counter(violation for each in found for violation in each)
    return tuple(violation for violation, count in counts.items() if count == len(found) and len(found) > 1)


def _without(found: Iterable[Violation], everywhere: Sequence[Violation]) -> tuple[Violation, ...]:
    return tuple(violation for violation in found if violation not in everywhere)


def _row(candidate: Candidate, layout: Layout, found: Sequence[Violation], is_asked: bool) -> Row:
    failures = tuple(violation for violation in found if violation.severity == "fail")
    warnings = tuple(violation for violation in found if violation.severity == "warn")
    evidence = EVIDENCE[layout.topology]
    if not layout.accelerator.default_devices and evidence.level < UNADVISED:
        evidence = _ON_CPU
    status: Status = "rejected" if failures else "unadvised" if evidence.level >= UNADVISED else "valid"
    if failures:
        first = f"{failures[0].code}: {failures[0].reason} [{failures[0].source}]"
        empty = Numbers(engines=0, devices=0, idle=0, width=layout.tp, coupled=False)
        nothing = Traffic(0, None, "")
        return Row(candidate, status, empty, nothing, evidence, first, failures, warnings, is_asked)
    groups = groups_of(layout)
    numbers, traffic = _numbers(layout, groups), _traffic(layout, groups)
    why = _why(numbers, traffic, evidence)
    return Row(candidate, status, numbers, traffic, evidence, why, failures, warnings, is_asked, _is_known(layout))


def _is_known(layout: Layout) -> bool:
    """Whether the profile names it, as data-parallel on one node or as single."""
    cluster = f"{layout.nodes} x {layout.head.hardware}"
    names = {"single", "data-parallel"} if layout.topology == "single" else {layout.topology}
    return any(
        known.cluster == cluster
        and known.topology in names
        and (known.tensor_parallel_size, known.data_parallel_size) == (layout.tp, layout.dp)
        for known in (layout.profile.layouts if layout.profile else ())
    )


# ---- what can be counted


def _numbers(layout: Layout, groups: Sequence[Layout]) -> Numbers:
    answering = [group for group in groups if group.role != "prefill"]
    one = answering[0]
    used = sum(min(group.devices_needed, group.devices_available) * group.nodes for group in groups)
    engines = sum(group.dp for group in answering)
    caches = [_cache_tokens(group) for group in groups]
    cache = None if None in caches else min(tokens for tokens in caches if tokens is not None)
    longest = model.longest_request(one)
    context = max(longest, layout.shape.context if layout.shape else 0)
    return Numbers(
        engines=engines,
        devices=used,
        idle=max(0, _all_devices(layout) - used),
        width=one.tp,
        coupled=any(group.dp > 1 for group in answering) and not dense(layout),
        weights=max(model.weights_per_device(group) for group in groups),
        cache=cache,
        longest=longest,
        at_once=(cache or 0) // longest * engines if longest else 0,
        context=context,
        contexts=(cache or 0) // context * engines if context else 0,
    )


def _all_devices(layout: Layout) -> int:
    return sum(len(site.devices) for site in layout.sites) if layout.devices_available != UNLIMITED else 0


def _cache_tokens(group: Layout) -> int | None:
    """Tokens that the KV cache of one engine holds: what weights and reserve leave of a device, by what a token takes
    there. Each device of an engine holds its part of the same tokens."""
    longest = model.longest_request(group)
    token = model.request_bytes(group) / longest if longest else 0.0
    capacity = group.device_bytes(group.sites[0])
    weights = model.weights_per_device(group)
    if not token or not capacity or not weights:
        return None
    room = capacity * model.utilization(group, 0) - weights - model.reserve(group)
    return max(0, int(room / token))


def _traffic(layout: Layout, groups: Sequence[Layout]) -> Traffic:
    found = [_group_traffic(group) for group in groups if group.nodes > 1]
    if len({group.role for group in groups}) > 1:
        found.append(Traffic(1, 0, "the KV cache once a request"))
    if not found:
        return Traffic(0, 0, "nothing")
    worst = max(found, key=lambda each: each.level)
    texts = dict.fromkeys(each.text for each in found if each.text != "nothing")
    return Traffic(worst.level, worst.per_token, " and ".join(texts) or "nothing")


def _group_traffic(group: Layout) -> Traffic:
    """Of a group over several nodes. Tensor parallel sums twice a layer (after attention, and after feed-forward)
    [Megatron-LM]; experts are sent to and fetched from twice a layer that has them [vLLM, expert and data parallel];
    pipeline stages hand their activations on once."""
    shape = group.shape
    if group.topology in SPANNING:
        if group.pp >= group.nodes and group.pp > 1:
            return Traffic(2, group.nodes - 1, f"activations {group.nodes - 1}x a token")
        return Traffic(3, 2 * shape.layers if shape and shape.layers else None, "2 all-reduces a layer")
    if not group.experts:
        # Nothing is known of experts where nothing is known of the model.
        return Traffic(0, 0, "nothing") if shape and shape.heads else Traffic(3, None, "collectives, if it has experts")
    layers = shape.expert_layers if shape else 0
    return Traffic(3, 2 * layers if layers else None, "2 collectives a layer of experts")


def _why(numbers: Numbers, traffic: Traffic, evidence: Evidence) -> str:
    engines = f"{numbers.engines} engine{'s' * (numbers.engines != 1)} of {numbers.width} for a layer"
    parts = [engines, f"between nodes {traffic.text}"]
    if numbers.cache is not None:
        parts.append(f"cache for {numbers.cache} tokens an engine, {numbers.at_once} requests of {numbers.longest}")
    if numbers.idle:
        parts.append(f"{numbers.idle} devices idle")
    return "; ".join((*parts, evidence.text))


# ---- the order


Key = tuple[int | float | bool, ...]


def _short(row: Row) -> bool:
    """Whether an engine is short of cache."""
    numbers = row.numbers
    return numbers.cache is not None and numbers.cache < FEW_REQUESTS * numbers.longest


def _throughput(row: Row) -> Key:
    n = row.numbers
    return (_short(row), row.traffic.level, n.idle, n.coupled, not row.known, -n.engines, -n.at_once)


def _latency(row: Row) -> Key:
    n = row.numbers
    return (row.traffic.level, -n.width, _short(row), n.coupled, n.idle, not row.known, -n.engines)


def _context(row: Row) -> Key:
    n = row.numbers
    return (-min(n.cache or 0, n.context), -n.contexts, row.traffic.level, n.idle, not row.known)


_KEYS: Mapping[Purpose, Callable[[Row], Key]] = {"throughput": _throughput, "latency": _latency, "context": _context}
"""Smaller is better, the first criterion that differs decides."""


_ORDER: tuple[Status, ...] = ("valid", "unadvised", "rejected")


def _sorted(rows: Iterable[Row], purpose: Purpose) -> tuple[Row, ...]:
    return tuple(sorted(rows, key=lambda row: (_ORDER.index(row.status), *_rank(row, purpose))))


def _rank(row: Row, purpose: Purpose) -> tuple[int | float | bool | str, ...]:
    worries = sum(violation.code in _WEIGHED for violation in row.warnings)
    return (row.evidence.level, worries, *_KEYS[purpose](row), EVERY.index(row.candidate.topology), row.text)


# ---- what can't be known


def _unknown(layout: Layout) -> tuple[str, ...]:
    found = []
    remedy = "give --model (a profile's name, or the model's config.json or folder) or set model.profile"
    if not layout.shape or not layout.shape.heads:
        found.append(f"heads and experts of the model are not known, so any tensor parallel size seems legal: {remedy}")
    if layout.accelerator.default_devices and model.weights_of(layout) is None:
        found.append(
            f"the size of the weights is not known, so memory was not judged, and the order says little: {remedy}"
        )
    if layout.accelerator.image_suffixes is not None and layout.release is None:
        found.append("the image's tag names no release, so what a release can't was not judged")
    return tuple(found)


def _notes(layout: Layout) -> tuple[str, ...]:
    found = []
    if layout.nodes == 1:
        found.append(
            "one node: data-parallel and hybrid-dp are what single is; tensor-parallel, pipeline-parallel, ray and "
            "prefill-decode need two nodes or more"
        )
    if not layout.accelerator.default_devices:
        found.append("cpu: no devices limit the ranks of a node, and memory is not judged")
    return tuple(found)


def paste(layout: Layout, candidate: Candidate) -> Mapping[str, str | int | None]:
    """The keys of ``serve`` to set for all hosts. What the inventory has and the candidate hasn't is set back."""
    serve = layout.head.serve
    present: dict[str, tuple[object, str | int | None]] = {
        "pipeline_parallel_size": (serve.pipeline_parallel_size, 1),
        "data_parallel_size": (serve.data_parallel_size, 1),
        "replicas_per_node": (serve.replicas_per_node, None),
        "group_topology": (serve.group_topology, "data-parallel"),
    }
    back = {name: default for name, (value, default) in present.items() if value != default}
    return {**candidate.serve, **{name: value for name, value in back.items() if name not in candidate.serve}}
