"""Starting in waves: the next wave waits until this one has started; a process that ends fails the launch."""

from __future__ import annotations

import pytest

from provision.actions import Call, Run
from provision.errors import CommandFailed, LaunchFailed
from provision.facts.network import Listener, PortsValue
from provision.modules import start, starting
from provision.registry import checks
from provision.results import Result
from provision.serve import launch
from tests.modules.world import cluster, container, containers, drive, replicas, running

LISTENS = {"ports": PortsValue((Listener("10.0.0.1", 13389, 1, "vllm"),))}


def test_what_runs_is_not_started() -> None:
    driven = drive(start.run(start.Args(), running(cluster())))

    assert driven.actions == []
    assert driven.outcome.message == "all run already"


def test_bare_nodes_start_wave_by_wave(slept: list[float]) -> None:
    made = cluster()
    head, worker = made.nodes

    def perform(action: Run | Call) -> Result:
        if isinstance(action, Call):
            return action.do(head if "head" in action.label else worker)
        name = action.label.removeprefix("start ")
        (head if name == "head" else worker).facts["containers"] = containers(container(name))
        return Result(action.label, 0, "")

    head.steps = [{}, {}, LISTENS]
    driven = drive(start.run(start.Args(), made), perform)

    assert driven.labels == [
        {"atlas-1": "start head"},
        {"atlas-1": "wait until head has started"},
        {"atlas-2": "start worker1"},
        {"atlas-2": "wait until worker1 has started"},
    ]
    assert driven.actions[0].actions["atlas-1"].script == "exec sh /var/lib/qnext/qnext/launch/head.sh\n"
    assert len(slept) == 2
    assert driven.outcome.message == "2 started"


def test_the_router_starts_apart_when_the_servers_are_ready(slept: list[float]) -> None:
    made = replicas()

    def perform(action: Run | Call) -> Result:
        for node in made.nodes:
            planned = launch.observed(made)
            found = [container(s.process, s.digest) for s in planned.scripts_of(node.name)]
            node.facts["containers"] = containers(*found)
        return Result(action.label, 0, "")

    servers = drive(start.run(start.Args(part="servers"), made), perform)
    assert servers.labels[0] == {"atlas-1": "start replica0", "atlas-2": "start replica1"}
    assert servers.outcome.message == "2 started"

    made.nodes[0].facts["containers"] = containers(container("replica0"))
    front = drive(start.run(start.Args(part="front"), made), perform)
    assert front.labels == [{"atlas-1": "start router"}, {"atlas-1": "wait until router has started"}]


def test_nothing_stands_before_a_single_api() -> None:
    driven = drive(start.run(start.Args(part="front"), cluster()))

    assert driven.actions == []
    assert driven.outcome.skipped


def test_servers_of_a_node_start_one_by_one_and_are_awaited_together(slept: list[float]) -> None:
    made = replicas(nodes=1, replicas_per_node=2)
    made.nodes[0].facts["containers"] = containers()

    driven = drive(start.run(start.Args(part="servers"), made))

    assert driven.labels == [
        {"atlas-1": "start replica0"},
        {"atlas-1": "start replica1"},
        {"atlas-1": "wait until replica0, replica1 have started"},
    ]


def test_a_process_that_ends_while_its_wave_is_awaited(slept: list[float]) -> None:
    made = cluster()
    head = made.nodes[0]
    head.facts["containers"] = containers(container("head"))
    head.steps = [{"containers": containers(container("head", state="exited", exit_code=3))}]
    head.texts = "==> qnext process head\nValueError: no such model\n"
    head.facts["containers"] = containers()

    def perform(action: Run | Call) -> object:
        return _done(action, head)

    with pytest.raises(LaunchFailed, match="head exited with exit status 3; first cause: ") as caught:
        drive(start.run(start.Args(), made), perform)

    assert caught.value.node == "atlas-1"
    assert "no such model" in caught.value.evidence
    assert head.kept == {"head.log": "ValueError: no such model"}


def test_a_port_that_never_listens(slept: list[float]) -> None:
    made = cluster()
    head = made.nodes[0]
    head.steps = [{"containers": containers(container("head"))}]

    with pytest.raises(LaunchFailed, match="did not hold within 30 s"):
        drive(start.run(start.Args(timeout=30), made), lambda action: _done(action, head))

    assert 30 < sum(slept) < 32
    assert max(slept) == start.LOOK_EVERY
    assert head.shown


def test_docker_that_refuses_to_start_is_explained() -> None:
    refusal = Result("start head", 125, "", 'docker: Error: Conflict. The container name "/x" is already in use.')

    with pytest.raises(CommandFailed) as caught:
        drive(start.run(start.Args(), cluster()), lambda action: _failure(refusal))

    assert caught.value.hint
    assert "by hand" not in caught.value.hint, "the catalogue knows this answer"


def _done(action: Run | Call, node: object) -> object:
    """An action's result, or the error that it raises."""
    try:
        return action.do(node) if isinstance(action, Call) else Result(action.label, 0, "")
    except LaunchFailed as error:
        return error


def _failure(result: Result) -> Exception:
    try:
        result.check(hint="run it by hand")
    except CommandFailed as error:
        return error
    raise AssertionError


def test_what_the_checks_of_running_servers_look_at_is_looked_at_again_after_a_start() -> None:
    """Else X11 judges a new Ray cluster by the status of the one before it."""
    base = cluster().settings
    settings = base.model_copy(update={"serve": base.serve.model_copy(update={"topology": "ray"})})
    unchanged = {"davinci", "npu-smi-mapping", "mount-sources", *(fact.name for fact in launch.facts(settings))}
    looked_at = {fact.name for check in checks() if check.scope == "launched" for fact in check.facts(settings)}

    assert "ray-cluster" in looked_at
    assert looked_at - unchanged <= starting.CHANGED
