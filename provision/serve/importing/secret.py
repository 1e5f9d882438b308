"""Tells what in a pasted command is secret, so that it is neither written into an inventory nor shown in a note.

By name where a name says so, by value where a URL carries a password. Too much is hidden rather than too little: a
hidden value is asked for again, a written one is in somebody's repository.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

TOKEN_OPTION, TOKEN_VARIABLE = "hf-token", "HF_TOKEN"
"""The option of ``vllm serve`` that is secret beside the API key, and the variable that says the same [vllm serve
--help; huggingface_hub, environment variables]."""

_NAME = re.compile(
    r"(?:TOKEN|SECRET|PASSWORD|PASSWD|ACCESS_KEY|API_KEY|APIKEY|SECRET_KEY|CREDENTIALS?|(?:\A|_)(?:KEY|PASS|PASSPHRASE))\Z",
    re.IGNORECASE,
)
_URL = re.compile(r"(://)[^/\s@'\"]*:[^/\s@'\"]+@")
_SHOWN = (
    re.compile(r"((?:token|secret|passw(?:or)?d|passphrase|credentials?|key|pass)(?:=|\s+|:\s*)[\"']?)\S+", re.I),
    re.compile(r"((?:bearer|basic)\s+)\S+", re.I),
    re.compile(r"((?:\A|\s)-p[\s=]?)[^\s-]\S*"),
    re.compile(r"(://)[^/\s@]+(?=@)"),
)
"""Where a value stands that may be secret; what is before it is kept."""


def secret_names(env: Mapping[str, str]) -> tuple[str, ...]:
    """The variables whose values must not be written down."""
    return tuple(name for name, value in env.items() if _NAME.search(name) or _URL.search(value))


def masked(text: str) -> str:
    """A text for a message, without what may be a secret in it."""
    for pattern in _SHOWN:
        text = pattern.sub(r"\1…", text)
    return text
