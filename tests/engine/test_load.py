"""What a playbook may say: everything wrong with it is found before the first connection, at its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from provision.engine.load import load_playbook
from provision.errors import ConfigError

Refused = Callable[[str], ConfigError]
PLAY = "plays:\n  - name: p\n    hosts: all\n"
TASKS = PLAY + "    tasks:\n"


def task(text: str) -> str:
    """A playbook of one task, given as its first line and further lines."""
    first, *rest = text.splitlines()
    return TASKS + f"      - {first}\n" + "".join(f"        {line}\n" for line in rest)


CASES = [
    # text, line and column, part of the message, part of the hint
    ("play: []", (2, 1), "a playbook has no word 'play'", "did you mean 'plays'"),
    ("plays: []", (1, 1), "needs plays", ""),
    ("plays: {}", (2, 8), "plays is a list, not a mapping", ""),
    ("plays: [x]", (2, 9), "a play is a mapping", ""),
    (PLAY + "    serail: 1\n", (5, 5), "a play has no word 'serail'", "did you mean 'serial'"),
    ("plays:\n  - name: p\n    tasks: []\n", (3, 5), "a play needs hosts", "hosts: all"),
    (PLAY.replace("all", "worker"), (4, 12), "'worker' is no host or group", "did you mean 'workers'"),
    (PLAY + "    serial: some\n", (5, 13), "serial is a number of nodes or a percentage", ""),
    (PLAY + "    serial: [1, 0]\n", (5, 17), "not the number 0", ""),
    (PLAY + "    max_fail_percentage: 101\n", (5, 26), "a number from 0 to 100", ""),
    (PLAY + "    vars: {params: 1}\n", (5, 12), "cannot be named 'params'", ""),
    (PLAY + "    vars: [a]\n", (5, 11), "vars is a mapping, not a list", ""),
    (PLAY + "    when: '{{ true }}'\n", (5, 11), "an expression stands here without {{ }}", ""),
    (task("say: {}\nsya: {}"), (7, 9), "'sya' is neither a module nor a word of a task", "did you mean 'say'"),
    (task("say: {}\nregistr: r"), (7, 9), "'registr' is neither", "did you mean 'register'"),
    (task("say: {}\nlook: {}"), (7, 9), "a task names one module, this one say and look", ""),
    (task("name: only a name"), (6, 9), "names no module", "modules: "),
    (task("say: hello"), (6, 14), "say takes named arguments, not the text 'hello'", ""),
    (task("ensure: {keey: x}"), (6, 24), "ensure has no argument 'keey'", "did you mean 'key'"),
    (task("ensure: {keey: '{{ 1 }}'}"), (6, 24), "ensure has no argument 'keey'", "did you mean 'key'"),
    (task("script: {}"), (6, 9), "script needs the argument 'text'", ""),
    (task("script: {text: '{{ 1 }}', ok: [one]}"), (6, 40), "script: ok.0: input should be a valid integer", ""),
    (task("say: {message: '{{ parms.x }}'}"), (6, 24), "'parms' is not defined here", "did you mean 'params'"),
    (task("say: {message: '{{ params.x }}'}"), (6, 24), "params has no 'x'", ""),
    (task("say: {message: '{{ qnext.serve.prot }}'}"), (6, 24), "qnext.serve has no 'prot'", "did you mean 'port'"),
    (task("say: {message: '{{ qnext.clutser }}'}"), (6, 24), "qnext has no 'clutser'", "did you mean 'cluster'"),
    (task("say: {message: '{{ groups.worker }}'}"), (6, 24), "groups has no 'worker'", "did you mean 'workers'"),
    (task("say: {message: '{{ 1 + }}'}"), (6, 24), "", ""),
    (task("say: {message: '{{ 1 | intt }}'}"), (6, 24), "No filter named 'intt'", "did you mean 'int'"),
    (task("say: {message: '{{ item }}'}"), (6, 24), "'item' is not defined here", "only where there is a loop"),
    (task("say: {message: '{{ failure.message }}'}"), (6, 24), "'failure' is not defined here", "only in rescue"),
    (task("say: {}\nwhen: nothing.here"), (7, 15), "'nothing' is not defined here", ""),
    (task("say: {}\nwhen: 3"), (7, 15), "a condition is an expression", ""),
    (task("say: {}\nwhen: [true, nothing]"), (7, 22), "'nothing' is not defined here", ""),
    (task("say: {}\nloop: text"), (7, 15), "loop is a list, or an expression", ""),
    (task("say: {}\nregister: qnext"), (7, 19), "a result cannot be named 'qnext'", ""),
    (task("say: {}\nregister: no-name"), (7, 19), "'no-name' is no name", ""),
    (task("say: {}\nretries: -1"), (7, 18), "retries is a whole number from 0", ""),
    (task("say: {}\nretries: 1.5"), (7, 18), "retries is a whole number", ""),
    (task("say: {}\ntimeout: soon"), (7, 18), "timeout is a number", ""),
    (task("say: {}\nignore_errors: yes"), (7, 24), "ignore_errors is true or false, not the text 'yes'", ""),
    (
        task("say: {}\nnotify: restart"),
        (7, 17),
        "no handler of this play is named 'restart'",
        "handlers stand in the play",
    ),
    (task("say: {}\nhosts: nobody"), (7, 16), "'nobody' is no host or group", ""),
    (task("say: {}\ntags: {a: b}"), (7, 15), "tags is a text or a list of texts", ""),
    ("params: {x: 1}\n" + PLAY, (2, 13), "the parameter 'x' is a mapping", ""),
    ("params: {x: {type: number}}\n" + PLAY, (2, 20), "type is one of string, int", ""),
    ("params: {x: {type: int, default: two}}\n" + PLAY, (2, 34), "x takes a whole number, not the text 'two'", ""),
    ("params: {x: {type: choice}}\n" + PLAY, (2, 13), "the choice 'x' has no choices", ""),
    ("params: {x-y: {}}\n" + PLAY, (2, 10), "'x-y' is no name", ""),
    (
        "params: {x: {}}\n" + task("say: {message: '{{ x }}'}"),
        (7, 24),
        "'x' is not defined here",
        "a parameter is params.x",
    ),
    ("plays:\n  - import_playbook: none.yaml\n", (3, 22), "there is no playbook", ""),
    ("plays:\n  - import_playbook: play.yaml\n", (3, 22), "import each other without end: play.yaml -> play.yaml", ""),
]


@pytest.mark.parametrize(("text", "place", "message", "hint"), CASES)
def test_refused(config_error: Refused, text: str, place: tuple[int, int], message: str, hint: str) -> None:
    error = config_error("summary: s\n" + text if not text.startswith("summary") else text)
    # the text begins on line 2, below the summary
    errors = [error, *error.others]
    found = [(each.where.line, each.where.column) for each in errors if each.where]
    assert place in found
    at_place = [each for each in errors if each.where and (each.where.line, each.where.column) == place]
    assert any(message in each.message and hint in each.hint for each in at_place), [
        (each.message, each.hint) for each in at_place
    ]


def test_all_that_is_wrong_is_found_at_once(config_error: Refused) -> None:
    error = config_error(
        TASKS + "      - {say: {}, registr: a}\n      - {sya: {}}\n      - {ensure: {key: x, valeu: 1}}\n"
    )
    assert len([error, *error.others]) == 3


def test_a_playbook_needs_a_summary(bench: Callable[..., Any]) -> None:
    b = bench()
    with pytest.raises(ConfigError, match="needs a summary"):
        load_playbook(b.write(PLAY + "    tasks: [{say: {}}]\n"))


GOOD = [
    "say: {message: '{{ missing | default(1) }}'}",
    "say: {message: '{{ 2 if missing is defined else 3 }}'}",
    "say: {message: '{{ qnext.data_address }} {{ qnext.checks.anything }} {{ qnext.model.path }}'}",
    "say:",
    "look: {key: '{{ color }}'}",
    "say: {}\nwhen: [true, inventory_index > 0]",
    "say: {message: '{{ item.a.b }}'}\nloop: [{a: {b: 1}}]",
    "say: {}\nregister: r\nuntil: r.anything == 1",
    "say: {}\ntags: a, b",
    "say: {}\nhosts: '{{ params.nothing | default(\"all\") }}'",
]


@pytest.mark.parametrize("text", GOOD)
def test_accepted(bench: Callable[..., Any], text: str) -> None:
    playbook = bench(color="red").load("params: {nothing: {}}\n" + task(text))
    assert playbook.plays[0].tasks[0].module.name in ("say", "look")


def test_a_name_is_known_from_its_task_on(bench: Callable[..., Any], config_error: Refused) -> None:
    bench().load(TASKS + "      - {say: {}, register: r}\n      - {say: {message: '{{ r.message }}'}}\n")
    error = config_error(TASKS + "      - {say: {message: '{{ r.message }}'}}\n      - {say: {}, register: r}\n")
    assert "'r' is not defined" in error.message


def test_failure_is_known_in_rescue(bench: Callable[..., Any], config_error: Refused) -> None:
    rescue = PLAY + "    tasks: [{say: {}}]\n    rescue: [{say: {message: '{{ failure.FIELD }}'}}]\n"
    bench().load(rescue.replace("FIELD", "hint"))
    assert "failure has no 'reason'" in config_error(rescue.replace("FIELD", "reason")).message


def test_without_an_inventory_unknown_names_may_be_its_variables(bench: Callable[..., Any]) -> None:
    b = bench()
    path = b.write("summary: s\n" + task("say: {message: '{{ color }}'}"))
    load_playbook(path)
    with pytest.raises(ConfigError, match="'color' is not defined"):
        load_playbook(path, b.inventory)
    with pytest.raises(ConfigError, match="'parms' is not defined"):
        load_playbook(b.write("summary: s\n" + task("say: {message: '{{ parms.x }}'}")))


def test_static_arguments_are_validated_once(bench: Callable[..., Any]) -> None:
    tasks = (
        bench()
        .load(TASKS + "      - {ensure: {key: y}}\n      - {ensure: {key: '{{ qnext.cluster }}'}}\n")
        .plays[0]
        .tasks
    )
    assert tasks[0].static is not None
    assert tasks[0].static.key == "y"  # type: ignore[attr-defined]
    assert tasks[1].static is None


def test_imports_carry_tags_and_are_checked_against_the_other_files_parameters(
    bench: Callable[..., Any], config_error: Refused
) -> None:
    b = bench()
    b.write("summary: s\nparams: {word: {required: true}}\n" + PLAY + "    tasks: [{say: {}}]\n", "inner.yaml")
    outer = "plays:\n  - {import_playbook: inner.yaml, vars: {word: x}, tags: [one]}\n"
    assert b.load(outer).plays[0].tags == ("one",)
    assert "has no parameter 'wrod'" in config_error(outer.replace("word", "wrod")).message
    assert "needs the parameter 'word'" in config_error(outer.replace("vars: {word: x}, ", "")).message
    assert "an import has no word 'serial'" in config_error(outer.replace("tags", "serial")).message


def test_imports_in_a_circle(bench: Callable[..., Any]) -> None:
    b = bench()
    b.write("summary: s\nplays: [{import_playbook: play.yaml}]\n", "inner.yaml")
    with pytest.raises(ConfigError, match=r"play.yaml -> inner.yaml -> play.yaml"):
        b.load("plays: [{import_playbook: inner.yaml}]\n")


def test_the_shipped_playbooks_load(monkeypatch: pytest.MonkeyPatch) -> None:
    from provision.resources import shipped

    monkeypatch.undo()  # the shipped modules, not the tests' own
    paths = sorted(shipped("playbooks").glob("*.yaml"))
    assert {path.stem for path in paths} >= {"up", "check", "down"}
    for path in paths:
        assert load_playbook(path).plays


def test_a_position_is_in_the_file_it_came_from(bench: Callable[..., Any], tmp_path: Path) -> None:
    b = bench()
    b.write("summary: s\n" + task("nonsense: {}"), "inner.yaml")
    with pytest.raises(ConfigError) as caught:
        b.load("plays: [{import_playbook: inner.yaml}]\n")
    assert str(caught.value).startswith(f"{tmp_path / 'inner.yaml'}:6:9: ")
