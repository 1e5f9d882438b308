"""docker's --format: the part of Go's templates that scripts use."""

from __future__ import annotations

import pytest

from provision.rehearsal.standins.docker.errors import DockerError
from provision.rehearsal.standins.docker.template import render

VALUE: dict[str, object] = {
    "Id": "abc",
    "State": {"Running": True, "ExitCode": 0},
    "Config": {"Labels": {"qnext.rank": "4", "a b": "c"}, "Env": ["A=1", "B=2"]},
    "Labels": "qnext.rank=4,x=y",
    "None": None,
}

CASES = [
    ("{{.Id}} {{ .State.Running }}", "abc true"),
    ("{{json .State}}", '{"Running":true,"ExitCode":0}'),
    ('{{index .Config.Labels "qnext.rank"}}|{{index .Config.Labels "none"}}', "4|"),
    ("{{index .Config.Env 1}}", "B=2"),
    ("{{range .Config.Env}}[{{.}}]{{end}}", "[A=1][B=2]"),
    ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
    ("{{if .State.Running}}up{{else}}down{{end}}", "up"),
    ("{{if .State.ExitCode}}bad{{else}}good{{end}}.", "good."),
    ("{{if .None}}a{{end}}b", "b"),
    ('{{join .Config.Env ","}}', "A=1,B=2"),
    ("{{len .Config.Env}}", "2"),
    ('{{.Label "qnext.rank"}}', "4"),
    ("{{.Config.Labels}}", "map[a b:c qnext.rank:4]"),
    ("{{.Id | json}}", '"abc"'),
    ("{{.Id}}\\t{{.None}}", "abc\t<no value>"),
    ('{"Id":{{json .Id}},"S":{{json .State}}} @env {{json .Config.Env}}',
     '{"Id":"abc","S":{"Running":true,"ExitCode":0}} @env ["A=1","B=2"]'),
]  # fmt: skip


@pytest.mark.parametrize(("template", "expected"), CASES)
def test_render(template: str, expected: str) -> None:
    assert render(template, VALUE) == expected


@pytest.mark.parametrize("template", ["{{.Nope}}", "{{.State.Nope}}", "{{nope .Id}}"])
def test_what_docker_would_refuse_is_refused(template: str) -> None:
    with pytest.raises(DockerError, match="template"):
        render(template, VALUE)
