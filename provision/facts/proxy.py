"""HTTP proxies that Docker's client puts into every container it starts, unasked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from provision.facts.base import Fact
from provision.facts.reading import complaints
from provision.results import Result


@dataclass(frozen=True, slots=True)
class ProxyValue:
    """``proxies``: what stands in docker's client configuration by name (httpProxy, httpsProxy, noProxy), without users
    and passwords. ``file`` is where."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    problems: tuple[str, ...] = ()

    @property
    def exempt(self) -> tuple[str, ...]:
        """Hosts that no proxy is asked for."""
        return tuple(word for word in re.split(r"[,\s]+", self.proxies.get("noProxy", "")) if word)


@dataclass(frozen=True, slots=True)
class Proxy(Fact[ProxyValue]):
    """Proxy settings of docker's client."""

    name: ClassVar[str] = "proxy"

    def script(self) -> str:
        # Passwords in proxy URLs stay on the node.
        return """\
f=${DOCKER_CONFIG:-${HOME:-/root}/.docker}/config.json
[ -r "$f" ] || exit 0
echo "$f"
grep -o -E '"(httpProxy|httpsProxy|allProxy|noProxy)" *: *"[^"]*"' "$f" | sed 's#//[^@/"]*@#//#'
:
"""

    def parse(self, raw: Result) -> ProxyValue:
        file, _, rest = raw.stdout.partition("\n")
        found = re.findall(r'"(\w+)" *: *"([^"]*)"', rest)
        return ProxyValue({name: value for name, value in found if value}, file, complaints(raw))
