"""Pulling through a cache on the first node: what happens in which order, and what is taken away again."""

from __future__ import annotations

from typing import Any

import pytest

from provision.actions import Action, Job, Put
from provision.errors import CommandFailed, ProvisionError
from provision.facts.docker import ContainersValue, ImageValue
from provision.modules import image
from provision.results import PlannedResult, Result
from tests.modules.test_image import D1, REPOSITORY, held, made
from tests.modules.world import container, drive

CACHE = "registry:2"
DOOR = "user root\nport 22\nkey ssh-ed25519 AAAA\n"


def world(*, cached: bool = True, **install: Any) -> Any:
    given = made(3, spread="registry", digest=D1, **install)
    for node in given.nodes:
        node.images[CACHE] = ImageValue(CACHE, present=cached)
    return given


def well(given: Any) -> Any:
    """Everything goes well."""

    def answer(action: Action) -> Result:
        if isinstance(action, Job):
            for node in given.nodes:
                node.facts["image"] = held(repository="127.0.0.1:15580/vllm-cpu")
                node.images[CACHE] = ImageValue(CACHE, present=True)
            return Result(action.label, 0, f"digest 127.0.0.1:15580/vllm-cpu {D1}\n")
        told = {"start": f"remote {REPOSITORY}\n", "let": DOOR}
        return Result(action.label, 0, told.get(action.label.split()[0], ""))

    return answer


def steps(driven: Any) -> list[tuple[str, str]]:
    """First words of the labels, and where."""
    found = []
    for label in driven.labels:
        assert isinstance(label, dict)
        found.append((" ".join(sorted({text.split()[0] for text in label.values()})), " ".join(label)))
    return found


def test_one_fetches_and_the_others_get_it_from_there() -> None:
    given = world()

    driven = drive(image.run(image.Args(), given), well(given))

    assert steps(driven) == [
        ("start", "atlas-1"),
        ("let", "atlas-1"),
        *[("write", "atlas-2 atlas-3")] * 3,
        ("pull", "atlas-1"),
        ("pull", "atlas-2 atlas-3"),
        ("remove", "atlas-1"),
        ("remove", "atlas-2 atlas-3 atlas-1"),
    ]
    first, others = (driven.actions[n].actions for n in (5, 6))
    assert "set -- 127.0.0.1:15580/vllm-cpu registry.example/vllm-cpu\n" in first["atlas-1"].script
    assert "ssh -F /dev/null -N" not in first["atlas-1"].script
    assert "ssh -F /dev/null -N" in others["atlas-2"].script
    key = driven.actions[2].actions["atlas-2"]
    assert isinstance(key, Put)
    assert (key.mode, key.secret) == (0o600, True)
    assert 'permitopen="127.0.0.1:15580"' in driven.actions[1].actions["atlas-1"].script


def test_the_caches_own_image_comes_first() -> None:
    given = world(cached=False)
    driven = drive(image.run(image.Args(), given), well(given))
    assert driven.labels[0] == {"atlas-1": f"pull {CACHE}"}


def test_what_fails_takes_cache_and_keys_away() -> None:
    given = world()
    do = well(given)
    seen: list[str] = []

    def answer(action: Action) -> Any:
        seen.append(action.label)
        refused = CommandFailed("pull", Result(action.label, 1, f"failed {REPOSITORY}: unexpected EOF\n"))
        return refused if isinstance(action, Job) else do(action)

    with pytest.raises(CommandFailed, match="unexpected EOF"):
        drive(image.run(image.Args(), given), answer)

    assert {"remove the cache", "remove the run's key"} <= set(seen)


def test_a_node_whose_host_key_is_not_known_is_asked_by_nobody() -> None:
    given = world()
    do = well(given)

    def answer(action: Action) -> Any:
        return Result(action.label, 0, "user root\nport 22\n") if action.label.startswith("let") else do(action)

    with pytest.raises(ProvisionError, match="host key") as caught:
        drive(image.run(image.Args(), given), answer)
    assert "spread: each" in caught.value.hint


def test_a_plan_tells_all_of_it() -> None:
    driven = drive(image.run(image.Args(), world()), lambda action: PlannedResult(action.label))
    words = [what for what, _ in steps(driven)]
    assert words == ["start", "let", "write", "write", "write", "pull", "pull", "remove", "remove"]


def left_behind(given: Any) -> Any:
    """A run was interrupted: the first node has the image, and the cache still runs there."""
    node = given.nodes[0]
    node.facts["image"] = held(repository="127.0.0.1:15599/vllm-cpu")
    node.facts["containers"] = ContainersValue((container("registry", kind="registry"),), reachable=True)
    node.texts = f"true 15599 {REPOSITORY}\n"
    return given


def test_the_cache_of_an_interrupted_run_is_used_on() -> None:
    given = left_behind(world())

    driven = drive(image.run(image.Args(), given), well(given))

    assert steps(driven) == [
        ("let", "atlas-1"),
        *[("write", "atlas-2 atlas-3")] * 3,
        ("pull", "atlas-2 atlas-3"),
        ("remove", "atlas-1"),
        ("remove", "atlas-2 atlas-3 atlas-1"),
    ]
    pull = driven.actions[4].actions["atlas-2"]
    assert "set -- 127.0.0.1:15599/vllm-cpu registry.example/vllm-cpu\n" in pull.script


def test_what_an_interrupted_run_has_left_goes() -> None:
    given = left_behind(world())
    for node in given.nodes:
        node.facts["image"] = held()

    driven = drive(image.run(image.Args(), given), well(given))

    assert steps(driven) == [("remove", "atlas-1"), ("remove", "atlas-2 atlas-3 atlas-1")]
    assert {"image", "containers"} == {fact.name for fact in image.facts(image.Args(), given.settings)}


def test_for_one_node_there_is_no_cache() -> None:
    given = made(2, spread="registry", has=(0,))
    for node in given.nodes:
        node.images[CACHE] = ImageValue(CACHE, present=True)
    driven = drive(image.run(image.Args(), given), well(given))
    assert steps(driven) == [("pull", "atlas-2")]
