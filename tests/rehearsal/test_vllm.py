"""The vLLM stand-in: it serves what the real one serves, and refuses, waits and dies as the real one does."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.accel.ascend.npu_smi import parse_info
from provision.rehearsal.faults import clear_fault, fault, set_fault
from provision.rehearsal.layout import MODEL
from tests.rehearsal.client import SUM, TP4, Client, fast
from tests.rehearsal.conftest import IMAGE, Machine, until

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]


@pytest.fixture
def quick(machine: Machine) -> Machine:
    """A node whose servers start at once."""
    fast(machine)
    return machine


def parallel(head: Machine, *, size: int = 8, local: int = 4) -> tuple[str, ...]:
    sizes = ("--data-parallel-size", str(size), "--data-parallel-size-local", str(local))
    meeting = ("--data-parallel-address", head.node.address, "--data-parallel-rpc-port", "13389")
    return (*TP4, "--enable-expert-parallel", *sizes, *meeting)


# ---- one server


def test_a_single_server_from_start_to_stop(quick: Machine) -> None:
    assert quick.serve(*TP4).exit == 0
    client = Client(quick)
    client.wait()
    assert client.text(SUM) == "17 * 23 = 391"
    assert client.text("Who are you?").startswith("I am Qwen, a large-scale language model")
    models = json.loads(client.call("/v1/models")[1])["data"][0]
    assert (models["id"], models["root"], models["max_model_len"]) == ("qwen3_next", MODEL, 32768)
    assert json.loads(client.call("/version")[1]) == {"version": "0.18.0"}
    log = quick.logs()
    order = ["Platform plugin ascend is activated", "vLLM API server version", "Loading safetensors checkpoint shards:",
             "Loading weights took", "Model loading took", "Available KV cache memory", "GPU KV cache size",
             "Maximum concurrency for 32,768 tokens per request", "Capturing ACL graphs"]  # fmt: skip
    places = [min((log.index(word) for _ in (0,)), default=-1) for word in order if word in log]
    assert len(places) == len(order)
    started = [
        "Started server process",
        "Waiting for application startup.",
        "Application startup complete.",
        "Uvicorn running",
    ]
    assert [log.index(word) for word in started] == sorted(log.index(word) for word in started)
    found = parse_info(quick.ok("npu-smi info"))
    assert sorted(2 * p.npu + p.chip for p in found.processes if p.chip is not None) == [0, 1, 2, 3]
    assert quick.docker("stop", "server").exit == 0
    assert quick.state()["ExitCode"] == 0
    assert "Shutting down" in quick.logs()
    assert not parse_info(quick.ok("npu-smi info")).processes


def test_answers(quick: Machine) -> None:
    quick.serve(*TP4)
    client = Client(quick)
    client.wait()
    status, body = client.chat("Tell me something long.", max_completion_tokens=5)
    assert (status, body["choices"][0]["finish_reason"], body["usage"]["completion_tokens"]) == (200, "length", 5)
    assert client.text("Tell me a story") == client.text("Tell me a story")
    assert client.text("Tell me a story") != client.text("Tell me a joke")
    assert client.chat(SUM, ignore_eos=True, max_tokens=50)[1]["usage"]["completion_tokens"] == 50
    assert client.text("Who are you?", stop=[","]) == "I am Qwen"
    status, body = client.chat("x", model="other")
    assert (status, body["error"]["code"], body["error"]["type"]) == (404, 404, "NotFoundError")
    assert body["error"]["message"] == "The model `other` does not exist."
    status, body = client.chat("x", max_tokens=40000)
    assert (status, "maximum context length is 32768 tokens" in body["error"]["message"]) == (400, True)
    status, text = client.call("/v1/completions", {"model": "qwen3_next", "prompt": SUM, "max_tokens": 30})
    assert (status, json.loads(text)["choices"][0]["text"]) == (200, "17 * 23 = 391")
    assert client.call("/nothing")[0] == 404


def test_streaming(quick: Machine) -> None:
    quick.serve(*TP4)
    client = Client(quick)
    client.wait()
    payload = {"model": "qwen3_next", "messages": [{"role": "user", "content": SUM}], "stream": True, "temperature": 0,
               "stream_options": {"include_usage": True}}  # fmt: skip
    status, text = client.call("/v1/chat/completions", payload)
    events = [line.removeprefix("data: ") for line in text.splitlines() if line]
    assert (status, events[-1]) == (200, "[DONE]")
    chunks = [json.loads(event) for event in events[:-1]]
    assert "".join(c["choices"][0]["delta"]["content"] for c in chunks if c["choices"]) == "17 * 23 = 391"
    assert chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["usage"]["completion_tokens"] == 5


def test_an_api_key_is_asked_for(quick: Machine) -> None:
    quick.serve(*TP4, env={"VLLM_API_KEY": "secret"})
    client = Client(quick)
    client.wait()
    assert client.chat(SUM)[0] == 401
    assert client.call("/v1/models", token="wrong")[0] == 401
    assert client.call("/v1/models", token="secret")[0] == 200


def test_data_parallel_on_one_node(quick: Machine) -> None:
    quick.serve(*TP4, "--enable-expert-parallel", "--data-parallel-size", "4")
    client = Client(quick)
    client.wait()
    assert client.generated() == [0, 0, 0, 0]
    client.text(SUM)
    client.text(SUM)
    assert [count > 0 for count in client.generated()] == [True, True, False, False]
    assert "13389" not in quick.ok("cat /proc/net/tcp")


# ---- what cannot start


CANNOT = [
    (("--tensor-parallel-size", "16"), "aclnnFusedInferAttentionScoreV3 failed"),
    (
        ("--tensor-parallel-size", "3"),
        "Total number of attention heads (16) must be divisible by tensor parallel size (3)",
    ),
    (("--tensor-parallel-size", "1"), "NPU out of memory. Tried to allocate"),
    (("--tensor-parallel-size", "8", "--data-parallel-size", "3"), "Set device failed, invalid device, set device=16"),
    ((*TP4, "--max-model-len", "300000"), "User-specified max_model_len (300000) is greater than the derived"),
    ((*TP4, "--headless", "--api-server-count", "2"), "api_server_count can't be set in headless mode"),
    ((*TP4, "--host", "10.9.9.9"), "OSError: [Errno 99] Cannot assign requested address"),
]


@pytest.mark.parametrize(("arguments", "words"), CANNOT)
def test_what_vllm_refuses(quick: Machine, arguments: tuple[str, ...], words: str) -> None:
    quick.serve(*arguments)
    code, log = quick.ended()
    assert (code, words in log) == (1, True), log


def test_an_unknown_flag(quick: Machine) -> None:
    quick.serve("--frobnicate")
    code, log = quick.ended()
    assert code == 2
    assert "vllm serve: error: unrecognized arguments: --frobnicate" in log


ENVIRONMENT = [
    ({"HCCL_IF_IP": "10.1.2.3"}, "EI0001: Environment variable [HCCL_IF_IP] is invalid. Reason: the ip 10.1.2.3"),
    ({"GLOO_SOCKET_IFNAME": "bond0"}, "set ifname to [bond0] by GLOO_SOCKET_IFNAME, but not found"),
    ({"HCCL_SOCKET_IFNAME": "=eth1"}, "set ifname to [=eth1] by HCCL_SOCKET_IFNAME"),
    ({"ASCEND_RT_VISIBLE_DEVICES": "0,1"}, "Set device failed, invalid device, set device=2"),
]


@pytest.mark.parametrize(("env", "words"), ENVIRONMENT)
def test_a_wrong_environment(quick: Machine, env: dict[str, str], words: str) -> None:
    quick.serve(*TP4, env=env)
    code, log = quick.ended()
    assert (code, words in log) == (1, True), log


WEIGHTS = [
    ("weights/missing", "1", "Invalid repository ID or local directory specified"),
    ("weights/missing_shard", "7", "Following weights were not initialized from checkpoint"),
    ("weights/short_shard", "7", "incomplete metadata, file not fully covered"),
]


@pytest.mark.parametrize(("key", "value", "words"), WEIGHTS)
def test_broken_weights(quick: Machine, key: str, value: str, words: str) -> None:
    with fault(Path(quick.node.cluster_folder), "node1", key, value):
        quick.serve(*TP4)
        code, log = quick.ended()
    assert (code, words in log) == (1, True), log
    quick.docker("rm", "server")
    quick.serve(*TP4)
    Client(quick).wait()


def test_an_image_for_other_hardware(machines: Machines) -> None:
    machine = machines(1, "a3", image=IMAGE.removesuffix("-a3"))[0]
    machine.serve(*TP4, image=IMAGE.removesuffix("-a3"))
    code, log = machine.ended()
    assert (
        code,
        "AscendDeviceType.A3 does not match the installed version's device type: AscendDeviceType.A2" in log,
    ) == (1, True)


def test_dies_that_somebody_holds(quick: Machine) -> None:
    with fault(Path(quick.node.cluster_folder), "node1", "npu/2/process", "python3 4711 20000"):
        quick.serve(*TP4)
        code, log = quick.ended()
        assert (code, "less than desired GPU memory utilization" in log) == (1, True), log
    quick.docker("rm", "server")
    quick.docker("run", "-d", "--name", "other", "--device", "/dev/davinci3", IMAGE, "sh", "-c", "sleep 60")
    quick.serve(*TP4)
    code, log = quick.ended()
    assert (code, "because the device is used. ret is -8020" in log) == (1, True), log


def test_a_port_that_is_taken(quick: Machine) -> None:
    quick.serve(*TP4)
    Client(quick).wait()
    quick.serve(*TP4, name="second", env={"ASCEND_RT_VISIBLE_DEVICES": "8,9,10,11"})
    code, log = quick.ended("second")
    assert (code, "OSError: [Errno 98] Address already in use" in log) == (1, True), log


def test_a_server_that_dies_while_it_loads(quick: Machine) -> None:
    set_fault(Path(quick.node.cluster_folder), "node1", "vllm/die_at_start", "0 9 RuntimeError: EL0004 no memory")
    quick.serve(*TP4)
    code, log = quick.ended()
    assert code == 9
    assert log.index("RuntimeError: EL0004 no memory") < log.index(
        "Engine core initialization failed. See root cause above."
    )


def test_speculative_decoding_is_counted_and_may_never_be_right(quick: Machine) -> None:
    config = '{"method": "qwen3_next_mtp", "num_speculative_tokens": 2}'
    assert quick.serve(*TP4, "--speculative-config", config).exit == 0
    client = Client(quick)
    client.wait()

    def counted(what: str) -> float:
        found = re.search(rf'vllm:spec_decode_{what}_total\{{engine="0".*?\}} ([\d.]+)', client.call("/metrics")[1])
        assert found, what
        return float(found[1])

    client.text(SUM)
    assert counted("num_draft_tokens") == 2 * counted("num_drafts") >= counted("num_accepted_tokens") > 0
    with fault(quick.folder, "node1", "spec_decode/none"):
        assert counted("num_accepted_tokens") == 0 < counted("num_drafts")


def test_what_a_running_server_can_tell_of_itself(quick: Machine) -> None:
    assert "vllm:spec_decode" not in serve_and_ask(quick, "/metrics")
    client = Client(quick)
    with fault(quick.folder, "node1", "vllm/health", "503"):
        assert client.call("/health")[0] == 503
    assert client.call("/health")[0] == 200
    with fault(quick.folder, "node1", "vllm/missing_engine", "0"):
        assert 'engine="0"' not in client.call("/metrics")[1]
    with fault(quick.folder, "node1", "log/error", "EI0015: topo exchange failed"):
        assert quick.logs().splitlines()[-1].endswith(" [model_runner_v1.py:1822] EI0015: topo exchange failed")
    with fault(quick.folder, "node1", "hbm/uneven", "12000"):
        used = [die.hbm_used_mb or 0 for die in parse_info(quick.ok("npu-smi info")).dies[:4]]
    assert max(used[1:]) - min(used[1:]) < 400
    assert 11000 < used[1] - used[0] < 13000


def test_an_engine_that_is_silent(quick: Machine) -> None:
    serve_and_ask(quick, "/health")
    set_fault(quick.folder, "node1", "vllm/silent_engine", "0")
    thread = threading.Thread(target=Client(quick).text, args=(SUM,))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    clear_fault(quick.folder, "node1", "vllm/silent_engine")
    thread.join(5)
    assert not thread.is_alive()


def test_a_server_that_is_killed(quick: Machine) -> None:
    assert quick.serve(*TP4, name="qnext-test-head").exit == 0
    Client(quick).wait()
    with fault(Path(os.path.relpath(quick.folder)), "node1", "container/killed", "head"):
        assert quick.ended("qnext-test-head")[0] == 137


def serve_and_ask(machine: Machine, path: str) -> str:
    assert machine.serve(*TP4).exit == 0
    client = Client(machine)
    client.wait()
    return client.call(path)[1]


def test_a_server_that_logs_an_error_while_it_loads(quick: Machine) -> None:
    with fault(quick.folder, "node1", "log/error"):
        serve_and_ask(quick, "/health")
        assert "ERROR" in quick.logs()
        assert "HCCL EI0006: Getting socket times out" in quick.logs()


def test_an_engine_that_dies_at_the_first_token(quick: Machine) -> None:
    quick.serve(*TP4)
    client = Client(quick)
    client.wait()
    with fault(Path(quick.node.cluster_folder), "node1", "vllm/die_at_first_token"):
        status, body = client.chat(SUM)
        assert (status, body["error"]["type"]) == (500, "InternalServerError")
        assert body["error"]["message"].startswith("EngineCore encountered an issue.")
        assert client.call("/health")[0] == 200
        assert client.call("/v1/models")[0] == 200
    assert "EngineDeadError" in quick.logs()


# ---- several nodes


@pytest.fixture
def pair(machines: Machines) -> tuple[Machine, Machine]:
    """Two nodes whose servers start at once."""
    first, second = machines(2)
    fast(first, second)
    return first, second


def join(head: Machine, worker: Machine, *, start: int = 4) -> None:
    assert head.serve(*parallel(head)).exit == 0
    assert worker.serve(*parallel(head), "--headless", "--data-parallel-start-rank", str(start)).exit == 0


def test_data_parallel_over_two_nodes(pair: tuple[Machine, Machine]) -> None:
    head, worker = pair
    join(head, worker)
    client = Client(head)
    client.wait()
    threads = [threading.Thread(target=client.text, args=(SUM,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(client.generated()) == 8
    assert all(count == 5 for count in client.generated())
    assert "Launching 4 data parallel engine(s) in headless mode" in worker.logs()
    assert "Uvicorn" not in worker.logs()
    assert Client(worker).call("/health")[0] == 0


def test_the_head_waits_and_a_worker_gives_up(pair: tuple[Machine, Machine]) -> None:
    head, worker = pair
    worker.node.state.set("vllm/handshake_seconds", "0.3")
    worker.serve(*parallel(head), "--headless", "--data-parallel-start-rank", "4")
    code, log = worker.ended()
    assert (code, "Did not receive response from front-end process within 5 minutes" in log) == (1, True), log
    head.serve(*parallel(head))
    until(lambda: ":344D" in head.ok("cat /proc/net/tcp") or _listens(head, 13389), "the rpc port listens")
    assert head.state()["Running"] is True
    assert Client(head).call("/health")[0] == 0


def _listens(machine: Machine, port: int) -> bool:
    from provision.rehearsal.standins.net import listeners

    return port in [socket.port for socket in listeners(machine.node)]


WRONG_WORKERS = [
    (("--data-parallel-start-rank", "3"), "unexpected data parallel rank: 3"),
    (("--data-parallel-start-rank", "6"), "unexpected data parallel rank: 8"),
    (
        ("--data-parallel-start-rank", "4", "--tensor-parallel-size", "2"),
        "Configuration mismatch detected for engine 4",
    ),
    (("--data-parallel-start-rank", "4", "--data-parallel-size", "16"), "Configuration mismatch detected for engine 4"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG_WORKERS)
def test_ranks_must_fit(pair: tuple[Machine, Machine], arguments: tuple[str, ...], words: str) -> None:
    head, worker = pair
    head.serve(*parallel(head))
    worker.serve(*parallel(head), "--headless", *arguments)
    code, log = head.ended()
    assert (code, words in log) == (1, True), log


def test_a_head_address_of_another_node(pair: tuple[Machine, Machine]) -> None:
    head, worker = pair
    head.serve(*parallel(worker))
    code, log = head.ended()
    assert code == 1
    assert "zmq.error.ZMQError: Cannot assign requested address" in log


def test_a_lost_worker_stops_the_head_and_a_lost_head_leaves_workers(pair: tuple[Machine, Machine]) -> None:
    head, worker = pair
    head.node.state.set("vllm/collective_seconds", "0.2")
    join(head, worker)
    client = Client(head)
    client.wait()
    worker.docker("kill", "server")
    assert client.call("/health")[0] == 200
    status, body = client.chat(SUM)
    assert (status, body["error"]["type"]) == (500, "InternalServerError")
    assert client.call("/health")[0] == 503
    assert head.ended()[0] == 1
    head.docker("rm", "server")
    worker.docker("rm", "server")
    join(head, worker)
    client.wait()
    head.docker("kill", "server")
    assert worker.state()["Running"] is True


def nnodes(head: Machine, rank: int) -> tuple[str, ...]:
    sizes = ("--tensor-parallel-size", "8", "--pipeline-parallel-size", "2", "--distributed-executor-backend", "mp")
    place = ("--nnodes", "2", "--node-rank", str(rank), *(("--headless",) if rank else ()))
    return (*sizes, *place, "--master-addr", head.node.address, "--master-port", "29501")


def test_one_engine_over_two_nodes(pair: tuple[Machine, Machine]) -> None:
    head, worker = pair
    worker.serve(*nnodes(head, 1))
    head.serve(*nnodes(head, 0))
    client = Client(head)
    client.wait()
    assert client.text(SUM) == "17 * 23 = 391"
    assert client.generated() == [5]
    held = [len(parse_info(m.ok("npu-smi info")).processes) for m in pair]
    assert held == [8, 8]


def test_a_rank_that_does_not_exist(pair: tuple[Machine, Machine]) -> None:
    head, worker = pair
    worker.serve(*nnodes(head, 2))
    assert "node_rank (2) must be less than nnodes (2)" in worker.ended()[1]
