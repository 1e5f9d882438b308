"""A server without a container: it has the node's own file system and all that the node has.

The other stand-ins ask a container for such things. One that is nobody's is made for the process: its root is the
node's, it sees every die. What is left of those whose process is gone is taken away when the next one starts.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from provision.rehearsal.node import CONTAINER, Node
from provision.rehearsal.standins.docker.store import still, write_json
from provision.rehearsal.standins.process import birth, hide_in_proc, show_in_proc

_GROUP = "0::/user.slice/user-0.slice/session-3.scope"


def enter(node: Node, versions: dict[str, str]) -> None:
    """This process is one of the node's own from now on, with the packages of its virtual environment."""
    _tidy(node)
    pid = os.getpid()
    folder = os.path.join(folder_of(node), str(pid))
    os.makedirs(folder, exist_ok=True)
    with suppress(FileExistsError):
        os.symlink(node.root, os.path.join(folder, "fs"))
    config = {"id": f"native-{pid}", "name": f"native-{pid}", "image": f"vllm:v{versions.get('vllm', '')}",
              "devices": [], "privileged": True, "labels": {}, "born": birth(pid), "env": [], "binds": [],
              "environment": {}, "written": []}  # fmt: skip
    write_json(os.path.join(folder, "container.json"), config)
    write_json(os.path.join(folder, "state.json"), still("running"))
    os.environ[CONTAINER] = folder
    show_in_proc(node, pid, _GROUP)


def folder_of(node: Node) -> str:
    """Where such processes have their places."""
    return os.path.join(node.folder, "native")


def _tidy(node: Node) -> None:
    folder = folder_of(node)
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if not birth(int(name)):
            hide_in_proc(node, int(name))
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
