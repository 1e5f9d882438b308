"""Launches of the clusters that have golden plans, as ``render`` would make them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from provision import yamlio
from provision.inventory.model import Settings
from provision.serve.build import build_plan
from provision.serve.launch import Launch
from provision.serve.render import render_scripts
from tests.serve.clusters import pairs, settings

CLUSTERS: dict[str, Any] = yamlio.parse(yamlio.read_text(Path(__file__).parents[1] / "golden" / "clusters.yaml")).data


def loaded(text: str) -> list[Any]:
    """The documents of a YAML text."""
    return list(yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def launch_of(name: str, **serve: object) -> tuple[Launch, Mapping[str, Settings]]:
    """The launch of a cluster of ``golden/clusters.yaml`` and the settings by node; ``serve`` over its own."""
    return _made(name, **serve) if serve else _as_it_is(name)


@cache
def _as_it_is(name: str) -> tuple[Launch, Mapping[str, Settings]]:
    return _made(name)


def _made(name: str, **serve: object) -> tuple[Launch, Mapping[str, Settings]]:
    case = CLUSTERS[name]
    hosts = case.get("hosts", [{}] * case["nodes"])
    given = [
        settings(case["hardware"], profile=case.get("profile"), **{**case["serve"], **host, **serve}) for host in hosts
    ]
    return launch(given, case["nodes"], interface=case.get("interface", ""))


def launch(given: list[Settings], count: int, *, interface: str = "") -> tuple[Launch, Mapping[str, Settings]]:
    placed = [(site, own) for (site, _), own in zip(pairs(given[0], count, interface=interface), given, strict=True)]
    plan = build_plan(placed)
    by_node = {site.node: own for site, own in placed}
    return Launch(plan, render_scripts(plan, by_node)), by_node


def privileged(given: Settings) -> Settings:
    return given.model_copy(update={"install": given.install.model_copy(update={"privileged": True})})
