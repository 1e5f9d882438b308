"""Every error the tool raises on purpose, as one tree.

::

    ProvisionError                 1   something failed; the base of all
    ├── UsageError                 2   the command line is wrong: correct it and call again
    │   └── ConfigError            2   the inventory or a playbook is wrong; ``where`` names file:line:column
    │       └── LayoutError        2   the requested layout cannot work; the rule and its source are named
    ├── ChecksFailed               3   preflight refused; nothing was changed
    ├── Unreachable                4   a node cannot be talked to
    │   ├── ConnectFailed          4   refused, timed out or no route; ``retryable``
    │   ├── AuthenticationFailed   4   key or password refused
    │   ├── HostKeyUnknown         4   the host key is in no known_hosts file
    │   ├── HostKeyChanged         4   the host key differs from the known one: possible attack, never retried
    │   └── ConnectionLost         4   an open connection broke; ``retryable``
    ├── LockHeld                   5   another controller writes to this cluster
    ├── Drift                      6   the nodes differ from what was planned or declared
    ├── RemoteError                1   a node did something else than it was asked to
    │   ├── CommandFailed          1   a command's exit status says so; carries the ``Result``
    │   ├── DeadlineExceeded       1   a command outran its deadline and was ended on the node
    │   ├── SudoRefused            1   the login user may not become root
    │   └── FactError              1   a fact could not be observed; carries the raw answer
    ├── LaunchFailed               1   a process ended, or was not ready in time
    ├── ProofFailed                1   the servers run but do not generate
    └── Interrupted              130   the operator asked to stop

``Unknown`` stands outside the tree: it is how a plan says "this cannot be known before the planned change is made",
and only the engine catches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from provision.diagnose.diagnosis import Diagnosis
    from provision.results import Result


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a text file; ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class ProvisionError(Exception):
    """Base of the tree. ``hint`` is the remedy, in words that an operator can act on. ``also``: how the same went wrong
    on other nodes at the same time. ``diagnosis``: what the logs of all ranks say, where they were read."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(
        self, message: str, *, hint: str = "", node: str = "", where: Position | None = None, evidence: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.node = node
        self.where = where
        self.evidence = evidence
        self.also: tuple[ProvisionError, ...] = ()
        self.diagnosis: Diagnosis | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class UsageError(ProvisionError):
    """The command line is wrong."""

    exit_code = 2


class ConfigError(UsageError):
    """The inventory or a playbook is wrong. ``others`` holds further errors of the same load."""

    def __init__(
        self, message: str, *, hint: str = "", where: Position | None = None, others: Sequence[ConfigError] = ()
    ) -> None:
        super().__init__(message, hint=hint, where=where)
        self.others = tuple(others)


class LayoutError(ConfigError):
    """The requested layout cannot work on these nodes with this model."""


class ChecksFailed(ProvisionError):
    """Preflight refused."""

    exit_code = 3


class Unreachable(ProvisionError):
    """A node cannot be talked to."""

    exit_code = 4


class ConnectFailed(Unreachable):
    """Refused, timed out, no route, or a broken banner: worth another try."""

    retryable = True


class AuthenticationFailed(Unreachable):
    """The key or password was refused."""


class HostKeyUnknown(Unreachable):
    """The host key is in no known_hosts file and the policy is strict."""


class HostKeyChanged(Unreachable):
    """The host key differs from the known one."""


class ConnectionLost(Unreachable):
    """An open connection broke in the middle of something."""

    retryable = True


class LockHeld(ProvisionError):
    """Another controller writes to this cluster."""

    exit_code = 5


class Drift(ProvisionError):
    """The nodes differ from what was planned or declared."""

    exit_code = 6


class RemoteError(ProvisionError):
    """A node did something else than it was asked to."""


class CommandFailed(RemoteError):
    """A command's exit status is not zero."""

    def __init__(self, message: str, result: Result, *, hint: str = "", node: str = "") -> None:
        super().__init__(message, hint=hint, node=node, evidence=result.tail())
        self.result = result


class DeadlineExceeded(CommandFailed):
    """A command outran its deadline; its process group was ended on the node."""


class SudoRefused(RemoteError):
    """The login user may not become root."""


class FactError(RemoteError):
    """A fact could not be observed: its parser could not make sense of the node's answer ``raw``."""

    def __init__(self, message: str, raw: Result, *, hint: str = "", node: str = "") -> None:
        super().__init__(message, hint=hint, node=node, evidence=raw.tail())
        self.raw = raw


class LaunchFailed(ProvisionError):
    """A process ended, or was not ready in time. ``process``: which one."""

    def __init__(self, message: str, *, hint: str = "", node: str = "", process: str = "", evidence: str = "") -> None:
        super().__init__(message, hint=hint, node=node, evidence=evidence)
        self.process = process


class ProofFailed(ProvisionError):
    """The servers run but do not generate. ``process``: the one that failed; empty: the entry point."""

    def __init__(self, message: str, *, hint: str = "", node: str = "", process: str = "", evidence: str = "") -> None:
        super().__init__(message, hint=hint, node=node, evidence=evidence)
        self.process = process


class Interrupted(ProvisionError):
    """The operator asked to stop."""

    exit_code = 130


class Unknown(Exception):
    """What was asked for cannot be known before a planned change is made."""
