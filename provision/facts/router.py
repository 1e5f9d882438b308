"""Which router a container chose among those that its image has: it says so in its log, before it becomes that one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints, section
from provision.results import Result
from provision.shell import quote

SAID = "qnext: the router is"
"""How the line begins that the container writes [serve/router.py]."""

BEGINNING = 100
"""Lines of the log in which it is looked for: a login shell may write before it, and a router writes a lot after it."""


@dataclass(frozen=True, slots=True)
class RouterChoiceValue:
    """``chosen``: vllm-router, nginx or the built-in one; empty where no container has said."""

    chosen: str = ""
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouterChoice(Fact[RouterChoiceValue]):
    """What the router's container of our cluster chose."""

    name: ClassVar[str] = "router-choice"
    deadline: ClassVar[float] = 25.0
    cluster: str = ""

    def script(self) -> str:
        ours = f"--filter {quote(f'label=qnext.cluster={self.cluster}')} --filter label=qnext.process=router"
        return f"""\
command -v docker >/dev/null || exit 0
id=$(timeout 10 docker ps -aq {ours} 2>/dev/null | head -n 1)
[ -n "$id" ] || exit 0
echo '@@ log'
timeout 10 docker logs "$id" 2>/dev/null | head -n {BEGINNING} | grep -a {quote(SAID)}
:
"""

    def parse(self, raw: Result) -> RouterChoiceValue:
        found = re.search(rf"^{SAID} ([a-z-]+(?: [a-z-]+)*)\s*$", section(raw.stdout, "log"), re.MULTILINE)
        return RouterChoiceValue(found[1] if found else "", complaints(raw))
