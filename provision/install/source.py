"""The scripts of a source install: wheels built once on one node, then a venv made of them on every node.

They are the steps of vllm-ascend's installation guide [domain 5], with three changes. Wheels are built in place of
editable installs, so that what is installed is what was built. All that the builder's venv holds in the end becomes a
wheel, so that other nodes need no index, and cannot resolve anything differently. And they install it as it is
(``--no-deps``): what came of installing part after part on the builder is what is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote as percent

from provision.actions import JobProgress
from provision.errors import ConfigError
from provision.inventory.model import Settings, Source
from provision.resources import shipped
from provision.serve import launch
from provision.serve.source import Build, Login, login, logins, urls, without_login
from provision.shell import assign

ASCEND_INDEX = "https://mirrors.huaweicloud.com/ascend/repos/pypi"
PYTORCH_INDEX = "https://download.pytorch.org/whl/cpu/"
"""Further indexes where the inventory names none at all: torch-npu and triton-ascend; torch without CUDA for x86
[vllm-ascend installation guide, Dockerfile]. Who names an index of his own means that alone."""

CANN_PACKAGES = (
    "attrs numpy decorator sympy cffi pyyaml pathlib2 psutil protobuf scipy requests absl-py wheel typing_extensions"
)
"""What CANN's own Python parts import [vllm-ascend installation guide]."""

APT = "gcc g++ make cmake ninja-build libnuma-dev wget git curl jq"
YUM = "gcc gcc-c++ make cmake ninja-build numactl-devel python3-devel wget git curl jq"
"""System packages [vllm-ascend installation guide]; what it calls g++ is named gcc-c++ where yum is [its openEuler
Dockerfiles]. ``make`` is what CMake drives there."""
APT_PLAIN, YUM_PLAIN = "git curl", "git curl python3"
"""Where nothing is compiled."""

_SHOWN = 15
"""Lines of a failed step's log that an error shows."""


def build_job(settings: Settings) -> str:
    """Name of the job that builds."""
    return f"build-{settings.install.source.key}"


def venv_job(settings: Settings) -> str:
    """Name of the job that installs what was built."""
    return f"venv-{settings.install.source.key}"


def work_folder(settings: Settings) -> str:
    """Where the builder keeps what it needs while it builds; a failed build goes on from it."""
    return f"{launch.folder(settings)}/build/{settings.install.source.key}"


def private_folder(settings: Settings) -> str:
    """Where the builder has passwords of indexes and repositories, while it builds."""
    return f"{work_folder(settings)}.private"


# ---- scripts


def build_script(settings: Settings, build: Build) -> str:
    """The script that builds, for the builder. It holds no password."""
    source = settings.install.source
    return _rendered(
        "build.sh.j2",
        title=title(build),
        work=work_folder(settings),
        wheels=settings.wheels,
        key=source.key,
        env=sorted(environment(source, build).items()),
        private=private_folder(settings) if private_files(source) else "",
        python=source.python,
        range_check=_range_check(build),
        git=build.compiles,
        compiles=build.compiles,
        system_packages=source.system_packages,
        apt=APT if build.compiles else APT_PLAIN,
        yum=YUM if build.compiles else YUM_PLAIN,
        cann_packages=CANN_PACKAGES,
        vllm=build.vllm,
        vllm_repository=without_login(build.vllm.repository),
        plugin=build.vllm_ascend,
        plugin_repository=without_login(build.vllm_ascend.repository) if build.vllm_ascend else "",
        target=build.target_device,
        torch=build.torch if build.npu else "",
        requirements=source.requirements,
        triton_version=build.triton_ascend,
        release=build.release,
        soc_version=build.soc_version,
        npu=build.npu,
        cann=build.cann,
        triton=build.triton,
        record=_text("built.py"),
    )


def venv_script(settings: Settings, build: Build) -> str:
    """The script that makes a node's venv of the wheels that are there."""
    return _rendered(
        "venv.sh.j2",
        title=title(build),
        wheels=settings.wheels,
        venv=settings.venv,
        python=settings.install.source.python,
        npu=build.npu,
        cann=build.cann,
        plugin=build.vllm_ascend,
        triton=build.triton,
        proof=_text("proof.py"),
        record=_text("qnext.py"),
    )


def title(build: Build) -> str:
    """What is built, in a few words."""
    return " and ".join(p.said if p.kind == "package" else f"{p.name} {p.said}" for p in build.parts)


def _rendered(template: str, **values: object) -> str:
    from provision.template.environment import render_template

    text = render_template(
        f"install/{template}", **values, steps=0, prelude=_text("steps.sh"), cann_sh=_text("cann.sh")
    )
    return text.replace("\nsteps=0\n", f"\nsteps={len(steps(text))}\n", 1)


def _text(name: str) -> str:
    return (shipped("templates") / "install" / name).read_text(encoding="utf-8")


def steps(script: str) -> list[str]:
    """The names of a script's steps, in order."""
    return [found[2] for found in re.finditer(r"""^step (['"])(.*)\1$""", script, re.MULTILINE)]


def environment(source: Source, build: Build) -> dict[str, str]:
    """The build's environment that anybody may see."""
    made = {
        "GIT_TERMINAL_PROMPT": "0",
        "PIP_NO_INPUT": "1",
        "PIP_PROGRESS_BAR": "off",
        "PIP_ROOT_USER_ACTION": "ignore",
    }
    if build.vllm_ascend and not build.npu:
        # [domain 5: CPU-only verification]
        made |= {"COMPILE_CUSTOM_KERNELS": "0", "TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    made |= indexes(source, build)
    return {**made, **{name: str(value) for name, value in source.env.items() if not _is_private(str(value))}}


def indexes(source: Source, build: Build) -> dict[str, str]:
    """Where pip looks for packages, as its variables say it; passwords left out."""
    extra = source.extra_indexes
    if not extra and not source.index and build.npu:
        extra = (ASCEND_INDEX, PYTORCH_INDEX)
    found = {
        "PIP_INDEX_URL": without_login(source.index or ""),
        "PIP_EXTRA_INDEX_URL": " ".join(map(without_login, extra)),
        "PIP_TRUSTED_HOST": " ".join(source.trusted_hosts),
    }
    return {name: value for name, value in found.items() if value}


def index_names(source: Source, build: Build) -> str:
    """Where pip looks, in words."""
    found = indexes(source, build)
    names = [found.get("PIP_INDEX_URL", "pip's own index"), *found.get("PIP_EXTRA_INDEX_URL", "").split()]
    return ", ".join(names)


def _range_check(build: Build) -> str:
    """A Python program that refuses an interpreter outside of the release's range."""
    wanted = json.dumps([[sign, [int(n) for n in bound.split(".")]] for sign, bound in bounds(build.python)])
    return (
        "import sys\n"
        "mine = list(sys.version_info[:3])\n"
        'print("Python %d.%d.%d: %s" % (*mine, sys.executable))\n'
        f"for sign, version in {wanted}:\n"
        "    own = mine[:len(version)]\n"
        '    if not {">=": own >= version, ">": own > version, "<": own < version, "<=": own <= version,\n'
        '            "==": own == version, "!=": own != version, "~=": own >= version}[sign]:\n'
        f'        sys.exit("Python %d.%d.%d does not do: this release needs {build.python}" % tuple(mine))'
    )


def bounds(text: str) -> Iterator[tuple[str, str]]:
    """The parts of a range as pip writes it: ``>=3.10,<3.12``."""
    for clause in filter(None, text.split(",")):
        found = re.fullmatch(r"\s*([<>=!~]=?)\s*(\d+(?:\.\d+)*)(?:\.\*)?\s*", clause)
        if found:
            yield ("==" if found[1] == "=" else found[1]), found[2]


def python_fits(version: str, wanted: str) -> bool:
    """Whether ``3.11.6`` lies in the range ``>=3.10,<3.12``; an empty one takes all."""
    return all(_compares(version, operator, bound) for operator, bound in bounds(wanted))


def _compares(version: str, operator: str, bound: str) -> bool:
    limit = [int(n) for n in bound.split(".")]
    own = [int(n) for n in version.split(".")][: len(limit)]
    return {
        ">=": own >= limit,
        ">": own > limit,
        "<=": own <= limit,
        "<": own < limit,
        "==": own == limit,
        "!=": own != limit,
        "~=": own >= limit,
    }[operator]


# ---- passwords


def private_files(source: Source) -> dict[str, bytes]:
    """What holds passwords, by file name, for a folder that only root may read; empty where there is none.

    pip finds those of indexes in a netrc file, git those of repositories in its store: so none stands in a command
    line, which every user of the node can read. Raises ``ConfigError`` for a password that such a file cannot hold.
    """
    repositories = logins((source.vllm_repository, source.vllm_ascend_repository))
    packages = logins((*([source.index] if source.index else []), *source.extra_indexes))
    private = {name: str(value) for name, value in sorted(source.env.items()) if _is_private(str(value))}
    found = {
        "git-credentials": "".join(map(_credential, repositories)),
        "netrc": "".join(map(_netrc, packages)),
        "environment": "".join(f"export {assign(name, value)}\n" for name, value in private.items()),
    }
    return {name: text.encode() for name, text in found.items() if text}


def passwords(source: Source) -> tuple[str, ...]:
    """All that must never be shown: passwords in URLs, decoded and as they are written there."""
    found = [known for _, url in urls(source) if (known := login(url))]
    secret = [known.password or known.user for known in found]
    secret += [bare[1] for value in source.env.values() if (bare := _BARE_LOGIN.fullmatch(str(value)))]
    return tuple(dict.fromkeys([*secret, *(percent(each, safe="") for each in secret)]))


_BARE_LOGIN = re.compile(r"[^\s/@:]+:([^\s/@]+)@[^\s/@]+")


def _is_private(value: str) -> bool:
    """Whether a variable's value looks like a URL with a login: a proxy's, with scheme or without."""
    return login(value) is not None or _BARE_LOGIN.fullmatch(value) is not None


def _credential(known: Login) -> str:
    return f"{known.scheme}://{percent(known.user, safe='')}:{percent(known.password, safe='')}@{known.host}\n"


def _netrc(known: Login) -> str:
    for word in (known.user, known.password):
        if re.search(r"[\s\"'\\#]", word) or (not word and word is known.user):
            raise ConfigError(
                f"install.source: the login for {known.host} has characters that a netrc file cannot hold",
                hint="white space, quotes, # and \\ are not for it: use a token or another password",
            )
    host = known.host.partition(":")[0]
    return f"machine {host}\nlogin {known.user}\npassword {known.password or 'x'}\n"


# ---- logs


_STEP = re.compile(r"^== step (\d+)/(\d+): (.+)$", re.MULTILINE)
_FAILED = re.compile(r"^== failed at step (\d+)/(\d+): (.*) \(exit status (\d+) after (\d+) s\)$", re.MULTILINE)
_PERCENT = re.compile(r"^\s*\[\s*(\d{1,3})%\]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StepFailed:
    """Which step of how many, and ``log``: what it said."""

    number: int
    total: int
    name: str
    log: str

    @property
    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.strip().splitlines()[-_SHOWN:])


def progress(log: str) -> JobProgress:
    """Which step is under way; of a compilation, how far."""
    found = list(_STEP.finditer(log))
    if not found:
        return JobProgress(None, "starting")
    last = found[-1]
    number, total = int(last[1]), int(last[2])
    percents = _PERCENT.findall(log[last.end() :])
    share = min(100, int(percents[-1])) / 100 if percents else 0.0
    done = f", {percents[-1]} %" if percents else ""
    return JobProgress((number - 1 + share) / max(1, total), f"step {number} of {total}: {last[3]}{done}")


def step_failed(log: str) -> StepFailed | None:
    """The step at which a script ended, or was ended; None where it tells of none."""
    failed = list(_FAILED.finditer(log))
    started = list(_STEP.finditer(log))
    if not failed and not started:
        return None
    last = failed[-1] if failed else started[-1]
    begun = [each for each in started if each.end() <= last.start()] or started
    said = log[begun[-1].end() : last.start()] if failed and begun else log[last.end() :]
    return StepFailed(int(last[1]), int(last[2]), last[3], said)


def warnings(log: str) -> tuple[str, ...]:
    """What a script wants to be seen."""
    return tuple(re.findall(r"^== (?:warning|note): (.+)$", log, re.MULTILINE))
