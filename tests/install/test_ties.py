"""Ties: lines in authorized_keys that come and go and leave all others as they are, by a real sh."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from provision.install import ties
from provision.install.ties import Door, Key
from provision.secrets import redact

KEY = Key("-----BEGIN-----\n", "ssh-ed25519 AAAAC3Nz")
SHELLS = [shell for shell in ("sh", "dash", "bash", "busybox sh") if shutil.which(shell.split()[0])]
HOST_KEY = "ssh-ed25519 AAAAHOST root@atlas\n"


def run(script: str, home: Path, shell: str = "sh", **environment: str) -> subprocess.CompletedProcess[str]:
    (home / "bin").mkdir(exist_ok=True)
    sudo = home / "bin/sudo"
    sudo.write_text(
        '#!/bin/sh\n[ "$1" = -n ] && [ "$SUDO" = yes ] || { echo "sudo: a password is required" >&2; exit 1; }\n'
    )
    sudo.chmod(0o755)
    identity = home / "bin/id"
    identity.write_text('#!/bin/sh\n[ "$1" = -un ] && echo "${ME:-root}" && exit\necho "${NUMBER:-0}"\n')
    identity.chmod(0o755)
    path = f"{home}/bin:{os.environ['PATH']}"
    env = {"HOME": str(home), "PATH": path, "SSH_CONNECTION": "192.0.2.9 4711 127.0.0.1 2022", **environment}
    return subprocess.run([*shell.split(), "-c", script], env=env, capture_output=True, text=True, check=False)


def admit(cluster: str = "qnext", *, become: bool = True) -> str:
    return ties.admit(cluster, KEY, ties.options(["10.0.0.2"]), "sh '/var/lib/q x/serve'", become=become)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    "foreign",
    [None, b"", b"ssh-rsa AAAA admin\n", b"ssh-rsa AAAA no end",
     b"# \xff\xfe\n\nx qnext:qnext-2\nqnext:qnext not last\n"]
)  # fmt: skip
def test_a_line_comes_once_and_goes_and_the_others_stay_as_they_are(
    shell: str, foreign: bytes | None, tmp_path: Path
) -> None:
    file = tmp_path / ".ssh/authorized_keys"
    if foreign is not None:
        file.parent.mkdir(mode=0o700)
        file.write_bytes(foreign)
        file.chmod(0o644)

    for _ in range(2):
        done = run(admit(), tmp_path, shell)
        assert (done.returncode, done.stderr) == (0, "")
    line, _, rest = file.read_bytes().partition(b"\n")
    assert line.decode() == (
        'restrict,from="10.0.0.2",command="sh \'/var/lib/q x/serve\'" ssh-ed25519 AAAAC3Nz qnext:qnext'
    )
    assert rest == (foreign or b"")
    assert file.stat().st_mode & 0o777 == (0o600 if foreign is None else 0o644)
    assert file.parent.stat().st_mode & 0o777 == 0o700

    assert run(ties.dismiss("qnext"), tmp_path, shell).returncode == 0
    assert (file.read_bytes() if file.exists() else b"") == (foreign or b"")
    assert [path.name for path in file.parent.glob("*")] == (["authorized_keys"] if foreign else [])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / "elsewhere").write_bytes(b"a\n")
    (tmp_path / ".ssh/authorized_keys").symlink_to("../elsewhere")

    assert run(admit(), tmp_path).returncode == 0

    assert (tmp_path / ".ssh/authorized_keys").is_symlink()
    assert (tmp_path / "elsewhere").read_bytes().endswith(b"qnext:qnext\na\n")


def test_sudo_is_proven_and_stands_in_the_command(tmp_path: Path) -> None:
    refused = run(admit(), tmp_path, NUMBER="1000", SUDO="no")
    assert refused.returncode == 77
    assert not (tmp_path / ".ssh").exists()

    assert run(admit(), tmp_path, NUMBER="1000", SUDO="yes").returncode == 0
    assert 'command="sudo -n sh ' in (tmp_path / ".ssh/authorized_keys").read_text()
    assert run(admit(become=False), tmp_path, NUMBER="1000", SUDO="no").returncode == 0
    assert 'command="sh ' in (tmp_path / ".ssh/authorized_keys").read_text()


def test_the_door_is_what_the_script_says(tmp_path: Path) -> None:
    said = run(admit(), tmp_path, ME="ops").stdout + f"key {' '.join(HOST_KEY.split()[:2])}\n" * 2

    door = ties.door("atlas-1", "10.0.0.1", said)

    assert (door.user, door.address, door.port) == ("ops", "10.0.0.1", 2022)
    assert "[10.0.0.1]:2022 ssh-ed25519 AAAAHOST\n" in door.known
    assert Door("a", "root", "10.0.0.1", 22, ("ssh-ed25519 A",)).known == "10.0.0.1 ssh-ed25519 A\n"


@pytest.mark.parametrize(
    "said", ["", "user root\nport 22\n", "user root\nkey ssh-ed25519 AAAA\n", "key rm -rf /\nport x\n"]
)
def test_half_a_door_is_none(said: str) -> None:
    with pytest.raises(ValueError, match=r"host key|user and port"):
        ties.door("atlas-1", "10.0.0.1", said)


@pytest.mark.parametrize("sources", [[], ["*"], ["10.0.0.1", "!evil"], ["10.0.0.0/8"]])
def test_a_tie_is_for_addresses_alone(sources: list[str]) -> None:
    with pytest.raises(ValueError, match=r"address|source"):
        ties.options(sources)


def test_what_may_be_permitted_beside_the_command() -> None:
    assert (
        ties.options(["10.0.0.2", "10.0.0.1"], ["port-forwarding"])
        == 'restrict,from="10.0.0.1,10.0.0.2",port-forwarding'
    )
    with pytest.raises(ValueError, match="quote"):
        ties.admit("c", KEY, "restrict", 'sh "x"', become=False)


def test_a_new_key_is_a_key_and_no_log_shows_it(tmp_path: Path) -> None:
    key = ties.new_key()

    assert key.private.startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert key.public.startswith("ssh-ed25519 AAAA")
    assert all(line not in redact(key.private) for line in key.private.splitlines()[1:-1])
    if keygen := shutil.which("ssh-keygen"):
        (tmp_path / "key").write_text(key.private)
        (tmp_path / "key").chmod(0o600)
        said = subprocess.run([keygen, "-y", "-f", tmp_path / "key"], capture_output=True, text=True, check=True)
        assert said.stdout.split() == key.public.split()
