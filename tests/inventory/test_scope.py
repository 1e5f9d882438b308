"""A host's variables are evaluated when they are read. (That the values are Ansible's: test_as_ansible.)"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from provision.errors import ConfigError
from provision.inventory.scope import HostScope, Lookup, unlazy
from provision.yamlio import loads


def scope(text: str, **magic: object) -> HostScope:
    return HostScope(loads(text).children, magic)


def test_values_inside_of_others_are_evaluated_when_read() -> None:
    found = scope("m: {list: ['{{ n }}', {k: 'x{{ n }}'}], n: 5}\nn: 1\npicked: '{{ m.list[1].k }}{{ m.n }}'\n")
    assert found["picked"] == "x15"
    assert unlazy(found["m"]) == {"list": [1, {"k": "x1"}], "n": 5}
    assert found["m"]["list"][0:1] == [1]
    assert repr(found["m"]) == "{'list': [1, {'k': 'x1'}], 'n': 5}"
    assert list(found) == ["m", "n", "picked"]
    assert len(found) == 3


def test_a_value_that_looks_like_a_template_is_not_evaluated_again() -> None:
    assert scope("a: \"{{ '{{ b }}' }}\"\nc: '{{ a }}'\n")["c"] == "{{ b }}"


def test_a_circle_is_an_error_at_a_place() -> None:
    with pytest.raises(ConfigError, match="refers to itself") as caught:
        scope("a: '{{ b }}'\nb: '{{ a }}'\n")["a"]
    assert caught.value.where is not None


def test_the_same_text_twice_is_no_circle() -> None:
    assert scope("a: '{{ x }}'\nb: '{{ x }}'\nx: 1\nc: '{{ a + b }}'\n")["c"] == 2


def test_threads_do_not_see_each_others_circles() -> None:
    found = scope("a: '{{ slow }}'\nslow: '{{ n }}'\nn: 1\n")
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(200):
                assert found["a"] == 1
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_narrowed_scope_hides_names_from_readers_only() -> None:
    found = scope("secret: s\nshown: 'x{{ secret }}'\n").without({"secret"})
    assert "secret" not in found
    assert found["shown"] == "xs"


def test_lookups(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from a file\n")
    lookup = Lookup({"SET": "from the environment"}, tmp_path)
    found = scope(
        "a: \"{{ lookup('env', 'SET') }}\"\nb: \"{{ lookup('ansible.builtin.file', 'key') }}\"\n"
        "c: \"{{ lookup('env', 'UNSET') }}\"\nd: \"{{ lookup('env', 'UNSET', default='x') }}\"\n"
        "e: \"{{ lookup('file', 'absent') }}\"\nf: \"{{ lookup('pipe', 'id') }}\"\n",
        lookup=lookup,
    )
    assert [found[name] for name in "abcd"] == ["from the environment", "from a file", "", "x"]
    for name, message in (("e", "No such file"), ("f", "is not known here")):
        with pytest.raises(ConfigError, match=message):
            found[name]
