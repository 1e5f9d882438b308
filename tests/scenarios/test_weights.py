"""Weights come onto three nodes from each kind of source, are proven, and are repaired by moving only what differs."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.install.manifest import Manifest
from provision.rehearsal import cluster as rehearsal
from provision.rehearsal.hub import Hub
from tests.scenarios.practice import Practice
from tests.scenarios.program import Program, eventually

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

PORT = 2780
FOLDER = "data/weights/small"
REPOSITORY = "org/small.model"
_BYTES = random.Random(3)


def _model() -> dict[str, bytes]:
    """Two shards of a megabyte and a half with an index, as small as a whole model can be."""
    files, total, places = {}, 0, {}
    for number in (1, 2):
        name, data = f"model-{number:05d}-of-00002.safetensors", _BYTES.randbytes(1_500_000 + 2 * number)
        tensor = {f"t{number}": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}}
        header = json.dumps(tensor).encode()
        files[name] = struct.pack("<Q", len(header)) + header + data
        total += len(data)
        places[f"t{number}"] = name
    files["model.safetensors.index.json"] = json.dumps(
        {"metadata": {"total_size": total}, "weight_map": places}
    ).encode()
    config = {"architectures": ["Qwen3NextForCausalLM"], "model_type": "qwen3_next", "num_attention_heads": 16}
    files["config.json"] = json.dumps(config).encode()
    files["tokenizer.json"] = b"{}"
    return files


MODEL = _model()
SHARD = "model-00001-of-00002.safetensors"


@pytest.fixture(scope="module")
def info(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[rehearsal.ClusterInfo]:
    number = int(worker_id.removeprefix("gw") or 0) if worker_id != "master" else 19
    folder = tmp_path_factory.mktemp("weights") / "cluster"
    made = rehearsal.up(folder, 3, "cpu", port=PORT + number)
    try:
        yield made
    finally:
        rehearsal.down(folder)


@pytest.fixture
def three(info: rehearsal.ClusterInfo, tmp_path: Path) -> Iterator[Practice]:
    """Three nodes without the small model."""
    practice = Practice(info, tmp_path)
    for name in practice.nodes:
        practice.docker(name, "version")
    try:
        yield practice
    finally:
        practice.reset()
        for name in practice.nodes:
            for folder in (FOLDER, "root/.cache/huggingface", "root/.cache/modelscope", "share/small", "data/other"):
                _remove(practice.root(name) / folder)


@pytest.fixture
def hub(three: Practice, tmp_path: Path) -> Iterator[Hub]:
    """A hub that the nodes reach, at an address of their network."""
    served = Hub(tmp_path / "hub")
    served.add(REPOSITORY, MODEL | {"pytorch_model.bin": b"other format"})
    with served.serving(f"{three.info.addresses[0].rpartition('.')[0]}.250"):
        yield served


def _remove(path: Path) -> None:
    if path.exists():
        shutil.rmtree(path)


def inventory(three: Practice, path: str = f"/{FOLDER}", *, hosts: int | None = None, **model: object) -> Path:
    return three.write_inventory(hosts=hosts, model={"profile": None, "path": path, **model})


def local(place: Path) -> Path:
    """The model in a folder of the controller."""
    folder = place / "source"
    for path, content in MODEL.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def held(three: Practice, name: str, folder: str = FOLDER) -> dict[str, bytes]:
    return {path: content for path, content in three.files(name, folder).items() if not path.startswith(".")}


def put(three: Practice, name: str, files: dict[str, bytes] = MODEL, folder: str = FOLDER) -> None:
    for path, content in files.items():
        place = three.root(name) / folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)


def flip(three: Practice, name: str, path: str = SHARD, at: int = 700_000) -> None:
    """Another byte in the middle: the size stays, the time doesn't."""
    place = three.root(name) / FOLDER / path
    content = bytearray(place.read_bytes())
    content[at] ^= 1
    place.write_bytes(bytes(content))


def changes_nothing(three: Practice, program: Program, file: Path) -> None:
    """Again: no action, and one command a node and play."""
    before = {name: three.execs(name) for name in three.nodes}
    again = program("weights", "-i", file, "--json")
    assert again.exit == 0, again.text
    assert again.json()["changed"] == 0
    assert all(three.execs(name) - before[name] == 1 for name in three.nodes)


# ---- sources


def test_from_the_controller_to_one_node_and_on_to_the_others(
    three: Practice, program: Program, tmp_path: Path
) -> None:
    file = inventory(three, source={"kind": "controller", "path": str(local(tmp_path))})

    plan = program("weights", "-i", file, "--check")
    assert plan.exit == 0, plan.text
    assert f"send {SHARD}, 1.5 MB: node1" in plan.stderr
    assert "fetch 5 files (3.0 MB) from node1: node2" in plan.stderr
    assert not (three.root("node1") / FOLDER).exists()

    answer = program("weights", "-i", file)
    assert answer.exit == 0, answer.text
    assert "5 files, 3.0 MB verified (3.0 MB fetched" in answer.stderr
    for name in three.nodes:
        assert held(three, name) == MODEL
        kept = Manifest.load(three.files(name, FOLDER)[".qnext-manifest.json"].decode())
        assert kept.proven
        assert kept.source == f"controller:{tmp_path / 'source'}"
    changes_nothing(three, program, file)


@pytest.mark.parametrize(("kind", "spread"), [("huggingface", "tree"), ("modelscope", "each")])
def test_from_a_hub_that_is_busy_and_cuts(three: Practice, hub: Hub, program: Program, kind: str, spread: str) -> None:
    hub.state.set("cut", "1")
    hub.state.set("busy", "1")
    source = {"kind": kind, "repository": REPOSITORY, "endpoint": hub.url, "spread": spread}
    file = inventory(three, source=source)

    plan = program("weights", "-i", file, "--check")
    assert plan.exit == 0, plan.text
    assert f"download 5 files, 3.0 MB of {REPOSITORY} from {hub.url.removeprefix('http://')}: node" in plan.stderr

    answer = program("weights", "-i", file)

    assert answer.exit == 0, answer.text
    assert [held(three, name) for name in three.nodes] == [MODEL] * 3
    shards = [line for line in hub.asked if SHARD in line and "resolve" not in line and "/tree/" not in line]
    assert len(shards) == (1 if spread == "tree" else 3) + any("bytes=" in line for line in shards)
    changes_nothing(three, program, file)


def test_a_gated_model_in_hugging_faces_cache(three: Practice, hub: Hub, program: Program) -> None:
    """The token opens it, is in no file or log afterwards, and a server finds the snapshot."""
    hub.state.set("token", "hf_very_secret")
    source = {"kind": "huggingface", "endpoint": hub.url}
    refused = program("weights", "-i", inventory(three, REPOSITORY, source=source))
    assert refused.exit == 1
    assert "401" in refused.stderr
    assert "model.source.token" in refused.stderr

    file = inventory(three, REPOSITORY, source=source | {"token": {"env": "HF_TOKEN"}})
    opened = program.with_env(HF_TOKEN="hf_very_secret")
    answer = opened("weights", "-i", file, "-v")

    assert answer.exit == 0, answer.text
    place = "root/.cache/huggingface/hub/models--org--small.model"
    for name in three.nodes:
        files = three.files(name, place)
        commit = files["refs/main"].decode()
        assert commit == hub.commit(REPOSITORY)
        assert held(three, name, f"{place}/snapshots/{commit}") == MODEL
        assert not any(b"hf_very_secret" in content for content in three.files(name).values())
    assert "hf_very_secret" not in answer.text
    assert "hf_very_secret" not in (program.last_run() / "events.jsonl").read_text()
    assert hub.leaked == []
    assert program.with_env(HF_TOKEN="hf_very_secret")("weights", "-i", file, "--json").json()["changed"] == 0


def test_modelscopes_cache_is_what_its_client_looks_for(three: Practice, hub: Hub, program: Program) -> None:
    source = {"kind": "modelscope", "endpoint": hub.url}
    answer = program("weights", "-i", inventory(three, REPOSITORY, hub="modelscope", source=source))

    assert answer.exit == 0, answer.text
    place = "root/.cache/modelscope/hub/models/org/small___model"
    for name in three.nodes:
        assert held(three, name, place) == MODEL
        assert three.files(name, place)[".msc"] == three.files("node1", place)[".msc"]


def test_from_another_folder_of_a_node(three: Practice, program: Program) -> None:
    put(three, "node2", folder="data/other")
    file = inventory(three, source={"kind": "node", "node": "node2", "path": "/data/other", "spread": "tree"})

    answer = program("weights", "-i", file)

    assert answer.exit == 0, answer.text
    assert [held(three, name) for name in three.nodes] == [MODEL] * 3
    changes_nothing(three, program, file)


def test_a_download_outlives_its_controller(three: Practice, hub: Hub, program: Program) -> None:
    """The next run attaches to the job that the killed one started: no file is asked for twice."""
    hub.state.set("slow", "1000000")
    file = inventory(three, source={"kind": "huggingface", "repository": REPOSITORY, "endpoint": hub.url})
    with program.start("weights", "-i", file) as first:
        eventually(lambda: any(f"{SHARD}?signature" in line for line in hub.asked), "the hub sends a shard")
        first.signal(signal.SIGKILL)
        first.process.wait()

    answer = program("weights", "-i", file)

    assert answer.exit == 0, answer.text
    assert [held(three, name) for name in three.nodes] == [MODEL] * 3
    assert len([line for line in hub.asked if f"{SHARD}?signature" in line]) == 1


def test_without_python_the_servers_image_downloads(three: Practice, hub: Hub, program: Program) -> None:
    three.everywhere("python/missing")
    source = {"kind": "huggingface", "repository": REPOSITORY, "endpoint": hub.url}
    file = inventory(three, source=source)
    three.forget_images()
    refused = program("weights", "-i", file)
    assert refused.exit == 1
    assert "install python3 on the node, or the image first" in refused.stderr

    three.have_images("quay.io/rehearsal/vllm-cpu:v0.18.0")
    answer = program("weights", "-i", file)

    assert answer.exit == 0, answer.text
    assert [held(three, name) for name in three.nodes] == [MODEL] * 3


# ---- damage


def test_a_cut_shard_a_flipped_byte_and_a_missing_file_are_found_and_repaired(
    three: Practice, program: Program, tmp_path: Path
) -> None:
    file = inventory(three, source={"kind": "controller", "path": str(local(tmp_path))})
    assert program("weights", "-i", file).exit == 0
    shard = three.root("node1") / FOLDER / SHARD
    shard.write_bytes(shard.read_bytes()[:1_000_000])
    flip(three, "node2")
    (three.root("node3") / FOLDER / "config.json").unlink()
    put(three, "node3", {"mine.txt": b"mine"})

    answer = program("weights", "-i", file, "--json")

    assert answer.exit == 0, answer.text
    assert [held(three, name) for name in three.nodes] == [MODEL, MODEL, MODEL | {"mine.txt": b"mine"}]
    assert "1 other file" in answer.stderr
    assert "send " not in answer.stderr, "a node had each file: nothing had to come from the source"


def test_rehash_finds_what_no_time_tells(three: Practice, program: Program, tmp_path: Path) -> None:
    """Bits that turned by themselves: size, time and inode are as they were."""
    file = inventory(three, source={"kind": "controller", "path": str(local(tmp_path))})
    assert program("weights", "-i", file).exit == 0
    shard = three.root("node3") / FOLDER / SHARD
    about = shard.stat()
    with shard.open("r+b") as opened:
        opened.seek(900_000)
        opened.write(bytes([MODEL[SHARD][900_000] ^ 1]))
    os.utime(shard, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert program("weights", "-i", file, "--json").json()["changed"] == 0

    answer = program("weights", "-i", file, "--rehash")

    assert answer.exit == 0, answer.text
    assert f"node3: /{FOLDER}: {SHARD} has SHA-256" in answer.text, "a disk that loses bits is not mended in silence"
    assert held(three, "node3") == MODEL


def test_without_a_source_one_node_is_the_truth_and_gives_what_others_lack(three: Practice, program: Program) -> None:
    file = inventory(three)
    for name in three.nodes:
        put(three, name)
    flip(three, "node3")
    told = program("weights", "-i", file)
    assert told.exit == 0, told.text
    assert "--record" in told.stderr

    refused = program("weights", "-i", file, "--record")
    assert refused.exit == 3, refused.text
    assert "node3" in refused.stderr
    assert "weights --repair" in refused.stderr
    assert held(three, "node3") != MODEL

    answer = program("weights", "-i", file, "--record", "--repair")
    assert answer.exit == 0, answer.text
    assert held(three, "node3") == MODEL
    changes_nothing(three, program, file)


# ---- refusals


def test_a_hub_that_gives_wrong_bytes_is_refused(three: Practice, hub: Hub, program: Program) -> None:
    hub.state.set("wrong", SHARD)
    file = inventory(three, source={"kind": "modelscope", "repository": REPOSITORY, "endpoint": hub.url})

    answer = program("weights", "-i", file)

    assert answer.exit == 1
    assert f"{SHARD} came twice with SHA-256" in answer.stderr
    assert "endpoint" in answer.stderr
    assert SHARD not in held(three, "node1")
    assert not held(three, "node2")


def test_no_room_is_told_before_anything_is_moved(three: Practice, program: Program, tmp_path: Path) -> None:
    three.fault("node2", "disk/data", "1")
    file = inventory(three, source={"kind": "controller", "path": str(local(tmp_path))})

    answer = program("weights", "-i", file)

    assert answer.exit == 1, answer.text
    assert "no room for the weights: node2" in answer.stderr
    assert not any(held(three, name) for name in three.nodes if (three.root(name) / FOLDER).exists())


def test_a_source_that_is_not_there(three: Practice, program: Program, tmp_path: Path) -> None:
    file = inventory(three, source={"kind": "controller", "path": str(tmp_path / "none")})
    answer = program("weights", "-i", file)
    assert answer.exit == 2
    assert "is no folder here" in answer.stderr


def test_a_node_that_is_none(three: Practice, program: Program) -> None:
    answer = program("weights", "-i", inventory(three), "--from", "node9")
    assert answer.exit == 2
    assert "node9" in answer.stderr


def test_a_shared_folder_is_written_by_one_node(three: Practice, program: Program, tmp_path: Path) -> None:
    source = {"kind": "controller", "path": str(local(tmp_path))}
    file = three.write_inventory(
        shared_folders=["/share"], model={"profile": None, "path": "/share/small", "source": source}
    )

    answer = program("weights", "-i", file)

    assert answer.exit == 0, answer.text
    assert held(three, "node3", "share/small") == MODEL
    assert not three.files("node2").keys() & {"rehearsal/jobs/spread-weights/log"}
    changes_nothing(three, program, file)
