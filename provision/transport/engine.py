"""What the word ``docker`` means in our scripts, on nodes where something else runs the servers.

All scripts say ``docker``; where that is podman, nerdctl or no container engine at all, these lines stand before them.
"""

from __future__ import annotations

from provision.inventory.model import Settings


def prologue(settings: Settings) -> str:
    """Lines of POSIX sh that define ``docker``; empty where Docker itself runs the servers."""
    return ""
