"""Resource limits of a shell, of dockerd and of containers."""

from __future__ import annotations

import resource
from typing import Any

from provision.facts.limits import UNLIMITED, Limit, Limits, Rlimits, parse_limits
from provision.results import Result

SHELL = """\
Limit                     Soft Limit           Hard Limit           Units     
Max cpu time              unlimited            unlimited            seconds   
Max stack size            8388608              unlimited            bytes     
Max core file size        0                    unlimited            bytes     
Max processes             8252416              8252416              processes 
Max open files            1024                 524288               files     
Max locked memory         65536                65536                bytes     
Max nice priority         0                    0                    
"""  # noqa: W291 - the kernel pads its lines with blanks
DAEMON = SHELL.replace("1024                 524288 ", "1048576              1048576")
JSON = """{
  "data-root": "/data/docker",
  "default-ulimits": {"memlock": {"Name": "memlock", "Hard": -1, "Soft": -1}, "odd": 3}
}
"""


def test_this_shell(look: Any) -> None:
    value = look(Limits())
    for name, number in (("nofile", resource.RLIMIT_NOFILE), ("memlock", resource.RLIMIT_MEMLOCK)):
        soft, hard = (UNLIMITED if n == resource.RLIM_INFINITY else n for n in resource.getrlimit(number))
        assert getattr(value.shell, name) == Limit(soft, hard)
    assert value.problems == ()


def test_a_process() -> None:
    assert parse_limits(SHELL) == Rlimits(
        nofile=Limit(1024, 524288),
        memlock=Limit(65536, 65536),
        nproc=Limit(8252416, 8252416),
        stack=Limit(8388608, UNLIMITED),
        core=Limit(0, UNLIMITED),
    )
    assert parse_limits("Max open files   some   thing files\n") == Rlimits()


def test_containers_get_what_docker_sets_else_what_their_parent_has() -> None:
    alone = Limits().parse(Result("limits", 0, f"@@ shell\n{SHELL}@@ dockerd\n{DAEMON}"))
    assert (alone.container("nofile"), alone.containerd) == (Limit(1048576, 1048576), None)
    both = Limits().parse(
        Result("limits", 0, f"@@ shell\n{SHELL}@@ dockerd\n{DAEMON}@@ containerd\n{SHELL}@@ daemon.json\n{JSON}")
    )
    assert both.container("nofile") == Limit(1024, 524288)
    assert both.container("memlock") == Limit(UNLIMITED, UNLIMITED)
    assert both.default_ulimits["odd"] == Limit()


def test_without_docker_containers_limits_are_unknown() -> None:
    value = Limits().parse(Result("limits", 0, f"@@ shell\n{SHELL}"))
    assert value.container("nofile") == Limit()
    assert value.container("nofile").allows(65535) is None


def test_what_a_limit_allows() -> None:
    assert [Limit(n).allows(65535) for n in (1024, 65535, UNLIMITED, None)] == [False, True, True, None]
    assert [Limit(n).allows(UNLIMITED) for n in (2**40, UNLIMITED)] == [False, True]


def test_unreadable_limits_are_a_problem() -> None:
    text = "@@ shell\ncat: /proc/self/limits: Permission denied\n@@ daemon.json\n{not json\n"
    value = Limits().parse(Result("limits", 0, text))
    assert (value.shell, value.default_ulimits, value.problems) == (None, {}, ("/proc/self/limits could not be read",))
