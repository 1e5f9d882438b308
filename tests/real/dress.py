"""Dress a real node as an Atlas A3: device nodes, driver files, and stand-ins for two tools.

Sixteen device nodes (`/dev/null`'s twins) let the real dockerd pass `--device`, and the
driver's files let it mount what an A3 container mounts. `npu-smi` and `hccn_tool` are POSIX
sh scripts that print what is computed here in the recorded tools' formats. They run on the
node and, mounted, in its containers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nodes import Node

DIES = 16
DRIVER = "25.5.1"
BUSES = ("9D", "9F", "99", "9B", "95", "97", "91", "93", "8D", "8F", "89", "8B", "85", "87", "81", "83")
CHARACTER_DEVICES = (*(f"davinci{die}" for die in range(DIES)), "davinci_manager", "devmm_svm", "hisi_hdc")

NPU_SMI = "/usr/local/bin/npu-smi"
HCCN_TOOL = "/usr/local/Ascend/driver/tools/hccn_tool"

VERSION_INFO = f"""\
Version={DRIVER}
ascendhal_version=7.35.23
aicpu_version=1.0
tdt_version=1.0
log_version=1.0
prof_version=2.0
dvppkernels_version=1.1
tsfw_version=1.0
Innerversion=V100R001C23SPC001B220
compatible_version=[V100R001C30],[V100R001C13],[V100R001C15],[V100R001C17]
compatible_version_fw=[7.0.0,7.8.99]
package_version={DRIVER}
"""

INSTALL_INFO = """\
UserName=HwHiAiUser
UserGroup=HwHiAiUser
Driver_Install_Type=full
Driver_Install_Path_Param=/usr/local/Ascend
Driver_Install_For_All=yes
Driver_Install_Mode=normal
Driver_Install_Status=complete
Firmware_Install_Type=full
Firmware_Install_Path_Param=/usr/local/Ascend
"""

FIRMWARE_INFO = f"""\
Version=7.8.0.6.201
firmware_version=1.0
package_version={DRIVER}
compatible_version_drv=[{DRIVER},{DRIVER}.]
"""


def dress_as_a3(node: Node, health: Mapping[int, str] | None = None) -> None:
    """Make `node` look like an Atlas 800 A3 with 16 idle dies.

    `health` gives some dies, by physical id, another state than OK: Warning, Alarm, Critical.
    """
    undress(node)
    make = [f"mknod -m 666 /dev/{name} c 1 3" for name in CHARACTER_DEVICES]
    node.exec("set -e\n" + "\n".join(make), check=True)
    libraries = [f"/usr/local/Ascend/driver/lib64/{name}" for name in ("common", "driver")]
    node.exec(["mkdir", "-p", "/usr/local/dcmi", *libraries], check=True)
    node.write("/usr/local/dcmi/libdcmi.so", "")
    node.write("/usr/local/Ascend/driver/version.info", VERSION_INFO)
    node.write("/usr/local/Ascend/firmware/version.info", FIRMWARE_INFO)
    node.write("/etc/ascend_install.info", INSTALL_INFO)
    node.write("/etc/hccn.conf", hccn_conf(node.index))
    node.write(NPU_SMI, npu_smi({die: (health or {}).get(die, "OK") for die in range(DIES)}), 0o755)
    node.write(HCCN_TOOL, hccn_tool(node.index), 0o755)


def undress(node: Node) -> None:
    """Take away all that `dress_as_a3` brought; nothing happens where it brought nothing."""
    devices = " ".join(f"/dev/{name}" for name in CHARACTER_DEVICES)
    node.exec(f"rm -f {devices} {NPU_SMI} /etc/ascend_install.info /etc/hccn.conf", check=True)
    node.exec("rm -rf /usr/local/dcmi /usr/local/Ascend", check=True)


# --- npu-smi ----------------------------------------------------------------------------

RULE = "+" + "-" * 96 + "+"
HEAD_RULE = "+---------------------------+---------------+----------------------------------------------------+"
THICK_RULE = "+===========================+===============+====================================================+"


def npu_smi(health: Mapping[int, str]) -> str:
    """Return the script. `-i` takes a card (0..7), `-c` one of its two chips."""
    states = "\n".join(f"    {die}) echo {state} ;;" for die, state in health.items())
    return f"""\
#!/bin/sh
# Stand-in for npu-smi on an Atlas A3, for tests. It prints recorded formats.
usage() {{
    echo 'Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]'
}}
health() {{
    case "$1" in
{states}
    esac
}}
field() {{
    printf '\\t%-31s: %s\\n' "$1" "$2"
}}
[ "$1" = info ] || {{ usage; exit 1; }}
shift
if [ $# = 0 ]; then
    cat <<'TABLE'
{table(health)}TABLE
    exit 0
fi
kind='' card='' chip=''
while [ $# -gt 0 ]; do
    case "$1" in
        -m | -l) kind=$1 ;;
        -t) kind=$2; shift ;;
        -i) card=$2; shift ;;
        -c) chip=$2; shift ;;
        *) usage; exit 1 ;;
    esac
    shift
done
if [ "$kind" = -m ]; then
    cat <<'TABLE'
{mapping()}TABLE
    exit 0
fi
if [ "$kind" = -l ]; then
    field 'Total Count' {DIES // 2}
    for card in 0 1 2 3 4 5 6 7; do
        echo
        field 'NPU ID' "$card"
        field 'Chip Count' 2
    done
    exit 0
fi
if [ "$kind" = topo ]; then
    cat <<'TABLE'
{topology()}TABLE
    exit 0
fi
case "$card" in
    [0-7]) ;;
    *) echo 'Invalid card id.'; echo 'Error parameter of -i'; usage; exit 1 ;;
esac
case "$chip" in
    '' | [01]) ;;
    *) echo 'Invalid chip id.'; echo 'Error parameter of -c'; usage; exit 1 ;;
esac
die=$((card * 2 + ${{chip:-0}}))
case "$kind" in
    health)
        if [ -n "$chip" ]; then
            field 'Health Status' "$(health "$die")"
            if [ "$(health "$die")" = OK ]; then
                field 'Error Code' NA
                field 'Error Information' NA
            else
                field 'Error Code' 80E01801
                field 'Error Information' 'node type=SOC, sensor type=Temperature'
            fi
            exit 0
        fi
        field 'NPU ID' "$card"
        field 'Chip Count' 2
        for chip in 0 1; do
            echo
            field 'Health' "$(health $((card * 2 + chip)))"
            field 'Chip ID' "$chip"
        done
        ;;
    board)
        field 'NPU ID' "$card"
        if [ -n "$chip" ]; then
            field 'NPU Name' 9392
            field 'Chip ID' "$chip"
            field 'Chip Type' Ascend
            field 'Chip Name' Ascend910
            exit 0
        fi
        field 'Software Version' {DRIVER}
        field 'Firmware Version' 7.8.0.6.201
        field 'Compatibility' OK
        field 'PCI Vendor ID' 0x19E5
        field 'PCI Device ID' 0xD803
        field 'Chip Count' 2
        ;;
    usages)
        field 'NPU ID' "$card"
        field 'Chip Count' 2
        for chip in ${{chip:-0 1}}; do
            echo
            field 'HBM Capacity(MB)' 65536
            field 'HBM Usage Rate(%)' 4
            field 'Aicore Usage Rate(%)' 0
            field 'Chip ID' "$chip"
        done
        ;;
    spod-info)
        field 'SDID' $((167772160 + die))
        field 'Super Pod Size' 384
        field 'Super Pod ID' 0
        field 'Server Index' 40
        ;;
    ecc)
        field 'NPU ID' "$card"
        field 'Chip Count' 2
        for chip in ${{chip:-0 1}}; do
            echo
            field 'HBM Single Bit Error Count' 0
            field 'HBM Double Bit Error Count' 0
            field 'HBM Double Bit Isolated Pages Count' 0
            field 'Chip ID' "$chip"
        done
        ;;
    *)
        echo "This device does not support querying $kind."
        exit 193
        ;;
esac
"""


def table(health: Mapping[int, str]) -> str:
    """Return `npu-smi info` of an idle A3: two rows a die, "-" as the power of a card's second."""
    lines = [RULE, f"| npu-smi {DRIVER:<24} Version: {DRIVER:<53}|", HEAD_RULE]
    lines.append("| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|")
    lines.append("| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |")
    lines.append(THICK_RULE)
    for die in range(DIES):
        card, chip = divmod(die, 2)
        power = "-" if chip else f"{160 + die * 0.7:.1f}"
        hbm = 2870 + die if chip else 3110 + die
        bus, pages, memory = f"0000:{BUSES[die]}:00.0", "0    / 0", f"{hbm:<5}/ 65536"
        lines.append(f"| {card:<5} {'Ascend910':<20}| {health[die]:<14}| {power:<11} {35 + die % 5:<17} {pages:<21}|")
        lines.append(f"| {chip:<5} {die:<20}| {bus:<14}| {0:<11} {pages:<17} {memory:<21}|")
        lines.append(THICK_RULE if chip else RULE)
    lines.append(HEAD_RULE)
    lines.append("| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |")
    lines.append(THICK_RULE)
    for card in range(DIES // 2):
        lines.append(f"| {f'No running processes found in NPU {card}':<95}|")
        lines.append(THICK_RULE)
    return "\n".join(lines) + "\n"


def mapping() -> str:
    """Return `npu-smi info -m`: five columns on A3, and an Mcu row a card without logic ids."""
    rows = [("NPU ID", "Chip ID", "Chip Logic ID", "Chip Phy-ID", "Chip Name")]
    for card in range(DIES // 2):
        rows += [(str(card), str(chip), str(card * 2 + chip), str(card * 2 + chip), "Ascend910") for chip in (0, 1)]
        rows.append((str(card), "2", "-", "-", "Mcu"))
    return "".join("\t" + "".join(f"{cell:<31}" for cell in row[:-1]) + f"{row[-1]}\n" for row in rows)


def topology() -> str:
    """Return `npu-smi info -t topo`: SIO between the dies of a card, HCCS_SW elsewhere."""
    names = [f"Phy-ID{die}" for die in range(DIES)]
    lines = [" " * 11 + "".join(f"{name:<11}" for name in names).rstrip()]
    for row in range(DIES):
        links = ["X" if row == col else "SIO" if row // 2 == col // 2 else "HCCS_SW" for col in range(DIES)]
        lines.append(f"{names[row]:<11}" + "".join(f"{link:<11}" for link in links).rstrip())
    return "\n".join(lines) + "\n"


# --- hccn_tool --------------------------------------------------------------------------


def device_address(index: int) -> str:
    """Return the beginning of a node's device addresses; the die adds 100 + its id."""
    return f"10.98.{index}."


def hccn_conf(index: int) -> str:
    """Return `/etc/hccn.conf`."""
    keys = "address_{0}={1}{2}\nnetmask_{0}=255.255.0.0\nnetdetect_{0}=10.98.0.1\ngateway_{0}=10.98.0.1\n"
    each = keys + "send_arp_status_{0}=1\n"
    return "".join(each.format(die, device_address(index), 100 + die) for die in range(DIES))


def hccn_tool(index: int) -> str:
    """Return the script. `-i` takes a die's physical id (0..15); outputs name no device."""
    return f"""\
#!/bin/sh
# Stand-in for hccn_tool on an Atlas A3, for tests. It prints recorded formats.
device=''
[ "$1" = -i ] && {{ device=$2; shift 2; }}
case "$device" in
    [0-9] | 1[0-5]) ;;
    *) echo "hccn tool: no such device $device" >&2; exit 4 ;;
esac
case "$*" in
    '-ip -g')
        echo "ipaddr:{device_address(index)}$((100 + device))"
        echo 'netmask:255.255.0.0'
        ;;
    '-link -g') echo 'link status: UP' ;;
    '-net_health -g') echo 'net health status: Success' ;;
    '-netdetect -g') echo 'netdetect address: 10.98.0.1' ;;
    '-gateway -g') echo "default gateway:10.98.0.1, Iface:eth$device" ;;
    '-vnic -g')
        echo 'vnic link status: UP'
        echo "vnic ipaddr: 192.168.{index}.$((199 - device))"
        echo 'vnic netmask: 255.255.255.0'
        ;;
    '-tls -g')
        printf '%s' "dev_id:$device, tls switch[0](0:disable, 1:enable), "
        echo 'tls preconfigured[1](0:non-preset, 1:preset), tls alarm time threshold[60]days'
        ;;
    '-lldp -g')
        echo 'Port ID TLV'
        printf '\\tIfname: 400GE1/1/%s:1\\n' "$device"
        ;;
    '-fec -g') echo 'fec mode: rs FEC mode' ;;
    '-optical -g')
        echo 'optical info:'
        echo 'present              : present'
        echo 'Tx Power             : 1.1272 mW'
        echo 'Rx Power             : 1.0189 mW'
        echo 'Rx Los Flag          : 0x0'
        ;;
    '-link_stat -g')
        echo "[devid $device] current time        : Thu Jan  1 00:10:00 2026"
        echo "[devid $device] link up count       : 1"
        echo "[devid $device] link change records :"
        echo "[devid $device]    Thu Jan  1 00:00:30 2026    LINK UP"
        ;;
    '-stat -g')
        echo 'packet statistics:'
        echo 'roce_rx_err_pkt_num:0'
        echo 'roce_tx_err_pkt_num:0'
        ;;
    '-ping -g address '* | '-hccs_ping -g address '*)
        target=${{4}}
        echo "device $device PING $target"
        for packet in 0 1 2; do
            echo "recv seq=$packet,time=0.418000ms"
        done
        echo '3 packets transmitted, 3 received, 0.00% packet loss'
        ;;
    *) echo 'hccn tool: invalid command' >&2; exit 1 ;;
esac
"""
