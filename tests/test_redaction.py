"""What looks like a secret is masked; what only looks as if it did stays readable."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provision.redaction import MASK, is_secret, masked

CASES = yaml.safe_load(Path(__file__).with_name("redaction.yaml").read_text(encoding="utf-8"))


def shown(text: str) -> str:
    return masked(text.encode()).decode()


@pytest.mark.parametrize("case", CASES["masked"])
def test_secrets_are_masked(case: str) -> None:
    text, arrow, left = case.partition(" -> ")
    clean = shown(text)
    assert "c4n" not in clean.lower()
    assert clean != text
    assert not arrow or clean == left


@pytest.mark.parametrize("text", CASES["open"])
def test_what_is_none_stays_readable(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize("case", CASES["masked"])
def test_a_mask_is_not_masked_again(case: str) -> None:
    clean = shown(case)
    assert shown(clean) == clean


@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("case", CASES["masked"])
def test_json_stays_json_and_hides_the_same(case: str, levels: int) -> None:
    text: object = {"line": case.partition(" -> ")[0], "next": [1]}
    for _ in range(levels):
        text = json.dumps(text)
    clean: object = shown(str(text))
    assert "c4n" not in str(clean).lower()
    for _ in range(levels):
        clean = json.loads(str(clean))
    assert isinstance(clean, dict)
    assert clean["next"] == [1]


def test_numbers_in_json_become_texts() -> None:
    assert json.loads(shown('{"password": 12345, "port": 8000}')) == {"password": MASK, "port": 8000}


def test_docker_inspect_keeps_its_names() -> None:
    inspected = {"Env": ["HF_TOKEN=a'b", 'DB_PASSWORD=a"b\\', "PATH=/bin"], "Args": ["--api-key", "c4nary", "-x"]}
    clean = json.loads(shown(json.dumps(inspected, indent=4)))
    assert clean["Env"] == [f"HF_TOKEN={MASK}", f"DB_PASSWORD={MASK}", "PATH=/bin"]
    assert clean["Args"] == ["--api-key", MASK, "-x"]


def test_the_body_of_a_private_key_goes_and_the_rest_stays() -> None:
    text = "a\n-----BEGIN RSA PRIVATE KEY-----\nAAA\nBBB\n-----END RSA PRIVATE KEY-----\nb"
    assert shown(text) == f"a\n-----BEGIN RSA PRIVATE KEY-----{MASK}-----END RSA PRIVATE KEY-----\nb"


def test_an_unfinished_quote_hides_its_line_only() -> None:
    assert shown("PASSWORD='c4nary and so on\nnext line") == f"PASSWORD='{MASK}\nnext line"


@pytest.mark.parametrize("value", ["", "R", "b", "u"])
def test_a_value_of_one_letter_or_none_is_no_opening_quote(value: str) -> None:
    data = {"env": [f"HF_TOKEN={value}", "PATH=/usr/bin"], "last": [f"db_password={value}"], "n": 1}
    clean = json.loads(shown(json.dumps(data)))
    assert clean["env"][1] == "PATH=/usr/bin"
    assert clean["n"] == 1


@given(st.binary(max_size=300))
def test_any_bytes_are_taken(data: bytes) -> None:
    clean = masked(data)
    assert masked(clean) == clean


@given(st.text(max_size=40).filter(lambda text: text.strip()), st.sampled_from(["HF_TOKEN", "db_password", "api_key"]))
def test_json_of_any_value_stays_json(value: str, name: str) -> None:
    for data in ({name: value, "n": 1}, {"env": [f"{name}={value}"], "n": 1}, {"cmd": f"{name}='{value}' x", "n": 1}):
        assert json.loads(shown(json.dumps(data)))["n"] == 1


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("HF_TOKEN", "abc", True),
        ("--api-key", "abc", True),
        ("ansible_password", 'a"b\\c', True),
        ("ansible_password", "{{ vault }}", False),
        ("ansible_user", "root", False),
        ("eos_token", "</s>", False),
        ("PASSWORD", "", False),
    ],
)
def test_a_name_tells_what_its_value_is(name: str, value: str, secret: bool) -> None:
    assert is_secret(name, value) is secret


@pytest.mark.parametrize(
    "piece",
    [
        "token=",
        "token_",
        "api_key=$(",
        "password='",
        "@://a:b",
        "@proxy=a",
        "eyJaaaaaaaa",
        "PRIVATE KEY-----",
        "key\\\\",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    """By the clock of this process's own CPU, with much room: quadratic time would take minutes."""
    data = (piece * (1 + 200_000 // len(piece))).encode()
    began = time.process_time()
    masked(data)
    assert time.process_time() - began < 5
