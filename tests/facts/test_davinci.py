"""Device nodes: what is a device, what only has its name."""

from __future__ import annotations

from typing import Any

from provision.facts.davinci import Davinci
from provision.results import Result

A2_FROM_1 = """\
device /dev/davinci10
device /dev/davinci2
device /dev/davinci1
device /dev/davinci_manager
device /dev/devmm_svm
other /dev/davinci3
device /dev/ummu
"""


def test_numbers_are_sorted_and_start_anywhere() -> None:
    value = Davinci().parse(Result("davinci", 0, A2_FROM_1))
    assert value.devices == (1, 2, 10)
    assert value.not_devices == ("/dev/davinci3",)
    assert value.other == ("/dev/ummu",)
    assert value.missing == ("/dev/hisi_hdc",)


def test_this_machine(look: Any) -> None:
    assert look(Davinci()).problems == ()
