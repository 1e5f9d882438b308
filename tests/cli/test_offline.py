"""The commands that need no node: render, lint, parse, schema, explain."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.program import Program

TABLE = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.5.1                   Version: 25.5.1                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 93.4        41                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          3385 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 0       0                 | 4711          | python3                  | 30000                   |
+===========================+===============+====================================================+
"""


def test_render_writes_a_script_a_process(program: Program, inventory: Path, tmp_path: Path) -> None:
    answer = program("render", "-i", inventory, "--out", tmp_path / "out")

    assert answer.exit == 0, answer.text
    scripts = sorted((tmp_path / "out").glob("*.sh"))
    assert [path.name for path in scripts] == ["node0.head.sh", "node1.worker1.sh"]
    for path in scripts:
        assert os.access(path, os.X_OK)
        assert str(path) in answer.stdout
        assert subprocess.run(["sh", "-n", path], check=False).returncode == 0


def test_render_prints_or_gives_json(program: Program, inventory: Path) -> None:
    printed = program("render", "-i", inventory)
    given = program("render", "-i", inventory, "--json").json()

    assert [line for line in printed.stdout.splitlines() if line.startswith("# ---- ")] == [
        "# ---- node0.head.sh",
        "# ---- node1.worker1.sh",
    ]
    assert given["plan"]["head"] == "head"
    assert given["scripts"]["node0.head.sh"] in printed.stdout


def test_render_where_nothing_can_be_written(program: Program, inventory: Path) -> None:
    answer = program("render", "-i", inventory, "--out", inventory)

    assert answer.exit == 2
    assert answer.errors == [f"error: {inventory}: File exists"]


def test_render_without_addresses(program: Program, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("192.0.2.1", "atlas-1.example"))

    answer = program("render", "-i", inventory)

    assert answer.exit == 2
    assert "qnext.data_address" in answer.stderr


def test_lint(program: Program, inventory: Path) -> None:
    good = program("lint", "-i", inventory, "--json")
    assert (good.exit, good.json()["ok"]) == (0, True)

    inventory.write_text(inventory.read_text().replace("tensor_parallel_size: 4", "tensor_parallel_size: 16"))
    bad = program("lint", "-i", inventory)
    assert bad.exit == 3
    assert bad.stdout.startswith("fail  S03  tensor parallel 16 x data parallel 8 over 2 nodes need 64 devices")
    assert "\n      rule: tensor and pipeline parallel fit the model\n" in bad.stdout
    assert "\n      source: vllm-ascend Qwen3-Next document, section 9.1; vllm-ascend issue 7729\n" in bad.stdout
    assert "\n      remedy: valid here: " in bad.stdout
    assert re.search(r": 2 hosts, \d failures?, 0 warnings: this can't work as it is\n$", bad.stdout), bad.stdout
    as_json = program("lint", "-i", inventory, "--json")
    assert (as_json.exit, as_json.json()["ok"]) == (3, False)
    assert all(f["remedy"] and f["source"] and f["rule"] and f["code"] for f in as_json.json()["findings"])


def test_lint_warns_and_goes_on(program: Program, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("serve: {", "serve: {env: {HCCL_CONNECT_TIMEOUT: 60}, "))

    answer = program("lint", "-i", inventory)

    assert answer.exit == 0, answer.text
    assert answer.stdout.startswith(
        "warn  S15  HCCL_CONNECT_TIMEOUT=60: legal are 120 to 7200 s\n      rule: time-outs"
    )
    assert answer.stdout.endswith("2 hosts, 1 warning, nothing that can't work\n")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "cluster: qnext-test",
            "cluster: qnext-test\n      checks: {npu_helth: warn}",
            ":5:16: qnext.checks: no check is",
        ),
        (
            "profile: qwen3-next-80b-a3b-instruct",
            "profile: qwen4",
            ":7:24: model.profile: no profile is called 'qwen4'",
        ),
    ],
)
def test_lint_names_the_place_of_an_unknown_name(
    old: str, new: str, says: str, program: Program, inventory: Path
) -> None:
    inventory.write_text(inventory.read_text().replace(old, new))

    answer = program("lint", "-i", inventory)

    assert answer.exit == 2
    assert says in answer.stderr


def test_lint_shows_what_is_suspicious(program: Program, inventory: Path) -> None:
    inventory.write_text(inventory.read_text().replace("192.0.2.2", "192.0.2.1"))

    answer = program("lint", "-i", inventory)

    assert answer.exit == 0
    assert "'atlas-1' and 'atlas-2' are both reached as 192.0.2.1" in answer.stdout
    assert len(program("lint", "-i", inventory, "--json").json()["warnings"]) == 1


def test_parse_a_table(program: Program, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text(TABLE)

    parsed = program("parse", "npu-smi-info", tmp_path / "out.txt", "--json").json()

    assert [(d["npu"], d["health"], d["hbm_used_mb"]) for d in parsed["dies"]] == [(0, "OK", 3385)]
    assert [p["pid"] for p in parsed["processes"]] == [4711]
    assert "health: OK" in program("parse", "npu-smi-info", tmp_path / "out.txt").stdout


def test_parse_standard_input() -> None:
    words = [sys.executable, "-m", "provision", "parse", "npu-smi-info", "-", "--json"]

    done = subprocess.run(words, input=TABLE, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout)["processes"][0]["pid"] == 4711


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["npu-smi-inf", "x"], "no parser 'npu-smi-inf'"),
        (["npu-smi-inf", "x"], "did you mean 'npu-smi-info'?"),
        (["npu-smi-info"], "parse needs a file"),
        (["npu-smi-info", "/nowhere"], "/nowhere: No such file or directory"),
        (["npu-smi-info", "/"], "remedy: give the path of a file that you can read"),
    ],
)
def test_parse_refuses(words: list[str], says: str, program: Program) -> None:
    answer = program("parse", *words)

    assert answer.exit == 2
    assert says in answer.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "it is empty"),
        (b"\xff\x00\x80garbage", "give it the whole output"),
        (TABLE.encode(), "it reads as npu-smi-info"),
        (b"dcmi module initialize failed. ret is -8005\n", "it is an error message: dcmi module initialize failed."),
    ],
)
def test_parse_of_another_text_shows_the_problems_and_fails(
    text: bytes, says: str, program: Program, tmp_path: Path
) -> None:
    (tmp_path / "out.txt").write_bytes(text)

    answer = program("parse", "npu-smi-topo", tmp_path / "out.txt", "--json")

    assert answer.exit == 1
    assert "no topology in the output" in json.loads(answer.stdout)["problems"]
    assert says in answer.stderr


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_parse_of_a_file_that_windows_wrote(encoding: str, program: Program, tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("\tSDID  : 7\n", encoding=encoding)

    assert program("parse", "npu-smi-spod-info", tmp_path / "out.txt", "--json").json()["sdid"] == 7


def test_parse_lists_its_kinds(program: Program) -> None:
    kinds = [line.split()[0] for line in program("parse", "--list").stdout.splitlines()]

    assert kinds[0] == "npu-smi-info"
    assert len(kinds) == len(set(kinds)) > 5


def test_schema_is_a_json_schema(program: Program) -> None:
    import jsonschema

    jsonschema.Draft202012Validator.check_schema(program("schema").json())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["module", "image"], "timeout (default 3600.0)"),
        (["module", "launch-files"], "arguments: none"),
        (["check", "npu-health"], "level      fail: stops `up`"),
        (["playbook", "down"], "confirm: true"),
        (["profile", "qwen3-next-80b-a3b-instruct"], "Qwen3-Next"),
        (["module"], "same_image"),
        ([], "playbooks:"),
    ],
)
def test_explain(words: list[str], says: str, program: Program) -> None:
    answer = program("explain", *words)

    assert answer.exit == 0, answer.text
    assert says in answer.stdout
