"""What the word ``docker`` means in our scripts, on nodes where something else runs the servers.

All scripts say ``docker``; where that is podman, nerdctl or no container engine at all, these lines stand before them.
A function and no program on the node: the first look at a node finds nothing of ours there.
"""

from __future__ import annotations

from functools import cache

from provision.inventory.model import Settings
from provision.resources import shipped
from provision.shell import quote

_WORD = "docker"


def prologue(settings: Settings) -> str:
    """Lines of POSIX sh that define ``docker``; empty where Docker itself runs the servers."""
    install = settings.install
    if install.method == "source":
        places = {"_er": settings.state_dir, "_ev": settings.venv, "_eref": install.ref}
        return "".join(f"{name}={quote(value)}\n" for name, value in places.items()) + _lines("native")
    return "" if install.engine == "docker" else _lines(install.engine)


def worded(prologue: str, script: str) -> str:
    """``script`` with the lines before it, where it has that word at all."""
    return prologue + script if prologue and _WORD in script else script


@cache
def _lines(name: str) -> str:
    """The shipped lines without what is only there for who reads them."""
    text = "".join(_shipped(each) for each in ("timeout", name))
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))


def _shipped(name: str) -> str:
    return (shipped("templates") / "engine" / f"{name}.sh").read_text(encoding="utf-8")
