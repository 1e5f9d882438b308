"""A loaded playbook, as frozen values, and the closed list of words it may be written with.

The words are Ansible's and mean what they mean there; no other exists. ``Text`` is a value as it was written, with its
place: whether it holds a template is decided where it is rendered, so nothing is ever rendered twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from provision.errors import Position

if TYPE_CHECKING:
    from provision.modules.base import ModuleSpec

FILE_WORDS = frozenset({"summary", "params", "plays"})
PARAM_WORDS = frozenset({"type", "default", "help", "choices", "required"})
PLAY_WORDS = frozenset(
    {
        "name",
        "hosts",
        "vars",
        "loop",
        "serial",
        "max_fail_percentage",
        "tasks",
        "handlers",
        "rescue",
        "tags",
        "when",
        "import_playbook",
    }
)
IMPORT_WORDS = frozenset({"name", "import_playbook", "vars", "when", "tags"})
TASK_WORDS = frozenset(
    {
        "name",
        "when",
        "loop",
        "register",
        "until",
        "retries",
        "delay",
        "timeout",
        "hosts",
        "notify",
        "ignore_errors",
        "tags",
        "run_once",
    }
)

ParamType = Literal["string", "int", "float", "bool", "choice", "list"]
PARAM_TYPES: tuple[ParamType, ...] = ("string", "int", "float", "bool", "choice", "list")

RETRIES = 3
"""Tries after the first, where ``until`` stands without ``retries``; Ansible's number."""
DELAY = 5.0
"""Seconds between tries; Ansible's number."""


@dataclass(frozen=True, slots=True)
class Text:
    """A value as the playbook has it: scalar, list or mapping of scalars, with the place it stands at."""

    value: object
    where: Position


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a playbook: an option of its subcommand."""

    name: str
    type: ParamType
    default: object
    help: str
    choices: tuple[str, ...]
    required: bool
    where: Position


@dataclass(frozen=True, slots=True)
class Header:
    """What a playbook says of itself: enough for ``--help``, read without loading the rest. ``doc`` is its leading comment."""

    name: str
    path: Path
    summary: str
    doc: str
    params: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class Frame:
    """Whose parameters a play sees. An imported file's play has the bindings that the import gave, made in ``parent``."""

    header: Header
    bindings: Mapping[str, Text] = field(default_factory=dict)
    when: Text | None = None
    parent: Frame | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One use of a module. ``notify`` names handlers; ``timeout`` and ``delay`` are seconds."""

    name: str
    module: ModuleSpec
    args: Mapping[str, Text]
    where: Position
    when: Text | None = None
    loop: Text | None = None
    register: str = ""
    until: Text | None = None
    retries: int = 0
    delay: float = DELAY
    timeout: float | None = None
    hosts: Text | None = None
    notify: tuple[str, ...] = ()
    ignore_errors: bool = False
    tags: tuple[str, ...] = ()
    run_once: bool = False


@dataclass(frozen=True, slots=True)
class Play:
    """Tasks for a choice of nodes. ``serial`` holds batch sizes, as numbers or percentages, the last one repeating."""

    name: str
    hosts: Text
    frame: Frame
    where: Position
    tasks: tuple[Task, ...] = ()
    handlers: tuple[Task, ...] = ()
    rescue: tuple[Task, ...] = ()
    vars: Mapping[str, Text] = field(default_factory=dict)
    loop: Text | None = None
    when: Text | None = None
    serial: tuple[int | str, ...] = ()
    max_fail_percentage: float | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Playbook:
    """A playbook with its imports in place, validated."""

    header: Header
    plays: tuple[Play, ...]
