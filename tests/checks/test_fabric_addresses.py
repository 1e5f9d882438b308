"""The NPUs' addresses, what leads out of their network, and the hosts' cards (npu_uplink, network_speed)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from provision.accel.ascend.hccn_detail import LinkChange, LinkHistory
from provision.checks import fabric, network_speed, npu_addresses, npu_link, npu_uplink, same_tls
from provision.checks.base import Finding
from provision.checks.support import Skip
from provision.facts.base import Fact
from tests.checks.ills import links
from tests.checks.proof.network_speed import cards
from tests.checks.wires import devices, pinged
from tests.checks.world import FakeNode, cluster, healthy, settings


def found(check: Any, many: Any, *args: Any) -> list[tuple[str, str, str]]:
    shown = check.run(*args, many)
    return [(each.level, each.node, each.summary) for each in shown if isinstance(each, Finding)]


def _pinged(many: Any) -> Any:
    trial, run = pinged(many), fabric.run(fabric.Args(pairs="rails"), many)
    group = next(run)
    with pytest.raises(StopIteration) as end:
        run.send(trial.answer(group))
    return end.value.value


def three(hardware: Any = "atlas-800-a2") -> Any:
    return cluster(*(healthy(index, settings(hardware)) for index in range(3)))


def moved(node: FakeNode, number: int, address: str, **more: Any) -> None:
    """Another address on the device and in the file."""
    links(node, number, address=address)
    devices(node, "hccn-conf", number, address=address, **more)


@dataclass
class Box(FakeNode):
    """A node that tells of the devices that a fact asks for, and where it names none of all that are there."""

    def get(self, fact: Fact[Any]) -> Any:
        value, asked = super().get(fact), getattr(fact, "devices", ())
        return replace(value, devices=tuple(d for d in value.devices if d.device in asked)) if asked else value


def boxes(numbers: tuple[int, ...] | None = None) -> Any:
    """Two A2 servers of sixteen NPUs each."""
    own = settings("atlas-800-a2", devices=numbers)
    return cluster(*(Box(index, own, healthy(index, settings("atlas-800-a3")).facts) for index in range(2)))


@pytest.mark.parametrize("numbers", [None, tuple(range(16)), tuple(range(8))], ids=["not said", "all", "the first"])
@pytest.mark.parametrize(
    ("check", "ill"),
    [
        (npu_link.run, lambda node: links(node, 12, link="DOWN")),
        (same_tls.run, lambda node: links(node, 12, tls=1)),
        (npu_addresses.run, lambda node: devices(node, "hccn-conf", 12, address="29.1.7.7")),
        (
            lambda many: npu_uplink.run(npu_uplink.Args(), many),
            lambda node: devices(node, "hccn-detail", 12, gateway=None),
        ),
        (_pinged, lambda node: links(node, 12, address=None)),
    ],
    ids=["npu_link", "same_tls", "npu_addresses", "npu_uplink", "fabric"],
)
def test_the_second_half_of_a_server_with_more_npus_than_others_is_looked_at(
    numbers: tuple[int, ...] | None, check: Any, ill: Callable[[FakeNode], object]
) -> None:
    many = boxes(numbers)
    ill(many.nodes[1])
    told = [f"{each.summary} {each.observed}" for each in check(many) if isinstance(each, Finding)]
    assert ["12" in text for text in told] == ([True] if numbers is None or 12 in numbers else [])


def copied(node: FakeNode) -> None:
    """Set up from the file of the first node."""
    for number in range(8):
        moved(node, number, f"29.1.0.{number + 1}")


ILLS: dict[str, tuple[Callable[[FakeNode], object], list[tuple[str, str]]]] = {
    "one address twice": (
        lambda node: moved(node, 3, "29.1.0.4"),
        [("fail", "davinci 3 of atlas-1 and davinci 3 of atlas-2 have the same NPU address 29.1.0.4")],
    ),
    "a copied file": (
        copied,
        [("fail", "davinci 0 of atlas-1 and davinci 0 of atlas-2 have the same NPU address 29.1.0.1, and 7 more")],
    ),
    "another in the file": (
        lambda node: devices(node, "hccn-conf", 2, 3, address="29.1.7.7"),
        [("fail", "davinci 2-3: /etc/hccn.conf has another address than the NPU")],
    ),
    "none in the file": (
        lambda node: node.alter("hccn-conf", devices=node.facts["hccn-conf"].devices[:6]),
        [("warn", "davinci 6-7: the address is not in /etc/hccn.conf")],
    ),
    "none on the device, which npu_link tells": (
        lambda node: links(node, 4, address=None, netmask=None),
        [],
    ),
    "no file": (lambda node: node.alter("hccn-conf", found=False, devices=()), []),
    "another netmask": (
        lambda node: links(node, *range(8), netmask="255.255.255.0"),
        [
            (
                "warn",
                "the NPUs' netmasks differ: 255.255.0.0 on atlas-1, atlas-3; 255.255.255.0 on atlas-2",
            ),
            ("fail", "davinci 0-7: the gateway in /etc/hccn.conf is not in the NPU's own network"),
        ],
    ),
    "no gateway": (lambda node: devices(node, "hccn-conf", *range(8), gateway=None), []),
    "another network without gateway": (
        lambda node: moved(node, 1, "30.1.0.2", gateway=None),
        [("warn", "davinci 1: other nodes' NPUs are in other networks, and /etc/hccn.conf names no gateway")],
    ),
}


@pytest.mark.parametrize("name", ILLS)
def test_addresses(name: str) -> None:
    many = three()
    ill, expected = ILLS[name]
    ill(many.nodes[1])
    assert [(level, summary) for level, _, summary in found(npu_addresses, many)] == expected


def without_roce(many: Any) -> Any:
    for node in many.nodes:
        links(node, *range(16), address=None, netmask=None, link="DOWN", net_health="Init")
        node.alter("hccn-conf", found=False, devices=())
    return many


def test_over_hccs_alone_all_are_in_one_super_pod() -> None:
    many = without_roce(three("atlas-800-a3"))
    assert found(npu_addresses, many) == []
    many.nodes[1].alter("hccs", pod=7)
    ((level, node, summary),) = found(npu_addresses, many)
    assert (level, node) == ("fail", "atlas-2")
    assert summary == "nodes without RoCE are in different super-pods: 4 on atlas-1, atlas-3; 7 on atlas-2"


def test_with_roce_the_super_pod_does_not_matter() -> None:
    many = three("atlas-800-a3")
    many.nodes[1].alter("hccs", pod=7)
    assert found(npu_addresses, many) == []


def test_neither_network() -> None:
    many = without_roce(three("atlas-800-a3"))
    many.nodes[2].alter("hccs", vnics=dict.fromkeys(range(15), "192.168.2.1"), down=(4,))
    assert found(npu_addresses, many) == [
        ("fail", "atlas-3", "davinci 4, 15 has neither a RoCE address nor one in the super-pod")
    ]


def test_what_leads_out_of_the_network() -> None:
    many, day = three(), "Sun Aug  2"
    downs = tuple(LinkChange(f"{day} 03:0{minute}:00 2026", "DOWN") for minute in range(4))
    devices(many.nodes[1], "hccn-detail", 1, 2, netdetect="0.0.0.0")
    devices(many.nodes[1], "hccn-detail", 4, switch=None, switch_port=None)
    devices(many.nodes[1], "hccn-detail", 6, history=LinkHistory(6, f"{day} 04:00:00 2026", 5, 4, downs))
    links(many.nodes[2], 0, address=None)
    devices(many.nodes[2], "hccn-detail", 0, gateway=None)
    assert [summary for _, _, summary in found(npu_uplink, many, npu_uplink.Args())] == [
        "davinci 1-2: the NPU's network has no detection address",
        "davinci 4: the NPU's network has no switch that tells of itself (LLDP)",
        "davinci 6: the NPU's link went down 4 times within 24 h",
    ]


def test_cards() -> None:
    def told(many: Any, **args: Any) -> list[tuple[str, str]]:
        return [found[1:] for found in found(network_speed, many, network_speed.Args(**args))]

    assert told(cards({}, {"mtu": 1500}, {})) == [
        ("atlas-2", "the MTU is not the same everywhere: 9000 on atlas-1, atlas-3; 1500 on atlas-2")
    ]
    assert told(cards({}, {"duplex": "half"})) == [("atlas-2", "eth0 runs half duplex")]
    assert told(cards({}, {}), least=100000) == [
        ("atlas-1", "eth0 runs at 25000 Mb/s"),
        ("atlas-2", "eth0 runs at 25000 Mb/s"),
    ]
    assert told(cards({"speed": None}, {"speed": None})) == []


def test_a_tool_that_hangs_is_told_by_one_check() -> None:
    many = cluster(*(healthy(index, settings("atlas-800-a3")) for index in range(2)))
    mute = {"link": None, "net_health": None, "address": None, "netmask": None, "tls": None}
    links(many.nodes[1], *range(16), **mute, problems=("link: not asked, hccn_tool hung before",))

    assert found(npu_link, many) == [("fail", many.nodes[1].name, "hccn_tool hangs on davinci 0-15")]
    assert found(npu_addresses, many) == []
    with pytest.raises(Skip, match=f"hccn_tool hangs on {many.nodes[1].name}"):
        next(fabric.run(fabric.Args(), many))
