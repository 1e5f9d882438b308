"""Paths in shell text: what is the node's is mapped, once; what is the machine's, or no path, is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.rehearsal.rewrite import LineMapper, Unmapper, map_path, rewrite, unmap

ROOT = "/tmp/c/nodes/node1/root"

MAPPED = [
    ("cat /etc/hccn.conf", "cat @/etc/hccn.conf"),
    ("echo x >/var/lib/qnext/x", "echo x >@/var/lib/qnext/x"),
    ('d="/data/weights"', 'd="@/data/weights"'),
    ("d='/data'; ls $d", "d='@/data'; ls $d"),
    ("sh -c '\\''cat /tmp/x'\\''", "sh -c '\\''cat @/tmp/x'\\''"),
    ("docker run -v /data:/data:ro", "docker run -v @/data:@/data:ro"),
    ("ls /dev/davinci[0-9]* /dev/davinci$i", "ls @/dev/davinci[0-9]* @/dev/davinci$i"),
    ("PATH=${PATH:-/bin}:/usr/local/sbin:/sbin", "PATH=${PATH:-@/bin}:@/usr/local/sbin:@/sbin"),
    ("/bin/sh /usr/bin/env", "@/bin/sh @/usr/bin/env"),
    ('cat "/proc/$pid/cgroup" /proc/meminfo', 'cat "@/proc/$pid/cgroup" @/proc/meminfo'),
    ("grep -l vllm /proc/[0-9]*/cmdline", "grep -l vllm @/proc/[0-9]*/cmdline"),
    ("echo ${d#/proc/}", "echo ${d#*/proc/}"),
]
LEFT = [
    "#!/bin/sh",
    'cat "$root"/data/x ${folder}/etc/x $home/var',
    "curl http://host/data/x",
    "cmd >/dev/null 2>&1 </dev/zero",
    "awk '/data/ {print $2}'",
    "sed -n '/etc/p'",
    "cat /proc/$$/stat /proc/self/environ /proc/uptime",
    "ls /usr/lib /usr/share/zoneinfo /lib",
    "/database /variable /home2",
    "a/data b/etc/c",
]


@pytest.mark.parametrize(("text", "expected"), MAPPED)
def test_paths_of_the_node_are_mapped(text: str, expected: str) -> None:
    assert rewrite(text, ROOT) == expected.replace("@", ROOT)


@pytest.mark.parametrize("text", LEFT)
def test_what_is_no_path_of_the_node_is_left_alone(text: str) -> None:
    assert rewrite(text, ROOT) == text


@pytest.mark.parametrize(("text", "expected"), MAPPED)
def test_mapping_twice_is_mapping_once(text: str, expected: str) -> None:
    once = rewrite(text, ROOT)
    assert rewrite(once, ROOT) == once


@pytest.mark.parametrize("text", [text for text, _ in MAPPED if "proc/}" not in text])
def test_what_is_printed_is_what_was_written(text: str) -> None:
    assert unmap(rewrite(text, ROOT), ROOT) == text


def test_arguments() -> None:
    assert map_path("/etc/x", ROOT) == f"{ROOT}/etc/x"
    assert map_path("/", ROOT) == f"{ROOT}/"
    assert map_path("relative/etc", ROOT) == "relative/etc"
    assert map_path(f"{ROOT}/etc/x", ROOT) == f"{ROOT}/etc/x"


@given(st.lists(st.sampled_from([ROOT, "/", "x", "/tmp", ROOT[:-1], "\n"]), max_size=8), st.integers(1, 9))
def test_output_is_stripped_whatever_the_pieces(words: list[str], size: int) -> None:
    text = "".join(words).encode()
    unmapper = Unmapper(ROOT)
    pieces = [text[i : i + size] for i in range(0, len(text), size)]
    found = b"".join(unmapper.feed(piece) for piece in pieces) + unmapper.finish()
    assert found == unmap(text.decode(), ROOT).encode()


def test_words_of_a_full_disk() -> None:
    unmapper = Unmapper(ROOT, disk_full=True)
    assert unmapper.feed(b"cat: write error: File too large\n") == b"cat: write error: No space left on device\n"


def test_scripts_are_mapped_by_lines_and_content_is_not() -> None:
    mapper = LineMapper(ROOT)
    encoded = "/tmp/" + "A" * 71
    assert mapper.feed(b"cat /et") == b""
    assert mapper.feed(f"c/x\n{encoded}\n".encode()) == f"cat {ROOT}/etc/x\n{encoded}\n".encode()
    assert mapper.feed(b"ls /var") == b""
    assert mapper.finish() == f"ls {ROOT}/var".encode()
