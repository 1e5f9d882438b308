"""An error on the terminal: the place, the evidence, the remedy, and all others of the same load."""

from __future__ import annotations

import pytest

from provision.cli.failure import exit_with, lines
from provision.errors import ChecksFailed, ConfigError, ConnectFailed, Interrupted, Position, ProvisionError
from provision.secrets import Secret


def test_all_that_an_error_carries() -> None:
    error = ProvisionError("it broke", node="atlas-1", hint="mend it", evidence="line 1\nline 2")

    assert list(lines(error)) == ["error: atlas-1: it broke", "    line 1", "    line 2", "  remedy: mend it"]


def test_other_errors_of_the_same_load_follow() -> None:
    where = Position("cluster.yaml", 3, 5)
    error = ConfigError("first", where=where, others=[ConfigError("second", hint="so")])

    assert list(lines(error)) == ["error: cluster.yaml:3:5: first", "error: second", "  remedy: so"]


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        (None, 0),
        (6, 6),
        ("text", 0),
        (ConfigError("x"), 2),
        (ChecksFailed("x"), 3),
        (ConnectFailed("x"), 4),
        (Interrupted("x"), 130),
    ],
)
def test_exit_statuses(outcome: object, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        exit_with(outcome)

    assert caught.value.code == status
    assert capsys.readouterr().out == ""


def test_secrets_are_masked(capsys: pytest.CaptureFixture[str]) -> None:
    Secret.of("sk-canary-7").reveal()

    with pytest.raises(SystemExit):
        exit_with(ProvisionError("the server said: sk-canary-7 is wrong"))

    assert "canary" not in capsys.readouterr().err
