"""Template files: what a shell template prints is quoted, and what is wrong is named with its line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import ConfigError, Position
from provision.resources import shipped
from provision.secrets import Secret
from provision.template.environment import render_template, shell_environment
from provision.template.filters import FROM_JINJA, FROM_JINJA_TESTS, OWN

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def writer(text: str, name: str = "t.sh.j2") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return writer


def test_values_are_words_and_lists_are_several(write: Write) -> None:
    path = write("{% for w in words %}\nrun {{ w }}\n{% endfor %}\nall {{ words }} {{ n }} {{ yes }}\n")
    assert render_template(path, words=["a b", "$(id)", "plain"], n=8, yes=True) == (
        "run 'a b'\nrun '$(id)'\nrun plain\nall 'a b' '$(id)' plain 8 true\n"
    )


def test_raw_values_and_the_templates_own_text_are_not_quoted(write: Write) -> None:
    path = write("x=$HOME; {{ command | raw }} {{ '$y' }} \"{{ name | raw }}\"\n")
    assert render_template(path, command="a && b", name="n") == "x=$HOME; a && b '$y' \"n\"\n"


def test_what_is_joined_to_a_raw_value_is_quoted_again(write: Write) -> None:
    assert render_template(write("{{ (a | raw) ~ b }}"), a="x", b="; rm") == "'x; rm'"


@given(value=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1))
def test_any_value_arrives_in_sh_as_it_was(value: str) -> None:
    script = shell_environment().from_string("printf %s {{ value }}").render(value=value)
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert done.stdout.decode() == value


WRONG = {
    "ok\n{{ missing }}\n": (2, "'missing' is undefined"),
    "ok\n\n{{ secret }}\n": (3, "a secret cannot be printed"),
    "{{ none }}\n": (1, "a value is None here"),
    "ok\n{{ nul }}\n": (2, "NUL"),
    "ok\n{{ words | nofilter }}\n": (2, "No filter named 'nofilter'"),
    "ok\n{% if %}\n": (2, "Expected an expression"),
    'ok\nx="{{ words }}"\n': (2, "would be quoted twice"),
    "x='{{ words | join(',') }}'\n": (1, "would be quoted twice"),
    "{% for w in secrets %}\n{{ w }}\n{% endfor %}": (2, "a secret cannot be printed"),
    "ok\n{{ secrets }}\n": (2, "a secret cannot be printed"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_named_with_its_line(text: str, write: Write) -> None:
    line, message = WRONG[text]
    path = write(text)
    secret = Secret.of("c4nary")
    with pytest.raises(ConfigError) as caught:
        render_template(path, words=["a"], secret=secret, secrets=[secret], none=None, nul="a\0b")
    assert message in caught.value.message
    assert caught.value.where == Position(str(path), line, 1)
    assert "c4nary" not in str(caught.value)


def test_a_missing_template_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.sh\.j2: No such file"):
        render_template(tmp_path / "absent.sh.j2")
    with pytest.raises(ConfigError, match="No such file"):
        render_template("no/such.sh.j2")


def test_other_files_are_not_quoted_but_as_strict(write: Write) -> None:
    assert render_template(write("{{ a }}\n", "t.conf.j2"), a="x y") == "x y\n"
    for value in (None, Secret.of("abcd")):
        with pytest.raises(ConfigError):
            render_template(write("{{ a }}\n", "t.conf.j2"), a=value)


@pytest.mark.parametrize("path", sorted(shipped("templates").rglob("*.sh.j2")), ids=lambda path: path.name)
def test_shipped_templates_compile(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        render_template(path)
    assert "undefined" in caught.value.message, "without values, that something is undefined is all that is wrong"


def test_filters_and_tests_are_a_fixed_list() -> None:
    environment = shell_environment()
    assert set(environment.filters) == {*FROM_JINJA, *OWN}
    assert set(environment.tests) == set(FROM_JINJA_TESTS)
    assert environment.globals == {}
