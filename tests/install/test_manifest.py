"""Manifests: what they hold comes back from their text, and nothing leaves its folder."""

from __future__ import annotations

import pytest

from provision.errors import ConfigError
from provision.install.manifest import File, Manifest

SUM = "0" * 64


def test_a_manifest_comes_back_from_its_text() -> None:
    made = Manifest.of([File("b/c.safetensors", 5, SUM), File("a.json", 2)], source="a hub", revision="main")
    assert Manifest.load(made.text()) == made
    assert [file.path for file in made.files] == ["a.json", "b/c.safetensors"]
    assert (made.size, made.proven) == (7, False)


def test_checksums_that_were_found_fill_the_gaps_alone() -> None:
    made = Manifest.of([File("a", 1), File("b", 1, SUM)]).with_sums({"a": "1" * 64, "b": "1" * 64})
    assert [file.sha256 for file in made.files] == ["1" * 64, SUM]
    assert made.proven


@pytest.mark.parametrize("path", ["/etc/passwd", "../up", "a/../../b", "", "a//b", "./a", "a\nb"])
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(ConfigError):
        Manifest.of([File(path, 1)])


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 2, "source": "", "revision": "", "files": []}',
             '{"format": 1, "source": "", "revision": "", "files": [["a", "1", ""]]}']
)  # fmt: skip
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        Manifest.load(text)
