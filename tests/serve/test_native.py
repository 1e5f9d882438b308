"""Launch scripts of servers without a container: what they need of their node, and what they do without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.accel.protocol import ContainerRecipe
from provision.errors import ConfigError
from provision.inventory.model import Settings
from provision.serve import native
from provision.serve.build import build_plan
from provision.serve.export import compose, lws, scripts, systemd
from provision.serve.launch import Launch
from provision.serve.plan import Companion
from provision.serve.render import digest_of, render_script, render_scripts, render_trial
from tests.serve.clusters import pairs


def of_source(hardware: str = "atlas-800-a3", **changes: object) -> Settings:
    return Settings.model_validate(
        {
            "cluster": "demo",
            "hardware": hardware,
            "install": {"method": "source", "source": {"release": "v0.18.0"}},
            "model": {"path": "/data/weights/model"},
            "serve": {"topology": "tensor-parallel", "tensor_parallel_size": 8},
            **changes,
        }
    )


def launched(settings: Settings, count: int = 1) -> tuple[Launch, dict[str, Settings]]:
    plan = build_plan(pairs(settings, count, interface="eth0"))
    every = {process.node: settings for process in plan.processes}
    return Launch(plan, render_scripts(plan, every)), every


def test_a_server_sees_its_devices_by_their_numbers() -> None:
    own = of_source(
        serve={"topology": "external-dp", "tensor_parallel_size": 4, "data_parallel_size": 4},
    )
    launch, _ = launched(own)
    visible = [p.env["ASCEND_RT_VISIBLE_DEVICES"] for p in launch.plan.processes if p.kind == "server"]
    assert visible == ["0,1,2,3", "4,5,6,7", "8,9,10,11", "12,13,14,15"]
    assert "--device /dev/davinci4 " in launch.scripts[1].text
    assert "/dev/davinci3 " not in launch.scripts[1].text


def test_it_runs_in_the_environment_of_cann_and_of_its_venv() -> None:
    own = of_source()
    launch, _ = launched(own)
    text = launch.scripts[0].text
    assert "docker" not in text
    assert "podman" not in text
    first, last = text.index(native.TOOLKIT_ENVIRONMENT[0]), text.index(f". {native.NNAL_ENVIRONMENT}; exec")
    assert first < last
    assert f"--venv {own.venv} " in text
    assert f"python={own.venv}/bin/python" in text
    assert "set_env.sh" not in launched(of_source("cpu", serve={}))[0].scripts[0].text


def test_its_digest_is_of_what_it_starts_not_of_what_keeps_it() -> None:
    launch, _ = launched(of_source())
    script = launch.scripts[0]
    assert digest_of(script.text) == script.digest
    assert f"qnext.digest={script.digest} " in script.text
    assert script.files == {"/var/lib/qnext/demo/launch/supervise.py": native.keeper_text()}


def test_companions_are_named_by_their_place_on_the_node() -> None:
    own = of_source()
    launch, _ = launched(own)
    process = replace(
        launch.plan.processes[0],
        files=(Companion("ray.sh", "echo\n"),),
        argv=("sh", "/qnext/ray.sh", "vllm", "serve", "/data/weights/model"),
        env={"CONFIG": "/qnext/ray.sh"},
    )
    text = render_script(launch.plan, process, own).text
    assert "/qnext/ray.sh" not in text.replace("/var/lib/qnext", "")
    assert text.count("/var/lib/qnext/demo/launch/head.ray.sh") == 3  # needed, named by the variable, run


def test_a_trial_leaves_nothing_and_has_its_devices() -> None:
    own = of_source()
    launch, _ = launched(own)
    process = replace(launch.plan.processes[0], argv=("timeout", "9", "npu-smi", "info"))
    text = render_trial(launch.plan, process, own, ContainerRecipe(), title="Look")
    assert '"$run/supervise.py" "$run" try\n' in text
    assert "trap 'rm -rf \"$run\"' EXIT" in text
    assert "systemd-run" not in text
    assert "/data/weights" not in text


@pytest.mark.parametrize(
    ("supervisor", "there", "not_there"),
    [
        ("auto", ("systemd-run", "setsid"), ()),
        ("systemd", ("systemd-run",), ("setsid",)),
        ("setsid", ("setsid",), ("systemd",)),
    ],
)
def test_who_supervises(supervisor: str, there: tuple[str, ...], not_there: tuple[str, ...]) -> None:
    source = {"release": "v0.18.0", "supervisor": supervisor}
    own = of_source(install={"method": "source", "source": source})
    text = launched(own)[0].scripts[0].text
    assert all(word in text for word in there)
    # what systemd runs in the place of may be said in a refusal
    assert not any(f"{word} " in text.replace("set it to setsid", "") for word in not_there)


def test_exports() -> None:
    launch, every = launched(of_source(), 2)
    for made in (compose.files, lws.files):
        with pytest.raises(ConfigError, match=r"install\.method is source") as caught:
            made(launch, every)
        assert "--format systemd" in caught.value.hint
    assert "supervise.py" in {file.path for file in scripts.files(launch, every)}
    found = {file.path: file.text for file in systemd.files(launch, every)}
    unit = found["node0/qnext-demo-head.service"]
    assert "docker" not in unit
    assert "KillMode=mixed" in unit
    assert found["node0/supervise.py"] == native.keeper_text()
    assert 'exec "$python" "$run/supervise.py" "$run" stay\n' in found["node0/head.foreground.sh"]
    assert "docker" not in found["README.txt"]
    assert "supervise.py" in found["README.txt"]


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ("podman", ("podman run -d", "--pids-limit=-1", "--security-opt label=disable", "--entrypoint= ", "bash -lic")),
        ("nerdctl", ("nerdctl run -d", "--entrypoint=bash ", "  -lic 'exec")),
    ],
)
def test_other_engines(engine: str, words: tuple[str, ...]) -> None:
    image = {"image": "quay.io/ascend/vllm-ascend:v0.18.0-a3", "engine": engine}
    launch, every = launched(of_source(install=image))
    text = launch.scripts[0].text
    assert all(word in text for word in words)
    assert "docker" not in text.lower().replace("docker makes", "").replace("docker refuses", "")
    unit = next(file.text for file in systemd.files(launch, every) if file.path.endswith(".service"))
    assert f"/usr/bin/env {engine} stop" in unit
    assert "docker" not in unit


def test_what_needs_an_image_is_refused() -> None:
    serve = {"topology": "replicas", "tensor_parallel_size": 8, "router": {"kind": "nginx", "image": "nginx:1"}}
    with pytest.raises(ConfigError, match=r"serve\.router\.image is an image"):
        build_plan(pairs(of_source(serve=serve), 1))
