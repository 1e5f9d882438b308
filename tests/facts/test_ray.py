"""``ray status`` in the head's container, and what its report says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from provision.accel.ascend.ray import RayResource, parse_ray_status
from provision.facts.ray import RayCluster
from tests.facts.conftest import Look

REPORT = """\
======== Autoscaler status: 2026-11-24 12:21:33.123456 ========
Node status
---------------------------------------------------------------
Active:
 1 node_6b1c0f7a
 1 node_a90d3e11
Pending:
 (no pending nodes)
Recent failures:
 10.0.0.3: NodeTerminated (ip: 10.0.0.3)

Resources
---------------------------------------------------------------
Total Usage:
 0.0/384.0 CPU
 8.0/16.0 NPU (8.0 used of 8.0 reserved in placement groups)
 0B/1.37TiB memory
 0B/372.53GiB object_store_memory

Total Constraints:
 (no request_resources() constraints)
Total Demands:
 (no resource demands)
"""
SECOND_AUTOSCALER = REPORT.replace(
    "Active:\n 1 node_6b1c0f7a\n 1 node_a90d3e11\n",
    "Active:\n (no active nodes)\nIdle:\n 1 headgroup\n 3 workers\nPending:\n 1 workers\n",
)


def test_nodes_resources_and_failures() -> None:
    status = parse_ray_status(REPORT)
    assert status.nodes == 2
    assert status.resources == (RayResource("CPU", 0, 384), RayResource("NPU", 8, 16))
    assert (status.total("NPU"), status.total("GPU")) == (16, 0)
    assert status.failures == ("10.0.0.3: NodeTerminated (ip: 10.0.0.3)",)
    assert status.problems == ()


def test_idle_nodes_live_and_pending_ones_do_not() -> None:
    assert parse_ray_status(SECOND_AUTOSCALER).nodes == 4


def test_a_refusal_is_a_problem() -> None:
    text = "Traceback …\nConnectionError: Could not find any running Ray instance."
    assert parse_ray_status(text).problems == ("ConnectionError: Could not find any running Ray instance.",)
    assert parse_ray_status("").problems == ("ray status says nothing",)


@given(st.text())
def test_no_text_is_too_strange(text: str) -> None:
    parse_ray_status(text)
    parse_ray_status(REPORT[:200] + text + REPORT[200:])


def test_the_heads_container_is_asked(look: Look, tool: Callable[[str, str], Any]) -> None:
    tool("docker", f"""case $1 in
ps) echo "$*" | grep -q 'qnext.cluster=c --filter label=qnext.process=head' && echo 0123456789ab ;;
exec) shift; test "$*" = '0123456789ab ray status' && cat <<'END'
{REPORT}END
;;
esac
""")  # fmt: skip
    status = look(RayCluster("c")).status
    assert status is not None
    assert (status.nodes, status.total("NPU")) == (2, 16)
    assert look(RayCluster("other")).status is None


def test_what_ray_says_instead_is_kept(look: Look, tool: Callable[[str, str], Any]) -> None:
    tool("docker", "case $1 in ps) echo 0123 ;; exec) echo 'exec: ray: not found' >&2; exit 127 ;; esac\n")
    status = look(RayCluster("c")).status
    assert status is not None
    assert status.problems == ("exec: ray: not found",)
