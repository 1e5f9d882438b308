"""Becoming root: through stand-ins for sudo that behave as the real one does in each of its moods."""

from __future__ import annotations

from pathlib import Path

import pytest

from provision.errors import SudoRefused
from provision.facts.base import Fact
from provision.inventory.model import Connection
from provision.secrets import Secret
from provision.transport.local import LocalTransport
from tests.transport.servers import host

pytestmark = pytest.mark.rehearsal

PASSWORD = "it's a secret"
LETS_IN = '[ "$1" = -n ] && shift; [ "$1" = -S ] && shift 3; BECAME=root exec "$@"'
WANTS_PASSWORD = f"""\
[ "$1" = -n ] && {{ echo "sudo: a password is required" >&2; exit 1; }}
shift 3
n=0
while IFS= read -r given; do
  echo "$given" >>"$SUDO_LOG"
  [ "$given" = "{PASSWORD}" ] && {{ BECAME=root exec "$@"; }}
  echo "Sorry, try again." >&2; n=$((n + 1)); [ $n -lt 3 ] || break
done
echo "sudo: 3 incorrect password attempts" >&2
exit 1
"""
SAYS = {
    "wants a tty": ("sudo: sorry, you must have a tty to run sudo", "requiretty"),
    "not in sudoers": ("tester is not in the sudoers file.  This incident will be reported.", "NOPASSWD"),
    "not allowed": ("Sorry, user tester is not allowed to execute '/bin/sh -s' as root on node.", "NOPASSWD"),
    "asks": ("sudo: a password is required", "ansible_become_password"),
}


class Sudo:
    """A folder in front of PATH with the stand-in."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log = folder / "log"
        self._file = folder / "sudo"
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        monkeypatch.setenv("SUDO_LOG", str(self.log))
        monkeypatch.setattr("os.geteuid", lambda: 1000)

    def does(self, script: str) -> None:
        self._file.write_text(f"#!/bin/sh\n{script}\n")
        self._file.chmod(0o755)

    def attempts(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@pytest.fixture
def sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sudo:
    return Sudo(tmp_path, monkeypatch)


def transport(password: str | None = None) -> LocalTransport:
    secret = Secret.of(password) if password else None
    return LocalTransport(host(Connection(kind="local", become=True, become_password=secret)))


def test_without_a_password(sudo: Sudo) -> None:
    sudo.does(LETS_IN)
    node = transport()
    assert node.run('echo "${BECAME-nobody}"', deadline=10).stdout == "root\n"
    assert node.run('echo "${BECAME-nobody}"', deadline=10, become=False).stdout == "nobody\n"


def test_input_deadline_and_streams_work_behind_sudo(sudo: Sudo) -> None:
    sudo.does(LETS_IN)
    node = transport()
    assert node.run("cat", deadline=10, input=b"data").stdout == "data"
    assert node.run("sleep 100", deadline=0.3).timed_out
    assert list(node.stream("echo a; echo b")) == [b"a", b"b"]


def test_with_a_password_that_is_wanted(sudo: Sudo) -> None:
    sudo.does(WANTS_PASSWORD)
    node = transport(PASSWORD)
    for _ in range(3):
        assert node.run('echo "$BECAME"; cat', deadline=10, input=b"in").stdout == "root\nin"
    assert sudo.attempts() == [PASSWORD] * 3


def test_a_password_that_nobody_asks_for_is_no_part_of_the_script(sudo: Sudo) -> None:
    sudo.does(LETS_IN)
    node = transport("touch /nonexistent/file")
    for _ in range(2):
        result = node.run("echo ran; cat", deadline=10)
        assert (result.exit, result.stdout, result.stderr) == (0, "ran\n", "")


def test_a_wrong_password_costs_one_attempt_not_three(sudo: Sudo) -> None:
    sudo.does(WANTS_PASSWORD)
    with pytest.raises(SudoRefused, match="not accepted") as caught:
        transport("wrong").run("true", deadline=10)
    assert sudo.attempts() == ["wrong"]
    assert "wrong" not in caught.value.message + caught.value.evidence + caught.value.hint


@pytest.mark.parametrize("mood", list(SAYS))
def test_a_refusal_names_its_remedy(sudo: Sudo, mood: str) -> None:
    says, remedy = SAYS[mood]
    sudo.does(f'echo "{says}" >&2; exit 1')
    with pytest.raises(SudoRefused) as caught:
        transport().run("true", deadline=10)
    assert remedy in caught.value.hint
    assert caught.value.evidence == says


def test_sudo_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("sh", "cat", "sleep"):
        (tmp_path / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(SudoRefused, match="not installed"):
        transport().run("true", deadline=10)


def test_a_script_that_fails_is_no_refusal(sudo: Sudo) -> None:
    sudo.does(LETS_IN)
    assert transport().run("echo sudo: a password is required >&2; exit 1", deadline=10).exit == 1


def test_probes_run_as_root(sudo: Sudo) -> None:
    class Who(Fact[str]):
        name = "who"

        def script(self) -> str:
            return 'echo "$BECAME"'

    sudo.does(LETS_IN)
    assert next(iter(transport().probe([Who()]).values())).stdout == "root\n"


def test_root_needs_no_sudo(sudo: Sudo, monkeypatch: pytest.MonkeyPatch) -> None:
    sudo.does("exit 1")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert transport().run("echo fine", deadline=10).stdout == "fine\n"
