"""CANN wherever its packages put it: the old layout with links inside ``latest``, the new one, and what is broken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.facts.cann import ASCEND, Cann, CannValue


@dataclass(frozen=True, slots=True)
class CannBelow(Cann):
    """The same script for another folder than /usr/local/Ascend."""

    folder: str = ""

    def script(self) -> str:
        return Cann.script(self).replace(f"A={ASCEND}", f"A={self.folder}")


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def toolkit(home: Path, version: str) -> None:
    text = f"package_name=Ascend-cann-toolkit\nversion={version}\ninnerversion=V100R001C23\narch=aarch64\n"
    write(home / "aarch64-linux" / "ascend_toolkit_install.info", text)


@pytest.fixture
def ascend(tmp_path: Path) -> Path:
    folder = tmp_path / "Ascend"
    folder.mkdir()
    return folder


def found(look: Any, ascend: Path) -> CannValue:
    value = look(CannBelow(str(ascend)))
    assert isinstance(value, CannValue)
    return value


def test_the_layout_up_to_8_3(look: Any, ascend: Path) -> None:
    home = ascend / "ascend-toolkit"
    toolkit(home / "8.2.RC1", "8.2.RC1")
    toolkit(home / "8.3.RC2", "8.3.RC2")
    (home / "latest").mkdir()
    (home / "latest" / "aarch64-linux").symlink_to("../8.2.RC1/aarch64-linux")
    write(home / "set_env.sh")
    value = found(look, ascend)
    assert [(i.version, i.current, i.set_env) for i in value.installs] == [
        ("8.3.RC2", False, str(home / "set_env.sh")),
        ("8.2.RC1", True, str(home / "set_env.sh")),
    ]
    assert (value.version, value.nnal, value.problems) == ("8.2.RC1", None, ())


def test_the_layout_from_8_5(look: Any, ascend: Path) -> None:
    toolkit(ascend / "cann-8.5.0", "8.5.0")
    write(ascend / "cann-8.5.0" / "set_env.sh")
    (ascend / "cann").symlink_to("cann-8.5.0")
    (ascend / "ascend-toolkit").mkdir()
    (ascend / "ascend-toolkit" / "latest").symlink_to("../cann-8.5.0")
    atb = ascend / "nnal" / "atb"
    write(atb / "8.5.0" / "version.info", "    Ascend-cann-atb : 8.5.0\n    Platform : aarch64\n")
    library = write(atb / "8.5.0" / "atb" / "cxx_abi_0" / "lib" / "libatb.so")
    write(atb / "set_env.sh")
    (atb / "latest").symlink_to("8.5.0")
    value = found(look, ascend)
    (install,) = value.installs
    assert (install.version, install.arch, install.current) == ("8.5.0", "aarch64", True)
    assert install.set_env == str(ascend / "ascend-toolkit" / "latest" / "set_env.sh")
    assert install.real == str(ascend / "cann-8.5.0" / "aarch64-linux" / "ascend_toolkit_install.info")
    assert value.nnal is not None
    assert (value.nnal.version, value.nnal.set_env) == ("8.5.0", str(atb / "set_env.sh"))
    assert value.nnal_library == str(library).replace("/8.5.0/", "/latest/", 1).replace("cann-latest", "cann-8.5.0")


def test_other_spellings_and_what_is_broken(look: Any, ascend: Path) -> None:
    write(ascend / "nnae" / "latest" / "ascend_nnae_install.info", "package_name=Ascend-cann-nnae\nversion=8.0.RC3\n")
    write(ascend / "cann-9.0.0" / "version.cfg", "runtime_running_version=[7.9:9.0.0]\n")
    write(ascend / "cann-9.1.0" / "set_env.sh")
    (ascend / "cann").symlink_to("cann-9.2.0")
    value = found(look, ascend)
    assert [(i.package, i.version, i.problems) for i in value.installs] == [
        ("Ascend-cann-nnae", "8.0.RC3", ()),
        ("version.cfg", "9.0.0", ()),
        (None, None, ("no version file",)),
    ]
    assert value.problems == (f"{ascend}/cann leads nowhere",)


def test_the_newest_counts_where_none_is_in_use(look: Any, ascend: Path) -> None:
    for version in ("8.5.0", "9.0.0.alpha001", "8.5.1"):
        toolkit(ascend / f"cann-{version}", version)
    assert found(look, ascend).version == "9.0.0.alpha001"


def test_a_host_without_cann(look: Any, ascend: Path) -> None:
    assert found(look, ascend) == CannValue()
    assert CannValue().version is None
