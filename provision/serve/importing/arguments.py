"""Divides the options of a ``vllm serve`` among the keys of an inventory, and keeps their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from provision.serve.argv import HEAD_ONLY, SECRET, computed
from provision.serve.importing.command import Option, ServeCommand, Value, argument
from provision.serve.importing.recipe import Notes
from provision.serve.importing.secret import masked

_EXECUTORS = {"tensor-parallel": "mp", "pipeline-parallel": "mp", "ray": "ray"}


@dataclass(slots=True)
class Arguments:
    """``order`` is for ``serve.argument_order``."""

    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    expert_parallel: bool | None = None
    engine_args: dict[str, Value] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Divider:
    """What the options of one server are told apart by. ``placed`` fills addresses in a value; ``taken`` are names that
    someone else says, whose place in the order is kept."""

    topology: str
    headless: bool
    placed: Callable[[str], str]
    notes: Notes
    taken: frozenset[str] = frozenset()

    def divide(self, command: ServeCommand) -> Arguments:
        """All options of a command. What can't be kept is told."""
        made = Arguments()
        last = {option.name: index for index, option in enumerate(command.options)}
        for index, option in enumerate(command.options):
            if last[option.name] != index:
                self._repeated(option, command, made)
            else:
                self._one(option, command, made)
        return made

    def _repeated(self, option: Option, command: ServeCommand, made: Arguments) -> None:
        """An option that is given again later: vLLM takes the last. It stays where it can be written."""
        if computed(option.name) in SECRET:
            return
        shown = masked(" ".join([f"--{option.spelled}", *option.values]))
        kept = len(option.values) == 1 and computed(option.name) is None
        if kept:
            made.order.append(f"{option.spelled}={option.values[0]}")
        ending = "; kept as it stands" if kept else "; left out"
        self.notes.warn(f"{shown} is given again later, and vLLM takes the last{ending}", command.where)

    def _one(self, option: Option, command: ServeCommand, made: Arguments) -> None:
        if computed(option.name) in SECRET:
            return
        if option.name in self.taken or self._follows(option):
            made.order.append(option.spelled)
        elif full := computed(option.name):
            self._computed(option, full, command, made)
        elif option.name in HEAD_ONLY and self.headless:
            self.notes.warn(f"--{option.spelled} with --headless is an error in vLLM: left out", command.where)
        else:
            self._free(option, made)

    def _follows(self, option: Option) -> bool:
        return option.name == "distributed-executor-backend" and option.values == (_EXECUTORS.get(self.topology),)

    def _computed(self, option: Option, full: str, command: ServeCommand, made: Arguments) -> None:
        if full == "uds" or option.name.startswith("no-") or full == "data-parallel-external-lb":
            self.notes.warn(f"--{option.spelled} is left out: {full} follows from the topology here", command.where)
            return
        if self.headless and full == "port":
            self.notes.note("--port of headless nodes is kept, though vLLM ignores it", command.where)
        made.order.append(full if full != option.name else option.spelled)

    def _free(self, option: Option, made: Arguments) -> None:
        made.order.append(option.spelled)
        values = tuple(self.placed(value) for value in option.values)
        value = argument(Option(option.spelled, values))
        if option.name == "enable-expert-parallel" and value is True:
            made.expert_parallel = True
        elif option.name == "no-enable-expert-parallel":
            made.order.pop()
        elif option.name == "max-model-len" and type(value) is int and value > 0:
            made.max_model_len = value
        elif option.name == "gpu-memory-utilization" and type(value) is float and 0 < value <= 1:
            made.gpu_memory_utilization = value
        else:
            made.engine_args[option.name] = value
