"""What faults do beyond their state: files that go away or change, processes and containers that come up.

``do`` is called after a fault's state was set, ``undo`` after it was cleared; both may be called again without harm.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from provision.clock import monotonic, sleep
from provision.errors import ProvisionError
from provision.rehearsal import host
from provision.rehearsal.layout import MODEL
from provision.rehearsal.node import Node
from provision.rehearsal.standins import npu
from provision.rehearsal.standins.docker.shim import timestamp
from provision.rehearsal.standins.docker.store import Container, Store, as_int, write_json
from provision.rehearsal.standins.process import alive, birth, hide_in_proc, show_in_proc
from provision.rehearsal.standins.system import login_environment
from provision.rehearsal.standins.vllm.log import LINK_ERROR
from provision.rehearsal.weights import shard_name

_START_PATIENCE = 5.0
_TITLES = {
    "vllm": "VLLM::EngineCore_DP0",
    "ray": "/usr/local/lib/python3.11/site-packages/ray/core/src/ray/raylet/raylet --node_ip_address=10.77.0.9",
    "mooncake": "mooncake_master --port 50088",
    "irqbalance": "/usr/sbin/irqbalance --foreground",
}
FOREIGN = "train-job"
"""Name of the container of the fault ``container/foreign``."""

_FOREIGN_RELEASE = "v0.13.0"
_FOREIGN_MB = 43266


def do(node: Node, key: str, value: str) -> None:
    """Bring the node in line with a fault that was set."""
    _shorten(node, key, value)
    for path in _hidden(node, key, value):
        if os.path.lexists(path) and not os.path.lexists(_aside(path)):
            os.rename(path, _aside(path))
    if key == "engine" and not os.path.lexists(f"{node.root}/usr/bin/{value}"):
        os.symlink(os.path.join(node.folder, value), f"{node.root}/usr/bin/{value}")
    host.follow(node)
    if key.startswith("mount/") and value == "folder":
        os.makedirs(f"{node.root}/{host.source_of(key.removeprefix('mount/'))}", exist_ok=True)
    if title := _title(key, value):
        _end_process(node, key)
        _start_process(node, key, title)
    if key in _CONTAINERS:
        _CONTAINERS[key](node, value)
    if key == "weights/config":
        _change_config(node, value)
    if key == "log/error":
        _log_error(node, LINK_ERROR if value == "1" else value)


def undo(node: Node, key: str, value: str) -> None:
    """Bring the node in line with a fault that was cleared; ``value`` is what it had."""
    if key == "weights/short_shard":
        path = _shard(node, value)
        if os.path.getsize(path) < _whole(node, value):
            os.truncate(path, _whole(node, value))
    if key == "engine":
        with suppress(FileNotFoundError):
            os.unlink(f"{node.root}/usr/bin/{value}")
    if key.startswith("mount/") and value == "folder":
        with suppress(OSError):
            os.rmdir(f"{node.root}/{host.source_of(key.removeprefix('mount/'))}")
    for path in [*_hidden(node, key, value), *([f"{node.root}{MODEL}/config.json"] if key == "weights/config" else [])]:
        if os.path.lexists(_aside(path)):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            os.replace(_aside(path), path)
    host.follow(node)
    _end_process(node, key)
    if key in _CONTAINERS:
        _docker(node, "rm", "-f", FOREIGN if key == "container/foreign" else _dead_name(value), check=False)


# ---- files


def _hidden(node: Node, key: str, value: str) -> list[str]:
    """Files that a fault takes away."""
    root, weights = node.root, node.root + MODEL
    commands = {
        "docker/missing": ("docker",),
        "engine": ("docker",),
        "sudo/missing": ("sudo",),
        "python/missing": ("python3", "bash"),
        "ssh_client/missing": ("ssh",),
    }
    if key in commands:
        return [f"{root}/usr/bin/{name}" for name in commands[key]]
    if key == "weights/missing_shard":
        return [_shard(node, value)]
    if key == "weights/missing":
        return [weights]
    if key == "weights/missing_tokenizer":
        return [f"{weights}/{name}" for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")]
    if key.startswith("evaluate/"):
        return [f"{root}/{'opt/aisbench' if key == 'evaluate/aisbench' else 'data/datasets/gsm8k'}"]
    if key.startswith("mount/"):
        return [f"{root}/{path}"] if (path := host.source_of(key[6:])).startswith(_TOOLS) else []
    return _devices(node, key)


_TOOLS = ("usr/local/bin/", "usr/local/Ascend/driver/tools/")


def _devices(node: Node, key: str) -> list[str]:
    if die := re.fullmatch(r"npu/(\d+)/missing", key):
        return [f"{node.root}/dev/davinci{die[1]}"]
    return [f"{node.root}/dev/{key.removeprefix('device/')}"] if key.startswith("device/") else []


def _aside(path: str) -> str:
    """Where a file waits while its fault lasts: out of every listing of the node."""
    root, _, inner = path.partition("/root/")
    return f"{root}/aside-{inner.replace('/', '-')}"


def _shard(node: Node, number: str) -> str:
    return f"{node.root}{MODEL}/{shard_name(int(number))}"


def _whole_file(node: Node, number: str) -> str:
    return os.path.join(node.folder, f"whole-shard-{int(number)}")


def _whole(node: Node, number: str) -> int:
    """Bytes of the shard before it was cut."""
    try:
        return int(Path(_whole_file(node, number)).read_text())
    except FileNotFoundError:
        return 0


def _shorten(node: Node, key: str, value: str) -> None:
    if key != "weights/short_shard":
        return
    path = _shard(node, value)
    if not _whole(node, value):
        Path(_whole_file(node, value)).write_text(str(os.path.getsize(path)))
    os.truncate(path, _whole(node, value) // 2)


def _change_config(node: Node, value: str) -> None:
    """Another ``config.json``: KEY=VALUE, or a comment's worth of difference."""
    path = f"{node.root}{MODEL}/config.json"
    if not os.path.exists(_aside(path)):
        shutil.copyfile(path, _aside(path))
    config = json.loads(Path(_aside(path)).read_text())
    name, _, text = value.partition("=")
    config[name if text else "transformers_version"] = json.loads(text) if text else "4.58.0"
    Path(path).write_text(json.dumps(config, indent=2))


# ---- processes


def _title(key: str, value: str) -> str:
    """The command line of the process that a fault starts; empty for a fault that starts none."""
    if re.fullmatch(r"npu/\d+/process", key):
        return value if len(value.split()) == 1 else ""
    if key == "irqbalance":
        return _TITLES[key]
    name = key.removeprefix("process/")
    if name == key:
        return ""
    return _TITLES.get(name, name) if value == "1" else value


def _start_process(node: Node, key: str, title: str) -> None:
    """A process of the node that does nothing, under a title, until it is ended."""
    code = f"import sys; sys.path.insert(0, {node.code!r}); from provision.rehearsal.standins.idle import main; main()"
    # A shell that ends at once starts it, so that whoever ends it later finds no zombie of ours.
    start = subprocess.run(
        ["/bin/sh", "-c", '"$@" </dev/null >/dev/null 2>&1 & echo $!', "sh", node.python, "-ISEB", "-c", code, title,
         " " * len(title)], env=login_environment(node, "root"), cwd="/", start_new_session=True, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    pid = int(start.stdout)
    until = monotonic() + _START_PATIENCE
    while _first_word(pid) != title.split()[0].encode():
        if not birth(pid) or monotonic() > until:
            raise ProvisionError(f"the process of the fault {key} did not start", hint=f"see {node.python}")
        sleep(0.01)
    path = npu.process_file(node, key)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(f"{pid} {birth(pid)}\n")
    show_in_proc(node, pid, "0::/user.slice/user-1001.slice/session-7.scope")


def _first_word(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").split(b" ", 1)[0]
    except OSError:
        return b""


def _end_process(node: Node, key: str) -> None:
    path = npu.process_file(node, key)
    try:
        pid, born = Path(path).read_text().split()
    except (FileNotFoundError, ValueError):
        return
    if alive(int(pid), born):
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    hide_in_proc(node, int(pid))
    os.unlink(path)


# ---- containers


def _foreign(node: Node, value: str) -> None:
    """Somebody's container of another release, that has dies and holds their memory."""
    dies, age, user = [*value.split(), "", "", ""][:3]
    numbers = list(range(node.dies)) if dies in ("all", "1") else [int(word) for word in dies.split(",")]
    devices = [f"/dev/davinci{number}" for number in numbers] + [
        "/dev/davinci_manager",
        "/dev/devmm_svm",
        "/dev/hisi_hdc",
    ]
    _docker(node, "rm", "-f", FOREIGN, check=False)
    _docker(node, "run", "-d", "--name", FOREIGN, "--net=host", *(w for d in devices for w in ("--device", d)),
            _image(node, _FOREIGN_RELEASE), "sleep", "infinity")  # fmt: skip
    container = Store(node).container(FOREIGN)
    began = timestamp(node, float(age or 7200))
    container.config.update(created=began, user=user)
    write_json(os.path.join(container.folder, "container.json"), container.config)
    container.write_state(StartedAt=began)
    pid = as_int(container.state()["Pid"])
    rows = "".join(f"{number} {pid} {_FOREIGN_MB} python3.11\n" for number in numbers)
    Path(container.folder, npu.HOLDING).write_text(rows)


def _dead(node: Node, value: str) -> None:
    """A container of a deployment of ours that ended long ago and was never removed."""
    _docker(node, "rm", "-f", _dead_name(value), check=False)
    _docker(node, "run", "-d", "--name", _dead_name(value), "--label", f"qnext.cluster={value}",
            "--label", "qnext.process=old", _image(node, _FOREIGN_RELEASE), "false")  # fmt: skip
    _docker(node, "wait", _dead_name(value))


def _killed(node: Node, process: str) -> None:
    """A server of ours that ends by a signal, as by the kernel for lack of memory."""
    for container in Store(node).containers():
        if container.running and container.name.endswith(f"-{process}"):
            _docker(node, "kill", container.name)


def _dead_name(cluster: str) -> str:
    return f"qnext-{cluster}-old"


_CONTAINERS = {"container/foreign": _foreign, "container/dead": _dead, "container/killed": _killed}


def _image(node: Node, release: str) -> str:
    if not node.is_npu:
        return "quay.io/rehearsal/vllm-cpu:v0.18.0"
    return f"quay.io/ascend/vllm-ascend:{release}{'-a3' if node.on_a3 else ''}"


def _docker(node: Node, *words: str, check: bool = True) -> None:
    program = f"{node.root}/usr/bin/docker"
    if not os.path.exists(program):
        if check:
            raise ProvisionError("this node has no docker now", hint="clear the fault docker/missing first")
        return
    done = subprocess.run([program, *words], env=login_environment(node, "root"), cwd=node.root, text=True,
                          capture_output=True, check=False)  # fmt: skip
    if check and done.returncode:
        raise ProvisionError(
            f"docker {words[0]} failed on {node.name}", hint="clear the faults of docker first", evidence=done.stderr
        )


def _log_error(node: Node, text: str) -> None:
    """Servers that run write the line now; those which start later write it while they load."""
    for container in Store(node).containers():
        if container.running and _serves(container):
            line = f"(EngineCore_DP0 pid=7) ERROR 11-24 06:20:00 [model_runner_v1.py:1822] {text}\n"
            with open(os.path.join(container.folder, "log"), "a", encoding="utf-8") as file:
                file.write(json.dumps({"log": line, "stream": "stderr", "time": timestamp(node)}) + "\n")


def _serves(container: Container) -> bool:
    command = container.config["written"]
    return isinstance(command, list) and {"vllm", "serve"} <= {str(word) for word in command}
