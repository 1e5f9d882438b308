"""The main job on real nodes: real sshd, real Docker, a real registry, a real vLLM, through the command line only."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from provision.serve.render import TRIAL

from .cli import Program
from .diagnosing import Expected, archive_is_whole, diagnosed, judge, same
from .dress import dress_as_a3
from .nodes import Cluster, Node, wait_for

IMAGE = "quay.io/ascend/vllm-ascend:v0.18.0-a3"
TWO_NODES = {"serve": {"topology": "tensor-parallel", "tensor_parallel_size": 2}}
ENGINES = {
    "model": {"path": "/data/weights/Qwen3-Tiny", "served_name": "qwen3-tiny"},
    "serve": {"topology": "data-parallel", "data_parallel_size": 2},
}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "state")


def containers(node: Node) -> list[str]:
    return node.docker("ps", "-a", "--format", "{{.Names}}").split()


def serving(node: Node) -> str:
    """The ids of the containers that serve; those of checks come and go before."""
    running = node.docker("ps", "--no-trunc", "--format", '{{.Label "qnext.process"}} {{.ID}}').splitlines()
    return " ".join(line for line in running if not line.startswith(TRIAL))


def nothing_left(cluster: Cluster) -> None:
    for node in cluster.nodes:
        assert containers(node) == []
        assert not node.exists("/var/lib/qnext")
        assert not {8000, 29501, 13389} & node.listening()
        assert not [title for title in node.processes().values() if "vllm" in title.lower()]


def test_bare_nodes_to_proven_generation_and_back(cluster: Cluster, program: Program, tmp_path: Path) -> None:
    """Scenario a: Qwen3-Next, tensor parallel over both nodes."""
    for node in cluster.nodes:
        node.docker("image", "prune", "-af")
    inventory = cluster.write_inventory(tmp_path, **TWO_NODES)
    head, worker = cluster.nodes

    assert program("check", "-i", inventory).exit == 0
    planned = program("up", "-i", inventory, "--check")
    assert planned.exit == 0, planned.text
    assert "pull" in planned.text
    assert not head.exists("/var/lib/qnext")

    up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    endpoint = f"http://{head.address}:8000"
    assert endpoint in up.text
    assert re.search(r"answer +\S", up.text)
    assert containers(head) == [f"qnext-real-{cluster.prefix}-head"]
    assert containers(worker) == [f"qnext-real-{cluster.prefix}-worker1"]

    ids = {node.docker("ps", "-q", "--no-trunc") for node in cluster.nodes}
    again = program("up", "-i", inventory, "--json").json()
    assert (again["exit_code"], again["changed"]) == (0, 0)
    assert all(cost["execs"] <= 3 and cost["connections"] == 1 for cost in again["execs"].values())
    assert {node.docker("ps", "-q", "--no-trunc") for node in cluster.nodes} == ids

    status = program("status", "-i", inventory, "--json").json()
    assert status["up"] is True
    assert {(p["node"], p["process"], p["state"]) for p in status["processes"]} == {
        (head.name, "head", "running"),
        (worker.name, "worker1", "running"),
    }
    logs = program("logs", "-i", inventory)
    assert f"{head.name}/head" in logs.stdout
    assert f"{worker.name}/worker1" in logs.stdout
    one = program("logs", "-i", inventory, "--node", worker.name, "--tail", "5")
    assert f"{head.name}/head" not in one.stdout
    verified = program("verify", "-i", inventory, "--only", "seed-chat", "--only", "stream", "--json").json()
    assert [case["ok"] for case in verified["cases"]] == [True, True]

    down = program("down", "-i", inventory, "--yes")
    assert down.exit == 0, down.text
    nothing_left(cluster)
    twice = program("down", "-i", inventory, "--yes", "--json").json()
    assert (twice["exit_code"], twice["changed"]) == (0, 0)


def test_every_data_parallel_engine_generates(cluster: Cluster, program: Program, tmp_path: Path) -> None:
    """Scenario b: a dense model, one engine a node."""
    cluster.pull(IMAGE)
    inventory = cluster.write_inventory(tmp_path, **ENGINES)
    up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    assert "2 engines, all generating" in up.text
    metrics = cluster.nodes[0].exec("curl -s --noproxy '*' http://127.0.0.1:8000/metrics", check=True).stdout
    counts = dict(re.findall(r'vllm:generation_tokens_total\{engine="(\d)".*?\} (\S+)', metrics))
    assert set(counts) == {"0", "1"}
    assert all(float(count) > 0 for count in counts.values())
    assert program("down", "-i", inventory, "--yes").exit == 0
    nothing_left(cluster)


def test_healthy_and_dead_is_noticed(cluster: Cluster, program: Program, tmp_path: Path) -> None:
    """Scenario c: this mixture of experts under data parallel answers 200 on /health and dies at its first token."""
    cluster.pull(IMAGE)
    inventory = cluster.write_inventory(tmp_path, serve={"topology": "data-parallel", "data_parallel_size": 2})
    up = program("up", "-i", inventory)
    assert up.exit == 1, up.text
    head = cluster.nodes[0]
    assert re.search(rf"head (on {head.name} )?does not generate", up.text), up.text
    assert "first cause" in up.text
    assert f"on {head.name}" in up.text
    kept = list((program.last_run() / "logs").rglob("*.log"))
    assert {path.parent.name for path in kept} == {node.name for node in cluster.nodes}
    assert any("Traceback" in path.read_text() for path in kept)
    places = zip(cluster.nodes, ("head", "worker1"), strict=True)
    both = [Expected(node.name, name, "cpu-expert-collectives", "experts", "all_gatherv") for node, name in places]
    live = diagnosed(program, "-i", inventory)
    judge(live, *both)
    same(diagnosed(program, program.last_run() / "evidence.tar.gz"), live)
    assert program("down", "-i", inventory, "--yes").exit == 0
    nothing_left(cluster)


def test_the_controller_dies_in_the_middle_of_the_pull(cluster: Cluster, program: Program, tmp_path: Path) -> None:
    """Scenario d, first half: the pull goes on without us, and the next run attaches to it."""
    inventory = cluster.write_inventory(tmp_path, **TWO_NODES)
    first = cluster.nodes[0]
    for node in cluster.nodes:
        node.docker("image", "prune", "-af")
        node.slow_registry("400mbit")
    job = f"/var/lib/qnext/real-{cluster.prefix}/jobs"
    log = f"cat {job}/*/log"
    program.killed_when(
        lambda: "Download complete" in first.exec(log).stdout, "a layer is there", "up", "-i", inventory
    )
    started = first.exec(f"cat {job}/*/started", check=True).stdout
    up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    assert first.exec(f"cat {job}/*/started", check=True).stdout == started, "a second pull was started"
    assert [len(containers(node)) for node in cluster.nodes] == [1, 1]
    assert program("down", "-i", inventory, "--yes").exit == 0
    nothing_left(cluster)


def test_the_controller_dies_while_the_model_loads(cluster: Cluster, program: Program, tmp_path: Path) -> None:
    """Scenario d, second half: the servers go on loading; the next run waits for those, and starts no others."""
    cluster.pull(IMAGE)
    inventory = cluster.write_inventory(tmp_path, **TWO_NODES)
    program.killed_when(lambda: all(serving(node) for node in cluster.nodes), "both servers run", "up", "-i", inventory)
    ids = [serving(node) for node in cluster.nodes]
    assert all(ids), "the servers went with the controller"
    up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    assert [serving(node) for node in cluster.nodes] == ids
    a_killed_rank_is_found(cluster, program, inventory, tmp_path)
    assert program("down", "-i", inventory, "--yes").exit == 0
    nothing_left(cluster)


def a_killed_rank_is_found(cluster: Cluster, program: Program, inventory: Path, folder: Path) -> None:
    """A worker's process is killed; the head says much more, later, at the next request, and is not to blame."""
    head, worker = cluster.nodes
    [pid] = [pid for pid, title in worker.processes().items() if title.startswith("VLLM::Worker")]
    worker.exec(["kill", "-9", str(pid)], check=True)
    wait_for(lambda: not serving(worker), 30, "worker1 to end")
    assert program("verify", "-i", inventory, "--only", "seed-chat").exit == 1
    wait_for(lambda: not serving(head), 30, "head to end")
    assert program("status", "-i", inventory).exit == 1
    killed = Expected(worker.name, "worker1", "process-killed", "killed", "exit code: -9")
    died = Expected(worker.name, "worker1", "process-died", "unexpectedly", "exit code: None")  # vLLM looked too early
    live = diagnosed(program, "-i", inventory)
    judge(live, killed, died)
    assert "head" in [step["process"] for step in live["chain"]], live
    archive = folder / "evidence.tar.gz"
    collected = program("logs", "collect", "-i", inventory, "-o", archive)
    assert collected.exit == 0, collected.text
    logs = {"head": " by peer", "worker1": "VllmWorker-1 died unexpectedly"}
    archive_is_whole(archive, folder / "unpacked", cluster.nodes, logs)
    same(diagnosed(program, archive), live)


def test_a_node_out_of_reach_stops_up_before_anything_changes(
    cluster: Cluster, program: Program, tmp_path: Path
) -> None:
    """Scenario e."""
    inventory = cluster.write_inventory(tmp_path, **TWO_NODES)
    reachable, lost = cluster.nodes
    lost.stop_sshd()
    up = program("up", "-i", inventory)
    assert up.exit == 4, up.text
    assert lost.name in up.text
    assert not reachable.exists("/var/lib/qnext")
    assert containers(reachable) == []


def test_the_whole_a3_recipe_through_docker(cluster: Cluster, program: Program, tmp_path: Path) -> None:
    """Scenario f: nodes dressed as Atlas A3; devices, mounts and environment go through the real dockerd."""
    cluster.pull(IMAGE)
    for node in cluster.nodes:
        dress_as_a3(node)
    inventory = cluster.write_inventory(
        tmp_path,
        hardware="atlas-800-a3",
        model={"path": "/data/weights/Qwen3-Tiny", "served_name": "qwen3-tiny"},
        serve={"topology": "data-parallel", "data_parallel_size": 2, "tensor_parallel_size": 1},
        checks={"N13": "warn", "N14": "warn"},
    )
    up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    for node in cluster.nodes:
        name = containers(node)[0]
        devices = node.docker(
            "inspect", "--format", "{{range .HostConfig.Devices}}{{.PathOnHost}} {{end}}", name
        ).split()
        assert {"/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"} < set(devices)
        assert [d for d in devices if re.fullmatch(r"/dev/davinci\d+", d)]
        binds = node.docker("inspect", "--format", "{{range .HostConfig.Binds}}{{.}} {{end}}", name)
        assert "/usr/local/bin/npu-smi:/usr/local/bin/npu-smi" in binds
        assert "/etc/hccn.conf" in binds
        inside = node.docker("exec", name, "npu-smi", "info")
        assert "Ascend910" in inside
    assert program("down", "-i", inventory, "--yes").exit == 0
    nothing_left(cluster)
