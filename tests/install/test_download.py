"""The program that downloads weights, against a hub that speaks as Hugging Face and as ModelScope do."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision import resources
from provision.install import hub as asking
from provision.rehearsal.hub import Hub

pytestmark = pytest.mark.rehearsal

PROGRAM = (resources.shipped("templates") / "install" / "download.py").read_text(encoding="utf-8")
REPOSITORY = "org/small.model"
KINDS = ("huggingface", "modelscope")
_BYTES = random.Random(7)
FILES = {
    "config.json": b'{"model_type": "x"}\n',
    "tokenizer.json": b"{}\n",
    "model-00001-of-00002.safetensors": _BYTES.randbytes(300_000),
    "model-00002-of-00002.safetensors": _BYTES.randbytes(200_001),
    "sub/a file.json": b"[]\n",
    "empty.txt": b"",
}
OTHERS = {".gitattributes": b"x", "pytorch_model.bin": b"bin", "original/params.json": b"{}"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    served = Hub(tmp_path / "hub")
    served.add(REPOSITORY, FILES | OTHERS)
    with served.serving("127.0.0.1"):
        yield served


def asked(hub: Hub, kind: str, **more: object) -> dict[str, Any]:
    return {
        "kind": kind,
        "endpoint": hub.url,
        "repository": REPOSITORY,
        "revision": asking.REVISIONS[kind],
        "patience": 0.01,
        "silence": 5,
        **more,
    }


def run(mode: str, *, request: str, folder: Path | None = None) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, mode],
        input=request,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not done.stderr, done.stderr
    return done.returncode, done.stdout


def listing(hub: Hub, kind: str, **more: object) -> asking.Listing:
    _, said = run("list", request=json.dumps(asked(hub, kind, **more)))
    return asking.parse_listing(said)


def fetch(hub: Hub, kind: str, to: Path, **more: object) -> tuple[int, str]:
    found = listing(hub, kind, **{k: v for k, v in more.items() if k == "token"})
    rows = [[f.path, f.size, f.sha256, f.sha1, f.revision] for f in found.files]
    request = asked(hub, kind, commit=found.commit, files=rows, all=rows, **{"index": False, **more})
    to.mkdir(exist_ok=True)
    return run("fetch", request=json.dumps(request), folder=to)


def held(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_server_reads_is_listed_with_its_checksums(hub: Hub, kind: str) -> None:
    found = listing(hub, kind)

    assert {f.path: f.size for f in found.files} == {path: len(content) for path, content in FILES.items()}
    assert all(f.sha256 == hashlib.sha256(FILES[f.path]).hexdigest() for f in found.files if f.sha256)
    assert all(f.sha256 or f.sha1 for f in found.files)
    assert found.commit == (hub.commit(REPOSITORY) if kind == "huggingface" else "master")


@pytest.mark.parametrize("kind", KINDS)
def test_cut_and_busy_answers_are_tried_again_from_where_they_broke_off(hub: Hub, kind: str, tmp_path: Path) -> None:
    hub.state.set("cut", "2")
    hub.state.set("busy", "3")

    status, said = fetch(hub, kind, tmp_path / "w")

    assert status == 0, said
    assert held(tmp_path / "w") == FILES
    assert any("bytes=" in line for line in hub.asked), "nothing went on where it broke off"
    cached = (tmp_path / "w/.qnext-verified").read_text().splitlines()
    assert {line.split(" ", 4)[4]: line.split()[0] for line in cached} == {
        path: hashlib.sha256(content).hexdigest() for path, content in FILES.items()
    }
    assert asking.progress(said).fraction == 1.0


def test_what_an_earlier_run_brought_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    path = "model-00001-of-00002.safetensors"
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / f"{path}.part").write_bytes(FILES[path][:250_000])

    assert fetch(hub, "huggingface", tmp_path / "w")[0] == 0

    assert held(tmp_path / "w") == FILES
    assert any("bytes=250000-" in line for line in hub.asked)


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_bytes_are_refused_and_leave_nothing(hub: Hub, kind: str, tmp_path: Path) -> None:
    hub.state.set("wrong", "00002-of")

    status, said = fetch(hub, kind, tmp_path / "w")

    error = asking.failure(said)
    assert status == 65
    assert error is not None
    assert "model-00002-of-00002.safetensors came twice with SHA-256" in error.message
    assert "endpoint" in error.hint
    assert not list((tmp_path / "w").glob("model-00002*"))


def test_a_full_disk_keeps_what_came(hub: Hub, tmp_path: Path) -> None:
    """A limit on the size of files is the one way to make a write fail without rights."""
    path = "model-00001-of-00002.safetensors"
    found = listing(hub, "modelscope")
    row = next([f.path, f.size, f.sha256, f.sha1, f.revision] for f in found.files if f.path == path)
    request = json.dumps(asked(hub, "modelscope", commit="master", files=[row], all=[]))
    (tmp_path / "w").mkdir()
    limit = (resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        [sys.executable, "-I", "-c", PROGRAM, "fetch"],
        input=request,
        cwd=tmp_path / "w",
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(*limit),
        check=False,
    )

    error = asking.failure(done.stdout)
    assert done.returncode == 28, done.stdout
    assert error is not None
    assert "it goes on" in error.hint
    assert 0 < (tmp_path / "w" / f"{path}.part").stat().st_size <= 200_000
    assert fetch(hub, "modelscope", tmp_path / "w")[0] == 0
    assert held(tmp_path / "w") == FILES


def test_a_part_that_was_damaged_is_fetched_anew(hub: Hub, tmp_path: Path) -> None:
    path = "model-00001-of-00002.safetensors"
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / f"{path}.part").write_bytes(bytes(250_000))

    assert fetch(hub, "modelscope", tmp_path / "w")[0] == 0
    assert held(tmp_path / "w") == FILES


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_opens_a_gated_repository_and_is_told_to_nobody_else(hub: Hub, kind: str, tmp_path: Path) -> None:
    hub.state.set("token", "hf_secret")
    _, said = run("list", request=json.dumps(asked(hub, kind)))
    error = asking.failure(said)
    assert error is not None
    assert "401" in error.message
    assert "model.source.token" in error.hint

    status, said = fetch(hub, kind, tmp_path / "w", token="hf_secret")

    assert status == 0, said
    assert held(tmp_path / "w") == FILES
    assert hub.leaked == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [{"repository": "org/none"}, {"revision": "v9"}])
def test_a_repository_or_revision_that_is_not_there(hub: Hub, kind: str, wrong: dict[str, str]) -> None:
    status, said = run("list", request=json.dumps(asked(hub, kind, **wrong)))

    error = asking.failure(said)
    assert status == 4
    assert error is not None
    assert "correct model.source.repository" in error.hint


def test_a_hub_that_is_not_there_is_given_up(hub: Hub) -> None:
    status, said = run("list", request=json.dumps(asked(hub, "huggingface", endpoint="http://127.0.0.1:9", tries=2)))

    error = asking.failure(said)
    assert status == 69
    assert error is not None
    assert "127.0.0.1:9" in error.message
    assert "2 times" in error.message


def test_something_else_that_answers_is_no_hub(hub: Hub) -> None:
    hub.models.joinpath("api/v1").mkdir(parents=True)
    status, said = run("list", request=json.dumps(asked(hub, "modelscope", endpoint=f"{hub.url}/portal")))

    error = asking.failure(said)
    assert status == 4
    assert error is not None


def test_modelscopes_client_finds_the_files_in_its_index(hub: Hub, tmp_path: Path) -> None:
    assert fetch(hub, "modelscope", tmp_path / "w", index=True)[0] == 0

    rows = pickle.loads((tmp_path / "w/.msc").read_bytes())
    assert {row["Path"] for row in rows} == set(FILES)
    assert {row["Revision"] for row in rows} == {hub.commit(REPOSITORY)}


def test_the_next_page_is_asked_of_the_same_host() -> None:
    code = PROGRAM.replace("main(sys.argv[1:])", "") + "print(here(*sys.argv[1:]))"
    asked_of, link = "http://mirror.test:8080/api/tree?recursive=1", "https://hub.test/api/tree?cursor=a%2Fb"
    done = subprocess.run([sys.executable, "-c", code, asked_of, link], capture_output=True, text=True, check=True)
    assert done.stdout == "http://mirror.test:8080/api/tree?cursor=a%2Fb\n"
