"""Install the packages of driver, firmware and CANN that the inventory gives: only where ``install.driver`` allows it.

``packages``: every needed package is on the node, under its checksum, and nobody uses the NPUs. ``host``: firmware and
driver, in the order that the vendor demands; ``reboot`` of the result says whether a boot is needed to load them.
``cann``: toolkit, ops and NNAL. ``proof``: what runs is what was given, and every NPU is there and well. What a node
has already is left alone, so that a run that broke off goes on where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Literal

from pydantic import Field

from provision.accel.ascend.driver import parse_install_log
from provision.actions import Job, Send
from provision.checks import runner
from provision.checks.policy import Choice
from provision.errors import CommandFailed, ConfigError, ProvisionError, RemoteError
from provision.facts.base import Fact
from provision.facts.cann import Cann
from provision.facts.docker import Containers
from provision.facts.driver import Driver, PackageWork
from provision.facts.npu_smi import NpuSmi
from provision.facts.system import Os
from provision.install import driver
from provision.install.driver import CANN, HOST, Given, Installed, Kind
from provision.install.manifest import file_sha256
from provision.inventory.model import Settings
from provision.modules.base import ModuleArgs, NodeRun, Outcome
from provision.node import Node
from provision.results import Result
from provision.shell import quote

SCOPE = "node"

PROOF = ("npu_smi", "npu_health", "device_nodes", "driver")
"""Checks of which none may fail, once the new driver runs."""

HASHING = 900.0
"""Seconds that a package's checksum may take: 3 GB at 4 MB/s."""

AFFECTS = frozenset(
    {"driver", "mount-sources", "npu-smi", "npu-smi-mapping", "davinci", "cann", "package-work", "disk", "pci"}
)


class Args(ModuleArgs):
    """Which part, and how patiently."""

    part: Literal["packages", "host", "cann", "proof"] = Field(description="what is done; see above")
    timeout: float = Field(3600.0, gt=0, description="seconds that one installer may take")


def facts(args: Args, settings: Settings) -> Iterable[Fact[object]]:
    if settings.hardware == "cpu":
        return []
    own = facts_of(settings)
    return [*own, *runner.required_facts(settings, Choice(only=PROOF), ("node",))] if args.part == "proof" else own


def facts_of(settings: Settings) -> list[Fact[object]]:
    """What ``installed`` and ``users`` look at."""
    return [Driver(), NpuSmi(), Cann(), Os(), PackageWork(folder(settings)), Containers(settings.cluster)]


def run(args: Args, node: Node) -> NodeRun:
    if node.settings.hardware == "cpu":
        return Outcome("no NPU", skipped=True)
    given = allowed(node.settings)
    match args.part:
        case "packages":
            return (yield from _packages(given, node))
        case "host":
            return (yield from _install(args, HOST, given, node))
        case "cann":
            return (yield from _install(args, CANN, given, node))
        case _:
            return _proof(given, node)


def folder(settings: Settings) -> str:
    """Where packages are sent to, and what was installed is written down: for all clusters of a node."""
    return f"{settings.state_dir}/driver"


def allowed(settings: Settings) -> tuple[Given, ...]:
    """The packages that may be installed. Raises ``ConfigError`` where the inventory allows or gives none."""
    if not settings.install.driver:
        raise ConfigError(
            "qnext.install.driver is not true: drivers are left alone",
            hint="run `qnext-provision driver` without --apply for what to do by hand; or set install: {driver: true} "
            "and install.packages, with which you accept the packages' licences",
        )
    if not settings.install.packages:
        raise ConfigError(
            "qnext.install.packages is empty: there is nothing to install",
            hint="packages: [{kind: driver, path: /path/to/the.run, sha256: …}]; from " + driver.WHERE,
        )
    return driver.read_packages(settings.install.packages)


def installed(node: Node) -> Installed:
    """What the node has."""
    value, cann, work = node.get(Driver()), node.get(Cann()), node.get(PackageWork(folder(node.settings)))
    return Installed(
        driver=(value.driver.version if value.driver else "") or "",
        firmware=(value.firmware.version if value.firmware else "") or "",
        running=node.get(NpuSmi()).driver_version or "",
        toolkit=cann.version or "",
        nnal=(cann.nnal.version if cann.nnal else "") or "",
        done=dict(work.done),
        awaited=work.awaits_boot,
    )


def needed(given: Sequence[Given], node: Node, kinds: Sequence[Kind] = (*HOST, *CANN)) -> tuple[Given, ...]:
    """The packages that the node lacks, in order. Raises ``ConfigError`` for one that is not for this node."""
    lacking = tuple(one for one in driver.lacking(given, installed(node)) if one.kind in kinds)
    for one in lacking:
        if wrong := driver.misfit(one, node.settings.hardware, node.get(Os()).arch):
            error = ConfigError(wrong, hint="give the package for this node: qnext.install.packages, for its host")
            error.node = node.name
            raise error
    return lacking


# ---- who uses the NPUs


def users(node: Node) -> Iterator[str]:
    """Who must go before a driver is replaced, each with what to do."""
    value = node.get(Containers(node.settings.cluster))
    running = [container.name for container in value.containers if container.running]
    if running:
        yield f"servers of this cluster run ({', '.join(running)}): qnext-provision down, with this inventory"
    for other in value.foreign:
        if other.devices or "npu-exporter" in f"{other.name} {other.image}":
            yield f"container {other.name} has NPUs or watches them: ask its owner, then docker stop {other.name}"
    if not running:
        pids = sorted({row.pid for row in node.get(NpuSmi()).processes})
        if pids:
            yield f"processes use NPUs ({', '.join(map(str, pids))}): npu-smi info says which; end them"


def _require_idle(node: Node) -> None:
    found = list(users(node))
    if found:
        raise ProvisionError(
            f"its NPUs are in use: {found[0]}",
            node=node.name,
            evidence="\n".join(found[1:]),
            hint="free them and run again; nothing was installed on this node",
        )


# ---- packages


def _packages(given: Sequence[Given], node: Node) -> NodeRun:
    wanted = needed(given, node)
    if wanted or _waits(installed(node)):
        _require_idle(node)
    if not wanted:
        return Outcome("nothing is lacking")
    for one in wanted:
        if one.package.on == "controller":
            _require_own_sum(one)
    for one in wanted:
        if _sum(one, node) != one.package.sha256:
            yield _sent(one, node)
    return Outcome(f"there, of the right checksum: {', '.join(one.file for one in wanted)}")


def path_of(given: Given, settings: Settings) -> str:
    """Where a package lies on the node."""
    return given.package.path if given.package.on == "node" else f"{folder(settings)}/{given.file}"


def _require_own_sum(given: Given) -> None:
    path = Path(given.package.path).expanduser()
    try:
        about = path.stat()
        found = _own_sum(path, about.st_size, about.st_mtime_ns)
    except OSError as error:
        raise ConfigError(
            f"{path}: {error.strerror or error}",
            hint="correct its path in qnext.install.packages; a package that lies on the nodes has on: node",
        ) from error
    if found != given.package.sha256:
        raise ConfigError(_another(str(path), found, given), hint=_CORRECT)


def _own_sum(path: Path, size: int, changed: int) -> str:
    with _hashing:
        return _hashed(path, size, changed)


_hashing = Lock()


@lru_cache(maxsize=16)
def _hashed(path: Path, size: int, changed: int) -> str:
    """Once for all nodes."""
    return file_sha256(path)


_CORRECT = "take the package as it was published, or correct sha256 in qnext.install.packages; nothing was changed"


def _another(path: str, found: str, given: Given) -> str:
    return f"SHA-256 of {path} is {found}, not {given.package.sha256}: refused"


def _sum(given: Given, node: Node) -> str:
    """The package's checksum on the node; empty where it is not there. Raises ``ConfigError`` for a file of the
    operator's that is another, or missing."""
    path = path_of(given, node.settings)
    result = node.read(
        f"[ ! -f {quote(path)} ] || sha256sum <{quote(path)}\n", deadline=HASHING, label=f"checksum of {given.file}"
    ).check(node=node.name)
    found = result.stdout.split()[0] if result.stdout.split() else ""
    if given.package.on == "node" and found != given.package.sha256:
        words = _another(path, found, given) if found else f"there is no {path}"
        error = ConfigError(words, hint=_CORRECT)
        error.node = node.name
        raise error
    return found


def _sent(given: Given, node: Node) -> Send:
    return Send(
        label=f"send {given.file}",
        source=Path(given.package.path).expanduser(),
        path=path_of(given, node.settings),
        sha256=given.package.sha256,
        mode=0o700,
        affects=frozenset({"disk"}),
    )


# ---- installing


def _install(args: Args, kinds: Sequence[Kind], given: Sequence[Given], node: Node) -> NodeRun:
    wanted = needed(given, node, kinds)
    before = installed(node)
    if wanted or (kinds == HOST and _waits(before)):  # a boot that an earlier run left out ends servers all the same
        node.observe([Containers(node.settings.cluster), NpuSmi()])
        _require_idle(node)
    boots = False
    for one in wanted:
        try:
            result = yield _job(args, one, before, node)
        except CommandFailed as error:
            raise _explained(error, one) from None
        boots |= one.kind in HOST and _boots(result, one, node)
    reboot = kinds == HOST and (boots or _waits(before))
    return Outcome(_told(wanted, reboot=reboot), data={"reboot": reboot})


def _waits(have: Installed) -> bool:
    """Whether what is installed runs after a boot only."""
    return have.awaited or have.stale


def _explained(error: CommandFailed, given: Given) -> CommandFailed:
    """With what the installer calls the error, where it does: its exit status tells nothing."""
    said = parse_install_log(error.result.stdout).errors
    if said:
        error.message = f"the installer of {given.file} failed: {said[-1]}"
        error.args = (error.message,)
    return error


def _told(wanted: Sequence[Given], *, reboot: bool) -> str:
    done = ", ".join(f"{driver.TITLES[one.kind]} {one.version}" for one in wanted)
    later = "a boot is needed to load it" if reboot else ""
    return "; ".join(part for part in (f"installed {done}" if done else "nothing is lacking", later) if part)


def _job(args: Args, given: Given, before: Installed, node: Node) -> Job:
    path, title = path_of(given, node.settings), driver.TITLES[given.kind]
    logs = " and /var/log/ascend_seclog/ascend_install.log" if given.kind in HOST else ""
    return Job(
        label=f"install {title} {given.version}",
        name=f"install-{given.kind}-{given.version}",
        script=driver.script(given, path, before, folder(node.settings), sent=given.package.on == "controller"),
        deadline=args.timeout,
        progress=driver.progress,
        hint=f"the node is left as the installer left it: its log above{logs} on {node.name} say why; mend it there, "
        "then run again: what is installed already is left alone",
        affects=AFFECTS,
    )


def _boots(result: object, given: Given, node: Node) -> bool:
    """Whether what was installed runs after a boot only: unless the installer says otherwise. Raises ``RemoteError``
    where it ended well and complained all the same."""
    if not isinstance(result, Result):
        return True
    said = parse_install_log(result.stdout)
    if said.installed is False:
        raise RemoteError(
            f"the installer of {given.file} ended well, and tells an error: {said.errors[0]}",
            node=node.name,
            evidence=result.tail(),
            hint="read /var/log/ascend_seclog/ascend_install.log on the node, mend it, and run again",
        )
    return said.reboot is not False


# ---- proof


def _proof(given: Sequence[Given], node: Node) -> Outcome:
    found = list(_unproven(given, node))
    if found:
        raise RemoteError(
            found[0],
            node=node.name,
            evidence="\n".join(found[1:]),
            hint="npu-smi info and dmesg -T | grep -i drv on the node; the driver's log is "
            "/var/log/ascend_seclog/ascend_install.log; nothing more is done on this node",
        )
    have = installed(node)
    parts = {"driver": have.running or have.driver, "firmware": have.firmware, "CANN": have.toolkit, "NNAL": have.nnal}
    return Outcome(", ".join(f"{name} {version}" for name, version in parts.items() if version))


def _unproven(given: Sequence[Given], node: Node) -> Iterator[str]:
    have = installed(node)
    for one in driver.lacking(given, have):
        yield f"{driver.TITLES[one.kind]} is {have.of(one.kind) or 'not there'}, not {one.version}"
    if have.stale:
        yield f"driver {have.running} runs, {have.driver} is installed"
    elif have.driver and not have.running:
        yield "npu-smi does not tell which driver runs"
    for outcome in runner.run_node(node, Choice(only=PROOF)):
        yield from (finding.summary for finding in outcome.findings if finding.level == "fail")
