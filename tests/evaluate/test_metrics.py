from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.evaluate.metrics import EngineCounters, Sample, engine_counters, samples

PAGE = """\
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="q"} 96.0
vllm:generation_tokens_total{engine="1",model_name="q"} 0.0
# TYPE vllm:generation_tokens_created gauge
vllm:generation_tokens_created{engine="1",model_name="q"} 1.76e+09
vllm:prompt_tokens_total{engine="0",model_name="q"} 30.0
vllm:request_success_total{engine="0",finished_reason="length",model_name="q"} 2.0
vllm:request_success_total{engine="0",finished_reason="stop",model_name="q"} 1.0
vllm:request_success_total{engine="1",finished_reason="stop",model_name="q"} 0.0
vllm:num_requests_running{engine="1",model_name="q"} 2.0
"""


def test_engines_are_told_apart_and_other_labels_are_summed() -> None:
    assert engine_counters(PAGE) == {
        "0": EngineCounters(generated=96.0, prompted=30.0, succeeded=3.0),
        "1": EngineCounters(generated=0.0, prompted=None, succeeded=0.0, running=2.0),
    }


def test_a_page_without_engine_labels_is_one_engine() -> None:
    assert engine_counters('vllm:generation_tokens{model_name="q"} 7') == {"0": EngineCounters(generated=7.0)}


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        ("up 1", Sample("up", 1.0)),
        ("up{} 1 1700000000000", Sample("up", 1.0)),
        ('a{b="x,y} z",c="q\\"\\\\\\n"} 2', Sample("a", 2.0, {"b": "x,y} z", "c": 'q"\\\n'})),
        ('a{b="1",} +Inf', Sample("a", math.inf, {"b": "1"})),
        ('a_total{b="1"} 3 # {trace="t"} 1 2', Sample("a_total", 3.0, {"b": "1"})),
    ],
)
def test_every_form_of_a_line_is_read(line: str, sample: Sample) -> None:
    assert list(samples(line)) == [sample]


@pytest.mark.parametrize("line", ["", "# HELP a b", "a", "a{b= 1", "<html>", 'a{b="1"} x', "9a 1"])
def test_what_is_no_sample_is_left_out(line: str) -> None:
    assert list(samples(line)) == []


@given(st.text())
def test_no_text_breaks_the_parser(text: str) -> None:
    engine_counters(text)


@pytest.mark.parametrize(
    ("before", "after", "moved"),
    [
        (EngineCounters(), EngineCounters(generated=1.0), True),
        (EngineCounters(generated=5.0), EngineCounters(generated=5.0, prompted=99.0, succeeded=2.0), False),
        (EngineCounters(succeeded=1.0), EngineCounters(succeeded=2.0), True),
        (EngineCounters(prompted=1.0), EngineCounters(prompted=2.0), False),
        (EngineCounters(), EngineCounters(generated=0.0), False),
    ],
)
def test_only_generation_counts_as_movement(before: EngineCounters, after: EngineCounters, moved: bool) -> None:
    assert after.moved_since(before) is moved
