"""What ``check`` or ``up`` asks a node, as one plain script a node: for the bare contenders, who ask the same.

``python -m tests.bench.probes INVENTORY FOLDER`` writes ``check-ADDRESS.sh`` and ``up-ADDRESS.sh``. A process of its
own, so that the benchmark itself stays small: a child's peak memory is never less than its parent's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from provision.checks import runner
from provision.facts.base import Fact
from provision.facts.docker import Image
from provision.facts.launch_folder import LaunchFolder
from provision.inventory.load import load
from provision.inventory.model import Settings
from provision.serve import launch
from provision.transport.base import same_probe


def main() -> None:
    inventory, folder = load(Path(sys.argv[1])), Path(sys.argv[2])
    for host in inventory.hosts:
        for name, facts in (("check", checked(host.settings)), ("up", brought_up(host.settings))):
            (folder / f"{name}-{host.connection.host}.sh").write_text(script(facts))


def checked(settings: Settings) -> list[Fact[object]]:
    """Facts of the checks."""
    return list(runner.required_facts(settings))


def brought_up(settings: Settings) -> list[Fact[object]]:
    """Facts of all modules of ``up``, each once."""
    return list(
        same_probe(
            [
                *checked(settings),
                *launch.facts(settings),
                *launch.compared(settings),
                Image(settings.install.image),
                LaunchFolder(launch.script_folder(settings)),
            ]
        )
    )


def script(facts: Iterable[Fact[object]]) -> str:
    """One after the other, with nothing around it: no deadlines, no marks, no statuses."""
    return "export LC_ALL=C\n" + "".join(f"(\n{fact.script()}\n)\n" for fact in facts) + "exit 0\n"


if __name__ == "__main__":
    main()
