"""What answers the nodes of a cluster besides its own registry: further registries, a package index, git.

Registries stand at the names of `nodes.HOSTS`, each over a store of its own with images of a few megabytes, so that
tests of pulling take seconds. One of them can be made to die after some bytes, and comes back later: `Dying`.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import random
import re
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Self

from . import nodes
from .assets import Layer, as_json, image_manifest, put_blob, write_link
from .nodes import Cluster

INDEX_PORT = 8081
GIT_PORT = 9418
STAMP = "2026-01-01T00:00:00Z"


# --- stores of small images -------------------------------------------------------------


def small_image(
    store: Path,
    name: str,
    layers: Iterable[Mapping[str, bytes]],
    *,
    config: Mapping[str, object] | None = None,
    architecture: str = "amd64",
) -> str:
    """Write the image ``repository:tag`` into a registry's store and return its manifest's digest.

    Each layer is a mapping of paths to content; one that ends on ``.sh`` or lies in a ``bin`` can be run.
    """
    blobs = store / "docker/registry/v2/blobs/sha256"
    blobs.mkdir(parents=True, exist_ok=True)
    stored = [put_layer(blobs, layer) for layer in layers]
    described = {
        "architecture": architecture,
        "os": "linux",
        "created": STAMP,
        "config": dict(config or {"Cmd": ["/bin/true"]}),
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in stored]},
        "history": [{"created": STAMP, "created_by": "tests/real/servers.py"} for _ in stored],
    }
    configuration = put_blob(blobs, as_json(described))
    manifest = put_blob(blobs, image_manifest(configuration, stored))
    repository, _, tag = name.rpartition(":")
    links = [f"_layers/{part.digest.replace(':', '/')}" for part in (configuration, *stored)]
    links.append(f"_manifests/revisions/{manifest.digest.replace(':', '/')}")
    links.append(f"_manifests/tags/{tag}/index/{manifest.digest.replace(':', '/')}")
    for link in links:
        write_link(store, repository, link, "sha256:" + link.rsplit("/", 1)[1])
    write_link(store, repository, f"_manifests/tags/{tag}/current", manifest.digest)
    return manifest.digest


def put_layer(blobs: Path, files: Mapping[str, bytes]) -> Layer:
    """Store a layer with these files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            entry.mode = 0o755 if path.endswith(".sh") or "bin" in path.split("/")[:-1] or ".so" in path else 0o644
            archive.addfile(entry, io.BytesIO(content))
    plain = put_blob(blobs, packed.getvalue())
    zipped = put_blob(blobs, gzip.compress(packed.getvalue(), 1, mtime=0))
    return Layer(zipped.digest, plain.digest, zipped.size)


def noise(seed: int, size: int) -> bytes:
    """Bytes that no compression makes smaller, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def noisy_image(store: Path, name: str, seed: int, *, layers: int = 6, size: int = 1 << 20) -> str:
    """Write an image of layers that hold nothing but noise; another seed is another image."""
    return small_image(store, name, [{f"layer-{n}": noise(seed * 100 + n, size)} for n in range(layers)])


def cache_image(store: Path, name: str) -> str:
    """Write an image with a real registry, laid out and started as the usual `registry:2` is."""
    program = Path(shutil.which("docker-registry") or "/usr/bin/docker-registry")
    shell = Path("/bin/dash")
    entry = b"""#!/bin/sh
set -e
case "$1" in
    *.yaml | *.yml) set -- registry serve "$@" ;;
    serve | garbage-collect | help | -*) set -- registry "$@" ;;
esac
exec "$@"
"""
    settings = {
        "version": 0.1,
        "log": {"fields": {"service": "registry"}},
        "storage": {"cache": {"blobdescriptor": "inmemory"}, "filesystem": {"rootdirectory": "/var/lib/registry"}},
        "http": {"addr": ":5000", "headers": {"X-Content-Type-Options": ["nosniff"]}},
    }
    loader, library = Path("/lib64/ld-linux-x86-64.so.2"), Path("/lib/x86_64-linux-gnu/libc.so.6")
    base = {"bin/sh": shell.read_bytes(), **{str(path)[1:]: path.read_bytes() for path in (loader, library)}}
    layer = {
        "bin/registry": program.read_bytes(),
        "entrypoint.sh": entry,
        "etc/docker/registry/config.yml": json.dumps(settings).encode(),
    }
    config = {
        "Entrypoint": ["/entrypoint.sh"],
        "Cmd": ["/etc/docker/registry/config.yml"],
        "Env": ["PATH=/bin"],
        "ExposedPorts": {"5000/tcp": {}},
        "Volumes": {"/var/lib/registry": {}},
    }
    return small_image(store, name, [base, layer], config=config)


def stored_bytes(store: Path, name: str) -> int:
    """Bytes of an image's layers as a registry sends them."""
    repository, _, tag = name.rpartition(":")
    folder = store / "docker/registry/v2"
    link = (folder / "repositories" / repository / "_manifests/tags" / tag / "current/link").read_text()
    hexdigest = link.removeprefix("sha256:")
    manifest = json.loads((folder / "blobs/sha256" / hexdigest[:2] / hexdigest / "data").read_text())
    return sum(layer["size"] for layer in manifest["layers"])


# --- servers ----------------------------------------------------------------------------


@contextlib.contextmanager
def registry(cluster: Cluster, host: str, store: Path) -> Iterator[None]:
    """Have a real registry answer at a host's name, with a new log."""
    (cluster.folder / f"registry-{host}.log").unlink(missing_ok=True)
    nodes.start_registry(cluster.record, store, host)
    try:
        yield
    finally:
        nodes.stop_server(cluster.record, f"registry-{host}")


def asked_for_layers(cluster: Cluster, host: str) -> set[str]:
    """Addresses that have got layers of a registry, by its log; a configuration is far smaller."""
    log = (cluster.folder / f"registry-{host}.log").read_text()
    rows = re.findall(r'^(\S+) - - \[[^]]*\] "GET /v2/\S+/blobs/\S+ [^"]*" 2\d\d (\d+)', log, re.MULTILINE)
    return {address for address, size in rows if int(size) > 100_000}


@contextlib.contextmanager
def dying(cluster: Cluster, host: str, behind: str, *, allowance: int, refusals: int) -> Iterator[Dying]:
    """Have a registry at `host` that dies after `allowance` bytes; `behind` is the one that really answers."""
    network = f"10.99.{cluster.record.octet}"
    target = (f"{network}.{nodes.HOSTS[behind]}", 80)
    with Dying(f"{network}.{nodes.HOSTS[host]}", target, allowance, refusals) as proxy:
        yield proxy


@contextlib.contextmanager
def package_index(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Have a package index over `folder`, which holds a folder of files for each package; yields its URL."""
    command = [sys.executable, "-m", "http.server", str(INDEX_PORT), "--bind", cluster.controller]
    command += ["--directory", str(folder), "--protocol", "HTTP/1.1"]
    nodes.start_server(cluster.record, "index", command, cluster.controller, INDEX_PORT)
    try:
        yield f"http://controller:{INDEX_PORT}"
    finally:
        nodes.stop_server(cluster.record, "index")


def lay_index(folder: Path, wheels: Iterable[Path]) -> Path:
    """Lay packages out as an index has them: a folder by the name as pip asks for it."""
    for wheel in wheels:
        name = wheel.name.split("-")[0].lower().replace("_", "-").replace(".", "-")
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / wheel.name).symlink_to(wheel)
    return folder


@contextlib.contextmanager
def git_server(cluster: Cluster, folder: Path) -> Iterator[str]:
    """Serve the repositories of a folder to clones; yields the URL that their names follow."""
    programs = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
    # Not `git daemon`: that starts the server as its child, which would outlive it.
    command = [f"{programs}/git-daemon", f"--listen={cluster.controller}", f"--port={GIT_PORT}", "--reuseaddr"]
    command += ["--export-all", f"--base-path={folder}", str(folder)]
    nodes.start_server(cluster.record, "git", command, cluster.controller, GIT_PORT)
    try:
        yield f"git://controller:{GIT_PORT}"
    finally:
        nodes.stop_server(cluster.record, "git")


class Dying:
    """Stands at a registry's address, passes `allowance` bytes of answers on, then cuts every connection.

    While it is dead a connection is closed as soon as it is made. It comes back after `refusals` of those: a number and
    not a time, so that who tries again at once and who waits see the same.
    """

    def __init__(self, address: str, target: tuple[str, int], allowance: int, refusals: int = 1) -> None:
        self.address = address
        self.target = target
        self.left = allowance
        self.refusals = refusals
        self.refused = 0
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    @property
    def died(self) -> bool:
        """Whether the allowance was used up."""
        return self.left <= 0

    @property
    def dead(self) -> bool:
        """Whether it refuses at present."""
        return self.died and self.refused < self.refusals

    def __enter__(self) -> Self:
        self._listener = socket.create_server((self.address, 80))
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._cut()
        for thread in self._threads:
            thread.join(10)

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.dead:
                self.refused += 1
                client.close()
                continue
            server = socket.create_connection(self.target, timeout=10)
            server.settimeout(None)
            with self._lock:
                self._open |= {client, server}
            self._start(self._pass, client, server, False)
            self._start(self._pass, server, client, True)

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 15):
                sink.sendall(data)
                if counted and self._count(len(data)):
                    self._cut()
        self._close(source, sink)

    def _count(self, size: int) -> bool:
        """Take bytes off the allowance; True when these were the last."""
        with self._lock:
            alive, self.left = self.left > 0, self.left - size
            return alive and self.left <= 0

    def _cut(self) -> None:
        with self._lock:
            self._open, cut = set(), self._open
        for connection in cut:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _close(self, *connections: socket.socket) -> None:
        with self._lock:
            self._open -= set(connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
