"""What the registries of a rehearsal hold: the releases of vllm-ascend, at quay.io and its mirrors."""

from __future__ import annotations

import hashlib

_REPOSITORIES = (
    "quay.io/ascend/vllm-ascend",
    "quay.nju.edu.cn/ascend/vllm-ascend",
    "m.daocloud.io/quay.io/ascend/vllm-ascend",
)
_RELEASES = ("v0.13.0", "v0.16.0rc1", "v0.18.0", "v0.23.0")
_SUFFIXES = {"": "ascend910b1", "-a3": "ascend910_9391", "-openeuler": "ascend910b1", "-a3-openeuler": "ascend910_9391"}
_CPU = ("quay.io/rehearsal/vllm-cpu", "quay.nju.edu.cn/rehearsal/vllm-cpu")
_CPU_TAGS = ("v0.18.0", "latest")
_NGINX = ("nginx", "docker.io/library/nginx", "docker.m.daocloud.io/library/nginx")
_NGINX_TAGS = ("1.27", "1.28", "alpine", "latest")
_LAYERS = 8


def shipped_images() -> list[dict[str, object]]:
    """Every image by repository and tag. Mirrors hold the same images under the same ids."""
    found = [
        _image(repository, f"{release}{suffix}", soc, "arm64")
        for repository in _REPOSITORIES
        for release in _RELEASES
        for suffix, soc in _SUFFIXES.items()
    ]
    own = [_image(repository, tag, "", "amd64") for repository in _CPU for tag in _CPU_TAGS]
    return [*found, *own, *_nginx()]


def _nginx() -> list[dict[str, object]]:
    """The web server, with a name by which docker finds its hub, and two that are written in full."""
    made = [_image(repository, tag, "", "arm64") for repository in _NGINX for tag in _NGINX_TAGS]
    environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    return [{**image, "size": 192_000_000, "env": environment} for image in made]


def _image(repository: str, tag: str, soc: str, arch: str) -> dict[str, object]:
    name = f"{repository.rpartition('/')[2]}:{tag}"
    environment = ["PATH=/usr/local/python3.11.13/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                   "DEBIAN_FRONTEND=noninteractive", "TASK_QUEUE_ENABLE=1", "OMP_NUM_THREADS=1"]  # fmt: skip
    return {
        "repository": repository,
        "tag": tag,
        "id": f"sha256:{_hash(name)}",
        "digest": f"sha256:{_hash(name + '@')}",
        "arch": arch,
        "size": 17_800_000_000,
        "layers": [_hash(f"{name}#{number}") if number else _hash("ubuntu:22.04") for number in range(_LAYERS)],
        "env": [*environment, *([f"SOC_VERSION={soc}"] if soc else [])],
        "created": "2026-04-30T09:12:44.133700942Z",
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
