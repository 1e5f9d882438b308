"""Ray's session folder in a container: ``/tmp/ray/session_latest/logs`` with what its daemons say [domain section 10]."""

from __future__ import annotations

import os

from provision.rehearsal import wall


def begin(folder: str, *, head: bool, address: str, ip: str) -> None:
    """Make the folder of this session below ``folder`` (``/tmp/ray``), with the first lines of each daemon."""
    name = f"session_{wall.local('%Y-%m-%d_%H-%M-%S')}_{int(wall.now() % 1 * 1e6):06d}_{os.getpid()}"
    os.makedirs(os.path.join(folder, name, "logs"), exist_ok=True)
    latest = os.path.join(folder, "session_latest")
    if os.path.islink(latest):
        os.unlink(latest)
    os.symlink(name, latest)
    if head:
        say(folder, "gcs_server", "I", f"gcs_server_main.cc:133: GCS server started, listening at {address}")
    say(folder, "raylet", "I", f"main.cc:307: Raylet started, node_ip_address={ip}, gcs_address={address}")


def say(folder: str, daemon: str, level: str, text: str) -> None:
    """``[2026-11-24 06:20:00,123 I 77 77] (raylet) main.cc:307: text``."""
    moment = f"{wall.local('%Y-%m-%d %H:%M:%S')},{int(wall.now() % 1 * 1000):03d}"
    with open(os.path.join(folder, "session_latest", "logs", f"{daemon}.out"), "a", encoding="utf-8") as file:
        file.write(f"[{moment} {level} {os.getpid()} {os.getpid()}] ({daemon}) {text}\n")
