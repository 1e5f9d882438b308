"""Raise real nodes on one machine: own network, files, processes, sshd and dockerd each.

A node is a set of namespaces (network, mount, UTS, IPC, PID) around an overlay of the
host's root, with a tiny init as its process 1: to end the init is to end all that the node
ever started, containers included, and its mounts with it. The nodes of a cluster hang on one
bridge; the controller (this machine) has address .254 on it, and there docker-registry
answers on port 80 as `quay.io`. Nothing routes out of a node.

Nothing stays behind: mounts and devices live in the nodes' own namespaces, and every cluster
has a record in `/run/qnext-real`, from which the next run dismantles what a killed one left.

By hand, from the repository's root and as root:

    python -m tests.real.nodes up --dir DIR [--nodes N] [--a3]   raise; prints the inventory's path
    python -m tests.real.nodes exec --dir DIR NODE COMMAND…      run a command, without ssh
    python -m tests.real.nodes dress|undress --dir DIR NODE      like an Atlas A3, or not
    python -m tests.real.nodes down --dir DIR                    end everything
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import io
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

from tests.merging import merged

from . import assets as asset_store
from .assets import Assets

RECORDS = Path("/run/qnext-real")
TOOLS: tuple[str, ...] = (
    "debootstrap",
    "docker",
    "docker-init",
    "docker-registry",
    "dockerd",
    "git",
    "ip",
    "iptables",
    "nsenter",
)
TOOLS += ("rsync", "ssh", "ssh-keygen", "/usr/sbin/sshd", "sudo", "tc", "unshare")
HOSTS: Mapping[str, int] = {"quay.io": 254, "hub.test": 253, "mirror.test": 252, "rebuilt.test": 251}
"""Names of registries by the last part of their address. `quay.io` answers always; at the others something answers
once a test has it: see `servers.py`."""
WEIGHTS = "/data/weights"
SUDO_PASSWORD = "open sesame"
"""The password of the user `sudoer`, with a blank on purpose."""

HOST_FOLDERS = {"bin", "boot", "dev", "etc", "proc", "run", "sbin", "sys", "usr", "var"}
HOST_FOLDERS |= {"lib", "lib32", "lib64", "libx32"}
"""What a node shares of the host's root; everything else, homes and checkouts, it doesn't see."""

_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


class NodesError(RuntimeError):
    """Nodes could not be raised; the message carries the log's end where there is one."""


def missing() -> list[str]:
    """Return what this machine lacks for the real tier, in words; empty when nothing."""
    lacks = [] if os.geteuid() == 0 else ["root"]
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return lacks + [tool for tool in TOOLS if not shutil.which(tool, path=path)]


# --- what a run leaves on record --------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process by its id and start time, so that a reused id is never mistaken for it."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Describe a process that runs now."""
        return cls(pid, start_time(pid) or 0)

    def alive(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        return self.started != 0 and start_time(self.pid) == self.started

    def end(self, within: float = 30) -> None:
        """Kill it and wait until it is gone."""
        if self.alive():
            os.kill(self.pid, signal.SIGKILL)
        child = _CHILDREN.pop(self.pid, None)
        if child is not None:
            child.wait(within)
        wait_for(lambda: not self.alive(), within, f"process {self.pid} to end")


def start_time(pid: int) -> int | None:
    """Return a live process's start time in clock ticks after boot."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@dataclass
class Record:
    """What it takes to dismantle a cluster, kept as a file from before anything exists."""

    prefix: str
    octet: int
    folder: str
    nodes: list[str]
    owner: Process | None
    """The process whose end makes the cluster a leftover; None: it stays until `down`."""
    processes: dict[str, Process] = field(default_factory=dict)
    forward_rule: bool = False
    docker_groups: list[str] = field(default_factory=list)
    """Control groups named docker, which dockerd makes even when it is told another parent."""

    @property
    def file(self) -> Path:
        """Return where the record is kept."""
        return RECORDS / f"{self.prefix}.json"

    def save(self) -> None:
        """Write the record, whole or not at all."""
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.rename(self.file)

    @classmethod
    def load(cls, file: Path) -> Record:
        """Read a record."""
        raw = json.loads(file.read_text())
        raw["owner"] = raw["owner"] and Process(**raw["owner"])
        raw["processes"] = {name: Process(**value) for name, value in raw["processes"].items()}
        return cls(**raw)

    def interface(self, index: int) -> str:
        """Return the name of the host's end of a node's cable."""
        return f"{self.prefix}n{index}"

    def rule(self) -> list[str]:
        """Return the rule that lets the bridge's own traffic pass where the host drops by default."""
        comment = ["-m", "comment", "--comment", self.prefix]
        return ["FORWARD", "-i", self.prefix, "-o", self.prefix, *comment, "-j", "ACCEPT"]

    def cgroup(self, index: int) -> str:
        """Return the control group below which a node's containers are."""
        return f"{self.prefix}-n{index}"


def records() -> list[Record]:
    """Return the records of all clusters, live or left over."""
    return [Record.load(file) for file in sorted(RECORDS.glob("*.json"))]


@contextlib.contextmanager
def records_locked() -> Iterator[None]:
    """Hold the lock under which clusters get their names and leftovers are removed."""
    RECORDS.mkdir(parents=True, exist_ok=True)
    with (RECORDS / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def sweep() -> list[str]:
    """Dismantle every cluster whose owner is gone; return their prefixes."""
    stale = [r for r in records() if r.owner is not None and not r.owner.alive()]
    for record in stale:
        dismantle(record)
    return [record.prefix for record in stale]


def dismantle(record: Record) -> None:
    """End a cluster's processes, then remove its links, rule, control groups and files."""
    for process in reversed(record.processes.values()):
        process.end()
    for index in range(1, len(record.nodes) + 1):
        quiet("ip", "link", "delete", record.interface(index))
    quiet("ip", "link", "delete", record.prefix)
    if record.forward_rule:
        quiet("iptables", "-D", *record.rule())
    for index in range(1, len(record.nodes) + 1):
        remove_cgroups(record.cgroup(index))
    for group in record.docker_groups:
        removed(group)
    remove_tree(Path(record.folder))
    record.file.unlink(missing_ok=True)


def remove_cgroups(name: str) -> None:
    """Remove a control group and those below it, in every hierarchy (v1) or the one (v2)."""
    base = Path("/sys/fs/cgroup")
    for top in (path for path in (base / name, *base.glob(f"*/{name}")) if path.is_dir()):
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(NodesError):
                wait_for(partial(removed, folder), 5, f"{folder} to empty")


def docker_groups() -> list[Path]:
    """Return where a Docker daemon may make the control group `docker`."""
    base = Path("/sys/fs/cgroup")
    return [base / "docker", *(path / "docker" for path in base.iterdir() if path.is_dir() and not path.is_symlink())]


def removed(folder: str) -> bool:
    """Remove a control group; False while the kernel still counts a dying process in it."""
    try:
        os.rmdir(folder)
    except OSError:
        return not os.path.isdir(folder)
    return True


def remove_tree(folder: Path) -> None:
    """Remove a cluster's files; mounts of a namespace just ended can take a moment to go."""
    wait_for(lambda: not quiet("rm", "-rf", "--one-file-system", str(folder)), 60, f"{folder} to be removable")


# --- a node -----------------------------------------------------------------------------


@dataclass
class Node:
    """One machine of the cluster. Everything here goes around ssh, into the namespaces."""

    name: str
    index: int
    address: str
    interface: str
    """The host's end of the node's cable; the node's own is `eth0`."""
    folder: Path
    init: Process

    def exec(
        self,
        command: str | Sequence[str],
        *,
        input: bytes | str | None = None,
        check: bool = False,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on the node as root: a string by `sh -c`, a sequence as it is.

        Waits for all that holds its output: what is to go on in the background must redirect it.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        environment = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        enter = ["nsenter", f"--target={self.init.pid}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        done = subprocess.run(
            [*enter, *environment, "HOME=/root", *argv],
            input=input.decode("utf-8", "surrogateescape") if isinstance(input, bytes) else input or "",
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            what = f"{self.name}: {shlex.join(argv)[:300]} ended with {done.returncode}"
            raise NodesError(f"{what}:\n{done.stderr[-3000:]}")
        return done

    def docker(self, *arguments: str, check: bool = True, timeout: float = 300) -> str:
        """Run the node's docker and return its standard output, stripped."""
        return self.exec(["docker", *arguments], check=check, timeout=timeout).stdout.strip()

    def write(self, path: str, content: bytes | str, mode: int = 0o644) -> None:
        """Write a file on the node, with its folders."""
        data = content.encode() if isinstance(content, str) else content
        quoted = shlex.quote(path)
        script = f'mkdir -p "$(dirname -- {quoted})" && cat > {quoted} && chmod {mode:o} {quoted}'
        self.exec(script, input=data, check=True)

    def read(self, path: str) -> str:
        """Return a text file of the node."""
        return self.exec(["cat", path], check=True).stdout

    def exists(self, path: str) -> bool:
        """Tell whether the node has this path."""
        return self.exec(["test", "-e", path]).returncode == 0

    def processes(self) -> dict[int, str]:
        """Return the node's processes, pid (as the node sees it) to command line, without ours."""
        lines = self.exec(["ps", "-eo", "pid=,args="], check=True).stdout.splitlines()
        split = (line.strip().split(None, 1) for line in lines)
        return {int(pid): args for pid, args in split if not args.startswith("ps -eo pid=")}

    def listening(self) -> set[int]:
        """Return the TCP ports that something listens on, on any address of the node."""
        lines = self.exec(["ss", "-Hltn"], check=True).stdout.splitlines()
        return {int(line.split()[3].rpartition(":")[2]) for line in lines}

    def start_sshd(self) -> None:
        """Start the node's OpenSSH server, if it is not running, and wait until it listens."""
        start = "setsid /usr/sbin/sshd -D -e >>/var/log/sshd.log 2>&1 </dev/null &"
        self.exec(f"mkdir -p /run/sshd; test -e /run/sshd.pid || {start}", check=True)
        wait_for(lambda: answers(self.address, 22), 30, f"sshd of {self.name}")

    def stop_sshd(self, *, sessions: bool = True) -> None:
        """Stop the server and, unless told otherwise, its open sessions."""
        self.exec("kill $(cat /run/sshd.pid); rm -f /run/sshd.pid")
        if sessions:
            self.exec("pkill -x sshd")  # sees no process but the node's own
        wait_for(lambda: not answers(self.address, 22), 10, f"sshd of {self.name} to stop")

    def start_dockerd(self) -> None:
        """Start the node's Docker daemon, if it is not running, and wait until it answers."""
        start = "setsid dockerd >>/var/log/dockerd.log 2>&1 </dev/null &"
        self.exec(f"docker version >/dev/null 2>&1 || {{ rm -f /run/docker.pid; {start} }}", check=True)
        version = ["docker", "version"]
        wait_for(lambda: not self.exec(version).returncode, 60, f"dockerd of {self.name}", self.docker_log)

    def stop_dockerd(self) -> None:
        """Stop the Docker daemon; its containers end with it."""
        self.exec("kill $(cat /run/docker.pid)")
        wait_for(lambda: not self.exists("/run/docker.pid"), 30, f"dockerd of {self.name} to stop", self.docker_log)

    def docker_log(self) -> str:
        """Return the end of the Docker daemon's log."""
        return self.exec("tail -n 20 /var/log/dockerd.log").stdout

    def slow_registry(self, rate: str = "20mbit") -> None:
        """Limit what the registry sends to this node, and nothing else (ssh stays quick).

        `rate` is tc's: the image has about 0.9 GB to pull, so 20mbit makes that six minutes.
        """
        self.full_speed()
        tc = ["tc", "class", "add", "dev", self.interface, "parent", "1:", "classid"]
        must("tc", "qdisc", "add", "dev", self.interface, "root", "handle", "1:", "htb", "default", "10")
        must(*tc, "1:10", "htb", "rate", "40gbit", "quantum", "60000")
        must(*tc, "1:20", "htb", "rate", rate, "quantum", "60000")
        match = ["u32", "match", "ip", "sport", "80", "0xffff", "flowid", "1:20"]
        must("tc", "filter", "add", "dev", self.interface, "parent", "1:", "protocol", "ip", "prio", "1", *match)

    def limit(self, rate: str) -> None:
        """Give the node's link a rate, in tc's words, for each direction alone, as a real cable has it.

        On a few cores of one machine copies are otherwise bound by what ssh and checksums compute.
        """
        self.full_speed()
        shape = ["root", "tbf", "rate", rate, "burst", "512kb", "latency", "50ms"]
        must("tc", "qdisc", "add", "dev", self.interface, *shape)
        must(*self._inside_network(), "tc", "qdisc", "add", "dev", "eth0", *shape)

    def full_speed(self) -> None:
        """Undo `slow_registry` and `limit`."""
        quiet("tc", "qdisc", "delete", "dev", self.interface, "root")
        quiet(*self._inside_network(), "tc", "qdisc", "delete", "dev", "eth0", "root")

    def traffic(self) -> tuple[int, int]:
        """Return the bytes that the node has received and sent since it was raised, headers and all."""
        counters = Path("/sys/class/net") / self.interface / "statistics"
        received, sent = (int((counters / name).read_text()) for name in ("tx_bytes", "rx_bytes"))
        return received, sent

    def _inside_network(self) -> tuple[str, ...]:
        return ("nsenter", f"--target={self.init.pid}", "--net")

    def put_weights(self, assets: Assets) -> None:
        """Lay every model below /data/weights anew, so that a test may damage its copy."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for model, source in assets.models.items():
                archive.add(source, model)
        unpack = f"rm -rf {WEIGHTS} && mkdir -p {WEIGHTS} && tar -xf - -C {WEIGHTS}"
        self.exec(unpack, input=packed.getvalue(), check=True)

    def put_file(self, source: Path, path: str) -> None:
        """Copy a file of this machine to the node."""
        self.write(path, source.read_bytes())

    def put_folder(self, source: Path, path: str) -> None:
        """Copy a folder of this machine to the node, of any size."""
        enter = ["nsenter", f"--target={self.init.pid}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        self.exec(["mkdir", "-p", path], check=True)
        with subprocess.Popen(["tar", "-C", str(source), "-cf", "-", "."], stdout=subprocess.PIPE) as packed:
            done = subprocess.run([*enter, "tar", "-C", path, "-xf", "-"], stdin=packed.stdout, check=False)
        if packed.returncode or done.returncode:
            raise NodesError(f"{self.name}: {source} could not be copied to {path}")


# --- the cluster ------------------------------------------------------------------------


@dataclass
class Cluster:
    """All nodes, the registry, the keys, and the inventory that leads to them."""

    record: Record
    assets: Assets
    nodes: list[Node]

    @property
    def prefix(self) -> str:
        """Return the short name that all interfaces of this cluster begin with."""
        return self.record.prefix

    @property
    def folder(self) -> Path:
        """Return where keys, logs and the nodes' disks lie."""
        return Path(self.record.folder)

    @property
    def controller(self) -> str:
        """Return this machine's address on the bridge, and the registry's."""
        return f"10.99.{self.record.octet}.254"

    @property
    def key(self) -> Path:
        """Return the private key that root, operator and sudoer accept."""
        return self.folder / "keys" / "id"

    @property
    def stray_key(self) -> Path:
        """Return a private key that no node accepts."""
        return self.folder / "keys" / "stray"

    @property
    def known_hosts(self) -> Path:
        """Return the known_hosts file with the nodes' true keys."""
        return self.folder / "keys" / "known_hosts"

    def ssh(
        self, node: Node, command: str, *, user: str = "root", timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over OpenSSH, as the product would have to."""
        options = [f"UserKnownHostsFile={self.known_hosts}", "StrictHostKeyChecking=yes", "BatchMode=yes"]
        argv = ["ssh", "-F", "none", "-i", str(self.key)]
        argv += [word for option in options for word in ("-o", option)]
        argv += [f"{user}@{node.address}", command]
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )

    def write_inventory(
        self,
        directory: Path,
        *,
        nodes: Iterable[Node] | None = None,
        connection: Mapping[str, object] | None = None,
        host_vars: Mapping[str, Mapping[str, object]] | None = None,
        **qnext: object,
    ) -> Path:
        """Write `cluster.yaml` into `directory` and return its path.

        `qnext` is merged deeply over the defaults (an image install of Qwen3-Next-Tiny on the
        CPU build, with --enforce-eager: that skips the warm-up, in which some broken layouts
        would already fail); None removes a key. `connection` overrides `ansible_*` variables for all
        hosts, `host_vars` adds variables by node name.
        """
        options = f"-o UserKnownHostsFile={self.known_hosts} -o StrictHostKeyChecking=yes"
        defaults: dict[str, object] = {
            "cluster": f"real-{self.prefix}",
            "hardware": "cpu",
            "install": {"method": "image", "image": "quay.io/ascend/vllm-ascend:v0.18.0-a3"},
            "model": {"path": f"{WEIGHTS}/Qwen3-Next-Tiny", "served_name": "qwen3-next-tiny"},
            "serve": {"port": 8000, "max_model_len": 1024, "engine_args": {"enforce-eager": True}},
        }
        if qnext.get("hardware", "cpu") != "cpu":
            serving = {"env": {"VLLM_CPU_KVCACHE_SPACE": "1"}}  # else vLLM asks for 92% of the memory
            defaults = merged(defaults, {"serve": serving})
        variables: dict[str, object] = {
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": options,
            **(connection or {}),
            "qnext": merged(defaults, qnext),
        }
        extra = host_vars or {}
        hosts = {n.name: {"ansible_host": n.address, **extra.get(n.name, {})} for n in nodes or self.nodes}
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "cluster.yaml"
        file.write_text("\n".join(yaml_lines({"all": {"vars": variables, "hosts": hosts}})) + "\n")
        return file

    def pull(self, image: str = "quay.io/ascend/vllm-ascend:v0.18.0-a3") -> None:
        """Have the image on every node, for tests that are not about pulling."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(lambda node: node.docker("pull", "-q", image, timeout=600), self.nodes))

    def reset(self) -> None:
        """Bring every node back to how it was raised, except for its images."""
        from .dress import undress

        for node in self.nodes:
            node.full_speed()
            node.start_dockerd()
            node.exec("docker ps -aq | xargs -r docker rm -f", check=True)
            node.exec("rm -rf /var/lib/qnext")
            undress(node)
            node.put_weights(self.assets)
            node.write("/root/.ssh/authorized_keys", self.key.with_suffix(".pub").read_text(), 0o600)
            node.start_sshd()

    def down(self) -> None:
        """End the cluster and leave nothing of it. Calling it again does nothing."""
        with records_locked():
            if self.record.file.exists():
                dismantle(self.record)


def up(assets: Assets, count: int = 2, *, owner: int | None = None, folder: Path | None = None) -> Cluster:
    """Raise a cluster, after removing leftovers of runs that were killed.

    `owner` is the process whose end makes the cluster a leftover (None: it stays until it is
    taken down by hand). `folder` holds its files; default: below the cache. It must not lie on
    tmpfs or overlayfs, since the nodes' disks are overlays and Docker's data is there too.

    Takes about five seconds for two nodes. Raises `NodesError` with nothing left behind.
    """
    lacks = missing()
    if lacks:
        raise NodesError(f"missing: {', '.join(lacks)}")
    with records_locked():
        sweep()
        record = reserve(count, owner, folder)
    try:
        return raise_cluster(record, assets)
    except BaseException:
        with records_locked():
            dismantle(record)
        raise


def attach(prefix: str) -> Cluster:
    """Return a running cluster by its prefix."""
    record = Record.load(RECORDS / f"{prefix}.json")
    nodes = [make_node(record, i, record.processes[name]) for i, name in enumerate(record.nodes, 1)]
    return Cluster(record, asset_store.ensure(), nodes)


def reserve(count: int, owner: int | None, folder: Path | None) -> Record:
    """Choose a free prefix and a free 10.99.x network, and record them."""
    used = subprocess.run(["ip", "-4", "-o", "addr"], capture_output=True, text=True, check=True).stdout
    used += "".join(f" 10.99.{record.octet}.0 " for record in records())
    octet = next(n for n in range(255) if f" 10.99.{n}." not in used)
    prefix = f"qn{secrets.token_hex(2)}"
    folder = folder or asset_store.cache_folder() / f"run-{prefix}"
    names = [f"node-{index}" for index in range(1, count + 1)]
    process = Process.of(owner) if owner is not None else None
    missing_groups = [str(path) for path in docker_groups() if not path.exists()]
    record = Record(prefix, octet, str(folder.absolute()), names, process, docker_groups=missing_groups)
    record.save()
    return record


def raise_cluster(record: Record, assets: Assets) -> Cluster:
    """Raise everything that a record promises."""
    folder = Path(record.folder)
    (folder / "keys").mkdir(parents=True)
    raise_bridge(record)
    make_keys(record)
    start_registry(record, assets.registry)
    inits = [start_init(record, index) for index in range(1, len(record.nodes) + 1)]
    nodes = [make_node(record, index, init) for index, init in enumerate(inits, 1)]
    with ThreadPoolExecutor(len(nodes)) as pool:
        list(pool.map(lambda node: settle(node, record, assets), nodes))
    return Cluster(record, assets, nodes)


def raise_bridge(record: Record) -> None:
    """Make the bridge, with this machine's address on it."""
    must("ip", "link", "add", record.prefix, "type", "bridge")
    for last in sorted(HOSTS.values(), reverse=True):
        must("ip", "addr", "add", f"10.99.{record.octet}.{last}/24", "dev", record.prefix)
    must("ip", "link", "set", record.prefix, "up")
    filtered = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if filtered.exists() and filtered.read_text().strip() == "1":
        policy = subprocess.run(["iptables", "-S", "FORWARD"], capture_output=True, text=True, check=False).stdout
        if "-P FORWARD DROP" in policy:  # as a Docker daemon on the host sets it
            record.forward_rule = True
            record.save()
            must("iptables", "-I", *record.rule())


def make_keys(record: Record) -> None:
    """Make the login key, a stray one, a host key for each node, and known_hosts."""
    keys = Path(record.folder) / "keys"
    for name in ("id", "stray", *record.nodes):
        must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(keys / name))
    publics = [(keys / f"{name}.pub").read_text().split()[:2] for name in record.nodes]
    lines = [f"10.99.{record.octet}.{i} {' '.join(public)}\n" for i, public in enumerate(publics, 1)]
    (keys / "known_hosts").write_text("".join(lines))


def start_registry(record: Record, store: Path, host: str = "quay.io") -> None:
    """Start docker-registry over a store, read-only, where `host` is, and wait until it answers."""
    address = f"10.99.{record.octet}.{HOSTS[host]}"
    folder = Path(record.folder)
    config = {
        "version": 0.1,
        "log": {"level": "warn", "accesslog": {"disabled": False}},
        "storage": {
            "filesystem": {"rootdirectory": str(store)},
            "maintenance": {"readonly": {"enabled": True}},
        },
        "http": {"addr": f"{address}:80"},
    }
    name = f"registry-{host}"
    (folder / f"{name}.yaml").write_text(json.dumps(config))
    command = ["docker-registry", "serve", str(folder / f"{name}.yaml")]
    start_server(record, name, command, address, 80)


def start_server(record: Record, name: str, command: Sequence[str], address: str, port: int) -> None:
    """Start a server of the controller, whose log is `NAME.log`, and wait until it accepts connections."""
    log = Path(record.folder) / f"{name}.log"
    spawn(record, name, command, log)
    wait_for(lambda: answers(address, port), 30, name, lambda: tail(log))


def stop_server(record: Record, name: str) -> None:
    """End a server; nothing happens where it does not run."""
    process = record.processes.pop(name, None)
    if process is not None:
        process.end()
        record.save()


INIT = r"""
set -eu
node=$1 name=$2 init=$3
mount --make-rprivate /
cd "$node/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$node/upper,workdir=$node/work" .
cd "$node/root"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --rbind /sys/fs/cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
for device in null:3 zero:5 full:7 random:8 urandom:9; do
    mknod -m 666 "dev/${device%:*}" c 1 "${device#*:}"
done
mknod -m 666 dev/tty c 5 0
mknod -m 600 dev/console c 5 1
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s fd/0 dev/stdin
ln -s fd/1 dev/stdout
ln -s fd/2 dev/stderr
mkdir -p run/lock run/sshd var/lib/docker .host
mount --bind "$node/docker" var/lib/docker
hostname "$name"
exec 3> "$node/ready"
pivot_root . .host
exec chroot . /bin/sh -c '
    umount -l /.host
    rmdir /.host
    echo ready >&3
    exec 3>&-
    exec "$1" -s -- sleep infinity
' sh "$init"
"""
"""What runs in a node's fresh namespaces; it ends as the node's init."""


def start_init(record: Record, index: int) -> Process:
    """Lay a node's disk, start its init in namespaces of its own, and return that."""
    folder = Path(record.folder) / record.nodes[index - 1]
    for name in ("upper", "work", "root", "docker"):
        (folder / name).mkdir(parents=True)
    lay_disk(folder / "upper", record, index)
    (folder / "init.sh").write_text(INIT)
    init = shutil.which("docker-init") or "docker-init"
    command = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL"]
    command += ["sh", str(folder / "init.sh"), str(folder), record.nodes[index - 1], init]
    outer = spawn(record, f"unshare-{index}", command, folder / "init.log")
    ready = folder / "ready"

    def is_ready() -> bool:
        return not outer.alive() or (ready.exists() and ready.read_text() == "ready\n")

    wait_for(is_ready, 60, f"{folder.name} to start", lambda: tail(folder / "init.log"))
    query = ["ps", "-o", "pid=", "--ppid", str(outer.pid)]
    children = subprocess.run(query, capture_output=True, text=True, check=False)
    if not children.stdout.strip():
        raise NodesError(f"{folder.name} did not start:\n{tail(folder / 'init.log')}")
    process = Process.of(int(children.stdout))
    record.processes[folder.name] = process
    record.save()
    return process


def lay_disk(upper: Path, record: Record, index: int) -> None:
    """Write what differs from the host's root into a node's own layer."""
    keys = Path(record.folder) / "keys"
    name = record.nodes[index - 1]
    hidden = {entry.name for entry in Path("/").iterdir() if entry.is_dir() and not entry.is_symlink()} - HOST_FOLDERS
    for hide in (*hidden, "root", "tmp", "var/tmp", "var/lib/docker", "var/lib/containerd", "var/lib/qnext", "var/log"):
        opaque(upper / hide)
    (upper / "root").chmod(0o700)
    (upper / "tmp").chmod(0o1777)
    (upper / "var/tmp").chmod(0o1777)
    hosts = ["127.0.0.1 localhost", f"10.99.{record.octet}.254 controller"]
    hosts += [f"10.99.{record.octet}.{last} {host}" for host, last in HOSTS.items()]
    hosts += [f"10.99.{record.octet}.{i} {other}" for i, other in enumerate(record.nodes, 1)]
    sshd = ["HostKey /etc/ssh/ssh_host_ed25519_key", "UsePAM no", "UseDNS no", "PasswordAuthentication no"]
    sshd += ["PermitRootLogin prohibit-password", "PidFile /run/sshd.pid", "Subsystem sftp internal-sftp"]
    daemon = {
        "insecure-registries": list(HOSTS),
        "max-download-attempts": 1,  # of a layer; five of its own, with pauses, would hide who else tries again
        "iptables": False,
        "bridge": "none",
        "storage-driver": "overlay2",
        "cgroup-parent": f"/{record.cgroup(index)}",
    }
    files = {
        "etc/hosts": "\n".join(hosts) + "\n",
        "etc/hostname": f"{name}\n",
        "etc/resolv.conf": "",  # with a server in it, look-ups in the namespace hang
        "etc/pip.conf": "[install]\ncompile = false\n",  # byte code comes with the first import, of what is imported
        "etc/ssh/sshd_config": "\n".join(sshd) + "\n",
        "etc/docker/daemon.json": json.dumps(daemon, indent=2) + "\n",
        "etc/sudoers.d/sudoer": "sudoer ALL=(ALL:ALL) ALL\n",
        "etc/ssh/ssh_host_ed25519_key": (keys / name).read_text(),
        "etc/ssh/ssh_host_ed25519_key.pub": (keys / f"{name}.pub").read_text(),
        "root/.ssh/authorized_keys": (keys / "id.pub").read_text(),
    }
    for path, content in files.items():
        file = upper / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        file.chmod(0o600 if "key" in file.name and file.suffix != ".pub" else 0o644)
    (upper / "root/.ssh").chmod(0o700)
    (upper / "etc/sudoers.d/sudoer").chmod(0o440)


def opaque(folder: Path) -> None:
    """Make a folder of the overlay's upper layer that hides the lower one's content."""
    folder.mkdir(parents=True, exist_ok=True)
    os.setxattr(folder, "trusted.overlay.opaque", b"y")


def make_node(record: Record, index: int, init: Process) -> Node:
    """Describe a node by what is on record."""
    name = record.nodes[index - 1]
    address = f"10.99.{record.octet}.{index}"
    return Node(name, index, address, record.interface(index), Path(record.folder) / name, init)


def settle(node: Node, record: Record, assets: Assets) -> None:
    """Connect a node, add its users and weights, start its daemons."""
    enter = ["nsenter", f"--target={node.init.pid}", "--net", "ip"]
    peer = ["peer", "name", "eth0", "netns", str(node.init.pid)]
    must("ip", "link", "add", node.interface, "type", "veth", *peer)
    must("ip", "link", "set", node.interface, "master", record.prefix, "up")
    must(*enter, "addr", "add", f"{node.address}/24", "dev", "eth0")
    must(*enter, "link", "set", "eth0", "up")
    must(*enter, "link", "set", "lo", "up")
    add_users(node)
    node.put_weights(assets)
    node.start_sshd()
    node.start_dockerd()


def add_users(node: Node) -> None:
    """Add `operator`, who may not use sudo, and `sudoer`, who may with `SUDO_PASSWORD`."""
    script = """
set -e
for user in operator sudoer; do
    useradd --create-home --gid users --shell /bin/bash --password '*' "$user"
    install -d -o "$user" -g users -m 700 "/home/$user/.ssh"
    install -o "$user" -g users -m 600 /root/.ssh/authorized_keys "/home/$user/.ssh/authorized_keys"
done
chpasswd
"""
    node.exec(script, input=f"sudoer:{SUDO_PASSWORD}\n", check=True)


# --- small things -----------------------------------------------------------------------


def spawn(record: Record, name: str, command: Sequence[str], log: Path) -> Process:
    """Start a process in a session of its own and put it on record."""
    with log.open("ab") as file:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
        )
    _CHILDREN[child.pid] = child
    process = Process.of(child.pid)
    record.processes[name] = process
    record.save()
    return process


def must(*command: str) -> None:
    """Run a command of the host; raise `NodesError` with its words when it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NodesError(f"{shlex.join(command)} ended with {done.returncode}: {done.stderr.strip()}")


def quiet(*command: str) -> int:
    """Run a command of the host that may find nothing to do; return its exit status."""
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode


def answers(address: str, port: int) -> bool:
    """Tell whether a TCP port accepts a connection."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False


def wait_for(
    condition: Callable[[], object], seconds: float, what: str, evidence: Callable[[], str] = lambda: ""
) -> None:
    """Poll until a condition holds; raise `NodesError` with the evidence when time is up."""
    asked = time.monotonic()
    deadline = asked + seconds
    while not condition():
        now = time.monotonic()
        if now > deadline:
            raise NodesError(f"waited {seconds:.0f} s for {what}\n{evidence()}")
        time.sleep(min(max(0.05, 2 * (now - asked)), 1.0))  # to ask costs the time that what is waited for needs
        asked = time.monotonic()


def tail(file: Path, lines: int = 20) -> str:
    """Return the last lines of a file, or nothing when there is none."""
    return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""


def yaml_lines(value: Mapping[str, object], indent: str = "") -> Iterator[str]:
    """Write mappings in YAML's block style and everything else as JSON, which is YAML too."""
    for key, item in value.items():
        if isinstance(item, Mapping) and item:
            yield f"{indent}{key}:"
            yield from yaml_lines(item, f"{indent}  ")
        elif isinstance(item, str) and re.fullmatch(r"[A-Za-z/][\w./-]*", item) and item not in WORDS:
            yield f"{indent}{key}: {item}"
        else:
            yield f"{indent}{key}: {json.dumps(item)}"


WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Strings that YAML would take for something else; capitals don't occur here."""


# --- by hand ----------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the developers' command line, as the module's docstring shows it."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.nodes", description="Raise real nodes by hand.")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, perform in BY_HAND.items():
        action = actions.add_parser(name, help=(perform.__doc__ or "").splitlines()[0])
        action.set_defaults(perform=perform, action=name)
        action.add_argument("--dir", type=Path, required=True, help="for the inventory; it names the cluster, too")
        if name == "up":
            action.add_argument("--nodes", type=int, default=2)
            action.add_argument("--a3", action="store_true", help="dress the nodes as Atlas A3")
        if name in ("exec", "dress", "undress"):
            action.add_argument("node")
        if name == "exec":
            action.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    result: int = options.perform(options)
    return result


def up_by_hand(options: argparse.Namespace) -> int:
    """Raise a cluster that stays, and write its inventory."""
    from .dress import dress_as_a3

    marker = options.dir / "prefix"
    if marker.exists() and (RECORDS / f"{marker.read_text()}.json").exists():
        sys.stderr.write(f"{options.dir} already has a cluster; take it down first\n")
        return 2
    cluster = up(asset_store.ensure(), options.nodes)
    hardware = "cpu"
    if options.a3:
        hardware = "atlas-800-a3"
        for node in cluster.nodes:
            dress_as_a3(node)
    inventory = cluster.write_inventory(options.dir, hardware=hardware)
    marker.write_text(cluster.prefix)
    sys.stdout.write(f"{inventory}\n")
    return 0


def by_hand(options: argparse.Namespace) -> Cluster:
    """Return the cluster that `up --dir` raised."""
    return attach((options.dir / "prefix").read_text())


def down_by_hand(options: argparse.Namespace) -> int:
    """Take down the cluster; there being none is fine."""
    marker = options.dir / "prefix"
    if marker.exists():
        file = RECORDS / f"{marker.read_text()}.json"
        with records_locked():
            if file.exists():
                dismantle(Record.load(file))
        marker.unlink()
    return 0


def exec_by_hand(options: argparse.Namespace) -> int:
    """Run a command on a node and pass on what it says."""
    [node] = [node for node in by_hand(options).nodes if node.name == options.node]
    done = node.exec(options.command if len(options.command) > 1 else options.command[0], timeout=3600)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.returncode


def dress_by_hand(options: argparse.Namespace) -> int:
    """Dress a node as an Atlas A3, or undress it."""
    from . import dress

    [node] = [node for node in by_hand(options).nodes if node.name == options.node]
    (dress.dress_as_a3 if options.action == "dress" else dress.undress)(node)
    return 0


BY_HAND = {
    "up": up_by_hand,
    "down": down_by_hand,
    "exec": exec_by_hand,
    "dress": dress_by_hand,
    "undress": dress_by_hand,
}


if __name__ == "__main__":
    raise SystemExit(main())
