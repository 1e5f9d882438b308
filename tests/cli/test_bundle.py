"""``bundle`` by the command line: made by what this machine has, shown, and refused before anything is moved."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from provision.cli.bundle import command
from provision.errors import ConfigError, ProvisionError, UsageError
from provision.install.bundle import Bundle

INVENTORY = """\
all:
  vars:
    qnext:
      cluster: prod
      hardware: cpu
      install: {image: "quay.example/vllm:1"%s}
      model: {path: /data/model}
  hosts:
    node1: {ansible_host: 192.0.2.1}
"""
DOCKER = """\
#!/bin/sh
case "$*" in
*Os*) echo linux/arm64 ;;
*Id*) echo sha256:feed ;;
*Size*) echo 4096 ;;
*RepoDigests*) echo '["quay.example/vllm@sha256:%s"]' ;;
save*) echo layers ;;
esac
""" % ("ab" * 32)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "docker").write_text(DOCKER)
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setattr("provision.cli.bundle.ENGINES", ("docker",))
    (tmp_path / "cluster.yaml").write_text(INVENTORY % "")
    return tmp_path


def run(*words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], standalone_mode=False)


def create(place: Path, *more: object) -> Result:
    return run("create", "-i", place / "cluster.yaml", "-o", place / "prod.tar", "--platform", "linux/arm64", *more)


def test_made_by_what_this_machine_has(place: Path) -> None:
    weights = place / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    made = create(place, "--weights", weights)
    assert made.exception is None, made.exception
    assert f"to pin it: install.digest: sha256:{'ab' * 32}" in made.stderr
    bundle = Bundle.open(place / "prod.tar")
    (image,) = bundle.contents.images
    assert (image.ids, image.platform, image.unpacked) == (("sha256:feed",), "linux/arm64", 4096)
    folders = {file.path.partition("/")[0] for file in bundle.contents.files}
    assert folders == {"images", "inventory", "playbooks", "templates", "weights"}
    shown = run("show", place / "prod.tar").stdout
    assert "quay.example/vllm:1" in shown
    assert "/data/model, 1 files" in shown
    verified = run("verify", place / "prod.tar", "--json")
    assert json.loads(verified.stdout)["ok"] is True
    assert verified.return_value == 0


def test_what_was_gathered_is_kept_until_the_bundle_is_whole(place: Path) -> None:
    (place / "bin/docker").write_text(DOCKER.replace("save*) echo layers", "save*) echo layers; exit 1"))
    broken = create(place)
    assert isinstance(broken.exception, ProvisionError)
    assert "run it again" in broken.exception.hint
    assert not (place / "prod.tar").exists()
    assert (place / "prod.tar.work/inventory/cluster.yaml").exists()
    (place / "bin/docker").write_text(DOCKER)
    assert create(place).exception is None
    assert not (place / "prod.tar.work").exists()


@pytest.mark.parametrize(
    ("more", "install", "told"),
    [
        (["--via", "node9"], "", "--via node9 is no host"),
        (["--platform", "arm64"], "", "--platform arm64 is no platform"),
        (["--weights", "/nowhere"], "", "--weights /nowhere is no folder"),
        ([], ", method: source", "method source needs the wheels"),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_moved(
    place: Path, more: list[str], install: str, told: str
) -> None:
    (place / "cluster.yaml").write_text(INVENTORY % install)
    failed = create(place, *more)
    assert isinstance(failed.exception, UsageError)
    assert told in failed.exception.message
    assert failed.exception.hint
    assert not list(place.glob("prod.tar*"))


def test_another_digest_than_the_pinned_one_is_refused(place: Path) -> None:
    (place / "cluster.yaml").write_text(INVENTORY % f", digest: 'sha256:{'cd' * 32}'")
    failed = create(place)
    assert isinstance(failed.exception, ProvisionError)
    assert f"has digest sha256:{'ab' * 32}, and the inventory pins sha256:{'cd' * 32}" in failed.exception.message


def test_an_existing_name_and_an_open_secret_are_refused(place: Path) -> None:
    (place / "prod.tar").touch()
    assert isinstance(create(place).exception, UsageError)
    (place / "prod.tar").unlink()
    (place / "host_vars").mkdir()
    (place / "host_vars/node1.yml").write_text("ansible_password: hunter2\n")
    failed = create(place)
    assert isinstance(failed.exception, ConfigError)
    assert "node1.yml:1:19 ansible_password" in failed.exception.message
    assert create(place, "--no-inventory").exception is None


def test_what_an_earlier_attempt_gathered_and_this_one_does_not_want_stays_out(place: Path) -> None:
    (place / "bin/docker").write_text(DOCKER.replace("save*) echo layers", "save*) echo layers; exit 1"))
    (place / "host_vars").mkdir()
    (place / "host_vars/node1.yml").write_text("room: 12\n")
    create(place)
    assert (place / "prod.tar.work/inventory/host_vars/node1.yml").exists()
    (place / "bin/docker").write_text(DOCKER)
    assert create(place, "--no-inventory").exception is None
    assert not Bundle.open(place / "prod.tar").contents.below("inventory")


def test_a_secret_in_a_playbook_of_one_s_own_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "playbooks").mkdir()
    (place / "playbooks/own.yaml").write_text("summary: Mine\nplays: [{tasks: [{run: {env: {HF_TOKEN: hf_1}}}]}]\n")
    monkeypatch.chdir(place)
    failed = create(place)
    assert isinstance(failed.exception, ConfigError)
    assert "HF_TOKEN" in failed.exception.message
    assert "hf_1" not in failed.exception.message


def test_an_image_without_a_digest_is_told(place: Path) -> None:
    (place / "bin/docker").write_text(DOCKER.replace("quay.example/vllm@", "elsewhere/vllm@"))
    made = create(place)
    assert made.exception is None
    assert "an inventory that pins a digest will refuse this bundle" in made.stderr


def test_without_anything_to_pull_with_a_node_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(place / "nothing"))
    failed = create(place)
    assert isinstance(failed.exception, UsageError)
    assert "--via NODE" in failed.exception.hint
