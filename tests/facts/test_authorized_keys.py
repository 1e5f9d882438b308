"""Lines of a cluster in authorized_keys: found by their comment, and no one else's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.authorized_keys import AuthorizedKeys
from provision.results import Result


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, False),
        ("ssh-ed25519 AAAA admin\n", False),
        ("ssh-ed25519 AAAA qnext:other\nssh-ed25519 AAAA qnext:prod-2\n# qnext:prod is ours\n", False),
        ('restrict,command="sh x" ssh-ed25519 AAAA qnext:prod\nssh-ed25519 AAAA admin\n', True),
    ],
)
def test_a_line_of_ours_is_found(
    text: str | None, found: bool, look: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    if text is not None:
        (tmp_path / ".ssh/authorized_keys").write_text(text)

    value = look(AuthorizedKeys("prod"))

    assert (value.files == (str(tmp_path / ".ssh/authorized_keys"),), value.problems) == (found, ())


@given(st.text(), st.integers(0, 255))
def test_no_text_is_too_odd(text: str, exit: int) -> None:
    AuthorizedKeys("prod").parse(Result("", exit, text))
