"""What is compared. Each contender is one process: ``python -m tests.bench.contenders NAME FOLDER``, so imports count.

It prints one JSON object: seconds of CPU and KiB of memory at its peak (of the process and its children), and, where
the contender is ours, execs and connections. The wall time is taken by whoever starts it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

FACTS = [
    "cat /etc/os-release", "uname -a", "uname -m", "cat /proc/meminfo", "cat /proc/cpuinfo | head -50",
    "cat /proc/loadavg",
    "df -PT", "df -Pi", "ls -l /dev", "cat /proc/mounts",
    "cat /proc/version", "nproc", "date +%s.%N", "id", "hostname",
    "cat /etc/hosts", "cat /etc/resolv.conf", "cat /proc/net/dev", "cat /proc/net/tcp", "cat /proc/net/route",
    "cat /proc/sys/vm/max_map_count", "cat /proc/sys/kernel/pid_max", "ulimit -a", "cat /proc/uptime", "ls /",
    "ls -l /usr/local", "ls -l /opt", "stat /tmp", "cat /etc/passwd", "cat /etc/group", "env", "umask",
    "command -v docker", "command -v python3", "ls /proc/sys/net/core", "cat /proc/stat | head -5", "ls -l /etc/ssh",
    "wc -l /etc/services", "readlink -f /bin/sh", "head -c 256 /proc/cmdline",
]  # fmt: skip
"""Forty small looks, as facts are."""


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    described = json.loads((folder / "nodes.json").read_text())
    extra = CONTENDERS[name](described) or {}
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    out = {
        "cpu": sum(u.ru_utime + u.ru_stime for u in used),
        "memory": max(u.ru_maxrss for u in used),
        **extra,
    }
    print(json.dumps(out), flush=True)
    os._exit(0)


# ---- the bare script, tuned: what can be had at all


def _bare(script: str = "", *, files: str = "") -> Callable[[dict[str, Any]], None]:
    """``files``: the beginning of the names of files, one for each address, to run instead of ``script``."""

    def run(described: dict[str, Any]) -> None:
        import socket

        import paramiko

        class Tuned(paramiko.Transport):
            _preferred_kex = ("curve25519-sha256@libssh.org",)
            _preferred_keys = ("ssh-ed25519",)
            _preferred_ciphers = ("aes128-gcm@openssh.com",)

        key = paramiko.Ed25519Key.from_private_key_file(str(described["key"]))
        known = {}
        for line in Path(str(described["known_hosts"])).read_text().splitlines():
            host, _, blob = line.split()
            known[host] = blob
        answers: list[bytes] = []

        def one(address: str) -> None:
            sock = socket.create_connection((address, int(str(described["port"]))), timeout=10)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport = Tuned(sock, default_window_size=1 << 24, default_max_packet_size=1 << 17)
            transport.start_client(timeout=10)
            assert transport.get_remote_server_key().get_base64() == known[f"[{address}]:{described['port']}"]
            transport.auth_publickey(str(described["user"]), key)
            channel = transport.open_session()
            channel.exec_command("exec sh -s")
            text = (Path(str(described["folder"])) / f"{files}-{address}.sh").read_text() if files else script
            channel.sendall(text.encode())
            channel.shutdown_write()
            answer = b""
            while data := channel.recv(1 << 20):
                answer += data
            assert channel.recv_exit_status() == 0
            answers.append(answer)

        threads = [threading.Thread(target=one, args=(a,), daemon=True) for a in described["addresses"]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == len(threads)

    return run


# ---- ours


def _pool(described: dict[str, Any], do: Callable[[Any], object]) -> dict[str, Any]:
    from types import SimpleNamespace

    from provision.engine.fanout import fan_out
    from provision.inventory.model import Connection, Host
    from provision.transport.pool import Pool

    hosts = [
        Host(
            address,
            index,
            (),
            Connection(
                host=address,
                port=int(str(described["port"])),
                user=str(described["user"]),
                key_file=str(described["key"]),
                known_hosts=(str(described["known_hosts"]),),
                ssh_config="none",
            ),
            SimpleNamespace(install=SimpleNamespace(method="image", engine="docker")),
        )
        for index, address in enumerate(described["addresses"])
    ]
    with Pool(hosts) as pool:
        fan_out({host.name: host for host in hosts}, lambda host: do(pool.get(host)))
        counted = pool.counters().values()
        return {
            "execs": sum(c.execs for c in counted) / len(hosts),
            "connections": sum(c.connections for c in counted) / len(hosts),
        }


def _ours_facts(described: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import dataclass

    from provision.facts.base import Fact

    @dataclass(frozen=True, slots=True)
    class Look(Fact[str]):
        command: str

        name = "look"

        def script(self) -> str:
            return self.command

    facts = [Look(command) for command in FACTS]

    def probe(transport: Any) -> None:
        answers = transport.probe(facts)
        assert len(answers) == len(FACTS)
        assert all(answer.seconds >= 0 and not answer.timed_out for answer in answers.values())

    return _pool(described, probe)


def _ours_true(described: dict[str, Any]) -> dict[str, Any]:
    def run(transport: Any) -> None:
        assert transport.run("true", deadline=10).ok

    return _pool(described, run)


CONTENDERS: dict[str, Callable[[dict[str, Any]], dict[str, Any] | None]] = {
    "bare-true": _bare("true\n"),
    "ours-true": _ours_true,
    "bare-facts": _bare(
        "export LC_ALL=C\n" + "".join(f"echo =={n}==; {c}\n" for n, c in enumerate(FACTS)) + "exit 0\n"
    ),
    "ours-facts": _ours_facts,
    "bare-check": _bare(files="check"),
    "bare-up": _bare(files="up"),
}

if __name__ == "__main__":
    main()
