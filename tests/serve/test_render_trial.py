"""A trial's container is that of the server, but for its command, its name, the weights and the secrets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from provision.accel.protocol import accelerator
from provision.serve.build import build_plan
from provision.serve.render import Script, render_script, render_trial
from tests.serve.clusters import pairs, settings
from tests.serve.test_render import Machine


def test_docker_gets_the_servers_options(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    plan, process = machine.plan(env={"GREETING": "it's"})
    own = settings("cpu", path=str(machine.model))
    launch = render_script(plan, process, own)
    machine.run(launch)
    servers = machine.words()
    trial = replace(process, name="check-x", argv=("sh", "-c", "echo 'two\nlines'"), headless=True, api_port=None)
    text = render_trial(plan, trial, own, accelerator("cpu").recipe(()), title="A trial")
    done = machine.run(Script(0, process.node, trial.name, "", text, "", "", ""))
    assert (done.returncode, done.stderr) == (0, "")
    words = machine.words()
    assert words[:2] == ["run", "--rm"]
    assert words[-6:] == ["bash", "-lic", 'exec "$@"', "qnext", *trial.argv][-6:]
    lacking = [word for word in servers if word not in words]
    weights = f"{machine.model}:{machine.model}:ro"
    assert set(lacking) <= {"-d", "-v", weights, f"qnext.digest={launch.digest}", *process.argv} | {
        word for word in servers if process.name in word
    }
    assert weights not in words
    assert "qnext.digest=trial" in words


def test_it_gets_the_devices_and_no_secret() -> None:
    own = settings("atlas-800-a3", topology="data-parallel", data_parallel_size=2, api_key={"env": "KEY"})
    plan = build_plan(pairs(own, 2))
    process = replace(plan.processes[1], name="check-x", argv=("true",), headless=True, api_port=None)
    text = render_trial(plan, process, own, accelerator("atlas-800-a3").recipe(process.devices), title="A trial")
    assert text.count("--device /dev/davinci") == len(process.devices) + 1
    assert "--env-file" not in text
    assert plan.model_path not in text
