"""Recipes as inventories: what is said once, what by host, and that it loads and runs as the recipe says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provision.errors import ConfigError, UsageError
from provision.serve.importing.recipe import Notes
from provision.serve.launch import declared

from .recipes import EXTERNAL, HEAD, INTERNAL, WORKER, composed, loaded, pasted, upstream

HOSTS = ("10.0.0.1", "10.0.0.2")


def warnings(notes: Notes) -> list[str]:
    return [note.text for note in notes.found if note.warning]


def test_what_is_the_same_is_said_once(tmp_path: Path) -> None:
    text = composed(upstream(INTERNAL), hosts=HOSTS)
    assert text == composed(upstream(INTERNAL), hosts=HOSTS)
    assert text.count("HCCL_BUFFSIZE") == text.count("tensor_parallel_size") == text.count("max_model_len") == 1
    inventory = loaded(text, tmp_path)
    settings = inventory.settings
    assert (settings.cluster, settings.hardware) == ("two-nodes", "atlas-800-a3")
    assert (settings.model.path, settings.model.hub) == ("Qwen/Some-Model", "modelscope")
    assert (settings.serve.topology, settings.serve.port, settings.serve.as_given) == ("data-parallel", 8080, True)
    assert settings.serve.engine_args == {"additional-config": {"a": 1, "b": {"c": True}}}
    assert [host.settings.data_address for host in inventory.hosts] == list(HOSTS)


def test_words_and_environment_of_each_node(tmp_path: Path) -> None:
    plan = declared(loaded(composed(upstream(INTERNAL), hosts=HOSTS), tmp_path)).plan
    worker = plan.process("worker1")
    assert worker.argv[:6] == ("vllm", "serve", "Qwen/Some-Model", "--headless", "--data-parallel-size", "4")
    assert worker.argv[-4:-2] == ("--additional_config", '{"a":1,"b":{"c":true}}')
    assert worker.env["VLLM_USE_MODELSCOPE"] == "True"
    assert "VLLM_ENGINE_READY_TIMEOUT_S" not in worker.env


def test_hosts_by_name_need_an_address(tmp_path: Path) -> None:
    inventory = loaded(composed(upstream(INTERNAL), hosts=("a", "b")), tmp_path)
    assert [host.name for host in inventory.hosts] == ["a", "b"]
    with pytest.raises(ConfigError, match="address"):
        declared(inventory)
    assert [host.name for host in loaded(composed(upstream(INTERNAL)), tmp_path).hosts] == ["node0", "node1"]


@pytest.mark.parametrize(
    ("hosts", "says"),
    [
        (("a",), "--hosts names 1 host, but the recipe has 2 nodes"),
        (("a", "a"), "--hosts names a host twice"),
        (("a", "b c"), "--hosts: 'b c' is neither a name nor an address"),
    ],
)
def test_hosts_that_do_not_fit(hosts: tuple[str, ...], says: str) -> None:
    with pytest.raises(UsageError, match=says) as caught:
        composed(upstream(INTERNAL), hosts=hosts)
    assert caught.value.hint


def test_external_ranks_have_ports_and_devices_of_their_own(tmp_path: Path) -> None:
    notes = Notes()
    text = composed(upstream(EXTERNAL), notes, hosts=HOSTS, image="quay.io/ascend/vllm-ascend:v0.23.0-a3")
    assert warnings(notes) == []
    plan = declared(loaded(text, tmp_path)).plan
    ranks = [p for p in plan.processes if p.role == "decode"]
    assert [p.env["SERVER_PORT"] for p in ranks] == ["7100", "7101", "7102", "7103"]
    assert [p.env["ASCEND_RT_VISIBLE_DEVICES"] for p in ranks][1] == "4,5,6,7"
    assert ranks[3].argv[3:9] == ("--port", "7103", "--data-parallel-size", "4", "--data-parallel-rank", "3")
    assert plan.entry.api_port == 1999


def test_a_kv_transfer_config_that_would_come_out_otherwise_is_kept(tmp_path: Path) -> None:
    notes = Notes()
    text = composed(upstream(EXTERNAL.replace('"dp_size": 4', '"dp_size": 8', 1)), notes, hosts=HOSTS)
    assert any("kv-transfer-config of node 0 is kept as it stands" in each for each in warnings(notes))
    inventory = loaded(text, tmp_path)
    kept = inventory.hosts[0].settings.serve.engine_args["kv-transfer-config"]
    assert isinstance(kept, dict)
    assert json.dumps(kept).count('"dp_size": 8') == 1
    assert "kv-transfer-config" not in inventory.hosts[1].settings.serve.engine_args


def test_a_repeated_argument_is_kept_and_told(tmp_path: Path) -> None:
    notes = Notes()
    twice = INTERNAL.replace("      --max-model-len 8192\n", "      --max-num-seqs 32\n      --max-num-seqs 64\n")
    inventory = loaded(composed(upstream(twice), notes, hosts=HOSTS), tmp_path)
    assert any(each.startswith("--max-num-seqs 32 is given again later") for each in warnings(notes))
    assert inventory.settings.serve.engine_args["max-num-seqs"] == 64
    words = declared(inventory).plan.process("head").argv
    assert [words[at + 1] for at, word in enumerate(words) if word == "--max-num-seqs"] == ["32", "64"]


def test_pasted_nodes_bring_their_addresses_and_interface(tmp_path: Path) -> None:
    notes = Notes()
    inventory = loaded(composed(pasted(HEAD, WORKER, notes=notes), notes), tmp_path)
    assert [h.settings.data_address for h in inventory.hosts] == ["10.0.0.1", "10.0.0.2"]
    assert inventory.settings.data_interface == "eth1"
    worker = declared(inventory).plan.process("worker1")
    assert worker.argv[3:9] == (
        "--headless",
        "--data-parallel-start-rank",
        "2",
        "--data-parallel-size",
        "4",
        "--data-parallel-size-local",
    )
    assert any(note.text.startswith("HCCL_IF_IP is left out") for note in notes.found)


def test_the_model_of_a_container_is_found_on_the_node(tmp_path: Path) -> None:
    notes = Notes()
    image = "quay.io/ascend/vllm-ascend:v0.18.0"
    text = f"docker run -v /data/w:/models {image} vllm serve /models/m --tensor-parallel-size 4\n"
    settings = loaded(composed(pasted(text, notes=notes), notes), tmp_path).settings
    assert settings.model.path == "/data/w/m"
    assert settings.hardware == "atlas-800-a2"
    assert any("/models/m in the container, and /data/w/m on the node" in each for each in warnings(notes))


def test_secrets_are_never_written(tmp_path: Path) -> None:
    notes = Notes()
    exports = "export HF_TOKEN=hf_abcdef\nexport VLLM_API_KEY=sk-1234567\n"
    text = exports + "vllm serve /data/m --api-key sk-1234567 --port 9000\n"
    written = composed(pasted(text, notes=notes), notes)
    assert "hf_abcdef" not in written + str(notes.found)
    assert "sk-1234567" not in written + str(notes.found)
    settings = loaded(written, tmp_path).settings
    assert repr(settings.serve.api_key) == "Secret(env: VLLM_API_KEY)"
    assert settings.serve.env == {}
    assert {name: repr(secret) for name, secret in settings.serve.secret_env.items()} == {
        "HF_TOKEN": "Secret(env: HF_TOKEN)"
    }
    assert any(each.startswith("the value of HF_TOKEN was left out") for each in warnings(notes))


def test_secrets_are_told_by_name_by_value_and_by_option(tmp_path: Path) -> None:
    notes = Notes()
    head = "export OPENAI_KEY=hunter2 DB_PASS=hunter2 http_proxy=http://me:hunter2@10.0.0.9:3128 no_proxy=10.0.0.1\n"
    written = composed(pasted(head + "vllm serve /data/m --hf-token hunter2 -tp 2\n", notes=notes), notes)
    assert "hunter2" not in written + str(notes.found)
    settings = loaded(written, tmp_path).settings
    assert set(settings.serve.secret_env) == {"OPENAI_KEY", "DB_PASS", "http_proxy", "HF_TOKEN"}
    assert settings.serve.env == {"no_proxy": "10.0.0.1"}


def test_a_secret_of_one_node_is_given_to_all(tmp_path: Path) -> None:
    settings = loaded(composed(pasted("export HF_TOKEN=x\n" + HEAD, WORKER), hosts=HOSTS), tmp_path).settings
    assert set(settings.serve.secret_env) == {"HF_TOKEN"}


def test_independent_servers_are_replicas(tmp_path: Path) -> None:
    one = "vllm serve /data/m --tensor-parallel-size 8 --port 8000\n"
    settings = loaded(composed(pasted(one, one), hosts=HOSTS), tmp_path).settings
    assert (settings.serve.topology, settings.serve.server_port, settings.serve.port) == ("replicas", 8000, 8080)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        (("vllm serve /data/a\n", "vllm serve /data/b\n"), "several models: /data/a, /data/b"),
        (("vllm serve ./m\n",), "model './m' is neither an absolute path nor the name of a repository"),
        (("vllm serve /m -tp 2\n", "vllm serve /m -tp 4\n"), "form no one cluster"),
    ],
)
def test_refused(texts: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        composed(pasted(*texts))
    assert says in str(caught.value)
    assert caught.value.where is not None
    assert caught.value.hint
