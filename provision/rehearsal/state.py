"""A rehearsal node's state: one small text file a key, so a fault is data that any process can set, see and clear.

``npu/3/link`` with the text ``DOWN`` is a broken cable. Stand-ins read the files each time they run; nothing is cached.
This module is imported by every stand-in and therefore imports almost nothing.
"""

from __future__ import annotations

import os


class State:
    """The keys below a folder. An absent key reads as its default; values are text without the final newline."""

    __slots__ = ("folder",)

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def get(self, key: str, default: str = "") -> str:
        """The value of ``key``."""
        try:
            with open(self._path(key), encoding="utf-8") as file:
                return file.read().rstrip("\n")
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return default

    def number(self, key: str, default: float = 0.0) -> float:
        """The value of ``key`` as a number; the default where it is none."""
        try:
            return float(self.get(key))
        except ValueError:
            return default

    def set(self, key: str, value: str) -> None:
        """Write ``value`` in one step, so a reader sees the old text or the new one."""
        path = self._path(key)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        temporary = f"{path}.{os.getpid()}~"
        with open(temporary, "w", encoding="utf-8") as file:
            file.write(value + "\n")
        os.replace(temporary, path)

    def clear(self, key: str) -> None:
        """Back to the default; absent is fine."""
        try:
            os.unlink(self._path(key))
        except FileNotFoundError:
            return

    def all(self, prefix: str = "") -> list[str]:
        """All keys that are set and begin with ``prefix``, sorted."""
        found = []
        for folder, _, names in os.walk(self.folder):
            inner = os.path.relpath(folder, self.folder)
            found += [name if inner == "." else f"{inner}/{name}" for name in names if not name.endswith("~")]
        return sorted(key for key in found if key.startswith(prefix))

    def _path(self, key: str) -> str:
        parts = key.split("/")
        if not key or any(part in ("", ".", "..") for part in parts):
            raise ValueError(f"not a state key: {key!r}")
        return os.path.join(self.folder, *parts)
