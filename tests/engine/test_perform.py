"""Actions on a real shell: this machine, through the local transport."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.actions import Action, Call, Get, Job, JobProgress, Put, Remove, Run
from provision.emitter import Emitter
from provision.engine.context import Context, Watch
from provision.engine.perform import act, changes, detail, diff, removal
from provision.engine.view import NodeView
from provision.errors import CommandFailed, DeadlineExceeded, ProvisionError, Unknown
from provision.events import ActionDone, ActionPlanned, CommandRan, Event, Progressed
from provision.inventory.model import Connection, Host, Settings
from provision.results import PlannedResult, Result
from provision.transport.local import LocalTransport

pytestmark = pytest.mark.rehearsal


class Seen:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def close(self) -> None: ...


@pytest.fixture
def seen() -> Seen:
    return Seen()


def host(state: Path) -> Host:
    settings = Settings.model_validate(
        {
            "cluster": "test",
            "hardware": "cpu",
            "install": {"image": "registry.example/vllm:1"},
            "model": {"path": "/data/model"},
            "state_dir": str(state),
        }
    )
    return Host("here", 0, ("all",), Connection(kind="local"), settings)


def view_of(seen: Seen, state: Path, *, planning: bool = False) -> NodeView:
    emitter = Emitter([seen])
    where = host(state)
    view = NodeView(where, LocalTransport(where), Context(emitter, Watch(emitter), planning=planning, diff=True))
    view.task = "task"
    return view


@pytest.fixture
def view(seen: Seen, tmp_path: Path) -> Iterator[NodeView]:
    view = view_of(seen, tmp_path / "state")
    yield view
    view.transport.close()


def test_run_put_get_and_remove(view: NodeView, seen: Seen, tmp_path: Path) -> None:
    path, copy = tmp_path / "on/the/node", tmp_path / "here/copy"
    act(Put(label="write", path=str(path), content=b"hello\n", mode=0o640), view)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"hello\n", 0o640)
    result = act(Run(label="read", script=f"cat {path}; cat", input=b"more"), view)
    assert result.stdout == "hello\nmore"
    act(Get(label="fetch", path=str(path), to=copy), view)
    assert copy.read_bytes() == b"hello\n"
    act(Remove(label="remove", path=str(path.parent)), view)
    assert not path.parent.exists()
    act(Remove(label="again", path=str(path.parent)), view)
    done = [event for event in seen.events if isinstance(event, ActionDone)]
    assert [(event.label, event.ok) for event in done] == [
        (label, True) for label in ("write", "read", "fetch", "remove", "again")
    ]
    kinds = [event.kind for event in seen.events if isinstance(event, CommandRan)]
    assert kinds == ["put", "exec", "get", "exec", "exec"]


def test_a_command_that_hangs_is_ended(view: NodeView) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        act(Run(label="hang", script="sleep 30", deadline=0.3, hint="look"), view)
    assert (caught.value.node, caught.value.hint) == ("here", "look")


def test_a_failure_is_told_with_its_reason(view: NodeView, seen: Seen) -> None:
    with pytest.raises(CommandFailed):
        act(Run(label="bad", script="echo no >&2; exit 3"), view)
    [done] = [event for event in seen.events if isinstance(event, ActionDone)]
    assert (done.ok, done.detail) == (False, "bad: exit status 3: no")


def test_a_job_runs_in_the_clusters_folder_and_shows_progress(view: NodeView, seen: Seen, tmp_path: Path) -> None:
    progress = lambda log: JobProgress(None, f"{len(log.splitlines())} lines")  # noqa: E731
    result = act(Job(label="long", name="long", script="echo one; sleep 0.6; echo two", progress=progress), view)
    assert result.stdout.splitlines() == ["one", "two"]
    assert (tmp_path / "state/test/jobs/long/log").exists()
    assert any(isinstance(event, Progressed) and event.text == "1 lines" for event in seen.events)


def test_a_job_that_fails(view: NodeView) -> None:
    with pytest.raises(CommandFailed) as caught:
        act(Job(label="long", name="bad", script="echo broken; exit 9", hint="mend it"), view)
    assert caught.value.result.exit == 9
    assert caught.value.hint == "mend it"
    assert "broken" in caught.value.evidence


ACTIONS: list[Action] = [
    Run(label="r", script="touch {0}/run"),
    Put(label="p", path="{0}/put", content=b"x"),
    Get(label="g", path="{0}/there", to=Path("{0}/got")),
    Remove(label="d", path="{0}/there"),
    Job(label="j", name="j", script="touch {0}/job"),
    Call(label="c", do=lambda node: Result("c", 0, str(1 / 0))),
]


def placed(action: Action, folder: Path) -> Action:
    """The action with its paths in ``folder``."""
    from dataclasses import fields, replace

    texts = {
        name: getattr(action, name) for name in (field.name for field in fields(action)) if name in ("script", "path")
    }
    moved = {name: text.replace("{0}", str(folder)) for name, text in texts.items()}
    return replace(action, **moved)  # type: ignore[arg-type]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_planning_an_action_does_nothing(action: Action, seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "there").write_text("still here")
    view = view_of(seen, tmp_path / "state", planning=True)
    result = act(placed(action, tmp_path), view)
    assert isinstance(result, PlannedResult)
    assert result.ok
    with pytest.raises(Unknown, match=f"known only after: {action.label}"):
        result.stdout.strip()
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert view.transport.counters.execs == 0
    assert [type(event) for event in seen.events] == [ActionPlanned]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
def test_only_get_is_no_change(action: Action) -> None:
    assert changes(action) is not isinstance(action, Get)


def test_details() -> None:
    assert detail(Put(label="", path="/a/b", content=b"123", mode=0o755)) == "/a/b (3 bytes, mode 0755)"
    assert detail(Put(label="", path="/a/b", content=b"123", secret=True)) == "/a/b (secret, mode 0644)"
    assert detail(Run(label="", script="\n  ls\n")) == "ls"


@pytest.mark.parametrize(
    ("before", "content", "lines"),
    [
        (b"a\nb\n", b"a\nc\n", ["--- /f (on the node)", "+++ /f", "@@ -1,2 +1,2 @@", " a", "-b", "+c"]),
        (None, b"a\n", ["--- /dev/null", "+++ /f", "@@ -0,0 +1 @@", "+a"]),
        (b"a\n", b"a\n", []),
        (b"\0", b"xy", ["/f: 1 bytes -> 2 bytes, no text"]),
        (b"\xff", b"xy", ["/f: 1 bytes -> 2 bytes, no text"]),
    ],
)
def test_diffs(before: bytes | None, content: bytes, lines: list[str]) -> None:
    assert diff(Put(label="", path="/f", content=content, before=before)).splitlines() == lines


@pytest.mark.parametrize("path", ["/var/lib/qnext/c", "/tmp/a b", "/a/'b"])
def test_removals_quote_the_path(path: str) -> None:
    import shlex

    assert shlex.split(removal(path)) == ["rm", "-rf", "--", path]


@pytest.mark.parametrize("path", ["/", "/var", "var/x/y", "/var/../x", ""])
def test_refused_removals(path: str) -> None:
    with pytest.raises(ProvisionError, match="refused to remove"):
        removal(path)
