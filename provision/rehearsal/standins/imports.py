"""The packages of an image as a program in it sees them: they can be imported, tell their versions and count devices.

Behind them is no library. ``import vllm`` says what the real one says of its plugins; ``smoke/fails`` breaks imports or
takes the devices away, in the words of the real ones.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from provision.rehearsal.node import CONTAINER, Node
from provision.rehearsal.standins.faulty import wait_forever
from provision.rehearsal.standins.inside import access, visible

_IMPORTS = {"torch": "torch", "torch_npu": "torch-npu", "vllm": "vllm", "vllm_ascend": "vllm-ascend", "ray": "ray",
            "transformers": "transformers", "triton": "triton-ascend", "modelscope": "modelscope",
            "mooncake": "mooncake-transfer-engine-npu", "memcache_hybrid": "memcache-hybrid"}  # fmt: skip
"""Name of the module -> of the package."""

_NO_LIBRARY = "libatb.so: cannot open shared object file: No such file or directory"
_SPEAKS = re.compile(r"\b(socket|asyncio|http|urllib|distributed)\b")


def install(node: Node, versions: dict[str, str], text: str) -> None:
    """From now on imports find the image's packages."""
    if node.state.get("smoke/fails") == "hang":
        wait_forever()
    if _SPEAKS.search(text):
        from provision.rehearsal.standins.sockets import install as install_sockets

        install_sockets(node)
    sys.meta_path.insert(0, _Finder(node, versions))


class _Finder:
    """Finds the modules of the packages, and their metadata for ``importlib.metadata``."""

    def __init__(self, node: Node, versions: dict[str, str]) -> None:
        self._node = node
        self._versions = versions
        self._makers: dict[str, Callable[[ModuleType], None]] = {
            "torch": self._torch,
            "torch_npu": self._torch_npu,
            "vllm": self._vllm,
            "vllm_ascend": self._vllm_ascend,
            "memcache_hybrid": self._memcache_hybrid,
        }

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        """The import system's question."""
        top = name.partition(".")[0]
        package = _IMPORTS.get(top)
        if package is None or package not in self._versions:
            return None
        if name == "torch.distributed.run":
            from importlib.util import spec_from_file_location

            return spec_from_file_location(name, os.path.join(os.path.dirname(__file__), "torchrun.py"))
        if name != top and top != "torch":
            return None
        # The import system needs two methods of a loader; the annotation asks for its abstract class.
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary module will do."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module."""
        top, _, rest = module.__name__.partition(".")
        if rest:
            from provision.rehearsal.standins.torch import fill_part

            fill_part(self._node, module, rest)
            return
        module.__dict__["__version__"] = self._versions[_IMPORTS[top]]
        if top in self._makers:
            self._makers[top](module)

    def find_distributions(self, context: object) -> Iterator[object]:
        """The metadata of the packages, for ``importlib.metadata.version``."""
        from importlib.metadata import Distribution
        from pathlib import Path

        class Installed(Distribution):
            text = ""

            def read_text(self, filename: str) -> str | None:
                return self.text if filename == "METADATA" else None

            def locate_file(self, path: str | os.PathLike[str]) -> Path:
                return Path("/usr/local/python3.11.13/lib/python3.11/site-packages", path)

        wanted = getattr(context, "name", None)
        for name, version in self._versions.items():
            if name != "cann" and (wanted is None or name == str(wanted).replace("_", "-").lower()):
                found = Installed()
                found.text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
                yield found

    def invalidate_caches(self) -> None:
        """There are none."""

    def _torch(self, module: ModuleType) -> None:
        from provision.rehearsal.standins.torch import fill

        fill(module)

    def _torch_npu(self, module: ModuleType) -> None:
        """Importing it gives torch its devices."""
        bare = CONTAINER not in os.environ and not {"ASCEND_TOOLKIT_HOME", "ATB_HOME_PATH"} <= os.environ.keys()
        if self._node.state.get("smoke/fails") == "import" or bare:
            raise ImportError(_NO_LIBRARY)
        import importlib

        from provision.rehearsal.standins.torch import Npu

        torch = importlib.import_module("torch")
        module.__dict__["npu"] = torch.__dict__["npu"] = Npu(self._node, self._devices())

    def _devices(self) -> list[int]:
        """The dies that the process may use; none, with the driver's complaint, where it can't be reached."""
        lost = self._node.state.get("smoke/fails") in ("1", "devices")
        inside = CONTAINER in os.environ
        reached = access(self._node) if inside else ""
        problem = "DrvMngGetConsoleLogLevel failed. (ret=4)\npath string is NULL" if lost else reached
        found = [] if problem else _chosen(visible(self._node) if inside else list(range(self._node.dies)))
        if problem:
            sys.stdout.write(f"{problem}\n")
            sys.stderr.write("UserWarning: Can't get ascend_hal device count\n")
        return found

    def _vllm(self, module: ModuleType) -> None:
        """What it logs of its platform while it is imported."""
        from provision.rehearsal.standins.vllm import log

        if "vllm-ascend" not in self._versions or self._node.state.get("smoke/fails") == "plugin":
            log.info("", "__init__.py:216", "Automatically detected platform cpu." if not self._node.is_npu else
                     "No platform detected, vLLM is running on UnspecifiedPlatform")  # fmt: skip
            return
        log.plugin_found()

    def _memcache_hybrid(self, module: ModuleType) -> None:
        from provision.rehearsal.standins.pool import meta_service

        module.__dict__["MetaService"] = type(
            "MetaService", (), {"main": staticmethod(lambda: meta_service(self._node))}
        )

    def _vllm_ascend(self, module: ModuleType) -> None:
        if self._node.state.get("smoke/fails") == "plugin":
            raise ModuleNotFoundError("No module named 'vllm_ascend'", name="vllm_ascend")
        module.__dict__["register"] = lambda: "vllm_ascend.platform.NPUPlatform"


def _chosen(dies: list[int]) -> list[int]:
    """What ASCEND_RT_VISIBLE_DEVICES leaves: it counts what the container has."""
    text = os.environ.get("ASCEND_RT_VISIBLE_DEVICES", "")
    indexes: Iterable[int] = (int(w) for w in text.split(",") if w.strip().isdigit()) if text else range(len(dies))
    return [dies[index] for index in indexes if index < len(dies)]
