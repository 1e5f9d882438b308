"""The command line of ``vllm serve``: how names and values become words, and which arguments are ours to give.

An argument's name may be written with dashes or underscores. Its value decides the form:

=============  ==========================================================================================
``true``       ``--name``
``false``      ``--no-name`` for the switches that vLLM may turn on by itself (``SWITCHES``), else left out
``null``       left out, and a profile's value for it with it
mapping        ``--name`` and its JSON, keys sorted
list           ``--name`` and each element as a word, mappings in it as JSON
anything else  ``--name value``
=============  ==========================================================================================

Of two sources of an argument one value wins whole: the profile's for every cluster, the profile's for several nodes,
those of ``serve.scenario``, ``serve.max_model_len`` and ``serve.gpu_memory_utilization``, ``serve.engine_args``, each
over those before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from provision.inventory.model import Serve
from provision.serve.layout import Layout
from provision.serve.profiles import Argument
from provision.serve.scenarios import scenario_of

SWITCHES = frozenset(
    {
        "async-scheduling",
        "disable-hybrid-kv-cache-manager",
        "enable-chunked-prefill",
        "enable-expert-parallel",
        "enable-prefix-caching",
    }
)
"""On-off arguments whose default is for vLLM to choose: leaving them out does not turn them off."""

HEAD_ONLY = frozenset({"api-server-count"})
"""Arguments that a headless process refuses [vllm serve: --api-server-count with --headless is an error]."""


@dataclass(frozen=True, slots=True)
class Computed:
    """Where to say instead what an argument would say. ``why`` it is computed, in a sentence."""

    instead: str
    why: str


_TOPOLOGY = Computed("serve.topology", "it follows from the topology")
_RANK = Computed("serve.topology", "it differs by node and is computed from the topology")
_ADDRESS = Computed("qnext.data_address of the head's host", "every node must use the head's address")

COMPUTED: Mapping[str, Computed] = {
    "tensor-parallel-size": Computed("serve.tensor_parallel_size", "ranks and devices are computed from it"),
    "pipeline-parallel-size": Computed("serve.pipeline_parallel_size", "ranks and devices are computed from it"),
    "data-parallel-size": Computed("serve.data_parallel_size", "ranks and devices are computed from it"),
    "data-parallel-size-local": _RANK,
    "data-parallel-start-rank": _RANK,
    "data-parallel-rank": _RANK,
    "data-parallel-address": _ADDRESS,
    "data-parallel-rpc-port": Computed("serve.data_parallel_rpc_port", "every node must use the same"),
    "data-parallel-hybrid-lb": _TOPOLOGY,
    "data-parallel-external-lb": _TOPOLOGY,
    "headless": _TOPOLOGY,
    "nnodes": _TOPOLOGY,
    "node-rank": _RANK,
    "master-addr": _ADDRESS,
    "master-port": Computed("serve.master_port", "every node must use the same"),
    "host": Computed("serve.host", "readiness and proof use it"),
    "port": Computed("serve.port", "readiness and proof use it"),
    "uds": Computed("serve.host and serve.port", "readiness and proof use them"),
    "served-model-name": Computed("model.served_name", "the proof asks for this name"),
    "model": Computed("model.path", "the weights are checked there"),
    "hf-token": Computed("serve.secret_env, as HF_TOKEN", "a secret on a command line is readable by every user"),
    "api-key": Computed("serve.api_key", "a secret on a command line is readable by every user of the node"),
}
"""Arguments that ``serve.engine_args`` may not give."""

SECRET = frozenset({"api-key", "hf-token"})
"""Computed arguments whose values are never shown."""

_SHORT_FORMS: Mapping[str, str] = {
    "tp": "tensor-parallel-size",
    "pp": "pipeline-parallel-size",
    "dp": "data-parallel-size",
    "dpl": "data-parallel-size-local",
    "dpn": "data-parallel-rank",
    "dpr": "data-parallel-start-rank",
    "dpa": "data-parallel-address",
    "dpp": "data-parallel-rpc-port",
}

JSON_ARGUMENTS = frozenset(
    {
        "additional-config",
        "attention-config",
        "default-chat-template-kwargs",
        "ec-transfer-config",
        "eplb-config",
        "hf-overrides",
        "kernel-config",
        "kv-events-config",
        "kv-transfer-config",
        "limit-mm-per-prompt",
        "media-io-kwargs",
        "mm-processor-kwargs",
        "model-loader-extra-config",
        "override-generation-config",
        "pooler-config",
        "profiler-config",
        "reasoning-config",
        "rope-scaling",
        "speculative-config",
        "structured-outputs-config",
    }
)
"""Arguments whose value, where it is a string, must be JSON. (compilation-config also takes a level,
generation-config a folder.)"""


def normal(name: str) -> str:
    """An argument's name as vLLM normalises it: no leading dashes, dashes for underscores up to the first dot."""
    head, dot, rest = name.lstrip("-").partition(".")
    return head.replace("_", "-") + dot + rest


def positive(name: str) -> str:
    """The name of the switch that ``no-name`` turns off."""
    return name.removeprefix("no-")


def computed(name: str) -> str | None:
    """The computed argument that ``name`` is, abbreviates (argparse would take it) or turns off; None for any other."""
    plain = positive(name).partition(".")[0]
    if plain in COMPUTED:
        return plain
    if plain in _SHORT_FORMS:
        return _SHORT_FORMS[plain]
    return next((full for full in COMPUTED if full.startswith(plain) and len(plain) > 2), None)


def engine_arguments(layout: Layout, index: int) -> dict[str, Argument]:
    """All arguments of site ``index`` that no topology computes, by normal name, sorted; None for those left out.

    ``enable-expert-parallel`` is decided by the layout and therefore not among them.
    """
    merged: dict[str, Argument] = {}
    for source in _sources(layout, index):
        for name, value in source.items():
            _drop_opposite(merged, name)
            merged[name] = value
    merged.pop("enable-expert-parallel", None)
    return dict(sorted(merged.items()))


def _sources(layout: Layout, index: int) -> Iterator[Mapping[str, Argument]]:
    if layout.profile and layout.profile_applies:
        yield _normal_names(layout.profile.always.engine_args)
        if layout.nodes > 1:
            yield _normal_names(layout.profile.multi_node.engine_args)
        scenario = scenario_of(layout.profile, layout.settings[index].serve.scenario)
        yield _normal_names(scenario.engine_args) if scenario else {}
    serve = layout.settings[index].serve
    given = {"max-model-len": serve.max_model_len, "gpu-memory-utilization": serve.gpu_memory_utilization}
    yield {name: value for name, value in given.items() if value is not None}
    yield _normal_names(serve.engine_args)


def _normal_names(arguments: Mapping[str, Argument]) -> dict[str, Argument]:
    return {normal(name): value for name, value in arguments.items()}


def _drop_opposite(merged: dict[str, Argument], name: str) -> None:
    merged.pop(f"no-{name}", None)
    if name.startswith("no-"):
        merged.pop(positive(name), None)


def words(name: str, value: Argument) -> tuple[str, ...]:
    """The words of one argument; none where it is left out."""
    if value is None or value == []:
        return ()
    if value is True:
        return (f"--{name}",)
    if value is False:
        return (f"--no-{name}",) if name in SWITCHES else ()
    if isinstance(value, list):
        return (f"--{name}", *(_text(element) for element in value))
    text = _text(value)
    return (f"--{name}={text}",) if text.startswith("-") else (f"--{name}", text)


def _text(value: object) -> str:
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return str(value)


def allowed(arguments: Mapping[str, Argument], *, headless: bool) -> dict[str, Argument]:
    """``arguments`` without those that a headless process refuses."""
    return {name: value for name, value in arguments.items() if not (headless and name in HEAD_ONLY)}


VLLM_DEFAULTS: Mapping[str, Argument] = {
    "data-parallel-rpc-port": 29550,
    "data-parallel-size": 1,
    "host": "0.0.0.0",
    "master-port": 29501,
    "pipeline-parallel-size": 1,
    "port": 8000,
    "tensor-parallel-size": 1,
}
"""What vLLM takes where a computed argument isn't given [vllm/config/parallel.py, vllm serve --help]."""


def ordered(
    serve: Serve, needed: Mapping[str, Argument], given: Mapping[str, Argument], spare: Mapping[str, Argument]
) -> tuple[str, ...]:
    """All words after ``vllm serve MODEL``: the computed arguments in their order, then those ``given`` by name; where
    the operator orders them, first the named ones, spelled as there.

    ``spare`` are computed values that are written only where they are named. As given, a computed argument that isn't
    named is left out where vLLM would take the same value.
    """
    left = {**needed, **given}
    out: list[str] = []
    for entry in serve.argument_order:
        spelled, equals, literal = entry.lstrip("-").partition("=")
        name = normal(spelled)
        if equals:
            out += words(spelled, literal)
        elif name in left or name in spare:
            out += words(spelled, left.pop(name, spare.get(name)))
    for name, value in left.items():
        if not (serve.as_given and name in needed and VLLM_DEFAULTS.get(name) == value):
            out += words(name, value)
    return tuple(out)
