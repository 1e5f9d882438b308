"""What a remote command answered: the evidence that errors, events and the run directory carry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

from provision.errors import CommandFailed, DeadlineExceeded, Unknown

DEADLINE_EXIT = 124
"""Exit status of a command that outran its deadline, as coreutils' ``timeout`` reports it."""


@dataclass(frozen=True, slots=True)
class Result:
    """A finished command. ``seconds`` is the time on the node where it is known, else seen from here.

    ``when``: between which two moments of this machine's clock it ran on the node, where that is known.
    """

    label: str
    exit: int
    stdout: str
    stderr: str = ""
    seconds: float = 0.0
    timed_out: bool = False
    when: tuple[float, float] | None = field(default=None, compare=False)

    @property
    def ok(self) -> bool:
        return self.exit == 0 and not self.timed_out

    def tail(self, lines: int = 12) -> str:
        """The last ``lines`` lines of stderr, or of stdout where stderr is empty."""
        text = self.stderr.strip() or self.stdout.strip()
        return "\n".join(text.splitlines()[-lines:])

    def check(self, *, node: str = "", hint: str = "") -> Result:
        """Return self, or raise the error that this result is."""
        if self.timed_out:
            raise DeadlineExceeded(
                f"{self.label}: no answer within its deadline ({self.seconds:.0f} s); ended on the node",
                self,
                node=node,
                hint=hint,
            )
        if self.exit != 0:
            last = self.tail(1)
            raise CommandFailed(
                f"{self.label}: exit status {self.exit}" + (f": {last}" if last else ""), self, node=node, hint=hint
            )
        return self


@dataclass(frozen=True, slots=True)
class PlannedResult:
    """Stands for the result of an action that is only planned: it is taken to succeed, its output is unknown."""

    label: str

    @property
    def ok(self) -> bool:
        return True

    @property
    def exit(self) -> int:
        return 0

    @property
    def stdout(self) -> str:
        self._unknown()

    @property
    def stderr(self) -> str:
        self._unknown()

    def tail(self, lines: int = 12) -> str:
        self._unknown()

    def check(self, *, node: str = "", hint: str = "") -> PlannedResult:
        return self

    def _unknown(self) -> NoReturn:
        raise Unknown(f"known only after: {self.label}")


ActionResult = Result | PlannedResult
