"""What the table says, case by case (verdicts.yaml), and that it never raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision import yamlio
from provision.inventory.model import Compatibility
from provision.serve.compatibility import shipped, table
from provision.serve.verdicts import Declared, Observed, image_stack, judge, troubles

CASES: list[dict[str, Any]] = yamlio.parse(yamlio.read_text(Path(__file__).with_name("verdicts.yaml"))).data


def _tuples(given: dict[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value if isinstance(value, dict) else str(value)
        for key, value in given.items()
    }


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_table_says(case: dict[str, Any]) -> None:
    own = Compatibility.model_validate_json(json_of(case.get("own", {})))
    asked, seen = Declared(**_tuples(case["declared"])), Observed(**_tuples(case.get("observed", {})))
    found: dict[str, list[Any]] = {}
    for verdict in judge(asked, seen, table(own)):
        if verdict.outcome != "ok" or verdict.subject not in found:
            found[verdict.subject] = [verdict.outcome, verdict.reason, verdict.remedy]
        assert verdict.source
        assert verdict.remedy or verdict.outcome == "ok"
    assert found.keys() == case["says"].keys()
    for subject, wanted in case["says"].items():
        outcome, *texts = [wanted] if isinstance(wanted, str) else wanted
        assert found[subject][0] == outcome, found[subject]
        for text in texts:
            assert any(text in said for said in found[subject][1:]), found[subject]


def json_of(data: dict[str, Any]) -> str:
    """As an inventory's data reaches the models: 26.0 is a text there, too."""
    import json

    def texts(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): texts(item) for key, item in value.items()}
        return [texts(item) for item in value] if isinstance(value, list) else str(value)

    return json.dumps(texts(data))


def test_troubles_are_those_of_the_subjects() -> None:
    asked = Declared("atlas-800-a3", "0.18.0")
    verdicts = judge(asked, Observed(hdk="25.2.0", python="3.12"), shipped())
    assert {v.subject for v in troubles(verdicts)} == {"driver", "python"}
    assert [v.subject for v in troubles(verdicts, "python", "cann")] == ["python"]


@pytest.mark.parametrize(
    ("env", "wanted"),
    [
        ({}, Observed()),
        (
            {
                "SOC_VERSION": "ascend910_9391",
                "PATH": "/usr/local/python3.11.14/bin:/usr/bin",
                "ASCEND_TOOLKIT_HOME": "/usr/local/Ascend/cann-8.5.1",
            },
            Observed(soc="ascend910_9391", python="3.11.14", cann="8.5.1"),
        ),
        (
            {"PATH": "/usr/bin", "LD_LIBRARY_PATH": "/usr/local/Ascend/ascend-toolkit/8.3.RC2/lib64:/x"},
            Observed(cann="8.3.RC2"),
        ),
        ({"ASCEND_TOOLKIT_HOME": "/usr/local/Ascend/ascend-toolkit/latest"}, Observed()),
        ({"PATH": "/opt/python3/bin:/opt/mypython3.1x/bin"}, Observed()),
    ],
)
def test_an_image_tells_of_its_inside(env: dict[str, str], wanted: Observed) -> None:
    assert image_stack(env) == wanted


TEXT = st.one_of(st.text(max_size=12), st.sampled_from(["25.5.1", "v0.18.0", "8.3.RC2", "main", "3.12", "ascend910b1"]))


@given(
    st.builds(Declared, hardware=TEXT, release=TEXT, features=st.just(tuple(shipped().features))),
    st.builds(Observed, hdk=TEXT, driver_inner=TEXT, cann=TEXT, python=TEXT, soc=TEXT),
)
def test_whatever_a_node_says_there_is_an_answer(asked: Declared, seen: Observed) -> None:
    for verdict in judge(asked, seen, shipped()):
        assert verdict.reason


@given(st.dictionaries(TEXT, st.text(max_size=40), max_size=4))
def test_whatever_an_image_says_there_is_an_answer(env: dict[str, str]) -> None:
    image_stack(env)
