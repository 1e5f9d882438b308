"""Ray on rehearsal nodes: a cluster that counts devices, tells its state, and lends devices to a server."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from provision.accel.ascend.npu_smi import parse_info
from provision.rehearsal.faults import fault
from provision.rehearsal.layout import MODEL
from tests.rehearsal.client import SUM, Client, fast
from tests.rehearsal.conftest import IMAGE, SERVED, Machine, until

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]
Pair = tuple[Machine, Machine]
CPU_IMAGE = "quay.io/rehearsal/vllm-cpu:v0.18.0"
OVER_BOTH = ("--tensor-parallel-size", "8", "--pipeline-parallel-size", "2", "--distributed-executor-backend", "ray")


@pytest.fixture
def pair(machines: Machines) -> Pair:
    """Two nodes with eight dies each for Ray."""
    first, second = machines(2)
    fast(first, second)
    for machine in (first, second):
        machine.node.state.set("vllm/handshake_seconds", "0.4")
        machine.node.state.set("vllm/collective_seconds", "0.1")
        machine.node.state.set("ray/connect_seconds", "5")
    return first, second


def ray(machine: Machine, *words: str, **options: str) -> None:
    start = ("ray", "start", *words, f"--node-ip-address={machine.node.address}", "--disable-usage-stats", "--block")
    assert machine.start("bash", "-lic", 'exec "$@"', "qnext", *start, name="ray", dies=range(8), env=options).exit == 0


def gather(head: Machine, worker: Machine, port: int = 6379) -> None:
    """Both form a cluster."""
    ray(head, "--head", f"--port={port}")
    ray(worker, f"--address={head.node.address}:{port}")
    until(lambda: status(head).count(" 1 node_") == 2, "two nodes are active")


def status(machine: Machine) -> str:
    return machine.docker("exec", "ray", "ray", "status").out


def serve(head: Machine, *words: str) -> None:
    """``vllm serve`` in the container of the cluster's head, its log in a file there."""
    command = ["vllm", "serve", MODEL, *SERVED, "--port", str(head.port), *OVER_BOTH, *words]
    quoted = " ".join(f"'{word}'" for word in command)
    assert head.docker("exec", "-d", "ray", "sh", "-c", f"{quoted} >/tmp/serve.log 2>&1").exit == 0


def log(head: Machine) -> str:
    return head.docker("exec", "ray", "sh", "-c", "cat /tmp/serve.log").out


def test_a_cluster_and_a_server_over_both_nodes(pair: Pair) -> None:
    head, worker = pair
    gather(head, worker)
    report = status(head)
    assert re.search(r"^=+ Autoscaler status: \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} =+$", report, re.MULTILINE)
    assert " 0.0/16.0 NPU\n" in report
    listed = head.docker("exec", "ray", "ray", "list", "nodes").out
    assert listed.count("ALIVE") == 2
    assert "NPU: 8.0" in listed
    serve(head)
    client = Client(head)
    client.wait()
    assert client.text(SUM) == "17 * 23 = 391"
    assert client.generated() == [5]
    assert [len(parse_info(machine.ok("npu-smi info")).processes) for machine in pair] == [8, 8]
    assert " 16.0/16.0 NPU\n" in status(head)
    worker.docker("kill", "ray")
    until(lambda: "NodeTerminated" in status(head), "the head has lost a node")
    assert client.chat(SUM)[0] == 500
    until(lambda: client.call("/health")[0] == 0, "the server has ended")
    assert "EngineDeadError" in log(head)


def test_too_few_devices(pair: Pair) -> None:
    head, _ = pair
    ray(head, "--head")
    until(lambda: " 0.0/8.0 NPU\n" in status(head), "the head is active")
    serve(head)
    until(lambda: "Failed core proc(s)" in log(head), "the server has given up")
    assert "The number of required NPUs exceeds the total number of available NPUs in the placement group." in log(head)
    assert "Waiting for creating a placement group of specs for 10 seconds. specs=[{'NPU': 1.0}" in log(head)
    assert "ValueError: Cannot provide a placement group of placement_group_specs=" in log(head)


def test_devices_under_another_name(pair: Pair) -> None:
    head, worker = pair
    with fault(head.folder, "node1", "ray/resource", "GPU"):
        gather(head, worker)
        assert " 0.0/8.0 GPU\n" in status(head)
        serve(head)
        until(lambda: "Failed core proc(s)" in log(head), "the server has given up")
    assert "ValueError: Current node has no NPU available. current_node_resource={" in log(head)
    assert "'GPU': 8.0" in log(head)


def test_devices_are_those_of_the_container(pair: Pair) -> None:
    head, _ = pair
    ray(head, "--head", ASCEND_RT_VISIBLE_DEVICES="0,1,2,3")
    until(lambda: " 0.0/4.0 NPU\n" in status(head), "the head is active")
    head.docker("exec", "ray", "ray", "stop")
    assert head.ended("ray")[0] == 0


def test_ray_in_the_background(pair: Pair) -> None:
    """Without ``--block`` the command returns, and its cluster ends with the container."""
    head, _ = pair
    head.start("sleep", "60", name="ray", dies=range(8))
    done = head.docker("exec", "ray", "ray", "start", "--head", f"--node-ip-address={head.node.address}")
    assert (done.exit, "Ray runtime started." in done.out) == (0, True), done
    again = head.docker("exec", "ray", "ray", "start", "--head")
    assert (again.exit, "but is already running at" in again.err) == (1, True), again
    head.docker("kill", "ray")
    head.docker("rm", "ray")
    head.start("sleep", "60", name="ray", dies=range(8))
    assert "Could not find any running Ray instance" in head.docker("exec", "ray", "ray", "status").err
    there = f"RAY_ADDRESS={head.node.address}:6379"
    until(lambda: head.docker("exec", "-e", there, "ray", "ray", "status").exit == 1, "the cluster has ended")


def test_a_head_that_is_not_there(pair: Pair) -> None:
    head, worker = pair
    with fault(worker.folder, "node2", "ray/connect_seconds", "0.2"):
        ray(worker, f"--address={head.node.address}:6379")
        code, text = worker.ended("ray")
    assert (code, f"Failed to connect to GCS at address {head.node.address}:6379" in text) == (1, True), text
    ray(head)
    assert "`--address` is a required flag unless starting a head node with `--head`" in head.ended("ray")[1]


def test_a_machine_without_npus(machines: Machines) -> None:
    machine = machines(1, "cpu", image=CPU_IMAGE)[0]
    machine.serve("--distributed-executor-backend", "ray", image=CPU_IMAGE)
    code, text = machine.ended()
    assert (code, "ValueError: current platform cpu does not support ray" in text) == (1, True), text


def test_an_image_without_ray(machine: Machine) -> None:
    with fault(machine.folder, "node1", "image/program/ray", "missing"):
        assert machine.docker("run", "--rm", IMAGE, "sh", "-c", "command -v ray || pip show ray").exit == 1
    assert machine.docker("run", "--rm", IMAGE, "sh", "-c", "command -v ray && pip show ray").exit == 0


def test_a_worker_that_looks_for_the_head_elsewhere(pair: Pair) -> None:
    head, worker = pair
    ray(head, "--head", "--port=6379")
    with (
        fault(worker.folder, "node2", "ray/connect_seconds", "0.2"),
        fault(worker.folder, "node2", "vllm/wrong_address", "127.9.9.9"),
    ):
        ray(worker, f"--address={head.node.address}:6379")
        code, text = worker.ended("ray")
    assert (code, "Failed to connect to GCS at address 127.9.9.9:6379" in text) == (1, True), text
