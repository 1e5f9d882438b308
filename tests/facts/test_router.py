"""Which router a container chose, by the beginning of its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.facts.router import RouterChoice
from provision.results import Result


def docker(folder: Path, log: str) -> None:
    """A docker that knows one container, which has written ``log``."""
    (folder / "bin").mkdir()
    (folder / "log").write_text(log)
    tool = folder / "bin" / "docker"
    tool.write_text(f"#!/bin/sh\ncase $1 in ps) echo 0123abcd ;; logs) cat {folder}/log; echo noise >&2 ;; esac\n")
    tool.chmod(0o755)


@pytest.mark.parametrize(
    ("log", "chosen"),
    [
        ("qnext: the router is nginx\n", "nginx"),
        ("bash: no job control in this shell\nqnext: the router is vllm-router\n2026 INFO up\n", "vllm-router"),
        ("qnext: the router is the built-in one\n", "the built-in one"),
        ("GET /qnext: the router is nginx\n", ""),
        ("", ""),
        ("a request\n" * 100_000 + "qnext: the router is nginx\n", ""),
    ],
    ids=["nginx", "vllm-router", "built-in", "not-ours", "silent", "long"],
)
def test_what_it_said(look: Any, tmp_path: Path, log: str, chosen: str) -> None:
    docker(tmp_path, log)
    assert look(RouterChoice("it's ours")).chosen == chosen


def test_no_container_has_said_nothing() -> None:
    assert RouterChoice("c").parse(Result("", 0, "")).chosen == ""
    assert RouterChoice("c").parse(Result("", 124, "@@ log\n\x00qnext: the router\n", timed_out=True)).problems
