"""Whole runs over nodes in memory: what Ansible's words do here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from provision.engine.state import exit_code
from provision.errors import (
    ChecksFailed,
    ConnectionLost,
    Drift,
    Interrupted,
    LockHeld,
    ProvisionError,
    UsageError,
)
from provision.events import (
    ActionDone,
    ActionPlanned,
    CommandRan,
    Found,
    NodeUnreachable,
    Note,
    PlayEnded,
    PlayStarted,
    Progressed,
    RunEnded,
    RunStarted,
    TaskEnded,
    TaskStarted,
)

Bench = Any
Make = Callable[..., Bench]


def statuses(bench: Bench, task: str) -> dict[str, str]:
    return {event.node: event.status for event in bench.seen.of(TaskEnded) if event.task == task}


def messages(bench: Bench, task: str) -> dict[str, str]:
    return {event.node: event.message for event in bench.seen.of(TaskEnded) if event.task == task}


# ---- observe, plan, apply


def test_a_change_is_made_where_it_is_needed_and_nowhere_else(bench: Make) -> None:
    b = bench()
    b["b"].state["x"] = "1"
    report = b.tasks("- ensure: {key: x}")
    assert statuses(b, "ensure") == {"a": "changed", "b": "ok", "c": "changed"}
    assert report.exit_code == 0
    assert report.changed == 2
    assert b["b"].changed_by == []


def test_a_second_run_changes_nothing_and_costs_one_exec(bench: Make) -> None:
    b = bench()
    playbook = "- ensure: {key: x}\n- ensure: {key: y}\n- look: {key: z}"
    b.tasks(playbook)
    before = b.execs
    report = b.tasks(playbook)
    assert report.changed == 0
    assert {name: count - before[name] for name, count in b.execs.items()} == {"a": 1, "b": 1, "c": 1}


def test_facts_of_all_plays_travel_in_the_first_exec(bench: Make) -> None:
    b = bench("a")
    b.run(
        """
plays:
  - {name: one, hosts: all, tasks: [{look: {key: x}}, {look: {key: y}}]}
  - {name: two, hosts: all, tasks: [{look: {key: z}}]}
"""
    )
    assert [sent.text for sent in b["a"].sent] == ["get x,get y,get z"]


def test_after_a_change_all_that_is_still_needed_is_observed_in_one_exec(bench: Make) -> None:
    b = bench("a")
    b.tasks("- ensure: {key: x, value: '2'}\n- look: {key: y}\n- look: {key: z}")
    assert [sent.text for sent in b["a"].sent] == ["get x,get y,get z", "set x 2", "get x,get y,get z"]


def test_a_change_that_affects_other_facts_leaves_the_rest_known(bench: Make) -> None:
    b = bench("a")
    b.tasks("- script: {text: set o 1, affects: other}\n- look: {key: x}\n- look: {key: o, fact: other}")
    assert [sent.text for sent in b["a"].sent] == ["get x,get o", "set o 1", "get o"]


def test_an_unlisted_fact_is_observed_when_it_is_asked_for(bench: Make) -> None:
    b = bench("a")
    b["a"].state["x"] = "7"
    b.tasks("- late: {key: x}")
    assert messages(b, "late") == {"a": "x=7"}


def test_facts_of_a_task_that_will_not_run_are_not_observed(bench: Make) -> None:
    b = bench("a")
    b.tasks("- look: {key: x}\n- look: {key: y}\n  when: inventory_index > 0")
    assert [sent.text for sent in b["a"].sent] == ["get x"]


def test_a_fact_that_cannot_be_parsed_fails_the_task_with_the_raw_answer(bench: Make) -> None:
    b = bench("a")
    b["a"].state["x"] = "garbage"
    report = b.tasks("- look: {key: x}")
    assert report.exit_code == 1
    [ended] = [event for event in b.seen.of(TaskEnded) if event.task == "look"]
    assert "cannot read garbage" in ended.message
    assert ended.evidence == "garbage"


PLANNABLE = """
- ensure: {key: x, value: '5'}
- file: {path: /etc/qnext/conf, content: new}
- together: {script: set y 1}
- rm: {path: /var/tmp/thing, content: ''}
"""


def test_a_plan_sends_nothing_but_probes(bench: Make) -> None:
    b = bench()
    report = b.tasks(PLANNABLE, mode="plan")
    assert report.exit_code == 0
    assert {sent.kind for name in "abc" for sent in b[name].sent} == {"probe"}
    assert all(node.state == {} and node.files == {} for node in b.pool.nodes.values())


def test_what_is_planned_is_what_is_done(bench: Make) -> None:
    b = bench()
    planned = b.tasks(PLANNABLE, mode="plan")
    would = sorted((event.node, event.task, event.label, event.detail) for event in b.seen.of(ActionPlanned))
    applied = b.tasks(PLANNABLE)
    did = sorted((event.node, event.task, event.label, event.detail) for event in b.seen.of(ActionDone))
    assert would == did
    assert len(would) == 12
    assert planned.changed == applied.changed == 12


def test_a_plan_does_not_say_that_something_was_done(bench: Make) -> None:
    b = bench("a", "b")
    b.tasks("- file: {path: /etc/qnext/conf, content: new}\n- together: {script: set y 1}", mode="plan")
    assert messages(b, "file") == {"a": "1 action planned", "b": "1 action planned"}
    assert messages(b, "together") == {"a": "2 actions planned", "b": "2 actions planned"}


def test_what_a_plan_cannot_know_is_unknown_and_never_failed(bench: Make) -> None:
    b = bench("a")
    report = b.tasks(
        """
- ensure: {key: x, value: '5'}
  register: first
- look: {key: x}
- say: {message: "{{ first.value }}"}
- say: {message: hello}
  when: first.value == '5'
- refuse: {}
  when: first.value != '5'
- late: {key: y, fact: other}
""",
        mode="plan",
    )
    assert report.exit_code == 0
    ended = [(event.task, event.status) for event in b.seen.of(TaskEnded) if event.task != "observe"]
    assert ended == [
        ("ensure", "unknown"),
        ("look", "unknown"),
        ("say", "unknown"),
        ("say", "unknown"),
        ("refuse", "unknown"),
        ("late", "ok"),
    ]
    assert "known only after: set x" in messages(b, "look")["a"]


def test_a_play_over_what_a_plan_cannot_know_is_passed_by(bench: Make) -> None:
    b = bench("a")
    report = b.run(
        """
plays:
  - {name: one, hosts: all, tasks: [{ensure: {key: x}, register: r}]}
  - {name: two, hosts: all, loop: "{{ r.value }}", tasks: [{say: {}}]}
  - {name: three, hosts: all, tasks: [{name: after, say: {}}]}
""",
        mode="plan",
    )
    assert report.exit_code == 0
    assert [event.text for event in b.seen.of(Note)] == ["two: known only after: set x"]
    assert statuses(b, "after") == {"a": "ok"}


def test_after_a_planned_change_of_anything_no_look_is_taken(bench: Make) -> None:
    b = bench("a")
    b.tasks("- script: {text: set x 1, affects: all}\n- late: {key: z, fact: other}", mode="plan")
    assert statuses(b, "late") == {"a": "unknown"}
    assert b["a"].sent == []


def test_a_script_that_affects_nothing_is_no_change(bench: Make) -> None:
    b = bench("a")
    report = b.tasks("- script: {text: get x, affects: ''}")
    assert statuses(b, "script") == {"a": "ok"}
    assert report.changed == 0


# ---- failure


def test_a_failed_node_leaves_and_the_others_go_on(bench: Make) -> None:
    b = bench()
    report = b.tasks("- refuse: {nodes: [b]}\n- say: {}")
    assert report.exit_code == 1
    assert statuses(b, "refuse") == {"a": "ok", "b": "failed", "c": "ok"}
    assert statuses(b, "say") == {"a": "ok", "c": "ok"}
    assert report.errors["b"].hint == "ask nicely"


def test_a_failed_node_is_out_of_later_plays(bench: Make) -> None:
    b = bench()
    b.run(
        """
plays:
  - {name: one, hosts: all, tasks: [{refuse: {nodes: [a]}}]}
  - {name: two, hosts: all, tasks: [{say: {}}]}
"""
    )
    assert statuses(b, "say") == {"b": "ok", "c": "ok"}


def test_a_cluster_that_fails_ends_the_run(bench: Make) -> None:
    b = bench()
    report = b.run(
        """
plays:
  - {name: one, hosts: all, tasks: [{together: {script: set x 1, fail: b}}, {say: {}}]}
  - {name: two, hosts: all, tasks: [{say: {}}]}
"""
    )
    assert report.exit_code == 1
    assert statuses(b, "together") == {"a": "changed", "b": "failed", "c": "changed"}
    assert statuses(b, "say") == {}
    assert report.changed == 3
    assert "'together' on b: the cluster cannot" in report.summary


def test_what_a_cluster_did_on_some_nodes_is_not_said_of_the_others(bench: Make) -> None:
    b = bench()
    b.tasks("- together: {script: set x 1, on: [b]}")
    ended = {event.node: (event.status, event.message) for event in b.seen.of(TaskEnded) if event.task == "together"}
    assert ended == {"a": ("ok", ""), "b": ("changed", "1 nodes"), "c": ("ok", "")}


def test_a_cluster_failure_that_names_no_node(bench: Make) -> None:
    b = bench()
    report = b.tasks("- together: {script: set x 1, fail: all}")
    assert report.exit_code == 1
    assert statuses(b, "together") == {"a": "changed", "b": "changed", "c": "changed", "": "failed"}
    assert report.changed == 3


def test_an_action_of_a_cluster_that_fails_on_one_node_has_run_on_all(bench: Make) -> None:
    b = bench()
    b["b"].before_run = lambda script: (_ for _ in ()).throw(AssertionError) if script == "never" else None
    report = b.tasks("- together: {script: fail 3}")
    assert report.exit_code == 1
    assert all(any(sent.text == "fail 3" for sent in b[name].sent) for name in "abc")
    assert [event.ok for event in b.seen.of(ActionDone)] == [False, False, False]


def test_the_error_of_an_action_is_thrown_into_the_module(bench: Make) -> None:
    b = bench("a")
    report = b.tasks("- brave: {text: fail 3}")
    assert report.exit_code == 0
    assert messages(b, "brave")["a"].startswith("handled: try: exit status 3")
    assert b["a"].state == {"x": "rescued"}


def test_an_unhandled_failure_carries_evidence_and_remedy(bench: Make) -> None:
    b = bench("a")
    b.tasks("- script: {text: fail 7}")
    [ended] = b.seen.of(TaskEnded)
    assert (ended.status, ended.hint, ended.evidence) == ("failed", "try again", "status 7")
    assert "exit status 7" in ended.message


@pytest.mark.parametrize(("ok", "status"), [("[0, 7]", "changed"), ("[7]", "changed"), ("[0]", "failed")])
def test_exit_statuses_that_count_as_success(bench: Make, ok: str, status: str) -> None:
    b = bench("a")
    b.tasks(f"- script: {{text: fail 7, ok: {ok}}}")
    assert statuses(b, "script") == {"a": status}


def test_success_that_is_no_expected_status_is_a_failure(bench: Make) -> None:
    b = bench("a")
    b.tasks("- script: {text: set x 1, ok: [3]}")
    assert messages(b, "script")["a"] == "script: exit status 0, expected 3"


def test_a_broken_module_is_a_failure_with_its_traceback(bench: Make) -> None:
    b = bench("a")
    report = b.tasks("- broken: {}")
    assert report.exit_code == 1
    [ended] = b.seen.of(TaskEnded)
    assert "module broken broke: KeyError" in ended.message
    assert "Traceback" in ended.evidence or "KeyError" in ended.evidence


def test_ignore_errors(bench: Make) -> None:
    b = bench("a")
    report = b.tasks("- refuse: {}\n  ignore_errors: true\n  register: r\n- say: {message: '{{ r.failed }}'}")
    assert report.exit_code == 0
    assert statuses(b, "refuse") == {"a": "warned"}
    assert messages(b, "say") == {"a": "True"}


def test_a_lost_connection_is_exit_4_and_is_not_ignored(bench: Make) -> None:
    b = bench()
    report = b.tasks(
        "- script: {text: \"{{ 'lose' if inventory_hostname == 'b' else 'set x 1' }}\"}\n  ignore_errors: true"
    )
    assert report.exit_code == 4
    assert statuses(b, "script") == {"a": "changed", "b": "unreachable", "c": "changed"}


# ---- unreachable at the start


def test_nothing_is_done_while_a_node_is_unreachable(bench: Make) -> None:
    b = bench()
    b.pool.down = {"c"}
    report = b.tasks("- ensure: {}")
    assert report.exit_code == 4
    assert b.execs == {"a": 0, "b": 0, "c": 0}
    assert [(event.node, event.hint) for event in b.seen.of(NodeUnreachable)] == [("c", "is it on?")]
    assert report.summary == "c cannot be reached; nothing was done"


def test_the_others_go_on_where_that_is_allowed(bench: Make) -> None:
    b = bench()
    b.pool.down = {"c"}
    report = b.tasks("- ensure: {}", allow_unreachable=True)
    assert report.exit_code == 4
    assert statuses(b, "ensure") == {"a": "changed", "b": "changed"}
    assert report.summary == "c cannot be reached; on the others: 2 actions performed on 2 nodes"


# ---- Ansible's words


def test_when_loop_register_and_results(bench: Make) -> None:
    b = bench("a")
    b.tasks(
        """
- say: {message: "{{ item }}"}
  loop: [one, two, three]
  when: item != 'two'
  register: said
- say: {message: "{{ said.results[0].message }} {{ said.results[1].skipped }} {{ said.results | length }}"}
  name: then
"""
    )
    assert messages(b, "then") == {"a": "one True 3"}


def test_skipped_tasks(bench: Make) -> None:
    b = bench()
    b.tasks(
        """
- say: {}
  when: [inventory_hostname != 'b', true]
  register: r
- {name: n, say: {message: "{{ r.skipped }}"}}
"""
    )
    assert statuses(b, "say") == {"a": "ok", "b": "skipped", "c": "ok"}
    assert messages(b, "n") == {"a": "False", "b": "True", "c": "False"}


def test_until_tries_again_with_fresh_facts(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    b = bench("a")
    pauses: list[float] = []

    def pause(seconds: float, stop: object = None) -> bool:
        if seconds == 0.25:
            pauses.append(seconds)
            b["a"].state["x"] = str(len(pauses))
        return True

    monkeypatch.setattr("provision.clock.sleep", pause)
    report = b.tasks("- look: {key: x}\n  register: r\n  until: r.value == '2'\n  retries: 5\n  delay: 0.25")
    assert report.exit_code == 0
    assert pauses == [0.25, 0.25]


def test_until_that_never_holds_fails(bench: Make) -> None:
    b = bench("a")
    report = b.tasks("- look: {key: x}\n  register: r\n  until: r.value == '2'\n  retries: 1\n  delay: 0")
    assert report.exit_code == 1
    assert messages(b, "look") == {"a": "after 2 tries it still does not hold that r.value == '2'"}


def test_a_plan_does_not_wait(bench: Make) -> None:
    b = bench("a")
    report = b.tasks("- look: {key: x}\n  register: r\n  until: r.value == '2'\n  delay: 100", mode="plan")
    assert report.exit_code == 0
    assert messages(b, "look") == {"a": "would wait until r.value == '2'"}


def test_retries_without_until_try_failures_again(bench: Make) -> None:
    b = bench("a")
    tries: list[str] = []
    b["a"].before_run = tries.append
    b.tasks("- script: {text: fail 1}\n  retries: 2\n  delay: 0")
    assert tries == ["fail 1"] * 3
    assert statuses(b, "script") == {"a": "failed"}


def test_run_once_registers_for_all(bench: Make) -> None:
    b = bench()
    b.tasks(
        """
- say: {message: "{{ inventory_hostname }}"}
  run_once: true
  register: r
- {name: n, say: {message: "{{ r.message }}"}}
"""
    )
    assert statuses(b, "say") == {"a": "ok"}
    assert messages(b, "n") == {"a": "a", "b": "a", "c": "a"}


def test_hosts_of_a_task(bench: Make) -> None:
    b = bench()
    b.tasks("- say: {}\n  hosts: workers")
    assert statuses(b, "say") == {"b": "ok", "c": "ok"}


def test_handlers_run_once_in_their_order_where_something_changed(bench: Make) -> None:
    b = bench()
    b["b"].state["x"] = "1"
    b.run(
        """
plays:
  - name: p
    hosts: all
    tasks:
      - ensure: {key: x}
        notify: [second, first]
      - say: {}
        notify: first
      - ensure: {key: y}
        notify: second
    handlers:
      - {name: first, say: {}}
      - {name: second, say: {}}
"""
    )
    told = [(event.task, event.nodes) for event in b.seen.of(TaskStarted) if event.task in ("first", "second")]
    assert told == [("first", ("a", "c")), ("second", ("a", "c", "b"))] or told == [
        ("first", ("a", "c")),
        ("second", ("a", "b", "c")),
    ]


def test_handlers_do_not_run_on_failed_nodes(bench: Make) -> None:
    b = bench("a", "b")
    b.run(
        """
plays:
  - name: p
    hosts: all
    tasks:
      - {ensure: {key: x}, notify: h}
      - {refuse: {nodes: [a]}}
    handlers: [{name: h, say: {}}]
"""
    )
    assert statuses(b, "h") == {"b": "ok"}


RESCUE = """
plays:
  - name: p
    hosts: all
    tasks: [{name: main, refuse: {nodes: [b], message: it broke}}, {name: rest, say: {}}]
    rescue: [{name: look after, say: {message: "{{ failure.task }}: {{ failure.message }}"}}, RESCUE]
  - {name: next, hosts: all, tasks: [{name: later, say: {}}]}
"""


def test_rescue_brings_a_failed_node_back(bench: Make) -> None:
    b = bench()
    report = b.run(RESCUE.replace("RESCUE", "{say: {}}"))
    assert report.exit_code == 0
    assert messages(b, "look after") == {"b": "main: it broke"}
    assert set(statuses(b, "later")) == {"a", "b", "c"}
    assert report.counts["b"]["rescued"] == 1


def test_a_rescue_that_fails_keeps_the_first_error(bench: Make) -> None:
    b = bench()
    report = b.run(RESCUE.replace("RESCUE", "{refuse: {message: worse}}"))
    assert report.exit_code == 1
    assert report.errors["b"].message == "it broke"
    assert set(statuses(b, "later")) == {"a", "c"}


def test_rescue_of_a_cluster_runs_on_all_its_nodes(bench: Make) -> None:
    b = bench()
    report = b.run(
        """
plays:
  - name: p
    hosts: all
    tasks: [{together: {script: set x 1, fail: b}}]
    rescue: [{name: help, say: {message: "{{ failure.node }}"}}]
  - {name: next, hosts: all, tasks: [{name: later, say: {}}]}
"""
    )
    assert messages(b, "help") == {"a": "b", "b": "b", "c": "b"}
    assert report.exit_code == 0
    assert set(statuses(b, "later")) == {"a", "b", "c"}


def test_max_fail_percentage_ends_the_run(bench: Make) -> None:
    b = bench()
    report = b.run(
        """
plays:
  - name: p
    hosts: all
    max_fail_percentage: 0
    tasks: [{refuse: {nodes: [b]}}, {name: then, say: {}}]
  - {name: next, hosts: all, tasks: [{name: later, say: {}}]}
"""
    )
    assert report.exit_code == 1
    assert statuses(b, "then") == statuses(b, "later") == {}


def test_serial_batches_end_at_a_failed_one(bench: Make) -> None:
    b = bench("a", "b", "c", "d")
    b.run(
        """
plays:
  - name: p
    hosts: all
    serial: [1, "50%"]
    max_fail_percentage: 0
    tasks: [{name: t, refuse: {nodes: [c]}}]
"""
    )
    started = [event.nodes for event in b.seen.of(TaskStarted)]
    assert started == [("a",), ("b", "c")]


def test_play_loop_vars_and_when(bench: Make) -> None:
    b = bench()
    b.run(
        """
plays:
  - name: p
    hosts: all
    loop: "{{ groups.workers }}"
    when: inventory_hostname == item
    vars: {greeting: "hello {{ item }}", twice: "{{ greeting }} {{ greeting }}"}
    tasks: [{name: t, say: {message: "{{ twice }}"}}]
"""
    )
    assert messages(b, "t") == {"b": "hello b hello b", "c": "hello c hello c"}


def test_parameters_and_hosts_by_parameter(bench: Make) -> None:
    b = bench()
    playbook = """
summary: s
params:
  node: {required: true}
  count: {type: int, default: 2}
plays:
  - {name: p, hosts: "{{ params.node }}", tasks: [{name: t, say: {message: "{{ params.count + 1 }}"}}]}
"""
    b.run(playbook, {"node": "b"})
    assert messages(b, "t") == {"b": "3"}
    report = b.run(playbook)
    assert report.exit_code == 2
    assert "needs node" in report.summary


def test_tags(bench: Make) -> None:
    tasks = """
- {name: one, say: {}, tags: x}
- {name: two, say: {}}
- {name: three, say: {}, tags: always}
- {name: four, say: {}, tags: [never, y]}
"""

    def ran(**options: Any) -> list[str]:
        b = bench("a")
        b.tasks(tasks, **options)
        return [event.task for event in b.seen.of(TaskStarted)]

    assert ran() == ["one", "two", "three"]
    assert ran(tags=("x",)) == ["one", "three"]
    assert ran(tags=("y",)) == ["three", "four"]
    assert ran(skip_tags=("x",)) == ["two", "three"]


def test_imported_playbooks_take_parameters_and_conditions(bench: Make) -> None:
    b = bench()
    b.write(
        """
summary: inner
params: {word: {required: true}, again: {type: bool, default: false}}
plays:
  - {name: inner, hosts: all, tasks: [{name: t, say: {message: "{{ params.word }} {{ params.again }}"}}]}
""",
        "inner.yaml",
    )
    b.run(
        """
summary: outer
params: {what: {default: yes}}
plays:
  - {import_playbook: inner.yaml, vars: {word: "{{ params.what }}!"}, when: inventory_hostname != 'a'}
  - {import_playbook: inner.yaml, vars: {word: never}, when: false}
"""
    )
    assert messages(b, "t") == {"b": "yes! False", "c": "yes! False"}


# ---- checks


def test_findings_fail_the_task_as_checks(bench: Make) -> None:
    b = bench()
    report = b.tasks(
        """
- tell:
    message: 2 fail
    findings:
      - {summary: no docker, node: b, level: fail, code: P01}
      - {summary: clock is off, node: c, level: warn}
- say: {}
"""
    )
    assert report.exit_code == 3
    assert [(event.node, event.level, event.code) for event in b.seen.of(Found)] == [
        ("b", "fail", "P01"),
        ("c", "warn", ""),
    ]
    assert statuses(b, "tell") == {"b": "failed"}
    assert statuses(b, "say") == {}


def test_warnings_do_not_fail(bench: Make) -> None:
    b = bench("a")
    report = b.tasks("- say: {findings: [{summary: s, level: warn}]}")
    assert report.exit_code == 0
    assert statuses(b, "say") == {"a": "warned"}


# ---- the account


def test_what_modules_contribute_to_the_end(bench: Make) -> None:
    b = bench("a", "b")
    report = b.tasks("- say: {summary: {endpoint: 'http://a:8000'}, next: [curl a, curl a]}")
    [ended] = b.seen.of(RunEnded)
    assert ended.facts == report.facts == {"endpoint": "http://a:8000"}
    assert ended.next == ("curl a",)


def test_events_frame_each_other(bench: Make) -> None:
    b = bench("a")
    b.tasks("- say: {}", command="up", run="r1", directory="/runs/r1")
    kinds = [type(event).__name__ for event in b.seen.events]
    assert kinds == ["RunStarted", "NodeConnected", "PlayStarted", "TaskStarted", "TaskEnded", "PlayEnded", "RunEnded"]
    started = b.seen.of(RunStarted)[0]
    assert (started.command, started.run, started.directory, started.nodes) == ("up", "r1", "/runs/r1", ("a",))
    assert b.seen.of(PlayStarted)[0].nodes == ("a",)
    assert b.seen.of(PlayEnded)[0].play == "test"


def test_every_command_is_told(bench: Make) -> None:
    b = bench("a")
    b.tasks("- ensure: {key: x, value: '3'}\n- file: {path: /a/b/c, content: d}")
    told = [(event.kind, event.script) for event in b.seen.of(CommandRan)]
    assert told == [("probe", "get x"), ("exec", "set x 3"), ("probe", "get x"), ("put", "put /a/b/c")]


def test_diffs_of_files_and_none_of_secrets(bench: Make) -> None:
    b = bench("a")
    b.tasks("- file: {path: /a/b/c, content: new}\n- file: {path: /a/b/d, content: hidden, secret: true}", diff=True)
    shown, hidden = [event.diff for event in b.seen.of(ActionDone)]
    assert "-old" in shown
    assert "+new" in shown
    assert "hidden" not in hidden
    assert "secret" in hidden


@pytest.mark.parametrize("path", ["/", "/var", "relative/path/x", "/var/../etc", ""])
def test_some_paths_are_never_removed(bench: Make, path: str) -> None:
    b = bench("a")
    report = b.tasks(f"- rm: {{path: '{path}', content: ''}}")
    assert report.exit_code == 1
    assert b["a"].sent == []


def test_stop_ends_the_run_with_130(bench: Make) -> None:
    b = bench()
    b["b"].before_run = lambda script: b.stop.set()
    report = b.run(
        """
plays:
  - name: p
    hosts: all
    tasks: [{script: {text: set x 1}}, {name: then, say: {}}]
    rescue: [{name: rescue, say: {}}]
  - {name: later, hosts: all, tasks: [{name: later, say: {}}]}
"""
    )
    assert report.exit_code == 130
    assert statuses(b, "then") == statuses(b, "later") == statuses(b, "rescue") == {}
    assert b.seen.of(RunEnded)[0].exit_code == 130


def test_a_tasks_timeout_ends_its_waits(bench: Make) -> None:
    b = bench("a")
    report = b.tasks("- script: {text: fail 1}\n  timeout: 0.05\n  retries: 100\n  delay: 0.02")
    assert report.exit_code == 1
    assert "within its deadline" in messages(b, "script")["a"]


def test_a_stop_does_not_wait_for_a_node_that_hangs(bench: Make) -> None:
    b = bench()
    hang = threading.Event()

    def wait(script: str) -> None:
        b.stop.set()
        hang.wait(30)

    b["b"].before_run = wait
    started = time.monotonic()
    report = b.tasks("- script: {text: set x 1}\n- {name: then, say: {}}")
    hang.set()
    assert report.exit_code == 130
    assert time.monotonic() - started < 10
    assert statuses(b, "then") == {}
    assert [type(event).__name__ for event in b.seen.events[-2:]] == ["PlayEnded", "RunEnded"]


def test_what_waits_long_is_told(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provision.engine.context.WATCH_EVERY", 0.0)
    b = bench("a")
    b["a"].before_run = lambda script: time.sleep(1.2)
    b.tasks("- script: {text: set x 1}")
    assert [event.text for event in b.seen.of(Progressed)][:1] == ["waiting, 1 s"]


def test_nodes_of_later_plays_are_observed_with_the_first(bench: Make) -> None:
    b = bench("a", "b")
    b.run(
        """
plays:
  - {name: one, hosts: a, tasks: [{look: {key: x}}]}
  - {name: two, hosts: b, tasks: [{look: {key: y}}]}
"""
    )
    assert [event.nodes for event in b.seen.of(TaskStarted) if event.task == "observe"] == [("a", "b")]


def test_rescue_does_not_undo_the_end_of_a_run_with_too_many_failures(bench: Make) -> None:
    b = bench()
    report = b.run(
        """
plays:
  - name: p
    hosts: all
    max_fail_percentage: 0
    tasks: [{refuse: {nodes: [b]}}]
    rescue: [{name: look after, say: {}}]
  - {name: next, hosts: all, tasks: [{name: later, say: {}}]}
"""
    )
    assert report.exit_code == 1
    assert statuses(b, "look after") == {"b": "ok"}
    assert statuses(b, "later") == {}


def test_rescue_runs_on_the_nodes_that_can_still_be_talked_to(bench: Make) -> None:
    b = bench()

    def lose(script: str) -> None:
        raise ConnectionLost("gone")

    b["b"].before_run = lose
    report = b.run(
        """
plays:
  - name: p
    hosts: all
    tasks: [{together: {script: set x 1}}]
    rescue: [{name: keep logs, say: {}}]
"""
    )
    assert report.exit_code == 4
    assert statuses(b, "together") == {"a": "changed", "b": "unreachable", "c": "changed"}
    assert statuses(b, "keep logs") == {"a": "ok", "c": "ok"}


ERRORS: dict[int, ProvisionError] = {
    1: ProvisionError("x"),
    2: UsageError("x"),
    3: ChecksFailed("x"),
    4: ConnectionLost("x"),
    5: LockHeld("x"),
    6: Drift("x"),
    130: Interrupted("x"),
}


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ((), 0),
        ((1,), 1),
        ((3, 1), 3),
        ((1, 3, 4), 4),
        ((4, 130), 130),
        ((6, 1), 1),
        ((6,), 6),
        ((1, 5), 5),
        ((3, 2), 2),
    ],
)
def test_the_exit_code_that_stands_for_several(codes: tuple[int, ...], code: int) -> None:
    assert exit_code([ERRORS[each] for each in codes]) == code
