"""``explain``: every check and code has a page that says how it is judged, set and waived."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
import yaml

from provision import registry
from provision.checks.policy import LAYOUT_CODES, policy
from provision.cli.explain import explained
from provision.inventory.load import load
from tests.scenarios.program import Program

SPECS = registry.checks()


@pytest.mark.parametrize(
    "words", [["N09"], ["n09"], ["npu_free"], ["npu-free"], ["check", "npu-free"], ["check", "N09"], ["n9"]]
)
def test_a_check_by_any_of_its_names(words: list[str], program: Program) -> None:
    answer = program("explain", *words)
    assert answer.exit == 0, answer.text
    assert answer.stdout.startswith("N09  npu_free\nNobody else uses the NPUs.\n")
    for piece in (
        "level      fail",
        "judges     each node",
        "waive it",
        "source     domain 1.4; ",
    ):
        assert piece in answer.stdout, piece


def test_a_code_of_the_layout(program: Program) -> None:
    text = program("explain", "s11").stdout
    assert text.startswith("S11\nPorts are distinct and out of ranges that others take.\n\n- each port has one purpose")
    assert "provision/serve/rules/ports.py" in text


@pytest.mark.parametrize("code", ["T5", "t5"])
def test_a_code_of_a_topology(code: str, program: Program) -> None:
    answer = program("explain", code)
    assert answer.exit == 0, answer.text
    says = "External data parallel is one that upstream tests."
    assert answer.stdout.startswith(f"{code.upper()}\n{says}\n\n- upstream runs external data parallel only")


def test_as_json(program: Program) -> None:
    told = program("explain", "N24", "--json").json()
    assert (told["code"], told["name"], told["scope"]) == ("N24", "tuning", "node")
    assert {"name", "default", "description"} == set(told["thresholds"][0])
    listed = program("explain", "check", "--json").json()
    assert {row["code"] for row in listed} >= {"N01", "S20", "X01"}
    assert program("explain", "module", "image", "--json").json()["name"] == "image"


@pytest.mark.parametrize("name", [*(spec.name for spec in SPECS), *LAYOUT_CODES])
def test_every_check_and_code_has_a_page(name: str) -> None:
    about = explained(name)
    assert about.rule.endswith(".")
    assert about.file.startswith("provision/")
    assert all(threshold.description for threshold in about.thresholds), "an operator must know what it is"


def _examples(text: str) -> dict[str, object]:
    """The ``qnext`` blocks that a page shows, as one."""
    indent = " " * 13
    lines = [line.removeprefix(indent) for line in text.splitlines() if line.startswith(indent)]
    blocks = [
        yaml.safe_load(f"{first}\n{second}")["qnext"] for first, second in zip(lines[::2], lines[1::2], strict=True)
    ]
    return {key: value for block in blocks for key, value in block.items()}


@pytest.mark.parametrize("name", [*(spec.name for spec in SPECS), *LAYOUT_CODES])
def test_what_a_page_advises_is_taken(name: str, inventory: Path) -> None:
    from provision.cli.explain import _text

    advice = _examples(_text("check", name))
    assert set(advice) == {"checks", "waive"}
    data = yaml.safe_load(inventory.read_text())
    data["all"]["vars"]["qnext"] |= advice
    inventory.write_text(yaml.safe_dump(data))
    settings = load(inventory).settings
    made = policy(settings)
    key = name.lower()
    assert key in made.levels
    assert made.waivers[key].until > date(2026, 1, 1)


def test_everything_is_listed(program: Program) -> None:
    text = program("explain").stdout
    for spec in SPECS:
        assert f"  {spec.code} {spec.name} " in text
    for piece in ("modules:", "checks:", "playbooks:", "profiles:", "  S20 ", "qnext-provision explain N09"):
        assert piece in text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["npufree"], "did you mean 'npu_free'?"),
        (["N99"], "did you mean 'N"),
        (["check", "nothing-like-it"], "lists all"),
        (["modul", "image"], "did you mean 'module'?"),
        (["what", "image"], "one of module, check, playbook or profile"),
        (["module", "image", "more"], "not 3 words"),
        (["module", "imag"], "did you mean 'image'?"),
        (["profile", "qwen3-nxt"], "did you mean 'qwen3-next-80b-a3b-instruct', "),
        (["deepseek-v3.2"], "did you mean 'deepseek-v3.2-w8a8'?"),
    ],
    ids=" ".join,
)
def test_wrong_words(words: list[str], says: str, program: Program) -> None:
    answer = program("explain", *words)
    assert answer.exit == 2
    assert says in answer.text


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["EI0006"], ["EI0006  Communication_Error_Get_Socket", "failure    hccl-link-timeout: "]),
        (["ei0006"], ["EI0006  Communication_Error_Get_Socket"]),
        (["507899"], ["507899  ACL_ERROR_RT_DRV_INTERNAL_ERROR", "failure    npu-driver-error: "]),
        (["-8005"], ["-8005\n", "failure    npu-in-use: "]),
        (["hccl", "9"], ["hccl-9  HCCL_E_TIMEOUT"]),
        (["EI0099"], ["Not a code that is known here. It looks like one of HCCL: "]),
        (
            ["hccl-link-timeout"],
            ["A link between two NPUs did not come up.", "runbook    hccl-timeout", "domain 12 #7"],
        ),
        (["failure", "acl-device"], ["The NPU or its driver failed (CODE)."]),
        (["failure"], ["  hccl-link-timeout ", "a link between two NPUs did not come up"]),
        (["code"], ["  EI0006 ", "  507899 "]),
    ],
    ids=lambda value: " ".join(value)[:20],
)
def test_failures_and_codes(words: list[str], says: list[str], program: Program) -> None:
    answer = program("explain", *words)
    assert answer.exit == 0, answer.text
    for piece in says:
        assert piece in answer.stdout, piece


def test_failures_and_codes_as_json(program: Program) -> None:
    code = program("explain", "EI0015", "--json").json()
    assert (code["kind"], code["known"], code["failures"]) == ("code", True, ["hccl-negotiation-timeout"])
    failure = program("explain", "npu-out-of-memory", "--json").json()
    assert (failure["kind"], failure["runbook"], failure["scope"]) == ("failure", "npu-memory", "config")


@pytest.mark.parametrize(
    ("words", "says"),
    [(["EI00O6"], "did you mean 'EI0016'?"), (["failure", "hccl-link"], "did you mean"), (["--jsn"], "No such option")],
    ids=["code", "failure", "option"],
)
def test_wrong_failures_and_codes(words: list[str], says: str, program: Program) -> None:
    answer = program("explain", *words)
    assert answer.exit == 2
    assert says in answer.text
