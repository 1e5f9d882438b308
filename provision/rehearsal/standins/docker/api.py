"""``docker system dial-stdio``: the daemon's own HTTP, for what is asked of it there: whose digest a tag is, and pulls.

The daemon gives up on a request whose sender has closed its end, as the real one does.
"""

from __future__ import annotations

import json
import re
import select
import sys
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from provision.rehearsal.node import Node
from provision.rehearsal.standins.docker import images
from provision.rehearsal.standins.docker.credentials import from_header
from provision.rehearsal.standins.docker.errors import DaemonError, DockerError
from provision.rehearsal.standins.docker.store import full_reference

_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 500: "Internal Server Error"}
_DAEMON = "Error response from daemon: "


def dial(node: Node, argv: list[str]) -> int:
    """One request of HTTP on stdin, its answer on stdout."""
    method, target, headers = _request()
    url = urlsplit(target)
    path = re.sub(r"^/v1\.\d+", "", url.path)
    login = from_header(headers.get("x-registry-auth", ""))
    asked = re.fullmatch(r"/distribution/(.+)/json", path)
    if method == "GET" and asked:
        _distribution(node, asked[1], login)
    elif method == "POST" and path == "/images/create":
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        _create(node, query.get("fromImage", ""), query.get("tag", ""), login)
    elif method == "GET" and path == "/_ping":
        _answer(200, "OK")
    else:
        _answer(404, {"message": "page not found"})
    return 0


def _request() -> tuple[str, str, Mapping[str, str]]:
    first = sys.stdin.readline().split()
    headers: dict[str, str] = {}
    while line := sys.stdin.readline().strip():
        key, _, value = line.partition(":")
        headers[key.strip().lower()] = value.strip()
    return (first[0], first[1], headers) if len(first) > 1 else ("", "", headers)


def _distribution(node: Node, ref: str, login: str) -> None:
    try:
        remote = images.remote(node, full_reference(ref), login)
    except DockerError as error:
        message = re.sub(r"^manifest for \S+ not found: ", "", error.message.removeprefix(_DAEMON))
        status = 404 if "manifest unknown" in message else 401 if "unauthorized" in message else 500
        _answer(status, {"message": message})
        return
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    descriptor = {"mediaType": kind, "digest": remote["digest"], "size": 3461}
    _answer(200, {"Descriptor": descriptor, "Platforms": [{"architecture": remote["arch"], "os": "linux"}]})


def _create(node: Node, repository: str, tag: str, login: str) -> None:
    """A pull: its header with the first line of its progress, so that a refusal has a status of its own."""
    begun = False

    def tell(line: Mapping[str, object]) -> None:
        nonlocal begun
        if _gone():
            raise DaemonError("context canceled")
        if not begun:
            begun = True
            _head(200, None)
        sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\r\n")
        sys.stdout.flush()

    ref = f"{repository}@{tag}" if tag.startswith("sha256:") else f"{repository}:{tag or 'latest'}"
    try:
        images.fetch(node, ref, tell, login)
    except DockerError as error:
        message = error.message.removeprefix(_DAEMON)
        if begun and not _gone():
            tell({"errorDetail": {"message": message}, "error": message})
        elif not begun:
            _answer(404 if "not found" in message or "denied" in message else 500, {"message": message})


def _gone() -> bool:
    """Whether the sender has closed its end."""
    poller = select.poll()
    poller.register(sys.stdin, select.POLLIN)
    return any(event & select.POLLHUP for _, event in poller.poll(0))


def _answer(status: int, body: object) -> None:
    text = body if isinstance(body, str) else json.dumps(body, separators=(",", ":")) + "\n"
    _head(status, len(text))
    sys.stdout.write(text)
    sys.stdout.flush()


def _head(status: int, length: int | None) -> None:
    lines = [f"HTTP/1.0 {status} {_REASONS[status]}", "Api-Version: 1.47", "Content-Type: application/json"]
    lines += [f"Content-Length: {length}"] if length is not None else []
    sys.stdout.write("\r\n".join(lines) + "\r\n\r\n")
    sys.stdout.flush()
