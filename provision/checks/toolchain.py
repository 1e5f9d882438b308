"""What a source install needs is there: Python, CANN with NNAL, and on the node that builds compilers and tools.

An image brings all of it; a source install takes the node's own. Every node makes its venv with the interpreter, whose
version the release names; CANN and NNAL are those of the release, both with their ``set_env.sh`` [domain 2.3, 5]. On
the builder gcc and g++ are above 8, and what is missing there is installed before the build where apt, dnf or yum can.
Room on disk is judged by the module ``room``. A node whose venv is made is not asked for compilers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.checks.base import Finding
from provision.checks.support import Skip, look
from provision.errors import ConfigError
from provision.facts.base import Fact
from provision.facts.cann import Cann
from provision.facts.source import SourceInstall
from provision.facts.toolchain import Toolchain, ToolchainValue
from provision.install.source import python_fits
from provision.inventory.model import Settings
from provision.node import Node
from provision.serve.source import Build, resolve

CODE = "N25"
LEVEL = "fail"
SCOPE = "node"

_COMPILERS = ("gcc", "g++")
_OLDEST = 8
"""Major version of gcc and g++ that is too old still [vllm-ascend installation guide: higher than 8]."""

_BY_MANAGER = "leave install.source.system_packages on, or "


def applies(settings: Settings) -> bool:
    return settings.install.method == "source"


def facts(settings: Settings) -> Iterable[Fact[object]]:
    source = settings.install.source
    always: list[Fact[object]] = [_toolchain(settings), SourceInstall(settings.venv, settings.wheels, source.python)]
    return always if settings.hardware == "cpu" else [*always, Cann()]


def _toolchain(settings: Settings) -> Toolchain:
    env = settings.install.source.env
    names = {name: str(env.get(name) or usual) for name, usual in (("C_COMPILER", "gcc"), ("CXX_COMPILER", "g++"))}
    return Toolchain(settings.install.source.python, names["C_COMPILER"], names["CXX_COMPILER"])


def run(node: Node) -> Iterable[Finding]:
    settings = node.settings
    try:
        build = resolve(settings)
    except ConfigError as error:
        raise Skip(f"what is built is not known: {error.message}") from None
    there = look(node, _toolchain(settings))
    yield from _python(node, there, build)
    if build.npu:
        yield from _cann(node, build)
    installed = look(node, SourceInstall(settings.venv, settings.wheels, settings.install.source.python))
    if _builds(node) and build.compiles and not installed.venv and not installed.whole:
        yield from _tools(node, there)


def _builds(node: Node) -> bool:
    named = node.settings.install.source.builder
    return node.name == named if named else node.index == 0


def _python(node: Node, there: ToolchainValue, build: Build) -> Iterator[Finding]:
    named = node.settings.install.source.python
    other = "or set install.source.python to an interpreter that all nodes have, such as python3.11"
    wanted = f"Python {build.python}" if build.python else "Python"
    if not there.python:
        yield Finding(
            f"{named} does not run", f"install {wanted}, {other}", expected=wanted, observed=there.said or "nothing"
        )
    elif not python_fits(there.python, build.python):
        yield Finding(
            f"{named} is Python {there.python}, and vllm-ascend {build.release} needs {build.python}",
            f"install {wanted}, {other}",
            expected=build.python,
            observed=there.python,
        )
    elif there.lacks and not (_builds(node) and _installs(node, there)):
        yield Finding(
            f"{named} cannot make virtual environments: it lacks {', '.join(there.lacks)}",
            "install python3-venv (Debian, Ubuntu) or the whole python3 package of the distribution",
            expected="modules venv and ensurepip",
            observed=f"without {', '.join(there.lacks)}",
        )


def _cann(node: Node, build: Build) -> Iterator[Finding]:
    value = look(node, Cann())
    wanted = build.cann or "of the release's version"
    toolkit, nnal = value.current, value.nnal
    if toolkit is None or not toolkit.set_env:
        yield Finding(
            "CANN's toolkit is not installed" if toolkit is None else f"{toolkit.home} has no set_env.sh",
            f"install Ascend-cann-toolkit {wanted} and the operators of this processor: `qnext-provision driver` shows "
            "which packages",
            expected=f"CANN {wanted}",
            observed="none" if toolkit is None else toolkit.version or "of an unknown version",
        )
    elif build.cann and toolkit.version and toolkit.version != build.cann:
        yield Finding(
            f"CANN is {toolkit.version}, and vllm-ascend {build.release} is made for {build.cann}",
            f"install CANN {build.cann}, or say in qnext.compatibility that this one works: "
            f"{{releases: {{{build.release}: {{cann: {toolkit.version}}}}}}}",
            expected=build.cann,
            observed=toolkit.version,
            level="warn",
        )
    if nnal is None or not nnal.set_env or not value.nnal_library:
        yield Finding(
            "NNAL (libatb.so) is not installed",
            f"install Ascend-cann-nnal {wanted}: without libatb.so torch_npu does not load",
            expected="/usr/local/Ascend/nnal/atb/set_env.sh and libatb.so",
            observed="none" if nnal is None else nnal.home,
        )


def _tools(node: Node, there: ToolchainValue) -> Iterator[Finding]:
    """What the build would lack, beyond what it installs itself; compilers that are too old are nobody's to replace."""
    missing = [name for name in ("gcc", "g++", "cmake", "ninja", "make", "git") if there.versions.get(name) is None]
    missing += [name for name in ("numa.h", "Python.h") if name not in there.headers]
    if missing and not _installs(node, there):
        off = not node.settings.install.source.system_packages
        why = "install.source.system_packages is false" if off else "neither apt-get, dnf nor yum is there"
        yield Finding(
            f"the build needs {', '.join(missing)}, and {why}",
            ("" if there.manager == "" else _BY_MANAGER)
            + "install gcc g++ make cmake ninja-build git and the headers of Python and libnuma on this node, or build "
            "on another (install.source.builder)",
            expected="compilers, build tools and headers",
            observed=f"without {', '.join(missing)}",
        )
    for name in _COMPILERS:
        version = there.versions.get(name)
        if version and int(version.split(".")[0]) <= _OLDEST:
            yield Finding(
                f"{name} is {version}: custom operators need one above {_OLDEST}, with C++17",
                f"install a newer one and name it: {'C_COMPILER' if name == 'gcc' else 'CXX_COMPILER'} in "
                "install.source.env",
                expected=f"above {_OLDEST}",
                observed=version,
            )


def _installs(node: Node, there: ToolchainValue) -> bool:
    """Whether the build installs what is missing."""
    return node.settings.install.source.system_packages and bool(there.manager) and there.root
