"""What is built from source follows from what is said, fits the hardware, and is what the layout needs (S09, S10)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from provision.errors import ConfigError
from provision.serve import compatibility
from provision.serve.layout import Layout
from provision.serve.plan import Violation
from provision.serve.rules.base import Rule, fail, warn
from provision.serve.source import Build, login, resolve, urls

_POLICY = "vllm-ascend versioning policy"
_GUIDE = "vllm-ascend installation guide"


def resolves(layout: Layout) -> Iterator[Violation]:
    """S09: which vLLM and vllm-ascend are built is known [vllm-ascend versioning policy]."""
    if layout.head.install.method != "source":
        return
    try:
        resolve(layout.head)
    except ConfigError as error:
        yield fail("S09", error.message, _POLICY, error.hint)


def moving_parts(layout: Layout) -> Iterator[Violation]:
    """S10: a branch or a pull request is another commit tomorrow; what was built of it once stays [git]."""
    build = _build(layout)
    for part in build.moving if build else ():
        yield warn(
            "S10",
            f"install.source: {part.said} of {part.name} moves: it is built once, from the commit it is then",
            _GUIDE,
            f"pin it: install.source.{part.name.replace('-', '_')}: the commit that the build names (all 40 digits)",
        )


def processor(layout: Layout) -> Iterator[Violation]:
    """S10: operators built for another processor fail when the first is loaded [vllm-ascend installation guide]."""
    build, head = _build(layout), layout.head
    row = compatibility.shipped().hardware_named(head.hardware)
    if not build or not row or not build.soc_version or build.soc_version.lower().startswith(row.soc):
        return
    yield fail(
        "S10",
        f"install.source.soc_version: {build.soc_version} is not {head.hardware}",
        _GUIDE,
        "leave it out: it follows from the hardware",
    )


def builder_is_a_host(layout: Layout) -> Iterator[Violation]:
    """S09: the node that builds is one of the cluster's [the design: a build is shipped from node to node]."""
    source = layout.head.install.source
    names = [site.node for site in layout.sites]
    if layout.head.install.method == "source" and source.builder and source.builder not in names:
        yield fail(
            "S09",
            f"install.source.builder: there is no host {source.builder}",
            "qnext-provision",
            f"one of {', '.join(names[:8])}{', …' if len(names) > 8 else ''}, or leave it out for the first",
        )


def needed_packages(layout: Layout) -> Iterator[Violation]:
    """S09: images hold Ray and Mooncake; a venv holds them where they are asked for [vllm-ascend Dockerfiles]."""
    build = _build(layout)
    if not build:
        return
    wanted: list[tuple[str, str, str]] = []
    if layout.topology == "ray" or layout.head.serve.topology == "ray":
        wanted.append(("ray", "topology ray", "ray[default]>=2.47.1,<=2.48.0"))
    if layout.head.serve.topology == "prefill-decode" and build.npu:
        row = compatibility.table(layout.head.compatibility).release(build.release) if build.release else None
        version = f"=={row.mooncake.removeprefix('v')}" if row and row.mooncake else ""
        if layout.head.serve.kv_transfer.connector.startswith("Mooncake"):
            name = "mooncake-transfer-engine-npu"
            wanted.append((name, f"{layout.head.serve.kv_transfer.connector}", f"{name}{version}"))
    for name, why, requirement in wanted:
        if not _asked(layout.head.install.source.requirements, name):
            yield warn(
                "S09",
                f"{why} needs the package {name}, and install.source.requirements does not name it",
                _GUIDE,
                f'install.source.requirements: ["{requirement}"], unless another package brings it',
            )


def logins_in_clear(layout: Layout) -> Iterator[Violation]:
    """S20: a password in a URL stands in the inventory for all who read it [domain list of static checks]."""
    if layout.head.install.method != "source":
        return
    for key in dict.fromkeys(key for key, url in urls(layout.head.install.source) if login(url)):
        yield warn(
            "S20",
            f"install.source.{key} holds a user name or password in clear",
            "qnext-provision",
            "leave it out of the URL, and put it into /root/.netrc of the builder, where pip and git look for it",
        )


def _asked(requirements: Sequence[str], name: str) -> bool:
    return any(re.match(rf"{re.escape(name)}(?![\w.-])", each.strip().lower()) for each in requirements)


def _build(layout: Layout) -> Build | None:
    """What is built; None where nothing is, or where ``resolves`` says why it isn't known."""
    if layout.head.install.method != "source":
        return None
    try:
        return resolve(layout.head)
    except ConfigError:
        return None


WHOLE: tuple[Rule, ...] = (
    resolves,
    moving_parts,
    processor,
    builder_is_a_host,
    needed_packages,
    logins_in_clear,
)
