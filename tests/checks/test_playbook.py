"""playbooks/check.yaml lists every check with its level and thresholds, so that operators see and change them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provision import registry, yamlio
from provision.checks.policy import policy

from . import world

PLAYBOOK = Path(__file__).parents[2] / "playbooks" / "check.yaml"


def judged() -> dict[str, dict[str, Any]]:
    plays = yamlio.load(PLAYBOOK).data["plays"]
    judge: dict[str, dict[str, Any]] = plays[-1]["tasks"][0]["check"]["judge"]
    return judge


def test_what_is_mended_is_judged_as_what_is_checked() -> None:
    fix = yamlio.load(PLAYBOOK).data["plays"][0]["tasks"][0]["fix"]
    assert fix["judge"] == judged()


def test_it_lists_every_check_as_it_is() -> None:
    listed = judged()
    specs = [spec for spec in registry.checks() if spec.scope != "static"]
    assert list(listed) == [
        spec.name for scope in ("node", "cluster", "trial", "launched") for spec in specs if spec.scope == scope
    ]
    made = policy(world.settings(), listed)
    for spec in specs:
        assert listed[spec.name]["level"] == spec.level, spec.name
        assert set(listed[spec.name]) == {"level", *spec.Args.model_fields}, spec.name
        assert made.args(spec) == spec.Args(), spec.name
