"""Which of a hub's files are wanted, and what is asked in which words. The program itself: test_download.py."""

from __future__ import annotations

import json
import subprocess

import pytest

from provision.errors import ConfigError, ProvisionError
from provision.install import hub
from provision.install.hub import HubFile
from provision.inventory.model import Settings


def settings(source: dict[str, object], path: str = "/m", **model: object) -> Settings:
    given = {"path": path, "source": source, **model}
    return Settings.model_validate({"cluster": "c", "hardware": "cpu", "install": {"image": "i:1"}, "model": given})


def asked(given: Settings) -> dict[str, object]:
    assert given.model.source is not None
    found: dict[str, object] = json.loads(hub.request(given, given.model.source))
    return found


def test_other_formats_and_hidden_files_are_left_at_the_hub() -> None:
    names = ["config.json", "model.safetensors", "README.md", "modeling_x.py", "merges.txt", "sub/t.json"]
    others = [".gitattributes", "pytorch_model.bin", "m.gguf", "original/params.json", ".cache/x", "onnx/model.onnx"]
    files = [HubFile(name, 1) for name in names + others]

    assert [file.path for file in hub.chosen(files)] == names
    without = [file for file in files if not file.path.endswith(".safetensors")]
    assert "pytorch_model.bin" in [file.path for file in hub.chosen(without)], "where there is nothing else"


def test_defaults_are_the_hubs_own() -> None:
    assert asked(settings({"kind": "huggingface"}, "Qwen/Qwen3-8B")) == {
        "kind": "huggingface",
        "endpoint": "https://huggingface.co",
        "repository": "Qwen/Qwen3-8B",
        "revision": "main",
        "token": "",
        "proxy": "",
    }
    assert asked(settings({"kind": "modelscope", "repository": "a/b"}))["revision"] == "master"


def test_an_endpoint_may_end_with_a_slash() -> None:
    given = settings({"kind": "huggingface", "repository": "a/b", "endpoint": "http://mirror.example/"})
    assert asked(given)["endpoint"] == "http://mirror.example"


def test_no_repository_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"model\.source\.repository is missing"):
        hub.repository(settings({"kind": "huggingface"}))


def test_scripts_are_sh_and_hold_no_token_in_a_command() -> None:
    given = settings({"kind": "huggingface", "repository": "a/b", "token": "t'oken"})
    assert given.model.source is not None
    script = hub.list_script(given, hub.request(given, given.model.source))
    assert script.index("t'oken") > script.index("<<'qnext-end'")
    for text in (script, hub.fetch_script(given, "/state/request.json", "/m m")):
        assert subprocess.run(["sh", "-n"], input=text, text=True, check=False).returncode == 0
    assert "t'oken" not in hub.fetch_script(given, "/state/request.json", "/m")


@pytest.mark.parametrize(
    ("text", "words", "hint"),
    [
        ("failed token h answers 401 to a/b: x\n", "h answers 401", "model.source.token"),
        ("progress 1 2 3 4 5\nfailed space m.part: No space left on device\n", "No space left", "free space"),
        ("failed python no python3, no image\n", "no python3", "install python3"),
        ('{"revision": "main", "files": []}\n', "the hub lists no files", "endpoint"),
        ("", "the hub lists no files", "endpoint"),
    ],
)
def test_failures_have_a_remedy(text: str, words: str, hint: str) -> None:
    with pytest.raises(ProvisionError, match=words) as raised:
        hub.parse_listing(text)
    assert hint in raised.value.hint


def test_progress_tells_rate_and_what_is_left() -> None:
    said = hub.progress("fetched 5 a\nprogress 5000000 10000000 1000000 1 2\n")
    assert said.fraction == 0.5
    assert said.text == "1 of 2 files, 5.0 MB of 10.0 MB, 1.0 MB/s, 5 s left"
    assert hub.progress("").fraction is None
