"""``npu-smi``: the tables and key lists of driver 25.5 on A2 and A3, filled from the node's state.

Messages go to stdout and the exit status is the error's code & 0xFF, as with the real tool.
"""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import CONTAINER, Node, is_root
from provision.rehearsal.standins.faulty import maybe_hang
from provision.rehearsal.standins.npu import HBM, Die, Use, dies, occupy, power_of, uses

VERSION = "25.5.1"
FIRMWARE = "7.8.0.6.201"
_RULE = "+" + "-" * 96 + "+"
_COLUMNS = "+" + "-" * 27 + "+" + "-" * 15 + "+" + "-" * 52 + "+"
_DOUBLE = "+" + "=" * 27 + "+" + "=" * 15 + "+" + "=" * 52 + "+"
_USAGE = "Usage: npu-smi info <watch|proc|-h|-m|-l|-t type> [Options...]"
_IN_USE = "dcmi model initialized failed, because the device is used. ret is -8020"
_NO_ACCESS = "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005"


class _Refusal(Exception):
    """Text for stdout and the exit status."""

    def __init__(self, text: str, exit: int) -> None:
        super().__init__(text)
        self.text = text
        self.exit = exit


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run one npu-smi command."""
    try:
        _take_turn(node, argv)
        text = _answer(node, argv)
    except _Refusal as refusal:
        sys.stdout.write(refusal.text + "\n")
        return refusal.exit
    sys.stdout.write(text + "\n")
    return 0


def _take_turn(node: Node, argv: list[str]) -> None:
    """Neither npu-smi nor hccn_tool may run beside another one on the host: whoever comes second is told so."""
    if is_root() and argv[:1] == ["info"] and not occupy(node):
        raise _Refusal(_IN_USE, 172)
    maybe_hang(node, "npu-smi")


def _refuse_in_container(node: Node) -> None:
    """In a container the tool needs what was mounted and given to it."""
    if CONTAINER not in os.environ:
        return
    from provision.rehearsal.standins.inside import access

    problem = access(node)
    if problem:
        raise _Refusal(problem, 172 if problem.endswith("-8020") else 187)


def _seen(node: Node) -> list[Die]:
    """The dies that the driver shows: in a container those which were given to it."""
    found = dies(node)
    if CONTAINER not in os.environ:
        return found
    from provision.rehearsal.standins.inside import visible

    given = visible(node)
    return [die for die in found if die.number in given]


def _version(node: Node) -> str:
    """The driver's version, which is the tool's own too."""
    return node.state.get("driver/version", VERSION)


def _firmware(node: Node) -> str:
    return node.state.get("firmware/version", FIRMWARE)


def _name(node: Node) -> str:
    """What the driver calls the chip: ``npu/name`` is the fault of a node with other cards."""
    return node.state.get("npu/name", "Ascend910" if node.on_a3 else "910B3")


def _answer(node: Node, argv: list[str]) -> str:
    if argv[:1] in (["-v"], ["--version"]):
        return f"npu-smi version: {_version(node)}"
    if not is_root():
        raise _Refusal(_NO_ACCESS, 187)
    _refuse_in_container(node)
    if node.state.get("npu/driver") == "broken":
        raise _Refusal(_IN_USE, 172)
    if argv[:1] != ["info"]:
        raise _Refusal(
            f"Error parameter of {argv[0] if argv else ''}\nUsage: npu-smi <info|set|upgrade> [Options...]", 40
        )
    options = argv[1:]
    if not options:
        return _info(node)
    if options == ["-m"]:
        return _mapping(node)
    if options == ["-l"]:
        return _cards(node)
    return _typed(node, options)


def _info(node: Node) -> str:
    found, held = _seen(node), uses(node)
    phy = "Phy-ID" if node.on_a3 else ""
    lines = [
        _RULE,
        f"| {'npu-smi ' + _version(node):<33}{'Version: ' + _version(node):<62}|",
        _COLUMNS,
        "| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|",
        f"| Chip  {phy:<20}| Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |",
        _DOUBLE,
    ]
    for index, die in enumerate(found):
        lines += _rows(node, die)
        same_card = index + 1 < len(found) and found[index + 1].card == die.card
        lines.append(_RULE if same_card else _DOUBLE)
    lines += [
        _COLUMNS,
        "| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |",
    ]
    lines.append(_DOUBLE)
    for card in dict.fromkeys(die.card for die in found):
        lines += _processes(card, [die for die in found if die.card == card], held)
    return "\n".join(lines)


def _rows(node: Node, die: Die) -> list[str]:
    phy = str(die.number) if node.on_a3 else ""
    hbm = f"{die.used:<5}/ {HBM}"
    return [
        f"| {die.card:<6}{_name(node):<20}| {die.health:<14}| {die.power:<12}{die.temperature:<18}{'0    / 0':<21}|",
        f"| {die.chip:<6}{phy:<20}| {die.bus:<14}| {die.aicore:<12}{'0    / 0':<18}{hbm:<21}|",
    ]


def _processes(card: int, found: list[Die], held: list[Use]) -> list[str]:
    rows = [
        f"| {card:<8}{die.chip:<18}| {use.pid:<14}| {use.name[:13]:<25}| {use.mb:<24}|"
        for die in found
        for use in held
        if use.die == die.number
    ]
    return [*(rows or [f"| {f'No running processes found in NPU {card}':<95}|"]), _DOUBLE]


def _mapping(node: Node) -> str:
    """``-m``: chips, then each card's management controller."""
    on_a3 = node.on_a3
    heads = ["NPU ID", "Chip ID", "Chip Logic ID", *(["Chip Phy-ID"] if on_a3 else []), "Chip Name"]
    lines = ["\t" + "".join(f"{head:<31}" for head in heads[:-1]) + heads[-1]]
    found = _seen(node)
    for card in dict.fromkeys(die.card for die in found):
        for die in (d for d in found if d.card == card):
            numbers = [die.card, die.chip, die.number, *([die.number] if on_a3 else [])]
            lines.append("\t" + "".join(f"{n:<31}" for n in numbers) + ("" if on_a3 else "Ascend ") + _name(node))
        blanks = [str(card), "2" if on_a3 else "1", "-", *(["-"] if on_a3 else [])]
        lines.append("\t" + "".join(f"{n:<31}" for n in blanks) + "Mcu")
    return "\n".join(lines)


def _cards(node: Node) -> str:
    found = _seen(node)
    cards = list(dict.fromkeys(die.card for die in found))
    lines = [_key("Total Count", len(cards))]
    for card in cards:
        lines += ["", _key("NPU ID", card), _key("Chip Count", sum(die.card == card for die in found))]
    return "\n".join(lines)


def _typed(node: Node, options: list[str]) -> str:
    """``-t TYPE -i CARD [-c CHIP]``, in any order."""
    given = dict(zip(options[::2], options[1::2], strict=False))
    kind = given.get("-t", "")
    if kind == "topo":
        return _topology(node)
    makers = {"health": _health, "board": _board, "common": _common, "usages": _usages, "memory": _memory, "ecc": _ecc,
              "temp": _temperature, "power": _power, "spod-info": _super_pod, "product": _product, "hccs": _hccs,
              "proc-mem": _process_memory}  # fmt: skip
    if kind not in makers:
        raise _Refusal(f"Error parameter of -t\n{_USAGE}", 40)
    card = [die for die in _seen(node) if str(die.card) == given.get("-i")]
    if not card:
        raise _Refusal(f"Invalid card id.\nError parameter of -i\n{_USAGE}", 40)
    chips = [die for die in card if str(die.chip) == given.get("-c", str(die.chip))]
    if not chips:
        raise _Refusal(f"Invalid chip id.\nError parameter of -c\n{_USAGE}", 40)
    return makers[kind](node, chips, "-c" in given)


def _health(node: Node, chips: list[Die], by_chip: bool) -> str:
    if by_chip:
        return "\n".join(_health_of_chip(chips[0]))
    lines = _head(chips)
    for die in chips:
        lines += ["", _key("Health", die.health), _key("Chip ID", die.chip)]
    return "\n".join([*lines, "", _key("Health", "OK"), _key("Chip Name", "MCU")])


def _health_of_chip(die: Die) -> list[str]:
    """One text a code; all but the first without a key, with blank lines between."""
    if die.health == "OK":
        return [_key("Health Status", "OK"), _key("Error Code", "NA"), _key("Error Information", "NA")]
    first, *others = [_ERRORS.get(code.upper(), _UNKNOWN) for code in die.error_code.split()] or ["NA"]
    lines = [_key("Health Status", die.health), _key("Error Code", die.error_code), _key("Error Information", first)]
    return [*lines, *(line for text in others for line in ("", _key("", text)))]


_ERRORS = {
    "80E01801": "node type=SOC, sensor type=Hardware, event state=Uncorrectable ECC error",
    "A4025021": "ascend_monitor adda heart beat lost error",
    "8C03A000": "node type=process-manager, sensor type=General Software, event state=The process start failed or exit abnormally",
    "8C084E00": "node type=adda, sensor type=Heartbeat Sensor, event state=Heartbeat Lost.",
    "81078603": "node type=port, sensor type=Link Sensor, event state=link up to down",
}  # fmt: skip
_UNKNOWN = "There is no information about this error code"


def _board(node: Node, chips: list[Die], by_chip: bool) -> str:
    die = chips[0]
    if by_chip:
        return "\n".join(_board_of_chip(node, die))
    values = {
        "NPU ID": die.card, "Product Name": "IT21HMDC_Bin5", "Model": "NA", "Manufacturer": "Huawei",
        "Serial Number": f"1025C9{48791 + die.card:06d}", "Software Version": _version(node),
        "Firmware Version": _firmware(node), "Compatibility": node.state.get("firmware/compatibility", "OK"), "Board ID": "0x60", "PCB ID": "A", "BOM ID": "1", "PCIe Bus Info": die.bus,
        "Slot ID": die.card, "Class ID": "NA", "PCI Vendor ID": "0x19E5",
        "PCI Device ID": "0xD803" if node.on_a3 else "0xD802", "Subsystem Vendor ID": "0x19E5",
        "Subsystem Device ID": "0x3003", "Chip Count": 2 if node.on_a3 else 1,
    }  # fmt: skip
    return "\n".join(_key(key, value) for key, value in values.items())


def _board_of_chip(node: Node, die: Die) -> list[str]:
    if node.on_a3:
        lines = [_key("NPU ID", die.card), _key("NPU Name", "9392"), _key("Chip ID", die.chip)]
        lines.append(_key("Chip Name", _name(node)))
    else:
        lines = [_key("NPU ID", die.card), _key("Chip ID", die.chip), _key("Chip Type", "Ascend")]
        lines += [_key("Chip Name", _name(node)), _key("Chip Version", "V1")]
    return [*lines, _key("PCIe Bus Info", die.bus), _key("Firmware Version", _firmware(node))]


def _common(node: Node, chips: list[Die], by_chip: bool) -> str:
    lines = _head(chips)
    for die in chips:
        values = {"Chip ID": die.chip, "Memory Usage Rate(%)": 0, "HBM Usage Rate(%)": die.used * 100 // HBM,
                  "Aicore Usage Rate(%)": die.aicore, "Aicore Freq(MHZ)": 1800, "Aicore curFreq(MHZ)": 800,
                  "Aicore Count": 24, "Temperature(C)": die.temperature, "NPU Real-time Power(W)": die.power}  # fmt: skip
        lines += ["", *(_key(key, value) for key, value in values.items())]
    return "\n".join([*lines, "", _key("Chip Name", "mcu"), _key("Temperature(C)", 38)])


def _usages(node: Node, chips: list[Die], by_chip: bool) -> str:
    lines = _head(chips)
    for die in chips:
        values = {"DDR Capacity(MB)": 0, "DDR Usage Rate(%)": 0, "DDR Hugepages Total(page)": 0,
                  "DDR Hugepages Usage Rate(%)": 0, "HBM Capacity(MB)": HBM, "HBM Usage Rate(%)": die.used * 100 // HBM,
                  "Aicore Usage Rate(%)": die.aicore, "Aivector Usage Rate(%)": 0, "Aicpu Usage Rate(%)": 0,
                  "Ctrlcpu Usage Rate(%)": 0, "DDR Bandwidth Usage Rate(%)": 0, "HBM Bandwidth Usage Rate(%)": 0,
                  "Chip ID": die.chip}  # fmt: skip
        lines += ["", *(_key(key, value) for key, value in values.items())]
    return "\n".join(lines)


def _memory(node: Node, chips: list[Die], by_chip: bool) -> str:
    lines = _head(chips)
    for die in chips:
        values = {"DDR Capacity(MB)": 0, "DDR Clock Speed(MHz)": 0, "HBM Capacity(MB)": HBM,
                  "HBM Clock Speed(MHz)": 1600, "HBM Temperature(C)": die.temperature + 5,
                  "HBM Manufacturer ID": "0x56", "Chip ID": die.chip}  # fmt: skip
        lines += ["", *(_key(key, value) for key, value in values.items())]
    return "\n".join(lines)


def _ecc(node: Node, chips: list[Die], by_chip: bool) -> str:
    lines = [_wide("NPU ID", chips[0].card), _wide("Chip Count", len(chips))]
    for die in chips:
        counts = {bits: int(node.state.number(f"npu/{die.number}/ecc_{bits.lower()}")) for bits in ("Single", "Double")}
        lines.append("")
        for memory in ("DDR", "HBM"):
            for what in ("Error Count", "Aggregate Total Err Cnt", "Isolated Pages Count"):
                for bits in ("Single", "Double"):
                    lines.append(_wide(f"{memory} {bits} Bit {what}", counts[bits] if memory == "HBM" else 0))
        lines.append(_wide("Chip ID", die.chip))
    return "\n".join(lines)


def _temperature(node: Node, chips: list[Die], by_chip: bool) -> str:
    lines = _head(chips)
    for die in chips:
        lines += ["", _key("NPU Temperature (C)", die.temperature), _key("Chip ID", die.chip)]
    return "\n".join(lines)


def _power(node: Node, chips: list[Die], by_chip: bool) -> str:
    """Power is measured by the card: each of its chips tells the card's."""
    lines = _head(chips)
    for die in chips:
        lines += ["", _key("NPU Real-time Power(W)", power_of(node, die.card)), _key("Chip ID", die.chip)]
    return "\n".join(lines)


def _super_pod(node: Node, chips: list[Die], by_chip: bool) -> str:
    if not node.on_a3:
        raise _Refusal("This device does not support querying spod-info.", 193)
    index = int(node.state.number("npu/server_index", 39 + node.number))
    values = {"SDID": (index << 22) + chips[0].number * 65537, "Super Pod Size": 384,
              "Super Pod ID": int(node.state.number("npu/super_pod_id")), "Server Index": index}  # fmt: skip
    return "\n".join(_key(key, value) for key, value in values.items())


def _hccs(node: Node, chips: list[Die], by_chip: bool) -> str:
    """Lane and packet counters of the links within the node, seven on these machines."""
    packets = [1993002168 + 559437 * link + 7103 * chips[0].number for link in range(7)]
    health = node.state.get(f"npu/{chips[0].number}/hccs", "OK")
    errors = [0] * 6 + [0 if health == "OK" else 4711]
    rows: dict[str, list[int] | list[str]] = {
        "lane mode": [4] * 7, "link lane list": ["1111"] * 7, "link speed": [224] * 7, "tx packets": packets,
        "tx bytes": [20 * count for count in packets], "rx packets": packets, "rx bytes": [20 * n for n in packets],
        "retry count": errors, "error count": errors,
    }  # fmt: skip
    lines = [_key("hccs health status", health)]
    return "\n".join([*lines, *(_key(f"hccs {name}", _list(values)) for name, values in rows.items())])


def _list(values: list[int] | list[str]) -> str:
    return "[" + "".join(f"{value:<13}" for value in values).rstrip() + "]"


def _process_memory(node: Node, chips: list[Die], by_chip: bool) -> str:
    lines = [_key("NPU ID", chips[0].card), *([] if by_chip else [_key("Chip Count", len(chips))])]
    held = uses(node)
    for die in chips:
        rows = [
            f"\tProcess id:{use.pid:<7} Process name:{use.name[:15]:<18} Process memory(MB):{use.mb}"
            for use in held
            if use.die == die.number
        ]
        lines += [*([] if by_chip else [""]), *(rows or ["\tNo process in device."]), _key("Chip ID", die.chip)]
    return "\n".join(lines)


def _product(node: Node, chips: list[Die], by_chip: bool) -> str:
    return "This device does not support querying product."


def _topology(node: Node) -> str:
    found = _seen(node)
    names = [f"Phy-ID{die.number}" if node.on_a3 else f"NPU{die.number}" for die in found]
    heads = names + ([] if node.on_a3 else ["CPU Affinity"])
    lines = [" " * 11 + "".join(f"{name:<11}" for name in heads[:-1]) + heads[-1]]
    for name, die in zip(names, found, strict=True):
        links = [_link(node, die, other) for other in found]
        affinity = [] if node.on_a3 else [("144-167", "96-119", "0-23", "48-71")[die.number // 2 % 4]]
        lines.append("".join(f"{cell:<11}" for cell in [name, *links, *affinity]).rstrip())
    legend = ["", "Legend:", "", "  X    = Self", "  HCCS = Connection traversing HCCS."]
    if node.on_a3:
        legend += ["  HCCS_SW = Connection traversing HCCS and Switch.", "  SIO  = Connection traversing SIO."]
    return "\n".join([*lines, *legend, "  NA   = Unknown relationship."])


def _link(node: Node, die: Die, other: Die) -> str:
    if die.number == other.number:
        return "X"
    if not node.on_a3:
        return "HCCS"
    return "SIO" if die.card == other.card else "HCCS_SW"


def _head(chips: list[Die]) -> list[str]:
    return [_key("NPU ID", chips[0].card), _key("Chip Count", len(chips))]


def _key(key: str, value: object) -> str:
    return f"\t{key:<31}: {value}"


def _wide(key: str, value: object) -> str:
    return f"\t{key:<41}: {value}"
