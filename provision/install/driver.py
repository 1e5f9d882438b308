"""Driver, firmware and CANN of a node: what is to be installed, in which order, by which commands. Pure.

Order [CANN software installation guide 9.1, "Installing the NPU Driver and Firmware"]: the driver, then the firmware,
where neither is installed; the firmware, then the driver, where they are. Then a reboot, then CANN: the toolkit, ops of
the same version, NNAL, which needs the toolkit's environment [the same, "Installing CANN", "Upgrading CANN": upgrading
the toolkit uninstalls ops]. Names of packages [the same; domain.md 5.2]; ``--quiet`` agrees to the vendor's licence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from provision.accel.ascend.driver import parse_install_log
from provision.accel.ascend.version import parse_version
from provision.actions import JobProgress
from provision.errors import ConfigError
from provision.inventory.model import Package
from provision.shell import quote

Kind = Literal["driver", "firmware", "toolkit", "ops", "nnal"]

TITLES: Mapping[Kind, str] = {
    "driver": "driver",
    "firmware": "firmware",
    "toolkit": "CANN toolkit",
    "ops": "CANN ops",
    "nnal": "NNAL",
}
HOST: tuple[Kind, ...] = ("firmware", "driver")
CANN: tuple[Kind, ...] = ("toolkit", "ops", "nnal")

WHERE = "hiascend.com: Firmware & Drivers, CANN; for this server, operating system and kernel"
"""Where the vendor publishes packages: chosen there by model, so no address can be computed."""

SOURCE = 'CANN software installation guide 9.1, "Installing the NPU Driver and Firmware"'

OPS_SINCE = "8.5.0"
"""From this version on the operators' package is called ops, before it ``kernels`` [mindsdk 7.3 guide]."""

CHIPS: Mapping[str, tuple[str, str]] = {"atlas-800-a2": ("910b", "910b"), "atlas-800-a3": ("A3", "A3")}
"""By hardware: the chip in names of driver and firmware, and in those of ops."""

_HDK = {
    "atlas-800-a2": "Ascend-hdk-910b-npu-{kind}_{version}{platform}.run",
    "atlas-800-a3": "Atlas-A3-hdk-npu-{kind}_{version}{platform}.run",
}
_OTHERS = {"310", "310b", "310p", "910", "910b", "a3", "950", "950dt", "950pr"}
_CARD = r"(?:Ascend-hdk-(?P<chip>\w+)|Atlas-(?P<atlas>\w+)-hdk)"
_NAMES: Mapping[Kind, str] = {
    "driver": _CARD + r"-npu-driver_(?P<version>[^_]+)_linux-(?P<arch>\w+)",
    "firmware": _CARD + r"-npu-firmware_(?P<version>[^_]+)",
    "toolkit": r"Ascend-cann-toolkit_(?P<version>[^_]+)_linux-(?P<arch>\w+)",
    "ops": r"Ascend-cann-(?:kernels-)?(?P<chip>\w+?)(?:-ops)?_(?P<version>[^_]+)_linux(?:-(?P<arch>\w+))?",
    "nnal": r"Ascend-cann-nnal_(?P<version>[^_]+)_linux-(?P<arch>\w+)",
}


@dataclass(frozen=True, slots=True)
class Given:
    """A package of the inventory, read by its name. ``chip`` and ``arch`` are empty where the name has none."""

    package: Package
    version: str
    chip: str = ""
    arch: str = ""

    @property
    def kind(self) -> Kind:
        return self.package.kind

    @property
    def file(self) -> str:
        """The file's name."""
        return self.package.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Installed:
    """What a node has: versions, empty where there is none. ``running``: of the driver, as npu-smi says it.

    ``done``: checksums of packages that this tool has installed, by kind: ops leave no record of their own that is
    known. ``awaited``: something waits for a boot.
    """

    driver: str = ""
    firmware: str = ""
    running: str = ""
    toolkit: str = ""
    nnal: str = ""
    done: Mapping[str, str] = field(default_factory=dict)
    awaited: bool = False

    def of(self, kind: Kind) -> str:
        """The version of a kind; empty where there is none, or it can't be told (ops)."""
        versions = {"driver": self.driver, "firmware": self.firmware, "toolkit": self.toolkit, "nnal": self.nnal}
        return versions.get(kind, "")

    @property
    def overwrites(self) -> bool:
        """Whether driver and firmware are installed over others, which turns their order round."""
        return bool(self.driver or self.firmware)

    @property
    def stale(self) -> bool:
        """Whether the driver that runs is not the one that is installed."""
        return bool(self.running and self.driver and not same(self.running, self.driver))


@dataclass(frozen=True, slots=True)
class Step:
    """A line of the runbook: what changes, and the commands for it in order."""

    title: str
    commands: tuple[str, ...]


def read_packages(packages: Sequence[Package]) -> tuple[Given, ...]:
    """The inventory's packages. Raises ``ConfigError`` for a name that is not the published one: the version is read
    from it; and for two of one kind."""
    given = tuple(_read(package) for package in packages)
    for one in given:
        if sum(other.kind == one.kind for other in given) > 1:
            raise ConfigError(
                f"qnext.install.packages names two of kind {one.kind}", hint="leave the one that is to be installed"
            )
    return given


def _read(package: Package) -> Given:
    name = package.path.rpartition("/")[2]
    match = re.fullmatch(_NAMES[package.kind] + r"\.run", name)
    if match is None or parse_version(match["version"]) is None:
        raise ConfigError(
            f"{name} has not the name of a package of kind {package.kind}: its version cannot be told",
            hint=f"name the file as it was published, such as {file_name(package.kind, 'atlas-800-a2')}, "
            "or correct its kind in qnext.install.packages",
        )
    found = match.groupdict()
    return Given(package, match["version"], found.get("chip") or found.get("atlas") or "", found.get("arch") or "")


def misfit(given: Given, hardware: str, arch: str) -> str:
    """Why a package is not for a node; empty where it is, as far as its name tells."""
    if given.arch and arch and given.arch != arch:
        return f"{given.file} is for {given.arch}, the node is {arch}"
    own = {chip.lower() for chip in CHIPS.get(hardware, ())}
    chip = given.chip.lower()
    if hardware == "cpu":
        return "a node without NPU needs no driver"
    if chip and own and chip not in own and chip in _OTHERS:
        return f"{given.file} is for {given.chip}, the node is {hardware}"
    return ""


def file_name(kind: Kind, hardware: str, version: str = "<version>", arch: str = "<arch>") -> str:
    """The name under which a package is published."""
    platform = f"_linux-{arch}"
    if kind in ("driver", "firmware"):
        pattern = _HDK.get(hardware, "Ascend-hdk-<chip>-npu-{kind}_{version}{platform}.run")
        return pattern.format(kind=kind, version=version, platform=platform if kind == "driver" else "")
    chip = CHIPS.get(hardware, ("", "<chip>"))[1]
    if kind == "ops":
        have, since = parse_version(version), parse_version(OPS_SINCE)
        old = bool(have and since and have < since)
        return f"Ascend-cann-{f'kernels-{chip}' if old else f'{chip}-ops'}_{version}{platform}.run"
    return f"Ascend-cann-{kind}_{version}{platform}.run"


def same(one: str, other: str) -> bool:
    """Whether two texts name one version, up to a build number that only one of them carries."""
    first, second = parse_version(one), parse_version(other)
    if first is None or second is None:
        return one.strip() == other.strip()
    depth = min(first.depth, second.depth)
    return first.key[:depth] == second.key[:depth]


# ---- what is lacking, in order


def order(kinds: Collection[Kind], installed: Installed) -> tuple[Kind, ...]:
    """Kinds in the order in which they are installed."""
    host = HOST if installed.overwrites else tuple(reversed(HOST))
    return tuple(kind for kind in (*host, *CANN) if kind in kinds)


def lacking(given: Sequence[Given], installed: Installed) -> tuple[Given, ...]:
    """The packages that a node has not, in order. A new toolkit takes its ops with it: they come after it again."""
    wanted = {one.kind: one for one in given if not _has(one, installed)}
    if "toolkit" in wanted:
        wanted |= {one.kind: one for one in given if one.kind == "ops"}
    return tuple(wanted[kind] for kind in order(wanted.keys(), installed))


def _has(given: Given, installed: Installed) -> bool:
    if given.kind == "ops":
        return installed.done.get("ops") == given.package.sha256
    return bool(installed.of(given.kind)) and same(installed.of(given.kind), given.version)


# ---- commands


def options(kind: Kind, installed: Installed) -> str:
    """How a package's installer is called. The driver's ``--install-for-all``: containers and users beside its own
    group may use it; it sticks where it was left out before."""
    if kind == "driver":
        return "--full --install-for-all"
    if kind == "firmware":
        return "--full"
    return "--upgrade --quiet" if kind == "toolkit" and installed.toolkit else "--install --quiet"


def prepared(kind: Kind, installed: Installed) -> str:
    """What must be done before an installer runs; empty: nothing. The driver's user is made by hand, once."""
    if kind == "driver" and not installed.driver:
        return (
            "id HwHiAiUser >/dev/null 2>&1 || { groupadd -f HwHiAiUser && "
            "useradd -g HwHiAiUser -d /home/HwHiAiUser -m HwHiAiUser -s /bin/bash; }"
        )
    if kind == "nnal":
        return ". /usr/local/Ascend/ascend-toolkit/set_env.sh"
    return ""


def script(given: Given, path: str, installed: Installed, folder: str, *, sent: bool = False) -> str:
    """Check the package's checksum and its own, install it, and write down what was done and what waits for a boot.

    ``folder``: where that is written. ``sent``: the package is ours, and goes when it is installed. It runs as a job,
    whose log is ``log`` in its working folder. Exit status: the installer's; 65 where the checksum is another.
    """
    before = prepared(given.kind, installed)
    lines = [
        f"p={quote(path)} d={quote(folder)}",
        'echo "checking $p"',
        's=$(sha256sum <"$p") || exit',
        f'[ "${{s%% *}}" = {given.package.sha256} ] || {{ echo "SHA-256 of $p is ${{s%% *}}"; exit 65; }}',
        'chmod +x "$p" || exit',
        '"$p" --check || { e=$?; echo "the package is not whole by its own check"; exit $e; }',
        'mkdir -p "$d" || exit',
        *([f"{before} || exit"] if before else []),
        *(['rm -f "$d/done-ops"'] if given.kind == "toolkit" else []),
        f'"$p" {options(given.kind, installed)} </dev/null || {{ e=$?; echo "the installer ended with $e"; exit $e; }}',
        *([_AWAITS] if given.kind in HOST else []),
        f'echo {given.package.sha256} >"$d/done-{given.kind}"',
        *(['rm -f "$p"'] if sent else []),
    ]
    return "\n".join(lines) + "\n"


_AWAITS = """grep -qs 'takes effect immediately' log || cp /proc/sys/kernel/random/boot_id "$d/awaits-boot" || exit"""


def progress(log: str) -> JobProgress:
    """How far an installer is, by its own words."""
    said = parse_install_log(log)
    if said.percent is None:
        last = next((line for line in reversed(log.splitlines()) if line.strip()), "starting")
        return JobProgress(None, last.strip()[:80])
    return JobProgress(said.percent / 100, f"{said.percent} % of the {said.component or 'package'} installed")


def runbook(
    steps: Sequence[tuple[Kind, str, str]], installed: Installed, given: Sequence[Given] = ()
) -> tuple[Step, ...]:
    """The steps by hand, in order. ``steps``: kind, version in words, name or path of the file; ``given``: the packages
    where they are known, with their checksums and places."""
    known = {one.kind: one.package for one in given}
    made = [_by_hand(kind, version, path, installed, known.get(kind)) for kind, version, path in steps]
    host = sum(kind in HOST for kind, _, _ in steps)
    if host or installed.awaited or installed.stale:
        reason = "loads what was installed" if host else "what is installed does not run yet"
        made.insert(host, Step(f"boot: {reason}", ("reboot", "npu-smi info")))
    return tuple(made)


def _by_hand(kind: Kind, version: str, path: str, installed: Installed, package: Package | None) -> Step:
    have = installed.of(kind) or ("unknown" if kind == "ops" else "none")
    file = quote(path) if package else path  # a name with <version> in it is for people
    run = file if path.startswith("/") else f"./{file}"
    before = prepared(kind, installed)
    here = package is not None and package.on == "controller"
    commands = (
        *([f"# copy {package.path} from this machine to the node"] if package and here else []),
        f"echo {quote(f'{package.sha256}  {path}')} | sha256sum -c"
        if package
        else f"sha256sum {file}  # as it was published?",
        f"chmod +x {file}",
        f"{run} --check",
        *([before] if before else []),
        f"{run} {options(kind, installed)}",
    )
    return Step(f"{TITLES[kind]}: {have} -> {version}", commands)
