"""How engine arguments become words, and which are ours to give."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies

from provision.inventory.model import Serve
from provision.serve.argv import COMPUTED, computed, engine_arguments, normal, ordered, words
from provision.serve.layout import layout_of
from tests.serve.clusters import QWEN3_NEXT, pairs, settings


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("trust-remote-code", True, ["--trust-remote-code"]),
        ("trust-remote-code", False, []),
        ("enable-prefix-caching", False, ["--no-enable-prefix-caching"]),
        ("seed", None, []),
        ("seed", 0, ["--seed", "0"]),
        ("max-logprobs", -1, ["--max-logprobs=-1"]),
        ("gpu-memory-utilization", 0.9, ["--gpu-memory-utilization", "0.9"]),
        ("dtype", "float16", ["--dtype", "float16"]),
        ("chat-template", "", ["--chat-template", ""]),
        ("chat-template", "--x", ["--chat-template=--x"]),
        ("hf-overrides", {"b": [1, None], "a": "ü"}, ["--hf-overrides", '{"a":"ü","b":[1,null]}']),
        ("additional-config", {}, ["--additional-config", "{}"]),
        ("cudagraph-capture-sizes", [1, 2], ["--cudagraph-capture-sizes", "1", "2"]),
        ("lora-modules", [{"name": "a"}, "b=c"], ["--lora-modules", '{"name":"a"}', "b=c"]),
        ("middleware", [], []),
    ],
)
def test_words(name: str, value: Any, expected: list[str]) -> None:
    assert list(words(name, value)) == expected


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("max_num_seqs", "max-num-seqs"),
        ("--max-num-seqs", "max-num-seqs"),
        ("compilation_config.cudagraph_mode", "compilation-config.cudagraph_mode"),
    ],
)
def test_names_are_normalised_up_to_the_first_dot(written: str, name: str) -> None:
    assert normal(written) == name


@pytest.mark.parametrize(
    ("name", "full"),
    [
        *((name, name) for name in COMPUTED),
        ("no-headless", "headless"),
        ("tensor-parallel", "tensor-parallel-size"),
        ("data-parallel-size-l", "data-parallel-size-local"),
        ("nnode", "nnodes"),
        ("dp", "data-parallel-size"),
        ("max-model-len", None),
        ("model-impl", None),
        ("data-parallel-backend", None),
        ("enable-prefix-caching", None),
        ("no-enable-prefix-caching", None),
        ("distributed-executor-backend", None),
    ],
)
def test_computed_arguments_are_recognised(name: str, full: str | None) -> None:
    assert computed(name) == full


@given(strategies.sampled_from(sorted(COMPUTED)), strategies.integers(min_value=3))
def test_no_abbreviation_slips_through(name: str, length: int) -> None:
    assert computed(name[:length]) is not None


def arguments(**serve: Any) -> dict[str, Any]:
    return engine_arguments(layout_of(pairs(settings(profile=QWEN3_NEXT, tensor_parallel_size=4, **serve))), 0)


def test_later_sources_win_whole() -> None:
    assert arguments()["max-model-len"] == 32768
    assert arguments(max_model_len=4096)["max-model-len"] == 4096
    assert arguments(engine_args={"max_model_len": 8192})["max-model-len"] == 8192
    assert arguments(engine_args={"compilation-config": {"x": 1}})["compilation-config"] == {"x": 1}


def test_null_takes_a_profiles_argument_back() -> None:
    assert words("max-num-seqs", arguments(engine_args={"max-num-seqs": None})["max-num-seqs"]) == ()


def test_a_switch_replaces_its_opposite() -> None:
    on = arguments(engine_args={"enable-prefix-caching": True})
    assert on["enable-prefix-caching"] is True
    assert "no-enable-prefix-caching" not in on


def test_arguments_for_several_nodes_come_with_several_nodes() -> None:
    given = settings(profile=QWEN3_NEXT, topology="data-parallel", tensor_parallel_size=4, data_parallel_size=8)
    assert engine_arguments(layout_of(pairs(given, 2)), 0)["seed"] == 1024
    assert "seed" not in arguments()


NEEDED = {"host": "0.0.0.0", "port": 8000, "data-parallel-size": 2, "data-parallel-rpc-port": 29550}
GIVEN = {"compilation-config": {"a": 1}, "seed": 7}
SPARE = {"data-parallel-start-rank": 0}


def test_without_an_order_computed_arguments_come_first() -> None:
    found = ordered(Serve(), NEEDED, GIVEN, SPARE)
    assert found[:4] == ("--host", "0.0.0.0", "--port", "8000")
    assert found[-2:] == ("--seed", "7")
    assert "--data-parallel-start-rank" not in found


def test_an_order_names_and_spells_arguments_and_the_rest_follows() -> None:
    order = ("seed", "max-num-seqs=4", "data-parallel-start-rank", "compilation_config", "port")
    found = ordered(Serve(argument_order=order), NEEDED, GIVEN, SPARE)
    named = ["--seed", "7", "--max-num-seqs", "4", "--data-parallel-start-rank", "0"]
    assert list(found[:10]) == [*named, "--compilation_config", '{"a":1}', "--port", "8000"]
    assert set(found[10:]) >= {"--host", "--data-parallel-size", "--data-parallel-rpc-port"}


def test_as_given_leaves_out_what_vllm_takes_anyway() -> None:
    found = ordered(Serve(as_given=True, argument_order=("port",)), NEEDED, GIVEN, SPARE)
    assert found[:2] == ("--port", "8000")
    assert not {"--host", "--data-parallel-rpc-port"} & set(found)
    assert {"--data-parallel-size", "--seed"} <= set(found)
