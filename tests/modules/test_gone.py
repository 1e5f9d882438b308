"""The proof that nothing is left; what settles by itself is waited for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from provision.errors import FactError, ProofFailed
from provision.facts.authorized_keys import AuthorizedKeysValue
from provision.facts.docker import ContainersValue
from provision.facts.files import ListingValue
from provision.facts.network import Listener, PortsValue
from provision.modules import gone
from provision.results import Result
from tests.checks.world import foreign
from tests.modules.world import cluster, container, containers, drive, settings

FREE = PortsValue((Listener("0.0.0.0", 22, 1, "sshd"),))
TAKEN = PortsValue((Listener("0.0.0.0", 8000, 4711, "python3"),))


def node(hardware: str = "cpu", **facts: Any) -> Any:
    own = settings().model_copy(update={"hardware": hardware})
    made = cluster(own, nodes=1).nodes[0]
    made.facts |= {"ports": FREE, "listing": ListingValue("/var/lib/qnext/qnext", exists=False)} | facts
    return made


def busy(made: Any, device: int, used: int) -> Any:
    """``npu-smi`` with one die that uses ``used`` MB."""
    value = made.facts["npu-smi"]
    return replace(value, dies=tuple(replace(d, hbm_used_mb=used if d.device == device else 3000) for d in value.dies))


def test_nothing_is_left() -> None:
    assert drive(gone.run(gone.Args(), node())).outcome.message == "no container, no port, no file"
    assert drive(gone.run(gone.Args(), node("atlas-800-a3"))).outcome.message.endswith("NPUs idle")


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"containers": containers(container("head", state="dead"))}, "container qnext-qnext-head is dead"),
        ({"containers": ContainersValue(problems=("no daemon",))}, "docker does not answer: no daemon"),
        (
            {"listing": ListingValue("/var/lib/qnext/qnext", exists=True, entries=("launch",))},
            "files in /var/lib/qnext/qnext: launch",
        ),
        (
            {"authorized-keys": AuthorizedKeysValue(("/root/.ssh/authorized_keys",))},
            "a key of ours in /root/.ssh/authorized_keys",
        ),
    ],
)
def test_what_stays_is_told_at_once(facts: dict[str, Any], says: str, slept: list[float]) -> None:
    with pytest.raises(ProofFailed, match="not proven gone: ") as caught:
        drive(gone.run(gone.Args(), node(**facts)))

    assert says in caught.value.message
    assert caught.value.node == "atlas-1"
    assert slept == []


def test_a_port_that_comes_free(slept: list[float]) -> None:
    made = node(ports=TAKEN)
    made.steps = [{}, {"ports": FREE}]

    assert drive(gone.run(gone.Args(), made)).outcome.message.startswith("no container")
    assert len(slept) == 2


def test_a_port_that_stays_taken_names_its_holder(slept: list[float]) -> None:
    with pytest.raises(ProofFailed, match=r"port 8000 \(API\) still listens: python3 4711"):
        drive(gone.run(gone.Args(settle=10), node(ports=TAKEN)))

    assert 10 <= sum(slept) <= 10 + gone.LOOK_EVERY


def test_npu_memory_that_comes_free(slept: list[float]) -> None:
    made = node("atlas-800-a3")
    idle = made.facts["npu-smi"]
    made.facts["npu-smi"] = busy(made, 5, 40_000)
    made.steps = [{"npu-smi": idle}]

    assert drive(gone.run(gone.Args(), made)).outcome.message.endswith("NPUs idle")


def test_npu_memory_that_stays_is_named(slept: list[float]) -> None:
    made = node("atlas-800-a3")
    made.facts["npu-smi"] = busy(made, 5, 40_000)

    with pytest.raises(ProofFailed, match="NPU 5 still uses 40000 of 65536 MB"):
        drive(gone.run(gone.Args(settle=5), made))


def test_memory_of_others_is_none_of_ours() -> None:
    made = node("atlas-800-a3")
    made.facts |= {
        "npu-smi": busy(made, 5, 40_000),
        "containers": ContainersValue(foreign=(foreign(devices=(5,)),), reachable=True),
    }

    assert drive(gone.run(gone.Args(), made)).outcome.message.endswith("NPUs idle")


def test_npus_that_cannot_be_looked_at_are_not_proven_idle(slept: list[float]) -> None:
    made = node("atlas-800-a3")
    made.facts["npu-smi"] = FactError("npu-smi: no answer", Result("npu-smi", 124, ""))

    with pytest.raises(ProofFailed, match="NPUs: npu-smi: no answer"):
        drive(gone.run(gone.Args(settle=0), made))
