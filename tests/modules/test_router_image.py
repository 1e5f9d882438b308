"""The image of a router: on its node alone, before anything starts, and what a refused pull says."""

from __future__ import annotations

from typing import Any

import pytest

from provision.actions import Job
from provision.errors import CommandFailed
from provision.facts.docker import ImageValue
from provision.modules import router_image
from provision.results import Result
from provision.serve import launch
from tests.modules.world import IMAGE, cluster, drive, settings

NGINX = "registry.example/nginx:1"


def made(present: bool, node: str | None = "atlas-2", **router: Any) -> Any:
    """Two nodes with replicas behind a router whose image the nodes hold or not."""
    own = settings(topology="replicas", data_parallel_size=1, router={"kind": "nginx", "node": node, **router})
    world = cluster(own)
    for each in world.nodes:
        each.images[NGINX] = ImageValue(NGINX, present=present, id="sha256:12" if present else "")
    return world


@pytest.mark.parametrize(("node", "expected"), [("atlas-2", "atlas-2"), (None, "atlas-1")])
def test_it_is_pulled_on_the_routers_node_alone(node: str | None, expected: str) -> None:
    world = made(False, node, image=NGINX)

    def pulled(job: Job) -> Result:
        for each in world.nodes:
            each.images[NGINX] = ImageValue(NGINX, present=True)
        return Result(job.label, 0, "")

    driven = drive(router_image.run(router_image.Args(timeout=7), world), pulled)

    assert driven.labels == [{expected: f"pull {NGINX}"}]
    (job,) = driven.actions[0].actions.values()
    assert job.deadline == 7
    assert "\nset -- registry.example/nginx\n" in job.script, "the servers' mirrors don't hold it"
    assert driven.outcome.message == f"{NGINX} pulled on {expected}"
    assert [launch.routes(each) for each in world.nodes] == [expected == each.name for each in world.nodes]


def test_one_that_is_there_is_left() -> None:
    driven = drive(router_image.run(router_image.Args(), made(True, image=NGINX)))

    assert driven.actions == []
    assert driven.outcome.message == f"{NGINX} is there on atlas-2"


@pytest.mark.parametrize("router", [{}, {"image": IMAGE}, {"image": NGINX, "kind": "none"}])
def test_without_one_of_its_own_there_is_nothing_to_do(router: dict[str, str]) -> None:
    world = made(False, **router)

    driven = drive(router_image.run(router_image.Args(), world))

    assert (driven.actions, driven.outcome.skipped) == ([], True)
    assert router_image.facts(router_image.Args(), world.settings) == []


def test_a_refused_pull_names_the_key() -> None:
    said = Result("pull", 1, "Error response from daemon: manifest for x not found: manifest unknown")
    refused = CommandFailed("pull: exit status 1", said)

    with pytest.raises(CommandFailed) as caught:
        drive(router_image.run(router_image.Args(), made(False, image=NGINX)), lambda job: refused)

    assert "correct qnext.serve.router.image" in caught.value.hint
    assert f"docker pull {NGINX} on atlas-2" in caught.value.hint
