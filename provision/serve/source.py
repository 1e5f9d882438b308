"""What is built where ``install.method`` is ``source``: every name and version resolved, with no node touched.

An operator names a release of vllm-ascend, and all else follows from the table of compatibility; or a branch, a commit
or a pull request of either part, which counts before the release's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

from provision.errors import ConfigError
from provision.inventory.model import Settings, Source
from provision.serve.compatibility import ReleaseRow, release_key, table
from provision.serve.releases import parse_release

Kind = Literal["name", "commit", "pull", "package"]

NONE = "none"
"""``install.source.vllm_ascend``: vLLM alone."""

SOC_VERSIONS = {"atlas-800-a2": "ascend910b1", "atlas-800-a3": "ascend910_9391", "cpu": "ascend910b1"}
"""By hardware [vllm-ascend installation guide; its Dockerfiles]. Without NPU there is nothing to detect, and setup.py
wants one all the same."""

_PACKAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9_,.-]+\])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*\Z")
_PULL = re.compile(r"(?:refs/)?pull/(\d+)(?:/head)?\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_CUT_COMMIT = re.compile(r"(?=[0-9a-f]*[0-9])(?=[0-9a-f]*[a-f])[0-9a-f]{7,39}\Z")
_NAME = re.compile(r"(?!-)(?!.*(\.\.|@\{|//))[\w./+@#-]+(?<![./])\Z")


@dataclass(frozen=True, slots=True)
class Part:
    """vLLM, or vllm-ascend. ``ref`` is what git is asked for: a tag or branch (kind ``name``), a commit, or a pull
    request's head; of kind ``package`` what pip is. ``said``: as the operator or the table says it."""

    name: str
    kind: Kind
    ref: str
    said: str
    repository: str = ""

    @property
    def moves(self) -> bool:
        """Whether it may be another commit tomorrow. A name that reads as a release is taken for a tag, which stays."""
        return self.kind == "pull" or (self.kind == "name" and parse_release(self.ref) is None)


@dataclass(frozen=True, slots=True)
class Build:
    """All that the build scripts are made from. Versions are empty where nothing is known of them: what vllm-ascend's
    own requirements say then holds. ``python`` is a range as pip writes it."""

    hardware: str
    vllm: Part
    vllm_ascend: Part | None
    target_device: str
    soc_version: str = ""
    release: str = ""
    python: str = ""
    cann: str = ""
    torch: str = ""
    torch_npu: str = ""
    triton_ascend: str = ""
    source: str = ""

    @property
    def npu(self) -> bool:
        return self.hardware != "cpu"

    @property
    def parts(self) -> tuple[Part, ...]:
        return (self.vllm, self.vllm_ascend) if self.vllm_ascend else (self.vllm,)

    @property
    def compiles(self) -> bool:
        """Whether anything is built from sources, rather than taken from an index."""
        return any(part.kind != "package" for part in self.parts)

    @property
    def triton(self) -> bool:
        """Whether triton-ascend takes the place of triton: not on 310P [vllm-ascend installation guide]."""
        return self.vllm_ascend is not None and self.npu and not self.soc_version.startswith("ascend310")

    @property
    def moving(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.moves)


def resolve(settings: Settings) -> Build:
    """What is to be built. Raises ``ConfigError`` where it does not follow from what the inventory says."""
    source = settings.install.source
    release = release_key(source.release) if source.release else ""
    row = table(settings.compatibility).release(release) if release else None
    vllm = _vllm(source, release, row)
    plugin = _plugin(source, settings.hardware, release)
    return Build(
        hardware=settings.hardware,
        vllm=vllm,
        vllm_ascend=plugin,
        # An empty target has no kernels: they are vllm-ascend's [vllm-ascend installation guide].
        target_device="empty" if plugin else "cpu",
        soc_version=(source.soc_version or SOC_VERSIONS[settings.hardware]) if plugin else "",
        release=release,
        **_versions(row),
    )


def _versions(row: ReleaseRow | None) -> dict[str, str]:
    if row is None:
        return {}
    names = ("python", "cann", "torch", "torch_npu", "triton_ascend", "source")
    return {name: getattr(row, name) for name in names}


def _vllm(source: Source, release: str, row: ReleaseRow | None) -> Part:
    if source.vllm:
        return part("vllm", source.vllm, source.vllm_repository, "install.source.vllm")
    if not release:
        raise ConfigError(
            "install.source says neither which release nor which vLLM is built",
            hint="install.source.release: v0.18.0 (of vllm-ascend), or install.source.vllm: a tag, branch, commit, "
            "pull/123, or name==version",
        )
    if row is None or not row.vllm:
        raise ConfigError(
            f"install.source.release: nothing is known of vllm-ascend {release}, so not which vLLM it needs",
            hint="use a release of the table (explain compatibility), set install.source.vllm, or tell it: "
            f"qnext.compatibility: {{releases: {{{release}: {{vllm: …}}}}}}",
        )
    return part("vllm", row.vllm, source.vllm_repository, "install.source.release")


def _plugin(source: Source, hardware: str, release: str) -> Part | None:
    """vllm-ascend; on hardware without NPU only where it is asked for by name."""
    said = source.vllm_ascend or (release if hardware != "cpu" else NONE)
    if said == NONE:
        return None
    if not said:
        raise ConfigError(
            "install.source says which vLLM is built, but not which vllm-ascend",
            hint="install.source.release: v0.18.0, or install.source.vllm_ascend: a tag, branch, commit, pull/123, "
            "name==version, or none",
        )
    key = "install.source.vllm_ascend" if source.vllm_ascend else "install.source.release"
    return part("vllm-ascend", said, source.vllm_ascend_repository, key)


def part(name: str, said: str, repository: str, key: str) -> Part:
    """What ``said`` means. Raises ``ConfigError`` naming ``key`` for what git would not take, or not find."""
    if "==" in said:
        if not _PACKAGE.match(said):
            raise ConfigError(f"{key}: {said} is no package of an index", hint="name==version, as pip takes it")
        return Part(name, "package", said, said)
    if found := _PULL.match(said):
        return Part(name, "pull", f"refs/pull/{found[1]}/head", said, repository)
    if _COMMIT.match(said):
        return Part(name, "commit", said, said, repository)
    if _CUT_COMMIT.match(said):
        raise ConfigError(f"{key}: {said} is a commit cut short", hint="servers give a commit by all its 40 digits")
    if not _NAME.match(said):
        raise ConfigError(f"{key}: {said} is no name of a tag or branch", hint="a tag, a branch, a commit or pull/123")
    return Part(name, "name", said, said, repository)


# ---- URLs with a password


@dataclass(frozen=True, slots=True)
class Login:
    """User and password of a URL, decoded, for its host."""

    scheme: str
    host: str
    user: str
    password: str


def without_login(url: str) -> str:
    """The URL as it may be shown. The user of an ssh URL stays: it is no secret, and belongs to the address."""
    head, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{head}{separator}{place.rpartition('@')[2]}{slash}{path}" if login(url) else url


def login(url: str) -> Login | None:
    """What ``without_login`` leaves out; None where there is no password."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    if parts.password is None and not (parts.username and parts.scheme in ("http", "https")):
        return None
    return Login(parts.scheme, f"{host}{port}", unquote(parts.username or ""), unquote(parts.password or ""))


def urls(source: Source) -> Iterator[tuple[str, str]]:
    """(Key below ``install.source``, URL) of all that may hold a password."""
    yield "vllm_repository", source.vllm_repository
    yield "vllm_ascend_repository", source.vllm_ascend_repository
    if source.index:
        yield "index", source.index
    yield from (("extra_indexes", url) for url in source.extra_indexes)
    yield from ((f"env.{name}", str(value)) for name, value in source.env.items() if "://" in str(value))


def logins(urls: Iterable[str]) -> tuple[Login, ...]:
    """Those of URLs that have one, each once."""
    return tuple(dict.fromkeys(found for url in urls if (found := login(url))))
