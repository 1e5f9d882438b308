"""Nodes on which everything is as the inventory declares it, so that ``up`` has nothing to do.

The nodes share one machine, and one inventory has one ``state_dir``: a session begins in the folder of the node at
whose address it arrived, and the state folder is ``/proc/self/cwd``. There lies the launch script that ``render``
gives. A stand-in for ``docker`` (``docker.sh``) answers by the address at which the node was reached. Looking costs
what it costs on a node, except that a real ``docker`` client would add some 20 ms of the node's CPU to each question.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.bench.endpoint import SERVED
from tests.bench.sshd import Server

ROOT = Path(__file__).parents[2]
IMAGE = "bench/server:cpu"
"""No name of a server program: nodes that share a machine see each other's processes, and would all look closer."""
IMAGE_ID = "sha256:" + hashlib.sha256(IMAGE.encode()).hexdigest()
CLUSTER = "bench"


@dataclass(frozen=True)
class Process:
    """A node with the server process on it, as ``render`` names it."""

    node: str
    address: str
    name: str
    script: str

    @property
    def digest(self) -> str:
        found = re.search(r"qnext\.digest=([0-9a-f]{16})", self.script)
        assert found, "the launch script has no digest"
        return found[1]

    @property
    def rank(self) -> str:
        found = re.search(r"qnext\.rank=([0-9]+)", self.script)
        assert found, "the launch script has no rank"
        return found[1]

    @property
    def container(self) -> str:
        return hashlib.sha256(self.node.encode()).hexdigest()


STATE = "/proc/self/cwd"


def begin(folder: Path) -> str:
    """Lines of sshd_config: a session begins in its node's folder, and then does what it was asked to do."""
    address = "connection=${SSH_CONNECTION% *}; cd " + f"{folder}/nodes/" + "${connection##* }"
    return f'ForceCommand {address} && eval "$SSH_ORIGINAL_COMMAND"\n'


def session(folder: Path) -> dict[str, str]:
    """The environment of a session on these nodes: our ``docker`` is the first that is found."""
    return {"PATH": f"{folder}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def prepare(server: Server, port: int, environment: Mapping[str, str]) -> None:
    """Write inventory, model, docker's answers, state folders, and what the other contenders need."""
    folder = server.folder
    _write_model(folder / "model")
    (folder / "cluster.yaml").write_text(_inventory(server, port))
    (folder / "bin").mkdir()
    shutil.copy(Path(__file__).with_name("docker.sh"), folder / "bin" / "docker")
    (folder / "bin" / "docker").chmod(0o755)
    for process in _render(server, environment):
        _write_docker(folder / "docker" / process.address, process)
        launch = folder / "nodes" / process.address / CLUSTER / "launch"
        launch.mkdir(parents=True)
        (launch / f"{process.name}.sh").write_text(process.script)
        (launch / f"{process.name}.sh").chmod(0o755)
        (folder / "scripts").mkdir(exist_ok=True)
        (folder / "scripts" / f"{process.node}.sh").write_text(process.script)


def _inventory(server: Server, port: int) -> str:
    count = len(server.addresses)
    hosts = "".join(
        f"    n{index:03}:\n      ansible_host: {address}\n      qnext: {{data_address: {address}}}\n"
        for index, address in enumerate(server.addresses)
    )
    return f"""\
all:
  vars:
    ansible_user: {server.user}
    ansible_port: {server.port}
    ansible_ssh_private_key_file: {server.key}
    ansible_ssh_common_args: -o UserKnownHostsFile={server.known_hosts} -o StrictHostKeyChecking=yes
    qnext:
      cluster: {CLUSTER}
      hardware: cpu
      state_dir: {STATE}
      install: {{image: "{IMAGE}"}}
      model: {{path: {server.folder}/model, served_name: {SERVED}}}
      serve: {{topology: data-parallel, data_parallel_size: {count}, port: {port}}}
      # All nodes are this machine, at addresses of its loopback interface: these checks look, and rightly complain.
      checks: {{interface: info, identity: info, hostname: info, limits: info, time_sync: info}}
  hosts:
{hosts}"""


def _render(server: Server, environment: Mapping[str, str]) -> list[Process]:
    out = server.folder / "rendered"
    argv = [sys.executable, "-m", "provision", "render", "-i", str(server.folder / "cluster.yaml"), "--out", str(out)]
    subprocess.run(argv, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    processes = []
    for path in out.glob("node*.sh"):
        node, name, _ = path.name.split(".")
        index = int(node.removeprefix("node"))
        processes.append(Process(f"n{index:03}", server.addresses[index], name, path.read_text()))
    assert len(processes) == len(server.addresses), "not one process a node"
    return processes


def _write_docker(folder: Path, process: Process) -> None:
    """What the stand-in answers on one node."""
    folder.mkdir(parents=True)
    container = {
        "Id": process.container,
        "Name": f"/qnext-{CLUSTER}-{process.name}",
        "Image": IMAGE_ID,
        "Created": "2026-01-01T00:00:00Z",
        "State": {
            "Status": "running",
            "ExitCode": 0,
            "OOMKilled": False,
            "Error": "",
            "StartedAt": "2026-01-01T00:00:00Z",
            "FinishedAt": "0001-01-01T00:00:00Z",
            "Pid": 1,
        },
        "RestartCount": 0,
        "Ref": IMAGE,
        "Labels": {
            "qnext.cluster": CLUSTER,
            "qnext.process": process.name,
            "qnext.digest": process.digest,
            "qnext.rank": process.rank,
        },
        "Privileged": False,
        "Devices": [],
    }
    machine = platform.machine()
    info = {
        "ServerVersion": "27.5.1",
        "DockerRootDir": str(folder),
        "Driver": "overlay2",
        "Runtimes": {"runc": {}},
        "DefaultRuntime": "runc",
        "Architecture": machine,
    }
    image = {
        "Id": IMAGE_ID,
        "Architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
        "RepoDigests": [],
        "Config": {"Env": ["PATH=/usr/bin:/bin"]},
        "Size": 1,
        "Created": "2026-01-01T00:00:00Z",
    }
    answers = {
        "info": _line(info),
        "image": _line(image),
        "id": process.container,
        "process": f"{process.container} {process.name}",
        "container": f'{_line(container)} @env ["PATH=/usr/bin:/bin"]',
        "state": f"running {process.digest} {IMAGE_ID}",
    }
    for name, text in answers.items():
        (folder / name).write_text(text + "\n")


def _line(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


_CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "num_hidden_layers": 4,
    "hidden_size": 64,
    "vocab_size": 256,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}


def _write_model(folder: Path) -> None:
    """The smallest folder that is a whole model: a dense one, one shard, one tensor."""
    folder.mkdir()
    header = _line({"weight": {"dtype": "BF16", "shape": [8], "data_offsets": [0, 16]}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))
    (folder / "config.json").write_text(json.dumps(_CONFIG, indent=2))
    (folder / "tokenizer.json").write_text("{}")
