"""The NPU pings: who asks whom how, and the one cause that is told of what was lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from provision import clock
from provision.actions import Call
from provision.checks import fabric
from provision.checks.base import Finding
from provision.checks.support import Skip
from provision.errors import DeadlineExceeded
from provision.findings import Matrix, Shown
from provision.results import Result
from tests.checks.ills import links
from tests.checks.proof import Trial
from tests.checks.trying import driven
from tests.checks.wires import Fate, Wired, pinged, well
from tests.checks.world import cluster, healthy, settings

A2, A3 = settings("atlas-800-a2"), settings()


def nodes(count: int, own: Any = A2) -> Any:
    return cluster(*(healthy(index, own) for index in range(count)))


def told(many: Any, fate: Fate = well, **args: Any) -> list[Shown]:
    trial = pinged(many, fate)
    return list(drive(trial, fabric.Args(**args)))


def drive(trial: Trial, args: fabric.Args) -> Any:
    return driven(fabric.run(args, trial.cluster), trial.answer)


def findings(shown: list[Shown]) -> list[Finding]:
    return [each for each in shown if isinstance(each, Finding)]


def summaries(shown: list[Shown]) -> list[tuple[str, str]]:
    return [(each.level, each.summary) for each in findings(shown)]


def matrices(shown: list[Shown]) -> list[Matrix]:
    return [each for each in shown if isinstance(each, Matrix)]


def of(device: int, *addresses: str, node: str) -> Fate:
    """What concerns a device of a node, which has these addresses, is lost."""

    def fate(source: str, own: int, way: str, address: str) -> str:
        return "lost" if (source, own) == (node, device) or address in addresses else "ok"

    return fate


def asked(many: Any, **args: Any) -> list[tuple[str, int, str, str]]:
    calls: list[tuple[str, int, str, str]] = []

    def fate(*call: Any) -> str:
        calls.append(call)
        return "ok"

    told(many, fate, **args)
    return calls


def test_an_a2_is_asked_over_roce_at_the_addresses_that_its_devices_have() -> None:
    calls = asked(nodes(2), pairs="rails")
    assert {way for _, _, way, _ in calls} == {"ping"}
    assert sorted(calls)[:2] == [("atlas-1", 0, "ping", "29.1.1.1"), ("atlas-1", 1, "ping", "29.1.1.2")]
    assert len(calls) == 16


def test_an_a3_is_asked_over_hccs_in_one_super_pod_and_over_roce_in_two() -> None:
    many = nodes(3, A3)
    many.nodes[2].alter("hccs", pod=5)
    calls = asked(many, pairs="rails")
    ways = {(node, address.split(".")[2]): way for node, _, way, address in calls}
    assert ways["atlas-1", "1"] == ways["atlas-2", "0"] == "hccs_ping"
    assert {ways[way] for way in ways if "2" in way or way[0] == "atlas-3"} == {"ping"}


def test_an_a3_without_a_virtual_address_is_asked_over_roce() -> None:
    many = nodes(2, A3)
    many.nodes[1].alter("hccs", vnics={})
    assert {way for node, _, way, _ in asked(many, pairs="rails") if node == "atlas-1"} == {"ping"}


def test_what_has_no_address_is_said() -> None:
    many = nodes(2)
    links(many.nodes[1], 3, address=None)
    shown = told(many, pairs="rails")
    assert summaries(shown) == [("warn", "davinci 3 of atlas-2 cannot be pinged: no address is known")]
    assert matrices(shown)[0].cells[0][1].state == "untried"


@pytest.mark.parametrize(
    ("deadline", "calls"), [(300.0, 15), (5.0, 8)], ids=["rails and first", "rails, where time is short"]
)
def test_how_much_is_asked_depends_on_the_time_there_is(deadline: float, calls: int) -> None:
    assert sum(node == "atlas-1" for node, *_ in asked(nodes(2), deadline=deadline)) == calls


def test_where_not_even_the_rails_fit_every_pair_of_nodes_is_tried_on_some() -> None:
    many = nodes(4)
    calls = asked(many, deadline=5.0)
    assert len(calls) == 4 * 3 * 2
    assert len({(node, address.split(".")[2]) for node, _, _, address in calls}) == 12
    ((level, summary),) = summaries(told(many, deadline=5.0))
    assert level == "info"
    assert "on 2 of its rails" in summary


def test_nodes_whose_time_was_over_share_a_finding() -> None:
    ((level, summary),) = summaries(told(nodes(3), lambda *ping: "over", pairs="rails"))
    assert (level, summary) == (
        "warn", "the time for NPU pings was over on atlas-1, atlas-2, atlas-3: 48 pings were not tried"
    )  # fmt: skip


def test_all_is_well() -> None:
    shown = told(nodes(3))
    assert findings(shown) == []
    rails, first = matrices(shown)
    assert [cell.state for cell in rails.cells[0]] == ["self", "ok", "ok"]
    assert rails.cells[0][1].value == 0.125
    assert first.cells[1][0].state == "ok"


def test_a_device_whose_link_is_down_is_left_to_the_check_of_links() -> None:
    many = nodes(4)
    links(many.nodes[1], 3, link="DOWN")
    (finding,) = findings(told(many, of(3, "29.1.1.4", node="atlas-2")))
    assert (finding.node, finding.level) == ("atlas-2", "info")


def test_a_dead_device_is_told_once_with_the_command_to_try() -> None:
    shown = told(nodes(4), of(3, "29.1.1.4", node="atlas-2"))
    (finding,) = findings(shown)
    assert finding.summary == "atlas-2 davinci 3 is not reached from any node, and no node from it"
    assert finding.node == "atlas-2"
    assert "hccn_tool -i 3 -ping -g address 29.1.1.4` on atlas-1" in finding.remedy
    assert matrices(shown)[2].rows == ("atlas-1:3", "atlas-2:3", "atlas-3:3", "atlas-4:3")


def test_a_dead_node_a_rail_and_everything() -> None:
    def node(source: str, device: int, way: str, address: str) -> str:
        return "lost" if source == "atlas-3" or address.startswith("29.1.2.") else "ok"

    def rail(source: str, device: int, way: str, address: str) -> str:
        return "lost" if device == 5 and address.endswith(".6") else "ok"

    many = nodes(4)
    (first,), (second,) = findings(told(many, node)), findings(told(many, rail))
    assert (first.node, first.summary) == (
        "atlas-3", "the NPUs of atlas-3 and those of the other nodes: none is reached"
    )  # fmt: skip
    assert second.summary == "davinci 5 is not reached on any node (a rail)"
    assert "switch" in second.remedy
    (last,) = findings(told(many, lambda *ping: "lost"))
    assert last.summary == "no NPU is reached from another node (atlas-1, atlas-2, atlas-3, atlas-4)"


def test_rails_that_are_apart_only_warn() -> None:
    def apart(source: str, device: int, way: str, address: str) -> str:
        return "ok" if address.endswith(f".{device + 1}") else "lost"

    assert summaries(told(nodes(3), apart)) == [
        ("warn", "NPUs of different numbers on different nodes: 42 are not reached")
    ]


def test_loss_fails_and_slowness_warns() -> None:
    def some(source: str, device: int, way: str, address: str) -> str:
        return {1: "partial", 2: "slow"}.get(device, "ok") if source == "atlas-1" else "ok"

    shown = told(nodes(2), some, pairs="rails")
    assert summaries(shown) == [
        ("fail", "atlas-2 is not reached without loss from atlas-1 on davinci 1"),
        ("warn", "atlas-2 is not reached in time from atlas-1 on davinci 2"),
    ]
    assert findings(shown)[1].observed.endswith("2 of 2 packets, 9.125 ms")


@pytest.mark.parametrize(
    ("end", "level", "said"),
    [
        ("break", "fail", "the connection to atlas-2 broke while its NPUs pinged: 6 of 8 pings from atlas-2"),
        ("over", "warn", "the time for NPU pings was over on atlas-2: 5 pings were not tried"),
        ("hangs", "fail", "hccn_tool hangs on atlas-2: 5 of 8 pings from atlas-2 were not tried"),
    ],
)
def test_what_came_before_the_end_counts(end: str, level: str, said: str) -> None:
    def ends(source: str, device: int, way: str, address: str) -> str:
        return end if (source, device) == ("atlas-2", 4) else "lost" if (source, device) == ("atlas-2", 2) else "ok"

    shown = told(nodes(2), ends, pairs="rails")
    first, second = findings(shown)
    assert (first.level, first.node) == (level, "atlas-2")
    assert first.summary.startswith(said)
    assert second.summary == "atlas-1 is not reached from atlas-2 on davinci 2"
    cell = matrices(shown)[0].cells[1][0]
    assert (cell.state, cell.text) == ("partial", "davinci 2: 0 of 2 packets")


@pytest.fixture
def passing(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time that passes only where somebody sleeps."""
    time = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time[0])
    monkeypatch.setattr(clock, "sleep", lambda seconds: time.__setitem__(0, time[0] + seconds))
    return time


def test_a_call_that_nothing_ends_does_not_keep_us_for_ever(passing: list[float]) -> None:
    def stuck(source: str, device: int, way: str, address: str) -> str:
        return "stuck" if (source, device) == ("atlas-2", 4) else "lost" if (source, device) == ("atlas-2", 2) else "ok"

    shown = told(nodes(2), stuck, pairs="rails", deadline=60.0, call=5.0)
    assert 65 < passing[0] < 120
    first, second = findings(shown)
    assert (first.level, first.node) == ("fail", "atlas-2")
    assert first.summary == "hccn_tool hangs on atlas-2 and cannot be ended: 5 of 8 pings from atlas-2 were not tried"
    assert "`hccn_tool -i 4 -ping -g address 29.1.0.5`" in first.observed
    assert second.summary == "atlas-1 is not reached from atlas-2 on davinci 2"


def test_what_did_not_come_to_be_asked_for_a_hang_is_untried(passing: list[float]) -> None:
    shown = told(nodes(2), lambda *ping: "stuck" if ping[:2] == ("atlas-2", 7) else "ok", pairs="rails")
    cell = matrices(shown)[0].cells[1][0]
    assert (cell.state, cell.text) == ("untried", "davinci 0, 7: hccn_tool hung and could not be ended")


def test_the_tasks_own_time_is_not_taken_for_a_hang() -> None:
    class Late(Wired):
        def stream(self, script: str, *, deadline: float | None = None) -> Iterator[str]:
            yield "@@ 0 0"
            raise DeadlineExceeded("the task's time is over", Result("check", 124, "", timed_out=True))

    node = healthy(0, A2)
    result = fabric._ask(Late(0, A2, node.facts), "", 8, "pings", 330.0)
    assert (result.exit, result.stderr) == (1, "the task's time is over")


def test_it_tells_before_how_long_it_takes_and_that_nothing_is_changed() -> None:
    group = next(fabric.run(fabric.Args(), nodes(2)))
    action = group.actions["atlas-1"]
    assert isinstance(action, Call)
    assert action.label == "15 NPU pings, one after the other: about 9 s, at most 5 min"
    assert action.affects == frozenset()


def test_without_a_tool_or_with_one_node_there_is_nothing_to_try() -> None:
    many = nodes(2)
    for node in many.nodes:
        node.alter("hccn", tool=None)
    for subject, why in ((many, "on no node"), (nodes(1), "several nodes")):
        with pytest.raises(Skip, match=why):
            next(fabric.run(fabric.Args(), subject))
