"""What comes onto a file system, added up, against what is free there."""

from __future__ import annotations

import pytest

from provision.facts.disk import DiskValue, Folder
from provision.facts.docker import DockerValue
from provision.install import needs
from provision.install.needs import GB, Need
from tests.checks.world import settings

ASCEND, CPU = settings("atlas-800-a3"), settings("cpu")


def folder(path: str, mount: str, free: int | None) -> Folder:
    return Folder(path, exists=True, mount=mount, free=free)


@pytest.mark.parametrize(("free", "short"), [(100 * GB, 0), (100 * GB - 1, 1)])
def test_what_lies_on_one_file_system_is_added_up_and_a_spare_is_advised(free: int, short: int) -> None:
    folders = {p: folder(p, "/", free) for p in ("/var/lib/docker", "/var/lib/qnext")}
    folders["/data"] = folder("/data", "/data", 10 * GB)
    coming = [
        Need("image", "/var/lib/docker", 60 * GB, 60 * GB),
        Need("archive", "/var/lib/qnext/bundle/x", 40 * GB, 40 * GB),
        Need("weights", "/data/weights/model", 5 * GB, 5 * GB),
    ]
    root, data = needs.rows("node1", coming, folders)
    assert (root.mount, root.least, root.short) == ("/", 100 * GB, short)
    assert (root.likely, root.tight) == (110 * GB, 10 * GB + short)
    assert (data.mount, data.short) == ("/data", 0)


@pytest.mark.parametrize(
    ("need", "least", "likely"),
    [
        (needs.pulled_image(ASCEND, "/d", None, ""), 5 * GB, 60 * GB),
        (needs.pulled_image(CPU, "/d", None, ""), 5 * GB, 5 * GB),
        (needs.pulled_image(ASCEND, "/d", 20 * GB, "as on node1"), 20 * GB, 30 * GB),
        (needs.loaded_image(ASCEND, "/d", 20 * GB, "as on node1"), 40 * GB, 40 * GB),
        (needs.loaded_image(ASCEND, "/d", None, ""), 5 * GB, 60 * GB),
    ],
)
def test_an_image(need: Need, least: int, likely: int) -> None:
    assert (need.least, need.likely) == (least, likely)


def test_weights_are_only_what_a_node_lacks() -> None:
    need = needs.weights("/data", 100, 30, "by the manifest")
    assert need
    assert (need.least, need.likely) == (70, 70)
    assert needs.weights("/data", 100, 100, "") is None
    unknown = needs.weights("/data", None, 30, "")
    assert unknown
    assert unknown.least == 0
    assert "not known" in unknown.how


def test_only_the_builder_builds() -> None:
    build = [need.what for need in needs.built(ASCEND, builder=True)]
    assert build == ["virtual environment", "wheels", "build"]
    assert [need.what for need in needs.built(ASCEND, builder=False)] == build[:2]
    assert [need.what for need in needs.built(ASCEND, builder=False, wheels=False)] == build[:1]


def test_what_is_not_known_stops_nobody() -> None:
    (row,) = needs.rows("node1", [Need("image", "/x", 60 * GB, 60 * GB)], {})
    assert (row.free, row.short, row.tight, row.mount) == (None, 0, 0, "/x")
    assert "not known" in needs.table([row])


@pytest.mark.parametrize(("free", "mount"), [(50 * GB + 1000, "/"), (90 * GB, "/elsewhere/docker")])
def test_dockers_own_folder_is_told_apart_by_its_room(free: int, mount: str) -> None:
    disk = DiskValue((folder("/var/lib/docker", "/", 50 * GB),))
    found = needs.places(disk, DockerValue(root_dir="/elsewhere/docker", root_free=free))
    assert found["/elsewhere/docker"].mount == mount


def test_two_disks_with_the_same_room_are_two_where_docker_s_mount_is_known() -> None:
    disk = DiskValue((folder("/data", "/data", 50 * GB),))
    docker = DockerValue(root_dir="/ssd/docker", root_free=50 * GB, root_mount="/ssd")
    assert needs.places(disk, docker)["/ssd/docker"].mount == "/ssd"


def test_a_byte_is_not_told_as_none() -> None:
    assert [needs.size(count) for count in (0, 1, 1024**2)] == ["0 MB", "1 byte", "1 MB"]


def test_the_table_has_a_line_for_each_file_system() -> None:
    row = needs.Row("node1", "/data", 1 * GB, (Need("weights", "/data", 10 * GB, 10 * GB, "as here"),))
    head, line = needs.table([row]).splitlines()
    assert head.split() == ["node", "file", "system", "needed", "free", "short", "by", "for"]
    assert line.split()[:8] == ["node1", "/data", "10.0", "GB", "1.0", "GB", "9.0", "GB"]
    assert line.endswith("weights 10.0 GB (as here)")
