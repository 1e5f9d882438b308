"""How ``ray status`` and ``ray list nodes`` tell of a cluster."""

from __future__ import annotations

from provision.rehearsal import wall
from provision.rehearsal.standins.ray.lines import Json, numbers

_RULE = "---------------------------------------------------------------"
_GIB = 1 << 30


def status(nodes: list[Json]) -> str:
    """The autoscaler's report, as Ray 2.x prints it."""
    alive = [node for node in nodes if node["alive"]]
    dead = [f" {node['ip']}: NodeTerminated (ip: {node['ip']})" for node in nodes if not node["alive"]]
    totals, used = _sum(alive, "resources"), _sum(alive, "used")
    usage = [f" {_amount(name, used.get(name, 0.0), total)}" for name, total in sorted(totals.items())]
    lines = [
        f"======== Autoscaler status: {_moment()} ========", "Node status", _RULE, "Active:",
        *(f" 1 node_{node['id']}" for node in alive), *([] if alive else [" (no active nodes)"]),
        "Pending:", " (no pending nodes)", "Recent failures:", *(dead or [" (no failures)"]), "",
        "Resources", _RULE, "Total Usage:", *usage, "", "From request_resources:", " (none)", "Pending Demands:",
        " (no resource demands)",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def table(nodes: list[Json]) -> str:
    """``ray list nodes``."""
    head = f"\n======== List: {_moment()} ========\nStats:\n------------------------------\nTotal: {len(nodes)}\n\nTable:\n"
    columns = ["", "NODE_ID", "NODE_IP", "IS_HEAD_NODE", "STATE", "STATE_MESSAGE", "NODE_NAME", "RESOURCES_TOTAL"]
    cells = [columns, *(_row(number, node) for number, node in enumerate(nodes))]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    rows = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return head + "------------------------------\n" + "\n".join(rows) + "\n\n"


def _row(number: int, node: Json) -> list[str]:
    resources = ", ".join(f"{name}: {amount}" for name, amount in sorted(numbers(node["resources"]).items()))
    state, why = ("ALIVE", "") if node["alive"] else ("DEAD", "Unexpected termination")
    return [str(number), str(node["id"]), str(node["ip"]), str(node["head"]), state, why, str(node["ip"]), resources]


def _sum(nodes: list[Json], key: str) -> dict[str, float]:
    total: dict[str, float] = {}
    for node in nodes:
        for name, amount in numbers(node[key]).items():
            total[name] = total.get(name, 0.0) + amount
    return total


def _amount(name: str, used: float, total: float) -> str:
    """``0.0/16.0 NPU``, ``0B/700.00GiB memory``."""
    if "memory" in name:
        return f"{int(used)}B/{total / _GIB:.2f}GiB {name}"
    return f"{used}/{total} {name}"


def _moment() -> str:
    return wall.local("%Y-%m-%d %H:%M:%S") + f".{int(wall.now() % 1 * 1e6):06d}"
