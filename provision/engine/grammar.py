"""A loaded playbook, as frozen values, and the closed list of words it may be written with.

The words are Ansible's and mean what they mean there; no other exists. Values that may hold templates stay
``yamlio.Node`` trees, as they were written and with their places: they are rendered where they are used, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from provision.errors import Position
from provision.yamlio import Node

if TYPE_CHECKING:
    from provision.modules.base import ModuleArgs, ModuleSpec

FILE_WORDS = frozenset({"summary", "params", "confirm", "lint", "preview", "whole", "evidence", "unreachable", "plays"})
PARAM_WORDS = frozenset({"type", "default", "help", "choices", "required", "of", "min"})
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
class Param:
    """A parameter of a playbook: an option of its subcommand. ``of`` is "check" where its values name checks; ``min``:
    the least that a number may be."""

    name: str
    type: ParamType
    default: object
    help: str
    choices: tuple[str, ...]
    required: bool
    where: Position
    of: str = ""
    min: float | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What a playbook says of itself: enough for ``--help``, read without loading the rest; ``doc`` is its top comment.

    ``confirm``: the cluster's name must be typed first. ``lint``: the layout is judged offline before any connection.
    ``preview``: the flag among its params that, when set, has the plan shown and confirmed before it is applied.
    ``whole``: it concerns the layout as a whole, so ``--limit`` may not cut hosts off. ``evidence``: where it fails on
    the nodes, what they can tell of it is collected into the run directory. ``unreachable``: whether hosts
    that can't be reached end the run before anything changes, or the others go on.
    """

    name: str
    path: Path
    summary: str
    doc: str
    params: tuple[Param, ...]
    confirm: bool = False
    preview: str = ""
    lint: bool = False
    whole: bool = False
    evidence: bool = False
    unreachable: Literal["stop", "continue"] = "stop"


@dataclass(frozen=True, slots=True)
class Frame:
    """Whose parameters a play sees: of an imported file those that the import binds, evaluated in ``parent``."""

    header: Header
    bindings: Mapping[str, Node] = field(default_factory=dict)
    when: Node | None = None
    parent: Frame | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One use of a module. ``notify`` names handlers; ``timeout`` and ``delay`` are seconds.

    ``static`` are the arguments, validated, where none of them holds a template.
    """

    name: str
    module: ModuleSpec
    args: Mapping[str, Node]
    where: Position
    static: ModuleArgs | None = None
    when: Node | None = None
    loop: Node | None = None
    register: str = ""
    until: Node | None = None
    retries: int = 0
    delay: float = DELAY
    timeout: float | None = None
    hosts: Node | None = None
    notify: tuple[str, ...] = ()
    ignore_errors: bool = False
    tags: tuple[str, ...] = ()
    run_once: bool = False


@dataclass(frozen=True, slots=True)
class Play:
    """Tasks for a choice of nodes. ``serial`` holds batch sizes, as numbers or percentages, the last one repeating."""

    name: str
    hosts: Node
    frame: Frame
    where: Position
    tasks: tuple[Task, ...] = ()
    handlers: tuple[Task, ...] = ()
    rescue: tuple[Task, ...] = ()
    vars: Mapping[str, Node] = field(default_factory=dict)
    loop: Node | None = None
    when: Node | None = None
    serial: tuple[int | str, ...] = ()
    max_fail_percentage: float | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Playbook:
    """A playbook with its imports in place, validated."""

    header: Header
    plays: tuple[Play, ...]
