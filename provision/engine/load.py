"""From a YAML file to a ``Playbook``: the closed grammar, all of it judged before the first connection.

Words, modules, argument names and types, expressions with the names and paths they use, host patterns, handlers,
imports: whatever is wrong is found in one load. The first error is raised; its ``others`` hold the rest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from provision import registry, yamlio
from provision.engine import arguments
from provision.engine.grammar import (
    DELAY,
    IMPORT_WORDS,
    PLAY_WORDS,
    RETRIES,
    TASK_WORDS,
    Frame,
    Header,
    Play,
    Playbook,
    Task,
)
from provision.engine.header import header_of, playbooks, read_header, resolve_params, together
from provision.engine.known import Known, reserved
from provision.engine.reading import Reading, is_whole
from provision.errors import UsageError
from provision.inventory.model import Inventory
from provision.inventory.select import select
from provision.modules.base import ModuleArgs, ModuleSpec
from provision.registry import did_you_mean
from provision.yamlio import Node, describe

__all__ = ["load_playbook", "playbooks", "read_header", "resolve_params"]

_PERCENT = re.compile(r"\d+(\.\d+)?%\Z", re.ASCII)


def load_playbook(path: Path, inventory: Inventory | None = None) -> Playbook:
    """Load and validate a playbook with all it imports. Raises ``ConfigError``.

    With an inventory also the variables of its hosts and the hosts patterns are checked.
    """
    loading = _Loading(inventory=inventory)
    frame, plays = loading.file(path, {}, None, None, ())
    if loading.errors:
        raise together(loading.errors)
    return Playbook(frame.header, tuple(plays))


@dataclass(slots=True)
class _Loading(Reading):
    """One load: errors and registered names gather over all files of it."""

    inventory: Inventory | None = None
    registered: set[str] = field(default_factory=set)
    _files: list[Path] = field(default_factory=list)

    def file(
        self,
        path: Path,
        bindings: Mapping[str, Node],
        when: Node | None,
        parent: Frame | None,
        tags: tuple[str, ...],
    ) -> tuple[Frame, list[Play]]:
        """A file's plays, as they run within ``parent``."""
        node = yamlio.load(path)
        frame = Frame(header_of(node, path, self), bindings, when, parent)
        self._files.append(path.resolve())
        plays = [play for child in self.list(node, "plays") for play in self._play_or_import(child, frame, tags)]
        self._files.pop()
        if not plays and not self.errors:
            self.errors.append(node.error("a playbook needs plays", hint="plays: [{name, hosts, tasks}]"))
        return frame, plays

    def _play_or_import(self, node: Node, frame: Frame, tags: tuple[str, ...]) -> list[Play]:
        if not isinstance(node.data, dict):
            self.errors.append(node.error(f"a play is a mapping, not {describe(node.data)}"))
            return []
        if "import_playbook" in node.data:
            return self._import(node, frame, tags)
        return [self._play(node, frame, tags)]

    # ---- imports

    def _import(self, node: Node, frame: Frame, tags: tuple[str, ...]) -> list[Play]:
        self.words_of(node, IMPORT_WORDS, "an import")
        known = Known(frame.header, self.inventory, self.registered)
        when = self._condition(node, "when", known)
        bindings = self.mapping(node, "vars")
        for value in bindings.values():
            Known(frame.header, None, set()).check(value, self.errors)
        path = frame.header.path.parent / str(node.data["import_playbook"])
        problem = self._import_problem(path)
        if problem:
            self.errors.append(node.error(problem, ["import_playbook"]))
            return []
        inner, plays = self.file(path, bindings, when, frame, (*tags, *self.words(node, "tags", commas=True)))
        self._check_bindings(node, inner.header, bindings)
        return plays

    def _import_problem(self, path: Path) -> str:
        if path.resolve() in self._files:
            chain = " -> ".join(file.name for file in [*self._files, path])
            return f"playbooks import each other without end: {chain}"
        return "" if path.is_file() else f"there is no playbook {path}"

    def _check_bindings(self, node: Node, header: Header, bindings: Mapping[str, Node]) -> None:
        known = {param.name: param for param in header.params}
        for name in bindings:
            if name not in known:
                hint = did_you_mean(name, known)
                self.errors.append(
                    node.error(f"{header.name} has no parameter {name!r}", ["vars", name], key=True, hint=hint)
                )
        for param in header.params:
            if param.required and param.default is None and param.name not in bindings:
                hint = f"vars: {{{param.name}: …}}"
                self.errors.append(node.error(f"{header.name} needs the parameter {param.name!r}", hint=hint))

    # ---- plays

    def _play(self, node: Node, frame: Frame, tags: tuple[str, ...]) -> Play:
        self.words_of(node, PLAY_WORDS, "a play")
        known = Known(frame.header, self.inventory, self.registered)
        variables = self.mapping(node, "vars")
        self.errors += reserved(variables, "a variable", node.children["vars"]) if variables else ()
        known.variables = set(variables)
        loop = self._loop(node, known)
        inner = known.within(item=loop is not None)
        for value in variables.values():
            inner.check(value, self.errors)
        handlers = self.list(node, "handlers")
        names = [str(child.data.get("name")) for child in handlers if isinstance(child.data, dict)]
        return Play(
            name=self.text(node, "name") or self.text(node, "hosts") or "play",
            hosts=self._hosts(node, inner),
            frame=frame,
            where=node.position,
            tasks=self._tasks(self.list(node, "tasks"), inner, names),
            handlers=self._tasks(handlers, inner, ()),
            rescue=self._tasks(self.list(node, "rescue"), inner.within(failure=True), ()),
            vars=variables,
            loop=loop,
            when=self._condition(node, "when", inner),
            serial=self._serial(node),
            max_fail_percentage=self.number(node, "max_fail_percentage", None, most=100),
            tags=(*tags, *self.words(node, "tags", commas=True)),
        )

    def _hosts(self, node: Node, known: Known) -> Node:
        hosts = node.children.get("hosts")
        if hosts is None:
            self.errors.append(node.error("a play needs hosts", hint="hosts: all"))
            return node
        self._check_pattern(hosts, known)
        return hosts

    def _check_pattern(self, hosts: Node, known: Known) -> None:
        known.check(hosts, self.errors)
        if self.inventory is None or arguments.templated(hosts):
            return
        pattern = ",".join(map(str, hosts.data)) if isinstance(hosts.data, list) else str(hosts.data)
        try:
            select(self.inventory, pattern)
        except UsageError as error:
            self.errors.append(hosts.error(error.message, hint=error.hint))

    def _serial(self, node: Node) -> tuple[int | str, ...]:
        child = node.children.get("serial")
        if child is None:
            return ()
        parts = child.children.values() if isinstance(child.data, list) else [child]
        for part in parts:
            if not (
                (is_whole(part.data) and part.data > 0) or (isinstance(part.data, str) and _PERCENT.match(part.data))
            ):
                hint = 'serial: 1, serial: "25%" or serial: [1, 4]'
                self.errors.append(
                    part.error(f"serial is a number of nodes or a percentage, not {describe(part.data)}", hint=hint)
                )
        return tuple(part.data for part in parts)

    # ---- tasks

    def _tasks(self, nodes: list[Node], known: Known, handlers: list[str] | tuple[str, ...]) -> tuple[Task, ...]:
        return tuple(task for node in nodes if (task := self._task(node, known, handlers)))

    def _task(self, node: Node, known: Known, handlers: list[str] | tuple[str, ...]) -> Task | None:
        module = self._module(node)
        if module is None:
            return None
        word = next(key for key in node.children if key not in TASK_WORDS)
        loop = self._loop(node, known)
        inner = known.within(item=loop is not None)
        args, static = self._args(node, str(word), module, inner)
        when = self._condition(node, "when", inner)
        register = self._register(node)
        until = self._condition(node, "until", inner)
        hosts = node.children.get("hosts")
        if hosts:
            self._check_pattern(hosts, known)
        return Task(
            name=self.text(node, "name") or module.name,
            module=module,
            args=args,
            where=node.position,
            static=static,
            when=when,
            loop=loop,
            register=register,
            until=until,
            retries=self.count(node, "retries", RETRIES if until else 0),
            delay=self.number(node, "delay", DELAY) or 0.0,
            timeout=self.number(node, "timeout", None, least=0.001),
            hosts=hosts,
            notify=self._notify(node, handlers),
            ignore_errors=self.flag(node, "ignore_errors"),
            tags=self.words(node, "tags", commas=True),
            run_once=self.flag(node, "run_once"),
        )

    def _module(self, node: Node) -> ModuleSpec | None:
        """The one module that a task names."""
        if not isinstance(node.data, dict):
            self.errors.append(node.error(f"a task is a mapping, not {describe(node.data)}"))
            return None
        words = [str(key) for key in node.data if key not in TASK_WORDS]
        modules = [word for word in words if word.replace("-", "_") in registry.names("modules")]
        for word in words:
            if word not in modules:
                hint = did_you_mean(word, [*TASK_WORDS, *registry.names("modules")])
                message = f"{word!r} is neither a module nor a word of a task"
                self.errors.append(node.error(message, [word], key=True, hint=hint))
        if len(modules) > 1:
            self.errors.append(
                node.error(f"a task names one module, this one {' and '.join(modules)}", [modules[1]], key=True)
            )
        elif not words:
            self.errors.append(
                node.error("this task names no module", hint=f"modules: {', '.join(registry.names('modules'))}")
            )
        return registry.module(modules[0]) if len(words) == len(modules) == 1 else None

    def _args(
        self, node: Node, word: str, module: ModuleSpec, known: Known
    ) -> tuple[Mapping[str, Node], ModuleArgs | None]:
        given = node.children[word]
        if given.data is not None and not isinstance(given.data, dict):
            self.errors.append(given.error(f"{module.name} takes named arguments, not {describe(given.data)}"))
            return {}, None
        args = {str(name): child for name, child in given.children.items()}
        for child in args.values():
            known.check(child, self.errors)
        static, errors = arguments.check(module, args, node.where([word], key=True))
        self.errors += errors
        return args, static

    def _register(self, node: Node) -> str:
        name = self.text(node, "register")
        if name:
            self.errors += (
                node.error(error.message, ["register"], hint=error.hint)
                for error in reserved({name: 0}, "a result", node)
            )
            self.registered.add(name)
        return name

    def _notify(self, node: Node, handlers: list[str] | tuple[str, ...]) -> tuple[str, ...]:
        names = self.words(node, "notify")
        for name in names:
            if name not in handlers:
                hint = did_you_mean(name, handlers) or "handlers stand in the play, beside its tasks"
                self.errors.append(node.error(f"no handler of this play is named {name!r}", ["notify"], hint=hint))
        return names

    def _loop(self, node: Node, known: Known) -> Node | None:
        loop = node.children.get("loop")
        if loop is None:
            return None
        known.check(loop, self.errors)
        if not (isinstance(loop.data, list) or (isinstance(loop.data, str) and arguments.templated(loop))):
            message = f"loop is a list, or an expression that gives one, not {describe(loop.data)}"
            self.errors.append(loop.error(message))
        return loop

    def _condition(self, node: Node, key: str, known: Known) -> Node | None:
        child = node.children.get(key)
        if child is not None:
            known.check_condition(child, self.errors)
        return child
