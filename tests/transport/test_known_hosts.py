"""known_hosts files as OpenSSH writes and reads them."""

from __future__ import annotations

import base64
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from provision.transport import known_hosts
from provision.transport.known_hosts import fingerprint, names_of, parse

A, B = base64.b64encode(b"key a").decode(), base64.b64encode(b"key b").decode()


@pytest.mark.parametrize(
    ("line", "host", "port", "found"),
    [
        (f"node ssh-ed25519 {A}", "node", 22, True),
        (f"node ssh-ed25519 {A} comment here", "NODE", 22, True),
        (f"other,node,10.0.0.1 ssh-ed25519 {A}", "10.0.0.1", 22, True),
        (f"[node]:2222 ssh-ed25519 {A}", "node", 2222, True),
        (f"[node]:2222 ssh-ed25519 {A}", "node", 22, False),
        (f"[node]:2222 ssh-ed25519 {A}", "node", 2223, False),
        (f"node ssh-ed25519 {A}", "node", 2222, True),
        (f"*.example.org ssh-ed25519 {A}", "a.example.org", 22, True),
        (f"*.example.org,!b.example.org ssh-ed25519 {A}", "b.example.org", 22, False),
        (f"node? ssh-ed25519 {A}", "node1", 22, True),
        (f"[10.0.0.*]:2222 ssh-ed25519 {A}", "10.0.0.7", 2222, True),
        (f"# node ssh-ed25519 {A}", "node", 22, False),
        ("node ssh-ed25519 not-base64!", "node", 22, False),
        ("node ssh-ed25519", "node", 22, False),
        (f"@cert-authority node ssh-ed25519 {A}", "node", 22, False),
        ("", "node", 22, False),
    ],
)
def test_who_is_known(line: str, host: str, port: int, found: bool) -> None:
    assert bool(parse(line, "f").find(names_of(host, port))) is found


def test_revoked_keys_are_found_as_such() -> None:
    (entry,) = parse(f"\n@revoked * ssh-ed25519 {A}", "f").find(names_of("any", 22))
    assert entry.revoked
    assert entry.where == "f:2"


def test_an_alias_stands_for_host_and_port() -> None:
    assert names_of("10.0.0.1", 2222, "Gate") == ("gate",)


def test_hashed_names_as_ssh_keygen_makes_them(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGr2mWkqmRTnLQZc1fXEmiNRJRcTVnZzLS7Ks2Zb0wWL"
    file.write_text(f"node {key}\n[gate]:2222 {key}\n")
    if subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], capture_output=True, check=False).returncode:
        pytest.skip("no ssh-keygen on this machine")
    assert "node" not in file.read_text()
    known = parse(file.read_text(), "f")
    assert known.find(names_of("node", 22))
    assert known.find(names_of("gate", 2222))
    assert not known.find(names_of("node2", 22))


def test_a_fingerprint_is_what_ssh_keygen_prints() -> None:
    assert (
        fingerprint(b"key a")
        == "SHA256:" + base64.b64encode(__import__("hashlib").sha256(b"key a").digest()).decode()[:-1]
    )


def test_appending_makes_folder_and_file_and_mends_a_missing_newline(tmp_path: Path) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    known_hosts.append(str(file), "node", "ssh-ed25519", b"key a")
    assert file.read_text() == f"node ssh-ed25519 {A}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_text("no newline")
    known_hosts.append(str(file), "other", "ssh-ed25519", b"key b")
    assert file.read_text() == f"no newline\nother ssh-ed25519 {B}\n"


def test_appending_from_many_threads_loses_nothing(tmp_path: Path) -> None:
    file = str(tmp_path / "known_hosts")
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda n: known_hosts.append(file, f"node{n}", "ssh-ed25519", os.urandom(40)), range(64)))
    assert sorted(line.split()[0] for line in Path(file).read_text().splitlines()) == sorted(
        f"node{n}" for n in range(64)
    )
