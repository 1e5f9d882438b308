"""Checks that need no NPU, on real nodes: they pass where all is well, and tell what is really wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .cli import Program
from .nodes import Cluster, Node, wait_for

IMAGE = "quay.io/ascend/vllm-ascend:v0.18.0-a3"
ENGINES = {
    "model": {"path": "/data/weights/Qwen3-Tiny", "served_name": "qwen3-tiny"},
    "serve": {"topology": "data-parallel", "data_parallel_size": 2},
}
CODES = ("N03", "N13", "N15", "N17", "N18", "X02", "X07", "X08", "X09")
FIRST_SHARD = "ls /data/weights/Qwen3-Tiny/*.safetensors | head -n 1"


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "state")


@pytest.fixture
def ill(cluster: Cluster) -> Iterator[Cluster]:
    """Nodes that hold the image; what the test does to their network and files is taken back."""
    cluster.pull(IMAGE)
    worker = cluster.nodes[1]
    kept = {path: worker.read(path) for path in ("/etc/hosts", "/etc/resolv.conf")}
    worker.docker("tag", IMAGE, "kept:1")
    try:
        yield cluster
    finally:
        for node in cluster.nodes:
            node.exec("xargs -r kill </run/listeners; rm -f /run/listeners /usr/local/bin/date")
        worker.exec("iptables -F INPUT; umount /var/lib/qnext; ip link set eth0 mtu 1500")
        for path, text in kept.items():
            worker.write(path, text)
        worker.start_dockerd()
        worker.docker("tag", "kept:1", IMAGE)
        worker.docker("rmi", "kept:1")


def findings(program: Program, inventory: Path) -> dict[str, dict[str, Any]]:
    """The worst finding by code; a code without one passed."""
    answer = program("check", "-i", inventory, "--json")
    report = json.loads(answer.stdout)
    found = {f["code"]: f for check in report["checks"] for f in check["findings"] if f["level"] in ("fail", "warn")}
    assert answer.exit == (3 if any(f["level"] == "fail" for f in found.values()) else 0), answer.text
    assert all(f["remedy"] for f in found.values())
    return found


def listener(node: Node, protocol: str, address: str, port: int) -> None:
    """Something that holds a port and never answers; it does when this returns.

    Connections of an earlier test's server may still be closing there, which would keep the port from it.
    """
    kind = {"tcp": "STREAM", "udp": "DGRAM"}[protocol]
    code = f"import socket as o,time; s=o.socket(type=o.SOCK_{kind}); s.setsockopt(o.SOL_SOCKET, o.SO_REUSEADDR, 1)"
    code += f"; s.bind(('{address}',{port}))"
    code += "; s.listen()" if protocol == "tcp" else ""
    hold = f'python3 -c "{code}; time.sleep(600)" >/dev/null 2>&1 </dev/null & echo $! >>/run/listeners'
    node.exec(hold, check=True)
    held = f"ss -Hln --{protocol} 'sport = :{port}' | grep -q ."
    wait_for(lambda: node.exec(held).returncode == 0, 30, f"{protocol} port {port} to be held on {node.name}")


def test_real_faults_are_told_with_node_and_remedy(ill: Cluster, program: Program, tmp_path: Path) -> None:
    head, worker = ill.nodes
    inventory = ill.write_inventory(tmp_path, **ENGINES)
    healthy = findings(program, inventory)
    assert not set(CODES) & set(healthy), healthy

    listener(head, "tcp", "0.0.0.0", 8000)
    worker.exec("mkdir -p /var/lib/qnext && mount -t tmpfs -o size=1m tmpfs /var/lib/qnext", check=True)
    worker.write("/usr/local/bin/date", '#!/bin/sh\nexec /bin/date -d "+90 seconds" "$@"\n', 0o755)
    worker.exec("ip link set eth0 mtu 1280", check=True)
    listener(worker, "udp", "127.0.0.1", 53)
    worker.write("/etc/hosts", "127.0.0.1 localhost\n")
    worker.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    worker.exec(f"truncate -s 4096 $({FIRST_SHARD})", check=True)
    worker.exec(f"tar -cf - -C /etc hostname | docker import - {IMAGE}", check=True)
    found = findings(program, inventory)

    assert "port 8000 (API) is taken by python3" in found["N18"]["summary"]
    assert found["N18"]["node"] == head.name
    assert "/var/lib/qnext" in found["N13"]["summary"]
    assert "differ by" in found["X08"]["summary"]
    assert "1280" in found["X09"]["summary"]
    assert "takes more than" in found["N17"]["summary"]
    assert "cut short" in found["N15"]["summary"]
    assert "is not the same image everywhere" in found["X02"]["summary"]
    for code in ("N13", "N15", "N17", "X02", "X08", "X09"):
        assert found[code]["node"] == worker.name, found[code]


def test_a_docker_daemon_that_is_down_and_a_firewall(ill: Cluster, program: Program, tmp_path: Path) -> None:
    worker = ill.nodes[1]
    inventory = ill.write_inventory(tmp_path, **ENGINES)
    worker.exec("iptables -A INPUT -p tcp --dport 1024:65535 -m conntrack --ctstate NEW -j DROP", check=True)
    worker.stop_dockerd()

    found = findings(program, inventory)

    assert (found["N03"]["level"], found["N03"]["node"]) == ("fail", worker.name)
    assert worker.name in found["X07"]["summary"]
    assert "time" in found["X07"]["summary"] + found["X07"]["observed"]


def test_deep_trials_run_in_real_containers_and_leave_nothing(ill: Cluster, program: Program, tmp_path: Path) -> None:
    inventory = ill.write_inventory(tmp_path, **ENGINES)
    page, junit = tmp_path / "check.html", tmp_path / "check.xml"

    answer = program("check", "-i", inventory, "--deep", "--json", "--html", page, "--junit", junit)

    assert answer.exit == 0, answer.text
    outcomes = {check["check"]: check for check in answer.json()["checks"]}
    for name in ("smoke", "same_packages", "collective", "read_speed", "host_tcp"):
        assert outcomes[name]["status"] == "pass", outcomes[name]
    versions = {row["subject"]: row["values"] for row in outcomes["same_packages"]["exhibits"]}
    assert "vllm in the image" in versions
    speeds = [measure["value"] for measure in outcomes["collective"]["exhibits"] if measure["kind"] == "measure"]
    assert speeds
    assert all(speed > 0 for speed in speeds)
    assert "all-reduce" in page.read_text()
    assert junit.read_text().startswith("<?xml")
    for node in ill.nodes:
        assert node.docker("ps", "-aq") == ""
        assert not node.exists("/var/lib/qnext")
