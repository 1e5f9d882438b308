"""A ``docker run`` as data: the image, devices, mounts and environment, and the command inside.

What the launcher does anyway (the host's network, the driver's mounts, the control devices) says nothing; what has no
place in an inventory is told.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from provision.accel.ascend.container import CONTROL_DEVICES, mount_sources
from provision.errors import ConfigError, Position
from provision.serve.importing.recipe import Container, Notes
from provision.serve.importing.secret import masked

Reader = Callable[[str], str | None]
"""Gives the text of an environment file by its path; None where there is none."""

_FLAGS = frozenset(
    {
        *("detach", "interactive", "tty", "rm", "init", "privileged", "publish-all", "read-only", "sig-proxy"),
        *("no-healthcheck", "oom-kill-disable", "disable-content-trust", "quiet", "d", "i", "t", "P", "q"),
    }
)
_QUIET = frozenset(
    {"detach", "interactive", "tty", "rm", "d", "i", "t", "P", "q", "quiet", "name", "restart", "sig-proxy", "pull"}
)
"""Options that need no place: they are about how the command was typed."""

_LETTERS = {"e": "env", "v": "volume", "p": "publish", "w": "workdir", "u": "user", "h": "hostname", "m": "memory",
            "l": "label", "c": "cpu-shares", "a": "attach"}  # fmt: skip
_OPTIONAL_SOURCES = frozenset({"/usr/local/sbin/npu-smi", "/usr/local/Ascend/driver", "/usr/local/Ascend/driver/tools"})
_SUBSTITUTED = re.compile(r"\$\(.*\)\Z|`.*`\Z", re.DOTALL)
"""A word that a command makes: it may stand for several options, or for none."""

_MODEL_CACHE = "/root/.cache"
_MOST_DEVICES = 256
"""Of one ``--device``; braces can stand for billions."""


@dataclass(slots=True)
class DockerRun:
    """``env`` is that of the container; ``command`` the words after the image, with ``--entrypoint`` before them."""

    container: Container
    env: dict[str, str]
    command: tuple[str, ...]


@dataclass(slots=True)
class _Options:
    """Options by their long name, in their order."""

    given: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for each, value in self.given if each == name]

    def last(self, name: str) -> str:
        return next((value for each, value in reversed(self.given) if each == name), "")


def parse_docker(
    words: Sequence[str], where: Position, notes: Notes, *, exported: Mapping[str, str], read: Reader
) -> DockerRun:
    """What stands after ``docker run``. ``exported``: the shell's own variables, for ``-e NAME``. Raises
    ``ConfigError`` where there is no image."""
    options, rest = _divided(words, where, notes)
    if not rest:
        raise ConfigError("docker run without an image", where=where, hint="paste the whole command")
    image, *command = rest
    entrypoint = options.last("entrypoint")
    mounts = dict(_mounts(options, where, notes))
    container = Container(
        image=image,
        name=options.last("name"),
        privileged=bool(options.all("privileged")),
        shm_size=_shm_size(options.last("shm-size"), where, notes),
        devices=_devices(options, where, notes),
        mounts=mounts,
    )
    for name in dict.fromkeys(name for name, _ in options.given):
        _told(name, options, where, notes)
    env = dict(_environment(options, where, notes, exported, read))
    return DockerRun(container, env, (*([entrypoint] if entrypoint else []), *command))


def parse_exec(
    words: Sequence[str], where: Position, notes: Notes, *, exported: Mapping[str, str], read: Reader
) -> DockerRun:
    """What stands after ``docker exec``: the environment that its options add, and the command inside, empty where
    there is none. The container is the one that was started before."""
    options, rest = _divided(words, where, notes)
    for name in dict.fromkeys(name for name, _ in options.given):
        if name not in ("user", "detach-keys"):
            _told(name, options, where, notes)
    env = dict(_environment(options, where, notes, exported, read))
    return DockerRun(Container(), env, tuple(rest[1:]))


def _divided(words: Sequence[str], where: Position, notes: Notes) -> tuple[_Options, list[str]]:
    options, at = _Options(), 0
    while at < len(words) and (_SUBSTITUTED.match(words[at]) or words[at].startswith("-")) and words[at] != "--":
        word = words[at]
        at += 1
        if _SUBSTITUTED.match(word):
            notes.warn(f"only a shell can tell {masked(word)}: left out", where)
            continue
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = {"net": "network"}.get(name, name)
            if name in _FLAGS:
                if value != "false":
                    options.given.append((name, ""))
                continue
        else:
            name, equals, value = _short(word[1:], options)
            if not name:
                continue
        if not equals:
            value, at = (words[at] if at < len(words) else ""), at + 1
        options.given.append((name, value))
    rest = list(words[at:])
    return options, rest[1:] if rest[:1] == ["--"] else rest


def _short(letters: str, options: _Options) -> tuple[str, str, str]:
    """Letters of one word: flags, and at the end perhaps an option with its value."""
    for index, letter in enumerate(letters):
        if letter in _FLAGS:
            options.given.append((letter, ""))
            continue
        value = letters[index + 1 :].removeprefix("=")
        return _LETTERS.get(letter, letter), value, value
    return "", "", ""


def _told(name: str, options: _Options, where: Position, notes: Notes) -> None:
    """Say what happens to an option that has no place."""
    values = options.all(name)
    if name in _QUIET or name in (
        "env",
        "env-file",
        "volume",
        "mount",
        "device",
        "shm-size",
        "privileged",
        "entrypoint",
    ):
        return
    if name == "network":
        if values[-1] != "host":
            notes.warn(f"--network {values[-1]}: containers have the host's network here", where)
    elif name in ("publish", "publish-all"):
        ports = [value.split(":") for value in values]
        if any(len(parts) > 1 and parts[-1] != parts[-2] for parts in ports):
            notes.warn(f"-p {' '.join(values)}: with the host's network the inner port is the one to ask", where)
    elif name == "runtime" and values[-1] in ("ascend", "runc"):
        pass
    else:
        shown = masked(" ".join(filter(None, [f"--{name}", *values])))
        notes.warn(f"{shown} has no place in an inventory: left out", where)


def _devices(options: _Options, where: Position, notes: Notes) -> tuple[int, ...]:
    found: list[int] = []
    for text in options.all("device"):
        for path in islice(braces(text.partition(":")[0]), _MOST_DEVICES):
            number = re.fullmatch(r"/dev/davinci(\d{1,3})", path)
            if number:
                found.append(int(number[1]))
            elif path not in CONTROL_DEVICES:
                notes.warn(f"--device {text} has no place in an inventory: left out", where)
    for value in options.all("env"):
        name, _, listed = value.partition("=")
        if name == "ASCEND_VISIBLE_DEVICES" and not found:
            found += _ranges(listed)
    return tuple(dict.fromkeys(found))


def _ranges(text: str) -> Iterator[int]:
    for part in text.split(","):
        bounds = re.fullmatch(r"(\d{1,3})(?:-(\d{1,3}))?", part.strip())
        if bounds:
            yield from range(int(bounds[1]), int(bounds[2] or bounds[1]) + 1)


def braces(text: str) -> Iterator[str]:
    """``davinci{0..7}`` and ``davinci{0,1}`` as a shell expands them."""
    found = re.search(r"\{(?:(\d{1,4})\.\.(\d{1,4})|([^{},]+(?:,[^{},]+)+))\}", text)
    if not found:
        yield text
        return
    inside = found[3].split(",") if found[3] else [str(n) for n in range(int(found[1]), int(found[2]) + 1)]
    for each in inside:
        yield from braces(text[: found.start()] + each + text[found.end() :])


def _mounts(options: _Options, where: Position, notes: Notes) -> Iterator[tuple[str, str]]:
    """Mounts by their place in the container, without those of the driver."""
    known = {*mount_sources(), *_OPTIONAL_SOURCES}
    for text in (*options.all("volume"), *map(_as_volume, options.all("mount"))):
        outside, _, rest = text.partition(":")
        inside = rest.partition(":")[0] or outside
        outside, inside = (path.rstrip("/") or "/" for path in (outside, inside))
        if outside in known:
            continue
        if outside.startswith("/") and inside.startswith("/"):
            yield inside, outside
        else:
            notes.warn(f"-v {text} has no place in an inventory: left out", where)


def _as_volume(text: str) -> str:
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    inside = next((fields[key] for key in ("target", "destination", "dst") if key in fields), "")
    return f"{fields.get('source', fields.get('src', ''))}:{inside}"


def unused(container: Container, model: str) -> Iterator[str]:
    """Mounts that are neither the model's nor the hubs' cache."""
    for inside, outside in container.mounts.items():
        if inside != _MODEL_CACHE and not (model == inside or model.startswith(inside.rstrip("/") + "/")):
            yield f"{outside}:{inside}"


def _shm_size(text: str, where: Position, notes: Notes) -> str:
    found = re.fullmatch(r"(\d+)\s*([kmgt]?)i?b?", text.lower())
    if not text:
        return ""
    if not found or not found[2]:
        notes.warn(f"--shm-size {text} is not understood: left out", where)
        return ""
    return f"{int(found[1]) * 1024}g" if found[2] == "t" else f"{found[1]}{found[2]}"


def _environment(
    options: _Options, where: Position, notes: Notes, exported: Mapping[str, str], read: Reader
) -> Iterator[tuple[str, str]]:
    for path in options.all("env-file"):
        text = read(path)
        if text is None:
            notes.warn(f"--env-file {path} can't be read here: its variables are missing", where)
            continue
        yield from _lines(text.splitlines(), exported)
    for name in options.all("env"):
        if "=" not in name and name not in exported:
            notes.warn(f"-e {name} takes the value of the shell that ran it: left out", where)
    yield from _lines(options.all("env"), exported)


def _lines(lines: Sequence[str], exported: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        name, equals, value = line.strip().partition("=")
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) or name == "ASCEND_VISIBLE_DEVICES":
            continue
        if equals or name in exported:
            yield name, value if equals else exported[name]
