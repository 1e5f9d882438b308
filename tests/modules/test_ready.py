"""Waiting for the head while every process is watched."""

from __future__ import annotations

import pytest

from provision.errors import LaunchFailed
from provision.facts.logs import LogTailsValue
from provision.http import Response
from provision.modules import ready
from tests.modules.world import REFUSED, cluster, container, containers, drive, running

MODELS = {"/v1/models": [Response(200, b'{"data": [{"id": "m"}]}')]}


def test_a_head_that_answers_at_once(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [Response(200)], **MODELS}

    assert drive(ready.run(ready.Args(), made)).outcome.message == "http://10.0.0.1:8000 answers"
    assert slept == []


def test_looks_come_quickly_at_first(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [*[REFUSED] * 12, Response(200)], **MODELS}
    made.nodes[1].facts["log-tails"] = LogTailsValue({"worker1": "Loading safetensors checkpoint shards:  37%"})

    outcome = drive(ready.run(ready.Args(), made)).outcome

    assert outcome.message.startswith("http://10.0.0.1:8000 answers after ")
    assert slept[0] < 0.5
    assert slept[-1] == ready.LOOK_EVERY
    assert made.nodes[1].shown[-1] == "worker1: loading weights 37%"


def test_a_process_that_ends_is_told_at_once(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[1].steps = [{}, {"containers": containers(container("worker1", state="exited", exit_code=137))}]

    with pytest.raises(LaunchFailed, match="worker1 exited with exit status 137") as caught:
        drive(ready.run(ready.Args(), made))

    assert caught.value.node == "atlas-2"
    assert sum(slept) < 5


def test_patience_ends(slept: list[float]) -> None:
    with pytest.raises(LaunchFailed, match=r"head is not ready: /health: nothing listens, 6. s after it was started"):
        drive(ready.run(ready.Args(timeout=60), running(cluster())))


def test_a_dead_server_is_not_waited_for(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [Response(500, b"dead")]}

    with pytest.raises(LaunchFailed, match="HTTP 500"):
        drive(ready.run(ready.Args(), made))

    assert slept == []


def test_what_only_an_operator_can_change_ends_the_wait(slept: list[float]) -> None:
    made = running(cluster())
    made.nodes[0].server.answers = {"/health": [Response(0, error="refused", hint="AllowTcpForwarding yes")]}

    with pytest.raises(LaunchFailed, match="AllowTcpForwarding"):
        drive(ready.run(ready.Args(), made))

    assert slept == []


@pytest.mark.parametrize(
    ("log", "phase"),
    [
        ("", "starting"),
        ("INFO vLLM API server version 0.18.0", "starting"),
        ("x\nLaunching 2 data parallel engine(s) in headless mode", "joining the head"),
        ("Starting to load model...", "loading weights"),
        ("Loading safetensors checkpoint shards:  48% Completed | 20/41", "loading weights 48%"),
        ("Loading weights took 2.83 seconds", "weights loaded"),
        ("GPU KV cache size: 1,449,088 tokens", "sizing the KV cache"),
        ("Capturing ACL graphs (decode, FULL):  50%", "capturing graphs 50%"),
        ("Capturing CUDA graphs", "capturing graphs"),
        ("Capturing 100%\nApplication startup complete.\nGET /health", "up"),
    ],
)
def test_phases(log: str, phase: str) -> None:
    assert ready.phase(log) == phase
