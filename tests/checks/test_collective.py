"""Measures, wrong sums, hangs and failures of an all-reduce."""

from __future__ import annotations

import re
from collections.abc import Mapping

from provision.actions import On, Run
from provision.facts.docker import ContainersValue
from provision.facts.network import Listener, PortsValue
from provision.findings import Measure
from provision.results import Result
from tests.checks.trying import Answer, all_say, summaries, tried
from tests.checks.world import cluster, healthy, ours, pair, settings, with_image

JOINED = "".join(f"joined {n}\n" for n in range(8))
MEASURED = JOINED + "measured 1 0.001000000\nmeasured 128 0.016000000\n"


def each(**answers: Result) -> Answer:
    return lambda group: {name: answers[name.replace("-", "_")] for name in group.actions}


def said(stdout: str, stderr: str = "", exit: int = 0, seconds: float = 1.0) -> Result:
    return Result("all-reduce", exit, stdout, stderr, seconds)


def test_bus_bandwidth_is_told_of_every_size() -> None:
    outcome = tried(with_image(pair()), "collective", each(atlas_1=said(MEASURED), atlas_2=said(JOINED)))
    measures = [shown for shown in outcome.exhibits if isinstance(shown, Measure)]
    assert outcome.status == "pass"
    assert [(m.name, m.value, m.unit) for m in measures] == [
        ("all-reduce of 1 MB", 1.875, "GB/s"),
        ("all-reduce of 128 MB", 15.0, "GB/s"),
    ]
    assert measures[0].note == "16 ranks, 1.00 ms each"


def test_only_the_operator_sets_what_is_enough() -> None:
    two = with_image(pair(settings(checks={"collective": {"bandwidth": 20}})))
    outcome = tried(two, "collective", each(atlas_1=said(MEASURED), atlas_2=said(JOINED)))
    assert summaries(outcome) == ["fail all-reduce of 128 MB over 16 ranks reaches 15.00 GB/s of bus bandwidth"]


def test_ranks_that_never_met_are_named() -> None:
    answers = each(atlas_1=said("", exit=124), atlas_2=said(JOINED, exit=124))
    (text,) = summaries(tried(with_image(pair()), "collective", answers))
    assert text.endswith("has no end within 180 s: ranks on atlas-1 never met the others")
    answers = each(atlas_1=said(JOINED, exit=124), atlas_2=said(JOINED, exit=137))
    (text,) = summaries(tried(with_image(pair()), "collective", answers))
    assert text.endswith("all ranks met, then nothing came")


def test_the_node_that_failed_first_is_to_blame() -> None:
    error = "RuntimeError: EI0006: Getting socket times out.\n"
    answers = each(
        atlas_1=said(JOINED, "ConnectionResetError: [Errno 104] Connection reset by peer\n", 3, seconds=4.0),
        atlas_2=said(JOINED, error, 3, seconds=3.0),
    )
    outcome = tried(with_image(pair()), "collective", answers)
    assert [finding.node for finding in outcome.findings] == ["atlas-2"]
    assert "a link between two NPUs did not come up" in outcome.findings[0].summary


def test_it_is_left_out_while_servers_run_and_for_a_single_rank() -> None:
    two = with_image(pair())
    two.nodes[1].facts["containers"] = ContainersValue((ours(process="worker1"),), reachable=True)
    assert tried(two, "collective", all_say()).reason == "atlas-2: servers of this cluster run there"
    own = settings("cpu", topology="single")
    alone = cluster(healthy(0, own).alter("image", present=True))
    own_serve = own.serve.model_copy(update={"data_parallel_size": 1})
    alone.nodes[0].settings = own.model_copy(update={"serve": own_serve})
    assert tried(alone, "collective", all_say()).reason == "there is one rank only"


def test_ranks_are_numbered_over_the_nodes_and_meet_at_a_free_port() -> None:
    scripts: dict[str, str] = {}

    def answer(group: On) -> Mapping[str, Result]:
        scripts.update({name: action.script for name, action in group.actions.items() if isinstance(action, Run)})
        return all_say(MEASURED)(group)

    two = with_image(pair())
    two.nodes[0].facts["ports"] = PortsValue((Listener("0.0.0.0", 29600, 1, "other"),))
    tried(two, "collective", answer)
    told = [dict(re.findall(r"-e ([A-Z_]+)=(\S+)", script)) for script in scripts.values()]
    assert [one["FIRST_RANK"] for one in told] == ["0", "8"]
    assert {one["WORLD_SIZE"] for one in told} == {"16"}
    assert {(one["MASTER_ADDR"], one["MASTER_PORT"]) for one in told} == {("10.0.0.1", "29601")}
