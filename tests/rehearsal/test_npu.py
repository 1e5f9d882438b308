"""npu-smi and hccn_tool print what the recorded ones print: the same layout, and facts that our parsers read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.accel.ascend.driver import parse_driver_version, parse_firmware_version, parse_install, within
from provision.accel.ascend.hccn import (
    parse_conf,
    parse_gateway,
    parse_ip,
    parse_link,
    parse_net_health,
    parse_netdetect,
    parse_tls,
    parse_vnic,
)
from provision.accel.ascend.hccn_detail import parse_counters, parse_link_stat, parse_lldp, parse_optical
from provision.accel.ascend.hccn_ping import HccnPing, parse_ping
from provision.accel.ascend.npu_smi import parse_info, parse_list, parse_mapping
from provision.accel.ascend.npu_smi_sections import (
    parse_board,
    parse_common,
    parse_ecc,
    parse_health,
    parse_memory,
    parse_power,
    parse_process_memory,
    parse_super_pod,
    parse_temp,
    parse_usages,
)
from provision.accel.ascend.topo import parse_hccs, parse_topology
from provision.rehearsal.faults import clear_fault, fault, set_fault
from tests.rehearsal.conftest import Machine

pytestmark = pytest.mark.rehearsal

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "npu"
HCCN = "/usr/local/Ascend/driver/tools/hccn_tool"
Machines = Callable[..., list[Machine]]


def sample(name: str) -> str:
    if not (SAMPLES / name).is_file():
        pytest.skip(f"the recorded output {name} is not here")
    return (SAMPLES / name).read_text(encoding="utf-8")


def shape(text: str) -> list[str]:
    """The layout of a text: words and numbers become their kind, rules and columns stay."""
    return [
        re.sub(r"[0-9A-Za-z.()_%-]*[0-9A-Za-z]", "w", re.sub(r"-{4,}|={4,}", "---", line)) for line in text.splitlines()
    ]


@pytest.fixture
def a3(machines: Machines) -> Machine:
    return machines(1, "a3", image=None)[0]


@pytest.fixture
def a2(machines: Machines) -> Machine:
    return machines(1, "a2", image=None)[0]


def columns(text: str) -> list[list[int]]:
    """Where each table line has its bars and pluses."""
    return [[i for i, c in enumerate(line) if c in "|+"] for line in text.splitlines() if line[:1] in ("|", "+")]


def test_info_of_an_a3_has_the_recorded_layout(a3: Machine) -> None:
    recorded = sample("smi_info_A3_16die_25.3.rc1_inuse_emptynames.txt")
    for die, name in ((0, "one"), (1, "two"), (2, "three"), (3, "four")):
        set_fault(Path(a3.node.cluster_folder), "node1", f"npu/{die}/process", f"{name} 217302{die} 43266")
    printed = a3.ok("npu-smi info")
    assert columns(printed) == columns(recorded)
    assert len(set(map(len, printed.splitlines()))) == 1
    ours, theirs = parse_info(printed), parse_info(recorded)
    assert [(d.npu, d.chip, d.phy_id, d.device, d.name, d.health, d.bus_id, d.hbm_total_mb) for d in ours.dies] == [
        (d.npu, d.chip, d.phy_id, d.device, d.name, d.health, d.bus_id, d.hbm_total_mb) for d in theirs.dies
    ]
    assert [p.pid for p in ours.processes] == [2173020, 2173021, 2173022, 2173023]
    assert ours.problems == theirs.problems == ()
    assert all(d.power_w is None for d in ours.dies if d.chip == 1)


def test_info_of_an_a2_has_the_recorded_layout(a2: Machine) -> None:
    recorded = sample("smi_info_910B4_8x_25.0.rc1.1_idle.txt")
    printed = a2.ok("npu-smi info")
    assert columns(printed) == columns(recorded)
    ours, theirs = parse_info(printed), parse_info(recorded)
    assert [(d.npu, d.chip, d.device, d.bus_id) for d in ours.dies] == [
        (d.npu, d.chip, d.device, d.bus_id) for d in theirs.dies
    ]
    assert not ours.processes
    assert not ours.problems
    assert {d.name for d in ours.dies} == {"910B3"}


def test_mapping(a3: Machine) -> None:
    found = parse_mapping(a3.ok("npu-smi info -m"))
    assert [(c.npu, c.chip, c.logic_id, c.phy_id) for c in found.chips] == [(n // 2, n % 2, n, n) for n in range(16)]
    assert found.controllers == 8
    assert not found.problems


def test_mapping_of_an_a2_has_the_recorded_columns(a2: Machine) -> None:
    printed, recorded = a2.ok("npu-smi info -m"), sample("smi_m_910A_8npu.txt")
    chips = [line for line in printed.splitlines() if "Mcu" not in line]
    assert [re.split(r"\s{2,}|\t", line)[:4] for line in chips] == [
        re.split(r"\s{2,}|\t", line)[:4] for line in recorded.splitlines()
    ]
    assert [c.name for c in parse_mapping(printed).chips] == ["Ascend 910B3"] * 8


TYPED = [
    ("-l", "smi_l_910B4_8x.txt"),
    ("-t health -i 0 -c 0", "smi_t_health_OK_910A.txt"),
    ("-t board -i 0", "smi_t_board_910B_25.5.1.txt"),
    ("-t common -i 1", "smi_t_common_910B1_mcu.txt"),
    ("-t usages -i 0", "smi_t_usages_910B1.txt"),
    ("-t ecc -i 1", "smi_t_ecc_910.txt"),
    ("-t power -i 0", "smi_t_power_910B.txt"),
    ("-t board -i 0 -c 0", "smi_t_board_chip_910A.txt"),
    ("-t hccs -i 0 -c 0", "smi_t_hccs_3link_excerpt.txt"),
    ("-t spod-info -i 0 -c 0", "smi_t_spod_info_A3.txt"),
    ("-t board -i 0 -c 1", "smi_t_board_chip_A3.txt"),
]
A3_ONLY = {"smi_t_spod_info_A3.txt", "smi_t_board_chip_A3.txt"}
LACKING = {
    "smi_t_board_chip_910A.txt": {"Board ID", "PCB ID", "BOM ID", "VDie ID", "NDie ID", "Chip Position ID"},
    "smi_t_hccs_3link_excerpt.txt": {"hccs lane mode", "hccs link lane list", "hccs link speed"},
    "smi_t_board_chip_A3.txt": {"PCIe Bus Info", "Firmware Version"},
}
"""Keys that the stand-in has not, or that the excerpt has not."""


@pytest.mark.parametrize(("query", "name"), TYPED)
def test_key_lists_have_the_recorded_keys_in_order(machines: Machines, query: str, name: str) -> None:
    def keys(text: str) -> list[str]:
        found = [line.partition(":")[0].strip() for line in text.splitlines() if ":" in line]
        return [key for key in found if key not in LACKING.get(name, set())]

    machine = machines(1, "a3" if name in A3_ONLY else "a2", image=None)[0]
    recorded = "\n".join(line for line in sample(name).splitlines() if not line.startswith("$"))
    assert keys(machine.ok(f"npu-smi info {query}")) == keys(recorded)


PARSERS: list[tuple[str, Callable[[str], object], str]] = [
    ("-l", parse_list, "ab"), ("-m", parse_mapping, "ab"), ("-t topo", parse_topology, "ab"),
    ("-t health -i 3", parse_health, "ab"), ("-t health -i 3 -c 0", parse_health, "ab"),
    ("-t ecc -i 3", parse_ecc, "ab"), ("-t common -i 3", parse_common, "ab"), ("-t usages -i 3", parse_usages, "ab"),
    ("-t memory -i 3", parse_memory, "ab"), ("-t board -i 3", parse_board, "ab"),
    ("-t board -i 3 -c 0", parse_board, "ab"), ("-t proc-mem -i 3", parse_process_memory, "ab"),
    ("-t proc-mem -i 3 -c 0", parse_process_memory, "ab"), ("-t power -i 3", parse_power, "ab"),
    ("-t temp -i 3", parse_temp, "ab"), ("-t hccs -i 3 -c 0", parse_hccs, "ab"),
    ("-t spod-info -i 3 -c 1", parse_super_pod, "b"),
]  # fmt: skip


def test_every_query_is_read_without_a_complaint(a2: Machine, a3: Machine) -> None:
    for query, parse, where in PARSERS:
        for machine in [m for m, letter in ((a2, "a"), (a3, "b")) if letter in where]:
            found = parse(machine.ok(f"npu-smi info {query}"))
            assert getattr(found, "problems", None) == (), (machine.node.hardware, query)


def test_what_npu_smi_refuses(a2: Machine, a3: Machine) -> None:
    for machine, query, status, words in (
        (a3, "-t health -i 8", 40, "Invalid card id."),
        (a3, "-t health -i 0 -c 2", 40, "Invalid chip id."),
        (a3, "-t nothing -i 0", 40, "Error parameter of -t"),
        (a2, "-t spod-info -i 0 -c 0", 193, "This device does not support querying spod-info."),
    ):
        done = machine.run(f"npu-smi info {query}")
        assert (done.exit, done.out.splitlines()[0], done.err) == (status, words, "")
    assert a2.ok("npu-smi info -t product -i 1") == sample("err_unsupported_product.txt").strip() + "\n"


def test_identity_of_a_chip(a2: Machine, a3: Machine) -> None:
    assert parse_board(a2.ok("npu-smi info -t board -i 0 -c 0")).soc == "ascend910b3"
    assert parse_board(a3.ok("npu-smi info -t board -i 0 -c 0")).soc == "ascend910_9392"
    with fault(a3.folder, "node1", "npu/name", "910B4"):
        assert {die.name for die in parse_info(a3.ok("npu-smi info")).dies} == {"910B4"}
    pod = parse_super_pod(a3.ok("npu-smi info -t spod-info -i 0 -c 0"))
    assert (pod.sdid, pod.size, pod.pod, pod.server_index) == (40 << 22, 384, 0, 40)
    with fault(a3.folder, "node1", "npu/super_pod_id", "7"), fault(a3.folder, "node1", "npu/server_index", "3"):
        pod = parse_super_pod(a3.ok("npu-smi info -t spod-info -i 0 -c 1"))
        assert (pod.sdid, pod.pod, pod.server_index) == ((3 << 22) + 65537, 7, 3)


def test_codes_errors_and_heat(a3: Machine) -> None:
    recorded = parse_health(sample("smi_t_health_Alarm_910A.txt")).chips[0]
    with (
        fault(a3.folder, "node1", "npu/2/health", "Alarm"),
        fault(a3.folder, "node1", "npu/2/error_code", " ".join(recorded.codes)),
    ):
        printed = a3.ok("npu-smi info -t health -i 1 -c 0")
        assert printed == sample("smi_t_health_Alarm_910A.txt").rstrip("\n") + "\n"
    with fault(a3.folder, "node1", "npu/2/ecc_single", "3"), fault(a3.folder, "node1", "npu/2/ecc_double", "1"):
        first, second = parse_ecc(a3.ok("npu-smi info -t ecc -i 1")).chips
        text = a3.ok("npu-smi info -t ecc -i 1")
        assert "HBM Single Bit Error Count               : 3" in text
        assert "HBM Double Bit Isolated Pages Count      : 1" in text
        assert first != second
    with fault(a3.folder, "node1", "npu/2/temperature", "97"):
        assert parse_temp(a3.ok("npu-smi info -t temp -i 1")).chips[0].temp_c == 97
    with fault(a3.folder, "node1", "npu/2/hbm_used", "60000"):
        assert parse_info(a3.ok("npu-smi info")).dies[2].hbm_used_mb == 60000
    with fault(a3.folder, "node1", "npu/2/hccs", "NOK"):
        links = parse_hccs(a3.ok("npu-smi info -t hccs -i 1 -c 0"))
        assert links != parse_hccs(a3.ok("npu-smi info -t hccs -i 1 -c 1"))
        assert "hccs health status             : NOK" in a3.ok("npu-smi info -t hccs -i 1 -c 0")


def test_a_foreign_process_is_a_real_one(a3: Machine) -> None:
    set_fault(a3.folder, "node1", "npu/5/process", "python3.11")
    held = parse_process_memory(a3.ok("npu-smi info -t proc-mem -i 2"))
    (pid,) = (process.pid for process in held.processes)
    assert a3.ok(f"tr '\\0' ' ' </proc/{pid}/cmdline").split() == ["python3.11"]
    assert "session-7.scope" in a3.ok(f"cat /proc/{pid}/cgroup")
    assert [p.pid for p in parse_info(a3.ok("npu-smi info")).processes] == [pid]
    a3.ok(f"kill {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.01; done")
    assert parse_info(a3.ok("npu-smi info")).processes == ()
    clear_fault(a3.folder, "node1", "npu/5/process")


def test_the_tools_do_not_run_side_by_side(a3: Machine) -> None:
    with fault(a3.folder, "node1", "command/hccn_tool", "1"):
        text = a3.ok(f"{HCCN} -i 0 -link -g & sleep 0.1; {HCCN} -i 1 -link -g; echo $?; npu-smi info -l; echo $?; wait")
        assert text.splitlines() == [
            "hccn_tool is busy, please try again.", "11",
            *sample("err_dcmi_8020_container.txt").splitlines()[1:], "172", "link status: UP",
        ]  # fmt: skip
    with fault(a3.folder, "node1", "command/npu-smi", "1"):
        done = a3.run(f"npu-smi info -m >/dev/null & sleep 0.15; {HCCN} -i 1 -link -g; wait")
        assert (done.out, done.err) == ("hccn_tool is busy, please try again.\n", "")
    with fault(a3.folder, "node1", "command/hccn_tool", "hang"):
        assert a3.run(f"timeout -s KILL 0.1 {HCCN} -i 0 -link -g").exit == 137
    assert a3.ok(f"{HCCN} -i 1 -link -g; npu-smi info -l >/dev/null && echo free") == "link status: UP\nfree\n"


def test_topology(a2: Machine, a3_topology: str) -> None:
    recorded = sample("smi_t_topo_910B3_8x.txt").splitlines()[1:]
    printed = a2.ok("npu-smi info -t topo").splitlines()
    assert [line.split() for line in printed[1:9]] == [line.split() for line in recorded[1:9]]
    row = next(line.split() for line in a3_topology.splitlines() if line.startswith("Phy-ID2 "))
    assert (row[3], row[4], row[13]) == ("X", "SIO", "HCCS_SW")


@pytest.fixture
def a3_topology(tmp_path_factory: pytest.TempPathFactory) -> str:
    from provision.rehearsal.layout import make_node

    folder = tmp_path_factory.mktemp("topo") / "nodes" / "node1"
    return Machine(make_node(folder, number=1, hardware="atlas-800-a3", address="127.77.251.1")).ok(
        "npu-smi info -t topo"
    )


def test_a_wrong_card_is_refused_in_the_tools_words(a3: Machine) -> None:
    done = a3.run("npu-smi info -t board -i 8")
    assert done.out == sample("smi_t_board_invalid_card.txt")
    assert done.exit != 0


def test_alarms_busy_dies_and_lost_dies(a3: Machine) -> None:
    folder = Path(a3.node.cluster_folder)
    with (
        fault(folder, "node1", "npu/3/health", "Alarm"),
        fault(folder, "node1", "npu/3/error_code", "80E01801 80CD8008"),
    ):
        dies = parse_info(a3.ok("npu-smi info")).dies
        assert [d.health for d in dies if d.health != "OK"] == ["Alarm"]
        text = a3.ok("npu-smi info -t health -i 1 -c 1")
        assert "Health Status                  : Alarm" in text
        assert "Error Code                     : 80E01801 80CD8008" in text
    with fault(folder, "node1", "npu/5/process", "python3.1 4711 50000"):
        found = parse_info(a3.ok("npu-smi info"))
        assert [(p.npu, p.chip, p.pid, p.memory_mb) for p in found.processes] == [(2, 1, 4711, 50000)]
        used = {d.device: d.hbm_used_mb or 0 for d in found.dies}
        assert used[5] > 50000 > 4000 > used[4]
    with fault(folder, "node1", "npu/15/missing"):
        assert len(parse_info(a3.ok("npu-smi info")).dies) == 15
        assert a3.run("ls /dev/davinci15").exit != 0
        assert a3.run(f"{HCCN} -i 15 -link -g").exit == 4
    assert len(parse_info(a3.ok("npu-smi info")).dies) == 16


def test_who_may_ask(a3: Machine) -> None:
    done = a3.run("npu-smi info", user="operator")
    assert (done.exit, "ret is -8005" in done.out) == (187, True)
    with fault(Path(a3.node.cluster_folder), "node1", "npu/driver", "broken"):
        assert a3.run("npu-smi info").exit == 172


def test_a_hanging_tool(a3: Machine) -> None:
    with fault(Path(a3.node.cluster_folder), "node1", "command/npu-smi", "hang"):
        assert a3.run("timeout 0.3 npu-smi info").exit == 124
    assert a3.run("timeout 20 npu-smi info").exit == 0


# ---- hccn_tool


def test_a_healthy_device(a3: Machine) -> None:
    def ask(what: str) -> str:
        return a3.ok(f"{HCCN} -i 3 -{what} -g")

    assert ask("link") == sample("hccn_link_UP.txt").strip() + "\n"
    assert ask("net_health") == sample("hccn_net_health_Success.txt").strip() + "\n"
    assert [e.state for e in parse_link(ask("link")).entries] == ["UP"]
    assert [e.state for e in parse_net_health(ask("net_health")).entries] == ["Success"]
    assert shape(ask("ip")) == shape(sample("hccn_ip_910B1.txt"))[1:]
    assert [e.address for e in parse_ip(ask("ip")).entries] == ["29.1.112.13"]
    assert ask("tls") == sample("hccn_tls_loop_910B3.txt").splitlines()[3] + "\n"
    assert [e.enabled for e in parse_tls(ask("tls")).entries] == [False]
    assert shape(ask("vnic")) == shape(sample("hccn_vnic_loop_A3_8.txt"))[:3]
    assert [e.address for e in parse_vnic(ask("vnic")).entries] == ["192.168.1.196"]
    assert shape(ask("netdetect")) == shape(sample("hccn_netdetect_loop_910B3.txt"))[:1]
    assert ask("link_stat").splitlines()[0].startswith("[devid 3]current time        : ")
    assert a3.run(f"{HCCN} -i 3 -link -g", user="operator").exit == 12


def test_faults_of_a_device(a3: Machine) -> None:
    folder = Path(a3.node.cluster_folder)
    with fault(folder, "node1", "npu/3/link", "DOWN"):
        assert a3.ok(f"{HCCN} -i 3 -link -g") == "link status: DOWN\n"
        assert a3.ok(f"{HCCN} -i 3 -net_health -g") == "net health status: Fault\n"
        assert a3.ok(f"{HCCN} -i 4 -link -g") == "link status: UP\n"
    with fault(folder, "node1", "npu/0/ip", "none"):
        assert a3.run(f"{HCCN} -i 0 -ip -g").exit == 13


REFUSALS = [
    ("npu/0/ip", "none", "ip", 13, "Get ipconf failed, because no ip was preset there!\n"),
    ("npu/0/gateway", "none", "gateway", 2, "Get gateway failed, because no gateway was preset there!\n"),
    ("npu/0/vnic", "none", "vnic", 13, "Get ipconf failed, because no ip was preset there!\n"),
    ("npu/0/missing", "1", "link", 4, "The device is not exist!\n"),
]


@pytest.mark.parametrize(("key", "value", "what", "status", "words"), REFUSALS)
def test_what_hccn_tool_refuses(a3: Machine, key: str, value: str, what: str, status: int, words: str) -> None:
    with fault(a3.folder, "node1", key, value):
        done = a3.run(f"{HCCN} -i 0 -{what} -g")
        assert (done.exit, done.out, done.err) == (status, "", words)
    assert a3.run(f"{HCCN} -i 0 -{what} -g").exit == 0
    assert a3.run(f"{HCCN} -i 16 -{what} -g").exit == 4


def test_details_of_a_device(a3: Machine) -> None:
    def ask(what: str) -> str:
        return a3.ok(f"{HCCN} -i 3 -{what} -g")

    def compare(what: str, name: str) -> None:
        recorded = [line for line in sample(name).splitlines() if not line.startswith("$")]
        assert [line.partition(":")[0] for line in ask(what).splitlines()] == [
            line.partition(":")[0] for line in recorded if line != "..."
        ], what

    compare("optical", "hccn_optical_1lane.txt")
    compare("hw_stats", "hccn_hw_stats_910B1.txt")
    assert ask("route").splitlines()[:2] == sample("hccn_route_910B1.txt").splitlines()[1:3]
    assert parse_gateway(ask("gateway")).entries[0].address == "29.1.0.1"
    assert parse_lldp(ask("lldp")).entries[0].port == "400GE1/1/4"
    assert [h.downs_within(24) for h in parse_link_stat(ask("link_stat")).entries] == [0]
    assert set(parse_counters(ask("stat")).entries[0].counts.values()) == {0}
    assert ask("fec") == "fec mode: rs FEC mode\n"
    with fault(a3.folder, "node1", "npu/3/fec", "no"):
        assert ask("fec") == sample("hccn_fec_none_910A.txt").strip() + "\n"
    with fault(a3.folder, "node1", "npu/3/flaps", "7"):
        assert [h.downs_within(24) for h in parse_link_stat(ask("link_stat")).entries] == [6]
    with fault(a3.folder, "node1", "npu/3/errors", "99"):
        assert parse_counters(ask("stat")).entries[0].counts["roce_new_pkt_rty_num"] == 99
    for value, present, flag in (("absent", "not present", "0xff"), ("dark", "present", "0xff")):
        with fault(a3.folder, "node1", "npu/3/optical", value):
            assert f"present              : {present}\n" in ask("optical")
            assert f"Rx Los Flag          : {flag}\n" in ask("optical")
    assert parse_optical(ask("optical")).problems == ()
    with fault(a3.folder, "node1", "npu/3/lldp", "none"):
        assert ask("lldp") == "End of LLDPDU TLV\n"
    with fault(a3.folder, "node1", "npu/3/netdetect", "none"):
        assert ask("net_health") == sample("hccn_net_health_Init.txt").strip() + "\n"
    with fault(a3.folder, "node1", "npu/3/netdetect", "29.1.0.9"):
        assert [e.address for e in parse_netdetect(ask("netdetect")).entries] == ["29.1.0.9"]
    with fault(a3.folder, "node1", "npu/3/gateway", "29.1.0.9"):
        assert ask("gateway") == "default gateway:29.1.0.9, Iface:eth3\n"
    with fault(a3.folder, "node1", "npu/3/net_health", "Socket fail"):
        assert ask("net_health") == "net health status: Socket fail\n"
    with fault(a3.folder, "node1", "npu/3/tls", "1"):
        assert [e.enabled for e in parse_tls(ask("tls")).entries] == [True]
    with fault(a3.folder, "node1", "npu/3/vnic", "DOWN"):
        assert ask("vnic").startswith("vnic link status: DOWN\nvnic ipaddr: 192.168.1.196\n")


def ping(machine: Machine, target: str, *more: str, device: int = 3, kind: str = "ping") -> HccnPing:
    found = parse_ping(machine.run(" ".join((f"{HCCN} -i {device} -{kind} -g address {target}", *more))).out)
    assert found.problems == ()
    return found.entries[0]


def test_a_ping_that_works_is_as_recorded(machines: Machines) -> None:
    first, second = machines(2, "a3", image=None)
    peer = parse_ip(second.ok(f"{HCCN} -i 3 -ip -g")).entries[0].address
    lines = first.ok(f"{HCCN} -i 3 -ping -g address {peer} pkt 64").splitlines()
    assert lines[0] == f"device 3 PING {peer}"
    assert all(re.fullmatch(rf"recv seq={seq},time=0\.\d{{6}}ms", line) for seq, line in enumerate(lines[1:4]))
    assert lines[4:] == ["3 packets transmitted, 3 received, 0.00% packet loss"]
    vnic = parse_vnic(second.ok(f"{HCCN} -i 3 -vnic -g")).entries[0].address
    lines = first.ok(f"{HCCN} -i 3 -hccs_ping -g address {vnic} cnt 1").splitlines()
    assert lines[:3] == [f"device 3 PING {vnic}", "", "This pkt ping success!"]
    assert re.fullmatch(r"recv seq 0, time = \d+\.\d{3}us, L1 plane check result = 0x0", lines[3])
    assert lines[4] == "1 packets transmitted, 1 received, 0.00% packets loss"
    assert [line.partition(" time ")[0] for line in lines[5:]] == ["max", "min", "average", "TP95"]
    assert max(ping(first, vnic, kind="hccs_ping").times_ms) < min(ping(first, peer).times_ms) * 1.5


def test_pings_cross_nodes_unless_something_is_in_the_way(machines: Machines) -> None:
    first, _ = machines(2, "a3", image=None)
    folder, peer, vnic = first.folder, "29.2.112.13", "192.168.2.196"
    for node, key, value, reach in (
        ("node2", "npu/3/link", "DOWN", (False, True)),
        ("node1", "npu/3/link", "DOWN", (False, True)),
        ("node2", "npu/3/missing", "1", (False, False)),
        ("node2", "npu/3/roce", "none", (False, True)),
        ("node1", "npu/3/roce", "none", (False, True)),
        ("node2", "npu/3/vnic", "DOWN", (True, False)),
        ("node1", "npu/3/vnic", "none", (True, False)),
        ("node1", "npu/3/ping/node2", "lost", (False, False)),
        ("node1", "npu/3/ping/node2:3", "lost", (False, False)),
        ("node1", "npu/3/ping/node2:4", "lost", (True, True)),
        ("node2", "npu/3/ping/node1", "lost", (True, True)),
        ("node2", "npu/3/ip", "10.0.0.5", (False, True)),
    ):
        with fault(folder, node, key, value):
            assert (ping(first, peer).ok, ping(first, vnic, kind="hccs_ping").ok) == reach, (node, key)
    assert ping(first, peer).ok
    assert ping(first, vnic, kind="hccs_ping").ok
    lost = first.run(f"{HCCN} -i 3 -ping -g address 29.9.112.13")
    assert (lost.exit, lost.out.splitlines()[1:]) == (1, [*(f"recv time out seq={n}" for n in range(3)),
            "3 packets transmitted, 0 received, 100.00% packet loss"])  # fmt: skip


def test_pings_that_are_slow_or_lose_some(machines: Machines) -> None:
    first, _ = machines(2, "a3", image=None)
    with fault(first.folder, "node1", "npu/3/ping/node2", "partial"):
        assert (ping(first, "29.2.112.13").sent, ping(first, "29.2.112.13").received) == (3, 2)
        assert ping(first, "192.168.2.196", "cnt", "4", kind="hccs_ping").received == 3
        assert "3 packets transmitted, 2 received, 33.33% packet loss" in first.run(
            f"{HCCN} -i 3 -ping -g address 29.2.112.10").out  # fmt: skip
    with fault(first.folder, "node1", "npu/3/ping/node2:5", "slow 25"):
        assert min(ping(first, "29.2.112.15").times_ms) > 25
        assert max(ping(first, "29.2.112.13").times_ms) < 1


def test_addresses_that_moved_or_are_there_twice(machines: Machines) -> None:
    first, second = machines(2, "a3", image=None)
    with fault(first.folder, "node2", "npu/4/ip", "10.0.0.5"):
        assert ping(first, "10.0.0.5").ok
        assert not ping(first, "29.2.112.14").ok
    with fault(first.folder, "node2", "npu/4/ip", "29.2.112.13"):
        assert second.ok(f"{HCCN} -i 3 -ip -g") == second.ok(f"{HCCN} -i 4 -ip -g")
        assert ping(first, "29.2.112.13").ok


def test_dies_of_a_card_do_not_reach_each_other_by_roce(a3: Machine, a2: Machine) -> None:
    assert not ping(a3, "29.1.112.12", device=3).ok
    assert ping(a3, "29.1.112.14", device=3).ok
    assert ping(a2, "29.1.112.12", device=3).ok
    done = a2.run(f"{HCCN} -i 0 -hccs_ping -g address 192.168.1.198")
    assert (done.exit, done.out) == (13, "The command is not supported on this product.\n")


@pytest.mark.parametrize("words", ["address", "address x", "address 29.1.112.13 nope 3", "address 29.1.112.13 cnt 0"])
def test_pings_that_are_asked_wrongly(a3: Machine, words: str) -> None:
    done = a3.run(f"{HCCN} -i 0 -hccs_ping -g {words}")
    assert done.exit in (1, 3)
    assert done.out == ""
    assert done.err.startswith(("Cmd execute failed!", "Get unknown option!"))


def test_driver_files(a3: Machine) -> None:
    driver = parse_driver_version(a3.ok("cat /usr/local/Ascend/driver/version.info"))
    firmware = parse_firmware_version(a3.ok("cat /usr/local/Ascend/firmware/version.info"))
    assert not driver.problems
    assert not firmware.problems
    assert driver.firmware_range is not None
    assert within(firmware.version or "", driver.firmware_range)
    assert parse_install(a3.ok("cat /etc/ascend_install.info")).driver_status == "complete"
    conf = parse_conf(a3.ok("cat /etc/hccn.conf"))
    assert [d.address for d in conf.devices] == [
        parse_ip(a3.ok(f"{HCCN} -i {n} -ip -g")).entries[0].address for n in range(16)
    ]
