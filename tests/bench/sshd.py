"""One OpenSSH server on many loopback addresses: as many nodes as wanted, with real processes behind them."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """A running sshd; ``addresses`` all lead to it."""

    port: int
    folder: Path
    addresses: tuple[str, ...]
    user: str
    pids: list[int] = field(default_factory=list)

    def cpu(self) -> float:
        """Seconds of CPU that the server and all that ran behind it have used, as far as it has ended."""
        fields = Path(f"/proc/{self.pids[0]}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    @property
    def key(self) -> Path:
        return self.folder / "id"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"


def available() -> str | None:
    """The path of sshd, or None."""
    return shutil.which("sshd") or next((p for p in ("/usr/sbin/sshd",) if Path(p).exists()), None)


@contextmanager
def running(
    folder: Path, nodes: int, *, options: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run sshd for the present user with keys of its own.

    ``options``: more lines of sshd_config; ``environment``: variables of every session (HOME is set already).
    """
    sshd = available()
    assert sshd, "no sshd here: apt-get install openssh-server"
    server = Server(_free_port(), folder, _addresses(nodes), getpass.getuser())
    _write_files(server, options, environment or {})
    process = subprocess.Popen(
        [sshd, "-D", "-f", str(folder / "sshd_config"), "-E", str(folder / "sshd.log")], stdin=subprocess.DEVNULL
    )
    server.pids.append(process.pid)
    try:
        _await_port(server.port, process)
        yield server
    finally:
        process.terminate()
        process.wait(timeout=10)


def _write_files(server: Server, options: str, environment: Mapping[str, str]) -> None:
    folder = server.folder
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    for name in ("host_key", "id"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized_keys").write_text((folder / "id.pub").read_text())
    host_key = " ".join((folder / "host_key.pub").read_text().split()[:2])
    lines = [f"[{address}]:{server.port} {host_key}\n" for address in server.addresses]
    server.known_hosts.write_text("".join(lines))
    variables = " ".join(f"{name}={value}" for name, value in {"HOME": str(home), **environment}.items())
    (folder / "sshd_config").write_text(
        f"Port {server.port}\nListenAddress 0.0.0.0\nHostKey {folder}/host_key\nPidFile none\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        f"PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 2000\nSetEnv {variables}\n"
        f"Subsystem sftp internal-sftp\n{options}"
    )
    if server.user == "root":
        Path("/run/sshd").mkdir(exist_ok=True)


def _addresses(count: int) -> tuple[str, ...]:
    return tuple(f"127.0.{1 + n // 250}.{1 + n % 250}" for n in range(count))


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _await_port(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        assert process.poll() is None, "sshd ended at once: see its log"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("sshd does not answer")
