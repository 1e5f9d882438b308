"""A node's own file system without root or namespaces: absolute paths in shell text become paths below the node's root.

A script ``cat /etc/hccn.conf > /var/lib/x`` runs in a real ``sh`` as ``cat ROOT/etc/hccn.conf > ROOT/var/lib/x``, and
ROOT is taken out of everything that the session prints, so whoever is connected sees ``/`` only. What the machine's
tools are made of (/lib, /usr/lib, /usr/share, /dev/null, /proc/<pid>) stays the real one.

The rewriting is textual. It decides by the character before the slash whether a path begins there, so
``"$x"/data`` and ``http://host/data`` are left alone while ``"/data``, ``=/data`` and ``:/data`` are mapped; and it is
idempotent: text that already holds ROOT isn't mapped again.
"""

from __future__ import annotations

import re

REAL_DEVICES = "null|zero|full|random|urandom|tty|stdin|stdout|stderr|fd|pts|ptmx"
"""Entries of /dev that stay the machine's own."""

MAPPED_PROC = "meminfo|loadavg|cpuinfo|version|stat|cmdline|net|mounts|driver|uda|swaps|sys|(?:self|1)/limits"
"""Entries of /proc that a node has of its own. Process folders stay real, except that a glob over them sees the node's
containers only, and that control groups are those of the node (they name the container)."""

MAPPED_TOPS = (
    "bin|boot|cache|data|data1|data2|etc|home|media|mnt|models|nfs|opt|qnext|root|run|sbin|share|srv|sys|tmp|var|weights"
    "|workspace"
)
"""Folders of the root that are the node's own."""

_END = r"(?![A-Za-z0-9_.-])"
_PATH = re.compile(
    rf"/(?:(?:{MAPPED_TOPS}){_END}"
    rf"|usr/(?:local|bin|sbin|include){_END}"
    rf"|dev{_END}(?!/(?:{REAL_DEVICES}){_END})"
    rf"|proc/(?:(?:{MAPPED_PROC}){_END}|[\[*]|[^/\s\"']+/cgroup{_END}))"
)
_PROC_TAKEN_OFF = re.compile(r"(\$\{\w+##?)/proc/")
"""``${d#/proc/}``: whether d is the node's or the machine's can't be told from the text, so the prefix is left open."""

_LIMITS = re.compile(r"(?<![\w./$-])ulimit(?=[ \t]+-)")
"""The shell's own command for resource limits, which would tell the machine's."""

_ENCODED = re.compile(rb"[A-Za-z0-9+/]{60,}={0,2}\Z")
_REGEX_BODY = re.compile(r"/[a-z]+/(?:[ \t]*\{|[pd]['; ]|!)")
_BEFORE_PATH = frozenset(" \t\n\r=:;|&<>({,`[#%^!~@\\")
_QUOTES = frozenset("'\"\\")


def rewrite(text: str, root: str, *, limits: bool = True) -> str:
    """``text``, shell source, with every absolute path of the node put below ``root`` (which has no trailing slash).

    ``limits``: ``ulimit`` becomes the node's own command. Containers have none.
    """

    def replace(match: re.Match[str]) -> str:
        found, at = match.group(), match.start()
        if text.startswith(root, at) or not _begins_path(text, at) or _is_regex(text, at):
            return found
        return root + found

    text = _PROC_TAKEN_OFF.sub(r"\1*/proc/", _PATH.sub(replace, text))
    return _LIMITS.sub(f"{root}/usr/bin/ulimit", text) if limits else text


def map_path(path: str, root: str) -> str:
    """One path as a program gets it in an argument: below ``root`` where the node has its own."""
    if not path.startswith("/") or path == root or path.startswith(root + "/"):
        return path
    return root + path if path == "/" or _PATH.match(path) else path


def unmap(text: str, root: str) -> str:
    """``text`` as the node's user would have it: without ``root``."""
    return re.sub(re.escape(root) + "/?", "/", text)


class LineMapper:
    """Maps shell text that comes in arbitrary pieces, by complete lines. A line of base64 is content, not text.

    ``other``: a root that the text got on its way, and is taken out: a container's script came through its node.
    """

    __slots__ = ("_other", "_rest", "_root")

    def __init__(self, root: str, other: str = "") -> None:
        self._root = root
        self._other = other
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """The lines that are complete, mapped."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return b"".join(self._mapped(line) + b"\n" for line in lines)

    def finish(self) -> bytes:
        """What is left at the end of the stream."""
        rest, self._rest = self._rest, b""
        return self._mapped(rest)

    def _mapped(self, line: bytes) -> bytes:
        if (b"/" not in line and b"ulimit" not in line) or _ENCODED.match(line):
            return line
        text = line.decode("utf-8", "surrogateescape")
        if self._other:
            text = unmap(text, self._other)
        return rewrite(text, self._root, limits=not self._other).encode("utf-8", "surrogateescape")


class Unmapper:
    """Takes ``root`` out of a byte stream that comes in arbitrary pieces.

    ``disk_full``: sessions on a full disk run with a file size limit of 0, the one way to make any write fail without
    rights; the kernel's words for that are exchanged for those of a full disk.
    """

    __slots__ = ("_disk_full", "_held", "_root")

    def __init__(self, root: str, *, disk_full: bool = False) -> None:
        self._root = root.encode()
        self._held = b""
        self._disk_full = disk_full

    def feed(self, data: bytes) -> bytes:
        """What can be passed on now; bytes that may be the beginning of a root path are held back."""
        data, passed, at = self._held + data, [], 0
        while (found := data.find(self._root, at)) >= 0 and found + len(self._root) < len(data):
            passed += [data[at:found], b"/"]
            at = found + len(self._root)
            at += data[at : at + 1] == b"/"
        keep = self._overlap(data[at:])
        self._held = data[len(data) - keep :]
        return self._worded(b"".join([*passed, data[at : len(data) - keep]]))

    def finish(self) -> bytes:
        """What is left at the end of the stream."""
        held, self._held = self._held, b""
        return self._worded(b"/" if held == self._root else held)

    def _worded(self, data: bytes) -> bytes:
        return data.replace(b"File too large", b"No space left on device") if self._disk_full else data

    def _overlap(self, data: bytes) -> int:
        """Length of the longest end of ``data`` that begins root (root itself included: a slash may follow)."""
        for size in range(min(len(self._root), len(data)), 0, -1):
            if data.endswith(self._root[:size]):
                return size
        return 0


def _begins_path(text: str, at: int) -> bool:
    """Whether the slash at ``at`` starts a path: judged by what stands before it, quotes looked through."""
    before = at - 1
    while before >= 0 and text[before] in _QUOTES:
        before -= 1
    if before < 0:
        return True
    char = text[before]
    if char == "-":
        return before > 0 and text[before - 1] == ":"
    if char == "!" and before > 0 and text[before - 1] == "#":
        return False
    return char in _BEFORE_PATH


def _is_regex(text: str, at: int) -> bool:
    """Whether this is awk's or sed's ``'/word/ {…}'`` or ``'/word/p'`` rather than a path."""
    return at > 0 and text[at - 1] in "'!;" and _REGEX_BODY.match(text, at) is not None
