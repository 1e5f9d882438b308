"""Units: words that systemd takes literally, waits that are gates, and what its own verifier says."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, strategies

from provision.errors import ConfigError
from provision.resources import shipped
from provision.serve.export import systemd
from provision.serve.render import render_script
from tests.serve.clusters import settings
from tests.serve.export.launches import CLUSTERS, launch, launch_of

WAIT = shipped("templates") / "launch" / "wait.sh"
PRINTABLE = strategies.text(strategies.characters(exclude_categories=["C", "Z"], include_characters=" "))


def taken(text: str) -> str:
    """A word as systemd takes it: quotes first, then specifiers and variables [systemd.service(5), command lines]."""
    if text.startswith('"'):
        assert text.endswith('"')
        text = re.sub(r"\\(.)", r"\1", text[1:-1])
    else:
        assert not re.search(r"[\s\"'\\;]", text)
    assert not re.search(r"(?<!%)(%%)*%(?!%)", text)
    assert not re.search(r"(?<!\$)(\$\$)*\$(?!\$)", text)
    return text.replace("%%", "%").replace("$$", "$")


def entries(text: str) -> list[tuple[str, str]]:
    return [(key, value) for line in text.splitlines() if "=" in line for key, _, value in [line.partition("=")]]


def body(script: str) -> str:
    return script[script.index("set -eu") :]


@given(PRINTABLE)
def test_words_are_taken_literally(text: str) -> None:
    assert taken(systemd.word(text)) == text


@pytest.mark.parametrize("text", ["a\nb", "a\x1bb", "\0"])
def test_control_characters_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        systemd.word(text)


def test_a_state_dir_with_specials_is_escaped() -> None:
    own = settings("cpu").model_copy(update={"state_dir": "/srv/100% $x"})
    files = {file.path: file.text for file in systemd.files(*launch([own], 1))}
    unit = dict(entries(files["node0/qnext-qnext-test-server.service"]))
    assert unit["ExecStart"] == '/bin/sh "/srv/100%% $$x/qnext-test/launch/server.foreground.sh"'


@pytest.mark.parametrize("name", CLUSTERS)
def test_every_process_has_a_unit_and_a_script_in_the_foreground(name: str) -> None:
    found, by_node = launch_of(name)
    files = {file.path: file.text for file in systemd.files(found, by_node)}
    for process in found.plan.processes:
        folder = f"node{process.node_index}/"
        assert f"{folder}{systemd.unit_name(found.plan, process)}" in files
        script = files[f"{folder}{process.name}.foreground.sh"]
        launched = render_script(found.plan, process, by_node[process.node])
        same = launched.text.replace("\ndocker run -d ", "\ndocker run --sig-proxy=true ")
        assert body(script) == body(same)


def test_the_front_waits_for_all_servers_and_ranks_for_the_first() -> None:
    files = {file.path: file.text for file in systemd.files(*launch_of("two-a2-external-dp"))}
    waits = {
        path: re.findall(r"^ExecStartPre=/bin/bash \S+/wait.sh 3000 (.*)$", text, re.MULTILINE)
        for path, text in files.items()
        if path.endswith(".service")
    }
    assert waits["node0/qnext-qnext-test-rank0.service"] == []
    assert waits["node1/qnext-qnext-test-rank3.service"] == ["tcp://10.0.0.1:13389"]
    (front,) = waits["node0/qnext-qnext-test-router.service"]
    assert front.split() == [f"http://10.0.0.{node}:810{slot}/health" for node in (1, 2) for slot in (0, 1)]


def test_what_to_do_on_failure() -> None:
    def unit(**serve: object) -> dict[str, str]:
        return dict(entries(systemd.files(*launch([settings("cpu", **serve)], 1))[0].text))

    assert unit()["Restart"] == "no"
    assert "StartLimitBurst" not in unit()
    again = unit(on_failure="restart-group", restart_budget=4)
    assert (again["Restart"], again["StartLimitBurst"], again["StartLimitIntervalSec"]) == (
        "on-failure",
        "5",
        "infinity",
    )


def test_systemd_takes_them(tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if not verifier:
        pytest.skip("systemd-analyze is not installed here; golden files hold the units without it")
    (tmp_path / "docker.service").write_text("[Service]\nExecStart=/bin/true\n")
    names = []
    for file in systemd.files(*launch_of("two-a2-external-dp", on_failure="restart-group")):
        if file.path.endswith(".service"):
            names.append(tmp_path / Path(file.path).name)
            names[-1].write_text(file.text)
    where = {**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"}
    answer = subprocess.run([verifier, "verify", "--man=no", *names], env=where, capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")


# ---- wait.sh


class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else 503)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def wait(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(WAIT), "0", *words], capture_output=True, text=True, timeout=30)


def test_what_answers_is_not_waited_for(port: int) -> None:
    answer = wait(f"tcp://127.0.0.1:{port}", f"http://127.0.0.1:{port}/health")
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize("gate", ["http://127.0.0.1:{port}/other", "tcp://127.0.0.1:1", "http://127.0.0.1:1/health"])
def test_what_does_not_is_named(port: int, gate: str) -> None:
    answer = wait(gate.format(port=port))
    assert answer.returncode == 1
    assert answer.stderr.splitlines() == [
        f"qnext: waiting for {gate.format(port=port)}",
        f"qnext: {gate.format(port=port)} does not answer after 0 s: see the log of the process there",
    ]
