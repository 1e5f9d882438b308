"""The container recipe, from what a node has."""

from __future__ import annotations

import pytest

from provision.accel.ascend.container import CONTROL_DEVICES, device_nodes, mount_sources, recipe, split_modules
from provision.accel.ascend.hardware import A2, A3
from provision.accel.protocol import SourceKind

DIRS = {"/usr/local/dcmi", "/usr/local/Ascend/driver/lib64"}
SBIN = "/usr/local/sbin/npu-smi"
BIN = "/usr/local/bin/npu-smi"


def node(**changes: SourceKind) -> dict[str, SourceKind]:
    """A node with everything but an npu-smi in sbin. Changes name the end of a path."""
    found: dict[str, SourceKind] = {path: "dir" if path in DIRS else "file" for path in mount_sources()}
    found[SBIN] = "missing"
    for path in found:
        for end, kind in changes.items():
            if path.replace("-", "_").replace(".", "_").endswith(end):
                found[path] = kind
    return found


def test_a_whole_a3() -> None:
    made = A3.recipe(range(16), node())
    assert made.problems == ()
    assert made.devices == (*(f"/dev/davinci{n}" for n in range(16)), *CONTROL_DEVICES)
    assert [mount.volume for mount in made.mounts] == [
        "/usr/local/dcmi:/usr/local/dcmi",
        "/usr/local/Ascend/driver/lib64:/usr/local/Ascend/driver/lib64",
        "/usr/local/Ascend/driver/version.info:/usr/local/Ascend/driver/version.info",
        "/etc/ascend_install.info:/etc/ascend_install.info",
        "/usr/local/bin/npu-smi:/usr/local/bin/npu-smi",
        "/usr/local/Ascend/driver/tools/hccn_tool:/usr/local/Ascend/driver/tools/hccn_tool",
        "/etc/hccn.conf:/etc/hccn.conf",
    ]
    assert not any(mount.optional for mount in made.mounts)


def test_npu_smi_is_mounted_from_where_it_is() -> None:
    sources = node() | {BIN: "missing", SBIN: "file"}
    made = recipe((0,), sources)
    assert made.problems == ()
    assert f"{SBIN}:{SBIN}" in [mount.volume for mount in made.mounts]
    assert BIN not in [mount.source for mount in made.mounts]


def test_what_is_optional_is_left_out_where_it_is_missing() -> None:
    made = recipe((0,), node(hccn_conf="missing", hccn_tool="missing"))
    assert made.problems == ()
    assert not any("hccn" in mount.source for mount in made.mounts)


@pytest.mark.parametrize(
    ("sources", "summary", "remedy"),
    [
        (node(dcmi="missing"), "/usr/local/dcmi is missing", "install the Ascend driver"),
        (node(dcmi="file"), "/usr/local/dcmi is a file, not a folder", "reinstall"),
        (
            node(version_info="dir"),
            "version.info is a folder, not a file",
            "rmdir /usr/local/Ascend/driver/version.info",
        ),
        (node() | {BIN: "missing"}, f"{BIN} is missing", "install the Ascend driver"),
        (node() | {BIN: "dir"}, f"{BIN} is a folder, not a file", f"rmdir {BIN}"),
        (node() | {BIN: "missing", SBIN: "dir"}, f"{SBIN} is a folder", f"rmdir {SBIN}"),
    ],
)
def test_problems_name_path_and_remedy(sources: dict[str, SourceKind], summary: str, remedy: str) -> None:
    (problem,) = recipe((0,), sources).problems
    assert summary in problem.summary
    assert remedy in problem.remedy


def test_a_node_with_nothing_has_a_problem_for_each_source() -> None:
    made = recipe((0,), {})
    assert len(made.problems) == 5
    assert made.mounts == ()


def test_unseen_nodes_decide_for_themselves() -> None:
    made = A2.recipe((0, 1))
    assert made.problems == ()
    assert [mount.source for mount in made.one_of[0]] == [BIN, SBIN]
    assert {mount.source for mount in made.mounts if mount.optional} == {
        "/usr/local/Ascend/driver/tools/hccn_tool",
        "/etc/hccn.conf",
    }


def test_half_a_module_is_a_problem_on_a3_only() -> None:
    problems = A3.recipe((0, 1, 5), node()).problems
    assert [problem.summary for problem in problems] == ["davinci5 without davinci4: half of an A3 module"]
    assert A2.recipe((0, 1, 5), node()).problems == ()


@pytest.mark.parametrize(
    ("devices", "size", "split"),
    [((0, 1), 2, ()), ((1, 2), 2, (1, 2)), ((3,), 2, (3,)), ((3,), 1, ()), ((), 2, ()), ((0, 1, 2), 4, (0, 1, 2))],
)
def test_split_modules(devices: tuple[int, ...], size: int, split: tuple[int, ...]) -> None:
    assert split_modules(devices, size) == split


def test_device_nodes_are_in_order() -> None:
    assert device_nodes((10, 2))[:2] == ("/dev/davinci2", "/dev/davinci10")
