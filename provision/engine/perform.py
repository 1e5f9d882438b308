"""Actions, planned or performed: the only file that changes a node.

``plan`` never touches the transport. What an action was to do is told in the same words in both, so a plan reads as the
run that follows it.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import PurePosixPath
from typing import assert_never

from provision import clock
from provision.actions import Action, Call, Fetch, Get, Job, Put, Remove, Run, Send
from provision.engine.fetching import fetch
from provision.engine.sending import send
from provision.engine.view import CommandKind, NodeView
from provision.errors import CommandFailed, ProvisionError
from provision.events import ActionDone, ActionPlanned
from provision.results import ActionResult, PlannedResult, Result
from provision.transport.engine import prologue, worded
from provision.transport.jobs import run_job

REMOVE_DEADLINE = 120.0
"""Seconds that removing a file or folder may take; state folders are small."""
_DIFF_LIMIT = 256 * 1024


def act(action: Action, view: NodeView) -> ActionResult:
    """Plan or perform an action. Raises what went wrong, after telling of it."""
    view.time_left()
    return plan(action, view) if view.context.planning else perform(action, view)


def changes(action: Action) -> bool:
    """Whether the action counts as a change: it may affect something on the node."""
    return action.affects is None or bool(action.affects)


def plan(action: Action, view: NodeView) -> PlannedResult:
    """Tell what would be done; what it affects becomes unknown."""
    view.context.emitter.emit(
        ActionPlanned(
            node=view.name,
            task=view.task,
            label=action.label,
            detail=detail(action),
            diff=_diff_if_wanted(action, view),
        )
    )
    view.affected(action.label, action.affects)
    return PlannedResult(action.label)


def perform(action: Action, view: NodeView) -> Result:
    """Do it. Facts that it affects are forgotten even where it fails: it may have got half-way."""
    started = clock.monotonic()
    failure = ""
    try:
        return _perform(action, view)
    except ProvisionError as error:
        error.node = error.node or view.name
        failure = error.message
        raise
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        raise
    finally:
        view.affected(action.label, action.affects)
        view.context.emitter.emit(
            ActionDone(
                node=view.name,
                task=view.task,
                label=action.label,
                ok=not failure,
                seconds=clock.monotonic() - started,
                detail=failure or detail(action),
                diff=_diff_if_wanted(action, view),
            )
        )


def _perform(action: Action, view: NodeView) -> Result:
    match action:
        case Run():
            return _run(action, view)
        case Put():
            return _put(action, view)
        case Get():
            return _get(action, view)
        case Send():
            return send(action, view)
        case Fetch():
            return fetch(action, view)
        case Remove():
            return _remove(action, view)
        case Job():
            return _job(action, view)
        case Call():
            return action.do(view)
        case _:
            assert_never(action)


def _run(action: Run, view: NodeView) -> Result:
    result = view.command(
        action.script, deadline=action.deadline, label=action.label, input=action.input, become=action.become
    )
    if result.exit in action.ok_exits and not result.timed_out:
        return result
    if result.ok:
        message = f"{action.label}: exit status {result.exit}, expected {', '.join(map(str, action.ok_exits))}"
        raise CommandFailed(message, result, node=view.name, hint=action.hint)
    return result.check(node=view.name, hint=action.hint)


def _put(action: Put, view: NodeView) -> Result:
    def write() -> None:
        view.transport.put(action.path, action.content, mode=action.mode, become=action.become)

    return _copied(action.label, f"put {action.path}", "put", write, view)


def _get(action: Get, view: NodeView) -> Result:
    def fetch() -> None:
        content = view.transport.get(action.path, become=action.become)
        action.to.parent.mkdir(parents=True, exist_ok=True)
        action.to.write_bytes(content)

    return _copied(action.label, f"get {action.path}", "get", fetch, view)


def _copied(label: str, told: str, kind: CommandKind, copy: Callable[[], None], view: NodeView) -> Result:
    started = clock.monotonic()
    copy()
    result = Result(label, 0, "", seconds=clock.monotonic() - started)
    view.told(result, told, kind)
    return result


def _remove(action: Remove, view: NodeView) -> Result:
    result = view.command(removal(action.path), deadline=REMOVE_DEADLINE, label=action.label, become=action.become)
    return result.check(node=view.name, hint=f"remove {action.path} by hand and run again")


def removal(path: str) -> str:
    """The script that removes ``path``. Raises ``ProvisionError`` for ``/``, ``/var``, ``a/b`` and ``/a/../b``."""
    parts = PurePosixPath(path).parts
    if not path.startswith("/") or len(parts) < 3 or ".." in parts:
        raise ProvisionError(f"refused to remove {path!r}: not an absolute path at least two folders deep")
    return f"rm -rf -- {shlex.quote(path)}\n"


def _job(action: Job, view: NodeView) -> Result:
    result = run_job(
        view.transport,
        replace(action, script=worded(prologue(view.settings), action.script)),
        state_dir=_jobs(view),
        deadline=view.within(action.deadline),
        progress=view.progress,
        stop=view.context.stop,
    )
    view.told(result, action.script, "job")
    return result.check(node=view.name, hint=action.hint)


def _jobs(view: NodeView) -> str:
    return f"{view.settings.state_dir}/{view.settings.cluster}/jobs"


# ---- in words


def detail(action: Action) -> str:
    """What exactly is done, as the operator would type or see it."""
    match action:
        case Run() | Job():
            return action.script.strip()
        case Put():
            size = "secret" if action.secret else f"{len(action.content)} bytes"
            return f"{action.path} ({size}, mode {action.mode:04o})"
        case Get():
            return f"{action.path} -> {action.to}"
        case Send():
            return f"{action.source} -> {action.path}"
        case Fetch():
            return f"{action.path} -> {action.to}"
        case Remove():
            return action.path
        case Call():
            return ""
        case _:
            assert_never(action)


def _diff_if_wanted(action: Action, view: NodeView) -> str:
    return diff(action) if view.context.diff and isinstance(action, Put) else ""


def diff(action: Put) -> str:
    """A unified diff of what a ``Put`` changes; nothing of a secret, sizes only of what is no text."""
    if action.secret:
        return f"{action.path}: secret, content not shown"
    before, after = _text(action.before or b""), _text(action.content)
    if before is None or after is None:
        return f"{action.path}: {len(action.before or b'')} bytes -> {len(action.content)} bytes, no text"
    old = f"{action.path} (on the node)" if action.before is not None else "/dev/null"
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), old, action.path, lineterm="")
    return "\n".join(lines)


def _text(content: bytes) -> str | None:
    if len(content) > _DIFF_LIMIT or b"\0" in content:
        return None
    try:
        return content.decode()
    except UnicodeDecodeError:
        return None
