"""What can go wrong on a rehearsal node, as data: each fault is a key of the node's state and says what it does.

``set_fault(folder, "node1", "npu/3/link", "DOWN")`` breaks a cable; ``clear_fault`` mends it. Both return when done:
what the SSH server itself must do (refuse, cut, take a port) is acknowledged by it. There is one for every check that
looks at nodes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from provision.clock import monotonic, sleep
from provision.errors import UsageError
from provision.rehearsal import effects, host
from provision.rehearsal.node import Node
from provision.rehearsal.standins.process import server_pid

_PATIENCE = 5.0
_NUMBER = r"\d+(\.\d+)?"
_ADDRESS = r"(\d{1,3}\.){3}\d{1,3}"
_YES = "1"


@dataclass(frozen=True, slots=True)
class Fault:
    """``key`` with ``<…>`` for what varies; ``values`` and ``effect`` in an operator's words; ``pattern`` of values."""

    key: str
    values: str
    effect: str
    pattern: str = r".+"


FAULTS = (
    # NPUs, as npu-smi tells of them
    Fault("npu/<n>/health", "Warning, Alarm, Critical", "npu-smi reports the die so",
          "OK|Warning|Alarm|Critical|UNKNOWN"),
    Fault("npu/<n>/error_code", "hex words", "npu-smi -t health shows them", r"[0-9A-Fa-f ]+"),
    Fault("npu/<n>/temperature", "degrees C", "temperature of the die", r"\d+"),
    Fault("npu/<n>/hbm_used", "MB", "memory of the die that is in use", r"\d+"),
    Fault("npu/<n>/ecc_single", "count", "npu-smi -t ecc reports single bit errors", r"\d+"),
    Fault("npu/<n>/ecc_double", "count", "npu-smi -t ecc reports double bit errors", r"\d+"),
    Fault("npu/<n>/hccs", "NOK", "npu-smi -t hccs reports the links within the node so, with errors", "OK|NOK"),
    Fault("npu/<n>/process", "NAME [PID [MB]]", "a foreign process holds the die (43266 MB); servers find too little "
          "memory; without PID it really runs and can be killed", r"\S+( \d+( \d+)?)?"),
    Fault("npu/<n>/missing", "1", "the die dropped off the bus: no device node, no row, no PCI function", _YES),
    Fault("npu/name", "910B4, 310P3, …", "npu-smi calls the chips so: a node with other cards"),
    Fault("npu/super_pod_id", "number", "npu-smi -t spod-info of the node", r"\d+"),
    Fault("npu/server_index", "number", "npu-smi -t spod-info of the node (usually 39 + its number)", r"\d+"),
    Fault("npu/driver", "broken", "npu-smi fails with ret is -8020", "broken"),
    Fault("hbm/uneven", "MB", "die 0 holds so much less than the others when a server has it", r"\d+"),
    Fault("pci/<n>/missing", "1", "lspci and /sys lack the die, while its device node is still there", _YES),
    Fault("device/<name>", "missing", "/dev/<name> isn't there (davinci_manager, devmm_svm, hisi_hdc, davinci3)",
          "missing"),
    # NPU network
    Fault("npu/<n>/link", "DOWN", "hccn_tool reports the link of device n down, net_health Fault, RoCE pings fail",
          "UP|DOWN"),
    Fault("npu/<n>/roce", "none", "the device has no network but HCCS: link DOWN, net_health Init, no address, no "
          "LLDP; on A3 vnic and hccs_ping work on", "none"),
    Fault("npu/<n>/net_health", "Init, Socket fail, …", "hccn_tool -net_health says so"),
    Fault("npu/<n>/ip", "ADDRESS or none", "hccn_tool -ip says so; pings find the device there", rf"none|{_ADDRESS}"),
    Fault("npu/<n>/gateway", "ADDRESS or none", "hccn_tool -gateway says so", rf"none|{_ADDRESS}"),
    Fault("npu/<n>/netdetect", "ADDRESS or none", "hccn_tool -netdetect says so; none: net_health is Init",
          rf"none|{_ADDRESS}"),
    Fault("npu/<n>/lldp", "none", "hccn_tool -lldp hears no switch", "none"),
    Fault("npu/<n>/tls", "1", "hccn_tool reports the TLS switch of the device on", "0|1"),
    Fault("npu/<n>/vnic", "DOWN, none, ADDRESS", "hccn_tool -vnic says so; DOWN and none: hccs_ping from and to it "
          "fails", rf"DOWN|none|{_ADDRESS}"),
    Fault("npu/<n>/flaps", "count", "hccn_tool -link_stat tells of so many link-ups", r"\d+"),
    Fault("npu/<n>/fec", "no", "hccn_tool -fec: no FEC mode", "no|rs|auto"),
    Fault("npu/<n>/errors", "count", "hccn_tool -stat counts errors and retransmissions", r"\d+"),
    Fault("npu/<n>/optical", "absent, dark", "hccn_tool -optical: no module, or one that receives no light",
          "absent|dark"),
    Fault("npu/<n>/ping/<peer>", "lost, partial, slow MS", "pings of device n to node <peer>, or to its device d "
          "with <peer> = node2:d, of both kinds", r"lost|partial|slow \d+"),
    Fault("hccn_conf/<n>", "ADDRESS or none", "/etc/hccn.conf has another address for device n, or none",
          rf"none|{_ADDRESS}"),
    # versions and files of the driver
    Fault("driver/version", "VERSION", "version.info, npu-smi and board tell this driver"),
    Fault("driver/installed", "VERSION", "version.info tells this driver: it was installed, and is loaded by the next "
          "boot"),
    Fault("firmware/installed", "VERSION", "the same of the firmware"),
    Fault("package/<kind>", "fails, immediate", "the installer of a package (driver, firmware, toolkit, ops, nnal) "
          "ends with an error; or what it installs runs at once, without a boot", "fails|immediate"),
    Fault("boot/never", "1", "a node that is told to boot does not come back", _YES),
    Fault("boot/ignored", "1", "a node that is told to boot does not go down", _YES),
    Fault("boot/seconds", "seconds", "booting takes so long (1 is usual)", _NUMBER),
    Fault("driver/install_status", "text", "Driver_Install_Status of /etc/ascend_install.info"),
    Fault("firmware/version", "VERSION", "version.info and board tell this firmware; outside of 7.0.0 to 7.9.99 it "
          "doesn't fit"),
    Fault("firmware/compatibility", "NOT SUPPORT", "npu-smi -t board says so"),
    Fault("cann/version", "VERSION or none", "CANN on the host is this one (8.5.1 is usual), where this one keeps "
          "itself"),
    Fault("cann/nnal", "missing", "NNAL (libatb.so) is not installed beside CANN", "missing"),
    Fault("mount/<name>", "missing, folder", "a source of container mounts isn't there, or docker made a folder of "
          "it: dcmi, lib64, version.info, ascend_install.info, hccn.conf, hccn_tool, npu-smi", "missing|folder"),
    # operating system
    Fault("os/version", "VERSION", "os-release and docker info tell this release of openEuler (22.03 is usual)"),
    Fault("kernel/version", "text", "uname -r, /proc/version and docker info tell this kernel"),
    Fault("cpu/arch", "x86_64, aarch64", "uname -m says so"),
    Fault("sysctl/<name>", "value or none",
          "the kernel parameter has this value; sysctl -w sets it right and clears the "
          "fault"),
    Fault("limits/<name>", "SOFT [HARD]", "ulimit and /proc/self/limits (nofile, memlock, nproc, stack, core; "
          "kernel's units)", r"(\d+|unlimited)( (\d+|unlimited))?"),
    Fault("governor", "powersave, …", "frequency governor of the processors"),
    Fault("thp", "always, never", "transparent huge pages", "always|madvise|never"),
    Fault("irqbalance", "active", "irqbalance runs; systemctl stop ends it and clears the fault", "active"),
    Fault("hugepages", "count", "so many pages of 2 MB are reserved", r"\d+"),
    Fault("swap", "MB", "there is swap of 16384 MB, so much of it in use", r"\d+"),
    Fault("memory/total", "MB", "main memory", r"\d+"),
    Fault("memory/available", "MB", "main memory that programs can have", r"\d+"),
    Fault("clock/skew", "seconds", "the node's clock is ahead (or behind), and all that it stamps: docker's "
          "and servers' lines, plogs, the kernel's log", rf"-?{_NUMBER}"),
    Fault("timesync", "off, none", "the clock isn't synchronised; none: no time service runs", "off|none"),
    Fault("selinux", "Enforcing, Permissive", "getenforce and /sys/fs/selinux say so", "Enforcing|Permissive|Disabled"),
    Fault("firewall", "firewalld, ufw, iptables, nft", "this firewall lets ssh in and nothing else",
          "firewalld|ufw|iptables|nft"),
    Fault("dmesg/npu", "1 or text", "the kernel's log has errors of the NPU driver"),
    Fault("dmesg/oom", "1 or text", "the kernel's log tells of a killed server"),
    Fault("dmesg/line", "text", "the kernel's log has this line"),
    Fault("process/<name>", "1 or TITLE", "a foreign process runs: vllm, ray, mooncake, or any title"),
    Fault("shm/leftover", "1 or NAMES", "files are left in /dev/shm (psm_8f2d11a7 and a semaphore)"),
    Fault("shm/size", "bytes", "size of /dev/shm", r"\d+"),
    Fault("shm/free", "bytes", "room in /dev/shm", r"\d+"),
    Fault("proxy", "URL", "docker's client hands this proxy to every container"),
    # network of the host
    Fault("nic/<if>/mtu", "bytes", "MTU of the interface (eth0, lo, docker0)", r"\d+"),
    Fault("nic/<if>/speed", "Mb/s", "speed of eth0 (25000 is usual)", r"-?\d+"),
    Fault("nic/<if>/state", "down", "the interface is down", "up|down|unknown"),
    Fault("nic/<if>/address", "none", "eth0 has lost its address", "none"),
    Fault("tcp/<peer>", "refused, dropped, slow [MS]", "TCP from this node's Python programs and its ssh to the node "
          "<peer>", rf"refused|dropped|slow( {_NUMBER})?"),
    Fault("dns/hang", "1 or seconds", "getent hangs", _NUMBER),
    Fault("dns/hostname", "ADDRESS or none", "what /etc/hosts has for the node's own name", rf"none|{_ADDRESS}"),
    Fault("port/<number>", "taken", "another program listens on the port", "taken|1"),
    Fault("python/missing", "1", "there is neither python3 nor bash", _YES),
    Fault("python/version", "VERSION", "python3 is of this version (3.11.6 is usual)", r"3\.\d+\.\d+"),
    # building from source
    Fault("git/<host>", "down", "git does not reach the host of a repository; submodules: those of vllm-ascend",
          "down"),
    Fault("index/<host>", "down", "pip does not reach the host of a package index", "down"),
    Fault("dnf", "down", "the system's packages cannot be downloaded", "down"),
    Fault("build/fails", "text", "a wheel cannot be built, and the compiler says this"),
    # disks and folders
    Fault("disk/full", "1", "df shows no room; pulls and writes fail with: no space left on device", _YES),
    Fault("disk/free", "bytes", "df shows so much room", r"\d+"),
    Fault("disk/tmp", "bytes", "/tmp is a file system of its own with so much room", r"\d+"),
    Fault("disk/data", "bytes", "/data is a file system of its own with so much room", r"\d+"),
    Fault("disk/var", "bytes", "/var is a file system of its own with so much room", r"\d+"),
    Fault("disk/read_only", "1", "the root file system is mounted read-only", _YES),
    Fault("inodes", "count", "df -i shows so many free inodes", r"\d+"),
    Fault("read/slow", "MB/s", "dd reads so slowly", _NUMBER),
    Fault("share/unmounted", "1", "/share, which all nodes have in common, isn't mounted here: an empty local folder",
          _YES),
    Fault("weights/missing_shard", "number", "the shard is not in the model folder", r"\d+"),
    Fault("weights/short_shard", "number", "the shard is cut in half", r"\d+"),
    Fault("weights/missing_tokenizer", "1", "no file of the tokenizer is there", _YES),
    Fault("weights/missing", "1", "the model folder is not there", _YES),
    Fault("weights/config", "1 or KEY=JSON", "config.json differs from that of the other nodes"),
    Fault("evaluate/<what>", "missing", "aisbench: /opt/aisbench isn't there; dataset: /data/datasets/gsm8k",
          "missing"),
    # commands, docker, images
    Fault("command/<name>", "hang or seconds", "the command (npu-smi, hccn_tool, docker, df, python3) does not answer",
          rf"hang|{_NUMBER}"),
    Fault("docker/daemon", "down", "docker cannot reach its daemon", "down"),
    Fault("docker/missing", "1", "there is no docker", _YES),
    Fault("engine", "podman", "containers are podman's, and there is no docker", "podman"),
    Fault("docker/version", "VERSION", "docker is of this version"),
    Fault("docker/pull_seconds_per_layer", "seconds", "pulls are slow", _NUMBER),
    Fault("docker/ascend_runtime", "1", "docker info lists the runtime ascend", _YES),
    Fault("registry/<host>", "down", "the registry cannot be reached from the node", "down"),
    Fault("registry_rebuilt/<host>", "1", "this registry alone has another build under the same tags", _YES),
    Fault("registry_dies/<host>", "count", "pulls from this registry break off after so many layers", r"\d+"),
    Fault("registry_login/<host>", "USER:PASSWORD", "this registry is private: it wants this login", r"[^:]+:.+"),
    Fault("image/rebuilt", "1", "images that are pulled from now on are of another build: same tag, other id", _YES),
    Fault("image/package/<name>", "VERSION", "the package in the node's images is of this version (vllm, "
          "vllm-ascend, torch, torch-npu, triton-ascend, transformers, ray, cann, …)"),
    Fault("smoke/fails", "devices, import, plugin, driver, hang", "proofs in containers fail: no device, a library "
          "is missing, no plugin, npu-smi says -8020, no answer", "1|devices|import|plugin|driver|hang"),
    Fault("collective", "hang, error, wrong", "an all-reduce in containers of this node", "hang|error|wrong"),
    Fault("container/foreign", "DIES [SECONDS [USER]]", "somebody's container (train-job) has these dies (0,1 or "
          "all) and their memory, for so long", r"(all|\d+(,\d+)*)( \d+( \S+)?)?"),
    Fault("container/dead", "CLUSTER", "a container of an earlier deployment of the cluster has ended and is still "
          "there", r"[A-Za-z0-9][\w.-]*"),
    Fault("container/killed", "PROCESS", "the server head, worker1, … on this node is killed now", r"[a-z][a-z0-9-]*"),
    # ssh and sudo
    Fault("ssh/stopped", "1", "sshd refuses connections; open ones stay", _YES),
    Fault("ssh/host_key", "changed", "new connections see another host key"),
    Fault("ssh/drop_now", "1", "all connections break now"),
    Fault("ssh/drop_at", "text", "all connections break when a session sends this text"),
    Fault("ssh/drop_after_execs", "count", "all connections break after so many more commands", r"\d+"),
    Fault("ssh/drop_after_bytes", "bytes", "all connections break after so much more output", r"\d+"),
    Fault("ssh/password", "text", "password logins work with this password"),
    Fault("ssh/forwarding", "refused", "sshd forwards no connections", "refused"),
    Fault("ssh_client/missing", "1", "there is no ssh to reach other nodes with", _YES),
    Fault("sudo/<user>", "nopasswd, password, denied", "what sudo lets this user do", "nopasswd|password|denied"),
    Fault("sudo/missing", "1", "there is no sudo", _YES),
    Fault("image/program/<name>", "present or missing", "images that serve have the command or lack it: vllm-router "
          "(usually missing), ray (usually present)", "present|missing"),
    # servers
    Fault("vllm/start_seconds", "seconds", "a server takes so long to load", _NUMBER),
    Fault("vllm/handshake_seconds", "seconds", "a worker waits so long for the head", _NUMBER),
    Fault("vllm/die_at_start", "SECONDS [EXIT [TEXT]]", "a server ends while it loads, with a traceback",
          rf"{_NUMBER}( .*)?"),
    Fault("vllm/oom_killed", "seconds", "the kernel ends a server of the node so long after its start, for lack of "
          "memory: exit status 137, and a line in the kernel's log", _NUMBER),
    Fault("vllm/silent", "seconds", "a server of the node falls silent so long after its start, while it loads: no "
          "line, no end", _NUMBER),
    Fault("vllm/mourns", "SECONDS [COUNT]", "servers that lose a peer end so long after, with so many tracebacks of "
          "each of their workers (20)", rf"{_NUMBER}( \d+)?"),
    Fault("hccl/timeout", "seconds", "servers that have loaded wait so long for the others, then end with EI0006; the "
          "plogs tell who did not come", _NUMBER),
    Fault("hccl/fails", "SECONDS [CODE]", "a server fails in HCCL so long after its start: its output has an error "
          "number, CANN's plog in its container the code (EI0006; EI0002, EI0011, EI0015)",
          rf"{_NUMBER}( EI00(02|06|11|15))?"),
    Fault("vllm/die_after_start", "SECONDS [EXIT]", "a server of the node (head, replica, prefill) dies so long after "
          "it began to serve, without a word", rf"{_NUMBER}( \d+)?"),
    Fault("vllm/late_seconds", "seconds", "every server of the node begins so much later", _NUMBER),
    Fault("vllm/wrong_rank", "number", "servers that are told a rank (data-parallel or node rank) announce this one",
          r"\d+"),
    Fault("vllm/wrong_address", "ADDRESS", "servers (and Ray's workers) look for the head at this address", _ADDRESS),
    Fault("vllm/die_at_first_token", "1", "health stays 200, every completion is a 500 EngineDeadError", _YES),
    Fault("vllm/health", "status", "/health answers with this status", r"\d{3}"),
    Fault("vllm/missing_engine", "number", "/metrics lacks this engine", r"\d+"),
    Fault("vllm/silent_engine", "number", "requests to this engine never end", r"\d+"),
    Fault("vllm/tokens_per_second", "number", "speed of one request", _NUMBER),
    Fault("log/error", "1 or text", "servers write this error (HCCL EI0006) into their logs, running ones at once"),
    Fault("ray/resource", "GPU or none", "Ray registers the node's dies under this name, or not at all", r"GPU|none"),
    Fault("ray/connect_seconds", "seconds", "ray start looks so long for its head (5 is usual)", _NUMBER),
    Fault("spec_decode/none", "1", "no guess of speculative decoding is ever right", _YES),
)  # fmt: skip


def set_fault(folder: Path, node: str, key: str, value: str = "1") -> None:
    """Make a fault on ``node``. Raises ``UsageError`` for a node, a fault or a value that isn't known."""
    place = _node(folder, node)
    _validate(folder, key, value)
    before = place.state.get(key)
    if before and before != value:
        place.state.clear(key)
        effects.undo(place, key, before)
    place.state.set(key, value)
    effects.do(place, key, value)
    _await_server(folder)


def clear_fault(folder: Path, node: str, key: str) -> None:
    """Take a fault away; one that isn't there is fine."""
    place = _node(folder, node)
    value = place.state.get(key)
    place.state.clear(key)
    if value:
        effects.undo(place, key, value)
    _await_server(folder)


def clear_faults(folder: Path, node: str) -> None:
    """Take all faults of ``node`` away; a whole folder that is missing comes back before what is in it is mended."""
    for key in sorted(faults_of(folder, node), key=lambda key: key != "weights/missing"):
        clear_fault(folder, node, key)


def faults_of(folder: Path, node: str) -> dict[str, str]:
    """The faults that ``node`` has."""
    state = _node(folder, node).state
    return {key: state.get(key) for key in state.all() if any(_pattern(known.key).fullmatch(key) for known in FAULTS)}


@contextmanager
def fault(folder: Path, node: str, key: str, value: str = "1") -> Iterator[None]:
    """A fault for the length of a block."""
    set_fault(folder, node, key, value)
    try:
        yield
    finally:
        clear_fault(folder, node, key)


def _validate(folder: Path, key: str, value: str) -> None:
    exact = [fault for fault in FAULTS if fault.key == key]
    known = next(iter(exact or [fault for fault in FAULTS if _pattern(fault.key).fullmatch(key)]), None)
    if known is None:
        raise UsageError(f"no such fault: {key}", hint="known are: " + ", ".join(fault.key for fault in FAULTS))
    if not re.fullmatch(known.pattern, value):
        raise UsageError(f"{key} cannot be {value!r}", hint=f"values are: {known.values}")
    if key.startswith("mount/") and not host.source_of(key.removeprefix("mount/")):
        raise UsageError(f"nothing is mounted from {key.removeprefix('mount/')}", hint=known.effect)
    peer = re.fullmatch(r"(?:tcp|npu/\d+/ping)/([\w.-]+)(?::\d+)?", key)
    if peer:
        _node(folder, peer[1])


def _node(folder: Path, name: str) -> Node:
    place = folder / "nodes" / name
    if not place.is_dir():
        known = ", ".join(sorted(p.name for p in (folder / "nodes").glob("*")))
        raise UsageError(f"no rehearsal node {name} in {folder}", hint=f"nodes are: {known or 'none'}")
    return Node(str(place.absolute()))  # its programs are run with the node's root as their folder


def _pattern(key: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"<\w+>", r"[\\w.:-]+", key))


def _await_server(folder: Path) -> None:
    """Tell the server that state changed and wait until it has followed, where one runs."""
    count = folder / "generation"
    number = str(int(count.read_text() or 0) + 1 if count.exists() else 1)
    count.write_text(number)
    until = monotonic() + _PATIENCE
    while monotonic() < until and server_pid(folder):
        if (folder / "applied").exists() and (folder / "applied").read_text() == number:
            return
        sleep(0.01)
