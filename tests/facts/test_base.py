"""What every fact promises: its parser takes any bytes, and says when it was given nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.base import Fact
from provision.facts.files import Files, Listing
from provision.facts.hccn import Hccn
from provision.facts.kinds import as_data, standard_facts
from provision.facts.python import PythonEnvironment
from provision.inventory.model import Install, Model, Settings
from provision.results import Result

SETTINGS = Settings(
    cluster="demo", hardware="atlas-800-a3", install=Install(image="x/y:1"), model=Model(path="/data/m")
)
SOURCE = SETTINGS.model_copy(update={"install": Install(method="source")})
FACTS: list[Fact[Any]] = [*standard_facts(SETTINGS), *standard_facts(SOURCE)[-2:]]
FACTS += [Files(("/a", "/b")), PythonEnvironment("/v", files=("/a",))]
WORDS = "shell daemon.json nft iptables chronyc timesync-status files answer processes cgroup look mounts names "
WORDS += "self lookup dev route inet6 link addr trie sys tcp ss version info df exit 0 124 containers error missing map"
TEXT = st.one_of(
    st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "replace")),
    st.lists(
        st.one_of(
            st.sampled_from([f"@@ {word}" for word in WORDS.split()]),
            st.sampled_from(
                ["@@ 1 644 3", "@@ 0 link 0", "@@ pid 1", "@@ folder", "@@ config", "@@ shards", "@@ index"]
            ),
            st.sampled_from(
                ['{"Id": "x", "State": 3, "Devices": {}}', "[[[", '{"a": [null]}', "1 - - x", "eth0 1 2 3"]
            ),
            st.text(max_size=30),
        ),
        max_size=8,
    ).map("\n".join),
)


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
@given(text=TEXT, exit_status=st.sampled_from([0, 1, 124, 127]), late=st.booleans())
def test_any_answer_becomes_a_value(fact: Fact[Any], text: str, exit_status: int, late: bool) -> None:
    value = fact.parse(Result(fact.name, exit_status, text, text, timed_out=late))
    assert as_data(value)
    if exit_status or late:
        assert value.problems or getattr(value, "error", "")


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.name)
def test_a_value_has_problems_and_a_fact_is_hashable(fact: Fact[Any]) -> None:
    assert isinstance(fact.parse(Result(fact.name, 0, "")).problems, tuple)
    assert len({fact, fact}) == 1
    assert fact.deadline > 0


def test_facts_differ_by_their_parameters() -> None:
    assert Hccn((0,)) != Hccn((1,))
    assert len({Listing("/a"), Listing("/b"), Listing("/a")}) == 2
