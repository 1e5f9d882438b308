"""``load``: the whole way from files to a validated inventory, and every error on it at its place."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import process_time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from provision import secrets
from provision.errors import ConfigError
from provision.inventory import ansible_vars
from provision.inventory.load import digest, load
from provision.inventory.model import Inventory, Serve, Settings
from provision.secrets import MASK

from .conftest import EXAMPLES, QNEXT

Loaded = Callable[..., Inventory]
Write = Callable[..., Path]

BASE = """\
all:
  vars:
    qnext:
      cluster: prod
      hardware: atlas-800-a3
      install: {image: "quay.io/ascend/vllm-ascend:v0.18.0-a3"}
      model: {path: /data/m}
      serve: {topology: data-parallel, tensor_parallel_size: 4, env: {A: 1}}
"""


def errors(call: Callable[[], object]) -> list[ConfigError]:
    with pytest.raises(ConfigError) as caught:
        call()
    return [caught.value, *caught.value.others]


def said(found: list[ConfigError]) -> list[str]:
    """Errors as ``file:line:column: message``, the folder left out."""
    return [str(error).rpartition("/")[2] if error.where else str(error) for error in found]


def test_qnext_is_merged_over_all_levels(loaded: Loaded) -> None:
    inventory = loaded(
        BASE
        + "  children:\n    g:\n      vars: {qnext: {serve: {port: 9000, env: {B: x}}}}\n"
        + "      hosts:\n        n1: {qnext: {data_address: 192.0.2.1}}\n        n2:\n",
        **{
            "group_vars/g.yml": "qnext: {serve: {env: {C: true}}}\n",
            "host_vars/n2.yml": "qnext: {devices: [0, 1], serve: {tensor_parallel_size: 4}}\n",
        },
    )
    first, second = inventory.hosts
    assert first.settings.serve == second.settings.serve
    assert first.settings.serve.port == 9000
    assert first.settings.serve.env == {"A": 1, "B": "x", "C": True}
    assert (first.settings.data_address, second.settings.devices) == ("192.0.2.1", (0, 1))
    assert inventory.settings is first.settings


def test_templates_in_qnext_are_evaluated_for_each_host(loaded: Loaded) -> None:
    inventory = loaded(
        BASE
        + '      data_address: "10.0.0.{{ number }}"\n      devices: "{{ dies }}"\n    dies: [0, 1]\n'
        + "  hosts: {n1: {number: 1}, n2: {number: 2}}\n"
    )
    assert [host.settings.data_address for host in inventory.hosts] == ["10.0.0.1", "10.0.0.2"]
    assert inventory.hosts[1].settings.devices == (0, 1)


def test_equal_settings_are_shared(loaded: Loaded) -> None:
    inventory = loaded(BASE + "  hosts:\n    n[1:3]:\n    m: {qnext: {devices: [0]}}\n")
    settings = [id(host.settings) for host in inventory.hosts]
    assert settings[0] == settings[1] == settings[2] != settings[3]


def test_null_leaves_a_host_out(loaded: Loaded) -> None:
    inventory = loaded(BASE + "  hosts:\n    gate: {qnext: null}\n    n1:\n")
    assert [(host.name, host.index) for host in inventory.hosts] == [("n1", 0)]
    assert inventory.groups["all"] == ("n1",)


def test_a_host_may_take_back_a_threshold_that_its_group_set(loaded: Loaded) -> None:
    inventory = loaded(
        BASE
        + "      checks: {network_speed: {least: 100}}\n"
        + "  hosts: {n1: {qnext: {checks: {network_speed: {least: null}}}}, n2: }\n"
    )
    assert [host.settings.checks for host in inventory.hosts] == [
        {"network_speed": {"least": None}},
        {"network_speed": {"least": 100}},
    ]


COMPATIBILITY = """\
      compatibility:
       releases:
        v0.18.0: {min_hdc: 25.2.0}
        18: {cann: 8}
       cann: {8.5.1: {min_hdk: new}}
       features:
        kv-pol: {needs: []}
        kv-pool: {needs: [{hdkk: "1"}]}
"""

WRONG: dict[str, tuple[str, list[str]]] = {
    "a list where hosts belong": (
        BASE + "  hosts:\n    - n1\n",
        ["cluster.yaml:9:3: 'hosts' of group 'all' must be a mapping, not a list"],
    ),
    "no hosts": (BASE, ["cluster.yaml:1:1: this inventory has no hosts"]),
    "all hosts left out": (
        BASE + "  hosts: {n1: {qnext: null}}\n",
        ["cluster.yaml:1:1: this inventory has no hosts"],
    ),
    "no qnext": (
        "all:\n  hosts:\n    n[1:3]:\n",
        ["cluster.yaml:3:5: host 'n1' and 2 more: no 'qnext' variable"],
    ),
    "qnext is no mapping": (
        "all:\n  vars: {qnext: prod}\n  hosts: {n1: }\n",
        ["cluster.yaml:2:17: qnext must be a mapping"],
    ),
    "missing keys": (
        "all:\n  vars:\n    qnext:\n      install: {}\n  hosts: {n1: }\n",
        [
            "cluster.yaml:4:7: qnext.cluster is missing",
            "cluster.yaml:4:7: qnext.hardware is missing",
            "cluster.yaml:4:7: qnext.model is missing",
            "cluster.yaml:4:16: qnext.install: image must be given, as repository:tag or repository@sha256:…",
        ],
    ),
    "unknown key": (
        BASE.replace("hardware", "hardwear") + "  hosts: {n1: }\n",
        ["cluster.yaml:4:7: qnext.hardware is missing", "cluster.yaml:5:7: qnext.hardwear: unknown key"],
    ),
    "wrong type": (
        BASE.replace("A: 1", "A: 1}, port: '8000', expert_parallel: no, max_model_len: 1.5, engine_args: {")
        + "  hosts: {n1: }\n",
        [
            "cluster.yaml:8:84: qnext.serve.port: expected a whole number, not the text '8000'",
            "cluster.yaml:8:109: qnext.serve.expert_parallel: expected true or false, not the text 'no'",
            "cluster.yaml:8:128: qnext.serve.max_model_len: expected a whole number, not the number 1.5",
        ],
    ),
    "compatibility": (
        BASE.replace("      cluster", COMPATIBILITY + "      cluster", 1) + "  hosts: {n1: }\n",
        [
            "cluster.yaml:6:19: qnext.compatibility.releases.v0.18.0.min_hdc: unknown key",
            "cluster.yaml:7:9: qnext.compatibility.releases[18]: expected a release of vllm-ascend, such as v0.18.0, "
            "not the number 18",
            "cluster.yaml:7:20: qnext.compatibility.releases[18].cann: expected a text, not the number 8",
            "cluster.yaml:8:32: qnext.compatibility.cann.8.5.1.min_hdk: expected a version such as 25.5.1 or 8.3.RC2, "
            "not the text 'new'",
            "cluster.yaml:10:9: qnext.compatibility.features.kv-pol: expected full-and-piecewise, kv-pool or "
            "fabric-memory, not the text 'kv-pol'",
            "cluster.yaml:11:28: qnext.compatibility.features.kv-pool.needs[0].hdkk: unknown key",
        ],
    ),
    "top level": (
        "hosts: {n1: }\n" + BASE + "  hosts: {n1: }\n",
        ["cluster.yaml:1:1: 'hosts' cannot stand at the top: the top level names groups"],
    ),
    "group is a text": (
        BASE + "  hosts: {n1: }\nweb: yes\n",
        ["cluster.yaml:10:6: group 'web' must be a mapping of hosts:, vars:, children:"],
    ),
    "section misspelt": (
        BASE + "  host: {n1: }\n  hosts: {n2: }\n",
        ["cluster.yaml:9:3: unknown key 'host' in group 'all'"],
    ),
    "bad range": (
        BASE + "  hosts: {'n[3:1]': }\n",
        ["cluster.yaml:9:11: host 'n[3:1]': a range must begin before it ends"],
    ),
    "host is a number": (
        BASE + "  hosts: {1: }\n",
        ["cluster.yaml:9:11: a host's name must be a text, not the number 1"],
    ),
    "host is a text": (
        BASE + "  hosts: {n1: 192.0.2.1}\n",
        ["cluster.yaml:9:15: host 'n1' must hold variables (name: value), not the text '192.0.2.1'"],
    ),
    "loop of groups": (
        BASE + "  hosts: {n1: }\n  children: {a: {children: {b: {children: {a: }}}}}\n",
        ["cluster.yaml:10:29: group 'b' would be above and below 'a'"],
    ),
    "all below a group": (
        BASE + "  hosts: {n1: }\n  children: {a: {children: {all: }}}\n",
        ["cluster.yaml:10:29: group 'all' would be above and below 'a'"],
    ),
    "priority": (
        BASE + "  hosts: {n1: }\n  children: {a: {vars: {ansible_group_priority: high}}}\n",
        ["cluster.yaml:10:49: ansible_group_priority must be a whole number, not the text 'high'"],
    ),
    "two clusters": (
        BASE + "  hosts: {n1: , n2: {qnext: {cluster: other}}, n3: }\n",
        ["cluster.yaml:9:39: qnext.cluster must be the same on all hosts: n1, n3 have prod; n2 has other"],
    ),
    "different serve": (
        BASE + "  hosts: {n1: , n2: {qnext: {serve: {tensor_parallel_size: 8}, hardware: cpu}}}\n",
        [
            "cluster.yaml:9:60: qnext.serve.tensor_parallel_size must be the same on all hosts: "
            "n1 has the number 4; n2 has the number 8",
            "cluster.yaml:9:74: qnext.hardware must be the same on all hosts: n1 has atlas-800-a3; n2 has cpu",
        ],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_at_its_place(case: str, loaded: Loaded) -> None:
    text, expected = WRONG[case]
    assert said(errors(lambda: loaded(text))) == expected


def test_an_error_in_a_variable_file_stands_in_that_file(loaded: Loaded) -> None:
    found = errors(
        lambda: loaded(
            BASE + "  children: {g: {hosts: {n1: }}}\n",
            **{
                "group_vars/g.yml": "x: 1\nqnext:\n  serve:\n    prot: 1\n",
                "host_vars/n1/a.yml": "qnext: {devices: x}\n",
                "host_vars/n1/b.yml": "- 1\n",
                "host_vars/n1/c.yml": "a: [\n",
                "group_vars/all.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162\n",
            },
        )
    )
    assert sorted(said(found)) == [
        "a.yml:1:18: qnext.devices: expected a list, not the text 'x'",
        "all.yml:1:1: this file is encrypted by Ansible's vault",
        "b.yml:1:1: a file of variables must hold a mapping (name: value), not a list",
        "c.yml:2:1: a value is missing here",
        "g.yml:4:5: qnext.serve.prot: unknown key",
    ]
    assert next(error for error in found if "prot" in error.message).hint == "did you mean 'port'?"


def test_the_same_error_of_many_hosts_is_one(loaded: Loaded) -> None:
    found = errors(
        lambda: loaded(BASE.replace("prod", "Prod") + "  hosts:\n    n[1:50]:\n    m: {qnext: {devices: [0]}}\n")
    )
    assert len(found) == 1


def test_hints_say_what_to_do(loaded: Loaded) -> None:
    hints = {
        "cluster: prod": ("cluster: 5", 'put it in quotes: "5"'),
        "hardware: atlas-800-a3": ("hardware: atlas-800-A3", "did you mean 'atlas-800-a3'?"),
        "tensor_parallel_size: 4": ("tensor_parallel_size: '4'", "remove the quotes"),
        "topology: data-parallel": ("topology: dataparallel", "did you mean 'data-parallel'?"),
        "model: {path: /data/m}": (
            "model: {}",
            "path: folder of the weights, the same path on every node; "
            "or the name of a repository (Qwen/Qwen3-8B), whose weights lie in the hub's cache on every node",
        ),
    }
    for good, (bad, hint) in hints.items():
        (found,) = errors(lambda: loaded(BASE.replace(good, bad) + "  hosts: {n1: }\n"))  # noqa: B023
        assert found.hint == hint


def test_a_wrong_secret_is_not_shown(loaded: Loaded) -> None:
    for value in ("987654321", "[c4nary]", "{envv: c4nary}", "true"):
        text = BASE.replace("env: {A: 1}", f"api_key: {value}") + "  hosts: {n1: }\n"
        (found,) = errors(lambda: loaded(text))  # noqa: B023
        assert found.message.startswith("qnext.serve.api_key: expected a text, {env: NAME}")
        assert "987654321" not in str(found) + found.hint
        assert "c4nary" not in str(found) + found.hint


def test_no_secret_can_be_seen_in_an_inventory(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secrets, "_masked", ())
    text = BASE.replace("env: {A: 1}", "api_key: c4nary-key") + (
        "  hosts:\n    n1: {ansible_password: c4nary-pass, ansible_become_pass: c4nary-sudo}\n"
    )
    inventory = loaded(text)
    (host,) = inventory.hosts
    assert "c4nary" not in repr(inventory) + str(host) + repr(dict(host.variables)) + host.settings.model_dump_json()
    assert secrets.redact("c4nary-key c4nary-pass c4nary-sudo") == f"{MASK} {MASK} {MASK}"
    assert host.connection.password is not None
    assert host.connection.password.reveal() == "c4nary-pass"


AMBIGUOUS = "mode: 0755, when: 22:22, x: {deep: [no]}, ansible_become: no, fine: '0755', t: true"


def test_what_ansible_reads_otherwise_is_a_warning_outside_of_qnext(loaded: Loaded) -> None:
    text = BASE.replace("A: 1", "A: no, B: 0755") + f"  hosts:\n    n[1:3]: {{{AMBIGUOUS}}}\n"
    warnings = loaded(text).warnings
    assert [warning.rpartition("/")[2] for warning in warnings] == [
        "cluster.yaml:10:20: mode: Ansible reads 0755 as another value; put it in quotes",
        "cluster.yaml:10:32: when: Ansible reads 22:22 as another value; put it in quotes",
        "cluster.yaml:10:50: x: Ansible reads no as another value; put it in quotes",
    ]


def test_a_name_of_both_a_host_and_a_group_is_a_warning(loaded: Loaded) -> None:
    (warning,) = loaded(BASE + "  children: {n1: {hosts: {n1: }}}\n").warnings
    assert "names both a host and a group" in warning


def test_one_machine_under_two_names_is_a_warning(loaded: Loaded) -> None:
    same = (
        "n1: {ansible_host: 192.0.2.1}, n2: {ansible_host: 192.0.2.1}, n3: {ansible_host: 192.0.2.1, ansible_port: 23}"
    )
    (warning,) = loaded(BASE + f"  hosts: {{{same}}}\n").warnings
    assert "'n1' and 'n2' are both reached as 192.0.2.1" in warning
    assert "cluster.yaml:9:42" in warning


def test_the_digest_changes_with_what_is_resolved_and_only_with_that(loaded: Loaded) -> None:
    first = loaded(BASE + "  hosts: {n1: {ansible_password: abcd}, n2: }\n")
    again = loaded("# a comment\n" + BASE + "  hosts:\n    n1: {ansible_password: efgh, unused: 1}\n    n2:\n")
    assert first.digest == again.digest
    assert len(first.digest) == 64
    others = [
        loaded(BASE + "  hosts: {n2: , n1: {ansible_password: abcd}}\n"),
        loaded(BASE + "  hosts: {n1: }\n"),
        loaded(BASE + "  hosts: {n1: {ansible_port: 7}, n2: }\n"),
        loaded(BASE.replace("A: 1", "A: 2") + "  hosts: {n1: , n2: }\n"),
    ]
    assert len({first.digest, *(other.digest for other in others)}) == 5
    assert digest(first.hosts) == first.digest
    assert digest([replace(first.hosts[0], variables={})]) != first.digest


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (found,) = errors(lambda: load(tmp_path / "absent.yaml"))
    assert "No such file" in found.message
    assert found.hint


def test_no_input_gives_anything_but_a_config_error(write: Write) -> None:
    for text in (
        "",
        "[]",
        "all",
        "all: 1",
        "all: {hosts: 1}",
        "all: {vars: []}",
        "{1: 2}",
        "? [a]",
        "all: {children: {1: }}",
    ):
        assert errors(lambda: load(write(text)))  # noqa: B023


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["{{ x }}", "/a", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=2),
    max_leaves=4,
)
KEYS = st.sampled_from([*Settings.model_fields, *Serve.model_fields, "image", "path", "junk"])
PARTS = st.dictionaries(KEYS, JUNK | st.dictionaries(KEYS | st.integers(), JUNK, max_size=3), max_size=4)
VARIABLES = st.dictionaries(st.sampled_from(sorted(ansible_vars.KNOWN)), JUNK, max_size=3)
GROUP = st.fixed_dictionaries(
    {}, optional={"hosts": JUNK, "vars": VARIABLES, "children": JUNK | st.dictionaries(st.sampled_from("ab"), JUNK)}
)


@given(qnext=PARTS, variables=VARIABLES, group=GROUP | JUNK)
def test_whatever_is_written_loads_or_is_a_config_error(
    qnext: dict[str, Any], variables: dict[str, Any], group: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.yaml"
    base = yaml.safe_load(BASE)["all"]
    hosts = {"n1": {**variables, "qnext": qnext}, "n2": {}}
    path.write_text(yaml.safe_dump({"all": {**base, "hosts": hosts, "children": {"g": group}}}), encoding="utf-8")
    with contextlib.suppress(ConfigError):
        load(path)


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_load_without_a_warning(name: str) -> None:
    inventory = load(EXAMPLES[name])
    assert not inventory.warnings
    assert inventory.hosts[0].index == 0


def test_the_examples_are_those_that_are_promised() -> None:
    assert {name.removesuffix(".yaml") for name in EXAMPLES} >= {
        "a2-one-node",
        "a2-two-nodes",
        "a3-one-node",
        "a3-two-nodes-data-parallel",
        "cpu",
        "rehearsal",
    }


def test_many_hosts_load_fast(write: Write) -> None:
    hosts = "".join(
        f"    n{i}: {{ansible_host: 10.0.{i // 256}.{i % 256}, qnext: {{data_address: 10.1.{i // 256}.{i % 256}}}}}\n"
        for i in range(512)
    )
    path = write(BASE + "  hosts:\n" + hosts)
    load(path)  # imports
    begin = process_time()
    inventory = load(path)
    assert len(inventory.hosts) == 512
    assert process_time() - begin < 0.5, "seconds of CPU; about 0.1 are usual"


def test_variables_are_for_reading_and_lazy(loaded: Loaded) -> None:
    inventory = loaded(
        f"all:\n  vars:\n    qnext: {QNEXT}\n    broken: '{{{{ nothing }}}}'\n    good: '{{{{ x + 1 }}}}'\n"
        "  hosts: {n1: {x: 1}}\n"
    )
    variables: Any = inventory.hosts[0].variables
    assert variables["good"] == 2
    assert variables["inventory_hostname"] == "n1"
    assert "qnext" not in variables
    with pytest.raises(ConfigError, match="'nothing' is not defined"):
        variables["broken"]
