"""Images: one digest for all nodes, from the source that has it; what can't be had is refused, with every cause."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.practice import Practice
from tests.scenarios.program import Answer, Program

pytestmark = pytest.mark.rehearsal

REPOSITORY, MIRROR = "quay.io/rehearsal/vllm-cpu", "quay.nju.edu.cn/rehearsal/vllm-cpu"
IMAGE = f"{REPOSITORY}:v0.18.0"
PLAYBOOK = """\
summary: The image alone
whole: true
plays:
  - hosts: all
    tasks:
      - image: {timeout: "{{ qnext.install.pull_timeout }}"}
      - same_image: {}
"""


@pytest.fixture
def pull(cpu: Practice, program: Program) -> Any:
    """Bring the image, with these settings of ``install``, to nodes that have none."""
    folder = cpu.place / "playbooks"
    folder.mkdir()
    (folder / "pull.yaml").write_text(PLAYBOOK)
    own = program.with_env(QNEXT_PLAYBOOKS=str(folder))
    cpu.forget_images()

    def run(*words: str | Path, **install: object) -> Answer:
        inventory = cpu.write_inventory(install={"mirrors": [MIRROR], "pull_retries": 0, **install})
        return own("pull", "-i", inventory, *words)

    return run


def digests(nodes: Practice, ref: str) -> set[str]:
    """The digests by which the nodes hold ``ref``, whatever the repository."""
    told = [nodes.docker(name, "image", "inspect", "-f", "{{json .RepoDigests}}", ref) for name in nodes.nodes]
    return {name.partition("@")[2] for text in told for name in json.loads(text or '["@absent"]')}


def digest_of(nodes: Practice, ref: str = IMAGE) -> str:
    images = json.loads((nodes.info.folder / "registry.json").read_text())["images"]
    return next(str(i["digest"]) for i in images if f"{i['repository']}:{i['tag']}" == ref)


def test_planned_pulled_and_left_alone(pull: Any, cpu: Practice, program: Program) -> None:
    before = cpu.fingerprint()
    plan = pull("--check")
    assert plan.exit == 0, plan.text
    assert cpu.fingerprint() == before
    assert f"pull {IMAGE}" in plan.text

    done = pull("--json")

    assert done.exit == 0, done.text
    assert digests(cpu, IMAGE) == {digest_of(cpu)}
    assert digest_of(cpu) in done.stderr, "the digest is told"
    again = pull("--json")
    assert (again.exit, again.json()["changed"]) == (0, 0), again.text
    assert all(cost["execs"] == 1 for cost in again.json()["execs"].values()), again.json()["execs"]


def test_a_mirror_steps_in_with_the_same_digest(pull: Any, cpu: Practice) -> None:
    cpu.fault("node2", "registry/quay.io", "down")

    done = pull()

    assert done.exit == 0, done.text
    assert digests(cpu, IMAGE) == {digest_of(cpu)}
    assert "no such host" in done.text, "what failed is told, though it ended well"
    assert MIRROR in done.text


def test_a_mirror_with_another_build_is_refused(pull: Any, cpu: Practice) -> None:
    cpu.everywhere("registry/quay.io", "down")
    cpu.everywhere("registry_rebuilt/quay.nju.edu.cn")

    done = pull(digest=digest_of(cpu))

    assert done.exit == 1, done.text
    assert f"{MIRROR}: serves sha256:" in done.stderr
    assert "no such host" in done.stderr
    assert not cpu.docker("node1", "images", "-q").split()
    assert not (cpu.root("node1") / "var/lib/qnext").exists(), "a failed pull leaves nothing"


def test_a_registry_that_dies_in_the_middle(pull: Any, cpu: Practice) -> None:
    cpu.fault("node1", "registry_dies/quay.io", "4")
    pinned = f"{REPOSITORY}:sha256-{digest_of(cpu).removeprefix('sha256:')}"

    done = pull(digest=digest_of(cpu), mirror_order="race")

    assert done.exit == 0, done.text
    assert digests(cpu, pinned) == {digest_of(cpu)}


def test_a_full_disk(pull: Any, cpu: Practice) -> None:
    cpu.fault("node2", "disk/full")

    done = pull(pull_retries=5)

    assert done.exit == 1
    assert "no space left on device" in done.stderr.lower()
    assert "node2" in done.stderr
    assert "attempt" not in done.stderr, "no attempt more: it will not pass"


def test_a_private_registry(pull: Any, cpu: Practice) -> None:
    cpu.everywhere("registry_login/quay.io", 'me:pass"word')

    refused = pull(mirrors=[])
    assert refused.exit == 1
    assert "docker login" in refused.stderr
    for name in cpu.nodes:
        folder = cpu.root(name) / "root/.docker"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text('{"auths": {"quay.io": {"auth": "bWU6cGFzcyJ3b3Jk"}}}')
    try:
        done = pull(mirrors=[])
    finally:
        for name in cpu.nodes:
            (cpu.root(name) / "root/.docker/config.json").unlink()

    assert done.exit == 0, done.text
    assert 'pass"word' not in done.text


def test_no_source_answers(pull: Any, cpu: Practice) -> None:
    cpu.everywhere("registry/quay.io", "down")
    cpu.everywhere("registry/quay.nju.edu.cn", "down")

    done = pull()

    assert done.exit == 1
    assert f"{REPOSITORY}: Get " in done.stderr
    assert f"{MIRROR}: Get " in done.stderr
    assert "bundle load" in done.stderr


def test_a_tag_that_moves(pull: Any, cpu: Practice) -> None:
    done = pull(image=f"{REPOSITORY}:latest")

    assert done.exit == 0, done.text
    assert f"install.digest: {digest_of(cpu, f'{REPOSITORY}:latest')}" in done.text


def test_one_pulls_and_gives_it_to_the_other(pull: Any, cpu: Practice, program: Program) -> None:
    """The other node has no way to any registry."""
    cpu.fault("node2", "registry/quay.io", "down")
    cpu.fault("node2", "registry/quay.nju.edu.cn", "down")

    done = pull(spread="tree")

    assert done.exit == 0, done.text
    ids = {cpu.docker(name, "image", "inspect", "-f", "{{.Id}}", IMAGE).strip() for name in cpu.nodes}
    assert len(ids) == 1
    assert ids != {""}
