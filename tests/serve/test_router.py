"""Which router runs, where and with which words."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from provision.errors import LayoutError
from provision.serve.build import build_plan
from provision.serve.plan import LaunchPlan
from tests.serve.clusters import options, pairs, settings


def plan_of(nodes: int = 2, **serve: Any) -> LaunchPlan:
    return build_plan(pairs(settings("cpu", topology="replicas", **serve), nodes))


@pytest.mark.parametrize(
    ("has", "taken"), [(("vllm-router", "nginx"), "vllm-router"), (("nginx",), "nginx"), ((), "the built-in one")]
)
def test_auto_takes_the_best_that_the_image_has(tmp_path: Path, has: tuple[str, ...], taken: str) -> None:
    for name in (*has, "python3"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*"\n')
        (tmp_path / name).chmod(0o755)
    argv = plan_of().entry.argv
    sh = shutil.which("sh")
    assert sh
    done = subprocess.run([sh, *argv[1:]], capture_output=True, text=True, env={"PATH": str(tmp_path)})
    said, ran = done.stdout.splitlines()
    assert said == f"qnext: the router is {taken}"
    assert ran.split()[0] == (has[0] if has else "python3")
    if "nginx" in ran:
        assert ran == "nginx -c /qnext/nginx.conf -g daemon off;"
    else:
        assert "http://10.0.0.1:8100 http://10.0.0.2:8100" in ran


def test_arguments_lie_over_ours() -> None:
    router = {
        "kind": "vllm-router",
        "policy": "power_of_two",
        "args": {"health-check-interval-secs": 60, "log_level": "warn"},
    }
    given = options(plan_of(router=router).entry.argv)
    assert given["--policy"] == ("power_of_two",)
    assert given["--health-check-interval-secs"] == ("60",)
    assert given["--log-level"] == ("warn",)


def test_an_image_of_its_own_needs_no_bash() -> None:
    plan = plan_of(router={"kind": "nginx", "image": "registry.example/nginx:1", "node": "node2"})
    assert (plan.entry.image, plan.entry.node, plan.entry.login) == ("registry.example/nginx:1", "node2", False)
    assert plan.endpoint == "http://10.0.0.2:8000"
    assert plan_of().entry.login


def test_nginx_passes_streams_to_all_servers() -> None:
    plan = plan_of(nodes=3, port=9000, router={"kind": "nginx", "args": {"proxy_read_timeout": "60s"}})
    (conf,) = plan.entry.files
    for line in (
        "least_conn;",
        "server 10.0.0.3:8100 max_fails=2 fail_timeout=10s;",
        "listen 0.0.0.0:9000;",
        "proxy_pass http://servers/health;",
        "proxy_buffering off;",
        "proxy_next_upstream error http_503 non_idempotent;",
    ):
        assert f" {line}\n" in conf.text
    assert conf.text.rindex("proxy_read_timeout 60s;") > conf.text.rindex("location / {")
    assert conf.text.count("{") == conf.text.count("}")


def test_a_directive_of_the_operators_replaces_ours() -> None:
    plan = plan_of(router={"kind": "nginx", "args": {"proxy_read_timeout": "60s"}})
    location = plan.entry.files[0].text.partition("location / {")[2]
    assert location.count("proxy_read_timeout") == 1, "nginx refuses a directive that stands there twice"


def test_without_a_router_clients_ask_the_first_server() -> None:
    plan = plan_of(router={"kind": "none"})
    assert (plan.head, plan.endpoint) == ("replica0", "http://10.0.0.1:8000")
    assert [server.api_port for server in plan.servers] == [8000, 8000]
    assert all(process.kind == "server" for process in plan.processes)


def test_servers_listen_where_the_router_reaches_them() -> None:
    plan = plan_of(host="10.0.0.1", router={"kind": "built-in"})
    assert [options(server.argv)["--host"] for server in plan.servers] == [("10.0.0.1",), ("10.0.0.2",)]
    assert options(plan.entry.argv)["--host"] == ("10.0.0.1",)


@pytest.mark.parametrize(
    ("router", "reason"),
    [
        ({"node": "node9"}, "serve.router.node node9 is no host"),
        ({"kind": "vllm-ascend"}, "is for prefill-decode alone"),
        ({"args": {"policy": "random"}}, "which router runs is only found on the node"),
    ],
)
def test_what_cannot_be_is_refused(router: dict[str, Any], reason: str) -> None:
    with pytest.raises(LayoutError, match=reason):
        plan_of(router=router)
