"""A secret can be used and cannot be seen."""

from __future__ import annotations

import base64
import copy
import json
import re
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from provision import secrets, shell
from provision.errors import UsageError
from provision.inventory.model import Connection
from provision.secrets import MASK, Secret, know, redact, redact_bytes, redact_data, redacted_inventory

CANARY = "c4nary-'\"-ünseen"


class Holder(BaseModel):
    key: Secret


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_revealed", set())
    monkeypatch.setattr(secrets, "_masked", ())


def test_a_literal_is_shown_nowhere() -> None:
    secret = Secret.of(CANARY)
    holder = Holder(key=secret)
    shown = [str(secret), repr(secret), f"{secret}", repr(holder), str(holder), holder.model_dump_json()]
    shown += [repr(Connection(password=secret)), str(asdict(Connection(password=secret))), repr([secret])]
    assert not [text for text in shown if "c4nary" in text]
    assert secret.reveal() == CANARY


def test_a_reference_is_shown_by_its_name() -> None:
    assert repr(Secret.of({"env": "KEY"})) == "Secret(env: KEY)"
    assert str(Secret.of({"env": "KEY"})) == MASK


@pytest.mark.parametrize("write", [str, shell.quote, json.dumps, lambda text: json.dumps(text, ensure_ascii=False)])
def test_the_redactor_knows_it_in_every_writing(write: object) -> None:
    Secret.of(CANARY)
    text = redact(f"Authorization: {write(CANARY)}, again {write(CANARY)}")
    assert "c4nary" not in text
    assert text.count(MASK) == 2


def test_each_line_of_a_long_secret_is_masked() -> None:
    Secret.of("-----BEGIN-----\nabcdefgh\n-----END-----")
    assert redact("log: abcdefgh") == f"log: {MASK}"


def test_a_longer_secret_is_masked_before_a_shorter_one_that_it_holds() -> None:
    Secret.of("abcd")
    Secret.of("abcd-efgh")
    assert redact("x abcd-efgh abcd") == f"x {MASK} {MASK}"


def test_an_environment_secret_is_masked_once_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QNEXT_TEST_KEY", CANARY)
    secret = Secret.of({"env": "QNEXT_TEST_KEY"})
    assert secret.reveal() == CANARY
    assert redact(CANARY) == MASK


def test_a_missing_variable_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QNEXT_TEST_KEY", raising=False)
    with pytest.raises(UsageError, match="QNEXT_TEST_KEY") as caught:
        Secret.of({"env": "QNEXT_TEST_KEY"}).reveal()
    assert caught.value.hint == "export QNEXT_TEST_KEY=…"


def test_a_file_gives_its_text_without_the_last_line_end(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("s3cret-value\n")
    assert Secret.of({"file": str(file)}).reveal() == "s3cret-value"


def test_an_unreadable_file_tells_nothing_of_its_content(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"s3cret\xff\xfe")
    with pytest.raises(UsageError, match="not UTF-8") as caught:
        Secret.of({"file": str(file)}).reveal()
    assert "s3cret" not in repr(caught.value)
    assert caught.value.__cause__ is None
    with pytest.raises(UsageError, match="No such file"):
        Secret.of({"file": str(tmp_path / "absent")}).reveal()


def test_a_command_runs_once_for_all_who_ask(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = f"open({str(count)!r}, 'a').write('x'); print('s3cret-output')"
    reference = {"command": shell.join([sys.executable, "-c", script])}
    answers: list[str] = []
    threads = [threading.Thread(target=lambda: answers.append(Secret.of(reference).reveal())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == ["s3cret-output"] * 4
    assert count.read_text() == "x"


def test_a_failing_command_is_named_with_what_it_said() -> None:
    with pytest.raises(UsageError, match="exit status 3") as caught:
        Secret.of({"command": "sh -c 'echo locked >&2; echo s3cret; exit 3'"}).reveal()
    assert caught.value.evidence == "locked\n"
    assert "s3cret" not in str(caught.value).replace("echo s3cret", "")


@pytest.mark.parametrize("command", ["", "/no/such/program", "'open"])
def test_a_command_that_cannot_run_is_a_usage_error(command: str) -> None:
    with pytest.raises(UsageError, match="command"):
        Secret.of({"command": command}).reveal()


@pytest.mark.parametrize(
    "value", [1, None, True, [], {}, {"env": "A", "file": "B"}, {"envv": "A"}, {"env": 1}, {"env": None}, ["A"]]
)
def test_anything_else_is_no_secret(value: object) -> None:
    with pytest.raises(ValueError, match=r"a text, \{env: NAME\}"):
        Secret.of(value)


def test_equal_references_are_equal_and_copies_work() -> None:
    assert Secret.of({"env": "A"}) == Secret.of({"env": "A"}) != Secret.of({"file": "A"})
    assert len({Secret.of("abcd"), Secret.of("abcd")}) == 1
    assert copy.deepcopy(Secret.of("abcd")).reveal() == "abcd"


def test_short_secrets_leave_texts_readable() -> None:
    Secret.of("abc")
    assert redact("abc") == "abc"


def _in_base64(before: str) -> Callable[[str], str]:
    return lambda text: base64.b64encode(f"{before}{text} and more".encode()).decode()


@pytest.mark.parametrize("before", ["", "a", "ab", "user:"])
def test_base64_holds_it_nowhere(before: str) -> None:
    Secret.of("hunter2!hunter2")
    text = _in_base64(before)("hunter2!hunter2")
    clean = redact(f"x {text} y")
    assert MASK in clean
    assert b"hunter2!hun" not in base64.b64decode(clean[2:-2].replace(MASK, "AAAA") + "===")


@pytest.mark.parametrize("write", [quote_plus, quote, lambda text: quote(text, safe="").lower()])
def test_a_url_holds_it_nowhere(write: Callable[[str], str]) -> None:
    Secret.of("s l/a+sh=x")
    assert redact(f"GET /x?q={write('s l/a+sh=x')} HTTP/1.1") == f"GET /x?q={MASK} HTTP/1.1"


def test_bytes_and_texts_are_masked_alike() -> None:
    Secret.of(CANARY)
    text = f"export HF_TOKEN=abc {CANARY} é\n"
    assert redact_bytes(text.encode()).decode() == redact(text) == f"export HF_TOKEN={MASK} {MASK} é\n"
    assert redact_bytes(b"\xff PASSWORD=abc \xfe\n") == b"\xff PASSWORD=" + MASK.encode() + b" \xfe\n"
    assert redact("\ud800 PASSWORD=abc") == f"\ud800 PASSWORD={MASK}"


def test_what_holds_no_secret_is_the_same_object() -> None:
    data, text = b"INFO 8192 tokens/s\n", "INFO 8192 tokens/s\n"
    assert redact_bytes(data) is data
    assert redact(text) is text


def test_data_is_masked_by_keys_and_by_options_before_values() -> None:
    data = {"env": {"HF_TOKEN": 'a"b', "A": "1"}, "argv": ("--api-key", "abc", "--port", "8000"), "n": 1, "x": None}
    assert redact_data(data) == {
        "env": {"HF_TOKEN": MASK, "A": "1"},
        "argv": ("--api-key", MASK, "--port", "8000"),
        "n": 1,
        "x": None,
    }


def test_an_inventory_keeps_its_structure_and_comments() -> None:
    cases = yaml.safe_load((Path(__file__).parent / "redacted_inventory.yaml").read_text(encoding="utf-8"))
    clean = redacted_inventory(cases["inventory"])
    assert clean == cases["redacted"]
    assert "c4nary" not in clean
    assert yaml.safe_load(clean)["all"]["vars"]["qnext"]["deploy"] == {"private_key": MASK, "port": 8000}


def test_an_inventory_that_is_no_yaml_is_masked_all_the_same() -> None:
    assert redacted_inventory("a: [\nansible_password: c4nary\n") == f"a: [\nansible_password: {MASK}\n"


@given(st.text(alphabet="ab:'\"{}[]#-|>&*!% \n\\", max_size=60))
def test_any_text_may_be_an_inventory(text: str) -> None:
    redacted_inventory(f"all:\n  api_key: {text}\n")


def test_what_an_environment_says_openly_is_known_by_its_name() -> None:
    know({"HF_TOKEN": "c4nary-open", "VLLM_USE_V1": "12345", "API_KEY": "$OTHER"})
    assert redact("loading with c4nary-open 12345 $OTHER") == f"loading with {MASK} 12345 $OTHER"


@pytest.mark.parametrize("encode", [base64.b64encode, base64.encodebytes])
def test_files_that_travel_in_base64_keep_none(encode: Callable[[bytes], bytes]) -> None:
    Secret.of("known-to-us")
    script = b"#!/bin/sh\n" + b"# a long script\n" * 20 + b"export HF_TOKEN=c4nary\necho known-to-us\n"
    text = f"@@ file\n{encode(script).decode()}\n@@ end\n"
    clean = str(redact_data(text))
    assert base64.b64decode(clean.split("\n", 1)[1].rpartition("@@")[0]) == re.sub(
        b"c4nary|known-to-us", MASK.encode(), script
    )
    innocent = f"@@ file\n{encode(b'# a long script, and no secret' * 9).decode()}\n@@ end\n"
    assert redact_data(innocent) == innocent
