"""Our reading of an inventory is Ansible's: hosts, their order, groups, variables, templates, host patterns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from provision.errors import UsageError
from provision.inventory.ansible_vars import SECRET_VARIABLES
from provision.inventory.load import load
from provision.inventory.model import Inventory
from provision.inventory.scope import unlazy
from provision.inventory.select import select
from provision.inventory.structure import Structure, read

from .conftest import CASES, EXAMPLES, LOOKED_UP, ask_ansible

FILES = {**CASES, **EXAMPLES}
GROUPS = CASES["groups"]
RANGES = CASES["ranges"]

PATTERNS = (
    "all",
    "*",
    "n1",
    "n1,n3",
    "n3,n1",
    "n1:n3",
    " n1 , n3 ",
    "alpha",
    "web",
    "ungrouped",
    "n*",
    "*1",
    "n?",
    "a*",
    "al?ha",
    "al*:zeta",
    "~n[1-3]",
    "~(alpha|zeta)",
    "~.*2$",
    "~^w",
    "alpha:&zeta",
    "alpha,&zeta",
    "&zeta,alpha",
    "all:!alpha",
    "!alpha",
    "&alpha",
    "!n1,!n2",
    "alpha:zeta:&beta",
    "alpha:zeta:!beta:!n5",
    "all[0]",
    "all[-1]",
    "all[-2]",
    "all[1:3]",
    "all[2:]",
    "all[0:0]",
    "all[3-4]",
    "zeta[1]",
    "zeta[0:1],alpha[0]",
    "n*[0]",
    "!zeta[0]",
    "alpha:&zeta[0]",
    "all:!~n.",
)
"""Patterns whose parts all match something: what Ansible selects, we select."""

RANGE_PATTERNS = ("node01:node03", "rack[a:b]", "192.0.2.8", "192.*", "2001:db8::1", "host.example.com")

REFUSED = (
    "n[12]",
    "n9",
    "alpha,n9",
    "all:!n9",
    "all:&n9",
    "empty",
    "alpha:!alpha",
    "n1:&n2",
    "all[99]",
    "zeta[7:9]",
    "~(",
    "",
    ",",
    "x*",
    "@/no/such/file",
)
"""No host, or a part that names none: Ansible warns about the latter, we refuse it."""


@pytest.fixture(scope="module")
def ansible(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    asked = [(GROUPS, pattern) for pattern in PATTERNS] + [(RANGES, pattern) for pattern in RANGE_PATTERNS]
    return ask_ansible(list(FILES.values()), asked, tmp_path_factory.mktemp("ansible"))


@pytest.fixture(params=FILES)
def path(request: pytest.FixtureRequest) -> Path:
    return FILES[request.param]


@pytest.fixture
def says(path: Path, ansible: dict[str, Any]) -> dict[str, Any]:
    return dict(ansible["inventories"][str(path)])


@pytest.fixture
def inventory(path: Path) -> Inventory:
    return load(path, env=LOOKED_UP)


def test_hosts_and_their_order(inventory: Inventory, says: dict[str, Any]) -> None:
    assert [host.name for host in inventory.hosts] == says["order"]
    assert [host.index for host in inventory.hosts] == list(range(len(inventory.hosts)))


def test_groups_and_their_hosts(inventory: Inventory, says: dict[str, Any]) -> None:
    assert {name: list(hosts) for name, hosts in inventory.groups.items()} == says["groups"]


def test_groups_of_hosts(inventory: Inventory, says: dict[str, Any]) -> None:
    for host in inventory.hosts:
        assert sorted(set(host.groups) - {"all"}) == says["hosts"][host.name]["group_names"]


def test_variables_of_hosts(inventory: Inventory, says: dict[str, Any]) -> None:
    for host in inventory.hosts:
        expected = {name: value for name, value in says["hosts"][host.name].items() if name != "qnext"}
        found = {name: unlazy(value) for name, value in host.variables.items() if name != "groups"}
        assert found == {name: value for name, value in expected.items() if name not in SECRET_VARIABLES}


def test_the_last_level_of_qnext_is_part_of_ours(inventory: Inventory, says: dict[str, Any]) -> None:
    for host in inventory.hosts:
        assert_within(says["hosts"][host.name]["qnext"], host.settings.model_dump(mode="json"))


def assert_within(part: Any, whole: Any) -> None:
    if isinstance(part, dict):
        for key, value in part.items():
            assert_within(value, whole[key])
    else:
        assert part == whole


def test_as_ansible_inventory_lists_it(path: Path, says: dict[str, Any]) -> None:
    structure = read(path)
    listed = says["list"]
    for name, group in structure.groups.items():
        expected = listed.get(name, {})
        if name != "all":
            assert list(group.hosts) == expected.get("hosts", [])
        assert group.children == expected.get("children", ["ungrouped"] if name == "all" else [])
        assert variables(group) == expected.get("vars", {})
    hosts = {name: without_magic(found) for name, found in listed["_meta"]["hostvars"].items()}
    assert {name: found for name in structure.hosts if (found := variables(structure.hosts[name]))} == {
        name: found for name, found in hosts.items() if found
    }


def variables(entity: Any) -> dict[str, Any]:
    found = {name: node.data for name, node in {**entity.vars, **entity.files}.items()}
    if getattr(entity, "priority", 1) != 1:
        found["ansible_group_priority"] = entity.priority
    return found


def without_magic(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if not name.startswith("inventory_")}


def test_what_depth_means() -> None:
    structure: Structure = read(GROUPS)
    assert {name: group.depth for name, group in structure.groups.items()} == {
        "all": 0,
        "ungrouped": 1,
        "web": 2,
        "zeta": 1,
        "alpha": 1,
        "inner": 2,
        "beta": 1,
        "empty": 1,
        "words": 3,
        "deeper": 4,
    }


@pytest.mark.parametrize("index", range(len(PATTERNS)), ids=PATTERNS)
def test_patterns(index: int, ansible: dict[str, Any]) -> None:
    found = select(load(GROUPS), PATTERNS[index])
    assert [host.name for host in found] == ansible["patterns"][index]


@pytest.mark.parametrize("index", range(len(RANGE_PATTERNS)), ids=RANGE_PATTERNS)
def test_patterns_that_look_like_addresses(index: int, ansible: dict[str, Any]) -> None:
    expected = ansible["patterns"][len(PATTERNS) + index]
    try:
        found = [host.name for host in select(load(RANGES), RANGE_PATTERNS[index])]
    except UsageError:
        found = []
    assert found == expected


@pytest.mark.parametrize("pattern", REFUSED)
def test_patterns_that_name_nobody_are_refused(pattern: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(load(GROUPS), pattern)
    assert caught.value.hint or caught.value.message


def test_a_misspelt_host_is_corrected() -> None:
    with pytest.raises(UsageError, match="'alhpa' is no host or group") as caught:
        select(load(GROUPS), "alhpa")
    assert caught.value.hint == "did you mean 'alpha'?"


def test_patterns_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("n1\n\n  n3\n!alpha\n")
    assert [host.name for host in select(load(GROUPS), f"@{file},n4,n5")] == ["n5"]
