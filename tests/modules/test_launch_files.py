"""The launch files: what differs is written, what is no longer declared is removed, all else is left alone."""

from __future__ import annotations

from dataclasses import replace

from provision.actions import Put, Remove
from provision.facts.launch_folder import LaunchFile, LaunchFolderValue, digest_of
from provision.modules import launch_files
from provision.secrets import Secret
from provision.serve import launch
from tests.modules.world import cluster, drive, settings


def written(made: object) -> dict[str, dict[str, Put]]:
    """Every file that the module writes, by node and name."""
    files: dict[str, dict[str, Put]] = {}
    for step in drive(launch_files.run(launch_files.Args(), made)).actions:  # type: ignore[arg-type]
        for node, put in step.actions.items():
            files.setdefault(node, {})[put.path.rpartition("/")[2]] = put
    return files


def as_on_the_node(puts: dict[str, Put]) -> LaunchFolderValue:
    return LaunchFolderValue(
        {n: LaunchFile(p.mode, digest_of(p.content), None if p.secret else p.content) for n, p in puts.items()}
    )


def test_bare_nodes_get_a_script_each() -> None:
    files = written(cluster())

    assert {node: list(puts) for node, puts in files.items()} == {"atlas-1": ["head.sh"], "atlas-2": ["worker1.sh"]}
    head = files["atlas-1"]["head.sh"]
    assert (head.path, head.mode, head.secret) == ("/var/lib/qnext/qnext/launch/head.sh", 0o755, False)
    assert head.content.startswith(b"#!/bin/sh")


def test_files_that_are_as_declared_stay() -> None:
    made = cluster()
    for node, puts in written(made).items():
        next(n for n in made.nodes if n.name == node).facts["launch-folder"] = as_on_the_node(puts)

    driven = drive(launch_files.run(launch_files.Args(), made))

    assert driven.actions == []
    assert driven.outcome.message == "2 launch scripts in place"


def test_changed_mode_changed_content_and_leftovers() -> None:
    made = cluster()
    files = written(made)
    head = as_on_the_node(files["atlas-1"]).files["head.sh"]
    old = LaunchFile(0o755, digest_of(b"old"), b"old")
    made.nodes[0].facts["launch-folder"] = LaunchFolderValue({"head.sh": replace(head, mode=0o644)})
    made.nodes[1].facts["launch-folder"] = LaunchFolderValue({"worker1.sh": old, "worker9.sh": old})

    steps = drive(launch_files.run(launch_files.Args(), made)).actions

    assert list(steps[0].actions) == ["atlas-1", "atlas-2"], "both nodes at the same time"
    assert steps[0].actions["atlas-2"].before == b"old"
    (last,) = steps[1].actions.values()
    assert isinstance(last, Remove)
    assert last.path == "/var/lib/qnext/qnext/launch/worker9.sh"


def test_a_key_goes_into_a_file_for_root_alone() -> None:
    files = written(cluster(settings(api_key=Secret.of("sk-of-the-test"))))

    (env,) = [put for puts in files.values() for name, put in puts.items() if name.endswith(".env")]
    assert (env.mode, env.secret) == (0o600, True)
    assert env.content == b"VLLM_API_KEY=sk-of-the-test\n"
    assert not any(b"sk-of-the-test" in p.content for puts in files.values() for p in puts.values() if not p.secret)


def test_files_that_a_process_mounts_lie_beside_its_script() -> None:
    made = cluster(settings(topology="replicas", data_parallel_size=1, router={"kind": "nginx"}))
    planned = launch.observed(made)
    files = written(made)

    beside = {path.rpartition("/")[2]: text for script in planned.scripts for path, text in script.files.items()}
    assert beside, "the nginx router reads a configuration"
    found = {n: p for puts in files.values() for n, p in puts.items()}
    for name, text in beside.items():
        assert (found[name].content, found[name].mode) == (text.encode(), 0o644)
