"""What works with what: releases of vllm-ascend, CANN, drivers, Python, hardware and models, as data.

``compatibility.yaml`` holds the rows, each with its source; an inventory's ``qnext.compatibility`` lies over them.
``verdicts`` judges by them what was declared and observed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from provision import yamlio
from provision.accel.ascend.version import parse_version
from provision.inventory.model import CannRow as OwnCann
from provision.inventory.model import Compatibility, ModelRow
from provision.inventory.model import ReleaseRow as OwnRelease
from provision.serve.images import ImageRef

FILE = Path(__file__).with_suffix(".yaml")
OWN = "qnext.compatibility of the inventory"
"""The source of a row that the operator gave."""

_STRICT: ConfigDict = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class ReleaseRow:
    """What is inside a release of vllm-ascend. Empty: the table names none. ``min_hdk``: see ``Table.least_driver``."""

    vllm: str = ""
    python: str = ""
    cann: str = ""
    torch: str = ""
    torch_npu: str = ""
    triton_ascend: str = ""
    mooncake: str = ""
    min_hdk: str = ""
    source: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class CannRow:
    """A version of CANN: the driver below which to warn, its own family, and the drivers' families it names."""

    min_hdk: str = ""
    family: str = ""
    drivers: tuple[str, ...] = ()
    source: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Need:
    """Lowest versions, all of which must be reached; empty: any."""

    hdk: str = ""
    cann: str = ""
    mooncake: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def __str__(self) -> str:
        parts = {"driver (HDK)": self.hdk, "CANN": self.cann, "Mooncake": self.mooncake}
        return " and ".join(f"{name} {version} or later" for name, version in parts.items() if version)


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """A feature of the server and its ``needs``: alternatives. ``default_since``: the first release that has it on."""

    title: str
    needs: tuple[Need, ...]
    remedy: str
    source: str
    hardware: tuple[str, ...] = ()
    default_since: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class HardwareRow:
    """A family of NPUs. ``inventory`` is its name as ``qnext.hardware``; empty: not served by this tool."""

    title: str
    suffix: str
    soc: str
    source: str
    inventory: str = ""
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT


@dataclass(frozen=True, slots=True)
class Table:
    """All rows. Releases are keyed as ``v0.18.0`` or ``main``."""

    sources: Mapping[str, str]
    releases: Mapping[str, ReleaseRow]
    cann: Mapping[str, CannRow]
    features: Mapping[str, FeatureRow]
    hardware: Mapping[str, HardwareRow]
    models: Mapping[str, ModelRow] = field(default_factory=dict)
    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    def release(self, name: str) -> ReleaseRow | None:
        """What is known of a release; None: nothing."""
        return self.releases.get(release_key(name))

    def cann_of(self, version: str) -> CannRow | None:
        """What is known of a version of CANN, however it is spelled."""
        wanted = parse_version(version)
        return next((row for name, row in self.cann.items() if wanted and parse_version(name) == wanted), None)

    def least_driver(self, release: str) -> tuple[str, str]:
        """(The driver (HDK) below which to warn, the source); empty where nothing is known. A release's own ``min_hdk``
        counts before that of its CANN."""
        row = self.release(release)
        cann = self.cann_of(row.cann) if row else None
        if row and row.min_hdk:
            return row.min_hdk, row.source
        return (cann.min_hdk, cann.source) if cann and cann.min_hdk else ("", "")

    def hardware_of(self, soc: str) -> HardwareRow | None:
        """The family for which an image with this ``SOC_VERSION`` is built."""
        return next((row for row in self.hardware.values() if soc.lower().startswith(row.soc)), None)

    def hardware_named(self, name: str) -> HardwareRow | None:
        """A family by its key (``a3``) or as an inventory calls it (``atlas-800-a3``)."""
        return self.hardware.get(name) or next(
            (r for r in self.hardware.values() if name and r.inventory == name), None
        )


@cache
def shipped() -> Table:
    """The table as shipped. Raises ``ConfigError`` for a malformed file."""
    document = yamlio.load(FILE)
    try:
        table = TypeAdapter(Table).validate_python(document.data)
    except ValidationError as error:
        first = error.errors()[0]
        raise document.error(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", first["loc"]) from error
    return _with_sources_in_full(table)


def table(own: Compatibility | None = None) -> Table:
    """The shipped table under an operator's own rows. A row given in part keeps the rest of the shipped one."""
    base = shipped()
    if own is None or own == Compatibility():
        return base
    releases = {release_key(name): row for name, row in own.releases.items()}
    cann = {_spelled(base.cann, name): row for name, row in own.cann.items()}
    features: dict[str, FeatureRow] = {
        name: replace(base.features[name], needs=tuple(_need(n.model_dump()) for n in row.needs), source=OWN)
        for name, row in own.features.items()
    }
    return replace(
        base,
        releases={**base.releases, **{n: _over(base.releases.get(n, ReleaseRow()), r) for n, r in releases.items()}},
        cann={**base.cann, **{n: _over(base.cann.get(n, CannRow()), r) for n, r in cann.items()}},
        features={**base.features, **features},
        models=own.models,
    )


Row = TypeVar("Row", ReleaseRow, CannRow)


def _over(row: Row, own: OwnRelease | OwnCann) -> Row:
    given = {name: value for name, value in own.model_dump().items() if value is not None}
    return replace(row, **given, source=OWN) if given else row


def _need(given: Mapping[str, str | None]) -> Need:
    return Need(**{name: value or "" for name, value in given.items()})


def release_key(name: str) -> str:
    """A release as the table and tags spell it: v0.18.0, main."""
    return name if not name[:1].isdigit() else f"v{name}"


def _spelled(rows: Mapping[str, object], version: str) -> str:
    """The key under which the table has this version: 8.5.0 for an operator's 8.5."""
    wanted = parse_version(version)
    return next((name for name in rows if wanted and parse_version(name) == wanted), version)


def _with_sources_in_full(table: Table) -> Table:
    return replace(
        table,
        releases={n: replace(row, source=table.sources[row.source]) for n, row in table.releases.items()},
        cann={n: replace(row, source=table.sources[row.source]) for n, row in table.cann.items()},
        features={n: replace(row, source=table.sources[row.source]) for n, row in table.features.items()},
        hardware={n: replace(row, source=table.sources[row.source]) for n, row in table.hardware.items()},
    )


# ---- images


ARCHITECTURES: Mapping[str, str] = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "amd64", "amd64": "amd64"}
"""A machine as ``uname -m`` calls it, and as Docker does."""


def image_for(image: ImageRef, hardware: str) -> str:
    """The same image (repository, release, operating system) as it is published for other hardware (``a3`` or
    ``atlas-800-a3``); empty where its tag follows no grammar of vllm-ascend's, or the hardware is unknown."""
    row = shipped().hardware_named(hardware)
    return image.with_hardware(row.suffix) if row and image.known else ""


def platform_for(machine: str) -> str:
    """What ``docker pull --platform`` takes for a machine: ``linux/arm64`` for aarch64. Images of vllm-ascend exist for
    arm64 and amd64; empty for others."""
    return f"linux/{ARCHITECTURES[machine]}" if machine in ARCHITECTURES else ""
