"""The scripts and their companions; what scripts do is tested with ``serve/render.py``."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from provision.serve.export import scripts, systemd
from tests.serve.export.launches import CLUSTERS, launch_of

SHELLS = [path for name in ("bash", "dash") if (path := shutil.which(name))]


def test_companions_have_names_of_their_own_and_their_places_are_told() -> None:
    files = scripts.files(*launch_of("two-a3-replicas"))
    companions = [file.path for file in files if file.companion]
    assert companions == ["node0.router.nginx.conf", "node0.router.router.py"]
    assert [file.path for file in files if file.executable][-1] == "node0.router.sh"
    readme = files[-1].text
    for name in ("nginx.conf", "router.py"):
        assert f"node0.router.{name} on node1: /var/lib/qnext/qnext-test/launch/router.{name}" in readme


def test_without_companions_there_is_nothing_to_copy() -> None:
    assert "copy" not in scripts.files(*launch_of("two-a3-dp8-tp4"))[-1].text


@pytest.mark.parametrize("shell", SHELLS)
def test_all_scripts_are_sound(shell: str) -> None:
    """In one go: what reads a script of all clusters reads each; wait.sh alone needs bash."""
    texts: list[str] = []
    for name in CLUSTERS:
        found = launch_of(name)
        every = [*scripts.files(*found), *systemd.files(*found)]
        texts += [f"(\n{file.text}\n)\n" for file in every if file.executable and not file.path.endswith("wait.sh")]
    answer = subprocess.run([shell, "-n"], input="".join(texts), capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert len(texts) > 2 * len(CLUSTERS)
