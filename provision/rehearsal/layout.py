"""Makes a node: its file system as an operator would find it on an Atlas server, and its commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from provision.rehearsal.node import FACTS, Node
from provision.rehearsal.standins import net, system
from provision.rehearsal.standins.launcher import write_executable, write_launcher
from provision.rehearsal.standins.shell import MAPPED, WRAPPER
from provision.rehearsal.weights import write_weights

MODEL = "/data/weights/Qwen3-Next-80B-A3B-Instruct"
HDK = "25.5.1"

_COMMANDS = {
    "docker": "docker.cli",
    "ps": "ps",
    "pgrep": "ps",
    "sudo": "sudo",
}
_INSIDE = {
    "bash": "inside",
    "sh": "inside",
    "pip": "inside",
    "pip3": "inside",
    "python3": "inside",
    "vllm": "vllm.cli",
    "npu-smi": "npu_smi",
}
_USERS = ("operator", "sudoer", "deploy")

_FOLDERS = ["tmp", "opt", "mnt", "root/.cache", "dev/shm", "run/chrony", "var/lib/docker", "var/log", "var/tmp"]

_OS_RELEASE = """NAME="openEuler"
VERSION="22.03 (LTS-SP4)"
ID="openEuler"
VERSION_ID="22.03"
PRETTY_NAME="openEuler 22.03 (LTS-SP4)"
ANSI_COLOR="0;31"
"""
_DRIVER = f"""Version={HDK}
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
package_version={HDK}
"""
_FIRMWARE = f"""Version=7.8.0.6.201
firmware_version=1.0
package_version={HDK}
compatible_version_drv=[25.0.rc1,25.5.1.],[25.2.0,25.5.1.]
"""
_INSTALL = """UserName=HwHiAiUser
UserGroup=HwHiAiUser
Driver_Install_Type=full
Driver_Install_Path_Param=/usr/local/Ascend
Driver_Install_For_All=yes
Driver_Install_Mode=normal
Driver_Install_Status=complete
Firmware_Install_Type=full
Firmware_Install_Path_Param=/usr/local/Ascend
"""
_PASSWD = """root:x:0:0:root:/root:/bin/sh
operator:x:1000:1000::/home/operator:/bin/sh
sudoer:x:1001:1001::/home/sudoer:/bin/sh
deploy:x:1002:1002::/home/deploy:/bin/sh
HwHiAiUser:x:1003:1003::/home/HwHiAiUser:/sbin/nologin
"""


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
    _launcher(node, node.folder, "shim", "docker.shim")
    _launcher(node, node.folder, "rewriting-sh", "shell")
    system.write_scripts(node, folder, arch=arch(node.hardware), cpus=_cpus(node))
    system.link_real(folder)
    system.link_real(node.inside)
    wrapper = WRAPPER.format(root=node.root, mapped=MAPPED, rewriting=f"'{node.folder}/rewriting-sh'")
    for name in ("sh", "bash", "dash"):
        write_executable(f"{folder}/{name}", wrapper)
    for name in ("bin", "sbin"):
        os.symlink(f"usr/{name}", f"{node.root}/{name}")


def _launcher(node: Node, folder: str, name: str, module: str) -> None:
    write_launcher(folder, name, module, node=node.folder, python=node.python, code=node.code,
                   cache=os.path.join(node.cluster_folder, "pycache"))  # fmt: skip


def _cpus(node: Node) -> int:
    return {"atlas-800-a3": 320, "atlas-800-a2": 192}.get(node.hardware, 64)


def _write_files(node: Node) -> None:
    memory = {"atlas-800-a3": 2 << 30, "atlas-800-a2": 1 << 30}.get(node.hardware, 256 << 20)
    files = {
        "etc/os-release": _OS_RELEASE,
        "etc/passwd": _PASSWD,
        "etc/group": "root:x:0:\noperator:x:1000:\nsudo:x:27:sudoer\ndocker:x:998:\n",
        "etc/hostname": f"{node.name}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{node.address} {node.name}\n",
        "etc/resolv.conf": "nameserver 127.0.0.53\n",
        "proc/meminfo": _meminfo(memory),
        "proc/loadavg": "1.52 1.40 1.31 2/3120 48123\n",
        "proc/cpuinfo": _cpuinfo(node),
        "proc/version": f"Linux version {system.KERNEL} (abuild@obs) #1 SMP\n",
        "proc/mounts": "/dev/nvme0n1p2 / ext4 rw,relatime 0 0\ntmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0\n",
        **net.static_files(node),
        **net.live_files(node),
        "proc/sys/kernel/random/boot_id": f"7a1f0c4e-52a9-4a86-9d5a-{node.number:012x}\n",
        "proc/sys/kernel/hostname": f"{node.name}\n",
        "proc/sys/vm/swappiness": "60\n",
        "proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
        "run/systemd/timesync/synchronized": "",
    }
    for number, name in enumerate(("lo", net.INTERFACE)):
        files[f"sys/class/net/{name}/mtu"] = "65536\n" if name == "lo" else "1500\n"
        files[f"sys/class/net/{name}/operstate"] = "unknown\n" if name == "lo" else "up\n"
        files[f"sys/class/net/{name}/address"] = net.MAC.format(number=number) + "\n"
    for path, text in files.items():
        _write(node, path, text)
    for name in (*_FOLDERS, *(f"home/{user}" for user in _USERS)):
        os.makedirs(f"{node.root}/{name}", exist_ok=True)
    os.symlink("/usr/share/zoneinfo/UTC", f"{node.root}/etc/localtime")
    for name in ("cpuinfo", "meminfo"):
        os.chmod(f"{node.root}/proc/{name}", 0o444)


def _write_npu(node: Node) -> None:
    """Driver, firmware, tools and device nodes. A device node is a link to one that needs no rights: /dev/null."""
    for path, text in {
        "usr/local/Ascend/driver/version.info": _DRIVER,
        "usr/local/Ascend/firmware/version.info": _FIRMWARE,
        "etc/ascend_install.info": _INSTALL,
        "etc/hccn.conf": _hccn_conf(node),
        "usr/local/Ascend/driver/lib64/common/libc_sec.so": "",
        "usr/local/Ascend/driver/lib64/driver/libascend_hal.so": "",
        "usr/local/dcmi/libdcmi.so": "",
    }.items():
        _write(node, path, text)
    _launcher(node, f"{node.root}/usr/local/bin", "npu-smi", "npu_smi")
    for number in range(node.dies):
        os.symlink("/dev/null", f"{node.root}/dev/davinci{number}")
    for name in ("davinci_manager", "devmm_svm", "hisi_hdc"):
        os.symlink("/dev/null", f"{node.root}/dev/{name}")


def _hccn_conf(node: Node) -> str:
    """/etc/hccn.conf: the addresses that the driver configures at boot; the same that hccn_tool tells."""
    lines = []
    for device in range(node.dies):
        values = {"address": f"29.{node.number}.112.{device + 10}", "netmask": "255.255.0.0"}
        values |= {"netdetect": f"29.{node.number}.0.1", "gateway": f"29.{node.number}.0.1", "send_arp_status": "1"}
        lines += [f"{key}_{device}={value}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def _meminfo(total: int) -> str:
    """``total`` in kB."""
    rows = {"MemTotal": total, "MemFree": total * 8 // 10, "MemAvailable": total * 9 // 10, "Buffers": 812344,
            "Cached": total // 20, "SwapTotal": 0, "SwapFree": 0, "Shmem": 104857}  # fmt: skip
    lines = [f"{key + ':':<16}{value:>11} kB" for key, value in rows.items()]
    lines += ["HugePages_Total:       0", "HugePages_Free:        0", "Hugepagesize:       2048 kB"]
    return "\n".join(lines) + "\n"


def _cpuinfo(node: Node) -> str:
    if node.is_npu:
        one = "processor\t: {n}\nBogoMIPS\t: 200.00\nFeatures\t: fp asimd evtstrm aes sha1 sha2 crc32 atomics\n"
        one += (
            "CPU implementer\t: 0x48\nCPU architecture: 8\nCPU variant\t: 0x1\nCPU part\t: 0xd02\nCPU revision\t: 0\n\n"
        )
    else:
        one = "processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Platinum 8480+\n\n"
    return "".join(one.format(n=n) for n in range(_cpus(node)))


def _write(node: Node, path: str, text: str) -> None:
    full = f"{node.root}/{path}"
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="utf-8") as file:
        file.write(text)
