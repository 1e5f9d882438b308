"""``docker pull``, ``images``, ``image inspect``, ``tag``, ``rmi``, ``save``, ``load``.

The registries of the world are one file of the cluster, ``registry.json``: what quay.io and its mirrors would answer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import TypeAlias

from provision.clock import sleep
from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path
from provision.rehearsal.standins.docker import credentials
from provision.rehearsal.standins.docker.errors import DaemonError, DockerError
from provision.rehearsal.standins.docker.flags import need_words, parse, table
from provision.rehearsal.standins.docker.store import (
    Json,
    Store,
    as_int,
    familiar,
    full_reference,
    read_json,
    strings,
    write_json,
)
from provision.rehearsal.standins.docker.template import render

Tell: TypeAlias = Callable[[Mapping[str, object]], None]

_SECONDS_A_LAYER = 0.02
_PULL = table("-q,--quiet", "--platform=", "-a,--all-tags", "--disable-content-trust")
_IMAGES = table("-q,--quiet", "--no-trunc", "--format=", "-a,--all", "-f,--filter=", "--digests")
_INSPECT = table("-f,--format=", "--platform=")
_SAVE = table("-o,--output=", "--platform=")
_LOAD = table("-i,--input=", "-q,--quiet", "--platform=")
_RMI = table("-f,--force", "--no-prune")


def pull(node: Node, argv: list[str]) -> int:
    """Fetch an image layer by layer; layers that are there already aren't fetched again."""
    parsed = parse(argv, _PULL, command="pull")
    need_words(parsed, 1, "pull", exactly=True)
    ref = full_reference(parsed.words[0])
    if ref != parsed.words[0] and not parsed.has("quiet"):
        _say("Using default tag: latest")
    _fetch(node, ref, quiet=parsed.has("quiet"))
    _say(_canonical(ref))
    return 0


def ensure(node: Node, ref: str) -> Json:
    """The image for ``run``: pulled when it isn't here, with the client's remark on stderr."""
    store = Store(node)
    image = store.image(ref)
    if image is None:
        sys.stderr.write(f"Unable to find image '{full_reference(ref)}' locally\n")
        sys.stderr.flush()
        image = _fetch(node, full_reference(ref), quiet=False)
    return image


def listing(node: Node, argv: list[str]) -> int:
    """``docker images``."""
    parsed = parse(argv, _IMAGES, command="images")
    rows = [row for image in Store(node).images().values() for row in _rows(image, full=parsed.has("no-trunc"))]
    if parsed.words:
        rows = [r for r in rows if parsed.words[0] in (r["Repository"], f"{r['Repository']}:{r['Tag']}")]
    template = parsed.one("format")
    if parsed.has("quiet"):
        for identity in dict.fromkeys(str(row["ID"]) for row in rows):
            _say(identity)
    elif template and not template.startswith("table"):
        for row in rows:
            _say(render("{{json .}}" if template == "json" else template, row))
    else:
        _say(f"{'REPOSITORY':<36} {'TAG':<16} {'IMAGE ID':<14} {'CREATED':<14} SIZE")
        for row in rows:
            _say(f"{row['Repository']:<36} {row['Tag']:<16} {row['ID']:<14} {row['CreatedSince']:<14} {row['Size']}")
    return 0


def inspect(node: Node, argv: list[str]) -> int:
    """``docker image inspect``: what is found is printed even when something is not."""
    parsed = parse(argv, _INSPECT, command="image inspect")
    need_words(parsed, 1, "image inspect")
    store, found, missing = Store(node), [], []
    for ref in parsed.words:
        image = store.image(ref)
        if image is None:
            missing.append(ref)
        else:
            found.append(described(image))
    show_inspected(found, parsed.one("format"))
    for ref in missing:
        sys.stderr.write(f"Error response from daemon: No such image: {full_reference(ref)}\n")
    return 1 if missing else 0


def show_inspected(found: list[Json], template: str) -> None:
    """One line an object with a format, else an indented JSON list."""
    import json

    if template:
        for value in found:
            _say(json.dumps(value, separators=(",", ":")) if template == "json" else render(template, value))
    else:
        _say(json.dumps(found, indent=4, ensure_ascii=False))


def described(image: Json) -> Json:
    """An image as ``docker image inspect`` tells it."""
    return {
        "Id": image["id"],
        "RepoTags": image["tags"],
        "RepoDigests": image["digests"],
        "Parent": "",
        "Comment": "buildkit.dockerfile.v0",
        "Created": image["created"],
        "Author": "",
        "Config": {
            "User": "",
            "Env": image["env"],
            "Cmd": ["/bin/bash"],
            "WorkingDir": "/workspace",
            "Entrypoint": None,
            "Labels": {"org.opencontainers.image.ref.name": "ubuntu", "org.opencontainers.image.version": "22.04"},
        },
        "Architecture": image["arch"],
        "Variant": "v8" if image["arch"] == "arm64" else "",
        "Os": "linux",
        "Size": image["size"],
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": [f"sha256:{layer}" for layer in strings(image["layers"])]},
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
    }


def tag(node: Node, argv: list[str]) -> int:
    """Give an image one more name; a name another image had moves."""
    parsed = parse(argv, table(), command="tag")
    need_words(parsed, 2, "tag", exactly=True)
    store, new = Store(node), full_reference(parsed.words[1])
    with store.locked():
        image = store.image(parsed.words[0])
        if image is None:
            raise DaemonError(f"No such image: {full_reference(parsed.words[0])}")
        images = store.images()
        for other in images.values():
            other["tags"] = [name for name in strings(other["tags"]) if name != new]
        kept = images[str(image["id"])]
        kept["tags"] = [*strings(kept["tags"]), new]
        store.write_images(images)
    return 0


def remove(node: Node, argv: list[str]) -> int:
    """``docker rmi``: refused while a container uses the image."""
    parsed = parse(argv, _RMI, command="rmi")
    need_words(parsed, 1, "rmi")
    store = Store(node)
    with store.locked():
        for ref in parsed.words:
            _remove_one(store, ref, force=parsed.has("force"))
    return 0


def _remove_one(store: Store, ref: str, *, force: bool) -> None:
    image = store.image(ref)
    if image is None:
        raise DaemonError(f"No such image: {full_reference(ref)}")
    key, short = str(image["id"]), str(image["id"])[7:19]
    users = [c for c in store.containers() if c.config["image_id"] == key]
    by_tag = full_reference(ref) in strings(image["tags"])
    last = not by_tag or len(strings(image["tags"])) == 1
    if last and users and (not force or any(c.running for c in users)):
        how = "is using its referenced image" if by_tag else "is using it"
        raise DockerError(
            f"Error response from daemon: conflict: unable to remove repository reference {ref!r}"
            f" (must force) - container {users[0].id[:12]} {how} {short}".replace("'", '"')
        )
    images = store.images()
    if last:
        del images[key]
        for name in strings(image["tags"]):
            _say(f"Untagged: {name}")
        _say(f"Deleted: {key}")
    else:
        images[key]["tags"] = [name for name in strings(image["tags"]) if name != full_reference(ref)]
        _say(f"Untagged: {full_reference(ref)}")
    store.write_images(images)


def save(node: Node, argv: list[str]) -> int:
    """Write images to an archive; here a JSON text that ``load`` of any node reads."""
    import json

    parsed = parse(argv, _SAVE, command="save")
    need_words(parsed, 1, "save")
    images = []
    for ref in parsed.words:
        image = Store(node).image(ref)
        if image is None:
            raise DaemonError(f"reference does not exist: {ref}")
        images.append({**image, "tags": [full_reference(ref)] if ":" in ref else image["tags"], "digests": []})
    archive = json.dumps({"rehearsal-images": images}).encode()
    if parsed.one("output"):
        with open(map_path(parsed.one("output"), node.root), "wb") as file:
            file.write(archive)
    else:
        sys.stdout.buffer.write(archive)
    return 0


def load(node: Node, argv: list[str]) -> int:
    """Read an archive that ``save`` wrote, compressed by gzip or not."""
    import gzip
    import json

    parsed = parse(argv, _LOAD, command="load")
    raw = _archive(node, parsed.one("input"))
    try:
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        images = json.loads(raw)["rehearsal-images"]
    except (ValueError, KeyError, OSError, EOFError):
        raise DockerError("open /var/lib/docker/tmp/docker-import-1/repositories: no such file or directory") from None
    store = Store(node)
    for image in images:
        _keep(store, image, strings(image["tags"]))
        for name in strings(image["tags"]):
            _say(f"Loaded image: {name}")
    return 0


def _archive(node: Node, path: str) -> bytes:
    if not path:
        return sys.stdin.buffer.read()
    try:
        with open(map_path(path, node.root), "rb") as file:
            return file.read()
    except OSError as error:
        raise DockerError(f"open {path}: {str(error.strerror).lower()}") from None


def _fetch(node: Node, ref: str, *, quiet: bool) -> Json:
    """A pull by docker's own client, with the login that it keeps."""
    return fetch(node, ref, _silent if quiet else _line, credentials.of(node, _host(ref)))


def fetch(node: Node, ref: str, tell: Tell, login: str) -> Json:
    """A pull as the daemon does it. ``tell`` gets its progress as the daemon's JSON has it; ``login``: user:password."""
    image = remote(node, ref, login)
    repository, label = str(image["repository"]), ref.rpartition(":")[2]
    here = Store(node).images().get(str(image["id"]))
    tell({"status": f"Pulling from {repository.removeprefix(_host(ref) + '/')}", "id": ref if "@" in ref else label})
    if here is None:
        _layers(node, strings(image["layers"]), as_int(image["size"]), tell, _host(ref))
    tell({"status": f"Digest: {image['digest']}"})
    fresh = here is None or ref not in strings(here["tags"])
    tell({"status": f"Status: {'Downloaded newer image for' if fresh else 'Image is up to date for'} {familiar(ref)}"})
    kept = {**image, "tags": [], "digests": [f"{familiar(repository)}@{image['digest']}"]}
    return _keep(Store(node), kept, [] if "@" in ref else [ref])


def remote(node: Node, ref: str, login: str) -> Json:
    """The image that the registry has under a full reference. Raises what the daemon says where it has none."""
    repository = ref.partition("@")[0] if "@" in ref else ref.rpartition(":")[0]
    host = _host(ref)
    _reach(node, host, login)
    known = [i for i in _registry(node, host) if i["repository"] == repository]
    if not known:
        raise _unknown_repository(host, repository)
    found = next((i for i in known if ref in (f"{repository}:{i['tag']}", f"{repository}@{i['digest']}")), None)
    if found is None:
        raise DaemonError(f"manifest for {familiar(ref)} not found: manifest unknown: manifest unknown")
    return found


def _host(ref: str) -> str:
    first = ref.partition("/")[0]
    return first if "/" in ref and ("." in first or ":" in first) else "registry-1.docker.io"


def _layers(node: Node, layers: list[str], size: int, tell: Tell, host: str) -> None:
    """Fetch what isn't there. Layers of a pull that fails are dropped, as Docker 20.10 does: only those that another
    image holds are there the next time."""
    folder = os.path.join(node.docker, "layers")
    wanted = [layer for layer in layers if not os.path.exists(os.path.join(folder, layer))]
    part = size // 3 // max(1, len(layers))
    for layer in layers:
        _tell_layer(tell, layer, "Pulling fs layer" if layer in wanted else "Already exists")
    for layer in wanted[3:]:
        _tell_layer(tell, layer, "Waiting")
    for number, layer in enumerate(wanted):
        _tell_layer(tell, layer, "Downloading", part // 2, part)
        sleep(node.state.number("docker/pull_seconds_per_layer", _SECONDS_A_LAYER))
        if node.state.get(f"registry_dies/{host}") == str(number):
            raise DockerError("unexpected EOF")
        if node.state.get("disk/full") and number >= 2:
            raise DockerError(
                "failed to register layer: write /usr/local/python3.11.13/lib/libpython3.11.a: no space left on device"
            )
        _tell_layer(tell, layer, "Verifying Checksum")
        _tell_layer(tell, layer, "Download complete")
        _tell_layer(tell, layer, "Extracting", part, part)
        _tell_layer(tell, layer, "Pull complete")
    for layer in wanted:
        with open(os.path.join(folder, layer), "w", encoding="utf-8"):
            pass


def _tell_layer(tell: Tell, layer: str, status: str, current: int = 0, total: int = 0) -> None:
    tell({"status": status, "progressDetail": {"current": current, "total": total} if total else {}, "id": layer[:12]})


def _line(told: Mapping[str, object]) -> None:
    """Progress as the client prints it without a terminal: no bytes."""
    if not told.get("progressDetail"):
        _say(f"{told['id']}: {told['status']}" if "id" in told else str(told["status"]))


def _silent(told: Mapping[str, object]) -> None:
    """Says nothing."""


def _keep(store: Store, image: Json, tags: list[str]) -> Json:
    """Add the image under its id, with these names, which other images lose."""
    with store.locked():
        images = store.images()
        for other in images.values():
            other["tags"] = [name for name in strings(other["tags"]) if name not in tags]
        key = str(image["id"])
        here = images.get(key, {"tags": [], "digests": []})
        names = list(dict.fromkeys([*strings(here["tags"]), *tags]))
        digests = list(dict.fromkeys([*strings(here["digests"]), *strings(image["digests"])]))
        images[key] = {**image, "tags": names, "digests": digests}
        store.write_images(images)
    return images[key]


def _reach(node: Node, host: str, login: str) -> None:
    hosts = {str(image["repository"]).partition("/")[0] for image in _registry(node, host)} | {"registry-1.docker.io"}
    if host not in hosts or node.state.get(f"registry/{host}") == "down":
        raise DaemonError(f'Get "https://{host}/v2/": dial tcp: lookup {host} on 127.0.0.53:53: no such host')
    if login != (node.state.get(f"registry_login/{host}") or login):
        raise DaemonError("unauthorized: access to the requested resource is not authorized")


def _unknown_repository(host: str, repository: str) -> DockerError:
    if host == "registry-1.docker.io":
        return DaemonError(
            f"pull access denied for {familiar(repository)}, repository does not exist or may require 'docker login': "
            "denied: requested access to the resource is denied"
        )
    return DaemonError("unauthorized: access to the requested resource is not authorized")


def _registry(node: Node, host: str) -> list[Json]:
    """What the registries answer this node. ``image/rebuilt``, and ``registry_rebuilt/<host>`` for one registry: the
    tags have moved to another build meanwhile."""
    images = read_json(os.path.join(node.cluster_folder, "registry.json")).get("images")
    found = [image for image in images if isinstance(image, dict)] if isinstance(images, list) else []
    moved = node.state.get("image/rebuilt") or node.state.get(f"registry_rebuilt/{host}")
    return [_rebuilt(image) for image in found] if moved else found


def _rebuilt(image: Json) -> Json:
    """The same release, built again: every id differs."""
    layers = [layer[::-1] for layer in strings(image["layers"])]
    return {**image, "id": f"sha256:{str(image['id'])[:6:-1]}", "digest": f"sha256:{str(image['digest'])[:6:-1]}",
            "layers": layers}  # fmt: skip


def write_registry(folder: str, images: list[Json]) -> None:
    """What the registries hold, for all nodes of a cluster."""
    write_json(os.path.join(folder, "registry.json"), {"images": images})


def _rows(image: Json, *, full: bool) -> list[Json]:
    identity = str(image["id"]) if full else str(image["id"])[7:19]
    size = f"{as_int(image['size']) / 1e9:.1f}GB"
    digests = [d.partition("@") for d in strings(image["digests"])]
    rows: list[Json] = []
    for name in strings(image["tags"]) or ["<none>:<none>"]:
        repository, _, label = name.rpartition(":")
        digest = next((d for r, _, d in digests if r == repository), "<none>")
        rows.append({"Containers": "N/A", "CreatedAt": image["created"], "CreatedSince": "4 months ago", "Digest": digest,
                     "ID": identity, "Repository": familiar(repository), "SharedSize": "N/A", "Size": size,
                     "Tag": label, "UniqueSize": "N/A", "VirtualSize": size})  # fmt: skip
    return rows


def _canonical(ref: str) -> str:
    return ref if "." in ref.partition("/")[0] else f"docker.io/{ref if '/' in ref else 'library/' + ref}"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
