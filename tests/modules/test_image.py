"""The image module: one digest for all nodes, asked once; what is proven and told, and what a failed pull says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from provision.actions import Action, Job, On, Run
from provision.errors import CommandFailed, RemoteError
from provision.facts.docker import ImageValue
from provision.install import images
from provision.inventory.model import Install
from provision.modules import image, pulling, spreading
from provision.results import PlannedResult, Result
from tests.modules.world import IMAGE, cluster, drive, settings

REPOSITORY = IMAGE.rpartition(":")[0]
D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
ABSENT = ImageValue(IMAGE, present=False)


def held(digest: str = D1, repository: str = REPOSITORY) -> ImageValue:
    return ImageValue(IMAGE, present=True, id="sha256:" + "1f" * 32, digests=(f"{repository}@{digest}",))


def made(nodes: int = 2, *, has: tuple[int, ...] = (), **install: Any) -> Any:
    """A cluster in which only the nodes ``has`` hold the image."""
    own = settings().model_copy(update={"install": Install(image=install.pop("image", IMAGE), **install)})
    world = cluster(own, nodes)
    for index, node in enumerate(world.nodes):
        node.facts["image"] = held() if index in has else ABSENT
    return world


def registries(world: Any, digest: str = D1, source: str = REPOSITORY, log: str = "") -> Callable[[Action], Any]:
    """They answer every question and every pull with this digest."""

    def answer(action: Any) -> Result:
        if isinstance(action, Job):
            for node in world.nodes:
                node.facts["image"] = held(digest, source)
        return Result(action.label, 0, f"{log}digest {source} {digest}\n")

    return answer


def scripts(actions: list[Any]) -> list[str]:
    return [job.script for step in actions for job in step.actions.values() if isinstance(job, Job)]


def test_an_image_that_is_there_is_not_pulled() -> None:
    driven = drive(image.run(image.Args(), made(has=(0, 1))))

    assert driven.actions == []
    assert driven.outcome.message == f"{IMAGE} is there"


def test_what_it_looks_at_is_one_fact() -> None:
    assert [fact.name for fact in image.facts(image.Args(), settings())] == ["image"]
    source = settings().model_copy(update={"install": Install(method="source")})
    assert image.facts(image.Args(), source) == []
    assert drive(image.run(image.Args(), cluster(source))).outcome.skipped


def test_the_digest_is_asked_once_and_pulled_on_all() -> None:
    world = made(3)

    driven = drive(image.run(image.Args(timeout=5), world), registries(world))

    assert driven.labels == [
        {"atlas-1": f"ask which image {IMAGE} is"},
        dict.fromkeys(("atlas-1", "atlas-2", "atlas-3"), f"pull {IMAGE}"),
    ]
    asked = driven.actions[0].actions["atlas-1"]
    assert asked.affects == frozenset(), "asking changes nothing"
    assert all(f"\ndigest={D1}\n" in script for script in scripts(driven.actions))
    job = driven.actions[1].actions["atlas-1"]
    assert (job.name, job.deadline) == ("pull-registry.example-vllm-cpu-1", 5)
    assert driven.outcome.message == f"{IMAGE} ({D1}) pulled on 3 nodes from {REPOSITORY}"
    assert driven.outcome.data == {"digest": D1}
    assert driven.outcome.findings == (), "the tag is a release's"


def test_nodes_that_hold_it_tell_the_digest() -> None:
    world = made(has=(0,))
    driven = drive(image.run(image.Args(), world), registries(world))
    assert driven.labels == [{"atlas-2": f"pull {IMAGE}"}]


def test_a_pinned_image_needs_no_question() -> None:
    world = made(digest=D1)
    driven = drive(image.run(image.Args(), world), registries(world))
    assert driven.labels == [dict.fromkeys(("atlas-1", "atlas-2"), f"pull {REPOSITORY}@{D1}")]


def test_where_nobody_can_be_asked_the_first_pull_tells() -> None:
    world = made(3, engine="podman")
    driven = drive(image.run(image.Args(), world), registries(world))
    assert [list(step) for step in driven.labels] == [["atlas-1"], ["atlas-2", "atlas-3"]]
    assert "\ndigest=\n" in scripts(driven.actions)[0] or "\ndigest=''\n" in scripts(driven.actions)[0]
    assert all(f"\ndigest={D1}\n" in script for script in scripts(driven.actions)[1:])


def test_a_plan_asks_nobody_and_tells_the_pulls() -> None:
    driven = drive(image.run(image.Args(), made()), lambda action: PlannedResult(action.label))
    assert [type(a) for step in driven.actions for a in step.actions.values()] == [Run, Job, Job]
    assert driven.outcome.findings == ()


def test_a_tag_that_moves_is_told_with_how_to_pin_it() -> None:
    world = made(image=f"{REPOSITORY}:main")
    driven = drive(image.run(image.Args(), world), registries(world))
    (finding,) = driven.outcome.findings
    assert finding.level == "warn"
    assert f"install.digest: {D1}" in finding.remedy


def test_sources_that_failed_are_told_though_it_ended_well() -> None:
    world = made(mirrors=("m.example/v",))
    log = f"not from {REPOSITORY}: dial tcp: i/o timeout \n"
    driven = drive(image.run(image.Args(), world), registries(world, source="m.example/v", log=log))
    (finding,) = driven.outcome.findings
    assert finding.summary == f"{REPOSITORY}: dial tcp: i/o timeout"
    assert "atlas-1, atlas-2 went on with the next source" in finding.remedy


def test_a_source_that_gave_it_after_all_was_not_passed_over() -> None:
    world = made()
    driven = drive(image.run(image.Args(), world), registries(world, log=f"not from {REPOSITORY}: EOF\n"))
    (finding,) = driven.outcome.findings
    assert "tried it again" in finding.remedy
    assert "mirrors" not in finding.remedy


def failed(stdout: str, hint: str = "") -> CommandFailed:
    return CommandFailed("pull: exit status 1", Result("pull", 1, stdout), hint=hint)


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (f"failed {REPOSITORY}: manifest unknown: manifest unknown", "check the spelling of install.image"),
        (f"failed {REPOSITORY}: unauthorized: no", "docker login"),
        (f"failed {REPOSITORY}: Get x: dial tcp: lookup x: no such host", "bundle load"),
        (f"failed m.example/v: serves {D2} as 1 instead of {D1}: refused", "set install.digest"),
        (f"failed {REPOSITORY}: ?!", "the job's own"),
        ("Cannot connect to the Docker daemon", "systemctl start docker"),
        ("?!", "the job's own"),
    ],
)
def test_a_failed_pull_says_what_each_source_said(said: str, hint: str) -> None:
    def answer(action: Action) -> Any:
        return failed(said, "the job's own") if isinstance(action, Job) else Result(action.label, 0, "")

    with pytest.raises(CommandFailed) as caught:
        drive(image.run(image.Args(), made(digest=D1)), answer)

    assert hint in caught.value.hint
    assert said.removeprefix("failed ") in caught.value.evidence


def test_all_sources_stand_in_the_error() -> None:
    log = f"failed {REPOSITORY}: i/o timeout\nfailed m.example/v: unauthorized: no\n"
    with pytest.raises(CommandFailed, match="none of 2 sources gave it") as caught:
        drive(image.run(image.Args(), made(digest=D1)), lambda job: failed(log) if isinstance(job, Job) else None)
    assert caught.value.evidence == f"{REPOSITORY}: i/o timeout\nm.example/v: unauthorized: no"


def test_a_failed_pull_leaves_the_node_as_it_was() -> None:
    module = image.run(image.Args(), made(digest=D1))
    job = next(module).actions["atlas-1"]
    assert isinstance(job, Job)

    swept = module.throw(failed("?!"))

    assert isinstance(swept, On)
    for run in swept.actions.values():
        assert isinstance(run, Run)
        assert f"/jobs/{job.name}\n" in run.script
        assert run.affects == frozenset()
    with pytest.raises(CommandFailed, match="pull"):
        module.throw(failed("busy"))


def test_a_pull_that_ends_well_and_brings_nothing() -> None:
    with pytest.raises(RemoteError, match="is not there after its pull ended well"):
        drive(image.run(image.Args(), made(digest=D1)))


def test_another_digest_under_the_name_is_no_success() -> None:
    world = made(digest=D1)

    def answer(action: Action) -> Result:
        for node in world.nodes:
            node.facts["image"] = held(D2)
        return Result(action.label, 0, f"digest {REPOSITORY} {D1}\n")

    with pytest.raises(RemoteError, match="another digest"):
        drive(image.run(image.Args(), world), answer)


def test_a_tree_pulls_on_one_and_spreads_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []

    def spread_image(*words: Any) -> Any:
        given.append(words[1:])
        yield On({})

    monkeypatch.setattr(spreading, "spread_image", spread_image)
    world = made(3, spread="tree", digest=D1)

    def answer(action: Action) -> Result:
        world.nodes[0].facts["image"] = held()
        return Result(action.label, 0, f"digest {REPOSITORY} {D1}\n")

    drive(image.run(image.Args(timeout=9), world), answer)
    drive(image.run(image.Args(timeout=9), made(3, spread="tree", has=(1,))))

    ref = world.settings.install.ref
    assert given == [
        (ref, held().id, ["atlas-1"], ["atlas-2", "atlas-3"], 9),
        (IMAGE, held().id, ["atlas-2"], ["atlas-1", "atlas-3"], 9),
    ]


def test_names_that_operators_know() -> None:
    from provision.install.images import Wanted

    assert pulling.named(Wanted("q/a:v1", "v1", "", ("q/a",))) == "q/a:v1"
    assert pulling.named(Wanted(f"q/a:sha256-{'1' * 64}", "v1", D1, ("q/a",))) == f"q/a@{D1}"


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"atlas-1": REPOSITORY}, f"pulled on atlas-1 from {REPOSITORY}, copied from there"),
        ({}, "copied from nodes that held it"),
    ],
)
def test_who_pulled_and_who_got_a_copy_is_told_apart(sources: dict[str, str], words: str) -> None:
    wanted = images.servers(settings().install)
    told = image._message(wanted, made(3).nodes, pulling.Pulled(D1, sources=sources))
    assert told.endswith(f" on 3 nodes: {words}")
