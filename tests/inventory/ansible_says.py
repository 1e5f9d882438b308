"""Run as a program: what Ansible makes of inventories and host patterns, as JSON.

It has a process of its own, as Ansible keeps global state, warns a lot, and takes a second to import.
Reads ``{"inventories": [path], "patterns": [[path, pattern]]}`` from stdin.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import sys
from typing import Any

from ansible.cli.inventory import InventoryCLI
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

INTERNAL = {
    "ansible_facts",
    "ansible_playbook_python",
    "ansible_config_file",
    "ansible_version",
    "playbook_dir",
    "groups",
}


def listed(path: str) -> dict[str, Any]:
    """What ``ansible-inventory --list --export`` prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        InventoryCLI(["ansible-inventory", "-i", path, "--list", "--export"]).run()
    return dict(json.loads(printed.getvalue()))


def listed_in_own_process(paths: list[str]) -> dict[str, Any]:
    """One process each, forked from this one: a command line of Ansible's can run once in a process."""
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        return dict(zip(paths, pool.map(listed, paths, chunksize=1), strict=True))


def inventory(path: str) -> dict[str, Any]:
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[path])
    variables = VariableManager(loader=loader, inventory=manager)
    hosts: dict[str, Any] = {}
    for host in manager.get_hosts("all"):
        found = variables.get_vars(host=host, stage="all")
        every = HostVars(inventory=manager, variable_manager=variables, loader=loader)
        templar = Templar(loader=loader, variables={**found, "hostvars": every})
        names = found.keys() - INTERNAL - {"hostvars", "omit"}
        hosts[host.name] = {name: plain(templar.template(found[name])) for name in names}
    return {
        "order": [host.name for host in manager.get_hosts("all")],
        "groups": {name: [host.name for host in group.get_hosts()] for name, group in manager.groups.items()},
        "hosts": hosts,
    }


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def selected(path: str, pattern: str, managers: dict[str, InventoryManager]) -> list[str] | None:
    if path not in managers:
        managers[path] = InventoryManager(loader=DataLoader(), sources=[path])
    manager = managers[path]
    try:
        manager.subset(pattern)
        return [host.name for host in manager.get_hosts("all")]
    except Exception:
        return None


def main() -> None:
    asked = json.load(sys.stdin)
    lists = listed_in_own_process(asked["inventories"])
    managers: dict[str, InventoryManager] = {}
    answer = {
        "inventories": {path: inventory(path) | {"list": lists[path]} for path in asked["inventories"]},
        "patterns": [selected(path, pattern, managers) for path, pattern in asked["patterns"]],
    }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
