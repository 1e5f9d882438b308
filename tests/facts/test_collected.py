"""Files of many commands: where one ends, which parser reads it, what none reads."""

from __future__ import annotations

import pytest

from provision.facts.collected import parse_collected


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("/usr/local/Ascend/driver/tools/hccn_tool -i 0 -link -g", "hccn-link"),
        ("hccn_tool -g -link_stat -i 0", "hccn-link-stat"),
        ("hccn_tool -i 0 -hccs_ping -g address 192.168.2.199", "hccn-ping"),
        ("hccn_tool -i 0 -ip -s address 29.1.0.1 netmask 255.255.0.0", "hccn-set"),
        ("$ npu-smi info", "npu-smi-info"),
        ("root@node1:~# npu-smi info -t board -i 0", "npu-smi-board"),
        ("npu-smi info -m", "npu-smi-mapping"),
        ("cat /usr/local/Ascend/cann-8.5.0/aarch64-linux/ascend_toolkit_install.info", "cann-version"),
        ("cat /usr/local/Ascend/nnal/atb/latest/version.info", "cann-version"),
        ("cat /etc/ascend_install.info", "ascend-install-info"),
        ("lspci -n -d 19e5:", "lspci"),
        ("dmesg | grep ascend", "kernel-log"),
        ("ls -l /dev/davinci*", "davinci-devices"),
        ("uname -a", None),
        ("hccn_tool -i 0 -unheard_of -g", None),
    ],
)
def test_which_parser_reads_a_command(command: str, kind: str | None) -> None:
    (part,) = parse_collected(f"{command}\nLinux node1\n").parts
    assert part.kind == kind


def test_what_no_parser_reads_and_what_a_part_complains_of_is_told() -> None:
    read = parse_collected("Datetime: now\n\nuname -a\nLinux\n\nhccn_tool -i 4 -link -g\nNo such device\n")
    assert read.problems == (
        "uname -a: no parser",
        "hccn_tool -i 4 -link -g: no link state in the output: No such device",
    )


def test_an_output_is_not_taken_for_a_command() -> None:
    text = "npu-smi info\nUsage: npu-smi info <watch|proc|-h>\n| npu-smi 25.2.0  Version: 25.2.0 |\ndmesg: refused\n"
    assert len(parse_collected(text).parts) == 1
