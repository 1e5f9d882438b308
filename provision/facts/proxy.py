"""HTTP proxies: those that Docker's client puts into every container it starts, unasked, and all others of the node.

The daemon's are for pulls; a login's reach our own commands, and servers that are started without Docker. Passwords in
proxies' URLs stay on the node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from provision.facts.base import Fact
from provision.facts.reading import complaints, sections
from provision.results import Result

Where = Literal["daemon", "login", "shell"]

_NAMES = {"http": "httpProxy", "https": "httpsProxy", "all": "allProxy", "no": "noProxy"}


@dataclass(frozen=True, slots=True)
class ProxySource:
    """``where``: daemon (dockerd pulls through it), login (what logs in gets it), shell (our commands have it).

    ``file`` is empty for the shell's environment. ``proxies`` by docker's names (httpProxy, httpsProxy, allProxy,
    noProxy).
    """

    where: Where
    file: str = ""
    proxies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ProxyValue:
    """``proxies``: what stands in docker's client configuration by name (httpProxy, httpsProxy, noProxy), without users
    and passwords. ``file`` is where. ``others``: everything that isn't for containers."""

    proxies: Mapping[str, str] = field(default_factory=dict)
    file: str = ""
    others: tuple[ProxySource, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def exempt(self) -> tuple[str, ...]:
        """Hosts that containers ask no proxy for."""
        return tuple(word for word in re.split(r"[,\s]+", self.proxies.get("noProxy", "")) if word)

    def of(self, where: Where) -> tuple[ProxySource, ...]:
        """The sources of that kind."""
        return tuple(source for source in self.others if source.where == where)


@dataclass(frozen=True, slots=True)
class Proxy(Fact[ProxyValue]):
    """Proxy settings of docker's client and daemon, of logins, and of our own shell."""

    name: ClassVar[str] = "proxy"

    def script(self) -> str:
        return _LOOK

    def parse(self, raw: Result) -> ProxyValue:
        client: dict[str, str] = {}
        file = ""
        others: list[ProxySource] = []
        for part in sections(raw.stdout):
            if part.words[:1] == ("client",):
                file = " ".join(part.words[1:])
                client = {name: value for name, value in re.findall(r'"(\w+)" *: *"([^"]*)"', part.body) if value}
            elif part.words == ("daemon.json",):
                found = re.findall(r'"(http|https|no)-proxy" *: *"([^"]*)"', part.body)
                others += _source("daemon", "/etc/docker/daemon.json", found)
            elif part.words == ("files",):
                others += _files(part.lines)
            elif part.words == ("shell",):
                others += _source("shell", "", [_assignment(line) for line in part.lines])
        return ProxyValue(client, file, tuple(others), complaints(raw))


_LOOK = r"""
f=${DOCKER_CONFIG:-${HOME:-/root}/.docker}/config.json
[ -r "$f" ] && { echo "@@ client $f"
  grep -o -E '"(httpProxy|httpsProxy|allProxy|noProxy)" *: *"[^"]*"' "$f" | sed 's#//[^@/"]*@#//#'; }
[ -r /etc/docker/daemon.json ] && { echo '@@ daemon.json'
  grep -o -E '"(http|https|no)-proxy" *: *"[^"]*"' /etc/docker/daemon.json | sed 's#//[^@/"]*@#//#'; }
set --
for f in /etc/systemd/system/docker.service /etc/systemd/system/docker.service.d/*.conf \
  /lib/systemd/system/docker.service /usr/lib/systemd/system/docker.service.d/*.conf /etc/default/docker \
  /etc/sysconfig/docker /etc/environment /etc/profile /etc/profile.d/*.sh; do
  [ -r "$f" ] && set -- "$@" "$f"
done
echo '@@ files'
[ $# -eq 0 ] || awk '!/^[ \t]*#/ {
  l = $0
  while (match(l, /[A-Za-z]+_(proxy|PROXY)=["\047]?[^ \t"\047;&]*/)) {
    v = substr(l, RSTART, RLENGTH); l = substr(l, RSTART + RLENGTH); gsub(/\/\/[^@\/]*@/, "//", v); print FILENAME ":" v
  }
}' "$@"
echo '@@ shell'
env | grep -iE '^(https?|all|no)_proxy=.' | sed 's#//[^@/]*@#//#'
:
"""


def _files(lines: list[str]) -> list[ProxySource]:
    """``/etc/environment:http_proxy="http://proxy:3128``, of one file after the other."""
    by_file: dict[str, list[tuple[str, str]]] = {}
    for line in lines:
        file, there, text = line.partition(":")
        if there:
            by_file.setdefault(file, []).append(_assignment(text))
    return [
        source
        for file, found in by_file.items()
        for source in _source("daemon" if "docker" in file else "login", file, found)
    ]


def _assignment(text: str) -> tuple[str, str]:
    """``HTTP_PROXY="http://…`` as a name without ``_PROXY``, and its value."""
    name, _, value = text.partition("=")
    return name.lower().removesuffix("_proxy"), value.strip().strip("\"'")


def _source(where: Where, file: str, found: list[tuple[str, str]]) -> list[ProxySource]:
    proxies: dict[str, str] = {}
    for name, value in found:
        if name in _NAMES and value:
            proxies.setdefault(_NAMES[name], value)
    return [ProxySource(where, file, proxies)] if proxies else []
