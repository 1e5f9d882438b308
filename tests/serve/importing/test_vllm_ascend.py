"""Upstream's configurations as recipes: what their harness makes of them, quirks included, and what can't be right."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import ConfigError
from provision.serve.importing.recipe import Notes, groups_of

from .recipes import EXTERNAL, INTERNAL, refusal, upstream

SINGLE = """\
_envs: &envs
  SERVER_PORT: "DEFAULT_PORT"
  OMP_PROC_BIND: false
test_cases:
  - name: one
    model: Qwen/Some-Model
    envs: {<<: *envs}
    server_cmd: ["--port", "$SERVER_PORT", "--max-model-len", 4096]
    server_cmd_extra: ["--enforce-eager"]
"""


def test_internal() -> None:
    notes = Notes()
    recipe = upstream(INTERNAL, notes)
    head, worker = recipe.servers
    assert head.env == {
        "VLLM_USE_MODELSCOPE": "True",
        "HCCL_BUFFSIZE": "1024",
        "SERVER_PORT": "8080",
        "OMP_PROC_BIND": "False",
    }
    assert head.command.text("port") == "8080"
    assert worker.headless
    (group,) = groups_of(recipe)
    assert (group.topology, group.tensor_parallel, group.data_parallel, group.rpc_port) == (
        "data-parallel",
        8,
        4,
        13389,
    )
    assert notes.found == []


def test_external() -> None:
    prefill, decode = groups_of(upstream(EXTERNAL))
    assert (prefill.role, prefill.topology, prefill.tensor_parallel, prefill.data_parallel) == (
        "prefill",
        "external-dp",
        8,
        2,
    )
    assert (decode.role, decode.data_parallel) == ("decode", 4)
    assert decode.head.command.text("port") == "${QNEXT_PORT}"
    assert decode.head.env["SERVER_PORT"] == "${QNEXT_PORT}"


def test_single() -> None:
    recipe = upstream(SINGLE)
    (server,) = recipe.servers
    assert server.env == {"SERVER_PORT": "8000", "OMP_PROC_BIND": "False"}
    assert [(o.name, o.values) for o in server.command.options] == [
        ("port", ("8000",)),
        ("max-model-len", ("4096",)),
        ("enforce-eager", ()),
    ]


HARMLESS = {
    "an unknown key": (INTERNAL + "_DEBUG_MARKER: 1\nwhatever: 2\n", "whatever"),
    "dependencies": (INTERNAL + "special_dependencies: {transformers: 5.2.0}\n", "transformers==5.2.0"),
    "a comment in the command": (
        INTERNAL.replace("      --headless\n", "      --headless\n      # --port 1\n"),
        "comments",
    ),
    "a key given twice": (
        INTERNAL.replace("  SERVER_PORT: 8080\n", "  SERVER_PORT: 1\n  SERVER_PORT: 8080\n"),
        "twice",
    ),
    "an empty variable": (INTERNAL.replace("  SERVER_PORT: 8080\n", "  SERVER_PORT: 8080\n  A:\n"), "A has no value"),
    "a name that is none": (
        INTERNAL.replace("  SERVER_PORT: 8080\n", "  SERVER_PORT: 8080\n  A-B: 1\n"),
        "A-B is left out",
    ),
}


@pytest.mark.parametrize(("text", "told"), HARMLESS.values(), ids=HARMLESS)
def test_told_and_read_the_same(text: str, told: str) -> None:
    notes = Notes()
    found = upstream(text, notes)
    expected = upstream(INTERNAL)
    assert [s.command.options for s in found.servers] == [s.command.options for s in expected.servers]
    assert [s.env for s in found.servers] == [s.env for s in expected.servers]
    (note,) = notes.found
    assert told in note.text


SAME = {
    "continued lines": INTERNAL.replace("      --headless\n", "      --headless \\\n"),
    "a literal block": INTERNAL.replace("server_cmd: >", "server_cmd: |"),
    "no blank lines kept": INTERNAL.replace("server_cmd: >", "server_cmd: >-"),
    "start rank 0 of the head": INTERNAL.replace("$LOCAL_IP\n", "${MASTER_IP}\n"),
    "disaggregation that is off": INTERNAL + "disaggregated_prefill: {enabled: false}\n",
}


@pytest.mark.parametrize("text", SAME.values(), ids=SAME)
def test_other_spellings_of_the_same(text: str) -> None:
    notes = Notes()
    recipe = upstream(text, notes)
    assert notes.found == []
    (group,) = groups_of(recipe)
    assert (group.topology, [s.index for s in group.servers]) == ("data-parallel", [0, 1])


PD = "disaggregated_prefill: {enabled: true, prefiller_host_index: %s, decoder_host_index: %s}\n"

WRONG = {
    "nothing": ("a: 1\n", "recipe.yaml:1:1: this is none of vllm-ascend's nightly configurations"),
    "another number of nodes": (
        INTERNAL.replace("num_nodes: 2", "num_nodes: 3"),
        ":3:12: num_nodes is 3, but deployment has 2",
    ),
    "overlap": (INTERNAL + PD % ([0], [0, 1]), ":45:24: node 0 is both prefiller and decoder"),
    "no role": (INTERNAL + PD % ([0], [0]), "both"),
    "out of range": (INTERNAL + PD % ([0], [7]), "decoder_host_index: the number 7 is no node: there are 0 to 1"),
    "no serve": (INTERNAL.replace("vllm serve", "echo"), ":15:17: no 'vllm serve' in this command"),
    "two commands": (INTERNAL.replace("      --headless\n", "      --headless && x\n"), ":33:1: '&&' in a command"),
    "a rank short": (
        INTERNAL.replace("local 2", "local 1", 1),
        "starts at data-parallel rank 2, but the nodes before it end at 0",
    ),
    "uneven": (
        INTERNAL.replace("local 2", "local 1", 1).replace("local 2", "local 3").replace("start-rank 2", "start-rank 1"),
        "uneven local sizes cannot be imported",
    ),
    "all headless": (INTERNAL.replace("--host 0.0.0.0", "--headless"), "all are --headless"),
    "another tensor parallel": (
        INTERNAL.replace("--tensor-parallel-size 8", "--tensor-parallel-size 4", 1),
        "tensor-parallel-size 8, but node 0",
    ),
    "another rpc port": (INTERNAL.replace("rpc-port 13389", "rpc-port 13390", 1), "data-parallel-rpc-port 13389"),
    "no address": (
        INTERNAL.replace("      --data-parallel-address $MASTER_IP\n", ""),
        "has no --data-parallel-address",
    ),
    "a size that is no number": (
        INTERNAL.replace("size 4", "size $DP", 1),
        "--data-parallel-size $DP: not a whole number",
    ),
    "a mapping as variable": (
        INTERNAL.replace("SERVER_PORT: 8080", "SERVER_PORT: {a: 1}"),
        ":8:16: SERVER_PORT: a variable is a text",
    ),
    "hosts": (INTERNAL + "cluster_hosts: [10.0.0.1]\n", ":45:16: cluster_hosts names 1 host for 2 nodes"),
    "too few NPUs": (
        EXTERNAL.replace("tp_size: 8", "tp_size: 16"),
        "2 ranks of 16 devices are 32, but npu_per_node is 16",
    ),
    "ranks beyond the size": (
        EXTERNAL.replace("dp_rank_start: 0", "dp_rank_start: 1", 1),
        "ranks 1 to 2 of a dp_size of 2",
    ),
    "entries in disorder": (EXTERNAL.replace("node_index: 1", "node_index: 0", 1), "node_index 0: this is entry 1"),
    "another routing": (
        EXTERNAL.replace("disaggregated_prefill", "round_robin"),
        "routing.type must be disaggregated_prefill",
    ),
    "one port for all ranks": (
        EXTERNAL.replace("--port, $SERVER_PORT", "--port, 8000", 1),
        "--port 8000 is the same for all 2 ranks",
    ),
    "a missing size": (EXTERNAL.replace("    dp_size: 2\n", "", 1), "dp_size is missing"),
    "an address of nobody": (
        EXTERNAL.replace("${NODE_1_IP}", "${NODE_7_IP}", 1),
        "node 1: dp_address is that of node 7",
    ),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_right_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        groups_of(upstream(text))
    assert caught.value.where is not None
    assert caught.value.where.file == "recipe.yaml"


def test_cases_are_chosen_by_name() -> None:
    two = SINGLE + "  - {name: two, model: /data/m, server_cmd: [], envs: }\n"
    with pytest.raises(ConfigError, match="2 cases") as caught:
        upstream(two)
    assert caught.value.hint == "choose with --case: one, two"
    assert upstream(two, case="two").servers[0].command.model == "/data/m"
    with pytest.raises(ConfigError, match="no case 'three'"):
        upstream(two, case="three")
    with pytest.raises(ConfigError, match="--case is for"):
        upstream(INTERNAL, case="two")


LINES = INTERNAL.splitlines(keepends=True)


@given(st.data())
def test_a_mangled_file_is_read_or_refused_with_its_place(data: st.DataObject) -> None:
    text = INTERNAL
    for _ in range(data.draw(st.integers(1, 3))):
        lines = text.splitlines(keepends=True)
        at = data.draw(st.integers(0, len(lines) - 1))
        other = data.draw(st.sampled_from([*LINES, "", "  x: [1]\n", "      --port\n", "      '\n", "  - 1\n"]))
        text = "".join([*lines[:at], other, *lines[at + 1 :]])
    error = refusal(lambda: groups_of(upstream(text)))
    assert error is None or error.where is not None
