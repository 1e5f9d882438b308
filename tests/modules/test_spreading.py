"""Spreads as modules yield them: who is let in, prepared, started and cleaned, and how what breaks is told."""

from __future__ import annotations

from typing import Any

import pytest

from provision.actions import Job, Run
from provision.errors import CommandFailed, Interrupted, ProvisionError
from provision.facts.authorized_keys import AuthorizedKeysValue
from provision.install.manifest import File
from provision.modules import spreading
from provision.modules.spreading import Parcel
from provision.results import PlannedResult, Result
from tests.modules.world import cluster, drive

FILES = (File("a", 5_000_000_000, "a" * 64), File("b", 7, "b" * 64), File("c", 1, ""))
AB = frozenset({"a", "b"})
SAID = "user root\nport 22\nkey ssh-ed25519 AAAA\n"


def parcel(**changes: Any) -> Parcel:
    return Parcel("weights", "/data/weights", FILES, **changes)


def well(action: Any) -> Any:
    """All goes well: a node's door, and a job's log."""
    text = SAID if action.label.startswith("let ") else "+ got 5000000000 a\n+ mended(3) 7 b\n"
    return Result(action.label, 0, text)


def spread(holders: Any, takers: Any, answer: Any = well, nodes: int = 4, **changes: Any) -> Any:
    return drive(spreading.spread(cluster(nodes=nodes), parcel(**changes), holders, takers), answer)


def test_a_chain_is_tied_prepared_run_and_untied() -> None:
    driven = spread(["atlas-1"], {"atlas-3": AB, "atlas-2": frozenset({"a"}), "atlas-4": frozenset()})

    assert driven.labels == [
        {"atlas-1": "let atlas-2, atlas-3 ask it by SSH", "atlas-2": "let atlas-3 ask it by SSH"},
        dict.fromkeys(["atlas-1", "atlas-2", "atlas-3"], "prepare /var/lib/qnext/qnext/spread/weights"),
        {
            "atlas-2": "fetch 1 file (5.0 GB) from atlas-1",
            "atlas-3": "fetch 2 files (5.0 GB) from atlas-2",
        },
        dict.fromkeys(["atlas-1", "atlas-2"], "remove the run's key"),
        dict.fromkeys(["atlas-1", "atlas-2", "atlas-3"], "remove the spread's folder"),
    ]
    assert driven.outcome.data == {"moved": {"atlas-2": 5_000_000_003, "atlas-3": 5_000_000_003}}


def test_only_takers_get_the_key_and_no_script_holds_it() -> None:
    driven = spread(["atlas-1"], {"atlas-2": AB})
    actions = [action for step in driven.actions for action in step.actions.values()]
    prepared = driven.actions[1].actions

    assert b"PRIVATE KEY" not in prepared["atlas-1"].input
    assert b"PRIVATE KEY" in prepared["atlas-2"].input
    assert not any("PRIVATE KEY" in action.script for action in actions)
    admitted = driven.actions[0].actions["atlas-1"]
    assert (admitted.become, 'from="10.0.0.2"' in admitted.script) == (False, True)


def test_the_job_is_the_same_in_the_next_run() -> None:
    first, second = (spread(["atlas-1"], {"atlas-2": lacks}).actions[2].actions["atlas-2"] for lacks in (AB, {"b"}))

    assert isinstance(first, Job)
    assert (first.name, first.script) == (second.name, second.script)


def test_nodes_that_each_have_a_part_give_it_to_each_other() -> None:
    holders = {"atlas-1": frozenset({"a"}), "atlas-2": frozenset({"b"})}

    driven = spread(holders, {"atlas-1": frozenset({"b"}), "atlas-2": frozenset({"a"}), "atlas-3": AB})

    fetched = [labels for labels in driven.labels if "fetch" in str(labels)]
    assert fetched == [
        {"atlas-2": "fetch 1 file (5.0 GB) from atlas-1", "atlas-3": "fetch 1 file (5.0 GB) from atlas-2"},
        {"atlas-1": "fetch 1 file (7 bytes) from atlas-2", "atlas-3": "fetch 1 file (7 bytes) from atlas-1"},
    ]


@pytest.mark.parametrize(
    ("holders", "takers", "says"),
    [
        ({"atlas-1": frozenset({"a"})}, {"atlas-2": AB}, "no node has b"),
        (["atlas-1"], {"atlas-2": frozenset({"c"})}, "c has no checksum"),
        (["elsewhere"], {"atlas-2": AB}, "elsewhere has what others lack"),
    ],
)
def test_what_cannot_be_spread_is_refused_at_once(holders: Any, takers: Any, says: str) -> None:
    with pytest.raises(ProvisionError, match=says):
        spread(holders, takers)


def test_nothing_lacking_is_no_action() -> None:
    assert spread(["atlas-1"], {"atlas-2": frozenset()}).actions == []
    assert drive(spreading.spread_image(cluster(), "a:1", "sha256:1", ["atlas-1"], [], 60.0)).actions == []


def test_a_plan_needs_no_answers() -> None:
    driven = spread(["atlas-1"], {"atlas-2": AB}, lambda action: PlannedResult(action.label))

    assert {"atlas-2": "fetch 2 files (5.0 GB) from atlas-1"} in driven.labels


def failing(label: str, result: Result) -> Any:
    def answer(action: Any) -> Any:
        if action.label.startswith(label):
            return CommandFailed(f"{action.label}: exit status {result.exit}", result, node="atlas-2")
        return well(action)

    return answer


def failed(label: str, exit: int, stdout: str = "", stderr: str = "") -> Any:
    return failing(label.split()[0], Result(label, exit, stdout, stderr))


REFUSED = """\
? atlas-1 at 10.0.0.1 port 22: ssh: connect to host 10.0.0.1 port 22: Connection refused
failed: 2 of 2 files have not come
"""


@pytest.mark.parametrize(
    ("answer", "says", "hint"),
    [
        (failed("prepare", 28, stderr="room: 5000000000 of 7000"), "5.0 GB are needed, 7.0 kB are free", "free space"),
        (failed("prepare", 69, stderr="ssh: not found"), "atlas-2 has no ssh", "openssh-client"),
        (failed("let", 77, stderr="sudo: a password is required"), "sudo: a password is required", "NOPASSWD"),
        (
            failed("fetch 2 files from atlas-1", 1, REFUSED),
            "atlas-2 could not fetch 2 files from atlas-1: atlas-1 at 10.0.0.1 port 22",
            "spread_port",
        ),
    ],
)
def test_what_breaks_has_cause_and_remedy_and_leaves_no_key(answer: Any, says: str, hint: str) -> None:
    driven: list[str] = []

    def watched(action: Any) -> Any:
        driven.append(action.label)
        return answer(action)

    with pytest.raises(ProvisionError, match=says) as caught:
        spread(["atlas-1"], {"atlas-2": AB}, watched)

    assert (caught.value.node, hint in caught.value.hint) == ("atlas-2", True)
    assert "remove the run's key" in driven


@pytest.mark.parametrize("dead", ["remove the run's key", "remove the spread's folder"])
def test_a_node_that_cannot_be_cleaned_keeps_no_other_from_it(dead: str) -> None:
    seen: list[str] = []

    def answer(action: Any) -> Any:
        seen.append(action.label)
        return ProvisionError("no route", node="atlas-2") if action.label == dead else well(action)

    with pytest.raises(ProvisionError, match="no route"):
        spread(["atlas-1"], {"atlas-2": AB}, answer)

    assert {"remove the run's key", "remove the spread's folder"} <= set(seen)


def test_an_interrupted_spread_keeps_its_keys() -> None:
    seen: list[str] = []

    def answer(action: Any) -> Any:
        seen.append(action.label)
        return Interrupted("stopped") if isinstance(action, Job) else well(action)

    with pytest.raises(Interrupted):
        spread(["atlas-1"], {"atlas-2": AB}, answer)

    assert "remove the run's key" not in seen


def test_a_node_whose_host_keys_are_not_known_is_asked_by_nobody() -> None:
    with pytest.raises(ProvisionError, match="atlas-1: no public host key"):
        spread(["atlas-1"], {"atlas-2": AB}, lambda action: Result(action.label, 0, "user root\nport 22\n"))


def test_an_image_doubles_its_holders_each_round() -> None:
    driven = drive(
        spreading.spread_image(
            cluster(nodes=4), "a:1", "sha256:1", ["atlas-1"], ["atlas-2", "atlas-3", "atlas-4"], 60.0
        ),
        well,
    )

    assert [labels for labels in driven.labels if "fetch" in str(labels)] == [
        {"atlas-2": "fetch a:1 from atlas-1"},
        {"atlas-3": "fetch a:1 from atlas-1", "atlas-4": "fetch a:1 from atlas-2"},
    ]
    assert driven.outcome.message == "a:1 spread to 3 nodes"


def test_what_was_left_is_taken_away_by_the_next_run() -> None:
    made = cluster()
    assert drive(spreading.tidy(made)).actions == []
    made.nodes[1].facts["authorized-keys"] = AuthorizedKeysValue(("/root/.ssh/authorized_keys",))

    (step,) = drive(spreading.tidy(made)).actions

    assert list(step.actions) == ["atlas-2"]
    action = step.actions["atlas-2"]
    assert isinstance(action, Run)
    assert not action.become
