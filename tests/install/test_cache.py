"""The cache of a registry: the names under which it gives images, and its scripts, run by a real sh."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from provision.install import cache as caches
from provision.install.cache import Cache
from provision.install.images import Wanted
from provision.install.ties import Door

CACHE = Cache("qnext", "/var/lib/qnext/qnext/registry", "registry:2", 15580)
DIGEST = "sha256:" + "1" * 64


@pytest.mark.parametrize(
    ("source", "near"),
    [
        ("quay.io/ascend/vllm-ascend", "127.0.0.1:15580/ascend/vllm-ascend"),
        ("m.daocloud.io/quay.io/ascend/v", "127.0.0.1:15580/quay.io/ascend/v"),
        ("localhost:5000/v", "127.0.0.1:15580/v"),
        ("nginx", "127.0.0.1:15580/library/nginx"),
        ("somebody/nginx", "127.0.0.1:15580/somebody/nginx"),
        ("docker.io/nginx", "127.0.0.1:15580/library/nginx"),
    ],
)
def test_the_name_behind_the_cache(source: str, near: str) -> None:
    given = caches.through(Wanted("r:1", "1", DIGEST, (source, "other.example/v"), race=True), CACHE, source)
    assert given.sources == (near, source, "other.example/v"), "where the cache fails, the sources themselves are left"
    assert (given.digest, given.race) == (DIGEST, False)


def test_a_port_that_is_free_everywhere() -> None:
    assert caches.free_port(lambda port: port < 15583) == 15583
    assert caches.free_port(lambda port: True) == caches.FIRST_PORT


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("true 15582 quay.io/a/b\n", (15582, "quay.io/a/b")),
        ("false 15582 quay.io/a/b\n", None),
        ("true  \n", None),
        ("", None),
    ],
)
def test_one_that_was_left(said: str, found: object) -> None:
    assert caches.standing(said) == found


def test_its_labels_are_ours() -> None:
    assert CACHE.name == "qnext-qnext-registry"
    assert CACHE.labels["qnext.cluster"] == "qnext"


def test_the_way_is_bound_to_the_loopback() -> None:
    text = caches.way(CACHE, Door("n", "root", "10.0.0.1", 2222, ("ssh-ed25519 AAAA",)))
    assert '-L "127.0.0.1:$here:127.0.0.1:$there"' in text
    assert "StrictHostKeyChecking=yes" in text
    assert "key=/var/lib/qnext/qnext/registry/key\n" in text


DOCKER = """#!/bin/sh
echo "$*" >>"{folder}/calls"
case "$1 $2" in
"info --format")
  case $3 in *RegistryConfig*) echo '{{"plain.example":{{"Name":"plain.example","Mirrors":[],"Secure":false}}}}' ;;
  *) printf 'HTTP_PROXY=\\nHTTPS_PROXY=http://proxy.example:3128\\nNO_PROXY=\\n' ;; esac ;;
"run -d") while [ $# -gt 1 ]; do
  case $1 in --env-file) cp "$2" "{folder}/environment" ;; --label-file) cp "$2" "{folder}/labels" ;; esac
  shift; done ;;
"inspect --format") echo false ;;
"logs "*) echo 'configuration error: x' ;;
esac
"""


def started(folder: Path, source: str) -> subprocess.CompletedProcess[str]:
    (folder / "docker").write_text(DOCKER.format(folder=folder))
    (folder / "docker").chmod(0o755)
    config = {"auths": {"quay.io": {"auth": "bWU6c2VjcmV0"}}}
    (folder / ".docker").mkdir()
    (folder / ".docker/config.json").write_text(json.dumps(config))
    cache = Cache("qnext", str(folder / "registry"), "registry:2", 1)
    script = caches.start_script(cache, Wanted("r:1", "1", DIGEST, (source,), api=False))
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "HOME": str(folder)}
    return subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("source", "remote"),
    [
        ("quay.io/ascend/v", "https://quay.io"),
        ("plain.example/v", "http://plain.example"),
        ("127.0.0.1:5000/v", "http://127.0.0.1:5000"),
        ("nginx", "https://registry-1.docker.io"),
    ],
)
def test_it_stands_before_the_registry(source: str, remote: str, tmp_path: Path) -> None:
    done = started(tmp_path, source)

    environment = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    assert environment["REGISTRY_PROXY_REMOTEURL"] == remote
    assert environment["REGISTRY_HTTP_ADDR"] == "127.0.0.1:1", "nobody but this node itself reaches it"
    assert environment["HTTPS_PROXY"] == "http://proxy.example:3128", "as dockerd has it"
    assert environment.get("REGISTRY_PROXY_PASSWORD") == ("secret" if "quay.io" in source else None)
    assert "secret" not in (tmp_path / "calls").read_text()
    assert "qnext.cluster=qnext\n" in (tmp_path / "labels").read_text()
    assert (done.returncode, caches.remote(done.stdout)) == (1, ""), "it did not come up"
    assert "configuration error" in done.stderr


def test_its_end_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "docker").write_text(DOCKER.format(folder=tmp_path))
    (tmp_path / "docker").chmod(0o755)
    folder = tmp_path / "registry"
    (folder / "data").mkdir(parents=True)
    script = caches.end_script(Cache("qnext", str(folder), "registry:2", 1))

    subprocess.run(["sh", "-c", script], env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, check=True)

    assert not folder.exists()
    assert (tmp_path / "calls").read_text().splitlines()[-1] == "rm -f qnext-qnext-registry"
