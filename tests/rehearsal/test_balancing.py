"""Data-parallel servers that a balancer outside stands before: one a rank, one a node, and independent ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from provision.accel.ascend.npu_smi import parse_info
from provision.rehearsal.faults import fault, set_fault
from tests.rehearsal.client import SUM, TP4, Client, fast
from tests.rehearsal.conftest import Machine, until

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]
Pair = tuple[Machine, Machine]
EXPERTS = ("--enable-expert-parallel",)


@pytest.fixture
def pair(machines: Machines) -> Pair:
    """Two nodes whose servers start at once, and wait for each other as long as a test can."""
    first, second = machines(2)
    fast(first, second)
    for machine in (first, second):
        machine.node.state.set("vllm/handshake_seconds", "8")
        machine.node.state.set("vllm/collective_seconds", "0.2")
    return first, second


def meeting(head: Machine, size: int) -> tuple[str, ...]:
    there = ("--data-parallel-address", head.node.address, "--data-parallel-rpc-port", "13389")
    return (*TP4, *EXPERTS, "--data-parallel-size", str(size), *there)


def rank(head: Machine, machine: Machine, number: int, slot: int, *, size: int = 4) -> Client:
    """Start one rank on the dies of its slot."""
    port, dies = machine.port + slot, range(4 * slot, 4 * slot + 4)
    words = (*meeting(head, size), "--data-parallel-rank", str(number), "--port", str(port))
    assert machine.serve(*words, name=f"rank{number}-{slot}", dies=dies).exit == 0
    return Client(machine, port)


def test_a_server_a_rank(pair: Pair) -> None:
    """None answers before all are there; each counts its own rank; one that dies takes all with it."""
    head, other = pair
    servers = [rank(head, head, 0, 0), rank(head, head, 1, 1), rank(head, other, 2, 0)]
    until(lambda: "Started DP Coordinator process" in head.logs("rank0-0"), "the coordinator is there")
    assert [server.call("/health")[0] for server in servers] == [0, 0, 0]
    servers.append(rank(head, other, 3, 1))
    for server in servers:
        server.wait()
    assert servers[2].text(SUM) == "17 * 23 = 391"
    assert [server.counted("generation_tokens") for server in servers] == [{0: 0}, {1: 0}, {2: 5}, {3: 0}]
    assert len(parse_info(head.ok("npu-smi info")).processes) == 8
    other.docker("kill", "rank3-1")
    until(lambda: servers[1].chat(SUM)[0] in (500, 0), "another rank cannot generate")
    until(lambda: servers[0].chat(SUM)[0] in (500, 0), "rank 0 cannot generate")
    assert head.ended("rank1-1")[0] == 1
    assert "EngineDeadError" in head.logs("rank1-1")


def test_an_api_a_node(pair: Pair) -> None:
    head, other = pair
    for start, machine in ((0, head), (2, other)):
        words = (*meeting(head, 4), "--data-parallel-size-local", "2", "--data-parallel-start-rank", str(start))
        assert machine.serve(*words, "--data-parallel-hybrid-lb").exit == 0
    clients = [Client(machine) for machine in pair]
    for client in clients:
        client.wait()
    for client in (*clients, clients[1]):
        assert client.text(SUM) == "17 * 23 = 391"
    assert [client.counted("generation_tokens") for client in clients] == [{0: 5, 1: 0}, {2: 5, 3: 5}]
    head.docker("kill", "server")
    until(lambda: clients[1].chat(SUM)[0] in (500, 0), "the other node has lost its coordinator")


REFUSED = [
    (("--data-parallel-size", "2", "--data-parallel-rank", "2"), "data_parallel_rank (2) must be in the range [0, 2)"),
    (("--data-parallel-size", "4", "--data-parallel-rank", "1", "--data-parallel-size-local", "2"),
     "data_parallel_size_local must be 1 or None when data_parallel_rank is set"),
    (("--data-parallel-size", "4", "--data-parallel-hybrid-lb"), "data_parallel_size_local must be set to use"),
    (("--data-parallel-size", "4", "--data-parallel-external-lb"), "data_parallel_rank or node_rank must be specified"),
    (("--data-parallel-size", "4", "--data-parallel-size-local", "2", "--data-parallel-hybrid-lb", "--headless"),
     "data_parallel_hybrid_lb is not applicable in headless mode"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_what_cannot_be_balanced(machine: Machine, arguments: tuple[str, ...], words: str) -> None:
    machine.serve(*TP4, *arguments)
    code, log = machine.ended()
    assert (code, words in log) == (1, True), log


def test_a_rank_that_is_there_twice(pair: Pair) -> None:
    """The second is not answered and gives up; the group goes on waiting for the one that is missing."""
    head, other = pair
    other.node.state.set("vllm/handshake_seconds", "1")
    first = rank(head, head, 0, 0, size=4)
    rank(head, head, 1, 1, size=4)
    until(lambda: "Started DP Coordinator" in head.logs("rank0-0"), "the coordinator is there")
    set_fault(other.folder, "node2", "vllm/wrong_rank", "1")
    rank(head, other, 2, 0, size=4)
    code, log = other.ended("rank2-0")
    assert (code, "Did not receive response from front-end process within 5 minutes" in log) == (1, True), log
    assert head.state("rank0-0")["Running"] is True
    assert first.call("/health")[0] == 0


def test_ranks_that_miss_each_other(pair: Pair) -> None:
    head, other = pair
    other.node.state.set("vllm/handshake_seconds", "0.5")
    with fault(other.folder, "node2", "vllm/wrong_address", "127.77.251.9"):
        rank(head, other, 1, 0, size=2)
        assert "Did not receive response from front-end process" in other.ended("rank1-0")[1]
    rank(head, head, 0, 0, size=2)
    other.docker("rm", "rank1-0")
    words = (*meeting(head, 2), "--data-parallel-size-local", "1", "--data-parallel-start-rank", "1", "--headless")
    other.serve(*words, name="headless")
    code, log = head.ended("rank0-0")
    assert (code, "Remote engine 1 must not use --headless in external or hybrid dp lb mode" in log) == (1, True), log


def test_a_node_that_is_late(pair: Pair) -> None:
    head, other = pair
    with fault(other.folder, "node2", "vllm/late_seconds", "1.5"):
        servers = [rank(head, head, 0, 0, size=2), rank(head, other, 1, 0, size=2)]
        until(lambda: "Started DP Coordinator" in head.logs("rank0-0"), "the coordinator is there")
        assert "vLLM API server version" not in other.logs("rank1-0")
        for server in servers:
            server.wait()


def test_servers_side_by_side(machine: Machine) -> None:
    """Each has its own dies and port, and dies alone; what another has is refused."""
    fast(machine)
    ports = [machine.port, machine.port + 1]
    for slot, port in enumerate(ports):
        machine.serve(*TP4, "--port", str(port), name=f"replica{slot}", dies=range(4 * slot, 4 * slot + 4))
    clients = [Client(machine, port) for port in ports]
    for client in clients:
        client.wait()
    machine.serve(*TP4, "--port", str(machine.port + 2), name="third", dies=range(2, 6))
    assert "because the device is used. ret is -8020" in machine.ended("third")[1]
    machine.docker("kill", "replica0")
    assert clients[0].call("/health")[0] == 0
    assert clients[1].text(SUM) == "17 * 23 = 391"


def test_a_server_that_dies_after_it_began(machine: Machine) -> None:
    fast(machine)
    with fault(machine.folder, "node1", "vllm/die_after_start", "0.3 9"):
        machine.serve(*TP4)
        Client(machine).wait()
        assert machine.ended()[0] == 9
