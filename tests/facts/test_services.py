"""Services by control group, by systemctl, and by the names of processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.facts.services import Services
from provision.results import Result


@pytest.mark.parametrize(
    ("text", "running", "manager"),
    [
        ("@@ cgroup\nirqbalance 912\nchronyd \n", {"irqbalance": 912, "chronyd": None}, "cgroup"),
        ("@@ systemctl\nfirewalld\nno-such\n", {"firewalld": None}, "systemctl"),
        (
            "@@ processes\n/proc/812/comm:chronyd\n/proc/813/comm:systemd-timesyn\n/proc/x/comm:ntpd\n",
            {"chronyd": 812, "chrony": 812, "systemd-timesyncd": 813},
            "processes",
        ),
        ("@@ cgroup\n", {}, "cgroup"),
    ],
)
def test_who_runs(text: str, running: dict[str, int | None], manager: str) -> None:
    value = Services().parse(Result("services", 0, text))
    assert (dict(value.running), value.manager, value.problems) == (running, manager, ())
    assert value.runs("irqbalance") is ("irqbalance" in running)
    assert value.runs("chrony", "chronyd") is ("chronyd" in running)


def test_what_could_not_be_looked_at_is_unknown() -> None:
    value = Services().parse(Result("services", 127, "sh: garbage\n"))
    assert value.runs("irqbalance") is None
    assert value.problems


def test_this_machine_answers(look: Any) -> None:
    value = look(Services())
    assert value.runs("no-such-service-anywhere") is False
    assert value.problems == ()


def no_systemd() -> bool:
    return not Path("/run/systemd/system").is_dir()


@pytest.mark.skipif(not no_systemd(), reason="systemd runs here, so control groups are looked at")
def test_systemctl_is_asked_where_groups_lie_elsewhere(look: Any, tool: Any) -> None:
    tool("systemctl", "shift; for u; do [ $u = irqbalance ] && echo active || echo inactive; done; exit 3")
    value = look(Services(("tuned", "irqbalance", "kubelet")))
    assert (dict(value.running), value.manager) == ({"irqbalance": None}, "systemctl")


@pytest.mark.skipif(not no_systemd(), reason="systemd runs here, so control groups are looked at")
def test_processes_are_looked_through_without_systemd(look: Any, tool: Any) -> None:
    tool("systemctl", "echo 'System has not been booted with systemd as init system' >&2; exit 1")
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'irqbalance', 0, 0, 0); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        value = look(Services(("irqbalance",)))
        process.communicate(b"\n")
    assert (value.running, value.manager) == ({"irqbalance": process.pid}, "processes")
