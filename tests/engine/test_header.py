"""Headers and parameters: what makes a playbook a command."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from provision.engine.header import playbooks, read_header, resolve_params
from provision.errors import ConfigError, UsageError

TEXT = """\
# Take a node out of service.
#
# It waits for requests under way.
summary: Drain a node
confirm: true
unreachable: continue
params:
  node: {required: true, help: which node}
  grace: {type: int, default: 60, min: 0}
  share: {type: float}
  force: {type: bool, default: false}
  how: {type: choice, choices: [soft, hard], default: soft}
  names: {type: list}
plays: []
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "drain.yaml"
    path.write_text(TEXT)
    return path


def test_header(path: Path) -> None:
    header = read_header(path)
    assert (header.name, header.summary) == ("drain", "Drain a node")
    assert header.doc == "Take a node out of service.\n\nIt waits for requests under way."
    assert (header.confirm, header.lint, header.whole, header.unreachable) == (True, False, False, "continue")
    assert [(param.name, param.type) for param in header.params] == [
        ("node", "string"),
        ("grace", "int"),
        ("share", "float"),
        ("force", "bool"),
        ("how", "choice"),
        ("names", "list"),
    ]


def test_defaults(path: Path) -> None:
    values = resolve_params(read_header(path), {"node": "a"})
    assert values == {"node": "a", "grace": 60, "share": None, "force": False, "how": "soft", "names": None}


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("grace", "5", 5),
        ("grace", 5, 5),
        ("share", "0.5", 0.5),
        ("share", 1, 1.0),
        ("force", "true", True),
        ("force", True, True),
        ("how", "hard", "hard"),
        ("names", "a,b", ["a", "b"]),
        ("names", ("a", "b"), ["a", "b"]),
        ("node", 7, "7"),
    ],
)
def test_values(path: Path, name: str, given: object, value: object) -> None:
    found = resolve_params(read_header(path), {"node": "a", name: given})[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "drain needs node"),
        ({"nod": "a"}, "drain has no parameter 'nod'"),
        ({"node": "a", "grace": "soon"}, "grace takes a whole number"),
        ({"node": "a", "grace": 1.5}, "grace takes a whole number"),
        ({"node": "a", "grace": True}, "grace takes a whole number"),
        ({"node": "a", "grace": -1}, "grace takes 0 or more, not the number -1"),
        ({"node": "a", "share": "much"}, "share takes a number"),
        ({"node": "a", "force": "perhaps"}, "force takes true or false"),
        ({"node": "a", "how": "softly"}, "how is one of soft, hard, not softly"),
        ({"node": ["a"]}, "node takes a text, not a list"),
        ({"node": "a", "names": 3}, "names takes a list"),
    ],
)
def test_refused_values(path: Path, given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_params(read_header(path), given)


def test_a_refused_value_shows_what_was_meant(path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        resolve_params(read_header(path), {"nod": "a"})
    assert caught.value.hint == "did you mean 'node'?"


def test_a_broken_header(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("summary: [a]\nconfirm: 1\nunreachable: go\n")
    with pytest.raises(ConfigError) as caught:
        read_header(path)
    found = [str(error.where).rpartition("/")[2] for error in [caught.value, *caught.value.others]]
    assert found == ["x.yaml:1:10", "x.yaml:1:1", "x.yaml:3:14", "x.yaml:2:10"]


def test_the_first_folder_that_has_a_name_wins(tmp_path: Path) -> None:
    for folder, names in (("own", ["up"]), ("shipped", ["up", "down"])):
        (tmp_path / folder).mkdir()
        for name in names:
            (tmp_path / folder / f"{name}.yaml").write_text(TEXT)
    found = playbooks([tmp_path / "own", tmp_path / "missing", tmp_path / "shipped"])
    assert found == {"up": tmp_path / "own/up.yaml", "down": tmp_path / "shipped/down.yaml"}


def test_reading_a_header_loads_nothing_heavy(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from provision.engine.header import read_header; "
        f"read_header(Path({str(path)!r})); "
        "print([name for name in ('pydantic', 'jinja2', 'paramiko', 'rich', 'fabric') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
