"""``docker cp``: files of a container, running or ended, as a tar archive or into a folder."""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path, unmap
from provision.rehearsal.standins.docker.errors import DaemonError, DockerError
from provision.rehearsal.standins.docker.flags import need_words, parse, table
from provision.rehearsal.standins.docker.store import Store


def copy(node: Node, argv: list[str]) -> int:
    """``docker cp CONTAINER:PATH -`` and ``docker cp CONTAINER:PATH FOLDER``; nothing is copied into containers."""
    parsed = parse(argv, table("-a,--archive", "-L,--follow-link", "-q,--quiet"), command="cp")
    need_words(parsed, 2, "cp", exactly=True)
    name, colon, inside = unmap(parsed.words[0], node.root).partition(":")
    if not colon or name.startswith(("/", ".")) or name == "-":
        raise DockerError("copying into containers, or between places of this machine, is not rehearsed")
    source = _found(node, name, inside, follow=parsed.has("follow-link"))
    contents = inside.endswith("/.")
    base = "." if contents else os.path.basename(inside.rstrip("/")) or "."
    if parsed.words[1] == "-":
        return _as_archive(source, base)
    return _into(source, map_path(unmap(parsed.words[1], node.root), node.root), "" if contents else base)


def _found(node: Node, name: str, inside: str, *, follow: bool) -> str:
    container = Store(node).container(name)
    path = os.path.join(container.folder, "fs", os.path.normpath(f"/{inside}").lstrip("/"))
    if not os.path.lexists(path):
        raise DaemonError(f"Could not find the file {inside} in container {name}")
    mounted = os.path.islink(path) and os.readlink(path).startswith(node.root)
    return os.path.realpath(path) if follow or mounted or inside.endswith("/.") else path


def _as_archive(source: str, base: str) -> int:
    import tarfile

    if sys.stdout.isatty():
        raise DockerError("cowardly refusing to copy to a terminal")
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        archive.add(source, arcname=base)
    sys.stdout.buffer.flush()
    return 0


def _into(source: str, target: str, base: str) -> int:
    import shutil

    place = os.path.join(target, base) if os.path.isdir(target) and base else target
    if os.path.isdir(source):
        shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
    elif os.path.isdir(os.path.dirname(place) or "."):
        shutil.copy2(source, place)
    else:
        raise DockerError(f'invalid output path: directory "{os.path.dirname(place)}" does not exist')
    return 0
