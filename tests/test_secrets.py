"""A secret can be used and cannot be seen."""

from __future__ import annotations

import copy
import json
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest
from pydantic import BaseModel

from provision import secrets, shell
from provision.errors import UsageError
from provision.inventory.model import Connection
from provision.secrets import MASK, Secret, redact

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
    text = redact(f"Authorization: {write(CANARY)}, again {write(CANARY)}")  # type: ignore[operator]
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
