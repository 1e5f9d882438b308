"""A hub of models on loopback, speaking as Hugging Face and as ModelScope do, for rehearsals of downloads.

It serves ``<folder>/models/<organisation>/<name>/``: large files (safetensors) as LFS ones, which Hugging Face sends to
another host for, here to another port. Faults are state, as everywhere in a rehearsal: one file a key in
``<folder>/state``.

    cut N        the first N answers with a file end in the middle
    busy N       the first N answers of any kind are 429, with Retry-After
    wrong PART   files whose path holds PART have a wrong byte
    token WORD   401 for whoever does not send this token
    slow N       N bytes a second for each file
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

from provision.clock import sleep
from provision.rehearsal.state import State

_PIECE = 1 << 16
_LARGE = ".safetensors"


class Hub:
    """What is served, and what was asked. ``leaked``: tokens that reached the host which large files come from."""

    def __init__(self, folder: Path) -> None:
        self.models = folder / "models"
        self.state = State(str(folder / "state"))
        self.asked: list[str] = []
        self.leaked: list[str] = []
        self.url = ""
        self.store = ""
        self._spent: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.models.mkdir(parents=True, exist_ok=True)
        (folder / "state").mkdir(exist_ok=True)

    def add(self, repository: str, files: dict[str, bytes]) -> None:
        """Have a model."""
        for path, content in files.items():
            place = self.models / repository / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)

    @contextmanager
    def serving(self, address: str) -> Iterator[str]:
        """Serve at an address for the length of a block; gives the URL."""
        servers = [_Server((address, 0), handler, self) for handler in (_Hub, _Store)]
        self.url, self.store = (f"http://{address}:{server.server_address[1]}" for server in servers)
        threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
        try:
            for thread in threads:
                thread.start()
            yield self.url
        finally:
            for server in servers:
                server.shutdown()
                server.server_close()

    def spend(self, fault: str) -> bool:
        """Whether a fault that happens so many times happens now."""
        with self._lock:
            self._spent[fault] += 1
            return self._spent[fault] <= int(self.state.get(fault) or 0)

    def renew(self) -> None:
        """Faults happen from the first time again, and nothing was asked."""
        with self._lock:
            self._spent.clear()
            self.asked.clear()

    def commit(self, repository: str) -> str:
        """The one commit that the model has."""
        digest = hashlib.sha1(repository.encode())
        for path, place in self.files(repository):
            digest.update(f"{path} {place.stat().st_size}".encode())
        return digest.hexdigest()

    def files(self, repository: str) -> list[tuple[str, Path]]:
        top = self.models / repository
        return [(p.relative_to(top).as_posix(), p) for p in sorted(top.rglob("*")) if p.is_file()]

    def place(self, repository: str, path: str) -> Path | None:
        return dict(self.files(repository)).get(path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler], hub: Hub) -> None:
        super().__init__(address, handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def log_message(self, format: str, *args: object) -> None:
        self.hub.asked.append(f"{self.requestline} {self.headers.get('Range', '')}".strip())

    def say(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def tell(self, value: object, code: int = 200, **headers: str) -> None:
        self.say(code, json.dumps(value).encode(), Content_Type="application/json", **headers)

    def send_file(self, name: str, place: Path) -> None:
        """The file, or the rest of it that a range asks for."""
        content = place.read_bytes()
        part = self.hub.state.get("wrong")
        if part and part in name:
            content = bytes([content[0] ^ 1]) + content[1:]
        asked = self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if asked and start >= len(content):
            self.say(416, Content_Range=f"bytes */{len(content)}")
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        end = start + (len(content) - start) // 2 if self.hub.spend("cut") else len(content)
        self._write(content[start:end])
        self.close_connection = end < len(content)

    def _write(self, content: bytes) -> None:
        rate = int(self.hub.state.get("slow") or 0)
        for at in range(0, len(content), _PIECE):
            piece = content[at : at + _PIECE]
            self.wfile.write(piece)
            if rate:
                sleep(len(piece) / rate)


class _Hub(_Handler):
    """The hub's own host: both of them at one address, as their routes differ."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        words, query = [unquote(word) for word in parts.path.split("/")[1:]], parse_qs(parts.query)
        if self.hub.spend("busy"):
            self.say(429, b"slow down", Retry_After="0")
        elif not self._admitted(modelscope=words[:2] == ["api", "v1"]):
            self.tell({"error": "Invalid credentials"}, 401, X_Error_Message="Access to this model is restricted.")
        elif words[:3] == ["api", "v1", "models"]:
            self._modelscope("/".join(words[3:5]), words[5:], query)
        elif words[:2] == ["api", "models"]:
            self._huggingface("/".join(words[2:4]), words[4:], query)
        elif len(words) > 4 and words[2] == "resolve":
            self._resolve("/".join(words[:2]), words[3], "/".join(words[4:]))
        else:
            self.tell({"error": "Not Found"}, 404)

    def _admitted(self, *, modelscope: bool) -> bool:
        token = self.hub.state.get("token")
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        cookie = self.headers.get("Cookie", "").removeprefix("m_session_id=")
        return not token or token == (cookie if modelscope else sent)

    def _known(self, repository: str, revision: str, default: str) -> bool:
        return bool(self.hub.files(repository)) and revision in (default, self.hub.commit(repository))

    # ---- Hugging Face

    def _huggingface(self, repository: str, words: list[str], query: dict[str, list[str]]) -> None:
        kind, revision = [*words, "", ""][:2]
        if not self._known(repository, revision, "main"):
            self.tell({"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound")
        elif kind == "revision":
            self.tell({"id": repository, "sha": self.hub.commit(repository), "private": False})
        else:
            self._tree(repository, revision, int(query.get("cursor", ["0"])[0]))

    def _tree(self, repository: str, revision: str, start: int) -> None:
        """Three files a page: real pages are longer, and followed in the same way."""
        rows = [_tree_row(path, place.read_bytes()) for path, place in self.hub.files(repository)]
        link = f'<{self.hub.url}/api/models/{repository}/tree/{revision}?recursive=1&cursor={start + 3}>; rel="next"'
        self.tell(rows[start : start + 3], Link=link if start + 3 < len(rows) else "")

    def _resolve(self, repository: str, revision: str, path: str) -> None:
        place = self.hub.place(repository, path)
        if place is None or not self._known(repository, revision, "main"):
            self.tell({"error": "Entry not found"}, 404, X_Error_Code="EntryNotFound")
        elif path.endswith(_LARGE):
            self.say(302, Location=f"{self.hub.store}/{repository}/{quote(path)}?signature=x")
        else:
            self.send_file(path, place)

    # ---- ModelScope

    def _modelscope(self, repository: str, words: list[str], query: dict[str, list[str]]) -> None:
        revision = query.get("Revision", ["master"])[0]
        if not self._known(repository, revision, "master"):
            self.tell({"Code": 10010205001, "Message": "the model does not exist", "Success": False}, 404)
        elif words == ["repo", "files"]:
            rows = [
                _files_row(path, place.read_bytes(), self.hub.commit(repository))
                for path, place in self.hub.files(repository)
            ]
            self.tell({"Code": 200, "Data": {"Files": rows}, "Message": "", "Success": True})
        else:
            place = self.hub.place(repository, query.get("FilePath", [""])[0])
            self.send_file(place.name, place) if place else self.tell({"Code": 404, "Success": False}, 404)


class _Store(_Handler):
    """Where large files of Hugging Face come from: another host, which no token is for."""

    def do_GET(self) -> None:
        if token := self.headers.get("Authorization") or self.headers.get("Cookie"):
            self.hub.leaked.append(token)
        words = unquote(urlsplit(self.path).path).split("/")[1:]
        place = self.hub.place("/".join(words[:2]), "/".join(words[2:]))
        self.send_file("/".join(words[2:]), place) if place else self.say(404)


def _tree_row(path: str, content: bytes) -> dict[str, object]:
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    row: dict[str, object] = {"type": "file", "oid": blob, "size": len(content), "path": path}
    if path.endswith(_LARGE):
        row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 135}
    return row


def _files_row(path: str, content: bytes, commit: str) -> dict[str, object]:
    return {
        "Type": "blob",
        "Name": path.rpartition("/")[2],
        "Path": path,
        "Size": len(content),
        "Sha256": hashlib.sha256(content).hexdigest(),
        "IsLFS": path.endswith(_LARGE),
        "Mode": "33188",
        "Revision": commit,
    }


def main(words: list[str]) -> None:
    """Serve a folder at an address until interrupted: ``python -m provision.rehearsal.hub FOLDER [ADDRESS]``."""
    hub = Hub(Path(words[0]))
    with hub.serving(words[1] if len(words) > 1 else "127.77.255.1") as url, suppress(KeyboardInterrupt):
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1:])
