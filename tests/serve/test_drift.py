"""Drift: by digest, by image id, by state; a part that differs makes the group differ."""

from __future__ import annotations

from typing import Any

import pytest

from provision.errors import RemoteError
from provision.facts.docker import ContainersValue, ImageValue
from provision.facts.launch_folder import StaleSecretsValue
from provision.secrets import Secret
from provision.serve.drift import differences
from tests.modules.world import IMAGE, IMAGE_ID, cluster, container, containers, running, settings

OTHER = "sha256:" + "2e" * 32
NGINX = "registry.example/nginx:1"


def test_what_runs_as_declared_does_not_differ() -> None:
    assert differences(running(cluster())) == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": "0" * 16}, "worker1 on atlas-2: launched as 0000000000000000, declared "),
        ({"digest": ""}, "worker1 on atlas-2: launched as unknown, declared "),
        ({"state": "exited", "exit_code": 1}, "worker1 on atlas-2: exited with exit status 1"),
        ({"image_id": OTHER}, "worker1 on atlas-2: runs image sha256:2e2e2e2e2e2e, the node holds sha256:1f1f1f1f1f1f"),
    ],
)
def test_one_process_differs(changes: dict[str, Any], reason: str) -> None:
    (told,) = differences(running(cluster(), worker1=changes))

    assert told.startswith(reason)


def test_missing_and_undeclared() -> None:
    made = running(cluster())
    made.nodes[1].facts["containers"] = containers(container("worker9"))

    assert differences(made) == ("worker1 on atlas-2 is missing", "worker9 on atlas-2: not declared on this node")


def test_silence_of_docker_is_no_drift_but_an_error() -> None:
    made = running(cluster())
    made.nodes[1].facts["containers"] = ContainersValue(problems=("docker did not answer",))
    with pytest.raises(RemoteError, match="docker did not answer"):
        differences(made)


def test_an_image_that_is_gone_from_the_node_is_no_drift() -> None:
    made = running(cluster())
    made.nodes[0].facts["image"] = ImageValue(IMAGE, present=False)

    assert differences(made) == ()


def test_another_key_is_drift() -> None:
    made = running(cluster(settings(api_key=Secret.of("sk-of-the-test"))))
    for node in made.nodes:
        node.facts["stale-secrets"] = StaleSecretsValue()
    assert differences(made) == ()

    made.nodes[0].facts["stale-secrets"] = StaleSecretsValue(("head",))

    assert differences(made) == ("head on atlas-1: runs with another API key",)


def test_two_reasons_are_both_told() -> None:
    made = running(cluster(), worker1={"digest": "0" * 16, "image_id": OTHER})
    made.nodes[0].facts["containers"] = ContainersValue(reachable=True)

    assert len(differences(made)) == 3


@pytest.mark.parametrize(
    ("held", "reasons"),
    [
        (OTHER, ()),
        ("", ()),
        (IMAGE_ID, ("router on atlas-1: runs image sha256:2e2e2e2e2e2e, the node holds sha256:1f1f1f1f1f1f",)),
    ],
)
def test_a_router_is_compared_with_its_own_image(held: str, reasons: tuple[str, ...]) -> None:
    router = {"kind": "nginx", "image": NGINX}
    own = settings(topology="replicas", data_parallel_size=1, router=router)
    made = running(cluster(own), router={"image_id": OTHER})
    made.nodes[0].images[NGINX] = ImageValue(NGINX, present=bool(held), id=held)

    assert differences(made) == reasons
