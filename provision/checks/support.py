"""What several checks need: how one says that it cannot judge, and what the NPU checks look at.

One cause gives one finding. A node without docker is told so once, by the check of docker; what needs docker skips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from provision.accel.ascend.container import split_modules
from provision.accel.ascend.npu_smi import Die
from provision.accel.protocol import accelerator
from provision.checks.base import Finding, Level, Shown
from provision.facts.base import Fact
from provision.facts.davinci import Davinci, DavinciValue
from provision.facts.docker import Containers, ContainersValue, Docker, DockerValue
from provision.facts.driver import MountSources
from provision.facts.npu_smi import NpuSmi, NpuSmiMapping, NpuSmiMappingValue, NpuSmiValue
from provision.findings import comparison
from provision.inventory.model import Settings
from provision.node import Cluster, Node

MIB = 1024**2
GIB = 1024**3

_DEADLINE_WORDS = ("no answer within", "hangs", "hung before")


class Skip(Exception):
    """There is nothing to judge: what the check needs is missing, and another check says so. The text is the reason."""


class CannotTell(Exception):
    """The node could not be looked at: a probe hung. Reported once a node for all checks that need it."""

    def __init__(self, probe: str, why: str, node: str = "") -> None:
        super().__init__(f"{probe}: {why}")
        self.node = node


class Observed(Protocol):
    """A fact's value."""

    @property
    def problems(self) -> tuple[str, ...]: ...


V = TypeVar("V", bound=Observed)


def look(node: Node, fact: Fact[V]) -> V:
    """The fact's value. Raises ``CannotTell`` where its probe hung."""
    value = node.get(fact)
    hung = hanging(value.problems)
    if hung:
        raise CannotTell(fact.name, hung, node.name)
    return value


def per_node(cluster: Cluster, check: Callable[[Node], Iterable[Finding]]) -> Iterator[Finding]:
    """A check of each node that needs to know of the others. A node that can't be judged doesn't keep back the rest."""
    hung: CannotTell | None = None
    for node in cluster.nodes:
        try:
            yield from check(node)
        except Skip:
            continue
        except CannotTell as cannot:
            hung = hung or cannot
    if hung:
        raise hung


def hanging(problems: Sequence[str]) -> str:
    """The problem that tells of a deadline that ran out, or an empty string."""
    return next((problem for problem in problems if any(word in problem for word in _DEADLINE_WORDS)), "")


def ascend(settings: Settings) -> bool:
    """Whether the cluster has NPUs: ``applies`` of the NPU checks."""
    return settings.hardware != "cpu"


def alone(settings: Settings) -> bool:
    """Whether each server keeps to its node, so that NPUs of several nodes have nothing to say to each other."""
    return settings.serve.topology in ("single", "replicas")


def together(node: Node) -> str:
    """The nodes for which this is the same have ranks of one group; a node's own name where servers keep to it."""
    serve = node.settings.serve
    if alone(node.settings):
        return node.name
    return (serve.group or serve.role or "") if serve.topology == "prefill-decode" else ""


def docker(node: Node) -> DockerValue:
    """The daemon. Raises ``Skip`` where it can't be talked to: the check ``docker`` says so."""
    value = node.get(Docker())
    if not value.reachable:
        raise Skip("docker does not answer")
    return value


def containers(node: Node) -> ContainersValue:
    """Our containers and others. Raises ``Skip`` without docker: ours could not be told from others."""
    value = node.get(Containers(node.settings.cluster))
    if not value.reachable:
        raise Skip("docker does not answer, so ours cannot be told from others")
    return value


NPU_FACTS: tuple[Fact[object], ...] = (Davinci(), NpuSmi(), NpuSmiMapping(), MountSources())
"""What the functions below look at."""


def bare(node: Node) -> bool:
    """Whether nothing of an Ascend driver is there: neither devices, nor tool, nor files."""
    sources = node.get(MountSources()).sources
    driver = any(source.kind != "missing" for source in sources)
    return not (driver or node.get(Davinci()).devices or node.get(NpuSmi()).binary)


def devices(node: Node) -> DavinciValue:
    """The device nodes. Raises ``Skip`` on a node without a driver: the check ``npu_smi`` says so."""
    if bare(node):
        raise Skip("no Ascend driver on this node")
    return look(node, Davinci())


def selected(node: Node) -> tuple[int, ...]:
    """The davinci numbers that this cluster may use on the node and that are there."""
    there = devices(node).devices
    wanted = node.settings.devices
    return there if wanted is None else tuple(number for number in there if number in wanted)


def absent(node: Node) -> tuple[int, ...]:
    """The davinci numbers that the inventory names, else that a standard server has, and that aren't there."""
    declared = node.settings.devices
    wanted = accelerator(node.settings.hardware).default_devices if declared is None else declared
    return tuple(sorted(set(wanted) - set(devices(node).devices)))


def npu_smi(node: Node) -> NpuSmiValue:
    """The table. Raises ``Skip`` where there is none: the check ``npu_smi`` says why."""
    value = node.get(NpuSmi())
    if not value.dies:
        raise Skip("npu-smi shows no NPU")
    return value


def mapping(node: Node) -> NpuSmiMappingValue:
    """The mapping of chips to devices. Raises ``Skip`` without npu-smi, ``CannotTell`` where only this call hangs."""
    npu_smi(node)
    return look(node, NpuSmiMapping())


def numbered(node: Node) -> dict[int, Die]:
    """The dies of the table by davinci number: by the table itself, else by ``npu-smi info -m``."""
    chips = {(chip.npu, chip.chip): chip.device for chip in node.get(NpuSmiMapping()).chips}
    found: dict[int, Die] = {}
    for die in npu_smi(node).dies:
        device = die.device
        if device is None and die.npu is not None and die.chip is not None:
            device = chips.get((die.npu, die.chip))
        if device is not None:
            found[device] = die
    return found


def named(node: Node, numbers: Iterable[int]) -> str:
    """``davinci 6-7 (NPU 3)`` and ``davinci 3 (NPU 1 chip 1)``: what ``-i`` and ``-c`` of npu-smi mean by them."""
    numbers = sorted(set(numbers))
    places = {chip.device: (chip.npu, chip.chip) for chip in node.get(NpuSmiMapping()).chips}
    places |= {die.device: (die.npu, die.chip or 0) for die in node.get(NpuSmi()).dies if die.npu is not None}
    found = [places[number] for number in numbers if number in places]
    cards = {card for card, _ in found}
    if not found or len(found) < len(numbers):
        return f"davinci {span(numbers)}"
    chip = f" chip {found[0][1]}" if len(found) == 1 else ""
    return f"davinci {span(numbers)} (NPU {span(cards)}{chip})"


def bus_address(text: str | None) -> str:
    """A PCI address as lspci and npu-smi both mean it: ``3d:00.0`` of the first domain, else with its domain."""
    return (text or "").lower().removeprefix("0000:")


def without(node: Node, numbers: Iterable[int]) -> str:
    """The setting with which a cluster goes without these dies and those that come with them, or with other ones."""
    size = accelerator(node.settings.hardware).module_size
    modules = {number // size for number in numbers}
    rest = [number for number in selected(node) if number // size not in modules]
    rest = [number for number in rest if number not in split_modules(rest, size)]
    return f"qnext.devices: {rest}" if rest else "qnext.devices"


def span(numbers: Iterable[int]) -> str:
    """``0-3, 8`` of 0, 1, 2, 3, 8."""
    runs: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return ", ".join(f"{first}-{last}" if first != last else f"{first}" for first, last in runs)


def listed(names: Sequence[str], shown: int = 4) -> str:
    """The first ``shown`` names and how many more there are."""
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")


def span_of_time(seconds: float) -> str:
    """``40 s``, ``12 min``, ``5 h`` or ``3 days``: how old something is."""
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """Bytes in GB or MB as an operator reads them (binary)."""
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / MIB:.0f} MB"


def compared(
    subject: str,
    values: Mapping[str, str],
    remedy: str,
    *,
    level: Level = "fail",
    summary: str = "",
) -> Iterator[Shown]:
    """A row of the sameness table (node name to value) and, where nodes differ, a finding of ``level`` that names the
    nodes at odds with the majority. ``summary`` stands before the values: "the driver is not the same everywhere"."""
    row = comparison(subject, values, level)
    yield row
    if row.same:
        return
    told = "; ".join(f"{value} on {listed(nodes, 8)}" for value, nodes in row.values)
    yield Finding(
        f"{summary or f'{subject} is not the same everywhere'}: {told}",
        remedy,
        node=row.values[-1][1][0],
        expected="the same on all nodes" if row.majority is None else f"{row.majority}, as most nodes have",
        observed=row.values[-1][0],
        level=level,
    )


def each(cluster: Cluster, fact: Fact[V]) -> dict[str, V]:
    """The fact's value on every node where it could be observed in time."""
    values = {node.name: node.get(fact) for node in cluster.nodes}
    return {name: value for name, value in values.items() if not hanging(value.problems)}
