"""Weights from Hugging Face or ModelScope: which files, by which program, and what its words mean.

The node that downloads asks the hub: the controller may have no route to it. ``templates/install/download.py`` does
both; where the node has no python3, it runs in the servers' image.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from provision import resources
from provision.actions import JobProgress
from provision.amounts import size_text
from provision.errors import ConfigError, ProvisionError
from provision.facts.reading import Json
from provision.install.manifest import File, Manifest
from provision.inventory.model import Settings, WeightsSource
from provision.shell import join, quote

ENDPOINTS = {"huggingface": "https://huggingface.co", "modelscope": "https://modelscope.cn"}
REVISIONS = {"huggingface": "main", "modelscope": "master"}
NAMES = {"huggingface": "Hugging Face", "modelscope": "ModelScope"}

_OTHER_FORMATS = (".bin", ".pt", ".pth", ".gguf", ".ggml", ".h5", ".msgpack", ".ot", ".onnx", ".tflite", ".mlmodel")
_OTHER_FOLDERS = ("original/", "onnx/", "openvino/", "coreml/", "metal/", "gguf/")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub lists it. ``sha1``: what git calls its content, where the hub tells no SHA-256; ``revision``:
    the commit that it is of."""

    path: str
    size: int
    sha256: str = ""
    sha1: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What the hub has: ``commit`` names it for good at Hugging Face; ModelScope tells only the revision asked for."""

    commit: str
    files: tuple[HubFile, ...]

    def manifest(self, source: str) -> Manifest:
        """As what must be on the nodes."""
        return Manifest.of((File(f.path, f.size, f.sha256) for f in self.files), source=source, revision=self.commit)


def repository(settings: Settings) -> str:
    """Its name at the hub. Raises ``ConfigError`` where neither source nor path names one."""
    source = settings.model.source
    named = (source.repository if source else None) or (settings.model.path if settings.model.repository else None)
    if not named:
        raise ConfigError("model.source.repository is missing", hint="give its name at the hub, such as Qwen/Qwen3-8B")
    return named


def key(settings: Settings, source: WeightsSource) -> str:
    """What a manifest says of where its files are from: equal keys are the same files, as far as names can tell."""
    return f"{source.kind}:{repository(settings)}@{source.revision or REVISIONS[source.kind]}"


def endpoint(source: WeightsSource) -> str:
    return (source.endpoint or ENDPOINTS[source.kind]).rstrip("/")


def request(settings: Settings, source: WeightsSource, **more: object) -> str:
    """What the program is asked, as JSON. Holds the token in clear: for standard input or a file of mode 0600."""
    return json.dumps(
        {
            "kind": source.kind,
            "endpoint": endpoint(source),
            "repository": repository(settings),
            "revision": source.revision or REVISIONS[source.kind],
            "token": source.token.reveal() if source.token else "",
            "proxy": source.proxy or "",
            **more,
        },
        ensure_ascii=False,
    )


def fetch_request(
    settings: Settings, source: WeightsSource, listing: Listing, paths: Iterable[str], *, index: bool
) -> str:
    """The request to fetch ``paths``. ``index``: write that of ModelScope's client, too."""
    wanted = set(paths)
    rows = [[f.path, f.size, f.sha256, f.sha1, f.revision] for f in listing.files]
    return request(
        settings,
        source,
        commit=listing.commit,
        files=[row for row in rows if row[0] in wanted],
        all=rows,
        index=index,
    )


# ---- scripts


def list_script(settings: Settings, asked: str) -> str:
    """Ask the hub for its files: prints the answer's JSON. The request travels within the script, never in argv."""
    return f"{_runner(settings)}download list <<'qnext-end'\n{asked}\nqnext-end\n"


def fetch_script(settings: Settings, path: str, folder: str) -> str:
    """Fetch what the request in the file ``path`` says; that file, which may hold a token, is removed at the end."""
    return (
        f"{_runner(settings, folder)}trap 'rm -f -- {quote(path)}' EXIT\n"
        f"[ -f {quote(path)} ] || {{ echo 'failed write the request is gone: run again'; exit 13; }}\n"
        f"umask 022\nmkdir -p -- {quote(folder)} || {{ echo 'failed write no folder can be made there'; exit 13; }}\n"
        f"download fetch <{quote(path)}\n"
    )


def _runner(settings: Settings, folder: str = "") -> str:
    """The shell function ``download``: the program, in a folder, by the node's Python, else by that of the image."""
    program = (resources.shipped("templates") / "install" / "download.py").read_text(encoding="utf-8")
    ref = quote(settings.install.ref)
    mount = join(("-v", f"{folder}:{folder}")) if folder else ""
    inside = quote(f'cd {quote(folder or ".")} && exec python3 -c "$1" "$2"')
    return f"""\
program={quote(program)}
download() {{
for p in python3 /usr/libexec/platform-python; do
command -v "$p" >/dev/null && {{ cd {quote(folder or ".")} && "$p" -c "$program" "$1"; return; }}
done
docker image inspect {ref} >/dev/null 2>&1 || {{ echo 'failed python no python3, no image'; return 127; }}
docker run --rm -i --net=host --entrypoint sh {mount} {ref} -c {inside} sh "$program" "$1"
}}
"""


# ---- answers


def parse_listing(text: str) -> Listing:
    """What ``list`` printed. Raises ``ProvisionError`` with a remedy where it is a failure, or no listing."""
    last = next((line for line in reversed(text.splitlines()) if line.startswith("{")), "")
    said = Json.load(last)
    files = [_file(row.items) for row in said.at("files").items]
    if not files or not said.at("revision").text:
        raise failure(text) or ProvisionError("the hub lists no files", evidence=text[-2000:], hint=_HINTS["answer"])
    return Listing(said.at("revision").text, tuple(chosen(files)))


def _file(row: Sequence[Json]) -> HubFile:
    path, size, sha256, sha1, revision = [*row, *[Json(None)] * 5][:5]
    return HubFile(path.text, size.number or 0, sha256.text.lower(), sha1.text.lower(), revision.text)


def chosen(files: Iterable[HubFile]) -> list[HubFile]:
    """The files that a server reads: not those of other formats where there are safetensors, nothing hidden."""
    shown = [f for f in files if f.path and not any(part.startswith(".") for part in f.path.split("/"))]
    if not any(f.path.endswith(".safetensors") for f in shown):
        return shown
    return [f for f in shown if not f.path.endswith(_OTHER_FORMATS) and not f.path.startswith(_OTHER_FOLDERS)]


_HINTS = {
    "token": "a private or gated repository: accept its terms at the hub, and give a token that may read it as "
    "model.source.token: {env: HF_TOKEN}",
    "absent": "correct model.source.repository and revision; they are written as at the hub",
    "space": "free space on the file system of the weights (df -h), or set model.path to a folder elsewhere; then run "
    "again: what came is kept, and it goes on",
    "write": "make the folder of the weights writable for root, or set model.path to another one",
    "sum": "the hub or a cache before it serves a damaged file: try another model.source.endpoint, or without proxy",
    "network": "see from the node whether the hub answers (curl -I), set model.source.proxy or an endpoint that the "
    "node reaches; then run again: what came is kept, and it goes on",
    "answer": "model.source.endpoint must be a hub's or its mirror's; a proxy may have answered in its place",
    "python": "install python3 on the node, or the image first (up does), or have another host download: "
    "model.source.node",
}


def failure(text: str) -> ProvisionError | None:
    """The error that the program's last words tell; None where it tells none."""
    said = re.findall(r"^failed (\w+) (.*)$", text, re.MULTILINE)
    if not said:
        return None
    kind, words = said[-1]
    return ProvisionError(words, hint=_HINTS.get(kind, ""), evidence="\n".join(text.splitlines()[-12:]))


def progress(log: str) -> JobProgress:
    """How far a download is, by the last line that tells it."""
    said = re.findall(r"^progress (\d+) (\d+) (\d+) (\d+) (\d+)$", log, re.MULTILINE)
    if not said:
        return JobProgress(None, "asking the hub")
    done, total, rate, files, of = map(int, said[-1])
    left = f", {(total - done) / rate:.0f} s left" if rate and total > done else ""
    text = f"{files} of {of} files, {size_text(done)} of {size_text(total)}, {size_text(rate)}/s{left}"
    return JobProgress(done / total if total else 1.0, text)
