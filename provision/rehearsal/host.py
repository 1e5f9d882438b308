"""What the operating system of a node tells of itself: files of a healthy Atlas server, and how faults change them.

One pure function says what every file holds, for a given state of the node: a node is made with it, and a fault that is
set or cleared writes again what differs. So a healthy node is healthy on any machine, and faults on one file add up.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple
from zlib import crc32

from provision.rehearsal.node import Node
from provision.rehearsal.standins import cann, net
from provision.rehearsal.standins.launcher import write_executable, write_file
from provision.rehearsal.standins.npu import PCI, bus
from provision.rehearsal.standins.system import KERNEL
from provision.rehearsal.state import State

HDK = "25.5.1"
FIRMWARE = "7.8.0.6.201"
CANN = "8.5.1"

_WRITTEN = "host-files"
"""File that tells what was written last: ``digest path`` lines."""


class Link(NamedTuple):
    """A symbolic link instead of a text."""

    target: str


class Executable(NamedTuple):
    """A text that is a program."""

    text: str


Content = str | Link | Executable

SYSCTL = {
    "fs.file-max": "52706963",
    "kernel.numa_balancing": "0",
    "kernel.pid_max": "4194304",
    "kernel.sched_migration_cost_ns": "50000",
    "net.core.somaxconn": "4096",
    "net.ipv4.ip_local_port_range": "32768\t60999",
    "net.ipv4.ip_local_reserved_ports": "60000-60031",
    "vm.max_map_count": "655360",
    "vm.nr_hugepages": "0",
    "vm.overcommit_memory": "0",
    "vm.swappiness": "0",
}
"""Kernel parameters of a tuned server [domain.md 3.4, 4.4]."""

LIMITS = {"nofile": "1048576", "memlock": "unlimited", "nproc": "unlimited", "stack": "8388608", "core": "0"}
"""Resource limits of a login, in the kernel's units."""

_LIMIT_ROWS = {
    "stack": ("Max stack size", "bytes"),
    "core": ("Max core file size", "bytes"),
    "nproc": ("Max processes", "processes"),
    "nofile": ("Max open files", "files"),
    "memlock": ("Max locked memory", "bytes"),
}
_OS_RELEASE = """NAME="openEuler"
VERSION="{version} (LTS-SP4)"
ID="openEuler"
VERSION_ID="{version}"
PRETTY_NAME="openEuler {version} (LTS-SP4)"
ANSI_COLOR="0;31"
"""
_DRIVER = """Version={version}
ascendhal_version=7.35.23
aicpu_version=1.0
tdt_version=1.0
log_version=1.0
prof_version=2.0
dvppkernels_version=1.1
tsfw_version=1.0
Innerversion=V100R001C25SPC001B212
compatible_version=[V100R001C30],[V100R001C13],[V100R001C15],[V100R001C17],[V100R001C25]
compatible_version_fw=[7.0.0,7.9.99]
package_version={version}
"""
_FIRMWARE = """Version={version}
firmware_version=1.0
package_version=25.5.1
compatible_version_drv=[25.0.rc1,25.5.1.],[25.2.0,25.5.1.]
"""
_INSTALL = """UserName=HwHiAiUser
UserGroup=HwHiAiUser
Driver_Install_Type=full
Driver_Install_Path_Param=/usr/local/Ascend
Driver_Install_For_All=yes
Driver_Install_Mode=normal
Driver_Install_Status={status}
Firmware_Install_Type=full
Firmware_Install_Path_Param=/usr/local/Ascend
"""
_BOOT = (
    (6, 0.0, "Booting Linux on physical CPU 0x0000080000 [0x480fd020]"),
    (5, 0.0, "Linux version {kernel} (abuild@obs) #1 SMP"),
    (6, 3.911201, "pci 0000:7d:00.0: [19e5:a222] type 00 class 0x020000"),
    (6, 14.220115, "hns3 0000:7d:00.0 eth0: link up"),
    (6, 31.772014, "[ascend][drv_davinci_intf] davinci interface driver init success."),
    (6, 33.004127, "[ascend][devdrv][devdrv_probe 2204] Device probe end. (dev_id=0)"),
)
NPU_ERRORS = (
    "[ascend][ERROR][devdrv][devdrv_imu_mbx3_notifier 173] Get mntn message. (exception_id=0xa6193215)",
    "[ascend][ERROR][dms_module][dms_get_msg_from_ts 261] icm send msg failed. (cmd_type=33; ret=110)",
)
"""What the NPU driver writes into the kernel's log when a die goes wrong."""

_OOM = (
    "Out of memory: Killed process 48123 (VLLM::Worker_TP) total-vm:812345678kB, anon-rss:401234567kB, file-rss:0kB, "
    "shmem-rss:1234kB, UID:0 pgtables:812345kB oom_score_adj:0"
)
_SHM = ("psm_8f2d11a7", "sem.mp-x7k2q9vd")
"""Files that a killed server leaves in shared memory."""


def files(node: Node) -> dict[str, Content]:
    """Every file of the operating system by its path below the root, without the first slash."""
    made = [
        _identity(node), _sysctl(node.state), _processors(node), _memory(node), _limits(node.state), _network(node),
        _names(node), _security(node), _time(node.state), _mounts(node), _kernel_log(node),
        _docker_client(node.state),
    ]  # fmt: skip
    if node.is_npu:
        made += [_driver(node), _cann(node)]
    found = {path: content for part in made for path, content in part.items()}
    for folder, (faults, make) in _SHARED.items():
        found |= make(node) if _has(node.state, faults) else {folder: Link(_shared(node, folder))}
    return {path: content for path, content in found.items() if not _gone(node.state, path)}


def _has(state: State, faults: str) -> bool:
    """Whether there is a fault of these."""
    return any(re.fullmatch(faults, key) for key in state.all())


def _shared(node: Node, folder: str) -> str:
    """Where the folder is kept that healthy nodes of this kind have in common."""
    return f"{node.cluster_folder}/shared/{node.hardware}/{folder}"


def write(node: Node) -> None:
    """Make all files of a new node."""
    if not os.path.isdir(_shared(node, "sys")):
        for _, make in _SHARED.values():
            for path, content in make(node).items():
                _put(f"{node.cluster_folder}/shared/{node.hardware}", path, content)
    found = files(node)
    for path, content in found.items():
        _put(node.root, path, content)
    _remember(node, found)


def follow(node: Node) -> None:
    """Bring the files in line with the node's state. What the state doesn't change stays as an operator left it."""
    found, before = files(node), _remembered(node)
    for path in before.keys() - found.keys():
        _remove(f"{node.root}/{path}")
    for path, content in found.items():
        if before.get(path) != _digest(content):
            _put(node.root, path, content)
    _remember(node, found)


def _identity(node: Node) -> dict[str, Content]:
    state = node.state
    kernel = kernel_of(node)
    return {
        "etc/os-release": _OS_RELEASE.format(version=state.get("os/version", "22.03")),
        "proc/version": f"Linux version {kernel} (abuild@obs) #1 SMP\n",
        "proc/sys/kernel/osrelease": f"{kernel}\n",
        "proc/sys/kernel/ostype": "Linux\n",
        "proc/sys/kernel/hostname": f"{node.name}\n",
        "proc/sys/kernel/random/boot_id": f"{boot_id(node)}\n",
        "proc/cmdline": "BOOT_IMAGE=/vmlinuz root=/dev/nvme0n1p2 ro crashkernel=2048M\n",
        "proc/loadavg": "1.52 1.40 1.31 2/3120 48123\n",
    }


def boot_id(node: Node) -> str:
    """Which boot this is: another one each time (``boot/count``)."""
    return f"7a1f0c4e-52a9-4a86-{0x9D5A + int(node.state.number('boot/count')):04x}-{node.number:012x}"


def kernel_of(node: Node) -> str:
    """What ``uname -r`` says."""
    return node.state.get("kernel/version", f"{KERNEL}.{'aarch64' if node.is_npu else 'x86_64'}")


def _sysctl(state: State) -> dict[str, Content]:
    names = {*SYSCTL, *(key.removeprefix("sysctl/") for key in state.all("sysctl/"))}
    given = {name: state.get(f"sysctl/{name}", SYSCTL.get(name, "")) for name in names}
    texts = {name: "" if value == "none" else value for name, value in given.items()}
    return {f"proc/sys/{name.replace('.', '/')}": f"{value}\n" for name, value in texts.items()}


def _processors(node: Node) -> dict[str, Content]:
    """/sys/devices: frequency policies; four processors tell for all of them."""
    governor = node.state.get("governor", "performance")
    cpu = "sys/devices/system/cpu"
    return {
        **{f"{cpu}/cpu{n}/cpufreq/scaling_governor": f"{governor}\n" for n in range(4)},
        f"{cpu}/cpufreq/policy0/scaling_governor": f"{governor}\n",
        f"{cpu}/online": f"0-{cpus_of(node) - 1}\n",
    }


def _pages(node: Node) -> dict[str, Content]:
    """/sys/kernel/mm: transparent and reserved huge pages."""
    huge, count = node.state.get("thp", "madvise"), int(node.state.number("hugepages"))
    policies = " ".join(f"[{word}]" if word == huge else word for word in ("always", "madvise", "never"))
    folder = "sys/kernel/mm/hugepages/hugepages-2048kB"
    return {
        "sys/kernel/mm/transparent_hugepage/enabled": f"{policies}\n",
        "sys/kernel/mm/transparent_hugepage/defrag": "always defer defer+madvise [madvise] never\n",
        f"{folder}/nr_hugepages": f"{count}\n",
        f"{folder}/free_hugepages": f"{count}\n",
    }


def _cpuinfo(node: Node) -> dict[str, Content]:
    """/proc/cpuinfo, the same for ever."""
    if node.is_npu:
        one = "processor\t: {n}\nBogoMIPS\t: 200.00\nFeatures\t: fp asimd evtstrm aes sha1 sha2 crc32 atomics\n"
        one += (
            "CPU implementer\t: 0x48\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0xd02\nCPU revision\t: 0\n\n"
        )
    else:
        one = "processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Platinum 8480+\n\n"
    return {"proc/cpuinfo": "".join(one.format(n=n) for n in range(cpus_of(node)))}


def cpus_of(node: Node) -> int:
    """How many processors a server of this kind has."""
    return {"atlas-800-a3": 320, "atlas-800-a2": 192}.get(node.hardware, 64)


def _memory(node: Node) -> dict[str, Content]:
    """/proc/meminfo, swap and huge pages. Faults are in MB, huge pages in pages of 2 MB."""
    state = node.state
    usual = {"atlas-800-a3": 2 << 20, "atlas-800-a2": 1 << 20}.get(node.hardware, 256 << 10)
    total = int(state.number("memory/total", usual)) * 1024
    pages = int(state.number("hugepages"))
    available = int(state.number("memory/available", (total * 9 // 10 - pages * 2048) // 1024)) * 1024
    swap, swapped = (16384 * 1024, int(state.number("swap")) * 1024) if state.get("swap") else (0, 0)
    rows = {"MemTotal": total, "MemFree": available * 8 // 9, "MemAvailable": available, "Buffers": 812344,
            "Cached": total // 20, "SwapTotal": swap, "SwapFree": swap - swapped, "Shmem": 104857}  # fmt: skip
    lines = [f"{key + ':':<16}{value:>11} kB" for key, value in rows.items()]
    lines += [f"HugePages_Total:{pages:8}", f"HugePages_Free: {pages:8}", "Hugepagesize:       2048 kB"]
    swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    swaps += f"/dev/nvme0n1p3                          partition\t{swap}\t{swapped}\t-2\n" if swap else ""
    return {
        "proc/meminfo": "\n".join(lines) + "\n",
        "proc/swaps": swaps,
        **{f"dev/shm/{name}": "left over\n" for name in _names_of(state.get("shm/leftover"), _SHM)},
    }


def _names_of(value: str, usual: tuple[str, ...]) -> tuple[str, ...]:
    """Names in a fault's value; ``1`` stands for the usual ones."""
    return usual if value == "1" else tuple(value.split())


def limit(state: State, name: str) -> tuple[str, str]:
    """Soft and hard limit, in the kernel's units; a fault gives one for both, or two."""
    words = state.get(f"limits/{name}", LIMITS[name]).split()
    return words[0], words[-1]


def _limits(state: State) -> dict[str, Content]:
    lines = [f"{'Limit':<26}{'Soft Limit':<21}{'Hard Limit':<21}Units     "]
    for name, (title, unit) in _LIMIT_ROWS.items():
        soft, hard = limit(state, name)
        lines.append(f"{title:<26}{soft:<21}{hard:<21}{unit:<10}")
    text = "\n".join(lines) + "\n"
    given = {name: limit(state, name) for name in LIMITS}
    kept = "".join(f"*\tsoft\t{name}\t{soft}\n*\thard\t{name}\t{hard}\n" for name, (soft, hard) in given.items())
    return {"proc/self/limits": text, "proc/1/limits": text, "etc/security/limits.conf": kept}


def _network(node: Node) -> dict[str, Content]:
    found: dict[str, Content] = {**net.static_files(node)}
    for card in net.cards(node):
        folder = f"sys/class/net/{card.name}"
        values = {"mtu": card.mtu, "operstate": card.state, "address": card.mac}
        up = {"carrier": int(card.state != "down"), "duplex": "full"}
        values |= {} if card.speed is None else {"speed": card.speed, **up}
        found |= {f"{folder}/{key}": f"{value}\n" for key, value in values.items()}
    return found


def _names(node: Node) -> dict[str, Content]:
    own = node.state.get("dns/hostname", node.address)
    lines = ["127.0.0.1 localhost", *([f"{own} {node.name}"] if own != "none" else [])]
    return {
        "etc/hosts": "\n".join(lines) + "\n",
        "etc/hostname": f"{node.name}\n",
        "etc/resolv.conf": "nameserver 127.0.0.53\n",
    }


def _security(node: Node) -> dict[str, Content]:
    """SELinux, the kernel's packet filters, and the one firewall tool that only its own distribution has."""
    mode = node.state.get("selinux", "Disabled")
    found: dict[str, Content] = {"etc/selinux/config": f"SELINUX={mode.lower()}\nSELINUXTYPE=targeted\n"}
    if mode != "Disabled":
        found["sys/fs/selinux/enforce"] = f"{int(mode == 'Enforcing')}"
    found |= {"sys/module/nf_tables/initstate": "live\n", "proc/net/ip_tables_names": "filter\n"}
    if node.state.get("firewall") == "ufw":
        found["etc/ufw/ufw.conf"] = "ENABLED=yes\nLOGLEVEL=low\n"
        found["usr/sbin/ufw"] = Executable(_UFW)
    return found


_UFW = """#!/bin/sh
case $1 in
status)
  printf 'Status: active\\nLogging: on (low)\\nDefault: deny (incoming), allow (outgoing), deny (routed)\\n'
  printf 'New profiles: skip\\n\\n'
  printf 'To                         Action      From\\n--                         ------      ----\\n'
  printf '22/tcp                     ALLOW IN    Anywhere\\n' ;;
*) echo 'ERROR: Invalid syntax' >&2; exit 1 ;;
esac
"""


def _time(state: State) -> dict[str, Content]:
    """A time service that has synchronised; ``timesync`` = off: it has not, none: there is no service."""
    fault = state.get("timesync")
    found: dict[str, Content] = {"etc/localtime": Link("/usr/share/zoneinfo/UTC")}
    if fault != "none":
        found["run/chrony/chronyd.pid"] = "812\n"
        found["etc/chrony.conf"] = (
            "pool pool.ntp.org iburst\ndriftfile /var/lib/chrony/drift\nmakestep 1.0 3\nrtcsync\n"
        )
    if not fault:
        found["run/systemd/timesync/synchronized"] = ""
    return found


def _mounts(node: Node) -> dict[str, Content]:
    state = node.state
    lines = [f"/dev/nvme0n1p2 / ext4 {'ro' if state.get('disk/read_only') else 'rw'},relatime 0 0"]
    lines += ["tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0"]
    lines += [
        f"/dev/nvme1n1p{i} /{name} ext4 rw,relatime 0 0"
        for i, name in enumerate(PLACES, 1)
        if state.get(f"disk/{name}")
    ]
    lines += [] if state.get("share/unmounted") else ["storage:/export /share nfs4 rw,relatime,vers=4.2 0 0"]
    shared = f"{node.cluster_folder}/share"
    return {
        "proc/mounts": "\n".join(lines) + "\n",
        **({"share/.local": ""} if state.get("share/unmounted") else {"share": Link(shared)}),
    }


PLACES = ("tmp", "data", "var")
"""Folders that a fault gives a file system of their own."""


def _kernel_log(node: Node) -> dict[str, Content]:
    """The kernel's messages as /dev/kmsg levels them: ``<3>[   12.345678] text``; a fault's are as old as the fault."""
    state = node.state
    boot = _BOOT if node.is_npu else _BOOT[:-2]
    rows = [(level, at, text.format(kernel=kernel_of(node))) for level, at, text in boot]
    for key, level, usual in (("npu", 3, NPU_ERRORS), ("oom", 3, (_OOM,)), ("line", 3, ())):
        value = state.get(f"dmesg/{key}")
        rows += [(level, _since_boot(state, f"dmesg/{key}"), t) for t in (usual if value == "1" else (value,)) if t]
    return {"var/log/.kernel": "".join(f"<{level}>[{at:12.6f}] {text}\n" for level, at, text in rows)}


def _since_boot(state: State, key: str) -> float:
    """When the fault was set, in seconds since the machine's boot."""
    with open("/proc/stat", encoding="ascii") as file:
        booted = next((int(line.split()[1]) for line in file if line.startswith("btime")), 0)
    return max(0.0, os.path.getmtime(os.path.join(state.folder, *key.split("/"))) - booted)


def _docker_client(state: State) -> dict[str, Content]:
    """Proxies that docker's client hands to every container."""
    proxy = state.get("proxy")
    text = f'{{"proxies": {{"default": {{"httpProxy": "{proxy}", "httpsProxy": "{proxy}", "noProxy": ""}}}}}}\n'
    return {"root/.docker/config.json": text} if proxy else {}


def _driver(node: Node) -> dict[str, Content]:
    state, base = node.state, "usr/local/Ascend"
    found: dict[str, Content] = {
        f"{base}/driver/version.info": _DRIVER.format(version=_installed(state, "driver", HDK)),
        f"{base}/firmware/version.info": _FIRMWARE.format(version=_installed(state, "firmware", FIRMWARE)),
        "etc/ascend_install.info": _INSTALL.format(status=state.get("driver/install_status", "complete")),
        f"{base}/driver/lib64/common/libc_sec.so": "",
        f"{base}/driver/lib64/driver/libascend_hal.so": "",
        "usr/local/dcmi/libdcmi.so": "",
        "etc/hccn.conf": "".join(f"{line}\n" for line in _hccn_conf(node)),
    }
    return found


def _installed(state: State, part: str, usual: str) -> str:
    """The version on the disk; the one that runs is another until the next boot."""
    return state.get(f"{part}/installed") or state.get(f"{part}/version", usual)


def _hccn_conf(node: Node) -> Iterator[str]:
    """/etc/hccn.conf: the addresses that the driver configures at boot; the same that hccn_tool tells."""
    network = f"29.{node.number}.0.1"
    for device in range(node.dies):
        address = node.state.get(f"hccn_conf/{device}", f"29.{node.number}.112.{device + 10}")
        if address == "none":
            continue
        values = {"address": address, "netmask": "255.255.0.0", "netdetect": network, "gateway": network}
        yield from (f"{key}_{device}={value}" for key, value in values.items())
        yield f"send_arp_status_{device}=1"


def _cann(node: Node) -> dict[str, Content]:
    version = node.state.get("cann/version", CANN)
    if version == "none":
        return {}
    links: dict[str, Content] = {path: Link(target) for path, target in cann.links(version).items()}
    nnal: dict[str, Content] = {}
    if node.state.get("cann/nnal") != "missing":
        nnal = {**cann.nnal_files(version), "usr/local/Ascend/nnal/atb/latest": Link(version)}
    return {**cann.files(version, "aarch64"), **links, **nnal}


class PciDevice(NamedTuple):
    """A function on the PCI bus; numbers are hexadecimal."""

    address: str
    kind: str
    vendor: str
    device: str


def _pci(node: Node) -> dict[str, Content]:
    """/sys/bus/pci, and the list that lspci prints. The vendor of the NPUs has made more of a server than its NPUs."""
    bridge, screen, card = (("19e5", "a120"), ("19e5", "1711"), ("19e5", "a222"))
    if not node.is_npu:
        bridge, screen, card = (("8086", "1bff"), ("1a03", "2000"), ("8086", "159b"))
    found = [
        PciDevice("0000:00:00.0", "0604", *bridge),
        PciDevice("0000:06:00.0", "0300", *screen),
        PciDevice("0000:7d:00.0", "0200", *card),
        PciDevice("0000:04:00.0", "0108", "144d", "a808"),
    ]
    for die in range(node.dies):
        if not node.state.get(f"npu/{die}/missing") and not node.state.get(f"pci/{die}/missing"):
            found.append(PciDevice(bus(node, die).lower(), "1200", "19e5", PCI[node.hardware]))
    found.sort()
    table = "".join(f"{item.address} {item.kind} {item.vendor} {item.device}\n" for item in found)
    files: dict[str, Content] = {"sys/bus/pci/.lspci": table}
    for item in found:
        folder = f"sys/bus/pci/devices/{item.address}"
        files |= {f"{folder}/vendor": f"0x{item.vendor}\n", f"{folder}/device": f"0x{item.device}\n"}
        files |= {f"{folder}/class": f"0x{item.kind}00\n"}
    return files


_SHARED = {
    "proc/cpuinfo": ("", _cpuinfo),
    "sys/devices": ("governor", _processors),
    "sys/kernel": ("thp|hugepages", _pages),
    "sys/bus": (r"(npu|pci)/\d+/missing", _pci),
}
"""Folders that are equal on all healthy nodes: by the faults that make one differ, and what makes its files."""

_SOURCES = {
    "dcmi": "usr/local/dcmi",
    "lib64": "usr/local/Ascend/driver/lib64",
    "version.info": "usr/local/Ascend/driver/version.info",
    "ascend_install.info": "etc/ascend_install.info",
    "hccn.conf": "etc/hccn.conf",
}
"""What containers mount, by the name in a fault ``mount/<name>``."""


def _gone(state: State, path: str) -> bool:
    """Whether a fault took the file away: it is missing, or docker made a folder in its place."""
    return any(
        (path == source or path.startswith(f"{source}/")) and state.get(f"mount/{name}")
        for name, source in _SOURCES.items()
        if path[:3] in ("usr", "etc")
    )


def source_of(name: str) -> str:
    """The path that ``mount/<name>`` is about, without the first slash; empty for an unknown name."""
    tools = {"hccn_tool": "usr/local/Ascend/driver/tools/hccn_tool", "npu-smi": "usr/local/bin/npu-smi"}
    return {**_SOURCES, **tools}.get(name, "")


def _put(root: str, path: str, content: Content) -> None:
    full = f"{root}/{path}"
    try:
        _create(full, content)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(full), exist_ok=True)
        _create(full, content)


def _create(path: str, content: Content) -> None:
    if isinstance(content, Link):
        with suppress(FileExistsError):
            os.symlink(content.target, path)
            return
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        os.symlink(content.target, path)
        return
    if isinstance(content, Executable):
        write_executable(path, content.text)
    else:
        write_file(path, content)


def _digest(content: Content) -> str:
    return f"{crc32(repr(content).encode()):08x}"


def _remove(path: str) -> None:
    """Take a file away, and the folders that are empty without it."""
    try:
        os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    while os.path.basename(path := os.path.dirname(path)) not in ("root", "etc", "shm", "sbin"):
        try:
            os.rmdir(path)
        except OSError:
            return


def _remember(node: Node, found: Mapping[str, Content]) -> None:
    with open(os.path.join(node.folder, _WRITTEN), "w", encoding="utf-8") as file:
        file.write("".join(f"{_digest(content)} {path}\n" for path, content in found.items()))


def _remembered(node: Node) -> dict[str, str]:
    with open(os.path.join(node.folder, _WRITTEN), encoding="utf-8") as file:
        return {path: digest for digest, _, path in (line.rstrip("\n").partition(" ") for line in file)}
