"""Driver files and mount sources: there, missing, or made a folder by a bad mount."""

from __future__ import annotations

from typing import Any

from provision.facts.driver import DRIVER, INSTALL, SOURCES, Driver, MountSources
from provision.results import Result


def test_versions_and_an_odd_file() -> None:
    text = f"@@ file {DRIVER}\nVersion=25.2.0\ncompatible_version_fw=[7.0.0,7.7.99]\n@@ odd {INSTALL}\n"
    text += "@@ written 1785600000\n"
    value = Driver().parse(Result("driver", 0, text))
    assert value.driver is not None
    assert (value.driver.version, value.driver.firmware_range) == ("25.2.0", ("7.0.0", "7.7.99"))
    assert (value.firmware, value.install, value.installed_at) == (None, None, 1785600000)
    assert value.problems == (f"{INSTALL} is no file",)


def test_mount_sources() -> None:
    kinds = {path: kind for path, kind in SOURCES.items() if path != "/usr/local/dcmi"}
    lines = [f"{kind} {path}" for path, kind in kinds.items() if path != "/usr/local/bin/npu-smi"]
    text = "\n".join([*lines, "dir /usr/local/bin/npu-smi", "missing /usr/local/dcmi"])
    value = MountSources().parse(Result("mount-sources", 0, f"{text}\n@@ npu-smi /usr/local/sbin/npu-smi\n"))
    assert [source.path for source in value.sources if not source.fits] == ["/usr/local/dcmi", "/usr/local/bin/npu-smi"]
    assert value.of("/usr/local/bin/npu-smi").kind == "dir"
    assert value.npu_smi == "/usr/local/sbin/npu-smi"
    assert value.problems == ()


def test_this_machine(look: Any) -> None:
    assert look(Driver()).problems == ()
    assert look(MountSources()).problems == ()
