"""Tiny real packages, wheels and git repositories, for the real pip and git: what an index and a forge would hold.

The two sources have a build backend of their own, so that nothing has to be fetched to build them; it refuses what the
real ones' setup.py refuses.
"""

from __future__ import annotations

import subprocess
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

BACKEND = """\
import os
import zipfile

NAME, VERSION, REQUIRES, ENTRY_POINTS = {name!r}, {version!r}, {requires!r}, {entry_points!r}


def build_wheel(folder, config_settings=None, metadata_directory=None):
    version, files = refuse_or_version(), {{}}
    info = "%s-%s.dist-info" % (NAME.replace("-", "_"), version)
    for top, _, names in os.walk(NAME.replace("-", "_")):
        files.update({{os.path.join(top, name): open(os.path.join(top, name)).read() for name in names}})
    metadata = "Metadata-Version: 2.1\\nName: %s\\nVersion: %s\\n" % (NAME, version)
    files[info + "/METADATA"] = metadata + "".join("Requires-Dist: %s\\n" % each for each in REQUIRES)
    files[info + "/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[info + "/entry_points.txt"] = ENTRY_POINTS
    files[info + "/RECORD"] = "".join("%s,,\\n" % path for path in [*files, info + "/RECORD"])
    wheel = "%s-%s-py3-none-any.whl" % (NAME.replace("-", "_"), version)
    with zipfile.ZipFile(os.path.join(folder, wheel), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel
"""

VLLM_RULES = """

def refuse_or_version():
    device = os.environ.get("VLLM_TARGET_DEVICE", "cuda")
    if device == "cuda":
        raise SystemExit("RuntimeError: CUDA_HOME is not set")
    return VERSION + ("+empty" if device == "empty" else "+cpu")
"""

ASCEND_RULES = """

def refuse_or_version():
    if not os.environ.get("SOC_VERSION"):
        raise SystemExit("ValueError: SOC version is not set. Please set SOC_VERSION environment variable.")
    if not os.path.exists("csrc/third_party/catlass/README"):
        raise SystemExit("the submodules are not there")
    if os.environ.get("COMPILE_CUSTOM_KERNELS") != "0" and not os.environ.get("ASCEND_TOOLKIT_HOME"):
        raise SystemExit("CMake Error: ASCEND_HOME_PATH is not set")
    with open("vllm_ascend/_build_info.py", "w") as file:
        file.write("__soc_version__ = %r\\n" % os.environ["SOC_VERSION"])
    return VERSION
"""

PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'

VLLM = {
    "vllm/__init__.py": """\
from importlib.metadata import entry_points, version

__version__ = version("vllm")
for point in entry_points(group="vllm.platform_plugins"):
    print("INFO 11-24 12:00:00 [__init__.py:217] Platform plugin %s is activated" % point.name)
""",
    "vllm/platforms.py": """\
from importlib.metadata import entry_points


class Platform:
    device_type = "npu" if list(entry_points(group="vllm.platform_plugins")) else "cpu"


current_platform = Platform()
""",
}
ASCEND = {
    "vllm_ascend/__init__.py": "import torch_npu\n\n\ndef register():\n    return 'vllm_ascend.platform.NPUPlatform'\n"
}


def wheel(folder: Path, name: str, version: str, requires: Iterable[str] = (), code: str | None = None) -> None:
    """A wheel for the index: one module of its own name, unless it is to have none."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    requirements = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{module}.py": code if code is not None else f"__version__ = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)


def source(
    folder: Path,
    name: str,
    version: str,
    rules: str,
    files: Mapping[str, str],
    requires: Iterable[str],
    plugin: str = "",
) -> None:
    """The files of a package that can be built."""
    backend = BACKEND.format(name=name, version=version, requires=list(requires), entry_points=plugin) + rules
    for path, text in {**files, "backend.py": backend, "pyproject.toml": PYPROJECT}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def git(folder: Path, *words: str) -> str:
    """Git, with a name for commits and submodules from folders allowed."""
    own = ("-c", "user.name=tiny", "-c", "user.email=tiny@example.com", "-c", "protocol.file.allow=always")
    done = subprocess.run(["git", "-C", str(folder), *own, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def repository(folder: Path, *tags: str) -> str:
    """A folder's files as one commit with these tags; the commit."""
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "all")
    for tag in tags:
        git(folder, "tag", tag)
    return git(folder, "rev-parse", "HEAD")


def forge(folder: Path) -> dict[str, str]:
    """Repositories vllm and vllm-ascend (with a submodule) below ``folder``; the commits of their only release."""
    source(folder / "vllm", "vllm", "0.18.0", VLLM_RULES, VLLM, ["triton", "torch"])
    (folder / "catlass").mkdir()
    (folder / "catlass" / "README").write_text("operators\n")
    repository(folder / "catlass")
    requires = ["torch==2.9.0", "torch-npu==2.9.0", "wheel"]
    plugin = "[vllm.platform_plugins]\nascend = vllm_ascend:register\n"
    source(folder / "vllm-ascend", "vllm-ascend", "0.18.0", ASCEND_RULES, ASCEND, requires, plugin)
    git(folder / "vllm-ascend", "init", "-q", "-b", "main")
    git(folder / "vllm-ascend", "submodule", "add", "-q", str(folder / "catlass"), "csrc/third_party/catlass")
    return {name: repository(folder / name, "v0.18.0") for name in ("vllm", "vllm-ascend")}


def index(folder: Path, packages: str) -> None:
    """Wheels as an index would hold them; ``packages`` are further names. A newer torch is there, and must not win."""
    folder.mkdir()
    for version in ("2.9.0", "2.12.0"):
        wheel(folder, "torch", version)
    wheel(folder, "torch-npu", "2.9.0", ["torch==2.9.0"])
    wheel(folder, "triton", "3.5.0")
    wheel(folder, "triton-ascend", "3.2.0.dev20260322", code="")
    for name in dict.fromkeys([*packages.split(), "wheel", "modelscope"]):
        wheel(folder, name, "1.0")
