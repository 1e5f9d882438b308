"""Every die in detail: few calls, one after the other, and what hangs or is refused is said with its call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.npu_detail import NpuDetail
from provision.results import Result

Look = Callable[..., Any]
Tool = Callable[[str, str], Path]

MAPS = {
    "A2": "NPU ID  Chip ID  Chip Logic ID  Chip Name\\n"
    "0 0 0 Ascend 910B3\\n0 1 - Mcu\\n5 0 1 Ascend 910B3\\n5 1 - Mcu\\n",
    "A3": "NPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name\\n"
    "3 0 6 6 Ascend910\\n3 1 7 7 Ascend910\\n3 2 - - Mcu\\n",
    "950": "NPU ID  Slot ID  Chip ID  Chip Phy-ID  Chip Name\\n0 4 0 0 Ascend950PR\\n1 6 0 1 Ascend950PR\\n",
}

SCRIPT = """\
echo "$*" >>"$HOME/calls"
[ ! -e "$HOME/busy" ] || echo 'called while another call runs' >>"$HOME/calls"
: >"$HOME/busy"; trap 'rm -f "$HOME/busy"' EXIT
case "$*" in
  'info -m') printf '{map}';;
  *'health -i '*' -c 1') printf 'Health Status : Alarm\\nError Code : 81078603\\nError Information : link down\\n';;
  *health*) printf 'Health Status : OK\\nError Code : NA\\nError Information : NA\\n';;
  *ecc*) printf 'NPU ID : x\\n'
    for c in {chips}; do printf 'HBM Double Bit Error Count : %s\\nChip ID : %s\\n' "$c" "$c"; done;;
  *board*-c*) printf 'NPU Name : 9392\\nChip Name : Ascend910\\n';;
  *board*) printf 'Firmware Version : 7.8.0.6.201\\nSoftware Version : 25.5.1\\nCompatibility : OK\\n{name}';;
  *spod-info*) printf 'SDID : 7\\nSuper Pod Size : 384\\nSuper Pod ID : 2\\nServer Index : 40\\n';;
  *topo*) printf '  NPU0 NPU1\\nNPU0 X HCCS\\nNPU1 HCCS X\\n';;
  *common*) printf 'Temperature(C) : 46\\n';;
  *proc-mem*) printf 'Process id:12  Process name:python  Process memory(MB):100\\nChip ID : 0\\n';;
  *hccs*) printf 'hccs health status : OK\\n';;
  *) echo 'Error parameter of -t'; exit 40;;
esac
"""


@pytest.fixture
def npus(tool: Tool, tmp_path: Path) -> Callable[[str], Callable[[], list[str]]]:
    """``npus(kind)`` puts an npu-smi of this kind of server in place; what it gives tells the calls made so far."""

    def make(kind: str) -> Callable[[], list[str]]:
        chips = "0 1" if kind == "A3" else "0"
        name = "Chip Name : Ascend950PR\\n" if kind == "950" else ""
        script = SCRIPT.replace("{map}", MAPS[kind]).replace("{chips}", chips).replace("{name}", name)
        tool("npu-smi", script)
        return lambda: [line.removeprefix("info ") for line in (tmp_path / "calls").read_text().splitlines()]

    return make


def test_a_card_of_an_a3_in_eight_calls(look: Look, npus: Any) -> None:
    calls = npus("A3")
    value = look(NpuDetail())
    assert calls() == [
        *("-m", "-t health -i 3 -c 0", "-t health -i 3 -c 1", "-t ecc -i 3", "-t board -i 3", "-t board -i 3 -c 0"),
        *("-t spod-info -i 3 -c 0", "-t topo"),
    ]
    assert [(d.npu, d.chip, d.device, d.health, d.codes, d.information) for d in value.dies] == [
        (3, 0, 6, "OK", (), ()),
        (3, 1, 7, "Alarm", ("81078603",), ("link down",)),
    ]
    assert [d.ecc.uncorrected for d in value.dies] == [0, 1]
    assert value.board(3).firmware_version == "7.8.0.6.201"
    assert value.board(4) is None
    assert (value.soc, value.super_pod.pod, value.super_pod.server_index) == ("ascend910_9392", 2, 40)
    assert value.topology.link("NPU0", "NPU1") == "HCCS"
    assert value.problems == ("-t health -i 3 -c 1: its health is Alarm, codes 81078603",)


def test_an_a2_has_no_super_pod_to_ask_for(look: Look, npus: Any) -> None:
    calls = npus("A2")
    value = look(NpuDetail())
    assert calls() == [
        *("-m", "-t health -i 0 -c 0", "-t health -i 5 -c 0", "-t ecc -i 0", "-t ecc -i 5", "-t board -i 0"),
        *("-t board -i 5", "-t board -i 0 -c 0", "-t topo"),
    ]
    assert [(d.npu, d.device, d.name) for d in value.dies] == [(0, 0, "Ascend 910B3"), (5, 1, "Ascend 910B3")]
    assert (value.super_pod, value.problems) == (None, ())


def test_a_950_is_asked_by_card_alone(look: Look, npus: Any) -> None:
    calls = npus("950")
    value = look(NpuDetail())
    assert not [call for call in calls() if "-c" in call]
    assert [(d.npu, d.chip, d.device, d.health) for d in value.dies] == [(0, 0, 0, "OK"), (1, 0, 1, "OK")]
    assert (value.soc, value.problems) == ("ascend950pr", ())


def test_more_on_demand(look: Look, npus: Any) -> None:
    calls = npus("A2")
    value = look(NpuDetail(("common", "proc-mem", "hccs")))
    assert calls()[-6:] == [
        *("-t common -i 0", "-t common -i 5", "-t proc-mem -i 0", "-t proc-mem -i 5", "-t hccs -i 0 -c 0"),
        "-t hccs -i 5 -c 0",
    ]
    assert [(d.common.temp_c, d.hccs.health) for d in value.dies] == [(46, "OK"), (46, "OK")]
    assert [(p.npu, p.process.pid) for p in value.processes] == [(0, 12), (5, 12)]


@pytest.mark.parametrize("status", [124, 143])
def test_three_calls_that_hang_are_enough(status: int, look: Look, npus: Any, tool: Tool) -> None:
    calls = npus("A2")
    tool("timeout", f'shift; case "$*" in *-m) "$@";; *) exit {status};; esac\n')
    value = look(NpuDetail())
    assert calls() == ["-m"]
    assert [d.health for d in value.dies] == [None, None]
    assert value.problems == (
        "-t health -i 0 -c 0: npu-smi hangs: no answer within 10 s",
        "-t health -i 5 -c 0: npu-smi hangs: no answer within 10 s",
        "-t ecc -i 0: npu-smi hangs: no answer within 10 s",
        "5 calls were not made, the first -t ecc -i 5: npu-smi hung 3 times or took over 45 s",
    )


def test_no_call_is_begun_when_the_time_is_up(look: Look, npus: Any, tool: Tool, tmp_path: Path) -> None:
    calls = npus("A2")
    tool("date", f'echo x >>"{tmp_path}/asked"; echo $(($(wc -l <"{tmp_path}/asked") * 20))\n')
    value = look(NpuDetail())
    assert calls() == ["-m", "-t health -i 0 -c 0"]
    assert value.problems == (
        "7 calls were not made, the first -t health -i 5 -c 0: npu-smi hung 3 times or took over 45 s",
    )


def test_a_refusal_ends_the_questions(look: Look, tool: Tool) -> None:
    tool("npu-smi", "echo 'dcmi module initialize failed. ret is -8005'; exit 187\n")
    value = look(NpuDetail(("common",)))
    assert value.dies == ()
    assert value.problems[0].startswith("-m: dcmi module initialize failed. ret is -8005 (inner error")
    assert value.problems[1] == "-m: no NPU in the output"


def test_a_card_that_went_away_is_said(look: Look, npus: Any, tool: Tool, tmp_path: Path) -> None:
    npus("A2")
    real = (tmp_path / "bin" / "npu-smi").rename(tmp_path / "bin" / "real")
    gone = "echo 'Invalid card id.'; echo 'Error parameter of -i'; exit 40"
    tool("npu-smi", f'case "$*" in *"-i 5"*) {gone};; esac; exec {real} "$@"\n')
    value = look(NpuDetail())
    assert [d.health for d in value.dies] == ["OK", None]
    assert [board.npu for board in value.boards] == [0]
    assert "-t health -i 5 -c 0: Invalid card id" in value.problems


def test_without_the_tool(look: Look) -> None:
    value = look(NpuDetail())
    if value.binary is not None:
        pytest.skip("this machine has npu-smi")
    assert value.problems == ("npu-smi was not found",)


def test_an_exit_status_alone_is_a_problem() -> None:
    text = "@@ binary /x\n@@ asked 0 -m\n0 0 0 Ascend 910B3\n@@ asked 3 -t health -i 0 -c 0\nHealth Status : OK\n"
    value = NpuDetail().parse(Result("npu-detail", 0, text))
    assert value.problems == ("-t health -i 0 -c 0: npu-smi ended with exit status 3",)


CALLS = [
    "-m",
    "-t health -i 0 -c 0",
    "-t ecc -i 0",
    "-t board -i 0",
    "-t topo",
    "-t proc-mem -i 0",
    "-t hccs -i 0 -c 0",
]
BODIES = [
    "0 0 0 Ascend 910B3",
    "NPU ID Slot ID Chip ID",
    "Health : ?",
    "Chip ID : 0",
    "Chip Count : 9",
    "NPU0 NPU1",
    "[1",
]
ANSWERS = st.lists(
    st.one_of(
        st.builds(
            lambda status, call: f"@@ asked {status} {call}", st.sampled_from(["0", "124", "x"]), st.sampled_from(CALLS)
        ),
        st.sampled_from([*BODIES, "@@ unasked", "@@ asked", "@@ asked 0"]),
        st.binary(max_size=20).map(lambda raw: raw.decode("utf-8", "replace")),
    ),
    max_size=20,
)


@given(ANSWERS)
def test_any_answers_become_a_value(lines: list[str]) -> None:
    value = NpuDetail().parse(Result("npu-detail", 0, "\n".join(["@@ binary /x", "@@ asked 0 -m", BODIES[0], *lines])))
    assert (value.dies[0].npu, value.dies[0].chip) == (0, 0)
    assert all(isinstance(problem, str) for problem in value.problems)


def test_sixteen_dies_are_thirty_six_calls(look: Look, npus: Any, tool: Tool, tmp_path: Path) -> None:
    calls = npus("A3")
    rows = "".join(f"{n} {c} {2 * n + c} {2 * n + c} Ascend910\\n" for n in range(8) for c in (0, 1))
    path = tmp_path / "bin" / "npu-smi"
    title = "NPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name\\n"
    path.write_text(path.read_text().replace(MAPS["A3"], title + rows))
    assert len(look(NpuDetail()).dies) == 16
    assert len(calls()) == 36
