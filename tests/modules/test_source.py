"""Building once, shipping, installing everywhere: what the module yields for every state of the nodes."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import pytest

from provision import secrets
from provision.actions import Call, Job, On, Put, Remove, Run
from provision.errors import CommandFailed, ProvisionError
from provision.facts.docker import ContainersValue
from provision.facts.source import SourceInstallValue, VenvRecord, Wheel, WheelsRecord
from provision.install.manifest import File
from provision.inventory.model import Install, Model, Settings, Source
from provision.modules import source, spreading
from provision.results import PlannedResult, Result
from tests.modules import world
from tests.modules.world import drive

FILES = (Wheel("vllm-1-py3-none-any.whl", 10, "a" * 64), Wheel("sums", 20, "b" * 64), Wheel("built", 30, "c" * 64))
RECORD = WheelsRecord("f" * 64, machine="aarch64", python="3.11", files=FILES, commits={"vllm": "9" * 40})
SIZES = {file.path: file.size for file in FILES}
VENV = VenvRecord("sha256:" + "1" * 64, RECORD.set_id, arch="arm64", versions={"vllm": "1+empty", "torch": "2.9.0"})
BARE = SourceInstallValue(machine="aarch64", python="3.11.6")
HOLDS = SourceInstallValue(wheels=RECORD, sizes=SIZES, machine="aarch64", python="3.11.6")
READY = SourceInstallValue(venv=VENV, wheels=RECORD, sizes=SIZES, machine="aarch64", python="3.11.6")
INSTALLED = SourceInstallValue(venv=VENV, machine="aarch64", python="3.11.6")


def settings(hardware: Any = "cpu", **own: Any) -> Settings:
    install = Install(method="source", source=Source(**{"vllm": "v0.18.0", **own}))
    return Settings(cluster="qnext", hardware=hardware, install=install, model=Model(path="/w"))


def cluster(*seen: SourceInstallValue, own: Settings | None = None) -> Any:
    made = world.cluster(own or settings(), len(seen))
    for node, value in zip(made.nodes, seen, strict=True):
        node.facts["source-install"] = value
        node.facts["containers"] = ContainersValue(reachable=True)
    return made


def becoming(made: Any, failing: str = "", log: str = "") -> Any:
    """Answers of nodes on which jobs do what they are for."""

    def answer(action: Any) -> Any:
        if isinstance(action, Job) and failing in action.label and failing:
            return CommandFailed("it failed", Result(action.label, 1, log), node=made.nodes[0].name)
        return Result(action.label, 0, log)

    return answer


@pytest.fixture
def spread(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was to be spread; the takers have it afterwards."""
    asked: list[Any] = []

    def stand_in(
        cluster: Any, parcel: spreading.Parcel, holders: Any, takers: Mapping[str, frozenset[str]]
    ) -> Generator[On, Any, None]:
        asked.append((parcel, list(holders), dict(takers)))
        for node in cluster.nodes:
            if node.name in takers:
                node.facts["source-install"] = HOLDS
        yield On({})

    monkeypatch.setattr(spreading, "spread", stand_in)
    return asked


def run(made: Any, **how: Any) -> world.Driven:
    """Drive the module; a job that builds leaves wheels, one that installs leaves a venv."""
    return drive(_acting(made, source.run(source.Args(), made)), becoming(made, **how))


def _acting(made: Any, module: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    try:
        step = next(module)
        while True:
            try:
                given = yield step
            except CommandFailed as error:
                step = module.throw(error)
                continue
            for node in made.nodes:
                action = step.actions.get(node.name)
                if isinstance(action, Job):
                    node.facts["source-install"] = HOLDS if action.label.startswith("build") else READY
            step = module.send(given)
    except StopIteration as end:
        return end.value


def test_an_image_is_none_of_its_business() -> None:
    made = world.cluster()
    assert source.facts(source.Args(), made.settings) == ()
    assert drive(source.run(source.Args(), made)).outcome.skipped


def test_where_all_is_there_nothing_is_done() -> None:
    driven = run(cluster(READY, INSTALLED))
    assert driven.actions == []
    assert "vllm 1+empty, torch 2.9.0" in driven.outcome.message
    assert driven.outcome.data["id"] == VENV.id


def test_it_is_built_on_one_shipped_to_the_others_and_installed_on_all(spread: list[Any]) -> None:
    driven = run(cluster(BARE, BARE, BARE))
    assert driven.labels == [
        {"atlas-1": "build vllm v0.18.0"},
        {"atlas-1": "verify the wheels"},
        {},
        {f"atlas-{n}": "install vllm v0.18.0 from wheels" for n in (1, 2, 3)},
    ]
    ((parcel, holders, takers),) = spread
    assert parcel.files == tuple(File(file.path, file.size, file.sha256) for file in FILES)
    assert parcel.folder == settings().wheels
    assert (holders, takers) == (["atlas-1"], {f"atlas-{n}": frozenset(SIZES) for n in (2, 3)})


def test_one_node_spreads_nothing(spread: list[Any]) -> None:
    driven = run(cluster(BARE))
    assert driven.labels == [{"atlas-1": "build vllm v0.18.0"}, {"atlas-1": "install vllm v0.18.0 from wheels"}]
    assert spread == []


def test_the_builder_is_the_one_named(spread: list[Any]) -> None:
    driven = run(cluster(BARE, BARE, own=settings(builder="atlas-2")))
    assert driven.labels[0] == {"atlas-2": "build vllm v0.18.0"}
    assert list(spread[0][2]) == ["atlas-1"]


def test_wheels_that_any_node_has_are_not_built_again_and_only_what_lacks_is_sent(spread: list[Any]) -> None:
    half = SourceInstallValue(wheels=RECORD, sizes={"sums": 20, "built": 30}, machine="aarch64", python="3.11.2")
    driven = run(cluster(BARE, READY, half))
    assert driven.labels[0] == {"atlas-2": "verify the wheels"}
    assert spread[0][2] == {"atlas-1": frozenset(SIZES), "atlas-3": frozenset({FILES[0].path})}
    assert set(driven.labels[-1]) == {"atlas-1", "atlas-3"}


def test_a_folder_that_all_share_is_not_copied(spread: list[Any]) -> None:
    own = settings().model_copy(update={"shared_folders": ("/var/lib/qnext",)})
    run(cluster(HOLDS, HOLDS, own=own))
    assert spread == []


def test_another_processor_is_refused_before_anything_is_done() -> None:
    other = SourceInstallValue(machine="x86_64", python="3.11.6")
    with pytest.raises(ProvisionError, match="it is x86_64, and the wheels are for aarch64") as caught:
        run(cluster(BARE, other))
    assert caught.value.node == "atlas-2"


@pytest.mark.parametrize(
    ("python", "says"),
    [("3.12.1", "the wheels are built by 3.11.6"), ("", "python3 does not run"), ("3.9.2", "needs >=3.10,<3.12")],
)
def test_a_python_that_does_not_do_is_refused(python: str, says: str) -> None:
    other = SourceInstallValue(machine="aarch64", python=python)
    own = settings(release="v0.18.0", vllm_ascend="v0.18.0")
    with pytest.raises(ProvisionError, match=says):
        run(cluster(BARE, other, own=own if "needs" in says else None))


def test_venvs_are_not_replaced_under_running_servers() -> None:
    stale = SourceInstallValue(venv=VenvRecord("sha256:2", "e" * 64), machine="aarch64", python="3.11.6")
    made = cluster(HOLDS, stale)
    made.nodes[1].facts["containers"] = world.containers(world.container("head"))
    with pytest.raises(ProvisionError, match="made of other wheels than those of atlas-1, and head runs from it"):
        run(made)
    made = cluster(BARE, stale)
    made.nodes[1].facts["containers"] = world.containers(world.container("head"))
    with pytest.raises(ProvisionError, match="gone from every node, and head runs from it"):
        run(made)


def test_a_failure_names_the_step_the_cause_the_remedy_and_the_indexes() -> None:
    log = "== step 6/9: vLLM with what it needs\nERROR: No matching distribution found for torch==2.9.0\n"
    log += "== failed at step 6/9: vLLM with what it needs (exit status 1 after 3 s)\n"
    with pytest.raises(CommandFailed) as caught:
        run(cluster(BARE, own=settings(index="https://u:hunter2@pypi.example/simple")), failing="build", log=log)
    error = caught.value
    assert "step 6 of 9, vLLM with what it needs, failed with exit status 1: no index has this package" in error.message
    assert error.hint.endswith("asked were https://pypi.example/simple")
    assert error.evidence == "ERROR: No matching distribution found for torch==2.9.0"


def test_a_failure_without_steps_is_docker_s_or_the_shell_s() -> None:
    with pytest.raises(CommandFailed) as caught:
        run(cluster(BARE), failing="build", log="no space left on device\n")
    assert "df -h" in caught.value.hint


@pytest.mark.parametrize("failing", ["", "build"])
def test_passwords_are_files_while_it_builds_and_masked(failing: str) -> None:
    made = cluster(BARE, own=settings(index="https://reader:hunter2@pypi.example/simple"))
    steps: list[Any] = []
    module = _acting(made, source.run(source.Args(), made))
    answer = becoming(made, failing=failing)

    def note(action: Any) -> Any:
        steps.append(action)
        return answer(action)

    if failing:
        with pytest.raises(CommandFailed):
            drive(module, note)
    else:
        drive(module, note)
    put = next(step for step in steps if isinstance(step, Put))
    assert (put.mode, put.secret, b"hunter2" in put.content) == (0o600, True, True)
    removed = next(step for step in steps if isinstance(step, Remove))
    assert put.path.startswith(f"{removed.path}/")
    assert not any("hunter2" in step.script for step in steps if isinstance(step, Job | Run))
    assert secrets.redact("x hunter2 x") == f"x {secrets.MASK} x"


def test_a_plan_shows_all_steps(spread: list[Any]) -> None:
    made = cluster(BARE, BARE)
    driven = drive(source.run(source.Args(), made), lambda action: PlannedResult(action.label))
    assert driven.labels == [
        {"atlas-1": "build vllm v0.18.0"},
        {"atlas-2": "take the wheels from atlas-1"},
        {f"atlas-{n}": "install vllm v0.18.0 from wheels" for n in (1, 2)},
    ]
    call = driven.actions[1].actions["atlas-2"]
    assert isinstance(call, Call)
    with pytest.raises(ProvisionError, match="only planned"):
        call.do(made.nodes[1])


def test_what_moves_is_told_with_its_commit_and_notes_with_their_nodes(spread: list[Any]) -> None:
    driven = run(cluster(BARE, own=settings(vllm="main")), log="== note: pip check finds 2 conflicts\n")
    assert "main of vllm is commit 999999999999" in driven.outcome.message
    assert "pip check finds 2 conflicts (atlas-1)" in driven.outcome.message


def test_nodes_that_end_up_different_are_named() -> None:
    other = SourceInstallValue(venv=VenvRecord("sha256:2", RECORD.set_id), machine="aarch64", python="3.11.6")
    with pytest.raises(ProvisionError, match="do not have the same packages") as caught:
        run(cluster(READY, other))
    assert "atlas-2" in caught.value.evidence
