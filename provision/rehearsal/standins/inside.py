"""Commands of a container that are no server: ``bash`` and ``sh`` in the container's file system, ``pip``, ``python3``."""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path, rewrite
from provision.rehearsal.standins.docker.containers import CONTAINER
from provision.rehearsal.standins.process import become

VERSIONS = {
    "vllm": "0.18.0+empty",
    "vllm-ascend": "0.18.0",
    "triton-ascend": "3.2.0.dev20260322",
    "torch-npu": "2.9.0.post1",
}
_INTERACTIVE = (
    "bash: cannot set terminal process group (-1): Inappropriate ioctl for device\nbash: no job control in this shell\n"
)


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run the command called ``name``."""
    if name in ("pip", "pip3"):
        return _pip(argv)
    if name.startswith("python"):
        return _python(argv)
    return _shell(argv)


def filesystem() -> str:
    """The root of the container that this process runs in."""
    return os.path.join(os.environ[CONTAINER], "fs")


def _shell(argv: list[str]) -> int:
    """``bash -lic TEXT …``: the real sh, with the container's paths mapped; -i complains as without a terminal."""
    count = next((i for i, word in enumerate(argv) if not word.startswith("-")), len(argv))
    letters = "".join(word.lstrip("-") for word in argv[:count] if not word.startswith("--"))
    words = argv[count:]
    root = filesystem()
    if "i" in letters:
        sys.stderr.write(_INTERACTIVE)
        sys.stderr.flush()
    if "c" in letters and words:
        return become("/bin/sh", ["/bin/sh", "-c", rewrite(words[0], root), *words[1:]])
    return become("/bin/sh", ["/bin/sh", *(map_path(word, root) for word in words)])


def _pip(argv: list[str]) -> int:
    wanted = argv[1:] if argv[:1] == ["show"] else []
    found = [name for name in wanted if name.replace("_", "-") in VERSIONS]
    if argv[:1] == ["check"]:
        sys.stdout.write("No broken requirements found.\n")
        return 0
    if not found:
        sys.stderr.write(f"WARNING: Package(s) not found: {', '.join(wanted)}\n")
        return 1
    blocks = [
        f"Name: {n.replace('-', '_')}\nVersion: {VERSIONS[n.replace('_', '-')]}\nLocation: /usr/local/lib/python3.11"
        for n in found
    ]
    sys.stdout.write("\n---\n".join(blocks) + "\n")
    return 0


def _python(argv: list[str]) -> int:
    """Only what is asked of an image to see whether it works."""
    code = argv[1] if argv[:1] == ["-c"] and len(argv) > 1 else ""
    if argv[:1] in (["--version"], ["-V"]):
        sys.stdout.write("Python 3.11.13\n")
    elif argv[:2] == ["-m", "pip"]:
        return _pip(argv[2:])
    elif "vllm" in code:
        sys.stdout.write(VERSIONS["vllm"] + "\n")
    elif "device_count" in code:
        root = filesystem()
        devices = [name for name in os.listdir(f"{root}/dev") if name.removeprefix("davinci").isdigit()]
        sys.stdout.write(f"2.9.0 {VERSIONS['torch-npu']} {len(devices)}\n")
    else:
        sys.stderr.write("python3: this rehearsal has no interpreter in its containers\n")
        return 1
    return 0
