"""What an image holds is asked once, in a container without devices, and noted on the node by the image's id."""

from __future__ import annotations

import subprocess
from pathlib import Path

from provision.facts.packages import InstalledPackagesValue, installed_packages
from provision.modules import packages
from provision.results import Result
from tests.modules.world import IMAGE_ID, Node, cluster, drive

HELD = InstalledPackagesValue(IMAGE_ID, IMAGE_ID, {"vllm": "0.18.0", "vllm-ascend": "none"})


def node(**facts: object) -> Node:
    found: Node = cluster().nodes[0]
    found.facts |= {"installed-packages": InstalledPackagesValue()} | facts
    return found


def test_an_image_that_was_asked_is_not_asked_again() -> None:
    driven = drive(packages.run(packages.Args(), node(**{"installed-packages": HELD})))

    assert driven.actions == []
    assert driven.outcome.message == "vllm 0.18.0"


def test_another_image_is_asked_and_noted() -> None:
    subject = node(**{"installed-packages": InstalledPackagesValue("sha256:other", IMAGE_ID, {"vllm": "0.17.0"})})

    def told(action: object) -> Result:
        subject.facts["installed-packages"] = HELD
        return Result("", 0, "")

    driven = drive(packages.run(packages.Args(), subject), told)

    assert driven.labels == ["ask the image for its packages"]
    assert driven.actions[0].affects == {"installed-packages"}
    assert driven.outcome.data == {"versions": {"vllm": "0.18.0", "vllm-ascend": "none"}}


def test_the_script_notes_what_the_image_says_and_that_it_says_nothing(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(
        '#!/bin/sh\nprintf "%s\\n" "$*" >>"$HOME/calls"\n'
        '[ "$1" = image ] && echo sha256:abc && exit\necho "package vllm 0.18.0"\nexit 1\n'
    )
    docker.chmod(0o755)
    subject = node()
    (action,) = drive(packages.run(packages.Args(), subject)).actions
    script = action.script.replace("/var/lib/qnext", str(tmp_path))

    done = subprocess.run(
        ["sh", "-c", script], env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}, check=False
    )

    assert done.returncode == 0
    assert "--network none" in (tmp_path / "calls").read_text()
    note = (tmp_path / "qnext/notes/image-packages").read_text()
    assert note == "id sha256:abc\npackage vllm 0.18.0\n"
    read = installed_packages(subject.settings).parse(Result("", 0, f"@@ image\nsha256:abd\n@@ note\n{note}"))
    assert (read.id, read.present, read.versions) == ("sha256:abc", "sha256:abd", {"vllm": "0.18.0"})
