"""The names that expressions may use, for one node at one moment, and what is decided by evaluating one.

Names are looked up when an expression asks for them, so a variable of a play may use what was registered since. Nearer
names win: ``item`` and ``failure``, then registered results, then the play's variables, then what the inventory says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from provision.engine.arguments import arguments, render
from provision.engine.grammar import Frame, Play
from provision.engine.state import State
from provision.engine.view import NodeView
from provision.errors import ConfigError, Unknown, UsageError
from provision.inventory.model import Host, Inventory
from provision.inventory.select import select as select_hosts
from provision.template.expression import evaluate_expression
from provision.yamlio import Node

__all__ = ["arguments", "condition", "hosts", "items", "names", "play_applies", "play_items", "truth"]

RESERVED = frozenset(
    {
        "params",
        "qnext",
        "item",
        "failure",
        "inventory_hostname",
        "inventory_index",
        "groups",
        "group_names",
        "play_hosts",
        "ansible_check_mode",
    }
)
"""Names that the engine gives; no variable or registered result may take one."""


@dataclass(frozen=True, slots=True)
class Names(Mapping[str, object]):
    """``layers`` from near to far, then a play's ``variables``, evaluated when asked for, then ``far``."""

    layers: tuple[Mapping[str, object], ...]
    variables: Mapping[str, Node]
    far: Mapping[str, object]
    _active: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> object:
        for layer in self.layers:
            if name in layer:
                return layer[name]
        return self._variable(name) if name in self.variables else self.far[name]

    def _variable(self, name: str) -> object:
        node = self.variables[name]
        if name in self._active:
            raise ConfigError(f"the variable {name!r} refers to itself", where=node.position)
        self._active.append(name)
        try:
            return render(node, self)
        finally:
            self._active.remove(name)

    def __contains__(self, name: object) -> bool:
        return any(name in layer for layer in self.layers) or name in self.variables or name in self.far

    def _all(self) -> dict[str, None]:
        return dict.fromkeys(name for layer in (*self.layers, self.variables, self.far) for name in layer)

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def near(self, more: Mapping[str, object]) -> Names:
        """These names and, nearer than all, ``more``."""
        return Names((more, *self.layers), self.variables, self.far)


def names(
    play: Play, state: State, view: NodeView, item: Mapping[str, object], play_hosts: Sequence[str] = ()
) -> Names:
    """All names, for a node in a play."""
    given = _given(view.host, state.inventory) | {
        "params": state.params_of(play.frame),
        "play_hosts": list(play_hosts),
        "ansible_check_mode": state.context.planning,
    }
    return Names((item, given, state.registered.get(view.name, {})), play.vars, view.host.variables)


def _given(host: Host, inventory: Inventory) -> dict[str, object]:
    return {
        "qnext": host.settings,
        "inventory_hostname": host.name,
        "inventory_index": host.index,
        "groups": {name: list(members) for name, members in inventory.groups.items()},
        "group_names": list(host.groups),
    }


def truth(node: Node, names: Mapping[str, object]) -> bool:
    """Whether a condition holds: an expression, true or false, or a list of which all must hold."""
    if isinstance(node.data, list):
        return all(truth(part, names) for part in node.children.values())
    if isinstance(node.data, bool):
        return node.data
    value = evaluate_expression(str(node.data), names, where=node.position)
    if isinstance(value, str):
        raise node.error(f"{node.data!r} gives the text {value!r}, not true or false", hint="compare it with something")
    return bool(value)


def condition(node: Node) -> str:
    """A condition in words."""
    return " and ".join(str(part) for part in node.data) if isinstance(node.data, list) else str(node.data)


def items(node: Node, names: Mapping[str, object]) -> Sequence[object]:
    """What a ``loop`` goes over."""
    value: Any = render(node, names)
    if isinstance(value, list | tuple):
        return value
    raise node.error(f"loop needs a list, this gives {type(value).__name__}", hint="a mapping loops with | dictsort")


def hosts(node: Node, play: Play, state: State, item: Mapping[str, object]) -> tuple[Host, ...]:
    """The hosts of a pattern, which may use parameters, the play's variables and ``item``."""
    names = Names((item, {"params": state.params_of(play.frame)}), play.vars, {})
    pattern = render(node, names)
    if isinstance(pattern, list):
        pattern = ",".join(str(part) for part in pattern)
    try:
        return select_hosts(state.inventory, str(pattern))
    except UsageError as error:
        raise node.error(error.message, hint=error.hint) from error


def play_items(play: Play, state: State) -> list[Mapping[str, object]]:
    """The passes of a play: one without a loop, else one an item."""
    live = state.live()
    if play.loop is None or not live:
        return [{}]
    return [{"item": item} for item in items(play.loop, names(play, state, live[0], {}))]


def play_applies(play: Play, state: State, view: NodeView, item: Mapping[str, object]) -> bool:
    """Whether the play's ``when``, and those of the imports around it, hold for a node. The unknown of a plan holds."""
    scope = names(play, state, view, item)
    try:
        return _frame_applies(play.frame, state, view) and (play.when is None or truth(play.when, scope))
    except Unknown:
        return True


def _frame_applies(frame: Frame, state: State, view: NodeView) -> bool:
    if frame.parent is None:
        return True
    if frame.when is not None:
        given = {**_given(view.host, state.inventory), "params": state.params_of(frame.parent)}
        if not truth(frame.when, Names((given, state.registered.get(view.name, {})), {}, view.host.variables)):
            return False
    return _frame_applies(frame.parent, state, view)
