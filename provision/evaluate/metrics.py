"""Prometheus' text format, and what vLLM's ``/metrics`` tells of each data-parallel engine.

``/health`` and ``/v1/models`` answer 200 while an engine is dead; the per-engine counters are the only place where
one endpoint shows that every engine behind it has generated [domain 8.2].
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

GENERATED = "vllm:generation_tokens_total"
PROMPTED = "vllm:prompt_tokens_total"
SUCCEEDED = "vllm:request_success_total"
RUNNING = "vllm:num_requests_running"

_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?$")
_LABEL = re.compile(r'\s*([a-zA-Z_]\w*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(?:,|$)')
_ESCAPE = re.compile(r"\\(.)")
_EXEMPLAR = re.compile(r"\s+#\s+\{.*$")


@dataclass(frozen=True, slots=True)
class Sample:
    """One line of a metrics page."""

    name: str
    value: float
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EngineCounters:
    """What one engine has done since it started, and the requests it holds now. What the page lacks is None."""

    generated: float | None = None
    prompted: float | None = None
    succeeded: float | None = None
    running: float | None = None

    def moved_since(self, before: EngineCounters) -> bool:
        """Whether it has generated since: by its generated tokens, else (another vLLM) by its finished requests."""
        for now, then in ((self.generated, before.generated), (self.succeeded, before.succeeded)):
            if now is not None:
                return now > (then or 0.0)
        return False

    def read_since(self, before: EngineCounters) -> bool:
        """Whether it has read prompts since: by their tokens, else (another vLLM) by its finished requests."""
        for now, then in ((self.prompted, before.prompted), (self.succeeded, before.succeeded)):
            if now is not None:
                return now > (then or 0.0)
        return False


def samples(page: str) -> Iterator[Sample]:
    """The samples of a page, in order. Comments and whatever is no sample are left out."""
    for line in page.splitlines():
        text = _EXEMPLAR.sub("", line.strip())
        match = None if text.startswith("#") else _SAMPLE.fullmatch(text)
        value = _number(match["value"]) if match else None
        if match and value is not None:
            yield Sample(match["name"], value, dict(_labels(match["labels"] or "")))


def engine_counters(page: str) -> dict[str, EngineCounters]:
    """Counters by engine number as text; ``"0"`` where the page has no engine label (one engine, older vLLM)."""
    sums: dict[str, dict[str, float]] = {}
    for sample in samples(page):
        name = sample.name if sample.name == RUNNING else f"{sample.name.removesuffix('_total')}_total"
        if name in (GENERATED, PROMPTED, SUCCEEDED, RUNNING):
            counts = sums.setdefault(sample.labels.get("engine", "0"), {})
            counts[name] = counts.get(name, 0.0) + sample.value
    return {
        engine: EngineCounters(*(counts.get(name) for name in (GENERATED, PROMPTED, SUCCEEDED, RUNNING)))
        for engine, counts in sums.items()
    }


def by_rank(counters: Mapping[str, EngineCounters], ranks: Sequence[int]) -> dict[int, EngineCounters]:
    """The counters of one server by the data-parallel ranks behind it.

    A server of some of a group's ranks labels its engines by their ranks; one that numbers its own from 0 (older vLLM,
    external ranks) has as many as ranks and none of their numbers.
    """
    known = {rank: counters[str(rank)] for rank in ranks if str(rank) in counters}
    own = [counters.get(str(number)) for number in range(len(ranks))]
    if len(known) < len(ranks) and len(counters) == len(ranks):
        return {rank: found for rank, found in zip(ranks, own, strict=True) if found is not None}
    return known


def _labels(text: str) -> Iterator[tuple[str, str]]:
    for name, value in _LABEL.findall(text):
        yield name, _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], value)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
