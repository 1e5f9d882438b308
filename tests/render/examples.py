"""A run of ``check`` on sixteen nodes, as events: something of everything that checks can come to."""

from __future__ import annotations

from collections.abc import Callable

from provision.events import (
    Checked,
    Event,
    Found,
    NodeConnected,
    PlayEnded,
    PlayStarted,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskStarted,
)
from provision.findings import Cell, CheckOutcome, Finding, Matrix, Measure, comparison

NODES = tuple(f"atlas-{number}" for number in range(1, 17))
SCRIPT = "<script>alert('&')</script>"
CONTROLS = "\x00\x08\x1b[31mred\x1b[0m\ufffe\ud800"


def matrix(size: int, cell: Callable[[int, int], Cell], unit: str = "ms", name: str = "atlas-{}") -> Matrix:
    """A square matrix; ``cell`` makes those off the diagonal."""
    names = tuple(name.format(number + 1) for number in range(size))
    cells = tuple(tuple(Cell("self") if row == col else cell(row, col) for col in range(size)) for row in range(size))
    return Matrix("NPU ping", unit, names, names, cells)


def mixed(row: int, column: int) -> Cell:
    """A cell of a fabric where something is wrong: one pair lost, one slow, one in part lost, one node untried."""
    if row == 11:
        return Cell("untried")
    special = {(3, 7): Cell("lost", None, "5 of 5 lost"), (0, 5): Cell("slow", 12.3), (9, 2): Cell("partial", 0.5)}
    return special.get((row, column), Cell("ok", 0.1 + column / 100))


ILL = Finding(
    "davinci 3: health is Alarm", "npu-smi info -t health -i 1 -c 1", "atlas-2", "OK", "Alarm", "npu_health", "N07"
)
LIMIT = "vm.max_map_count is 65530"


def foreign(node: str, pid: int) -> Finding:
    """Somebody else's process on a node."""
    text = f"container train-job of {SCRIPT} uses davinci 0"
    return Finding(text, "ask root; `docker stop train-job` would release it", node, "free", f"pid {pid}", "npu_free",
                   "N09")  # fmt: skip


def limit(node: str) -> Finding:
    """A kernel setting that can be mended."""
    return Finding(LIMIT, "sysctl -w vm.max_map_count=262144", node, check="limits", code="N23", level="warn",
                   fix="set vm.max_map_count to 262144")  # fmt: skip


WAIVED = Finding(
    "firewalld is active",
    "",
    "atlas-5",
    check="firewall",
    code="N19",
    level="info",
    waived="ticket 4711 (until 2030-01-01)",
)
ODD = Finding(
    "driver differs", "bring all nodes to one HDK release", "atlas-9", "25.5.1", "24.1.0", "same_driver", "X03"
)
FINDINGS = (ILL, *(limit(node) for node in NODES), foreign("atlas-4", 7), foreign("atlas-5", 7), foreign("atlas-9", 8),
            WAIVED, ODD)  # fmt: skip


def outcomes() -> tuple[CheckOutcome, ...]:
    """What all checks came to."""
    driver = comparison("driver", {node: "24.1.0" if node == "atlas-9" else "25.5.1" for node in NODES}, "fail")
    firmware = comparison("firmware", dict.fromkeys(NODES, "7.8.0.6.201"), "fail")
    governor = comparison("governor", {node: "powersave" if node in NODES[:8] else "performance" for node in NODES})
    held = ("atlas-4", "atlas-5", "atlas-9")
    return (
        *(CheckOutcome("identity", "N01", "pass", (), 0.25, node, "", f"root, {CONTROLS}") for node in NODES),
        *(CheckOutcome("npu_health", "N07", "pass", node=node) for node in NODES if node != "atlas-2"),
        CheckOutcome("npu_health", "N07", "fail", (ILL,), 0.5, "atlas-2", "", "Every NPU is healthy."),
        *(CheckOutcome("npu_free", "N09", "pass", node=node) for node in NODES if node not in held),
        *(CheckOutcome("npu_free", "N09", "fail", (f,), node=f.node) for f in FINDINGS if f.check == "npu_free"),
        CheckOutcome("image", "N12", "skipped", node="atlas-1", reason="the image is not there yet"),
        CheckOutcome("hostname", "N17", "unknown", reason="getent: no answer within 10 s"),
        CheckOutcome("firewall", "N19", "waived", (WAIVED,), node="atlas-5"),
        *(CheckOutcome("limits", "N23", "warn", (limit(node),), node=node) for node in NODES),
        CheckOutcome("same_driver", "X03", "fail", (ODD,), exhibits=(driver, firmware)),
        CheckOutcome("same_tls", "X05", "skipped", reason="the image is not there yet"),
        CheckOutcome("fabric", "X06", "pass", exhibits=(matrix(16, mixed),)),
        CheckOutcome("same_system", "X13", "warn", exhibits=(governor,)),
        *(
            CheckOutcome(
                "read_speed", "N26", "pass", node=node, exhibits=(Measure("reading", speed, "MB/s", node, "cold"),)
            )
            for node, speed in zip(NODES, [1200.0] * 8 + [1511.0] * 8, strict=True)
        ),
    )  # fmt: skip


def told(finding: Finding) -> Found:
    """The event that tells of a finding."""
    names = ("node", "check", "code", "level", "summary", "remedy", "expected", "observed", "fix", "waived")
    return Found(**{name: getattr(finding, name) for name in names})


def run(command: str = "check", *, ends: bool = True) -> list[Event]:
    """The whole run; ``ends`` False: it was interrupted after its checks."""
    start = RunStarted(run="3fa9c1", command=command, inventory="c.yaml", nodes=NODES, mode="apply",
                       directory="/runs/1", cluster="qnext-prod", at=1_795_513_623.0)  # fmt: skip
    failing = {"atlas-2": ILL.summary, "atlas-9": ODD.summary}
    events: list[Event] = [
        start,
        *(NodeConnected(node=node, seconds=0.3) for node in NODES),
        PlayStarted(play="checks", nodes=NODES),
        TaskStarted(task="checks", module="check", nodes=NODES),
        *(told(finding) for finding in FINDINGS),
        Checked(task="checks", outcomes=outcomes()),
    ]
    if not ends:
        return events
    return [
        *events,
        *(TaskEnded(node=n, task="checks", status="failed" if n in failing else "ok", message=failing.get(n, "9 pass"))
          for n in NODES),
        PlayEnded(play="checks", seconds=3),
        RunEnded(exit_code=3, seconds=9.4, counts={"atlas-2": {"failed": 1}}, summary="failed at 'checks'"),
    ]  # fmt: skip
