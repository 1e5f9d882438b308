"""npu-smi and hccn_tool print what the recorded ones print: the same layout, and facts that our parsers read."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.accel.ascend.driver import parse_driver_version, parse_firmware_version, parse_install, within
from provision.accel.ascend.hccn import parse_conf, parse_ip, parse_link, parse_net_health, parse_tls, parse_vnic
from provision.accel.ascend.npu_smi import parse_info, parse_mapping
from provision.rehearsal.faults import fault, set_fault
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
]


@pytest.mark.parametrize(("query", "name"), TYPED)
def test_key_lists_have_the_recorded_keys_in_order(a2: Machine, query: str, name: str) -> None:
    def keys(text: str) -> list[str]:
        return [line.partition(":")[0].strip() for line in text.splitlines() if ":" in line]

    recorded = "\n".join(line for line in sample(name).splitlines() if not line.startswith("$"))
    assert keys(a2.ok(f"npu-smi info {query}")) == keys(recorded)


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


def test_pings_cross_nodes_unless_a_link_is_down(machines: Machines) -> None:
    first, second = machines(2, "a3", image=None)
    peer = parse_ip(second.ok(f"{HCCN} -i 3 -ip -g")).entries[0].address
    ping = f"{HCCN} -i 3 -ping -g address {peer}"
    assert "3 packets transmitted, 3 received, 0.00% packet loss" in first.ok(ping)
    vnic = parse_vnic(second.ok(f"{HCCN} -i 3 -vnic -g")).entries[0].address
    assert "3 received" in first.ok(f"{HCCN} -i 3 -hccs_ping -g address {vnic}")
    with fault(Path(first.node.cluster_folder), "node2", "npu/3/link", "DOWN"):
        lost = first.run(ping)
        assert (lost.exit, "100.00% packet loss" in lost.out) == (1, True)
    assert first.run(f"{HCCN} -i 3 -ping -g address 29.9.112.13").exit == 1


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
