"""The same thing for many nodes at a time: bounded threads, every node's error kept, and a stop that is heard at once.

Threads, because each spends its time waiting for a node; daemon threads, because after Ctrl-C nobody waits for a node
that hangs: the connections are closed, and what still runs ends with them.
"""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar, cast

from provision.clock import monotonic, sleep
from provision.errors import Interrupted, ProvisionError

T = TypeVar("T")
R = TypeVar("R")

STOP_GRACE = 1.0
"""Seconds that work under way is waited for after a stop."""

_GLANCE = 0.1


@dataclass(slots=True)
class Collected(Generic[R]):
    """What came of it, by name, in the order of the items. Each item is in exactly one of the two."""

    results: dict[str, R] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)

    def first_error(self) -> Exception | None:
        return next(iter(self.errors.values()), None)


def fan_out(
    items: Mapping[str, T], do: Callable[[T], R], *, forks: int = 64, stop: threading.Event | None = None
) -> dict[str, R]:
    """``do`` for all items, at most ``forks`` at a time; by name.

    The first error, in item order, is raised after all have ended; it knows the others (``also``).
    """
    collected = collect(items, do, forks=forks, stop=stop)
    error = collected.first_error()
    if error is not None:
        if isinstance(error, ProvisionError):
            error.also = tuple(e for e in collected.errors.values() if isinstance(e, ProvisionError) and e is not error)
        raise error
    return collected.results


def collect(
    items: Mapping[str, T],
    do: Callable[[T], R],
    *,
    forks: int = 64,
    stop: threading.Event | None = None,
    deadline: float | None = None,
    jitter: float = 0.0,
) -> Collected[R]:
    """As ``fan_out``, with errors in the answer instead of raised.

    ``jitter``: each start is put off by up to so many seconds, at random. ``deadline``: seconds after which what has
    not ended counts as failed. Raises ``Interrupted`` where ``stop`` is set before all have ended.
    """
    if len(items) == 1 and stop is None and deadline is None:
        forks = 0
    crew = _Crew(items, do, stop, jitter)
    crew.work() if forks == 0 else crew.hire(min(forks, len(items)))
    crew.wait(deadline)
    return crew.collected(deadline)


class _Crew(Generic[T, R]):
    """Some threads and the work before them."""

    def __init__(
        self, items: Mapping[str, T], do: Callable[[T], R], stop: threading.Event | None, jitter: float
    ) -> None:
        self._names = list(items)
        self._todo = deque(items.items())
        self._do = do
        self._stop = stop
        self._jitter = jitter
        self._results: dict[str, R] = {}
        self._errors: dict[str, Exception] = {}
        self._left = len(items)
        self._changed = threading.Condition()

    def hire(self, count: int) -> None:
        for _ in range(count):
            threading.Thread(target=self.work, name="fan-out", daemon=True).start()

    def work(self) -> None:
        """Take items until none is left."""
        while True:
            try:
                name, item = self._todo.popleft()
            except IndexError:
                return
            self._one(name, item)

    def _one(self, name: str, item: T) -> None:
        try:
            if self._jitter:
                sleep(random.uniform(0.0, self._jitter), self._stop)
            if self._stopped():
                raise Interrupted("stopped before it began")
            result = self._do(item)
        except Exception as error:
            if isinstance(error, ProvisionError):
                error.node = error.node or name
            self._ended(name, error=error)
        except BaseException as error:  # a thread has nobody above it who could take this
            self._ended(name, error=ProvisionError(f"{type(error).__name__}: {error}", node=name))
            raise
        else:
            self._ended(name, result)

    def _ended(self, name: str, result: R | None = None, error: Exception | None = None) -> None:
        with self._changed:
            if error is None:
                self._results[name] = cast("R", result)
            else:
                self._errors[name] = error
            self._left -= 1
            self._changed.notify_all()

    def wait(self, deadline: float | None) -> None:
        """Until all have ended, or the deadline is over. Raises ``Interrupted`` a little after a stop."""
        until = None if deadline is None else monotonic() + deadline
        give_up: float | None = None
        with self._changed:
            while self._left and (until is None or monotonic() < until):
                if self._stopped():
                    give_up = give_up or monotonic() + STOP_GRACE
                    if monotonic() >= give_up:
                        break
                self._changed.wait(_GLANCE if self._stop or until else None)
        self._todo.clear()
        if self._stopped():
            raise Interrupted("stopped")

    def collected(self, deadline: float | None) -> Collected[R]:
        with self._changed:
            late = ProvisionError(f"not done within {deadline:g} s") if deadline is not None else None
            found: Collected[R] = Collected()
            for name in self._names:
                if name in self._results:
                    found.results[name] = self._results[name]
                elif name in self._errors:
                    found.errors[name] = self._errors[name]
                elif late:
                    found.errors[name] = ProvisionError(late.message, node=name)
            return found

    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()
