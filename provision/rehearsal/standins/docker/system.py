"""``docker info``, ``version``, ``system df``, ``login``."""

from __future__ import annotations

import json
import os
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.standins.docker.credentials import remember
from provision.rehearsal.standins.docker.errors import DockerError
from provision.rehearsal.standins.docker.flags import parse, table
from provision.rehearsal.standins.docker.store import Json, Store, as_int
from provision.rehearsal.standins.docker.template import render

VERSION = "27.5.1"
BUILD = "9f9e405"
_FORMAT = table("-f,--format=")
_LOGIN = table("-u,--username=", "-p,--password=", "--password-stdin")


def version_of(node: Node) -> str:
    """What is installed on the node: the fault ``docker/version`` is another one."""
    return node.state.get("docker/version", VERSION)


def info(node: Node, argv: list[str]) -> int:
    """What the daemon says of itself."""
    parsed = parse(argv, _FORMAT, command="info")
    value = _info(node)
    template = parsed.one("format")
    if template:
        sys.stdout.write((json.dumps(value) if template == "json" else render(template, value)) + "\n")
        return 0
    lines = [f"Client: Docker Engine - Community\n Version:    {version_of(node)}\n Context:    default\n\nServer:"]
    lines += [f" {label}: {value[key]}" for label, key in _SHOWN.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


_SHOWN = {"Containers": "Containers", "Images": "Images", "Server Version": "ServerVersion", "Storage Driver": "Driver",
          "Default Runtime": "DefaultRuntime", "Operating System": "OperatingSystem", "Architecture": "Architecture",
          "CPUs": "NCPU", "Name": "Name", "Docker Root Dir": "DockerRootDir"}  # fmt: skip


def version(node: Node, argv: list[str], *, problem: str = "") -> int:
    """Client and, where the daemon answers, server."""
    parsed = parse(argv, _FORMAT, command="version")
    arch = "arm64" if node.is_npu else "amd64"
    own = version_of(node)
    client = {"Version": own, "ApiVersion": "1.47", "DefaultAPIVersion": "1.47", "GitCommit": BUILD,
              "GoVersion": "go1.22.11", "Os": "linux", "Arch": arch, "Context": "default"}  # fmt: skip
    server = {"Platform": {"Name": "Docker Engine - Community"}, "Version": own, "ApiVersion": "1.47",
              "MinAPIVersion": "1.24", "GitCommit": "4c9b3b0", "Os": "linux", "Arch": arch}  # fmt: skip
    value: Json = {"Client": client, "Server": None if problem else server}
    template = parsed.one("format")
    if template:
        sys.stdout.write((json.dumps(value) if template == "json" else render(template, value)) + "\n")
    else:
        sys.stdout.write(f"Client: Docker Engine - Community\n Version:           {own}\n OS/Arch: linux/{arch}\n")
        if not problem:
            sys.stdout.write(f"\nServer: Docker Engine - Community\n Engine:\n  Version:          {own}\n")
    if problem:
        raise DockerError(problem)
    return 0


def disk_usage(node: Node, argv: list[str]) -> int:
    """``docker system df``."""
    store = Store(node)
    size = sum(as_int(image["size"]) for image in store.images().values()) / 1e9
    containers = store.containers()
    running = sum(container.running for container in containers)
    sys.stdout.write("TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n")
    sys.stdout.write(f"Images          {len(store.images()):<9} {running:<9} {size:.2f}GB   0B (0%)\n")
    sys.stdout.write(f"Containers      {len(containers):<9} {running:<9} 0B        0B\n")
    return 0


def login(node: Node, argv: list[str]) -> int:
    """Any password is taken, and kept where the client keeps it; the registry looks at it when it is asked."""
    parsed = parse(argv, _LOGIN, command="login")
    password = sys.stdin.read().rstrip("\n") if parsed.has("password-stdin") else parsed.one("password")
    remember(node, "".join(parsed.words[:1]), parsed.one("username"), password)
    sys.stdout.write("Login Succeeded\n")
    return 0


def _info(node: Node) -> Json:
    store = Store(node)
    containers = store.containers()
    running = sum(container.running for container in containers)
    return {
        "ID": "5f2b8c0e-6f0e-4a3e-9a53-8d3f0a6e7b11", "Containers": len(containers), "ContainersRunning": running,
        "ContainersPaused": 0, "ContainersStopped": len(containers) - running, "Images": len(store.images()),
        "Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]], "CgroupDriver": "systemd",
        "CgroupVersion": "2", "OSType": "linux",
        "KernelVersion": node.state.get("kernel/version", "5.10.0-216.0.0.115.oe2203sp4.aarch64"),
        "OperatingSystem": f"openEuler {node.state.get('os/version', '22.03')} (LTS-SP4)",
        "Architecture": "aarch64" if node.is_npu else "x86_64", "NCPU": 320 if node.is_npu else 64,
        "MemTotal": 2 << 40 if node.on_a3 else 1 << 40, "DockerRootDir": "/var/lib/docker", "Name": node.name,
        "ServerVersion": version_of(node), "DefaultRuntime": "runc", "Runtimes": _runtimes(node), "LiveRestoreEnabled": False,
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"], "Warnings": None, "ServerErrors": None,
        "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"], "Mirrors": None},
        "ClientInfo": {"Version": version_of(node), "Context": "default", "Os": "linux"}, "Debug": False,
        "HttpProxy": os.environ.get("HTTP_PROXY", ""),
    }  # fmt: skip


def _runtimes(node: Node) -> Json:
    runtimes: Json = {"runc": {"path": "runc"}, "io.containerd.runc.v2": {"path": "runc"}}
    if node.state.get("docker/ascend_runtime"):
        runtimes["ascend"] = {"path": "/usr/local/Ascend/Ascend-Docker-Runtime/ascend-docker-runtime"}
    return runtimes
