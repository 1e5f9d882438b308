"""``serve.engine_args``: nothing that is computed, nothing twice, JSON that parses (S08)."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator

from provision.serve.argv import COMPUTED, JSON_ARGUMENTS, computed, normal, positive
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail

_SOURCE = "vllm serve takes the last of repeated arguments"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\Z")


def names(layout: Layout) -> Iterator[Violation]:
    """S08: an argument's name is a word [vllm serve]."""
    for name in _all_names(layout):
        if not _NAME.match(name.lstrip("-")):
            yield fail(
                "S08", f"engine_args: {name!r} is no name of an argument", "vllm serve", "write it as max-num-seqs: 64"
            )


def not_computed(layout: Layout) -> Iterator[Violation]:
    """S08: what the layout computes is not given again [vllm serve takes the last of repeated arguments]."""
    for name in _all_names(layout):
        full = computed(normal(name))
        if full is not None:
            rule = COMPUTED[full]
            meant = "" if normal(name) == full else f" means --{full}, which"
            reason = f"engine_args: {normal(name)}{meant} cannot be given: {rule.why}"
            yield fail("S08", reason, _SOURCE, f"remove it; {rule.instead} says it")


def executor(layout: Layout) -> Iterator[Violation]:
    """S08: the executor follows from the topology [vLLM's multi-node mp executor]."""
    for name in _all_names(layout):
        if normal(name) != "distributed-executor-backend":
            continue
        value = layout.head.serve.engine_args.get(name)
        if layout.spans_nodes or value == "ray":
            yield fail(
                "S08",
                f"engine_args: distributed-executor-backend {value} cannot be given with topology {layout.topology}",
                "topology tensor-parallel runs vLLM's multi-node mp executor",
                "remove it",
            )


def not_twice(layout: Layout) -> Iterator[Violation]:
    """S08: one value an argument, whichever way it is spelled [vllm serve takes the last]."""
    for settings in layout.settings[:1]:
        serve = settings.serve
        spelled = Counter(positive(normal(name)) for name in serve.engine_args)
        if serve.max_model_len is not None:
            spelled["max-model-len"] += 1
        if serve.gpu_memory_utilization is not None:
            spelled["gpu-memory-utilization"] += 1
        for name, count in spelled.items():
            if count > 1:
                yield fail(
                    "S08", f"{name} is given {count} times in serve and engine_args", _SOURCE, "keep one of them"
                )


def expert_parallel(layout: Layout) -> Iterator[Violation]:
    """S08: serve.expert_parallel and engine_args say the same [vllm serve takes the last]."""
    said = {normal(name): value for name, value in layout.head.serve.engine_args.items()}
    asked, argument = layout.head.serve.expert_parallel, said.get("enable-expert-parallel")
    if asked is not None and argument is not None and asked != argument:
        yield fail(
            "S08", "serve.expert_parallel and enable-expert-parallel disagree", _SOURCE, "keep serve.expert_parallel"
        )
    if "no-enable-expert-parallel" in said:
        reason = "engine_args: no-enable-expert-parallel cannot be given"
        yield fail("S08", reason, "serve.expert_parallel decides it", "set serve.expert_parallel: false")


def api_servers(layout: Layout) -> Iterator[Violation]:
    """S06: the head has at least one API server [vllm serve]."""
    for name, value in layout.head.serve.engine_args.items():
        if normal(name) == "api-server-count" and value is not None and not (isinstance(value, int) and value >= 1):
            yield fail(
                "S06", f"api-server-count {value} leaves the head without API", "vllm serve", "set it to 1 or more"
            )


def json_values(layout: Layout) -> Iterator[Violation]:
    """S08: a string for an argument that takes JSON must be JSON [vllm serve parses it]."""
    for name, value in layout.head.serve.engine_args.items():
        if normal(name) in JSON_ARGUMENTS and isinstance(value, str):
            try:
                json.loads(value)
            except ValueError as error:
                reason = f"engine_args: {normal(name)} is no JSON: {error}"
                yield fail("S08", reason, "vllm serve parses it as JSON", "write it as a YAML mapping")


def model_path(layout: Layout) -> Iterator[Violation]:
    """S08: Docker separates the parts of a mount by colons [docker run -v]."""
    if ":" in layout.head.model.path:
        reason = f"model.path {layout.head.model.path} holds a colon, which a mount cannot"
        yield fail("S08", reason, "docker run -v", "rename the folder, or make a link without a colon")


def no_nul(layout: Layout) -> Iterator[Violation]:
    """S08: no word of a command line holds a NUL [POSIX execve]."""
    serve = layout.head.serve
    for where, values in (("engine_args", serve.engine_args), ("env", serve.env)):
        for name, value in values.items():
            if "\0" in f"{name}{value}":
                yield fail("S08", f"{where}: {name!r} holds a NUL character", "POSIX execve", "remove it")


def _all_names(layout: Layout) -> list[str]:
    return sorted({name for settings in layout.settings for name in settings.serve.engine_args})


RULES: tuple[Rule, ...] = (
    names,
    not_computed,
    executor,
    not_twice,
    expert_parallel,
    api_servers,
    json_values,
    model_path,
    no_nul,
)
