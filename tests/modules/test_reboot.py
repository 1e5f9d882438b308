"""Booting a node again: never the machine itself, bounded, and proven by another boot id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.errors import ConnectFailed, HostKeyChanged, RemoteError, UsageError
from provision.facts.system import BootValue
from provision.modules import reboot
from tests.modules.world import Driven, Node, cluster, drive


class Booting(Node):
    """Looks that fail first, then the boot ids that are seen."""

    looks: list[Any]

    def observe(self, facts: Any) -> None:
        look = self.looks.pop(0) if len(self.looks) > 1 else self.looks[0]
        if isinstance(look, Exception):
            raise look
        self.facts["boot"] = BootValue(look, 10.0)


def booting(*looks: object, boot_id: str = "old") -> Booting:
    plain = cluster().nodes[0]
    node = Booting(plain.index, plain.settings, {**plain.facts, "boot": BootValue(boot_id, 99.0)}, plain.server)
    node.looks = list(looks)
    return node


def boot(node: Node, **args: Any) -> Driven:
    return drive(reboot.run(reboot.Args(**args), node))


def test_it_is_back_when_the_boot_id_is_another(slept: list[float]) -> None:
    gone = ConnectFailed("refused")

    driven = boot(booting("old", gone, gone, "new"), reason="a driver")

    assert driven.labels == ["boot again: a driver"]
    assert driven.outcome.data == {"seconds": 9}


def test_the_script_answers_before_the_machine_goes(tmp_path: Path, slept: list[float]) -> None:
    (action,) = boot(booting("new")).actions

    assert "setsid sh -c" in action.script
    assert action.affects is None, "nothing that was known of the node holds"


@pytest.mark.parametrize(
    ("looks", "says"), [(["old"], "did not go down within 60 s"), ([ConnectFailed("no route")], "not back 60 s")]
)
def test_what_does_not_come_back_is_told(looks: list[Any], says: str, slept: list[float]) -> None:
    with pytest.raises(RemoteError, match=says) as failed:
        boot(booting(*looks), timeout=60)
    assert failed.value.hint


def test_another_host_key_is_not_waited_out(slept: list[float]) -> None:
    with pytest.raises(HostKeyChanged):
        boot(booting(HostKeyChanged("another key"), "new"))


def test_the_controller_itself_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "boot_id"
    own.write_text("mine\n")
    monkeypatch.setattr(reboot, "OWN_BOOT", own)

    with pytest.raises(UsageError, match="is the machine that this runs on"):
        boot(booting("new", boot_id="mine"))
    with pytest.raises(RemoteError, match="cannot be told which boot"):
        boot(booting("new", boot_id=""))
