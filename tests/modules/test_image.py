"""The image module: where an image may come from, the pull script run by a real sh, and what a failed pull says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provision.actions import Job
from provision.errors import CommandFailed, RemoteError
from provision.facts.docker import ImageValue
from provision.modules import image
from provision.results import Result
from tests.modules.world import IMAGE, cluster, drive

ABSENT = ImageValue(IMAGE, present=False)


@pytest.mark.parametrize(
    ("ref", "mirrors", "expected"),
    [
        ("quay.io/a/b:v1", [], ["quay.io/a/b:v1"]),
        ("quay.io/a/b:v1", ["m.example/a/b", "n.example/b/"], ["quay.io/a/b:v1", "m.example/a/b:v1", "n.example/b:v1"]),
        ("localhost:5000/a/b:v1", ["m.example/b"], ["localhost:5000/a/b:v1", "m.example/b:v1"]),
        ("localhost:5000/a/b", ["m.example/b"], ["localhost:5000/a/b", "m.example/b"]),
        ("quay.io/a/b@sha256:12", ["m.example/b"], ["quay.io/a/b@sha256:12", "m.example/b@sha256:12"]),
        ("quay.io/a/b:v1@sha256:12", ["m.example/b"], ["quay.io/a/b:v1@sha256:12", "m.example/b:v1@sha256:12"]),
    ],
)
def test_sources(ref: str, mirrors: list[str], expected: list[str]) -> None:
    assert image.sources(ref, mirrors) == expected


@pytest.mark.parametrize(
    ("works", "status", "calls"),
    [
        ("one", 0, ["pull one/a:v1"]),
        ("two", 0, ["pull one/a:v1", "pull two/a:v1", "tag two/a:v1 one/a:v1"]),
        ("none", 7, ["pull one/a:v1", "pull two/a:v1"]),
    ],
)
def test_the_script_tries_source_after_source(works: str, status: int, calls: list[str], tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$*" >>{tmp_path}/calls\ncase "$1 $2" in "pull {works}/"*|tag*) ;; *) exit 7;; esac\n'
    )
    docker.chmod(0o755)

    done = subprocess.run(
        ["sh", "-c", image.pull_script("one/a:v1", ["two/a"])], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False
    )

    assert done.returncode == status
    assert (tmp_path / "calls").read_text().splitlines() == calls


def test_an_image_that_is_there_is_not_pulled() -> None:
    driven = drive(image.run(image.Args(ref=IMAGE), cluster().nodes[0]))

    assert driven.actions == []
    assert driven.outcome.message == f"{IMAGE} is there"


def test_an_absent_image_is_pulled_as_a_job() -> None:
    node = cluster().nodes[0]
    node.facts["image"] = ABSENT

    def pulled(action: Job) -> Result:
        node.facts["image"] = ImageValue(IMAGE, present=True)
        return Result(action.label, 0, "")

    driven = drive(image.run(image.Args(ref=IMAGE, timeout=5), node), pulled)

    (job,) = driven.actions
    assert (job.label, job.name, job.deadline) == (f"pull {IMAGE}", "pull-registry.example-vllm-cpu-1", 5)
    assert driven.outcome.message == f"{IMAGE} pulled"


def test_a_refused_pull_says_what_the_catalogue_knows() -> None:
    node = cluster().nodes[0]
    node.facts["image"] = ABSENT
    said = Result("pull", 1, "Error response from daemon: manifest for x not found: manifest unknown")

    with pytest.raises(CommandFailed, match="exit status 1") as caught:
        drive(image.run(image.Args(ref=IMAGE), node), lambda _: _failed(said))

    assert "check the spelling of install.image" in caught.value.hint


def test_an_unknown_refusal_keeps_the_hint_of_the_job() -> None:
    node = cluster().nodes[0]
    node.facts["image"] = ABSENT

    with pytest.raises(CommandFailed) as caught:
        drive(image.run(image.Args(ref=IMAGE), node), lambda job: _failed(Result("pull", 1, "?!"), job.hint))

    assert f"docker pull {IMAGE}" in caught.value.hint


def test_a_failed_pull_leaves_the_node_as_it_was() -> None:
    node = cluster().nodes[0]
    node.facts["image"] = ABSENT
    module = image.run(image.Args(ref=IMAGE), node)
    job = next(module)

    swept = module.throw(_failed(Result(job.label, 1, "?!")))

    assert f"/jobs/{job.name}\n" in swept.script
    assert swept.affects == frozenset()
    with pytest.raises(CommandFailed, match="pull"):
        module.throw(_failed(Result("sweep", 1, "busy")))


def test_a_pull_that_ends_well_and_brings_nothing() -> None:
    node = cluster().nodes[0]
    node.facts["image"] = ABSENT

    with pytest.raises(RemoteError, match="is not there after its pull ended well"):
        drive(image.run(image.Args(ref=IMAGE), node))


def _failed(result: Result, hint: str = "") -> Exception:
    try:
        result.check(hint=hint)
    except CommandFailed as error:
        return error
    raise AssertionError("the result is none of a failure")


@pytest.mark.parametrize(
    ("log", "fraction", "text"),
    [
        ("", None, "starting"),
        ("pulling one/a:v1\n", None, "asking one/a:v1"),
        (
            "pulling one/a:v1\nError: no such host\npulling two/a:v1\n"
            "aaaaaaaaaaaa: Already exists\nbbbbbbbbbbbb: Pulling fs layer\n"
            "cccccccccccc: Pulling fs layer\ncccccccccccc: Download complete\ndddddddddddd: Pull complete\n",
            0.625,
            "2 of 4 layers from two/a:v1",
        ),
    ],
)
def test_progress(log: str, fraction: float | None, text: str) -> None:
    shown = image.progress(log)

    assert (shown.fraction, shown.text) == (fraction, text)
