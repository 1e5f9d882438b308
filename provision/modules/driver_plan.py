"""Say what driver, firmware and CANN each node has, what it should have and why, and the commands for it, in order.

Nothing is changed: it is a runbook. Why is what the checks ``driver`` and ``compatibility`` find. What is wanted is
what the inventory's packages are, else what those checks name; where only the vendor can tell it, that is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from provision.accel.ascend.version import Version, parse_version
from provision.checks import runner
from provision.checks.policy import Choice
from provision.facts.base import Fact
from provision.facts.system import Os
from provision.findings import Finding
from provision.install import driver
from provision.install.driver import CANN, HOST, Given, Installed, Kind, Step
from provision.inventory.model import Settings
from provision.modules.base import ClusterRun, ModuleArgs, Outcome
from provision.modules.driver import facts_of, installed, needed
from provision.node import Cluster, Node
from provision.serve import stack
from provision.serve.compatibility import table
from provision.serve.images import parse_image

SCOPE = "cluster"

CHECKS = ("driver", "compatibility")


class Args(ModuleArgs):
    """None: everything is the inventory's."""


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    if settings.hardware == "cpu":
        return []
    return [*facts_of(settings), *runner.required_facts(settings, Choice(only=CHECKS), ("node",))]


@dataclass(frozen=True, slots=True)
class Advice:
    """What there is to say of a node: what it has, why it needs something, the steps, and what they are from."""

    has: str
    why: tuple[Finding, ...]
    steps: tuple[Step, ...]


def run(args: Args, cluster: Cluster) -> ClusterRun:
    yield from ()
    nodes = [node for node in cluster.nodes if node.settings.hardware != "cpu"]
    if not nodes:
        return Outcome("no node has NPUs", skipped=True)
    advice = {node.name: advice_of(node) for node in nodes}
    findings = tuple(finding for one in advice.values() for finding in one.why)
    wanting = [name for name, one in advice.items() if one.steps]
    message = f"{', '.join(wanting)}: see the steps below" if wanting else "every node has what it needs"
    return Outcome(
        message,
        findings=findings,
        summary=dict(_summary(advice)),
        next=tuple(_commands(advice, cluster.settings)),
    )


def advice_of(node: Node) -> Advice:
    """What there is to say of one node."""
    have, why = installed(node), tuple(_why(node))
    given = driver.read_packages(node.settings.install.packages)
    if given:
        steps = [(one.kind, one.version, _place(one)) for one in needed(given, node)]
    else:
        steps = _unnamed(node, have, why)
    return Advice(_has(have), why, driver.runbook(steps, have, given))


def _place(given: Given) -> str:
    return given.package.path if given.package.on == "node" else given.file


def _why(node: Node) -> Iterator[Finding]:
    """What the checks find, told as advice: a runbook that fails would help nobody."""
    for outcome in runner.run_node(node, Choice(only=CHECKS)):
        for finding in outcome.findings:
            if finding.level in ("fail", "warn"):
                yield replace(finding, level="warn")


def _has(have: Installed) -> str:
    runs = f" ({have.running} runs)" if have.stale else ""
    parts = [f"driver {have.driver or 'none'}{runs}", f"firmware {have.firmware or 'none'}"]
    parts += [f"CANN {have.toolkit}"] if have.toolkit else []
    parts += [f"NNAL {have.nnal}"] if have.nnal else []
    return ", ".join(parts) + (", waits for a boot" if have.awaited else "")


# ---- without packages: what can be told


def _unnamed(node: Node, have: Installed, why: Sequence[Finding]) -> list[tuple[Kind, str, str]]:
    """Kind, version in words, and file name of what is lacking, in order."""
    settings = node.settings
    hdk = _hdk(node, have)
    unfit = any("firmware" in finding.summary for finding in why)
    wanted: dict[Kind, str] = {}
    if hdk or not have.driver:
        least = table(settings.compatibility).least_driver(_release(settings))[0]
        wanted["driver"] = hdk or (f"{least} or later" if least else "the release that CANN's release notes name")
    if wanted or unfit or not have.firmware:
        wanted["firmware"] = "of the driver's HDK release"
    wanted |= _cann(settings, have) if settings.install.method == "source" else {}
    arch = _machine(node)
    return [
        (kind, wanted[kind], driver.file_name(kind, settings.hardware, _exact(kind, wanted[kind]), arch))
        for kind in driver.order(wanted.keys(), have)
    ]


def _hdk(node: Node, have: Installed) -> str:
    """What the table wants the driver to be, in words; empty: nothing else than it is. Of several, the highest."""
    verdicts = stack.judged(node, "feature", "driver", "family")
    least = [match[1] for verdict in verdicts if (match := _LEAST.search(verdict.expected))]
    above = [version for text in least if (version := parse_version(text)) and not _reached(have.driver, version)]
    if above:
        return f"{max(above)} or later"
    return "a release that CANN's release notes name" if any(v.subject == "family" for v in verdicts) else ""


_LEAST = re.compile(r"^(?:.*driver \(HDK\) )?([0-9][0-9A-Za-z.]*) or later")
"""The driver's version in what a verdict expects: alone, or among other needs of a feature."""


def _reached(have: str, wanted: Version) -> bool:
    version = parse_version(have)
    return version is not None and version >= wanted


def _cann(settings: Settings, have: Installed) -> dict[Kind, str]:
    """What a node that serves from source lacks of CANN: of the release's own version [versioning policy]."""
    release = _release(settings)
    row = table(settings.compatibility).release(release) if release else None
    if row is None or not row.cann:
        return {}
    wanted: dict[Kind, str] = {}
    if not have.toolkit or not driver.same(have.toolkit, row.cann):
        wanted |= {"toolkit": row.cann, "ops": row.cann}
    if not have.nnal or not driver.same(have.nnal, row.cann):
        wanted["nnal"] = row.cann
    return wanted


def _release(settings: Settings) -> str:
    """The release of vllm-ascend that is served; empty where neither source nor image tells one."""
    if settings.install.method == "source":
        return settings.install.source.release or ""
    return str(parse_image(settings.install.image).release or "")


def _exact(kind: Kind, words: str) -> str:
    return words if kind in CANN and " " not in words else "<version>"


def _machine(node: Node) -> str:
    return node.get(Os()).arch or "<arch>"


# ---- in words


def _summary(advice: dict[str, Advice]) -> Iterator[tuple[str, str]]:
    """A line for all nodes that have the same and need the same."""
    for names, one in _groups(advice):
        steps = "; ".join(step.title for step in one.steps)
        yield ", ".join(names), f"{one.has}: {steps or 'nothing to do'}"


def _groups(advice: dict[str, Advice]) -> list[tuple[list[str], Advice]]:
    groups: dict[tuple[str, tuple[Step, ...]], list[str]] = {}
    for name, one in advice.items():
        groups.setdefault((one.has, one.steps), []).append(name)
    return [(names, advice[names[0]]) for names in groups.values()]


def _commands(advice: dict[str, Advice], settings: Settings) -> Iterator[str]:
    """What to type, with what it is for: by us where that is allowed, else by hand on the nodes."""
    groups = [(names, one) for names, one in _groups(advice) if one.steps]
    if not groups:
        return
    if settings.install.driver and settings.install.packages:
        yield "qnext-provision driver --apply"
        yield "# with this inventory: does what follows, on the first node alone, then on the others; or by hand:"
    if any("<version>" in command for _, one in groups for step in one.steps for command in step.commands):
        yield f"# packages: {driver.WHERE}"
    if any(
        step.title.startswith(tuple(driver.TITLES[kind] for kind in HOST)) for _, one in groups for step in one.steps
    ):
        yield f"# order: {driver.SOURCE}; stop servers and NPU Exporter first (qnext-provision down)"
    for names, one in groups:
        yield f"# on {', '.join(names)}, one after the other, as root:"
        for step in one.steps:
            yield f"# {step.title}"
            yield from step.commands
