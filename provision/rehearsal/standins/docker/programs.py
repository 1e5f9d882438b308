"""Which programs an image has beside those of every image: ``ray``, ``vllm-router``, ``nginx``.

Upstream's images bring Ray and no router. ``image/program/<name>`` of a node is ``present`` or ``missing`` for all images
that serve. An image whose name begins with ``nginx`` has nginx and a shell, and nothing else.
"""

from __future__ import annotations

import os

from provision.rehearsal.node import Node

_USUAL = {"ray": "present", "vllm-router": "missing"}


def path_of(node: Node, image: str) -> str:
    """PATH of a process in a container of ``image``."""
    if is_nginx(image):
        folders = [os.path.join(node.extras, "nginx"), os.path.join(node.extras, "shell")]
    else:
        extras = [os.path.join(node.extras, name) for name in _USUAL if has_program(node, image, name)]
        folders = [node.inside, *extras]
    return ":".join([*folders, node.programs])


def has_program(node: Node, image: str, name: str) -> bool:
    """Whether ``image`` on this node brings the command ``name``."""
    return not is_nginx(image) and node.state.get(f"image/program/{name}", _USUAL[name]) == "present"


def is_nginx(image: str) -> bool:
    """Whether it is an image of the web server, by its name."""
    return image.rpartition("/")[2].startswith("nginx")
