"""``import`` on the command line: files in, an inventory and all that is said of it out."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.inventory.load import load
from tests.scenarios.program import Program
from tests.serve.importing.recipes import HEAD, INTERNAL, WORKER


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "two-nodes.yaml"
    path.write_text(INTERNAL)
    return path


def test_vllm_ascend_writes_an_inventory_that_lint_and_render_take(
    program: Program, recipe: Path, tmp_path: Path
) -> None:
    out = tmp_path / "cluster.yaml"
    answer = program("import", "vllm-ascend", recipe, "--hosts", "10.0.0.1,10.0.0.2", "-o", out)
    assert answer.exit == 0
    assert f"next: qnext-provision lint -i {out}" in answer.stdout
    assert "warn  the recipe names no image" in answer.stderr
    assert [host.settings.data_address for host in load(out).hosts] == ["10.0.0.1", "10.0.0.2"]
    assert program("lint", "-i", out).exit == 0
    rendered = program("render", "-i", out)
    assert rendered.exit == 0
    assert rendered.stdout.count("# ---- ") == 2


def test_an_existing_file_is_not_overwritten(program: Program, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "cluster.yaml"
    out.write_text("mine\n")
    answer = program("import", "vllm-ascend", recipe, "-o", out)
    assert answer.exit == 2
    assert answer.errors == [f"error: {out} exists already"]
    assert out.read_text() == "mine\n"
    assert program("import", "vllm-ascend", recipe, "-o", out, "--force").exit == 0
    assert out.read_text() != "mine\n"


def test_printed_without_o(program: Program, recipe: Path) -> None:
    answer = program(
        "import", "vllm-ascend", recipe, "--cluster", "mine", "--image", "quay.io/ascend/vllm-ascend:v0.18.0-a3"
    )
    assert answer.exit == 0
    assert answer.stdout.startswith("# Imported by qnext-provision import from two-nodes.yaml.")
    assert "cluster: mine" in answer.stdout
    assert "names no image" not in answer.text


def test_json(program: Program, recipe: Path) -> None:
    data = program("import", "vllm-ascend", recipe, "--json").json()
    assert data["inventory"].startswith("# Imported")
    assert {note["level"] for note in data["notes"]} == {"warn", "info"}
    assert isinstance(data["findings"], list)


def test_errors_name_the_place(program: Program, recipe: Path) -> None:
    recipe.write_text(INTERNAL.replace("num_nodes: 2", "num_nodes: 3"))
    answer = program("import", "vllm-ascend", recipe)
    assert answer.exit == 2
    assert answer.errors == [f"error: {recipe}:3:12: num_nodes is 3, but deployment has 2"]
    assert "remedy: " in answer.stderr


def test_docker_run_from_files(program: Program, tmp_path: Path) -> None:
    files = [tmp_path / "node0.sh", tmp_path / "node1.sh"]
    for file, text in zip(files, (HEAD, WORKER), strict=True):
        file.write_text(text)
    out = tmp_path / "cluster.yaml"
    answer = program("import", "docker-run", *files, "-o", out, "--hardware", "atlas-800-a2")
    assert answer.exit == 0
    assert [host.settings.data_address for host in load(out).hosts] == ["10.0.0.1", "10.0.0.2"]


def test_what_cannot_work_is_written_and_told(program: Program, tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("vllm serve /data/m --tensor-parallel-size 32\n")
    out = tmp_path / "cluster.yaml"
    answer = program("import", "docker-run", script, "-o", out)
    assert answer.exit == 3
    assert "fail  S03" in answer.stderr
    assert out.is_file()


def test_nothing_pasted(program: Program) -> None:
    answer = program("import", "docker-run")
    assert answer.exit == 2
    assert answer.errors == ["error: standard input:1:1: no vllm serve is started here"]


def test_hosts_without_an_address_are_the_next_step(program: Program, recipe: Path, tmp_path: Path) -> None:
    out = tmp_path / "cluster.yaml"
    answer = program("import", "vllm-ascend", recipe, "-o", out)
    assert answer.exit == 0
    assert f"next: give each host of {out} its address (ansible_host)" in answer.stdout


def test_what_is_refused_is_named_by_the_file_that_was_written(program: Program, tmp_path: Path) -> None:
    script, out = tmp_path / "run.sh", tmp_path / "cluster.yaml"
    script.write_text("docker run 'a b' vllm serve /m\n")
    answer = program("import", "docker-run", script, "-o", out)
    assert answer.exit == 3
    assert any(line.startswith(f"error: {out}:") for line in answer.stderr.splitlines())
