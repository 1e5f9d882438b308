"""Devices and bind mounts of a container, with docker's rules: a missing device is an error, a missing ``-v`` source
becomes an empty folder on the host."""

from __future__ import annotations

import os

from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path, unmap
from provision.rehearsal.standins import cann, packages
from provision.rehearsal.standins.docker.errors import DaemonError, DockerError
from provision.rehearsal.standins.docker.flags import Parsed
from provision.rehearsal.standins.docker.programs import is_nginx
from provision.rehearsal.standins.docker.store import Json, strings

_UNITS = {"b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}


def devices(node: Node, parsed: Parsed) -> list[str]:
    """Host paths of ``--device``."""
    return [unmap(word, node.root).split(":")[0] for word in parsed.all("device")]


def check_devices(node: Node, paths: list[str]) -> None:
    """Raise docker's error for the first device node that isn't there."""
    for path in paths:
        if not os.path.exists(map_path(path, node.root)):
            raise DaemonError(
                f'error gathering device information while adding custom device "{path}": no such file or directory'
            )


def binds(node: Node, parsed: Parsed) -> list[str]:
    """``source:destination[:mode]`` of ``-v`` and ``--mount type=bind``."""
    found = [unmap(word, node.root) for word in parsed.all("volume")]
    for word in found:
        source, _, rest = word.partition(":")
        if not rest.startswith("/"):
            raise DaemonError(f"invalid volume specification: '{word}'")
        if not source.startswith("/"):
            raise DockerError(f'Error response from daemon: create {source}: "{source}" is no volume of this rehearsal')
    return found + [_mount(unmap(word, node.root), node) for word in parsed.all("mount")]


def furnish(node: Node, folder: str, config: Json) -> None:
    """What an image for NPUs brings of CANN."""
    if not node.is_npu or is_nginx(str(config["image"])):
        return
    version, root = packages.versions(node, str(config["image"]))["cann"], os.path.join(folder, "fs")
    nnal = {"usr/local/Ascend/nnal/atb/set_env.sh": "export ATB_HOME_PATH=/usr/local/Ascend/nnal/atb/latest\n"}
    for path, text in {**cann.files(version, "aarch64"), **nnal}.items():
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        with open(os.path.join(root, path), "w", encoding="utf-8") as file:
            file.write(text)
    for path, target in cann.links(version).items():
        os.symlink(target, os.path.join(root, path))


def attach(node: Node, folder: str, config: Json) -> None:
    """Make the container's file system: a folder with links to what is mounted."""
    root = os.path.join(folder, "fs")
    for name in ("root", "tmp", "workspace", "dev/shm", "proc"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    for bind in strings(config["binds"]):
        source, destination = (part.rstrip("/") for part in bind.split(":")[:2])
        host = map_path(source, node.root)
        if not os.path.exists(host):
            os.makedirs(host)
        inside = os.path.join(root, destination.lstrip("/"))
        os.makedirs(os.path.dirname(inside), exist_ok=True)
        if os.path.isdir(inside) and not os.listdir(inside):
            os.rmdir(inside)
        if not os.path.lexists(inside):
            os.symlink(host, inside)
    for path in strings(config["devices"]):
        inside = os.path.join(root, path.lstrip("/"))
        if not os.path.lexists(inside):
            os.symlink(map_path(path, node.root), inside)


def size(text: str) -> int:
    """``16g`` in bytes. Raises docker's error."""
    number, unit = text.lower().rstrip("b"), "b"
    if number[-1:] in _UNITS:
        number, unit = number[:-1], number[-1]
    try:
        return int(float(number) * _UNITS[unit])
    except ValueError:
        raise DockerError(f'invalid argument "{text}" for "--shm-size" flag: invalid size: \'{text}\'', 125) from None


def _mount(word: str, node: Node) -> str:
    fields = dict(part.partition("=")[::2] for part in word.split(","))
    source = fields.get("source") or fields.get("src") or ""
    target = fields.get("target") or fields.get("destination") or fields.get("dst") or ""
    if fields.get("type", "volume") != "bind" or not source or not target:
        raise DockerError(f'invalid argument "{word}" for "--mount" flag: only bind mounts are rehearsed', 125)
    if not os.path.exists(map_path(source, node.root)):
        raise DaemonError(f'invalid mount config for type "bind": bind source path does not exist: {source}')
    return f"{source}:{target}" + (":ro" if "readonly" in fields or "ro" in fields else "")
