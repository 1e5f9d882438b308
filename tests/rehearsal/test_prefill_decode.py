"""Prefill and decode apart: what both sides check, how a request goes through upstream's proxies, what breaks."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable

import pytest

from provision.rehearsal.layout import MODEL
from provision.rehearsal.standins.net import listeners
from tests.rehearsal.client import SUM, Client, fast
from tests.rehearsal.conftest import IMAGE, Machine, until

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]
Pair = tuple[Machine, Machine]
EXAMPLES = "/vllm-workspace/vllm-ascend/examples/disaggregated_prefill_v1"
KV_PORT = 36000
PULL = "MooncakeConnectorV1"


@pytest.fixture
def pair(machines: Machines) -> Pair:
    """One node for prefill, one for decode."""
    first, second = machines(2)
    fast(first, second)
    return first, second


def sizes(*, prefill: int = 8, decode: int = 4) -> dict[str, object]:
    return {"prefill": {"dp_size": 1, "tp_size": prefill}, "decode": {"dp_size": 1, "tp_size": decode}}


def config(role: str, *, connector: str = PULL, port: int = KV_PORT, **extra: object) -> str:
    block = {"kv_connector": connector, "kv_role": role, "kv_port": str(port), "engine_id": role}
    return json.dumps({**block, "kv_connector_extra_config": {**sizes(), **extra}})


def serve(machine: Machine, role: str, tp: int, key: str = "", connector: str = PULL) -> Client:
    transfer = config(f"kv_{role}", connector=connector)
    words = ("--tensor-parallel-size", str(tp), "--kv-transfer-config", transfer)
    done = machine.serve(*words, name=role, env={"VLLM_API_KEY": key} if key else None)
    assert done.exit == 0, done
    return Client(machine)


def both(pair: Pair, connector: str = PULL) -> tuple[Client, Client]:
    clients = serve(pair[0], "producer", 8, connector=connector), serve(pair[1], "consumer", 4, connector=connector)
    for client in clients:
        client.wait()
    return clients


def proxy(pair: Pair, name: str = "load_balance_proxy_server_example.py", env: dict[str, str] | None = None) -> Client:
    """Start a proxy on the first node."""
    first, second = pair
    port = first.port + 20
    done = first.start(
        "bash", "-lic", 'exec "$@"', "qnext", "python3", f"{EXAMPLES}/{name}", "--host", first.node.address, "--port",
        str(port), "--prefiller-hosts", first.node.address, "--prefiller-ports", str(first.port), "--decoder-hosts",
        second.node.address, "--decoder-ports", str(second.port), name="proxy", env=env, dies=(),
    )  # fmt: skip
    assert done.exit == 0, done
    client = Client(first, port)
    until(lambda: client.call("/healthcheck")[0] == 200, "the proxy listens")
    return client


def test_a_request_goes_over_both(pair: Pair) -> None:
    prefill, decode = both(pair)
    assert {KV_PORT, KV_PORT + 7} <= {listening.port for listening in listeners(pair[0].node)}
    front = proxy(pair)
    health = {"status": "ok", "prefill_instances": 1, "decode_instances": 1, "request_num": 0}
    assert json.loads(front.call("/healthcheck")[1]) == health
    assert "qwen3_next" in front.call("/v1/models")[1]
    assert front.text(SUM) == "17 * 23 = 391"
    assert (prefill.generated(), decode.generated()) == ([1], [5])
    assert decode.counted("external_prefix_cache_hits")[0] == decode.counted("prompt_tokens")[0] > 0
    streamed = {"model": "qwen3_next", "prompt": SUM, "stream": True, "max_tokens": 20}
    status, text = front.call("/v1/completions", streamed)
    assert (status, text.rstrip().endswith("data: [DONE]"), text.count("data: {") > 4) == (200, True, True), text
    assert decode.text(SUM) == "17 * 23 = 391", "without a prefill the prompt is read here"
    pair[0].docker("kill", "producer")
    assert front.call("/healthcheck")[0] == 200
    status, body = front.chat(SUM)
    assert (status, "Internal Server Error" in json.dumps(body)) == (500, True)


def test_a_decode_that_is_gone_is_an_empty_answer(pair: Pair) -> None:
    both(pair)
    front = proxy(pair)
    pair[1].docker("kill", "consumer")
    assert front.chat(SUM) == (200, "")
    assert "Error during streaming from decoder" in pair[0].logs("proxy")


def test_blocks_that_cannot_be_fetched_are_computed(pair: Pair) -> None:
    _, decode = both(pair)
    lost = {"do_remote_prefill": True, "remote_host": pair[0].node.address, "remote_port": 9, "remote_engine_id": "x"}
    assert decode.text(SUM, kv_transfer_params=lost) == "17 * 23 = 391"
    assert decode.counted("external_prefix_cache_hits") == {0: 0}
    assert "Failed to transfer KV cache for request" in pair[1].logs("consumer")


def test_layerwise(pair: Pair) -> None:
    prefill, decode = both(pair, connector="MooncakeLayerwiseConnector")
    front = proxy(pair, "load_balance_proxy_layerwise_server_example.py")
    assert front.text(SUM) == "17 * 23 = 391"
    assert (prefill.generated(), decode.generated()) == ([1], [5])


REFUSED = [
    ("kv_producer", 4, {}, "'prefill' config has a conflicting tensor parallel size. Expected 4, but got 8."),
    ("kv_consumer", 8, {}, "'decode' config has a conflicting tensor parallel size. Expected 8, but got 4."),
    ("kv_consumer", 4, {"prefill": {"dp_size": 1, "tp_size": 2}}, "Prefill TP size must be divisible by Decode"),
    ("kv_consumer", 4, {"decode": {"dp_size": 1, "tp_size": 4, "pp_size": 2}}, "decode pp size must be 1"),
    ("kv_prefill", 4, {}, "Unsupported kv_role: kv_prefill"),
    ("kv_consumer", 4, {"connector": "NoSuchConnector"}, "Unsupported connector type: NoSuchConnector"),
]  # fmt: skip


@pytest.mark.parametrize(("role", "tp", "given", "words"), REFUSED)
def test_what_cannot_be_transferred(machine: Machine, role: str, tp: int, given: dict[str, object], words: str) -> None:
    machine.serve("--tensor-parallel-size", str(tp), "--kv-transfer-config", config(role, **given))
    code, log = machine.ended()
    assert (code, words in log) == (1, True), log


def test_a_kv_port_that_is_taken(machine: Machine) -> None:
    fast(machine)
    with socket.socket() as other:
        other.bind((machine.node.address, KV_PORT + 3))
        other.listen()
        serve(machine, "producer", 8)
        code, log = machine.ended("producer")
    assert (code, "zmq.error.ZMQError: Address already in use" in log) == (1, True), log


def test_only_decode_recomputes(machine: Machine) -> None:
    machine.serve("--tensor-parallel-size", "8", "--kv-transfer-config", config("kv_producer"),
                  "--additional-config", '{"recompute_scheduler_enable": true}')  # fmt: skip
    assert "recompute_scheduler_enable can only be enabled on PD-disaggregated D nodes" in machine.ended()[1]


def test_a_pool_needs_its_master(machine: Machine) -> None:
    fast(machine)
    port = machine.port + 40
    folder = "/var/lib/qnext/test/launch"
    told = json.dumps({"metadata_server": "P2PHANDSHAKE", "master_server_address": f"{machine.node.address}:{port}"})
    machine.ok(f"mkdir -p {folder}; cat >{folder}/mooncake.json", stdin=told)
    words = ("vllm", "serve", MODEL, "--tensor-parallel-size", "8", "--port", str(machine.port), "--kv-transfer-config")
    env = {"MOONCAKE_CONFIG_PATH": "/qnext/mooncake.json"}
    machine.start(
        *words,
        config("kv_both", connector="AscendStoreConnector"),
        env=env,
        binds=[f"{folder}:/qnext:ro"],
        dies=range(8),
    )
    assert "Initialize mooncake failed" in machine.ended()[1]
    machine.start("mooncake_master", "--port", str(port), "--metrics_port", str(port + 1), name="master", dies=())
    until(lambda: port + 1 in [one.port for one in listeners(machine.node)], "the master listens")
    machine.docker("restart", "server")
    Client(machine).wait()


def test_a_meta_service_of_memcache(machines: Machines) -> None:
    image = IMAGE.replace("0.18.0", "0.23.0")
    machine = machines(image=image)[0]
    folder, port = "/var/lib/qnext/test/launch", machine.port + 50
    url = f"tcp://{machine.node.address}:"
    text = f"ock.mmc.meta_service_url = {url}{port}\nock.mmc.meta_service.config_store_url = {url}{port + 1}\n"
    machine.ok(f"mkdir -p {folder}; cat >{folder}/mmc-meta.conf", stdin=text)
    program = ("python3", "-c", "from memcache_hybrid import MetaService; MetaService.main()")
    env = {"MMC_META_CONFIG_PATH": "/qnext/mmc-meta.conf"}
    machine.start(*program, name="pool", dies=(), env=env, image=image, binds=[f"{folder}:/qnext:ro"])
    until(lambda: {port, port + 1} <= {one.port for one in listeners(machine.node)}, "the meta service listens")


def test_a_key_is_the_proxys_own(pair: Pair) -> None:
    """It asks the servers with OPENAI_API_KEY; what the client sent is of no use."""
    for machine, role, tp in zip(pair, ("producer", "consumer"), (8, 4), strict=True):
        serve(machine, role, tp, key="sk-1")
        Client(machine).wait()
    front = proxy(pair)
    assert front.call("/v1/chat/completions", {"model": "qwen3_next", "messages": [{"role": "user", "content": SUM}]},
                      token="sk-1")[0] == 500  # fmt: skip
    pair[0].docker("rm", "-f", "proxy")
    assert proxy(pair, env={"OPENAI_API_KEY": "sk-1"}).text(SUM) == "17 * 23 = 391"


def test_a_proxy_checks_what_it_is_told(pair: Pair) -> None:
    first = pair[0]
    for name, words, complaint in (
        (
            "load_balance_proxy_server_example.py",
            ("--prefiller-hosts", "a", "b"),
            "must match number of prefiller ports",
        ),
        ("load_balance_proxy_layerwise_server_example.py", ("--host", "0.0.0.0"), "must not be a wildcard"),
        ("no_such_proxy.py", (), "No such file or directory"),
    ):
        done = first.docker("run", "--rm", IMAGE, "python3", f"{EXAMPLES}/{name}", *words)
        assert (done.exit != 0, complaint in done.err) == (True, True), done
