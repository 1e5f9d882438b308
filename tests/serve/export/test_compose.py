"""Compose files say what the launch scripts do, and keep to the specification."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from provision.serve.export import compose
from provision.serve.export.base import ExportFile
from provision.serve.render import start_command
from tests.serve.clusters import settings
from tests.serve.export.launches import CLUSTERS, launch, launch_of, loaded

TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
CLOSED = {"type": "object", "additionalProperties": False}
SERVICE = {
    **CLOSED,
    "required": ["image"],
    "properties": {
        "image": TEXT,
        "container_name": TEXT,
        "labels": {"type": "object", "additionalProperties": TEXT},
        "network_mode": {"const": "host"},
        "shm_size": {"type": "string", "pattern": r"^\d+[kmg]$"},
        "ulimits": {"type": "object", "additionalProperties": {"type": "integer"}},
        "logging": {**CLOSED, "properties": {"driver": TEXT, "options": {"additionalProperties": TEXT}}},
        "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
        "stop_grace_period": {"type": "string", "pattern": r"^\d+s$"},
        "depends_on": {
            "type": "object",
            "additionalProperties": {
                **CLOSED,
                "required": ["condition"],
                "properties": {"condition": {"enum": ["service_started", "service_healthy"]}},
            },
        },
        "privileged": {"type": "boolean"},
        "devices": TEXTS,
        "volumes": {
            "type": "array",
            "uniqueItems": True,
            "items": {
                **CLOSED,
                "required": ["type", "source", "target"],
                "properties": {
                    "type": {"const": "bind"},
                    "source": TEXT,
                    "target": TEXT,
                    "read_only": {"type": "boolean"},
                    "bind": {**CLOSED, "properties": {"create_host_path": {"const": False}}},
                },
            },
        },
        "env_file": {
            "type": "array",
            "items": {
                **CLOSED,
                "required": ["path"],
                "properties": {"path": TEXT, "required": {"type": "boolean"}, "format": TEXT},
            },
        },
        "environment": {"type": "object", "additionalProperties": TEXT},
        "entrypoint": TEXTS,
        "command": TEXTS,
        "healthcheck": {
            **CLOSED,
            "properties": {
                "test": TEXTS,
                "interval": TEXT,
                "timeout": TEXT,
                "start_period": TEXT,
                "retries": {"type": "number"},
            },
        },
    },
}
SCHEMA = {
    **CLOSED,
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]*$"},
        "services": {**CLOSED, "patternProperties": {"^[a-zA-Z0-9._-]+$": SERVICE}},
    },
}
"""What of the Compose specification's schema these files use [compose-spec, schema/compose-spec.json]."""
SPECIFICATION = jsonschema.Draft202012Validator(SCHEMA)


def parsed(files: tuple[ExportFile, ...]) -> dict[str, Any]:
    return {file.path: loaded(file.text)[0] for file in files if file.path.endswith(".yaml")}


def services(files: tuple[ExportFile, ...]) -> dict[str, Any]:
    return {name: each for file in parsed(files).values() for name, each in file["services"].items()}


def filled(text: str, **variables: str) -> str:
    """As compose fills it: ``$$``, ``${NAME:-default}`` and ``${NAME:?error}``; a bare ``$`` is no text of ours."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        assert found["name"], f"{text!r} has a bare $"
        if found["name"] not in variables and found["kind"] == "?":
            raise KeyError(found["rest"])
        return variables.get(found["name"], found["rest"])

    return re.sub(r"\$\$|\$(?:\{(?P<name>\w+):(?P<kind>[-?])(?P<rest>[^}]*)\})?", value, text)


@pytest.mark.parametrize("name", CLUSTERS)
def test_each_file_keeps_to_the_specification(name: str) -> None:
    for file in parsed(compose.files(*launch_of(name))).values():
        SPECIFICATION.validate(file)
        for service in file["services"].values():
            assert set(service.get("depends_on", {})) <= set(file["services"])


@pytest.mark.parametrize("name", CLUSTERS)
def test_each_service_is_its_process(name: str) -> None:
    found, by_node = launch_of(name)
    made = services(compose.files(found, by_node))
    assert set(made) == {process.name for process in found.plan.processes}
    for process in found.plan.processes:
        service = made[process.name]
        assert [filled(word) for word in service["command"]] == list(process.argv)
        assert filled(service["entrypoint"][2]) == start_command(process)
        environment = {key: filled(value, QNEXT_INTERFACE="eth7") for key, value in service["environment"].items()}
        interfaces = {key: f"{prefix}eth7" for key, prefix in process.interface_env.items()}
        expected = {k: v for k, v in process.env.items() if "$" not in v} | interfaces
        assert expected.items() <= environment.items()
        devices = [each for each in service.get("devices", []) if re.match(r"/dev/davinci\d", each)]
        assert len(devices) == len(process.devices)


def test_dollars_are_kept() -> None:
    given = settings("cpu", env={"PRICE": "5$ ${HOME} $$"}, engine_args={"chat-template": "$x {{ y }}"})
    (service,) = services(compose.files(*launch([given], 1))).values()
    assert service["environment"]["PRICE"] == "5$$ $${HOME} $$$$"
    assert filled(service["environment"]["PRICE"]) == "5$ ${HOME} $$"
    assert "$$x {{ y }}" in service["command"]


def test_an_interface_that_is_not_named_is_asked_for() -> None:
    found = launch_of("two-a3-dp8-tp4")
    head = services(compose.files(*found))["head"]
    with pytest.raises(KeyError, match=r"interface that owns 10\.0\.0\.1"):
        filled(head["environment"]["GLOO_SOCKET_IFNAME"])
    named = services(compose.files(*launch_of("a2-tp4")))["server"]
    assert named["environment"]["HCCL_SOCKET_IFNAME"] == "=enp67s0f5"


def test_the_key_is_read_from_a_file_and_stands_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_TEST", "s3cr3t-value")
    given = settings("cpu", api_key={"env": "KEY_OF_TEST"})
    files = compose.files(*launch([given], 1))
    (service,) = services(files).values()
    assert service["env_file"] == [
        {"path": "/var/lib/qnext/qnext-test/launch/server.env", "required": True, "format": "raw"}
    ]
    assert "s3cr3t" not in "".join(file.text for file in files)
    assert "server.env" in files[-1].text


def test_the_router_waits_for_healthy_servers_of_its_node() -> None:
    made = services(compose.files(*launch_of("two-a2-external-dp")))
    healthy = {"condition": "service_healthy"}
    assert made["router"]["depends_on"] == {"rank0": healthy, "rank1": healthy}
    assert made["rank1"]["depends_on"] == {"rank0": {"condition": "service_started"}}
    assert "depends_on" not in made["rank2"]
    for name in ("router", "rank0", "rank3"):
        assert "healthcheck" in made[name]


def test_companions_lie_beside_the_file() -> None:
    files = {file.path: file for file in compose.files(*launch_of("two-a2-ray"))}
    assert {"node0.compose.yaml", "node0.head.ray.sh", "node1.worker1.ray.sh"} <= set(files)
    service = loaded(files["node0.compose.yaml"].text)[0]["services"]["head"]
    assert service["volumes"][-1]["source"] == "./node0.head.ray.sh"
    assert service["volumes"][-1]["target"] == "/qnext/ray.sh"


def test_the_health_check_asks_the_api(tmp_path: Path) -> None:
    """Its text is run by sh, with a python3 that says what it was given."""
    (service,) = services(compose.files(*launch([settings("cpu", port=8123)], 1))).values()
    test = filled(service["healthcheck"]["test"][-1])
    python = tmp_path / "python3"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$3"\n')
    python.chmod(0o755)
    answer = subprocess.run(["sh", "-c", test], env={"PATH": f"{tmp_path}:/bin"}, capture_output=True, text=True)
    assert answer.stdout == "http://127.0.0.1:8123/health\n"


def test_docker_compose_takes_them(tmp_path: Path) -> None:
    docker = shutil.which("docker")
    if not docker or subprocess.run([docker, "compose", "version"], capture_output=True).returncode:
        pytest.skip("docker compose is not installed here; the rules above hold the files to its schema without it")
    for file in compose.files(*launch_of("two-a3-prefill-decode")):
        (tmp_path / file.path).write_text(file.text)
    words = [docker, "compose", "-f", "node0.compose.yaml", "config", "--quiet"]
    answer = subprocess.run(words, cwd=tmp_path, env={"QNEXT_INTERFACE": "eth0"}, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
