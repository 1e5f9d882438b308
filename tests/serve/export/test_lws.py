"""Manifests: pods run what the launch scripts run, with their own addresses and ranks; and they keep to the API."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from provision.errors import ConfigError
from provision.inventory.model import Settings
from provision.serve.environment import extends
from provision.serve.export import lws
from provision.serve.launch import Launch
from provision.serve.plan import Process
from tests.serve.clusters import settings
from tests.serve.export.launches import CLUSTERS, launch, launch_of, loaded, privileged

FIT = [
    name
    for name, case in CLUSTERS.items()
    if case["serve"].get("topology") not in ("external-dp", "hybrid-dp") and "external" not in name
]
SHELLS = [path for name in ("bash", "dash") if (path := shutil.which(name))]

COUNT = {"type": "integer", "minimum": 0}
NAMED = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "pattern": "^[a-z0-9-]+$"}}}
POD = {
    "type": "object",
    "additionalProperties": False,
    "required": ["spec"],
    "properties": {
        "metadata": {"type": "object"},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["containers"],
            "properties": {
                "volumes": {"type": "array", "items": NAMED},
                "containers": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["name", "image"],
                        "properties": {
                            "name": {"type": "string"},
                            "image": {"type": "string"},
                            "command": {"type": "array", "items": {"type": "string"}},
                            "env": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "additionalProperties": False,
                                    "required": ["name"],
                                    "properties": {
                                        "name": {"type": "string"},
                                        "value": {"type": "string"},
                                        "valueFrom": {"type": "object", "maxProperties": 1},
                                    },
                                },
                            },
                            "resources": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "limits": {"additionalProperties": {"type": "string", "pattern": r"^\d+$"}},
                                    "requests": {"additionalProperties": {"type": "string", "pattern": r"^\d+$"}},
                                },
                            },
                            "volumeMounts": {"type": "array", "items": {**NAMED, "required": ["name", "mountPath"]}},
                            "ports": {"type": "array", "items": {**NAMED, "required": ["containerPort"]}},
                            "startupProbe": {"type": "object", "required": ["httpGet"]},
                            "readinessProbe": {"type": "object", "required": ["httpGet"]},
                        },
                    },
                },
            },
        },
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "leaderworkerset.x-k8s.io/v1"},
        "kind": {"const": "LeaderWorkerSet"},
        "metadata": {"properties": {"name": {"type": "string", "pattern": "^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"}}},
        "spec": {
            "type": "object",
            "additionalProperties": False,
            "required": ["leaderWorkerTemplate"],
            "properties": {
                "replicas": COUNT,
                "startupPolicy": {"enum": ["LeaderCreated", "LeaderReady"]},
                "leaderWorkerTemplate": {
                    "type": "object",
                    "additionalProperties": False,
                    "required": ["workerTemplate"],
                    "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "restartPolicy": {"enum": ["RecreateGroupOnPodRestart", "None"]},
                        "leaderTemplate": POD,
                        "workerTemplate": POD,
                    },
                },
            },
        },
    },
}
"""What of the API these manifests use [kubernetes-sigs/lws, api/leaderworkerset/v1; Kubernetes, core/v1]."""
API = jsonschema.Draft202012Validator(SCHEMA)


def documents(found: tuple[Launch, Any], **more: str) -> list[dict[str, Any]]:
    (file,) = lws.files(*found, **more)
    return loaded(file.text)


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in found if each["kind"] == kind]


def templates(document: dict[str, Any]) -> dict[str, Any]:
    template = document["spec"]["leaderWorkerTemplate"]
    return {role: template[role] for role in ("leaderTemplate", "workerTemplate") if role in template}


@pytest.mark.parametrize("name", FIT)
def test_they_keep_to_the_api(name: str) -> None:
    found = documents(launch_of(name))
    launches = {each["metadata"]["name"]: each["data"] for each in of_kind(found, "ConfigMap")}
    for document in of_kind(found, "LeaderWorkerSet"):
        API.validate(document)
        for pod in templates(document).values():
            (container,) = pod["spec"]["containers"]
            volumes = {each["name"]: each for each in pod["spec"]["volumes"]}
            assert set(volumes) == {each["name"] for each in container["volumeMounts"]}
            script = container["command"][-1].removeprefix("/qnext/")
            assert script in launches[volumes["launch"]["configMap"]["name"]]
    assert len(of_kind(found, "Service")) == 1


# ---- what pods run


class Pod:
    """Runs a pod's script with commands that tell what they are given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.command("getent", 'test "$2" = leader.example && echo "10.9.9.1 STREAM leader"')
        self.command("python3", "echo eth7")
        self.command("timeout", "exit 0")
        for name in ("vllm", "sh"):
            self.command(name, f'printf "%s\\0" {name} "$@"; printf "%s\\0" "ENV" "$GLOO_SOCKET_IFNAME"')

    def command(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, text: str, address: str, index: int, size: int) -> list[str]:
        environment = {
            "PATH": f"{self.folder}:/usr/bin:/bin",
            "POD_IP": address,
            "LWS_LEADER_ADDRESS": "leader.example",
            "LWS_WORKER_INDEX": str(index),
            "LWS_GROUP_SIZE": str(size),
        }
        answer = subprocess.run(["/bin/sh", "-c", text], env=environment, capture_output=True, text=True, timeout=20)
        assert answer.returncode == 0, answer.stderr
        return answer.stdout.split("\0")[:-1]


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Pod:
    return Pod(tmp_path_factory.mktemp("pod"))


def at_pods(process: Process, head: str, own: str) -> list[str]:
    """The process's command with the addresses of pods 10.9.9.1 (the head) and 10.9.9.x."""
    words = [word.replace(head, "10.9.9.1") for word in process.argv]
    return [word.replace(process.address, own) for word in words]


@pytest.mark.parametrize(
    ("name", "nodes"),
    [("two-a3-dp8-tp4", 2), ("two-a2-tp8-pp2-over-nodes", 2), ("two-a2-ray", 2), ("two-cpu-tp2-over-nodes", 2)],
)
def test_pods_run_the_commands_of_the_plan(pod: Pod, name: str, nodes: int) -> None:
    found = launch_of(name)
    plan = found[0].plan
    data = of_kind(documents(found), "ConfigMap")[0]["data"]
    for index, process in enumerate(plan.processes):
        own = f"10.9.9.{index + 1}"
        words = pod.run(data["worker.sh" if index else "leader.sh"], own, index, nodes)
        assert words == [*at_pods(process, plan.processes[0].address, own), "ENV", "eth7"]


def test_ranks_of_more_workers_are_computed(pod: Pod) -> None:
    given = settings("atlas-800-a3", topology="data-parallel", tensor_parallel_size=4, data_parallel_size=12)
    found = launch([given] * 3, 3)
    data = of_kind(documents(found), "ConfigMap")[0]["data"]
    starts = []
    for index in (1, 2):
        words = pod.run(data["worker.sh"], f"10.9.9.{index + 1}", index, 3)
        starts.append(words[words.index("--data-parallel-start-rank") + 1])
    assert starts == ["4", "8"]


def test_another_number_of_pods_is_refused(pod: Pod) -> None:
    data = of_kind(documents(launch_of("two-a3-dp8-tp4")), "ConfigMap")[0]["data"]
    with pytest.raises(AssertionError, match="its sizes are for 2 pods"):
        pod.run(data["leader.sh"], "10.9.9.1", 0, 3)


@pytest.mark.parametrize("shell", SHELLS)
def test_all_scripts_are_sound(shell: str) -> None:
    texts = [
        f"(\n{text}\n)\n"
        for name in FIT
        for document in of_kind(documents(launch_of(name)), "ConfigMap")
        for key, text in document["data"].items()
        if key.endswith(".sh")
    ]
    answer = subprocess.run([shell, "-n"], input="".join(texts), capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert len(texts) >= len(FIT)


def test_the_interface_is_found() -> None:
    """On this machine: loopback owns 127.0.0.1 everywhere."""
    data = of_kind(documents(launch_of("two-a3-dp8-tp4")), "ConfigMap")[0]["data"]
    for address, name in (("127.0.0.1", "lo\n"), ("203.0.113.7", "")):
        words = [sys.executable, "-ISc", data["interface.py"], address]
        assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == name


@pytest.mark.parametrize("name", FIT)
def test_no_address_of_a_node_is_left(name: str) -> None:
    (file,) = lws.files(*launch_of(name))
    assert "10.0.0." not in file.text


# ---- environment and devices


def variables(document: dict[str, Any], role: str = "workerTemplate") -> dict[str, Any]:
    (container,) = templates(document)[role]["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


def test_addresses_are_those_of_the_pod() -> None:
    (document,) = of_kind(documents(launch_of("two-a3-dp8-tp4")), "LeaderWorkerSet")
    found = variables(document)
    assert next(iter(found)) == "POD_IP"
    assert found["POD_IP"] == {"fieldRef": {"fieldPath": "status.podIP"}}
    assert found["HCCL_IF_IP"] == found["VLLM_HOST_IP"] == "$(POD_IP)"
    assert "ASCEND_VISIBLE_DEVICES" not in found, "the device plugin sets it"


def test_all_other_variables_are_those_of_the_plan() -> None:
    found = launch_of("two-a3-prefill-decode")
    for document, process in zip(of_kind(documents(found), "LeaderWorkerSet"), found[0].plan.servers, strict=True):
        made = {name: value for name, value in variables(document).items() if name != "POD_IP"}
        expected = {name: value for name, value in process.env.items() if not extends(name, value)}
        assert made == {name: value.replace(process.address, "$(POD_IP)") for name, value in expected.items()}


def test_an_interface_of_the_nodes_is_none_of_the_pods() -> None:
    found = documents(launch_of("a2-tp4"))
    (document,) = of_kind(found, "LeaderWorkerSet")
    assert "GLOO_SOCKET_IFNAME" not in variables(document)
    assert "enp67s0f5" not in str(found)


def test_dollars_are_kept() -> None:
    given = settings("cpu", env={"PRICE": "5$ $(HOME) $$"}, engine_args={"chat-template": "$(x) ${y} `z`"})
    found = documents(launch([given], 1))
    assert variables(of_kind(found, "LeaderWorkerSet")[0])["PRICE"] == "5$$ $$(HOME) $$$$"
    assert "--chat-template '$(x) ${y} `z`'" in of_kind(found, "ConfigMap")[0]["data"]["leader.sh"]


@pytest.mark.parametrize(("name", "count"), [("a2-tp4", "4"), ("two-a3-dp8-tp4", "16"), ("two-a3-replicas", "8")])
def test_pods_ask_for_their_devices(name: str, count: str) -> None:
    (document,) = of_kind(documents(launch_of(name), resource="huawei.com/ascend-1980"), "LeaderWorkerSet")
    (container,) = templates(document)["workerTemplate"]["spec"]["containers"]
    wanted = {"huawei.com/ascend-1980": count}
    assert container["resources"] == {"requests": wanted, "limits": wanted}


def test_privileged_replicas_ask_for_their_own_devices_alone() -> None:
    given = privileged(settings("atlas-800-a2", topology="replicas", tensor_parallel_size=4))
    (file,) = lws.files(*launch([given], 1))
    (document,) = of_kind(loaded(file.text), "LeaderWorkerSet")
    (container,) = templates(document)["workerTemplate"]["spec"]["containers"]
    assert container["resources"]["limits"] == {lws.RESOURCE: "4"}
    assert "ASCEND_RT_VISIBLE_DEVICES" not in file.text
    assert "privileged is left out" in file.text


def test_the_key_is_a_secret_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_TEST", "s3cr3t-value")
    (file,) = lws.files(*launch([settings("cpu", api_key={"env": "KEY_OF_TEST"})], 1))
    (document,) = of_kind(loaded(file.text), "LeaderWorkerSet")
    reference = {"secretKeyRef": {"name": "qnext-qnext-test-key", "key": "VLLM_API_KEY"}}
    assert variables(document)["VLLM_API_KEY"] == reference
    assert "s3cr3t" not in file.text
    assert "kubectl create secret generic qnext-qnext-test-key" in file.text


# ---- groups and the entry point


def test_replicas_are_replicas() -> None:
    found = documents(launch_of("two-a3-replicas"))
    (document,) = of_kind(found, "LeaderWorkerSet")
    assert document["spec"]["replicas"] == 4
    assert document["spec"]["leaderWorkerTemplate"]["size"] == 1
    (service,) = of_kind(found, "Service")
    assert service["spec"]["ports"][0] | {"name": "http"} == {
        "name": "http",
        "port": 8000,
        "targetPort": 8100,
        "protocol": "TCP",
    }
    assert service["spec"]["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"
    assert not of_kind(found, "Deployment")


def test_prefill_and_decode_have_a_proxy_that_knows_their_leaders() -> None:
    found = documents(launch_of("two-a3-prefill-decode"))
    names = [each["metadata"]["name"] for each in of_kind(found, "LeaderWorkerSet")]
    assert names == ["qnext-qnext-test-prefill", "qnext-qnext-test-decode"]
    (deployment,) = of_kind(found, "Deployment")
    script = of_kind(found, "ConfigMap")[-1]["data"]["router.sh"]
    assert "--prefiller-hosts qnext-qnext-test-prefill-0.qnext-qnext-test-prefill " in script
    assert "--decoder-hosts qnext-qnext-test-decode-0.qnext-qnext-test-decode " in script
    (service,) = of_kind(found, "Service")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"] == labels == deployment["spec"]["selector"]["matchLabels"]


def test_without_a_proxy_each_side_has_a_service() -> None:
    found = documents(launch_of("two-a3-prefill-decode", router={"kind": "none"}))
    services = {each["metadata"]["name"]: each["spec"]["ports"][0]["targetPort"] for each in of_kind(found, "Service")}
    assert services == {"qnext-qnext-test-prefill-api": 8000, "qnext-qnext-test-decode-api": 8000}
    assert not of_kind(found, "Deployment")


@pytest.mark.parametrize("name", ["two-a2-external-dp", "two-a3-hybrid-dp", "four-a2-prefill-decode-external-pool"])
def test_what_cannot_be_expressed_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="can't be") as caught:
        lws.files(*launch_of(name))
    assert "another --format" in caught.value.hint


@pytest.mark.parametrize(("length", "fits"), [(40, True), (44, True), (45, False)])
def test_names_must_fit_into_the_labels_of_pods(length: int, fits: bool) -> None:
    found, by_node = launch_of("two-a3-dp8-tp4")
    long = replace(found, plan=replace(found.plan, cluster="c" * length))
    if fits:
        assert lws.files(long, by_node)
        return
    with pytest.raises(ConfigError, match="too long") as caught:
        lws.files(long, by_node)
    assert "1 characters too many" in caught.value.hint


def test_a_pool_is_refused() -> None:
    found, by_node = launch_of("two-a3-dp8-tp4")
    first, second = found.plan.processes
    odd = replace(found, plan=replace(found.plan, processes=(first, replace(second, kind="pool"))))
    with pytest.raises(ConfigError, match="pool"):
        lws.files(odd, by_node)


def test_workers_that_differ_are_refused() -> None:
    def own(threads: int) -> Settings:
        return settings(
            "cpu",
            topology="data-parallel",
            data_parallel_size=3,
            env={"OMP_NUM_THREADS": threads},
        )

    with pytest.raises(ConfigError, match=r"worker2 differs from worker1: .*OMP_NUM_THREADS.*12"):
        lws.files(*launch([own(8), own(8), own(12)], 3))
    lws.files(*launch([own(4), own(8), own(8)], 3))


def test_replicas_that_differ_are_refused() -> None:
    def own(length: int) -> Settings:
        return settings("cpu", topology="replicas", max_model_len=length)

    with pytest.raises(ConfigError, match="replica1 differs from replica0: 2048, not 1024"):
        lws.files(*launch([own(1024), own(2048)], 2))
