"""Names of arguments: those that vLLM has, in ``engine_args`` and in ``argument_order`` (S08, S09).

A misspelled argument ends ``vllm serve`` at once, with its whole usage text; the lists of releases that were looked at
tell it before. They are always behind the world, so what they don't know is a warning.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from provision.registry import did_you_mean
from provision.serve import compatibility
from provision.serve.argv import COMPUTED, HEAD_ONLY, SECRET, computed, normal, positive
from provision.serve.known_arguments import known_arguments
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.releases import Release, parse_release
from provision.serve.rules.base import Rule, fail, representatives, warn

_LISTS = "vllm serve of vLLM 0.10.2 to 0.32.0, provision/serve/arguments.yaml"
_OWN = frozenset(
    {
        "distributed-executor-backend",
        "enable-expert-parallel",
        "gpu-memory-utilization",
        "kv-transfer-config",
        "max-model-len",
    }
)
"""Arguments beside COMPUTED that other keys of an inventory may give a value to."""


def vllm_of(layout: Layout) -> Release | None:
    """The release of vLLM inside the image; None where it isn't known."""
    if not layout.release:
        return None
    row = compatibility.table(layout.head.compatibility).release(layout.release.name)
    return parse_release(row.vllm) if row and row.vllm else None


def known_names(layout: Layout) -> Iterator[Violation]:
    """S08: an argument of engine_args is one of vLLM's, and one that the image's release has [vllm serve]."""
    vllm, known = vllm_of(layout), known_arguments()
    for name in sorted({normal(name) for settings in layout.settings for name in settings.serve.engine_args}):
        plain = _plain(name)
        if computed(name):
            continue
        if plain not in known:
            if plain.replace("-", "").isalnum():
                yield _unknown("engine_args", plain)
        elif vllm and known[plain].lacks(vllm):
            yield warn(
                "S08",
                f"engine_args: vLLM {vllm}, which vllm-ascend {layout.release} holds, has no {plain}",
                _LISTS,
                f"remove it: releases {known[plain].first} to {known[plain].last} of those looked at have it",
            )


def _plain(name: str) -> str:
    """The name of the list: without ``no-`` and what stands behind a dot."""
    head = name.partition(".")[0]
    return head if head in known_arguments() else positive(head)


def _unknown(where: str, name: str) -> Violation:
    near = did_you_mean(name, sorted(known_arguments()))
    remedy = near if near.startswith("did you mean") else "leave it, if your image's vllm serve --help has it"
    return warn("S08", f"{where}: {name} is no argument of vllm serve that is known", _LISTS, remedy)


def release_has_topology(layout: Layout) -> Iterator[Violation]:
    """S09: the image's vLLM has the arguments that the topology is made of [vllm serve]."""
    vllm = vllm_of(layout)
    needed = {"tensor-parallel": "nnodes", "pipeline-parallel": "nnodes", "hybrid-dp": "data-parallel-hybrid-lb"}
    name = needed.get(layout.topology)
    if vllm and name and layout.nodes > 1 and known_arguments()[name].lacks(vllm):
        yield fail(
            "S09",
            f"topology {layout.topology} needs --{name}, which vLLM {vllm} of vllm-ascend {layout.release} has not",
            _LISTS,
            f"use an image with vLLM {known_arguments()[name].first} or later, or another topology",
        )


def ordered_names(layout: Layout) -> Iterator[Violation]:
    """S08: argument_order names what has a value, and gives nothing twice [vllm serve takes the last of repeated
    arguments]."""
    given = {normal(name) for settings in layout.settings for name in settings.serve.engine_args}
    for index in representatives(layout):
        serve = layout.settings[index].serve
        counts: Counter[str] = Counter()
        for entry in serve.argument_order:
            spelled, equals, value = entry.lstrip("-").partition("=")
            name = normal(spelled)
            counts[positive(name)] += 1
            yield from _ordered_literal(name, value, serve.as_given) if equals else _ordered_name(name, given, layout)
        for name, count in counts.items():
            if count > 1:
                yield warn(
                    "S08",
                    f"argument_order: {name} is written {count} times, and vLLM takes the last",
                    "vllm serve takes the last of repeated arguments",
                    "keep the last of them",
                )


def _ordered_name(name: str, given: set[str], layout: Layout) -> Iterator[Violation]:
    plain = _plain(name)
    if name in given or plain in COMPUTED or plain in _OWN or _of_profile(name, layout):
        return
    if plain in known_arguments():
        yield warn(
            "S08",
            f"argument_order: {name} has no value, so it is not written",
            "docs/serving.md, argument_order",
            f"give it in engine_args, as {name}=VALUE, or remove it",
        )
        return
    near = did_you_mean(name, sorted({*known_arguments(), *given}))
    remedy = near if near.startswith("did you mean") else f"give it in engine_args, as {name}=VALUE, or remove it"
    reason = f"argument_order: {name} is neither computed, nor in engine_args, nor an argument of vllm serve"
    yield fail("S08", reason, _LISTS, remedy)


def _of_profile(name: str, layout: Layout) -> bool:
    profile = layout.profile
    if not profile or not layout.profile_applies:
        return False
    return any(normal(key) == name for extra in (profile.always, profile.multi_node) for key in extra.engine_args)


def _ordered_literal(name: str, value: str, as_given: bool) -> Iterator[Violation]:
    plain = _plain(name)
    if plain in COMPUTED:
        rule, secret = COMPUTED[plain], plain in SECRET
        make = warn if as_given and not secret else fail
        shown = name if secret else f"{name}={value}"
        yield make(
            "S08",
            f"argument_order: {shown} is written as it stands, whatever is computed: {rule.why}",
            "ranks, ports and devices are computed without it",
            f"{'remove it' if secret else f'write {name} alone'}; {rule.instead} says it",
        )
    elif plain not in known_arguments():
        yield _unknown("argument_order", plain)


def headless_words(layout: Layout) -> Iterator[Violation]:
    """S06: a headless process has no API, so host and port on its command line do nothing [vllm serve --headless]."""
    if layout.topology not in ("data-parallel", "tensor-parallel", "pipeline-parallel"):
        return
    for index in representatives(layout):
        order = {normal(entry.partition("=")[0]) for entry in layout.settings[index].serve.argument_order}
        workers = [site.node for i, site in enumerate(layout.sites) if i and _same(layout, i, index)]
        named = sorted(order & {"host", "port", *HEAD_ONLY})
        if named and workers:
            yield warn(
                "S06",
                f"argument_order: {' and '.join(named)} on {workers[0]}, which is headless, is ignored there",
                "vllm serve --headless has no API",
                "name it on the head alone, or leave it: it does no harm",
            )


def _same(layout: Layout, one: int, other: int) -> bool:
    return layout.settings[one].serve == layout.settings[other].serve


RULES: tuple[Rule, ...] = (known_names, release_has_topology, ordered_names, headless_words)
