"""Every string comes back as it was, by whichever rules it is read."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given, strategies

from provision.errors import ConfigError
from provision.serve.export.yamlfile import dump

TEXTS = strategies.text(strategies.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(TEXTS)
@example("1e3")
@example("0o17")
@example("no")
@example("12:30")
@example("a: b # c")
@example("#!/bin/sh\n\techo x\n")
@example("trailing \n\n")
@example("\x85\u2028\ufeff")
@example("a\r\nb\n")
def test_strings_come_back(text: str) -> None:
    assert yaml.safe_load(dump([], [{"key": [text], text: "value"}])) == {"key": [text], text: "value"}


@pytest.mark.parametrize("text", ["1e3", "0x1F", "1_000", "yes", "Null", "y", "2026-01-01", "", "~", "=", "<<", ".5"])
def test_what_some_reader_would_take_for_something_else_is_quoted(text: str) -> None:
    assert dump([], [{"key": text}]) == f"key: '{text}'\n"


def test_scripts_are_blocks() -> None:
    assert (
        dump(["Head", ""], [{"a.sh": "#!/bin/sh\n\techo 'x'\n"}]) == "# Head\n#\na.sh: |\n  #!/bin/sh\n  \techo 'x'\n"
    )


def test_documents_stand_apart() -> None:
    text = dump([], [{"one": 1}, {"two": [{"three": True}]}])
    assert text == "one: 1\n---\ntwo:\n  - three: true\n"


def test_a_nul_is_refused() -> None:
    with pytest.raises(ConfigError, match="NUL"):
        dump([], [{"key": "a\0b"}])
