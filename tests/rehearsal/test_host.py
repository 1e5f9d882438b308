"""What a node's operating system tells: healthy on any machine, and every fault of it through the command itself.

Each case is a fault, a command, and what its output has when all is well and when the fault is set.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from provision.accel.ascend.driver import parse_driver_version, parse_firmware_version, within
from provision.rehearsal import host
from provision.rehearsal.faults import clear_fault, fault, set_fault
from tests.rehearsal.conftest import Machine

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "npu"
MODEL = "/data/weights/Qwen3-Next-80B-A3B-Instruct"


class Case(NamedTuple):
    """``good`` and ``bad`` are regular expressions that the command's whole output has; the other doesn't."""

    key: str
    value: str
    command: str
    good: str
    bad: str


CASES = [
    Case("sysctl/vm.max_map_count", "65530", "sysctl -n vm.max_map_count", r"^655360$", r"^65530$"),
    Case("sysctl/vm.swappiness", "60", "cat /proc/sys/vm/swappiness", r"^0$", r"^60$"),
    Case("sysctl/kernel.numa_balancing", "1", "cat /proc/sys/kernel/numa_balancing", r"^0$", r"^1$"),
    Case("sysctl/net.ipv4.ip_local_reserved_ports", "none", "cat /proc/sys/net/ipv4/ip_local_reserved_ports",
         r"^60000-60031$", r"^$"),
    Case("sysctl/net.ipv4.ip_local_port_range", "1024 65535", "sysctl net.ipv4.ip_local_port_range", r"32768\s60999",
         r"= 1024 65535"),
    Case("limits/nofile", "1024 4096", "ulimit -n; ulimit -Hn", r"^1048576\n1048576$", r"^1024\n4096$"),
    Case("limits/nofile", "1024", "cat /proc/self/limits", r"Max open files +1048576 +1048576 +files",
         r"Max open files +1024 +1024 +files"),
    Case("limits/memlock", "65536", "ulimit -l", r"^unlimited$", r"^64$"),
    Case("governor", "powersave", "cat /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor", r"^(performance\n?)+$",
         r"^(powersave\n?)+$"),
    Case("thp", "always", "cat /sys/kernel/mm/transparent_hugepage/enabled", r"\[madvise\]", r"\[always\]"),
    Case("irqbalance", "active", "systemctl is-active irqbalance; pgrep irqbalance", r"^inactive$", r"^active\n\d+$"),
    Case("hugepages", "512", "grep HugePages_Total /proc/meminfo; cat /sys/kernel/mm/hugepages/*/nr_hugepages",
         r"Total: +0\n0$", r"Total: +512\n512$"),
    Case("swap", "4096", "cat /proc/swaps; grep Swap /proc/meminfo", r"SwapTotal: +0 kB",
         r"partition\t16777216\t4194304"),
    Case("memory/total", "1000", "grep MemTotal /proc/meminfo", r"2147483648 kB", r" 1024000 kB"),
    Case("memory/available", "1000", "grep MemAvailable /proc/meminfo", r"1932734464 kB", r" 1024000 kB"),
    Case("shm/leftover", "1", "ls /dev/shm", r"^$", r"^psm_8f2d11a7\nsem.mp-x7k2q9vd$"),
    Case("shm/leftover", "vllm-9", "ls /dev/shm", r"^$", r"^vllm-9$"),
    Case("shm/size", "67108864", "df -P -k /dev/shm", r"536870912", r" 65536 +0 +65536 "),
    Case("shm/free", "1048576", "df -P -k /dev/shm", r" 536870912 +0% ", r" 1024 +100% "),
    Case("inodes", "10", "df -P -i /data", r" 478800000 ", r" 10 +100% "),
    Case("disk/tmp", "1048576", "df -P -k /tmp /; grep /tmp /proc/mounts", r"^(?!.*/tmp)", r" 1024 +100% /tmp\n"),
    Case("disk/data", "2097152", f"df -P -k {MODEL}; df -P -k /", r"^(?!.*/data)", r" 2048 +100% /data\n"),
    Case("disk/var", "2097152", "df -P -k /var/lib/docker", r"^(?!.*/var)", r" 2048 +100% /var"),
    Case("disk/free", "3145728", "df -P -k /opt", r" 5368709120 ", r" 3072 +100% /"),
    Case("disk/full", "1", "df -P -k /", r" 5368709120 ", r" 0 +100% /"),
    Case("disk/read_only", "1", "cat /proc/mounts", r" / ext4 rw,", r" / ext4 ro,"),
    Case("share/unmounted", "1", "cat /proc/mounts; ls -A /share", r"/share nfs4", r"\.local$"),
    Case("timesync", "off", "timedatectl show -p NTPSynchronized --value; chronyc tracking; ls /run/systemd/timesync",
         r"^yes\n(.*\n)*Leap status +: Normal\nsynchronized$", r"^no\n(.*\n)*Leap status +: Not synchronised$"),
    Case("timesync", "none", "chronyc tracking; systemctl is-active chronyd; ls /run/chrony", r"active\nchronyd.pid$",
         r"^506 Cannot talk to daemon\ninactive$"),
    Case("selinux", "Enforcing", "getenforce; cat /sys/fs/selinux/enforce; grep ^SELINUX= /etc/selinux/config",
         r"^Disabled\n.*SELINUX=disabled$", r"^Enforcing\n1SELINUX=enforcing$"),
    Case("firewall", "firewalld", "firewall-cmd --state; systemctl is-active firewalld; firewall-cmd --list-services",
         r"^inactive$", r"^running\nactive\ndhcpv6-client ssh$"),
    Case("firewall", "ufw", "command -v ufw; ufw status", r"^$", r"^/sbin/ufw|ufw\nStatus: active"),
    Case("firewall", "iptables", "iptables -S INPUT", r"^-P INPUT ACCEPT$", r"^-P INPUT DROP\n(-A INPUT.*\n?){3}$"),
    Case("firewall", "nft", "nft list ruleset", r"^$", r"hook input .* policy drop"),
    Case("dmesg/npu", "1", "dmesg -l err", r"^$", r"\[ascend\]\[ERROR\]\[devdrv\]"),
    Case("dmesg/oom", "1", "dmesg -T | grep -i killed", r"^$",
         r"^\[\w{3} \w{3} +\d+ [\d:]{8} \d{4}\] Out of memory: Killed"),
    Case("dmesg/line", "EXT4-fs error (device sda)", "journalctl -k", r"davinci interface", r"kernel: EXT4-fs error"),
    Case("os/version", "24.03", "cat /etc/os-release; docker info --format '{{.OperatingSystem}}'",
         r"22.03 \(LTS-SP4\)$", r"VERSION_ID=\"24.03\"\n(.*\n)*openEuler 24.03 "),
    Case("kernel/version", "6.6.0-72",
         "uname -r; cat /proc/sys/kernel/osrelease; docker info --format '{{.KernelVersion}}'",
         r"^5.10.0-216.*\n5.10.0-216.*\n5.10", r"^(6.6.0-72\n?){3}$"),
    Case("cpu/arch", "x86_64", "uname -m", r"^aarch64$", r"^x86_64$"),
    Case("docker/version", "24.0.7", "docker --version; docker info --format '{{.ServerVersion}}'",
         r"version 27.5.1, .*\n27.5.1$", r"version 24.0.7, .*\n24.0.7$"),
    Case("driver/version", "25.2.0", "head -1 /usr/local/Ascend/driver/version.info; npu-smi info | sed -n 2p",
         r"^Version=25.5.1\n.*Version: 25.5.1 ", r"^Version=25.2.0\n.*npu-smi 25.2.0 +Version: 25.2.0 "),
    Case("driver/install_status", "uncomplete", "grep Status /etc/ascend_install.info", r"=complete$", r"=uncomplete$"),
    Case("firmware/version", "6.4.12.1.241",
         "head -1 /usr/local/Ascend/firmware/version.info; npu-smi info -t board -i 0",
         r"^Version=7.8.0.6.201\n(.*\n)*.*Firmware Version +: 7.8.0.6.201",
         r"^Version=6.4.12.1.241\n(.*\n)*.*: 6.4.12.1"),
    Case("firmware/compatibility", "NOT SUPPORT", "npu-smi info -t board -i 0", r"Compatibility +: OK\n",
         r"Compatibility +: NOT SUPPORT\n"),
    Case("cann/version", "8.3.RC2",
         "cat /usr/local/Ascend/ascend-toolkit/latest/aarch64-linux/*.info; readlink /usr/local/Ascend/cann",
         r"version=8.5.1\n(.*\n)*path=/usr/local/Ascend/cann-8.5.1/aarch64-linux\ncann-8.5.1$",
         r"version=8.3.RC2\n(.*\n)*path=/usr/local/Ascend/ascend-toolkit/8.3.RC2/aarch64-linux$"),
    Case("cann/version", "none", "ls /usr/local/Ascend", r"^ascend-toolkit\ncann\ncann-8.5.1\ndriver\n",
         r"^driver\nfirmware$"),
    Case("hccn_conf/3", "29.9.112.99", "grep _3= /etc/hccn.conf", r"address_3=29.1.112.13", r"address_3=29.9.112.99"),
    Case("hccn_conf/3", "none", "grep -c address_ /etc/hccn.conf", r"^16$", r"^15$"),
    Case("mount/dcmi", "missing", "ls /usr/local", r"dcmi", r"^(?!.*dcmi)(?s:.*)$"),
    Case("mount/lib64", "folder", "ls /usr/local/Ascend/driver/lib64", r"common", r"^$"),
    Case("mount/hccn.conf", "folder", "[ -f /etc/hccn.conf ] && echo file; [ -d /etc/hccn.conf ] && echo folder",
         r"^file$", r"^folder$"),
    Case("mount/version.info", "missing", "ls /usr/local/Ascend/driver", r"version.info", r"^lib64\ntools$"),
    Case("mount/ascend_install.info", "folder", "ls -d /etc/ascend_install.info/ 2>&1", r"Not a directory", r"info/$"),
    Case("mount/npu-smi", "folder", "[ -d /usr/local/bin/npu-smi ] && echo folder", r"^$", r"^folder$"),
    Case("mount/hccn_tool", "missing", "ls /usr/local/Ascend/driver/tools", r"^hccn_tool$", r"^$"),
    Case("device/devmm_svm", "missing", "ls /dev/devmm_svm 2>&1", r"^/dev/devmm_svm$", r"No such file"),
    Case("pci/3/missing", "1", "lspci -n -d 19e5:d803 | wc -l; ls /dev/davinci3; ls /sys/bus/pci/devices | wc -l",
         r"^16\n/dev/davinci3\n20$", r"^15\n/dev/davinci3\n19$"),
    Case("npu/3/missing", "1", "lspci -n -d 19e5:d803 | wc -l; ls /dev | grep -c 'davinci[0-9]'", r"^16\n16$",
         r"^15\n15$"),
    Case("nic/eth0/mtu", "9000", "cat /sys/class/net/eth0/mtu; ip -o link show eth0", r"^1500\n.* mtu 1500 ",
         r"^9000\n.* mtu 9000 "),
    Case("nic/eth0/speed", "1000", "cat /sys/class/net/eth0/speed; ethtool eth0 | grep Speed", r"^25000\n.* 25000Mb/s",
         r"^1000\n.* 1000Mb/s"),
    Case("nic/eth0/state", "down", "cat /sys/class/net/eth0/operstate; ip -o link show eth0; ethtool eth0 | tail -1",
         r"^up\n.* state UP .*\n.*detected: yes", r"^down\n.* state DOWN .*\n.*detected: no"),
    Case("nic/eth0/address", "none", "ip -o -4 addr", r"eth0 +inet 127", r"^(?!.*eth0)(?s:.*docker0.*)$"),
    Case("dns/hostname", "127.0.1.1", "getent hosts node1; getent ahosts node1", r"^127.77",
         r"^127.0.1.1 +node1\n127.0.1.1"),
    Case("dns/hostname", "none", "getent hosts node1; echo $?; cat /etc/hosts", r"node1\n0\n",
         r"^2\n127.0.0.1 localhost$"),
    Case("dns/hang", "0.4", "timeout 0.2 getent ahosts node1 >/dev/null; echo $?", r"^0$", r"^124$"),
    Case("proxy", "http://proxy.invalid:3128", "cat /root/.docker/config.json 2>&1", r"No such file",
         r"proxy.invalid:3128"),
    Case("weights/config", "1", f"grep transformers_version {MODEL}/config.json", r"4.57.0.dev0", r"4.58.0"),
    Case("weights/config", "num_experts=256", f"grep '\"num_experts\"' {MODEL}/config.json", r": 512,$", r": 256,$"),
    Case("weights/missing_tokenizer", "1", f"ls {MODEL} | grep -c -e token -e vocab -e merges", r"^4$", r"^0$"),
    Case("weights/missing_shard", "7", f"ls {MODEL} | grep -c safetensors$", r"^41$", r"^40$"),
    Case("weights/short_shard", "7", f"stat -c %s {MODEL}/model-00007*", r"^3284154032$", r"^1642077016$"),
    Case("weights/missing", "1", "ls /data/weights", r"^Qwen3-Next", r"^$"),
    Case("evaluate/aisbench", "missing", "/opt/aisbench/bin/ais_bench 2>&1; echo $?", r"^ais_bench 3.0.1\n0$", r"127$"),
    Case("evaluate/dataset", "missing", "ls /data/datasets", r"^gsm8k$", r"^$"),
    Case("process/vllm", "1", "grep -l VLLM:: /proc/[0-9]*/cmdline; ps -eo args | grep ^VLLM", r"^$",
         r"^/proc/\d+/cmdline\nVLLM::EngineCore_DP0$"),
    Case("process/ray", "1", "pgrep -f '[r]aylet/raylet'", r"^$", r"^\d+"),
    Case("process/other", "train.py --epochs 3", "ps -eo args | grep ^train", r"^$", r"^train.py --epochs 3$"),
    Case("python/missing", "1", "command -v python3; command -v bash", r"^/usr/bin/python3\n/usr/bin/bash$", r"^$"),
    Case("ssh_client/missing", "1", "command -v ssh", r"^/usr/bin/ssh$", r"^$"),
    Case("docker/missing", "1", "command -v docker", r"^/usr/bin/docker$", r"^$"),
    Case("docker/daemon", "down", "docker ps 2>&1; systemctl is-active docker", r"active$",
         r"Cannot connect.*\nfailed$"),
    Case("docker/ascend_runtime", "1", "docker info --format '{{json .Runtimes}}'", r"runc", r"ascend-docker-runtime"),
    Case("read/slow", "100",
         f"dd if={MODEL}/model-00001-of-00041.safetensors of=/dev/null bs=1M count=20 2>&1 | tail -1",
         r"^20971520 bytes .*B/s$", r"^20971520 bytes .* copied, 0.209 s, 100 MB/s$"),
]  # fmt: skip


@pytest.fixture
def a3(machines: Machines) -> Machine:
    return machines(1, "a3", image=None)[0]


def said(machine: Machine, command: str) -> str:
    return machine.run(command).out.rstrip("\n")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.key}={case.value}")
def test_a_fault_shows_in_the_command_and_goes_again(a3: Machine, case: Case) -> None:
    assert re.search(case.good, said(a3, case.command))
    set_fault(a3.folder, "node1", case.key, case.value)
    faulty = said(a3, case.command)
    assert re.search(case.bad, faulty)
    clear_fault(a3.folder, "node1", case.key)
    assert re.search(case.good, said(a3, case.command))
    assert faulty != said(a3, case.command)


def test_a_clock_that_is_ahead(a3: Machine) -> None:
    with fault(a3.folder, "node1", "clock/skew", "3600"):
        ahead = int(a3.ok("date +%s"))
    assert 3590 < ahead - int(a3.ok("date +%s")) < 3610


def test_faults_on_one_file_add_up_and_leave_what_an_operator_changed(a3: Machine) -> None:
    a3.ok("echo 127.0.0.9 other >>/etc/hosts")
    with fault(a3.folder, "node1", "memory/total", "4000"), fault(a3.folder, "node1", "swap", "16"):
        text = a3.ok("cat /proc/meminfo")
        assert "MemTotal:           4096000 kB" in text
        assert "SwapFree:          16760832 kB" in text
        assert "127.0.0.9 other" in a3.ok("cat /etc/hosts")
    assert "SwapTotal:                0 kB" in a3.ok("cat /proc/meminfo")


def test_sysctl_sets_and_mends(a3: Machine) -> None:
    set_fault(a3.folder, "node1", "sysctl/vm.swappiness", "60")
    assert a3.run("sysctl -w vm.swappiness=5", user="operator").exit == 255
    assert a3.ok("sysctl -w vm.swappiness=5") == "vm.swappiness = 5\n"
    assert a3.ok("sysctl -n vm.swappiness; cat /proc/sys/vm/swappiness") == "5\n5\n"
    assert a3.node.state.get("sysctl/vm.swappiness") == ""
    assert a3.run("sysctl no.such.thing").exit == 255
    a3.ok("sysctl -w vm.swappiness=0")


def test_services_that_are_stopped_are_stopped(a3: Machine) -> None:
    set_fault(a3.folder, "node1", "irqbalance", "active")
    set_fault(a3.folder, "node1", "firewall", "firewalld")
    assert a3.run("systemctl stop irqbalance", user="operator").exit == 4
    a3.ok("systemctl stop irqbalance && systemctl disable --now firewalld")
    assert a3.run("systemctl is-active irqbalance firewalld; pgrep irqbalance").out == "inactive\ninactive\n"
    assert a3.run("firewall-cmd --state").exit == 252


def test_pci_functions_are_listed_as_recorded(a3: Machine, machines: Machines) -> None:
    recorded = "lspci_d802_8npu_910B_box16.txt"
    if not (SAMPLES / recorded).is_file():
        pytest.skip(f"the recorded output {recorded} is not here")
    text = machines(1, "a2", image=None)[0].ok("lspci | grep d802")
    form = re.compile(r"[0-9a-f]{2}:00\.0 (Processing accelerators: Huawei Technologies Co\., Ltd\. Device d802 .*)")
    assert len(text.splitlines()) == 8
    assert {form.sub(r"\1", line) for line in text.splitlines()} == {
        form.sub(r"\1", line) for line in (SAMPLES / recorded).read_text().splitlines()
    }
    assert a3.ok("lspci -D -n -d 19e5:d803").splitlines()[0] == "0000:81:00.0 1200: 19e5:d803 (rev 20)"
    assert a3.ok("lspci -nn -s 81:00.0").endswith("[1200]: Huawei Technologies Co., Ltd. Device [19e5:d803] (rev 20)\n")


def test_driver_and_firmware_fit_unless_a_fault_says_otherwise(a3: Machine) -> None:
    def fits() -> bool:
        driver = parse_driver_version(a3.ok("cat /usr/local/Ascend/driver/version.info"))
        firmware = parse_firmware_version(a3.ok("cat /usr/local/Ascend/firmware/version.info"))
        assert driver.firmware_range is not None
        return bool(within(firmware.version or "", driver.firmware_range))

    assert fits()
    with fault(a3.folder, "node1", "firmware/version", "6.4.12.1.241"):
        assert not fits()


def test_files_are_a_function_of_the_state(a3: Machine) -> None:
    found = host.files(a3.node)
    assert host.files(a3.node) == found
    assert all(not path.startswith("/") for path in found)
    for path, content in found.items():
        if isinstance(content, str) and path != "etc/hosts":
            assert (Path(a3.node.root) / path).read_text() == content, path


def test_a_folder_that_all_nodes_share(machines: Machines) -> None:
    first, second = machines(2, "a3", image=None)
    first.ok("echo marker >/share/.qnext")
    assert second.ok("cat /share/.qnext; rm /share/.qnext") == "marker\n"
    with fault(first.folder, "node2", "share/unmounted"):
        first.ok("echo marker >/share/.qnext")
        assert second.run("cat /share/.qnext").exit == 1
    assert second.ok("cat /share/.qnext; rm /share/.qnext") == "marker\n"


def test_a_node_without_npus_has_nothing_of_them(machines: Machines) -> None:
    node = machines(1, "cpu", image=None)[0]
    assert node.ok("lspci -n -d 19e5:; dmesg | grep -c ascend; ls /usr/local; true") == "0\nbin\nsbin\n"
    assert node.run("command -v npu-smi").exit != 0
