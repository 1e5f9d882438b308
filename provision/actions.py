"""What a module may do to a node, as data. Modules yield actions; the engine plans or performs them.

``affects`` names the facts that an action may change (``Fact.name``); ``None`` means any. In a plan those facts become
unknown afterwards; in a run they are observed anew before the next use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from provision.node import Node
    from provision.results import Result

ANY: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run a POSIX-sh script on the node, as root unless ``become`` is false.

    At ``deadline`` seconds it is ended with its process group. ``ok_exits`` are exit statuses that count as success;
    another one raises ``CommandFailed`` with ``hint``.
    """

    label: str
    script: str
    deadline: float = 60.0
    become: bool = True
    input: bytes = b""
    ok_exits: tuple[int, ...] = (0,)
    hint: str = ""
    affects: frozenset[str] | None = ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """Write ``content`` to ``path`` atomically (temporary name, fsync, rename), making parent folders.

    ``before`` is the present content where it is known, for the diff; ``secret`` keeps content out of diffs and logs.
    """

    label: str
    path: str
    content: bytes
    mode: int = 0o644
    before: bytes | None = None
    secret: bool = False
    become: bool = True
    affects: frozenset[str] | None = ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Get:
    """Copy a file of the node to the controller."""

    label: str
    path: str
    to: Path
    become: bool = True
    affects: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Send:
    """Copy a large file of the controller to ``path``: in pieces, going on where an earlier attempt broke off.

    ``source`` is read while it is sent, never held whole. It lies beside ``path`` as ``<path>.part`` until its SHA-256
    is ``sha256`` (empty: not compared), and is then renamed. ``bandwidth``: bytes a second at most, 0: no limit.
    ``start`` and ``length``: the part of ``source`` that is sent, a file inside of an archive; None: to its end.
    ``before`` and ``total``: bytes of the files that were sent before it, and of all, where it is one of several.
    """

    label: str
    source: Path
    path: str
    sha256: str = ""
    mode: int = 0o644
    bandwidth: int = 0
    deadline: float = 86400.0
    become: bool = True
    hint: str = ""
    affects: frozenset[str] | None = ANY
    start: int = 0
    length: int | None = None
    before: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """Copy a large file of the node to the controller in pieces, going on where it broke off: ``Send`` the other way.

    It lies beside ``to`` as ``<to>.part`` until its SHA-256 is ``sha256``, and is then renamed.
    """

    label: str
    path: str
    to: Path
    size: int
    sha256: str
    deadline: float = 86400.0
    become: bool = True
    hint: str = ""
    affects: frozenset[str] | None = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Remove a file or folder with all below it; absent is fine."""

    label: str
    path: str
    become: bool = True
    affects: frozenset[str] | None = ANY


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How far a job is: ``fraction`` 0..1 where it can be told, and a short text."""

    fraction: float | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Run a long script as a detached remote job; attach to it where one of this ``name`` and ``script`` is under way.

    ``progress`` turns the log so far into what the operator sees. ``stdout`` of the result is the log's tail.
    """

    label: str
    name: str
    script: str
    deadline: float = 3600.0
    become: bool = True
    hint: str = ""
    progress: Callable[[str], JobProgress] | None = None
    affects: frozenset[str] | None = ANY


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Run ``do`` on the controller for this node: what is no command on the node. Not run in a plan."""

    label: str
    do: Callable[[Node], Result]
    affects: frozenset[str] | None = ANY


Action = Run | Put | Get | Send | Fetch | Remove | Job | Call


@dataclass(frozen=True, slots=True)
class On:
    """From a cluster-scoped module: one action a node, performed on all of them at the same time.

    The engine answers with a mapping from node name to result; it raises only after all have ended.
    """

    actions: Mapping[str, Action] = field(default_factory=dict)
