"""The page: whole, escaped, self-contained, and written however a run ends."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from provision.events import Event, Found, NodeUnreachable, RunEnded, RunStarted, TaskEnded
from provision.render.html import MOST_COLUMNS, HtmlReport, page
from tests.render.examples import CONTROLS, NODES, SCRIPT, matrix, mixed, run

VOID = ("meta", "link", "br", "img", "input", "hr")


class Reader(HTMLParser):
    """Reads a page strictly: every tag that opens closes in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing that is open"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(" ".join(word for word in self.words if word).split())


def written(events: list[Event], tmp_path: Path) -> str:
    path = tmp_path / "page.html"
    report = HtmlReport(path)
    for event in events:
        report.handle(event)
    report.close()
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(run(), tmp_path_factory.mktemp("html"))


def test_it_tells_all_there_is(checked: str) -> None:
    text = Reader(checked).text
    for piece in (
        "check of qnext-prod failed", "16: atlas-[1:16]", "exit code 3", "/runs/1", "12 checks", "3 fail", "1 waived",
        "davinci 3: health is Alarm", "pid 7 atlas-[4:5]", "ticket 4711 (until 2030-01-01)",
        "check --fix would: set vm.max_map_count",
        "qnext-provision explain X03", "24.1.0 atlas-9 odd", "7.8.0.6.201 all 16 nodes would block",
        "222 of 240 pairs well", "nothing was tried from atlas-12", "1200 MB/s atlas-[1:8] cold",
        "unknown getent: no answer within 10 s", "Every NPU is healthy.",
    ):  # fmt: skip
        assert piece in text, piece


def test_failures_come_first(checked: str) -> None:
    levels = [
        (attributes.get("class") or "").split()[-1]
        for tag, attributes in Reader(checked).tags
        if tag == "article"
    ]  # fmt: skip
    assert levels == ["fail", "fail", "fail", "warn", "waived"]


def test_nothing_of_a_node_is_markup(checked: str) -> None:
    reader = Reader(checked)
    assert SCRIPT not in checked
    assert f"container train-job of {SCRIPT} uses davinci 0" in reader.text
    assert "script" not in {tag for tag, _ in reader.tags}
    assert "docker stop train-job" in reader.words


def test_nothing_is_loaded_from_elsewhere_and_nothing_runs(checked: str) -> None:
    for tag, attributes in Reader(checked).tags:
        assert tag not in ("script", "link", "iframe", "img", "object")
        assert not {name for name in attributes if name in ("src", "style") or name.startswith("on")} or tag == "i"
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in checked
    assert "@import" not in checked
    assert "prefers-color-scheme: dark" in checked
    assert "@media print" in checked


def test_links_lead_somewhere(checked: str) -> None:
    tags = Reader(checked).tags
    ids = {attributes["id"] for _, attributes in tags if attributes.get("id")}
    assert {(attributes["href"] or "")[1:] for tag, attributes in tags if tag == "a"} <= ids


def test_control_characters_are_left_out(checked: str) -> None:
    assert not set(CONTROLS) & set(checked) - set("red[0m13")
    assert "root, red" in Reader(checked).text


def test_each_cell_of_a_map_says_what_it_is(checked: str) -> None:
    titles = [attributes["title"] for tag, attributes in Reader(checked).tags if tag == "td" and "title" in attributes]
    assert len(titles) == 256
    assert "atlas-4 to atlas-8: lost, 5 of 5 lost" in titles
    assert "atlas-1 to atlas-6: slow, 12.3 ms" in titles


def test_a_run_that_broke_off_says_so(tmp_path: Path) -> None:
    text = Reader(written(run(ends=False), tmp_path)).text
    assert "did not end" in text
    assert "davinci 3: health is Alarm" in text


def test_a_run_that_never_began(tmp_path: Path) -> None:
    assert "did not end" in Reader(written([], tmp_path)).text


def test_what_went_wrong_apart_from_findings(tmp_path: Path) -> None:
    events: list[Event] = [
        RunStarted(run="1", command="up", inventory="c.yaml", nodes=("a", "b"), mode="apply", directory="/r"),
        NodeUnreachable(node="b", reason="connection refused", hint="start sshd"),
        TaskEnded(
            node="a", task="start", status="failed", message="head exited", hint="look", evidence="a < b\nEI0006"
        ),
        RunEnded(exit_code=1, seconds=3, summary="failed at 'start'", facts={"endpoint": "http://a"}, next=("x logs",)),
    ]
    text = Reader(written(events, tmp_path)).text
    for piece in ("up failed", "connection refused", "start sshd", "head exited", "a < b EI0006", "http://a", "x logs"):
        assert piece in text, piece
    assert "All checks" not in text


def test_the_mood_is_that_of_the_run(tmp_path: Path) -> None:
    started = run()[0]
    done = written([started, RunEnded(exit_code=0, seconds=1)], tmp_path)
    assert 'class="top good"' in done
    assert 'class="top bad"' in written([started], tmp_path)


def test_a_matrix_too_large_to_draw_is_told_in_words(tmp_path: Path) -> None:
    from provision.events import Checked
    from provision.findings import CheckOutcome

    size = MOST_COLUMNS + 1
    events = [
        run()[0],
        Checked(task="c", outcomes=(CheckOutcome("f", "X06", "pass", exhibits=(matrix(size, mixed),)),)),
    ]
    text = Reader(written(events, tmp_path)).text
    assert "Too large to be drawn" in text
    assert "3 pairs" not in text


def test_a_finding_with_one_backtick_stays_as_it_is(tmp_path: Path) -> None:
    odd = Found(node=NODES[0], check="c", code="N01", level="fail", summary="s", remedy="a ` b <")
    assert "a ` b <" in Reader(written([run()[0], odd], tmp_path)).text


def test_the_template_is_found_and_strict() -> None:
    from provision.render.html import _Seen

    assert page(_Seen()).startswith("<!doctype html>")
