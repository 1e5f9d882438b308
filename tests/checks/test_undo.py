"""Fixes are taken back to what was there before the first of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provision.checks import undo
from provision.inventory.model import Settings
from tests.checks import world

pytestmark = pytest.mark.rehearsal


def fix(own: Settings, file: Path, value: str) -> str:
    old = file.read_text().strip()
    return undo.recorded(
        own,
        label="set",
        name="sysctl-x",
        do=f"echo {value} >{file}",
        undo=f"echo {old} >{file}",
        holds=f"[ {old} != 60 ]",
        affects=frozenset({"sysctl"}),
    ).script


def sh(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh"], input=script, capture_output=True, text=True, check=False)


def test_down_restores_what_was_there_before_the_first_fix(tmp_path: Path) -> None:
    own = world.settings("cpu", state_dir=str(tmp_path / "state"))
    file = tmp_path / "value"
    file.write_text("60\n")

    for value in ("10", "5"):
        assert sh(fix(own, file, value)).returncode == 0
    assert file.read_text() == "5\n"

    assert sh(undo.undo_all(own)).returncode == 0
    assert file.read_text() == "60\n"


def test_one_that_fails_is_told_and_the_others_are_taken_back(tmp_path: Path) -> None:
    own = world.settings("cpu", state_dir=str(tmp_path / "state"))
    folder = Path(undo.folder(own))
    folder.mkdir(parents=True)
    (folder / "a.sh").write_text("exit 3\n")
    (folder / "b.sh").write_text(f"echo back >{tmp_path}/seen\n")

    done = sh(undo.undo_all(own))

    assert f"could not be taken back: {folder}/a.sh" in done.stderr
    assert [file.name for file in folder.iterdir()] == ["a.sh"]
    assert (tmp_path / "seen").read_text() == "back\n"


def test_without_a_record_nothing_happens(tmp_path: Path) -> None:
    done = sh(undo.undo_all(world.settings("cpu", state_dir=str(tmp_path))))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in of /proc/sys with one parameter, and no sysctl in PATH."""
    monkeypatch.setattr(undo, "PROC", str(tmp_path / "sys"))
    (tmp_path / "sys/vm").mkdir(parents=True)
    (tmp_path / "sys/vm/swappiness").write_text("60\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "cat", "mkdir", "mv", "printf", "echo", "rm"):
        (programs / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", str(programs))
    return tmp_path / "sys/vm/swappiness"


@pytest.mark.parametrize(
    ("since", "after"),
    [("30", "30"), ("60", "60"), ("10", "60")],
    ids=["another after a reboot", "the same after a reboot", "still ours"],
)
def test_a_value_of_before_counts_only_while_ours_is_there(
    kernel: Path, tmp_path: Path, since: str, after: str
) -> None:
    own = world.settings("cpu", state_dir=str(tmp_path / "state"))
    assert sh(undo.kernel_setting(own, "vm.swappiness", old="60", new="10").script).returncode == 0
    kernel.write_text(f"{since}\n")

    again = sh(undo.kernel_setting(own, "vm.swappiness", old=since, new="0").script)
    assert (again.returncode, again.stderr, kernel.read_text()) == (0, "", "0\n")

    assert sh(undo.undo_all(own)).returncode == 0
    assert kernel.read_text() == f"{after}\n"


def test_a_fix_that_broke_off_before_it_did_anything_leaves_no_stale_record(kernel: Path, tmp_path: Path) -> None:
    own = world.settings("cpu", state_dir=str(tmp_path / "state"))
    half = undo.kernel_setting(own, "vm.swappiness", old="60", new="0").script.partition("if command -v sysctl")[0]
    sh(half)
    kernel.write_text("30\n")

    assert sh(undo.kernel_setting(own, "vm.swappiness", old="30", new="0").script).returncode == 0
    assert sh(undo.undo_all(own)).returncode == 0

    assert kernel.read_text() == "30\n"


@pytest.mark.parametrize(
    ("since", "old", "after"), [("", "60", "60"), ("", "", ""), ("30", "60", "30")], ids=["put back", "empty", "theirs"]
)
def test_a_kernel_parameter_is_put_back_unless_somebody_set_it_since(
    kernel: Path, tmp_path: Path, since: str, old: str, after: str
) -> None:
    own = world.settings("cpu", state_dir=str(tmp_path / "state"))
    done = sh(undo.kernel_setting(own, "vm.swappiness", old=old, new="0").script)
    assert (done.returncode, done.stderr, kernel.read_text()) == (0, "", "0\n")
    if since:
        kernel.write_text(f"{since}\n")

    assert sh(undo.undo_all(own)).returncode == 0

    assert kernel.read_text() == f"{after}\n"
