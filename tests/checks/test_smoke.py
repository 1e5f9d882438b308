"""What the smoke container says, and what is made of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from provision.actions import On, Run
from provision.facts.docker import ContainersValue
from provision.inventory.model import Settings
from provision.results import Result
from tests.checks.proof.smoke import FINE
from tests.checks.trying import all_say, summaries, tried
from tests.checks.world import cluster, foreign, healthy, ours, pair, settings, with_image

ATB = "ImportError: libatb.so: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("text", "exit_status", "wanted"),
    [
        (FINE, 0, []),
        (FINE.replace("No broken requirements found.\n@@ pip-exit 0", "vllm 1 requires x.\n@@ pip-exit 1"), 0,
         ["info `pip check` in the image finds 1 conflicts: vllm 1 requires x."]),
        (FINE.replace("npu-smi-exit 0", "npu-smi-exit 255"), 0, ["fail smoke container: npu-smi fails: "]),
        (FINE.partition("count")[0] + ATB, 0, [f"fail smoke container: torch_npu does not load: {ATB}"]),
        (FINE.replace("count 8", "count 7"), 0, ["fail smoke container: torch sees 7 devices of 8"]),
        (FINE.replace("@@ loaded\n", "ModuleNotFoundError: No module named 'x'\n"), 0,
         ["fail smoke container: vllm does not load: ModuleNotFoundError: No module named 'x'"]),
        (FINE.replace("Platform plugin ascend is activated", ""), 0,
         ["fail smoke container: vLLM does not take the platform plugin ascend"]),
        (FINE.partition("count")[0], 124, ["fail smoke container: no end within 300 s; it hangs at import torch"]),
        ("", 137, ["fail smoke container: no end within 300 s; it hangs at its start"]),
        (FINE.replace("No broken requirements found.\n@@ pip-exit 0", "No module named pip\n@@ pip-exit 1"), 0, []),
    ],
)  # fmt: skip
def test_the_first_thing_that_does_not_work_is_told(text: str, exit_status: int, wanted: list[str]) -> None:
    one = cluster(healthy(0, _single()).alter("image", present=True))
    found = summaries(tried(one, "smoke", all_say(text, exit=exit_status)))
    assert [text[: len(start)] for text, start in zip(found, wanted, strict=True)] == wanted


def _single() -> Settings:
    own = settings(topology="single")
    return own.model_copy(update={"serve": own.serve.model_copy(update={"data_parallel_size": 1})})


def test_a_container_that_does_not_start_is_told_in_dockers_words() -> None:
    refused = "docker: Error response from daemon: device or resource busy.\nSee 'docker run --help'.\n"
    outcome = tried(with_image(pair()), "smoke", all_say(stderr=refused, exit=125))
    assert "does not start: docker: Error response from daemon: device or resource busy." in summaries(outcome)[0]


def test_nodes_on_which_it_cannot_be_tried_are_left_out() -> None:
    two = with_image(pair())
    two.nodes[1].facts["containers"] = ContainersValue((), (foreign(devices=(0, 1)),), reachable=True)
    seen: list[str] = []

    def answer(group: On) -> Mapping[str, Result]:
        seen.extend(group.actions)
        return all_say(FINE)(group)

    outcome = tried(two, "smoke", answer)
    assert (seen, outcome.status) == (["atlas-1"], "pass")
    assert summaries(outcome) == ["info not tried on atlas-2: davinci 0-1 is in use: the check npu_free says by whom"]


def test_it_is_skipped_while_servers_run_and_where_there_is_no_image() -> None:
    two = pair()
    outcome = tried(two, "smoke", all_say(FINE))
    assert outcome.reason == "atlas-1, atlas-2: the image is not on the node yet: `qnext-provision up` brings it"
    for node in with_image(two).nodes:
        node.facts["containers"] = ContainersValue((ours(),), reachable=True)
    assert tried(two, "smoke", all_say(FINE)).reason == "atlas-1, atlas-2: servers of this cluster run there"


def test_the_container_is_like_the_servers_and_leaves_nothing() -> None:
    scripts: list[Run] = []

    def answer(group: On) -> Mapping[str, Result]:
        scripts.extend(action for action in group.actions.values() if isinstance(action, Run))
        return all_say(FINE)(group)

    tried(with_image(pair()), "smoke", answer)
    run = scripts[1]
    assert run.affects == frozenset()
    assert "docker run --rm \\" in run.script
    assert "--name=qnext-qnext-check-smoke-" in run.script
    assert "--device /dev/davinci7 \\" in run.script
    assert "-e HCCL_IF_IP=10.0.0.2 \\" in run.script
    assert "timeout -k 5 300" in run.script
    assert "/data/weights" not in run.script
