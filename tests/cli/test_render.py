"""``render``: formats, folders, and files of others that it leaves alone."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.scenarios.program import Program

FILES = {
    "scripts": ["README.txt", "node0.head.sh", "node1.worker1.sh"],
    "compose": ["README.txt", "node0.compose.yaml", "node1.compose.yaml"],
    "systemd": [
        "README.txt",
        "node0/head.foreground.sh",
        "node0/qnext-qnext-test-head.service",
        "node1/qnext-qnext-test-worker1.service",
        "node1/wait.sh",
        "node1/worker1.foreground.sh",
    ],
    "lws": ["lws.yaml"],
}


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("kind", FILES)
def test_each_format_writes_its_files_again_and_again(
    kind: str, program: Program, inventory: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        answer = program("render", "-i", inventory, "--format", kind, "--out", out)
        assert answer.exit == 0, answer.text
        assert written(out) == FILES[kind]
        assert sorted(answer.stdout.splitlines()) == [str(out / name) for name in FILES[kind]]
    for path in out.rglob("*"):
        assert path.is_dir() or os.access(path, os.X_OK) == (path.suffix == ".sh"), path


def test_one_file_is_printed_as_it_is(program: Program, inventory: Path) -> None:
    answer = program("render", "-i", inventory, "--format", "lws")
    given = program("render", "-i", inventory, "--format", "lws", "--json").json()
    assert answer.stdout == given["files"]["lws.yaml"]
    assert answer.stdout.startswith("# Cluster qnext-test")


def test_several_are_told_apart(program: Program, inventory: Path) -> None:
    answer = program("render", "-i", inventory, "--format", "compose")
    marks = [line for line in answer.stdout.splitlines() if line.startswith("# ---- ")]
    assert marks == ["# ---- node0.compose.yaml", "# ---- node1.compose.yaml"]


def test_files_of_others_are_left_alone(program: Program, inventory: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "README.txt").write_text("mine\n")
    (out / "node1.worker1.sh").write_text("mine too\n")

    answer = program("render", "-i", inventory, "--out", out)

    assert answer.exit == 2
    assert "README.txt" in answer.stderr
    assert "node1.worker1.sh" in answer.stderr
    assert "--force" in answer.stderr
    assert written(out) == ["README.txt", "node1.worker1.sh"]
    assert (out / "README.txt").read_text() == "mine\n"

    assert program("render", "-i", inventory, "--out", out, "--force").exit == 0
    assert "Launch scripts of cluster" in (out / "README.txt").read_text()


def test_what_an_earlier_render_left_is_named(program: Program, inventory: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert program("render", "-i", inventory, "--format", "systemd", "--out", out).exit == 0
    answer = program("render", "-i", inventory, "--format", "lws", "--out", out)
    assert answer.exit == 0
    named = [line.split()[1] for line in answer.stderr.splitlines() if line.startswith("note: ")]
    assert named == FILES["systemd"]


def test_companions_are_replaced_where_the_readme_names_them(program: Program, inventory: Path, tmp_path: Path) -> None:
    out, companion = tmp_path / "out", "node0.head.ray.sh"
    ray = "{topology: ray, tensor_parallel_size: 8, pipeline_parallel_size: 4}"
    text = inventory.read_text()
    start = text.index("{topology:")
    inventory.write_text(text[:start] + ray + text[text.index("\n", start) :])
    assert program("render", "-i", inventory, "--out", out).exit == 0
    (out / companion).write_text("an older one\n")
    assert program("render", "-i", inventory, "--out", out).exit == 0
    assert (out / companion).read_text().startswith("#!/bin/sh\n# Ray")

    (out / companion).write_text("an older one\n")
    (out / "README.txt").unlink()
    answer = program("render", "-i", inventory, "--out", out)
    assert answer.exit == 2
    assert companion in answer.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--npu-resource", "huawei.com/ascend-1980"), "--npu-resource is for --format lws"),
        (("--format", "lws", "--npu-resource", "Ascend 910"), "no name of a resource"),
        (("--format", "helm"), "'scripts', 'compose', 'systemd', 'lws'"),
    ],
)
def test_wrong_words(words: tuple[str, ...], told: str, program: Program, inventory: Path) -> None:
    answer = program("render", "-i", inventory, *words)
    assert answer.exit == 2
    assert told in answer.stderr


def test_the_resource_has_the_name_of_the_plugin(program: Program, inventory: Path) -> None:
    answer = program("render", "-i", inventory, "--format", "lws", "--npu-resource", "huawei.com/ascend-1980")
    assert answer.stdout.count("huawei.com/ascend-1980: '16'") == 4
    assert "Ascend910" not in answer.stdout


def test_what_a_format_cannot_express_is_an_error_with_a_remedy(program: Program, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("topology: data-parallel", "topology: external-dp"))
    answer = program("render", "-i", inventory, "--format", "lws")
    assert answer.exit == 2
    assert "external-dp can't be a LeaderWorkerSet" in answer.stderr
    assert "topology data-parallel" in answer.stderr


def test_the_scripts_of_a_source_install(program: Program, inventory: Path, tmp_path: Path) -> None:
    refused = program("render", "-i", inventory, "--build")
    assert (refused.exit, "install.method is image" in refused.text) == (2, True)
    text = inventory.read_text()
    source = tmp_path / "source.yaml"
    source.write_text(re.sub(r"install: *\{.*?\}\n", "install: {method: source, source: {release: v0.18.0}}\n", text))
    for _ in range(2):
        answer = program("render", "-i", source, "--build", "--out", tmp_path / "out")
        assert answer.exit == 0, answer.text
    assert written(tmp_path / "out") == ["build.sh", "install.sh"]
    assert "VLLM_TARGET_DEVICE" in (tmp_path / "out" / "build.sh").read_text()
    assert list(program("render", "-i", source, "--build", "--json").json()["files"]) == ["build.sh", "install.sh"]
