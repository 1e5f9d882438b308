"""What stands in front of servers: vllm-router, nginx, and a program of the operator's own."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from provision.rehearsal.faults import fault, set_fault
from tests.rehearsal.client import SUM, TP4, Client, fast
from tests.rehearsal.conftest import IMAGE, Machine, until

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]
FOLDER = "/var/lib/qnext/test/launch"
MOUNT = (f"{FOLDER}:/qnext:ro",)
PROMPT = {"model": "qwen3_next", "prompt": SUM, "max_tokens": 8, "temperature": 0}
IMPATIENT = (
    *("--worker-startup-check-interval", "0.1", "--health-check-interval-secs", "0.2"),
    *("--health-failure-threshold", "2", "--health-success-threshold", "1", "--retry-initial-backoff-ms", "10"),
)

RELAY = """
import argparse, asyncio, itertools
from urllib.parse import urlsplit

async def carry(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--worker-urls", nargs="+")
    given = parser.parse_args()
    turn = itertools.cycle(urlsplit(url) for url in given.worker_urls)

    async def client(reader, writer):
        where = next(turn)
        back_reader, back_writer = await asyncio.open_connection(where.hostname, where.port)
        await asyncio.gather(carry(reader, back_writer), carry(back_reader, writer), return_exceptions=True)

    async with await asyncio.start_server(client, given.host, given.port) as server:
        print("listening", flush=True)
        await server.serve_forever()

asyncio.run(main())
"""


@pytest.fixture
def replicas(machines: Machines) -> tuple[Machine, list[Client]]:
    """Two servers on the dies of one node, and where a router may listen on it."""
    machine = machines()[0]
    fast(machine)
    clients = []
    for slot in (0, 1):
        port = machine.port + 1 + slot
        assert (
            machine.serve(*TP4, "--port", str(port), name=f"replica{slot}", dies=range(4 * slot, 4 * slot + 4)).exit
            == 0
        )
        clients.append(Client(machine, port))
    return machine, clients


def urls(machine: Machine) -> list[str]:
    return [f"http://{machine.node.address}:{machine.port + 1 + slot}" for slot in (0, 1)]


def route(machine: Machine, *command: str, image: str = IMAGE) -> Client:
    done = machine.start(*command, name="router", dies=(), binds=MOUNT, image=image)
    assert done.exit == 0, done
    return Client(machine)


def test_a_router_that_the_image_may_lack(machine: Machine) -> None:
    ask = ("run", "--rm", IMAGE, "sh", "-c", "command -v vllm-router && pip show vllm-router")
    assert machine.docker(*ask).exit != 0
    assert "executable file not found" in machine.docker("run", "--rm", IMAGE, "vllm-router").err
    set_fault(machine.folder, "node1", "image/program/vllm-router", "present")
    assert "Version: 0.1.17" in machine.docker(*ask).out
    done = machine.docker("run", "--rm", IMAGE, "vllm-router", "--policy", "fastest")
    assert (done.exit, "invalid choice: 'fastest'" in done.err) == (2, True), done


def test_the_router_goes_round_and_drops_the_dead(replicas: tuple[Machine, list[Client]]) -> None:
    machine, servers = replicas
    with fault(machine.folder, "node1", "image/program/vllm-router", "present"):
        words = (
            "--host",
            "0.0.0.0",
            "--port",
            str(machine.port),
            "--worker-urls",
            *urls(machine),
            "--policy",
            "round_robin",
        )
        client = route(machine, "vllm-router", *words, *IMPATIENT)
    until(lambda: client.call("/health") == (200, "All servers healthy"), "all workers are healthy")
    assert [client.call("/v1/completions", PROMPT)[0] for _ in range(4)] == [200] * 4
    assert [server.generated() for server in servers] == [[10], [10]]
    assert client.call("/v1/completions", {**PROMPT, "stream": True})[1].rstrip().endswith("data: [DONE]")
    machine.docker("kill", "replica0")
    assert [client.call("/v1/completions", PROMPT)[0] for _ in range(4)] == [200] * 4
    until(lambda: client.call("/health")[0] == 503, "the router has noticed")
    assert json.loads(client.call("/readiness")[1]) == {"status": "ready", "healthy_workers": 1, "total_workers": 2}
    machine.docker("kill", "replica1")
    until(lambda: client.call("/readiness")[0] == 503, "none is left")
    assert client.call("/v1/completions", PROMPT) == (503, "No available workers (all circuits open or unhealthy)")
    assert machine.docker("stop", "router").exit == 0
    assert machine.state("router")["ExitCode"] == 0


def test_the_router_waits_for_a_worker(machine: Machine) -> None:
    with fault(machine.folder, "node1", "image/program/vllm-router", "present"):
        words = ("--host", machine.node.address, "--port", str(machine.port), "--worker-urls", *urls(machine))
        client = route(machine, "vllm-router", *words, "--worker-startup-timeout-secs", "0.3", *IMPATIENT)
        assert client.call("/health")[0] == 0
        code, log = machine.ended("router")
    assert (code, "waiting for workers to become healthy" in log) == (1, True), log


def test_a_router_over_prefill_and_decode(replicas: tuple[Machine, list[Client]]) -> None:
    machine, servers = replicas
    first, second = urls(machine)
    with fault(machine.folder, "node1", "image/program/vllm-router", "present"):
        sides = ("--vllm-pd-disaggregation", "--prefill", first, "none", "--decode", second)
        client = route(machine, "vllm-router", "--host", "0.0.0.0", "--port", str(machine.port), *sides, *IMPATIENT)
    client.wait()
    assert client.text(SUM) == "17 * 23 = 391"
    assert [server.generated() for server in servers] == [[1], [5]]


NGINX = """
worker_processes auto;
events { worker_connections 1024; }
http {
    access_log off;  # too many
    upstream servers {
        %s
    }
    server {
        listen %d;
        location = /nginx { return 200 'here'; }
        location / {
            proxy_pass http://servers;
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_read_timeout 1h;
            proxy_next_upstream error timeout;
        }
    }
}
"""
FOREGROUND = ("nginx", "-c", "/qnext/nginx.conf", "-g", "daemon off;")


def configure(machine: Machine, text: str) -> None:
    machine.ok(f"mkdir -p {FOLDER}; cat >{FOLDER}/nginx.conf", stdin=text)


def test_nginx_does_what_its_configuration_says(replicas: tuple[Machine, list[Client]]) -> None:
    machine, servers = replicas
    peers = " ".join(f"server {url.removeprefix('http://')} max_fails=1 fail_timeout=5s;" for url in urls(machine))
    configure(machine, NGINX % (peers, machine.port))
    client = route(machine, *FOREGROUND, image="nginx:1.27")
    client.wait()
    for server in servers:
        server.wait()
    assert client.call("/nginx") == (200, "here")
    assert [client.call("/v1/completions", PROMPT)[0] for _ in range(4)] == [200] * 4
    assert [server.generated() for server in servers] == [[10], [10]]
    machine.docker("kill", "replica0")
    assert [client.call("/v1/completions", PROMPT)[0] for _ in range(3)] == [200] * 3
    machine.docker("kill", "replica1")
    status, body = client.call("/v1/models")
    assert (status, "502 Bad Gateway" in body) == (502, True)
    assert "Connection refused) while connecting to upstream" in machine.logs("router")
    assert machine.docker("run", "--rm", "nginx:1.27", "sh", "-c", "command -v python3 || command -v vllm").exit != 0


WRONG = [
    ("bogus on;", 'unknown directive "bogus" in /qnext/nginx.conf:7'),
    ("server 10.0.0.1:x;", 'host not found in upstream "10.0.0.1:x"'),
    ("", 'no servers are inside upstream "servers"'),
    ("server 10.0.0.1:1; }", 'unexpected "}" in /qnext/nginx.conf:'),
]


@pytest.mark.parametrize(("inner", "words"), WRONG)
def test_what_nginx_refuses(machine: Machine, inner: str, words: str) -> None:
    configure(machine, NGINX % (inner, machine.port))
    done = machine.docker("run", "--rm", "-v", MOUNT[0], "nginx:1.27", "nginx", "-t", "-c", "/qnext/nginx.conf")
    assert (done.exit, f"[emerg] {words}" in done.err) == (1, True), done


def test_a_program_of_our_own(replicas: tuple[Machine, list[Client]]) -> None:
    """A mounted file runs as it is, with the node's addresses: it takes the node's port, and reaches its servers."""
    machine, servers = replicas
    machine.ok(f"mkdir -p {FOLDER}; cat >{FOLDER}/relay.py", stdin=RELAY)
    words = ("python3", "/qnext/relay.py", "--host", "0.0.0.0", "--port", str(machine.port), "--worker-urls",
             f"http://127.0.0.1:{machine.port + 1}", urls(machine)[1])  # fmt: skip
    client = route(machine, "bash", "-lic", 'exec "$@"', "qnext", *words)
    for server in servers:
        server.wait()
    until(lambda: "listening" in machine.logs("router"), "the program listens")
    assert [client.text(SUM) for _ in range(4)] == ["17 * 23 = 391"] * 4
    assert [server.generated() for server in servers] == [[10], [10]]
    assert machine.docker("stop", "-t", "2", "router").exit == 0
