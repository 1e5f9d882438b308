"""Makes a node: its file system as an operator would find it on an Atlas server, and its commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from provision.rehearsal import host
from provision.rehearsal.node import FACTS, Node
from provision.rehearsal.standins import net, system
from provision.rehearsal.standins.launcher import write_executable, write_file, write_launcher
from provision.rehearsal.standins.shell import MAPPED, WRAPPER
from provision.rehearsal.weights import write_weights

MODEL = "/data/weights/Qwen3-Next-80B-A3B-Instruct"

_COMMANDS = {
    "ascend-package": "ascend_package",
    "docker": "docker.cli",
    "ps": "ps",
    "pgrep": "ps",
    "sudo": "sudo",
    "python3": "python3",
    "git": "venv.git",
}
_INSIDE = {
    "bash": "inside",
    "sh": "inside",
    "pip": "inside",
    "pip3": "inside",
    "python": "inside",
    "python3": "inside",
    "torchrun": "inside",
    "vllm": "vllm.cli",
    "mooncake_master": "pool",
    "npu-smi": "npu_smi",
}
_EXTRAS = {
    "shell/bash": "inside",
    "shell/sh": "inside",
    "ray/ray": "ray.cli",
    "vllm-router/vllm-router": "proxies.router",
    "nginx/nginx": "proxies.nginx",
}
"""Commands of some images: folder and name."""

_USERS = ("operator", "sudoer", "deploy")

_FOLDERS = ["tmp", "opt", "mnt", "root/.cache", "dev/shm", "run/chrony", "var/lib/docker", "var/log", "var/tmp"]

_PASSWD = """root:x:0:0:root:/root:/bin/sh
operator:x:1000:1000::/home/operator:/bin/sh
sudoer:x:1001:1001::/home/sudoer:/bin/sh
deploy:x:1002:1002::/home/deploy:/bin/sh
HwHiAiUser:x:1003:1003::/home/HwHiAiUser:/sbin/nologin
"""


_VENV = "opt/aisbench"
_EVALUATION = {
    f"{_VENV}/bin/ais_bench": "#!/bin/sh\necho 'ais_bench 3.0.1'\n",
    f"{_VENV}/lib/python3.11/site-packages/ais_bench/__init__.py": '__version__ = "3.0.1"\n',
    "data/datasets/gsm8k/test.jsonl": '{"question": "What is 6 times 7?", "answer": "#### 42"}\n',
}
"""AISBench in a virtual environment, and a data set: what ``qnext.evaluate`` may name."""


def make_node(folder: Path, *, number: int, hardware: str, address: str) -> Node:
    """Make the node's folder with everything in it."""
    for part in ("state", "docker/containers", "docker/layers", "inside", "root/usr/bin", "root/usr/local/bin",
                 "root/usr/sbin", "root/usr/local/sbin"):  # fmt: skip
        (folder / part).mkdir(parents=True, exist_ok=True)
    facts = {
        "name": folder.name,
        "number": str(number),
        "hardware": hardware,
        "address": address,
        "python": sys.executable,
    }
    facts["code"] = str(Path(__file__).resolve().parents[2])
    (folder / FACTS).write_text("".join(f"{key}={value}\n" for key, value in facts.items()))
    node = Node(str(folder))
    _write_commands(node)
    _write_files(node)
    if node.is_npu:
        _write_npu(node)
    write_weights(node.root + MODEL)
    return node


def arch(hardware: str) -> str:
    """What ``uname -m`` says."""
    return "x86_64" if hardware == "cpu" else "aarch64"


def _write_commands(node: Node) -> None:
    folder = f"{node.root}/usr/bin"
    for name, module in _COMMANDS.items():
        _launcher(node, folder, name, module)
    for name, module in _INSIDE.items():
        _launcher(node, node.inside, name, module)
    for path, module in _EXTRAS.items():
        group, name = path.split("/")
        os.makedirs(f"{node.extras}/{group}", exist_ok=True)
        _launcher(node, f"{node.extras}/{group}", name, module)
    _launcher(node, node.folder, "shim", "docker.shim")
    _launcher(node, node.folder, "podman", "docker.cli")
    _launcher(node, node.folder, "rewriting-sh", "shell")
    system.write_scripts(node, folder, arch=arch(node.hardware), cpus=host.cpus_of(node))
    system.link_real(node, folder)
    for name in ("uname", "hostname", "nproc", "date"):
        os.symlink(f"{folder}/{name}", f"{node.inside}/{name}")
    wrapper = WRAPPER.format(root=node.root, mapped=MAPPED, rewriting=f"'{node.folder}/rewriting-sh'")
    for name in ("sh", "bash", "dash"):
        write_executable(f"{folder}/{name}", wrapper)
    for name in ("bin", "sbin"):
        os.symlink(f"usr/{name}", f"{node.root}/{name}")


def _launcher(node: Node, folder: str, name: str, module: str) -> None:
    write_launcher(folder, name, module, node=node.folder, python=node.python, code=node.code,
                   cache=os.path.join(node.cluster_folder, "pycache"))  # fmt: skip


def _write_files(node: Node) -> None:
    """What never changes beside what the operating system tells (host.py), and folders."""
    files = {
        "etc/passwd": _PASSWD,
        "etc/group": "root:x:0:\noperator:x:1000:\nsudo:x:27:sudoer\ndocker:x:998:\n",
        **net.live_files(node, []),
        **_EVALUATION,
    }
    for path, text in files.items():
        _write(node, path, text)
    host.write(node)
    for name in (*_FOLDERS, *(f"home/{user}" for user in _USERS)):
        os.makedirs(f"{node.root}/{name}", exist_ok=True)
    os.makedirs(f"{node.cluster_folder}/share", exist_ok=True)
    for name in ("python", "python3"):
        os.symlink(f"{node.root}/usr/bin/python3", f"{node.root}/{_VENV}/bin/{name}")


_DRIVER_LOGS = {
    "var/log/npu/conf/slog/slog.conf": "global_level=3\nenableEvent=1\n",
    "var/log/npu/slog/slogd/slogdlog": "[EVENT] SLOGD: slogd started\n",
    "var/log/npu/slog/host-0/host-0.log": "[EVENT] DRV: device probe end\n",
}
"""What the driver keeps on the host."""


def _write_npu(node: Node) -> None:
    """The tool, and device nodes. A device node is a link to one that needs no rights: /dev/null."""
    _launcher(node, f"{node.root}/usr/local/bin", "npu-smi", "npu_smi")
    for path, text in _DRIVER_LOGS.items():
        _write(node, path, text)
    names = ("davinci_manager", "devmm_svm", "hisi_hdc", *(f"davinci{number}" for number in range(node.dies)))
    first, *others = (f"{node.root}/dev/{name}" for name in names)
    os.symlink("/dev/null", first)
    for path in others:
        os.link(first, path, follow_symlinks=False)


def _write(node: Node, path: str, text: str) -> None:
    full = f"{node.root}/{path}"
    os.makedirs(os.path.dirname(full), exist_ok=True)
    write_file(full, text, 0o755 if "/bin/" in path else 0o644)
