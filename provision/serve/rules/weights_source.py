"""Where weights are to come from: what each kind of source needs, and what it doesn't read (S08)."""

from __future__ import annotations

from collections.abc import Iterator

from provision.inventory.model import Model, WeightsSource
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, warn

_SOURCE = "docs/inventory.md, model.source"
_HUBS = ("modelscope", "huggingface")
_OF_HUBS = ("repository", "revision", "endpoint", "token", "proxy")


def weights_can_be_found(layout: Layout) -> Iterator[Violation]:
    """S08: a source says where its files are [docs/inventory.md, model.source]."""
    for model, source in _sources(layout):
        if source.kind in _HUBS:
            if not (source.repository or model.repository):
                yield fail(
                    "S08",
                    f"model.source of kind {source.kind} names no repository, and model.path is a folder",
                    _SOURCE,
                    "set model.source.repository to its name at the hub, such as Qwen/Qwen3-8B",
                )
        elif not source.path:
            where = "of this machine" if source.kind == "controller" else "of that node"
            reason = f"model.source of kind {source.kind} names no folder"
            yield fail("S08", reason, _SOURCE, f"set model.source.path to a folder {where}")
        elif source.kind == "node" and not source.path.startswith("/"):
            yield fail(
                "S08", f"model.source.path {source.path} is not absolute", _SOURCE, "write the whole path, from / on"
            )


def weights_come_from_a_host(layout: Layout) -> Iterator[Violation]:
    """S08: the node that downloads, or has the folder, is a host of the inventory [docs/inventory.md, model.source]."""
    names = [site.node for site in layout.sites]
    for _, source in _sources(layout):
        if source.node and source.node not in names:
            yield fail(
                "S08",
                f"model.source.node {source.node} is no host that serves",
                _SOURCE,
                f"name one of {', '.join(names[:8])}",
            )


def unread_of_the_source(layout: Layout) -> Iterator[Violation]:
    """S08: settings that the kind of source doesn't read [docs/inventory.md, model.source]."""
    for _, source in _sources(layout):
        unread = ("path",) if source.kind in _HUBS else _OF_HUBS
        given = [name for name in unread if getattr(source, name)]
        if given:
            words = f"model.source.{', '.join(given)} {'has' if len(given) == 1 else 'have'} no effect"
            yield warn("S08", f"{words} with kind {source.kind}", _SOURCE, "remove it, or correct model.source.kind")
        if layout.nodes == 1 and "spread" in source.model_fields_set:
            yield warn("S08", "model.source.spread has no effect with one node", _SOURCE, "remove it")


def _sources(layout: Layout) -> Iterator[tuple[Model, WeightsSource]]:
    """Each source once: hosts of one inventory mostly share it."""
    seen: list[Model] = []
    for settings in layout.settings:
        if settings.model.source and settings.model not in seen:
            seen.append(settings.model)
            yield settings.model, settings.model.source


WHOLE: tuple[Rule, ...] = (weights_can_be_found, weights_come_from_a_host, unread_of_the_source)
