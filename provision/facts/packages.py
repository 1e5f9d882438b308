"""Which packages the servers' image or venv holds: from the note that was made when its image was first asked.

To ask an image takes a container, which no looking may start: the module ``packages`` asks once an image, and writes
down what it said. A venv has its own record.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import Json, complaints, section
from provision.facts.source import VENV_RECORD
from provision.inventory.model import Settings
from provision.results import Result
from provision.shell import quote

NOTE = "notes/image-packages"
"""Path of the note below the cluster's folder, apart from launch files: ``id IMAGE``, and ``package NAME VERSION``."""


@dataclass(frozen=True, slots=True)
class InstalledPackagesValue:
    """``versions`` by package, of vllm, vllm-ascend, torch and what they need; "none" where one is not there. ``id`` is
    that of the image (or venv) which said so; empty: none was asked yet. ``present``: of the image that is there."""

    id: str = ""
    present: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstalledPackages(Fact[InstalledPackagesValue]):
    """``folder`` is the cluster's, ``ref`` the image; ``venv`` that of a source install, else empty."""

    name: ClassVar[str] = "installed-packages"
    deadline: ClassVar[float] = 20.0
    folder: str = ""
    ref: str = ""
    venv: str = ""

    def script(self) -> str:
        record, note = quote(f"{self.venv}/{VENV_RECORD}"), quote(f"{self.folder}/{NOTE}")
        if self.venv:
            return f"echo '@@ venv'; [ ! -f {record} ] || head -c 262144 {record}\n"
        return f"""\
echo '@@ image'; timeout 10 docker image inspect --format '{{{{.Id}}}}' {quote(self.ref)} 2>/dev/null
echo '@@ note'; [ ! -f {note} ] || head -c 65536 {note}
"""

    def parse(self, raw: Result) -> InstalledPackagesValue:
        if self.venv:
            said = Json.load(section(raw.stdout, "venv"))
            identity = said.at("id").text
            return InstalledPackagesValue(identity, identity, _texts(said.at("versions")), complaints(raw))
        note = section(raw.stdout, "note")
        found = re.match(r"id (\S+)$", note, re.MULTILINE)
        return InstalledPackagesValue(
            found[1] if found else "",
            section(raw.stdout, "image").strip(),
            dict(re.findall(r"^package (\S+) (\S+)$", note, re.MULTILINE)),
            complaints(raw),
        )


def _texts(said: Json) -> Mapping[str, str]:
    return {name: value.text for name, value in said.entries.items() if value.text}


def installed_packages(settings: Settings) -> InstalledPackages:
    """The fact for a host with these settings."""
    venv = settings.venv if settings.install.method == "source" else ""
    return InstalledPackages(f"{settings.state_dir}/{settings.cluster}", settings.install.ref, venv)
