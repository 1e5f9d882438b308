"""Server processes of vLLM and Ray on a node, in containers or not: what is left over, and what still runs.

Titles are set by setproctitle, so ``vllm serve`` alone misses engines and workers [domain.md section 11].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from provision.facts.base import Fact


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process; ``age`` in seconds, ``kind`` is vllm, ray or mooncake. ``container`` is the id of its container."""

    pid: int
    parent: int | None = None
    user: str = ""
    age: int | None = None
    kind: str = ""
    args: str = ""
    container: str = ""


@dataclass(frozen=True, slots=True)
class ProcessesValue:
    """By pid."""

    processes: tuple[ServerProcess, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Processes(Fact[ProcessesValue]):
    """vLLM, Ray and Mooncake processes."""

    name: ClassVar[str] = "processes"
