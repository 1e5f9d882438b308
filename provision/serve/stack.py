"""What a node and its image hold, judged by the table of compatibility: for the checks of driver, image and the whole.

The facts come from the node, the verdicts from ``verdicts``; which check tells of which is theirs to share out, so that
one cause is told once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.facts.driver import Driver
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve.compatibility import Table, table
from provision.serve.features import asked
from provision.serve.layout import layout_of
from provision.serve.plan import Site
from provision.serve.verdicts import Declared, Observed, Subject, Verdict, image_stack, judge, troubles


def facts(settings: Settings) -> Iterable[Fact[object]]:
    """What ``stack`` looks at."""
    return Driver(), Image(settings.install.ref)


def stack(node: Node) -> Observed:
    """The node's installed driver, and what its image tells of itself."""
    image = node.get(Image(node.settings.install.ref))
    driver = node.get(Driver()).driver
    inside = image_stack(image.env) if image.present else Observed()
    if driver is None:
        return inside
    return replace(
        inside,
        hdk=driver.version or "",
        driver_inner=driver.inner_version or "",
        driver_compatible=driver.compatible,
    )


def judged(node: Node, *subjects: Subject) -> tuple[Verdict, ...]:
    """What the table has against the node, of these subjects. What it has against the declaration alone is left out:
    the layout's rules say that (S09)."""
    asked_of, rows = _asked(node)
    before = judge(asked_of, Observed(), rows)
    return tuple(v for v in troubles(judge(asked_of, stack(node), rows), *subjects) if not _said(v, before))


def packages_judged(node: Node, versions: Mapping[str, str]) -> tuple[Verdict, ...]:
    """What the table has against the packages (pip's name to version) that the image was found to hold."""
    asked_of, rows = _asked(node)
    named = {_ROWS.get(name, name): version for name, version in versions.items()}
    return troubles(judge(asked_of, Observed(packages=named), rows), "package")


_ROWS = {"mooncake-transfer-engine-npu": "mooncake"}
"""Packages that the table calls otherwise than pip does."""


def _said(verdict: Verdict, before: Iterable[Verdict]) -> bool:
    return any(v.subject == verdict.subject and v.outcome == "refuse" and v.source == verdict.source for v in before)


def _asked(node: Node) -> tuple[Declared, Table]:
    rows = table(node.settings.compatibility)
    site = Site(node.name, node.index, "", "", tuple(node.settings.devices or ()))
    return asked(layout_of([(site, node.settings)]), rows), rows
