"""git, pip and virtual environments of a node keep the rules that a build runs into."""

from __future__ import annotations

import pytest

from tests.rehearsal.conftest import Machine

pytestmark = pytest.mark.rehearsal

VENV = "/tmp/venv"
PIP = f"{VENV}/bin/python -m pip"
CLONE = "git clone --depth 1 --branch v0.18.0 -- https://github.com/vllm-project"


@pytest.fixture
def venv(machine: Machine) -> Machine:
    machine.ok(f"rm -rf {VENV} /tmp/src /tmp/w; python3 -m venv {VENV}")
    return machine


def test_vllm_is_built_for_no_device_and_brings_triton(venv: Machine) -> None:
    venv.ok(f"{CLONE}/vllm.git /tmp/src")
    assert "CUDA_HOME is not set" in venv.run(f"{PIP} wheel --no-deps --wheel-dir /tmp/w /tmp/src").err
    venv.ok(f"VLLM_TARGET_DEVICE=empty {PIP} wheel --no-deps --wheel-dir /tmp/w /tmp/src; {PIP} install /tmp/w/*.whl")
    assert "triton==3.5.0" in venv.ok(f"{PIP} list --format=freeze")
    assert "vllm @ file:///tmp/w/vllm-0.18.0+empty-py3-none-any.whl" in venv.ok(f"{PIP} freeze --all")
    venv.ok(f"{PIP} uninstall -y triton")
    checked = venv.run(f"{PIP} check")
    assert (checked.exit, checked.err.strip()) == (1, "vllm 0.18.0+empty requires triton, which is not installed.")


def test_vllm_ascend_needs_submodules_a_processor_and_cann(venv: Machine) -> None:
    venv.ok(f"{CLONE}/vllm-ascend.git /tmp/src")
    wheel = f"{PIP} wheel --no-deps --wheel-dir /tmp/w /tmp/src"
    assert "SOC version is not set" in venv.run(wheel).err
    assert "catlass does not exist" in venv.run(f"SOC_VERSION=ascend910_9391 {wheel}").err
    venv.ok("git -C /tmp/src submodule update --init --recursive")
    assert "ASCEND_HOME_PATH is not set" in venv.run(f"SOC_VERSION=ascend910_9391 {wheel}").err
    sourced = ". /usr/local/Ascend/ascend-toolkit/set_env.sh; . /usr/local/Ascend/nnal/atb/set_env.sh"
    venv.ok(f"{sourced}; SOC_VERSION=ascend910_9391 {wheel}")
    lacking = venv.run(f"{PIP} install /tmp/w/*.whl")
    assert "No matching distribution found for torch-npu" in lacking.err, "it is on the chips' own index alone"
    venv.ok(f"export PIP_EXTRA_INDEX_URL=https://mirrors.huaweicloud.com/ascend/repos/pypi; {PIP} install /tmp/w/*.whl")
    plain = venv.run(f"{VENV}/bin/python -c 'import torch_npu'")
    assert "libatb.so: cannot open shared object file" in plain.err
    venv.ok(f"{sourced}; {VENV}/bin/python -c 'import torch_npu'")


def test_what_is_not_there_is_refused_in_git_s_and_pip_s_words(venv: Machine) -> None:
    unknown = venv.run("git clone --depth 1 --branch v9 -- https://github.com/vllm-project/vllm.git /tmp/src")
    assert (unknown.exit, "Remote branch v9 not found in upstream origin" in unknown.err) == (128, True)
    private = venv.run("git clone -- https://github.com/somebody/else.git /tmp/src")
    assert "could not read Username" in private.err
    nothing = venv.run(f"{PIP} install --no-index --find-links /tmp numpy")
    assert (nothing.exit, "(from versions: none)" in nothing.err) == (1, True)


def test_packages_of_the_system_come_by_dnf_unless_their_source_is_down(venv: Machine) -> None:
    venv.node.state.set("dnf", "down")
    failed = venv.run("dnf install -y cmake ninja-build")
    assert (failed.exit, "All mirrors were tried" in failed.err) == (1, True)
    venv.node.state.clear("dnf")
    venv.ok("dnf install -y cmake ninja-build")
    said = venv.ok("cmake --version; ninja --version; rm /usr/bin/cmake /usr/bin/ninja")
    assert said == "cmake version 3.22.0\n1.10.2\n"


def test_python_tells_the_node_s_version(venv: Machine) -> None:
    code = "import sys; print(sys.version_info[:2], sys.version_info >= (3, 12))"
    assert venv.ok(f'python3 -c "{code}"') == "(3, 11) False\n"
    venv.node.state.set("python/version", "3.12.1")
    assert venv.ok(f'{VENV}/bin/python -c "{code}"') == "(3, 12) True\n"
