"""``vllm serve``'s command line is as strict as argparse."""

from __future__ import annotations

import pytest

from provision.rehearsal.standins.vllm.arguments import UsageError, parse


def test_every_way_to_write_a_flag() -> None:
    found = parse(["/m", "--tensor-parallel-size", "4", "--max_model_len=32k", "-dp", "8", "--no-enable-prefix-caching",
                   "--enable-expert-parallel", "--served-model-name", "a", "b", "--compilation-config.level=3",
                   "--speculative-config", '{"method": "mtp"}'])  # fmt: skip
    assert found.model == "/m"
    assert found.number("tensor-parallel-size", 1) == 4
    assert found.number("max-model-len", 0) == 32000
    assert found.number("data-parallel-size", 1) == 8
    assert not found.on("enable-prefix-caching", default=True)
    assert found.on("enable-expert-parallel")
    assert found.many("served-model-name") == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["/m", "--foo", "1"], "unrecognized arguments: --foo 1"),
        (["/m", "--no-port"], "unrecognized arguments: --no-port"),
        (["/m", "stray"], "unrecognized arguments: stray"),
        (["/m", "--port", "x"], "argument --port: invalid int value: 'x'"),
        (["/m", "--port"], "argument --port: expected one argument"),
        (["/m", "--headless=yes"], "ignored explicit argument 'yes'"),
        (["/m", "--additional-config", "{"], "argument --additional-config: invalid loads value: '{'"),
        (["/m", "--served-model-name"], "expected at least one argument"),
    ],
)
def test_what_argparse_would_refuse(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=None) as error:
        parse(words)
    assert complaint in str(error.value)
