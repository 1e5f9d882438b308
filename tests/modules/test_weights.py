"""What the module decides, in memory; what comes of it on nodes: tests/scenarios/test_weights.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.actions import Job, Put
from provision.errors import ProvisionError, UsageError
from provision.facts.disk import Disk, DiskValue, Folder
from provision.facts.weights import Held, VerifiedValue
from provision.install.manifest import File, Manifest
from provision.inventory.model import Model, Settings
from provision.modules import weights
from tests.modules.world import cluster, drive, settings

FILES = (File("a.safetensors", 5_000, "a" * 64), File("config.json", 10, "c" * 64))
KEPT = Manifest.of(FILES, source="recorded:atlas-1")
FOLDER = "/data/weights/m"


def named(**model: Any) -> Settings:
    return settings().model_copy(update={"model": Model.model_validate({"path": FOLDER, **model})})


def held(manifest: str = KEPT.text(), **sums: str) -> VerifiedValue:
    known = {"a.safetensors": "a" * 64, "config.json": "c" * 64} | {k.replace("_", "."): v for k, v in sums.items()}
    files = tuple(Held(file.path, file.size, known[file.path]) for file in FILES if file.path in known)
    return VerifiedValue(FOLDER, True, True, files=files, manifest=manifest)


def nodes(own: Settings, *values: VerifiedValue) -> Any:
    made = cluster(own, len(values))
    for node, value in zip(made.nodes, values, strict=True):
        node.facts["weights"] = value
    return made


def run(made: Any, **args: Any) -> Any:
    return drive(weights.run(weights.Args(**args), made))


def actions(driven: Any) -> list[tuple[str, Any]]:
    return [pair for step in driven.actions for pair in step.actions.items()]


def test_where_all_is_verified_nothing_is_done_or_looked_at_again() -> None:
    made = nodes(named(), held(), held(), held())

    driven = run(made)

    assert driven.actions == []
    assert [node.observed for node in made.nodes] == [0, 0, 0]
    assert driven.outcome.message.startswith("2 files, 5.0 kB verified on 3 nodes")
    assert driven.outcome.data["nodes"]["atlas-1"]["verified"] == 2


def test_without_a_manifest_nothing_huge_is_read() -> None:
    driven = run(nodes(named(), held(""), held("")))

    assert driven.actions == []
    assert "--record" in driven.outcome.message


def test_only_what_is_not_known_is_read_and_only_where() -> None:
    made = nodes(named(), held(), held(a_safetensors=""))
    made.nodes[1].steps = [{"weights": held()}, {}]

    jobs = {node: action for node, action in actions(run(made)) if isinstance(action, Job)}

    assert {node: job.label for node, job in jobs.items()} == {"atlas-2": "read 1 file, 5.0 kB"}


def test_quick_reads_nothing() -> None:
    assert run(nodes(named(verify="quick"), held(a_safetensors="", config_json=""), held())).actions == []


def test_without_a_source_what_differs_is_told_not_mended() -> None:
    driven = run(nodes(named(), held(), held(a_safetensors="b" * 64)))

    assert driven.actions == []
    assert [finding.node for finding in driven.outcome.findings] == ["atlas-2"]
    assert "from atlas-1" in driven.outcome.findings[0].remedy


def test_a_lost_manifest_is_written_again() -> None:
    made = nodes(named(), held(), held(""))
    made.nodes[1].steps = [{"weights": held()}]

    ((node, action),) = actions(run(made))

    assert node == "atlas-2"
    assert isinstance(action, Put)
    assert action.path == f"{FOLDER}/.qnext-manifest.json"
    assert action.content.decode() == KEPT.text()


def test_no_room_names_each_node_and_moves_nothing() -> None:
    made = nodes(named(), held(), replace(held(), files=()), replace(held(), files=()))
    for node in made.nodes:
        node.facts["disk"] = DiskValue((Folder(FOLDER, free=1_000, mount="/data"),))

    with pytest.raises(
        ProvisionError, match=r"no room for the weights: atlas-2: 1\.0 kB free on /data, 5\.0 kB to come"
    ) as caught:
        run(made, repair=True)

    assert "atlas-3" in caught.value.evidence
    assert "nothing was moved" in caught.value.hint


def test_what_no_node_has_and_no_source_names_is_an_error() -> None:
    made = nodes(named(), replace(held(), files=()), replace(held(), files=()))
    with pytest.raises(ProvisionError, match=r"no node has a\.safetensors, config\.json as it must be"):
        run(made, repair=True)


def test_one_network_mount_on_all_nodes_is_one_folder() -> None:
    made = nodes(named(), held(), replace(held(), files=()))
    for node in made.nodes:
        node.facts["disk"] = DiskValue((Folder(FOLDER, filesystem="nas:/export", mount="/data", type="nfs4"),))

    driven = run(made)

    assert driven.actions == []
    assert [finding.node for finding in driven.outcome.findings] == ["atlas-2"]


@pytest.mark.parametrize(
    ("args", "model", "error", "words"),
    [
        ({"from_node": "atlas-9"}, {}, UsageError, "no such node"),
        (
            {"record": True},
            {"source": {"kind": "huggingface", "repository": "a/b"}},
            UsageError,
            "where the weights are",
        ),
        ({}, {"source": {"kind": "node", "path": "/x", "node": "atlas-9"}}, ProvisionError, "takes no part"),
    ],
)
def test_what_cannot_be_is_refused(args: Any, model: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        run(nodes(named(**model), held(), held()), **args)


def test_a_folder_that_hangs_is_not_taken_for_an_empty_one() -> None:
    hung = VerifiedValue(FOLDER, problems=("no answer within 60 s",))
    with pytest.raises(ProvisionError, match="could not be looked at: no answer within 60 s"):
        run(nodes(named(source={"kind": "controller", "path": "/x"}), held(), hung))


def test_facts_are_those_that_are_looked_at() -> None:
    asked = weights.facts(weights.Args(), named(source={"kind": "node", "path": "/x"}))
    names = [fact.name for fact in asked]
    assert {"disk", "model-folder"} < set(names)
    assert names.count("weights") == 2
    assert any(isinstance(fact, Disk) and FOLDER in fact.paths for fact in asked)
