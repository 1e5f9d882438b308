"""Getting things onto real nodes: images from registries that lie and die, weights, wheels, and no network at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from . import models, nodes, packages, servers, wheels
from .assets import Assets
from .cli import Program
from .dress import dress_as_a3
from .nodes import Cluster, Node, wait_for

BIG = "/data/weights/big"
DENSE: dict[str, object] = {"path": "/data/weights/Qwen3-Tiny", "served_name": "qwen3-tiny"}
SMALL = "ascend/vllm-ascend:v0.18.0"
SHARD = 32 << 20
SIZES = (4 * SHARD, SHARD, SHARD, SHARD, SHARD)
SHARDS = models.shard_names(len(SIZES))


@pytest.fixture(scope="module")
def raised_three(assets: Assets) -> Iterator[Cluster]:
    """Three nodes for this file's tests."""
    raised = nodes.up(assets, 3, owner=os.getpid())
    try:
        yield raised
    finally:
        raised.down()


@pytest.fixture
def three(raised_three: Cluster) -> Cluster:
    """Three nodes as good as new, with no image."""
    raised_three.reset()
    for node in raised_three.nodes:
        node.exec("docker image prune -af", check=True)
    return raised_three


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return Program(tmp_path / "state")


# ---- what nodes know of each other afterwards


def assert_no_ties(cluster: Cluster) -> None:
    """No key of ours is left by which one node could log in to another."""
    accepted = cluster.key.with_suffix(".pub").read_text()
    for node in cluster.nodes:
        assert node.read("/root/.ssh/authorized_keys") == accepted
        assert node.exec("grep -rl 'PRIVATE KEY' /root /var/lib/qnext /tmp /run 2>/dev/null").stdout == ""
        assert not [title for title in node.processes().values() if re.search(r"\bssh \b|spread", title)]


# ---- images


@dataclass(frozen=True, slots=True)
class Stores:
    """What registries hold: the image, under the same name another one, and the image of a cache."""

    true: Path
    rebuilt: Path
    digest: str
    other: str


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    folder = tmp_path_factory.mktemp("stores")
    true, rebuilt = folder / "true", folder / "rebuilt"
    digest, other = servers.noisy_image(true, SMALL, 1), servers.noisy_image(rebuilt, SMALL, 2)
    servers.cache_image(true, "library/registry:2")
    return Stores(true, rebuilt, digest, other)


def image_inventory(cluster: Cluster, folder: Path, nodes: list[Node] | None = None, **install: object) -> Path:
    topology = "replicas" if len(nodes or cluster.nodes) > 1 else "single"
    install = {"image": f"hub.test/{SMALL}", **install}
    return cluster.write_inventory(folder, nodes=nodes, model=DENSE, serve={"topology": topology}, install=install)


def image_id(node: Node, ref: str) -> str:
    return node.docker("image", "inspect", "--format", "{{.Id}}", ref)


def pinned(digest: str) -> str:
    """What an image is called on nodes whose digest was proven."""
    return f"hub.test/{SMALL.partition(':')[0]}:{digest.replace(':', '-')}"


def test_one_node_pulls_and_the_others_get_it_from_node_to_node(
    three: Cluster, stores: Stores, program: Program, tmp_path: Path
) -> None:
    inventory = image_inventory(three, tmp_path, spread="tree", digest=stores.digest)
    with servers.registry(three, "hub.test", stores.true):
        done = program("install", "-i", inventory)
        assert done.exit == 0, done.text
        again = program("install", "-i", inventory, "--json").json()

    assert servers.asked_for_layers(three, "hub.test") == {three.nodes[0].address}
    assert len({image_id(node, pinned(stores.digest)) for node in three.nodes}) == 1
    assert (again["exit_code"], again["changed"]) == (0, 0)
    assert_no_ties(three)


def test_a_cache_on_the_first_node_serves_the_others(
    three: Cluster, stores: Stores, program: Program, tmp_path: Path
) -> None:
    inventory = image_inventory(
        three, tmp_path, spread="registry", registry_image="hub.test/library/registry:2", digest=stores.digest
    )
    with servers.registry(three, "hub.test", stores.true):
        done = program("install", "-i", inventory)

    assert done.exit == 0, done.text
    assert servers.asked_for_layers(three, "hub.test") == {three.nodes[0].address}
    assert len({image_id(node, pinned(stores.digest)) for node in three.nodes}) == 1
    for node in three.nodes:
        assert node.docker("ps", "-aq") == "", "the cache is gone"
    assert_no_ties(three)


def test_a_mirror_with_another_image_under_the_tag_is_refused(
    three: Cluster, stores: Stores, program: Program, tmp_path: Path
) -> None:
    """The first source is down, and a mirror was rebuilt: only the pinned digest is taken, from whoever has it."""
    node = three.nodes[0]
    mirrors = [f"{host}/{SMALL.partition(':')[0]}" for host in ("rebuilt.test", "mirror.test")]
    inventory = image_inventory(three, tmp_path, [node], mirrors=mirrors, digest=stores.digest, pull_retries=1)
    with servers.registry(three, "rebuilt.test", stores.rebuilt):
        refused = program("install", "-i", inventory)
        assert refused.exit == 1, refused.text
        assert "rebuilt.test" in refused.text
        assert stores.other in refused.text, "what it serves instead"
        assert node.docker("images", "-aq") == ""

        with servers.registry(three, "mirror.test", stores.true):
            taken = program("install", "-i", inventory)
    assert taken.exit == 0, taken.text
    digests = node.docker("image", "inspect", "--format", "{{json .RepoDigests}}", pinned(stores.digest))
    assert f"@{stores.digest}" in digests
    assert servers.asked_for_layers(three, "rebuilt.test") == set()


def test_a_registry_that_dies_in_the_middle_is_tried_again(
    three: Cluster, stores: Stores, program: Program, tmp_path: Path
) -> None:
    """It refuses more often than docker itself tries, so docker's pull fails, and the next attempt is ours."""
    node = three.nodes[0]
    inventory = image_inventory(three, tmp_path, [node], digest=stores.digest, pull_retries=8)
    half = servers.stored_bytes(stores.true, SMALL) // 2
    with (
        servers.registry(three, "mirror.test", stores.true),
        servers.dying(three, "hub.test", "mirror.test", allowance=half, refusals=6) as registry,
    ):
        done = program("install", "-i", inventory)

    assert done.exit == 0, done.text
    assert registry.refused == 6
    assert image_id(node, pinned(stores.digest))


# ---- weights


def sums(node: Node) -> str:
    return node.exec(f"cd {BIG} && sha256sum *.safetensors *.json", check=True).stdout


def time_of(node: Node, file: str, what: Literal["first byte", "last byte"]) -> float:
    """When a file was created, or given its name once it was whole: by the one clock that all nodes have."""
    form = {"first byte": "%.9W", "last byte": "%.9Z"}[what]
    return float(node.exec(["stat", "-c", form, f"{BIG}/{file}"], check=True).stdout)


@pytest.fixture
def weights(three: Cluster, tmp_path: Path) -> Path:
    """An inventory whose weights lie on the first node, elsewhere; links are those of real servers of this size."""
    first = three.nodes[0]
    first.put_folder(models.big_model(tmp_path / "big", three.assets, SIZES), "/data/source")
    for node in three.nodes:
        node.limit("1gbit")
    source = {"kind": "node", "node": first.name, "path": "/data/source", "spread": "pipeline"}
    model = {"path": BIG, "served_name": "big", "source": source}
    return three.write_inventory(tmp_path, model=model, serve={"topology": "replicas"})


def test_weights_pass_through_every_node_and_heal(three: Cluster, program: Program, weights: Path) -> None:
    """A pipeline, also within a file: each node passes on what it still receives; no byte leaves the source twice."""
    first, second, third = three.nodes
    whole = sum(SIZES)
    before = [node.traffic() for node in three.nodes]

    done = program("weights", "-i", weights)

    assert done.exit == 0, done.text
    received, sent = zip(*moved(three, before), strict=True)
    assert sums(first) == sums(second) == sums(third)
    assert whole < sent[0] < 1.1 * whole, "the source sends one copy"
    assert whole < received[1] < 1.1 * whole
    assert whole < sent[1] < 1.1 * whole, "the second node passes on what it gets"
    assert whole < received[2] < 1.1 * whole
    assert time_of(third, SHARDS[0], "first byte") < time_of(second, SHARDS[0], "last byte"), "while it still gets it"
    assert_no_ties(three)

    again = program("weights", "-i", weights, "--json").json()
    assert (again["exit_code"], again["changed"]) == (0, 0)

    whole_sums = sums(third)
    flip(third, f"{BIG}/{SHARDS[0]}", 3 * SHARD)
    second.exec(["truncate", "-s", str(SHARD - 12345), f"{BIG}/{SHARDS[1]}"], check=True)
    third.exec(["rm", f"{BIG}/config.json"], check=True)
    before = [node.traffic() for node in three.nodes]

    mended = program("weights", "-i", weights, "--rehash")

    assert mended.exit == 0, mended.text
    assert sums(second) == sums(third) == whole_sums
    received, _ = zip(*moved(three, before), strict=True)
    assert all(count < SHARD / 2 for count in received), f"{received}: more than what differed was moved"
    assert_no_ties(three)


def test_a_spread_survives_its_controller_and_a_cut_connection(three: Cluster, program: Program, weights: Path) -> None:
    """The last node loses who it copies from in the middle of a file; what it has it does not get again."""
    first, second, third = three.nodes
    before = [node.traffic() for node in three.nodes]
    program.killed_when(
        lambda: third.exists(f"{BIG}/{SHARDS[0]}.part"), "the last node receives", "weights", "-i", weights
    )
    second.stop_sshd()
    second.start_sshd()

    done = program("weights", "-i", weights)

    assert done.exit == 0, done.text
    assert sums(first) == sums(second) == sums(third)
    received, _ = zip(*moved(three, before), strict=True)
    assert received[1] < 1.1 * sum(SIZES)
    assert received[2] < 1.1 * sum(SIZES)
    assert_no_ties(three)


def moved(cluster: Cluster, before: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Bytes that each node received and sent since."""
    now = [node.traffic() for node in cluster.nodes]
    return [(n[0] - b[0], n[1] - b[1]) for n, b in zip(now, before, strict=True)]


def flip(node: Node, path: str, offset: int) -> None:
    """Change one byte of a file, as a failing disk does: its size and times stay."""
    script = f"""
touch -r {path} /tmp/times
byte=$(od -An -tu1 -j {offset} -N 1 {path})
printf "\\\\$(printf %03o $((byte ^ 1)))" | dd of={path} bs=1 seek={offset} conv=notrunc status=none
touch -r /tmp/times {path}
"""
    node.exec(script, check=True)


# ---- no network


def test_a_bundle_takes_the_place_of_the_registry(
    three: Cluster, stores: Stores, program: Program, tmp_path: Path
) -> None:
    inventory = image_inventory(three, tmp_path, digest=stores.digest, spread="tree", pull_retries=0)
    bundle = tmp_path / "prod.tar"
    with servers.registry(three, "hub.test", stores.true):
        made = program("bundle", "create", "-i", inventory, "-o", bundle, "--via", three.nodes[0].name)
    assert made.exit == 0, made.text
    assert program("bundle", "verify", bundle).exit == 0
    for node in three.nodes:
        node.exec("docker image prune -af", check=True)
    refused = program("install", "-i", inventory)
    assert refused.exit == 1, "there is no registry"
    assert "bundle load" in refused.text

    damaged = tmp_path / "damaged.tar"
    damaged.write_bytes(bundle.read_bytes())
    with damaged.open("r+b") as file:
        file.seek(damaged.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    broken = program("bundle", "load", damaged, "-i", inventory)
    assert broken.exit == 1, broken.text
    assert [node.docker("images", "-aq") for node in three.nodes] == ["", "", ""]

    loaded = program("bundle", "load", bundle, "-i", inventory)
    assert loaded.exit == 0, loaded.text
    assert len({image_id(node, pinned(stores.digest)) for node in three.nodes}) == 1
    done = program("install", "-i", inventory, "--json").json()
    assert done["exit_code"] == 0
    assert_no_ties(three)


# ---- no container


def test_a_release_is_built_once_and_shipped(three: Cluster, program: Program, tmp_path: Path) -> None:
    """True tools, a true repository with a submodule, an index: the wheels of one node are the venv of each."""
    pair = three.nodes[:2]
    for node in pair:
        dress_as_a3(node)
        packages.install_cann(node)
    commits = packages.lay_repositories(tmp_path / "git")
    index = packages.lay_release_index(tmp_path / "index", three.assets)
    with servers.package_index(three, index) as url, servers.git_server(three, tmp_path / "git") as git:
        source = {
            "release": "v0.18.0",
            "index": url,
            "trusted_hosts": ["controller"],
            "vllm_repository": f"{git}/vllm.git",
            "vllm_ascend_repository": f"{git}/vllm-ascend.git",
        }
        inventory = three.write_inventory(
            tmp_path,
            nodes=pair,
            hardware="atlas-800-a3",
            install={"method": "source", "image": None, "source": source},
            model=DENSE,
            serve={"topology": "data-parallel", "data_parallel_size": 2, "tensor_parallel_size": 1},
            checks={"N13": "warn", "N14": "warn"},
        )
        done = program("install", "-i", inventory)
        assert done.exit == 0, done.text
    again = program("install", "-i", inventory, "--json").json()

    assert (again["exit_code"], again["changed"]) == (0, 0)
    venvs = [json.loads(node.exec("cat /var/lib/qnext/venvs/*/qnext.json", check=True).stdout) for node in pair]
    assert venvs[0]["id"] == venvs[1]["id"]
    assert venvs[0]["commits"] == commits
    assert venvs[1]["versions"]["vllm"] == "0.18.0+empty"
    assert venvs[1]["versions"]["torch-npu"] == packages.TORCH_NPU
    proof = pair[1].exec("cat /var/lib/qnext/venvs/*/proof", check=True).stdout
    assert "Platform plugin ascend is activated" in proof
    assert_no_ties(three)


def test_the_real_vllm_serves_without_a_container(three: Cluster, program: Program, tmp_path: Path) -> None:
    """The CPU build from wheels, tensor parallel over two nodes; a killed rank is known at once."""
    head, worker = pair = three.nodes[:2]
    for node in pair:
        node.stop_dockerd()
    index = servers.lay_index(tmp_path / "simple", three.assets.wheels.iterdir())
    quick = {"TORCHDYNAMO_DISABLE": "1", "VLLM_USE_AOT_COMPILE": "0", "HF_HUB_OFFLINE": "1"}
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    with servers.package_index(three, index) as url:
        source = {"vllm": f"vllm=={wheels.CPU_RELEASE}+cpu", "index": url, "trusted_hosts": ["controller"]}
        inventory = three.write_inventory(
            tmp_path,
            nodes=pair,
            install={"method": "source", "image": None, "source": source},
            serve={"topology": "tensor-parallel", "tensor_parallel_size": 2, "env": {**quick, **quiet}},
        )
        up = program("up", "-i", inventory)
    assert up.exit == 0, up.text
    assert f"http://{head.address}:8000" in up.text
    again = program("up", "-i", inventory, "--json").json()
    assert (again["exit_code"], again["changed"]) == (0, 0)

    [rank] = [pid for pid, title in worker.processes().items() if "vllm serve" in title and "--node-rank" in title]
    worker.exec(["kill", "-9", str(rank)], check=True)
    wait_for(lambda: state_of(program, inventory, "worker1") == "exited", 30, "the killed rank to be told")
    assert program("status", "-i", inventory).exit == 1

    assert program("down", "-i", inventory, "--yes").exit == 0
    for node in pair:
        assert not {8000, 29501} & node.listening()
        assert not [title for title in node.processes().values() if re.search("vllm|supervise", title, re.IGNORECASE)]


def state_of(program: Program, inventory: Path, process: str) -> str:
    status = program("status", "-i", inventory, "--json").json()
    return {str(each["process"]): str(each["state"]) for each in status["processes"]}[process]
