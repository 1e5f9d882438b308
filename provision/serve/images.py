"""What an image reference tells: repository, tag, digest, and by vllm-ascend's tag grammar release and hardware.

The grammar is ``v<release>[-a3|-310p|-950dt][-openeuler]``; no suffix means A2. Floating tags (``main``,
``nightly-a3``, ``releases-v0.18.0``) move, so two nodes that pull them on two days hold two images [vllm-ascend
installation guide].
"""

from __future__ import annotations

from dataclasses import dataclass

from provision.serve.releases import Release, parse_release

HARDWARE_SUFFIXES = ("a2", "a3", "310p", "950dt")
_SYSTEMS = ("openeuler", "ubuntu")
_FLOATING = ("main", "latest", "nightly", "dev", "releases")


@dataclass(frozen=True, slots=True)
class ImageRef:
    """``hardware`` is the suffix ("" for none). ``known`` is false where the tag follows no grammar of vllm-ascend's:
    then neither release nor hardware can be told from it."""

    reference: str
    repository: str
    tag: str
    digest: str
    release: Release | None
    hardware: str
    floating: bool
    known: bool

    def with_hardware(self, suffix: str) -> str:
        """The same image for other hardware."""
        head, _, tail = self.tag.partition(f"-{self.hardware}") if self.hardware else (self._stem, "", self._tail)
        return f"{self.repository}:{head}{'-' + suffix if suffix else ''}{tail}"

    @property
    def _tail(self) -> str:
        return next((f"-{system}" for system in _SYSTEMS if self.tag.endswith(f"-{system}")), "")

    @property
    def _stem(self) -> str:
        return self.tag.removesuffix(self._tail)


def parse_image(reference: str) -> ImageRef:
    """Read an image reference. Never raises: what doesn't follow the grammar is not ``known``."""
    name, _, digest = reference.partition("@")
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = name, "" if digest or not name else "latest"
    stem, *suffixes = tag.split("-") if tag else [""]
    release = parse_release(stem)
    floating = stem in _FLOATING
    hardware = [word for word in suffixes if word.lower() in HARDWARE_SUFFIXES]
    known = release is not None or floating
    return ImageRef(
        reference=reference,
        repository=repository,
        tag=tag,
        digest=digest,
        release=release or next((r for word in suffixes if floating and (r := parse_release(word))), None),
        hardware=hardware[0] if known and hardware else "",
        floating=floating and not digest,
        known=known,
    )
