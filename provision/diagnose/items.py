"""What is collected of a node, as data, and the script that sends it.

What explains a failed launch comes first (what the servers said, CANN's logs, the kernel's), tools that may hang come
last: then a node that gets no further has told the most. npu-smi and hccn_tool run one after the other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from provision import clock
from provision.diagnose.manifest import Kind
from provision.inventory.model import Settings
from provision.resources import shipped
from provision.serve import launch
from provision.shell import quote

Part = Literal["servers", "plog", "ray", "kernel", "driver", "host", "launch", "npu", "hccn"]
PARTS: tuple[Part, ...] = ("servers", "plog", "ray", "kernel", "driver", "host", "launch", "npu", "hccn")

MB = 1_000_000
PLOG = "/root/ascend/log"
"""Where CANN writes, unless ASCEND_PROCESS_LOG_PATH says otherwise."""

HCCN = (
    "link",
    "net_health",
    "ip",
    "link_stat",
    "stat",
    "tls",
    "netdetect",
    "gateway",
    "fec",
    "optical",
    "route",
    "lldp",
)
"""What is read of each device [domain.md section 3.1]; the last ones are the slowest."""

NPU_SMI = ("health", "ecc", "usages", "common", "board")
"""What is read of each die."""


@dataclass(frozen=True, slots=True)
class Item:
    """What ``command``, a line of sh, prints; its end where it is longer than ``cap`` bytes. Each program in it has its
    own time limit. ``optional``: only where this program is."""

    part: Part
    kind: Kind
    path: str
    command: str
    told: str
    cap: int = 4 * MB
    optional: str = ""


@dataclass(frozen=True, slots=True)
class Log:
    """A file of the host's, of ``files`` the first that is there."""

    part: Part
    kind: Kind
    path: str
    files: tuple[str, ...]
    cap: int = 16 * MB


@dataclass(frozen=True, slots=True)
class Tree:
    """A folder of the host's; of a part that NPUs alone have."""

    part: Part
    kind: Kind
    path: str
    folder: str


KERNEL: tuple[Item | Log, ...] = (
    Item(
        "kernel",
        "kernel",
        "host/dmesg",
        "timeout -k 2 20 dmesg -T 2>/dev/null || timeout -k 2 20 dmesg",
        "dmesg -T",
        16 * MB,
    ),
    Item(
        "kernel",
        "journal",
        "host/journal.log",
        "timeout -k 2 30 journalctl --no-pager -o short-iso -k -n 20000",
        "journalctl -k -n 20000",
        16 * MB,
        optional="journalctl",
    ),
    Item(
        "kernel",
        "journal",
        "host/docker.log",
        "timeout -k 2 30 journalctl --no-pager -o short-iso -u docker -u containerd -n 5000",
        "journalctl -u docker -u containerd -n 5000",
        optional="journalctl",
    ),
    Log("kernel", "kernel", "host/messages", ("/var/log/messages", "/var/log/syslog", "/var/log/kern.log")),
    Log("kernel", "kernel", "host/sysmonitor.log", ("/var/log/sysmonitor.log",)),
)

HOST: tuple[Item, ...] = (
    Item(
        "host",
        "state",
        "host/versions.txt",
        "uname -a; cat /etc/os-release; timeout -k 2 20 docker --version; timeout -k 2 20 docker version",
        "uname, os-release, docker version",
    ),
    Item("host", "state", "host/containers.txt", "timeout -k 2 20 docker ps -a", "docker ps -a"),
    Item(
        "host",
        "state",
        "host/inspect.json",
        # of what looks like a secret not even the value leaves the node
        '[ -z "$_ids" ] || timeout -k 2 30 docker inspect $_ids | sed -E '
        '\'s/"([A-Za-z0-9_]*(TOKEN|SECRET|PASSW|ACCESS_KEY|API_KEY|PRIVATE_KEY|CREDENTIAL)[A-Za-z0-9_]*)=[^"]*"/'
        '"\\1=********"/g\'',
        "docker inspect",
    ),
    Item(
        "host",
        "state",
        "host/memory.txt",
        "cat /proc/meminfo; echo; cat /proc/loadavg; echo; timeout -k 2 10 df -P -k; echo; cat /proc/mounts",
        "meminfo, loadavg, df, mounts",
    ),
    Item(
        "host",
        "state",
        "host/processes.txt",
        "timeout -k 2 10 ps -eo pid,ppid,stat,etime,rss,args || timeout -k 2 10 ps",
        "ps -eo pid,ppid,stat,etime,rss,args",
    ),
    Item(
        "host",
        "state",
        "host/network.txt",
        "timeout -k 2 10 ip addr; echo; timeout -k 2 10 ip route; echo; cat /etc/hosts",
        "ip addr, ip route, /etc/hosts",
    ),
    Item("host", "state", "host/sockets.txt", "timeout -k 2 10 ss -tanp", "ss -tanp", optional="ss"),
    Item(
        "host",
        "state",
        "host/clock.txt",
        "date -u '+%Y-%m-%dT%H:%M:%SZ'; date; timeout -k 2 10 chronyc tracking || timeout -k 2 10 timedatectl",
        "date, chronyc tracking, timedatectl",
    ),
)

DRIVER: tuple[Tree, ...] = (
    Tree("driver", "driver", "device_log", "/var/log/npu"),
    Tree("driver", "driver", "device_log/ascend_seclog", "/var/log/ascend_seclog"),
)


@dataclass(frozen=True, slots=True)
class Caps:
    """Bytes of a file and of a node at most; ``tools``: seconds that npu-smi and hccn_tool may take together.
    ``brief``: only what is quick to have. A call of such a tool takes up to a second, and the sweep has 300."""

    max_file: int
    max_node: int
    tools: int
    brief: bool = False


def script(settings: Settings, caps: Caps, *, since: str = "", without: frozenset[str] = frozenset()) -> str:
    """What sends all of it, as a POSIX-sh script that only reads."""
    wanted = [part for part in PARTS if part not in without]
    npu = settings.hardware != "cpu"
    parts = [_functions(), f"_max={caps.max_file}\n", _containers(settings)]
    if "servers" in wanted:
        parts.append(_servers(caps, since))
    if "plog" in wanted and npu:
        parts.append(_plogs(settings, caps, since))
    if "launch" in wanted:
        folder = quote(launch.script_folder(settings))
        parts.append(f"_tree launch @launch '' {MB} {10 * MB} {folder} -name '*.sh'\n")
    if "kernel" in wanted:
        parts += ["_doing 'kernel log and journal'\n", *map(_rendered, KERNEL)]
    if "driver" in wanted and npu:
        parts += ["_doing 'logs of the driver'\n", *(_tree(tree, caps, since) for tree in DRIVER)]
    if "ray" in wanted and settings.serve.topology == "ray":
        parts.append(_ray(settings, caps, since))
    if "host" in wanted:
        parts += ["_doing 'versions, containers, network'\n", *map(_rendered, HOST)]
        parts += [] if caps.brief else [_PACKAGES]
    if npu and ("npu" in wanted or "hccn" in wanted):
        parts.append(_tools(settings, caps, without))
    return "".join(parts) + "printf '@done\\n' | _z\n"


def _functions() -> str:
    text = (shipped("templates") / "collect" / "collect.sh").read_text(encoding="utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def _containers(settings: Settings) -> str:
    """``_all``: lines of id and process. A daemon that hangs costs its time limit once."""
    label = quote(f"label=qnext.cluster={settings.cluster}")
    form = "'{{.ID}} {{.Label \"qnext.process\"}}'"
    return f"""\
_doing 'docker ps'
_err=$(timeout -k 2 30 docker ps -a --filter {label} --format {form} 2>&1); _rc=$?
_all= _count=0 _ids=
if [ $_rc = 0 ]; then
_all=$_err
_count=$(printf '%s\\n' "$_all" | grep -c .)
_ids=$(printf '%s\\n' "$_all" | cut -d' ' -f1 | tr '\\n' ' ')
else _omit stdout containers.log '' 0 "docker ps: exit status $_rc: $(printf '%s' "$_err" | tail -n 1 | tr '\\t' ' ')"
fi
[ "$_count" -gt 0 ] || _count=1
_each() {{ printf '%s\\n' "$_all" | while read -r _id _name; do [ -z "$_id" ] || "$@"; done; }}
"""


def _servers(caps: Caps, since: str) -> str:
    options = f" --since {quote(since)}" if since else ""
    return f"""\
_cap=$(({caps.max_node // 2} / _count)); [ $_cap -lt $_max ] || _cap=$_max; _capped=$_cap
_said() {{ _doing "docker logs of $_name"
_take stdout file "$_name.log" "$_name" $_capped "docker logs --timestamps{options} $_name" \\
timeout -k 2 120 docker logs --timestamps{options} "$_id"
}}
_each _said
"""


def _plogs(settings: Settings, caps: Caps, since: str) -> str:
    """CANN's logs out of containers; where servers are plain processes, they are the host's."""
    if settings.install.method == "source":
        share = caps.max_node // 4
        newer = _newer(since)
        return f"_doing 'logs of CANN'\n_tree plog process_log/host '' $_max {share} {PLOG}{newer}\n"
    return _folders("plog", "process_log", "", caps, "", since)


def _ray(settings: Settings, caps: Caps, since: str) -> str:
    """Ray's session logs out of containers; where servers are plain processes, the host's."""
    folder = "tmp/ray/session_latest/logs"
    if settings.install.method == "source":
        words = f"ray ray/host '' $_max {caps.max_node // 4}"
        return f"_doing 'logs of Ray'\n_within '' {folder} && _tree {words} \"$_at\"{_newer(since)}\n"
    return _folders("ray", "ray", folder, caps, "-L", since)


def _folders(kind: Kind, path: str, folder: str, caps: Caps, option: str, since: str) -> str:
    """The same folder out of every container; of CANN's logs the place is asked for. The newest files come, where the
    host can reach them; what ``docker cp`` gives has the engine's order, and its beginning is kept. Docker takes paths
    in a container from its root, with a slash before them or without."""
    where = (
        f"_where={quote(folder)}"
        if folder
        else "_where=$(timeout -k 2 20 docker inspect --type container --format "
        "'{{range .Config.Env}}{{println .}}{{end}}' \"$_id\" 2>/dev/null "
        f"| sed -n 's,^ASCEND_PROCESS_LOG_PATH=/,,p' | tail -n 1); _where=${{_where:-{PLOG.lstrip('/')}}}"
    )
    return f"""\
_share=$(({caps.max_node // 4} / _count))
_copied() {{ {where}
_doing "/$_where in $_name"
if _reach "$_id" "$_where"; then _tree {kind} "{path}/$_name" "$_name" $_max $_share "$_at"{_newer(since)}; return; fi
_take {kind} tar "{path}/$_name" "$_name" $_share "docker cp $_name:/$_where -" _cp 180 '{option}' "$_id:$_where"
}}
_each _copied
"""


_PACKAGES = """\
_pip() { _take state file "host/pip-$_name.txt" "$_name" 1000000 "docker exec $_name python3 -m pip list" \\
timeout -k 2 30 docker exec "$_id" python3 -m pip list --format=freeze --disable-pip-version-check; }
_running() { timeout -k 2 10 docker ps --format '{{.ID}}' 2>/dev/null | grep -q "^$_id" && _pip; }
_each _running
"""


def _tools(settings: Settings, caps: Caps, without: frozenset[str]) -> str:
    """One file of all: what MindCluster calls npu_info_after.txt."""
    super_pod = settings.hardware == "atlas-800-a3"
    dies = "-" if caps.brief else " ".join((*NPU_SMI, "spod-info") if super_pod else NPU_SMI)
    reads = HCCN[0] if caps.brief else " ".join((*HCCN, "vnic") if super_pod else HCCN)
    more = " 'a short look, of all dies at once and of links alone: `logs collect` asks for everything'"
    words = f"{caps.tools} '{'' if 'npu' in without else dies}' '{'' if 'hccn' in without else reads}'"
    told = quote("npu-smi and hccn_tool")
    return f"""\
_doing {told}
_take state file environment_check/npu_info_after.txt '' {8 * MB} {told} _npu_info {words}{more if caps.brief else ""}
"""


def _rendered(item: Item | Log) -> str:
    if isinstance(item, Log):
        files = " ".join(map(quote, item.files))
        return (
            f'for _f in {files}; do if [ -r "$_f" ]; then '
            f"_file {item.kind} {item.path} '' {item.cap} \"$_f\"; break; fi; done\n"
        )
    only = f"! command -v {item.optional} >/dev/null 2>&1 || " if item.optional else ""
    told = quote(item.told)
    return f"_do() {{ {item.command}; }}\n{only}_take {item.kind} file {item.path} '' {item.cap} {told} _do\n"


def _tree(tree: Tree, caps: Caps, since: str) -> str:
    share = caps.max_node // 8
    return f"_tree {tree.kind} {tree.path} '' $_max {share} {tree.folder}{_newer(since)}\n"


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def _newer(since: str) -> str:
    """find's words for files that were written to since then; "" where that can't be told."""
    seconds = seconds_since(since)
    return "" if seconds is None else f" -mmin -{int(seconds // 60) + 1}"


def seconds_since(since: str) -> float | None:
    """``10m``, ``1h30m``, an epoch or a time of RFC 3339, as seconds before now; None for anything else."""
    if amounts := re.fullmatch(r"(?:\d+(?:\.\d+)?(?:h|ms|m|s))+", since):
        parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|m|s)", amounts[0])
        return sum(float(number) * _UNITS[unit] for number, unit in parts)
    if re.fullmatch(r"\d{9,11}(\.\d+)?", since):
        return max(0.0, clock.now() - float(since))
    try:
        moment = datetime.fromisoformat(since)
    except ValueError:
        return None
    return max(0.0, clock.now() - (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
