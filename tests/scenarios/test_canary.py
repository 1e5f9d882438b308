"""Secrets in every place where an operator, or a server, may leave one: none is in what the program writes or says."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.practice import Practice
from tests.scenarios.program import Program

pytestmark = [pytest.mark.rehearsal, pytest.mark.long]

CANARY = re.compile(rb"c4nary|YzRuYXJ5", re.IGNORECASE)
"""In every secret here; the second is how base64 begins it."""

SAID = (
    "RuntimeError: NPU out of memory. HF_TOKEN=c4nary1 from https://user:c4nary2@hub.example/x with "
    "{'api_key': ['c4nary3'], \"db_password\": \"c4nary4 and more\"} hf_c4naryABCDEFGHIJKLMNOP "
    "Authorization: Bearer c4nary5 -e REGISTRY_PASSWORD=c4nary6 --hf-token c4nary7 Basic auth: Authorization: Basic "
    "YzRuYXJ5OmM0bmFyeQ== tokens: 512"
)
"""What a server says when it ends."""


@pytest.fixture
def planted(cpu: Practice) -> Practice:
    """A cluster whose inventory holds secrets in all ways, and whose second node's server tells more when it dies."""
    cpu.write_inventory(
        vars={"ansible_become_password": "c4nary-become"},
        serve={
            "api_key": {"env": "CANARY_KEY"},
            "env": {"HF_TOKEN": "hf_c4naryQRSTUVWXYZabcdefghij", "HTTPS_PROXY": "http://user:c4nary-proxy@10.9.9.9:1"},
            "secret_env": {"DB_LOGIN": {"env": "CANARY_OTHER"}},
        },
    )
    cpu.fault("node2", "vllm/die_at_start", f"0.1 3 {SAID}")
    return cpu


def test_no_secret_is_told_by_what_a_failure_leaves(planted: Practice, program: Program) -> None:
    program = program.with_env(CANARY_KEY="c4nary-api-key", CANARY_OTHER="c4nary other")
    inventory = planted.place / "cluster.yaml"
    kept = planted.place / "kept"
    kept.mkdir()

    answers = [
        program("up", "-i", inventory, "-v", "--diff", "--html", kept / "up.html", "--junit", kept / "up.xml"),
        program("up", "-i", inventory, "-o", "jsonl", "--diff"),
        program("status", "-i", inventory, "--json"),
        program("facts", "-i", inventory, "--json"),
        program("logs", "-i", inventory),
        program("diagnose", "-i", inventory, "-v"),
        program("report", "--github", "-i", inventory),
        program("report", "--github", "--run", "latest", "-o", kept / "issue.md", "--anonymous"),
        program("logs", "collect", "-i", inventory, "-o", kept / "evidence.tar.gz"),
        program("diagnose", kept / "evidence.tar.gz", "-v"),
    ]

    assert answers[0].exit == 1, answers[0].text
    assert "NPU out of memory" in answers[0].text
    assert "tokens: 512" in answers[5].text, "what only looks like a secret stays"
    told = {f"answer {number}": answer.text.encode() for number, answer in enumerate(answers)}
    found = {**told, **dict(_files(program.runs)), **dict(_files(kept))}
    leaks = {name: _around(data) for name, data in found.items() if CANARY.search(data)}
    assert not leaks, "\n".join(f"{name}: {said}" for name, said in leaks.items())
    assert any("worker1" in name for name in found), "the archive was looked into"


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """All files below a folder, those in archives too."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield from _opened(str(path), path.read_bytes())


def _opened(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    if name.endswith((".tar.gz", ".tar")):
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for member in archive:
                if (file := archive.extractfile(member)) is not None:
                    yield from _opened(f"{name}:{member.name}", file.read())
    elif name.endswith(".gz"):
        yield from _opened(name.removesuffix(".gz"), gzip.decompress(data))
    else:
        yield name, data


def _around(data: bytes) -> str:
    found = CANARY.search(data)
    assert found
    return data[max(0, found.start() - 100) : found.end() + 40].decode("utf-8", "replace")
