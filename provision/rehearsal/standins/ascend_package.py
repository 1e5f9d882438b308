"""Practice packages of driver, firmware and CANN: ``.run`` files that only nodes of a rehearsal can install.

``text`` makes one. The file names this stand-in as its interpreter, so that it does nothing anywhere else. Its words are
those of the real installers [samples/npu, driver_install_log]; its rules the guide's: root, the driver's user, nobody on
the NPUs, a licence that is agreed to, ops of the toolkit's version, NNAL in the toolkit's environment.
"""

from __future__ import annotations

import hashlib
import os
import sys
from time import localtime, strftime

from provision.rehearsal import host
from provision.rehearsal.node import Node, is_root
from provision.rehearsal.standins import npu

COMPONENTS = {"driver": "Driver", "firmware": "Firmware", "toolkit": "Toolkit", "ops": "Ops", "nnal": "Nnal"}
_HEAD = "#!/usr/bin/env ascend-package\n# A practice package: only nodes of a rehearsal can install it.\n"
_FLAGS = {"--check", "--full", "--install", "--upgrade", "--install-for-all", "--quiet"}
_ASCEND = "usr/local/Ascend"


class _Refusal(Exception):
    """What the installer tells as an error."""


def text(kind: str, version: str, *, chip: str = "", arch: str = "aarch64") -> str:
    """The file of a package."""
    body = f"{_HEAD}kind={kind}\nversion={version}\nchip={chip}\narch={arch}\n"
    return f"{body}sum={hashlib.sha256(body.encode()).hexdigest()}\n"


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run a package: ``argv`` is the file's path and its options."""
    with open(argv[0], encoding="utf-8", errors="replace") as file:
        whole = file.read()
    body, _, rest = whole.partition("sum=")
    if hashlib.sha256(body.encode()).hexdigest() != rest.strip():
        sys.stdout.write("Verifying archive integrity...Error in SHA256 checksums.\n")
        return 1
    sys.stdout.write("Verifying archive integrity...  100%   SHA256 checksums are OK. All good.\n")
    options = set(argv[1:])
    if unknown := options - _FLAGS:
        sys.stdout.write(f"Unrecognized flag : {min(unknown)}\n")
        return 1
    said = dict(line.split("=", 1) for line in body.splitlines() if "=" in line)
    return 0 if options == {"--check"} else _Installer(node, said["kind"], said["version"], options).run()


class _Installer:
    """One installation."""

    def __init__(self, node: Node, kind: str, version: str, options: set[str]) -> None:
        self.node = node
        self.kind = kind
        self.version = version
        self.options = options

    def run(self) -> int:
        self._log("INFO", f"Start time: {_now()}")
        try:
            self._require()
            self._log("INFO", "upgradePercentage:10%")
            if self.node.state.get(f"package/{self.kind}") == "fails":
                raise _Refusal(f"{COMPONENTS[self.kind]} package install failed, please retry after check log!")
            self._install()
        except _Refusal as refusal:
            self._log("ERROR", str(refusal))
            return 1
        self._log("INFO", "upgradePercentage:100%")
        self._log("INFO", f"{COMPONENTS[self.kind]} package installed successfully! {self._effect()}")
        self._log("INFO", f"End time: {_now()}")
        return 0

    def _effect(self) -> str:
        if self.kind not in ("driver", "firmware"):
            return ""
        if self.node.state.get(f"package/{self.kind}") == "immediate":
            return "The new version takes effect immediately. "
        return "Reboot needed for installation/upgrade to take effect! "

    def _log(self, level: str, message: str) -> None:
        sys.stdout.write(f"[{COMPONENTS[self.kind]}] [{_now()}] [{level}]{message}\n")
        sys.stdout.flush()

    def _require(self) -> None:
        if not is_root():
            raise _Refusal("Only the root user can install this package")
        if self.kind in ("driver", "firmware"):
            self._require_host()
        else:
            self._require_cann()

    def _require_host(self) -> None:
        if "--full" not in self.options:
            raise _Refusal("No installation type is given")
        with open(f"{self.node.root}/etc/passwd", encoding="utf-8") as file:
            if "HwHiAiUser:" not in file.read():
                raise _Refusal("HwHiAiUser not exists! Please add HwHiAiUser or specify the user")
        if npu.uses(self.node):
            raise _Refusal("The davinci nodes are occupied by some processes, please stop the processes")

    def _require_cann(self) -> None:
        if not self.options & {"--install", "--upgrade"}:
            raise _Refusal("No installation type is given")
        if "--quiet" not in self.options:
            raise _Refusal("The license agreement was not accepted: Do you want to continue? [Y/N] ")
        toolkit = self._toolkit()
        if self.kind == "toolkit" and "--upgrade" in self.options and toolkit == "none":
            raise _Refusal("There is no installed package to upgrade")
        if self.kind == "toolkit" and "--install" in self.options and toolkit not in ("none", self.version):
            raise _Refusal(f"toolkit {toolkit} is installed: use --upgrade, or uninstall it first")
        if self.kind == "ops" and toolkit != self.version:
            raise _Refusal(f"ops {self.version} needs toolkit {self.version}; there is {toolkit}")
        if self.kind == "nnal" and not os.environ.get("ASCEND_TOOLKIT_HOME"):
            raise _Refusal("ASCEND_TOOLKIT_HOME is not set: source the toolkit's set_env.sh first")

    def _toolkit(self) -> str:
        return self.node.state.get("cann/version", host.CANN)

    def _install(self) -> None:
        state = self.node.state
        if self.kind in ("driver", "firmware"):
            loaded = state.get(f"package/{self.kind}") == "immediate"
            state.set(f"{self.kind}/{'version' if loaded else 'installed'}", self.version)
        elif self.kind == "toolkit":
            state.set("cann/version", self.version)
        host.follow(self.node)
        if self.kind == "ops":
            self._write(f"cann-{self.version}/opp/built-in/version.info", f"Version={self.version}\n")
        if self.kind == "nnal":
            record = f"Ascend-cann-atb : {self.version}\nAscend-cann-atb Version : {self.version}\nPlatform : aarch64\n"
            self._write(f"nnal/atb/{self.version}/version.info", record)
            self._write("nnal/atb/set_env.sh", "export ATB_HOME_PATH=/usr/local/Ascend/nnal/atb/latest/atb\n")
            latest = f"{self.node.root}/{_ASCEND}/nnal/atb/latest"
            if os.path.lexists(latest):
                os.unlink(latest)
            os.symlink(self.version, latest)

    def _write(self, path: str, content: str) -> None:
        full = f"{self.node.root}/{_ASCEND}/{path}"
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as file:
            file.write(content)


def _now() -> str:
    return strftime("%Y-%m-%d %H:%M:%S", localtime())
