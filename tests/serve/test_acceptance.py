"""Upstream's own configurations, imported: for the same cluster, the same words and the same environment.

Each folder of ``../shared/acceptance`` holds a configuration and the shell scripts that upstream's own converter made
of it. They are read in place, and all that are there are tried. Left aside is only what the launcher adds to the
environment for the network of each node.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision import yamlio
from provision.inventory.load import load
from provision.serve.importing import vllm_ascend
from provision.serve.importing.inventory import Target, inventory_of
from provision.serve.importing.recipe import Notes
from provision.serve.launch import declared
from provision.serve.plan import LaunchPlan, Process

SHARED = Path(__file__).resolve().parents[3] / "shared" / "acceptance" / "vllm-ascend"

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="upstream's configurations are not beside this repository")

NETWORK = {"HCCL_IF_IP", "HCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "VLLM_HOST_IP"}
ARGUMENTS_OF_THE_TEMPLATE = ("devices", "port", "dp-size", "rank", "dp-address", "dp-rpc-port", "tp-size")
"""What ``$1`` to ``$7`` are in ``run_dp_template.sh`` [vllm-ascend examples/external_online_dp]."""


def cases(kind: str) -> list[str]:
    return sorted(path.parent.name for path in (SHARED / kind).glob("*/config.yaml"))


def plan_of(path: Path, folder: Path, *, case: str | None = None) -> LaunchPlan:
    """The plan of the inventory that a configuration is imported as."""
    notes = Notes()
    recipe = vllm_ascend.read(path.read_text(encoding="utf-8"), path.name, notes, case=case)
    hosts = tuple(address(index) for index in range(len(recipe.servers)))
    text = inventory_of(recipe, Target(path.name, hosts), notes)
    inventory = folder / "cluster.yaml"
    inventory.write_text(text, encoding="utf-8")
    return declared(load(inventory)).plan


def address(index: int) -> str:
    return f"10.0.0.{index + 1}"


@dataclass(frozen=True)
class Upstream:
    """A script's environment, and the words of its command."""

    env: dict[str, str]
    words: list[str]


def read_script(text: str, known: Mapping[str, str]) -> Upstream:
    """``known`` are variables, positional ones too, that stand for themselves in the script."""
    head, _, command = text.partition("vllm serve")
    env: dict[str, str] = {}
    for line in head.splitlines():
        if line.startswith("export "):
            name, _, value = line.removeprefix("export ").partition("=")
            env[name] = filled("".join(shlex.split(value)), known)
    joined = re.sub(r"\\\n", " ", "vllm serve" + command)
    return Upstream(env, [filled(word, {**known, **env}) for word in shlex.split(joined)])


def filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda found: known.get(found[1], found[0]), text)


def assert_same(process: Process, upstream: Upstream) -> None:
    assert [value(word) for word in process.argv] == [value(word) for word in upstream.words]
    assert {name: text for name, text in process.env.items() if name not in NETWORK} == upstream.env
    assert {*process.env, *process.interface_env} >= NETWORK


def value(word: str) -> Any:
    """A word; JSON parsed."""
    if not word.startswith(("{", "[")):
        return word
    try:
        return json.loads(word)
    except ValueError:
        return word


def servers_on(plan: LaunchPlan, index: int) -> list[Process]:
    return [p for p in plan.processes if p.kind == "server" and p.node_index == index]


@pytest.mark.parametrize("name", cases("internal_dp") if SHARED.is_dir() else [])
def test_internal(name: str, tmp_path: Path) -> None:
    folder = SHARED / "internal_dp" / name
    plan = plan_of(folder / "config.yaml", tmp_path)
    scripts = sorted(folder.glob("node*.sh"))
    assert len({p.node for p in plan.processes}) == len(scripts) >= 2
    split = yamlio.load(folder / "config.yaml").data.get("disaggregated_prefill") or {}
    decoders = split.get("decoder_host_index", [])
    for index, script in enumerate(scripts):
        master = decoders[0] if index in decoders else 0
        known = {"LOCAL_IP": address(index), "MASTER_IP": address(master)}
        (process,) = servers_on(plan, index)
        assert_same(process, read_script(script.read_text(encoding="utf-8"), known))


@pytest.mark.parametrize("name", cases("external_dp") if SHARED.is_dir() else [])
def test_external(name: str, tmp_path: Path) -> None:
    folder = SHARED / "external_dp" / name
    plan = plan_of(folder / "config.yaml", tmp_path)
    nodes = {f"NODE_{index}_IP": address(index) for index in range(8)}
    launched = [line for line in (folder / "launch.sh").read_text().splitlines() if line.startswith("python")]
    assert len(launched) >= 2
    for index, line in enumerate(launched):
        words = shlex.split(filled(line, nodes))[2:]
        template = (folder / f"run_dp_template.node{index}.sh").read_text(encoding="utf-8")
        ranks = ranks_of({name[2:]: word for name, word in zip(words[::2], words[1::2], strict=True)})
        for process, known in zip(servers_on(plan, index), ranks, strict=True):
            assert_same(process, read_script(template, {**nodes, **known}))
    assert_same_proxy(plan, shlex.split(filled((folder / "proxy.sh").read_text().replace("\\\n", " "), nodes)))


def ranks_of(launch: Mapping[str, str]) -> list[dict[str, str]]:
    """``$1`` to ``$7`` of each rank that a launch starts."""
    width = int(launch["tp-size"])
    found = []
    for local in range(int(launch["dp-size-local"])):
        own = {
            "devices": ",".join(map(str, range(local * width, (local + 1) * width))),
            "port": str(int(launch["vllm-start-port"]) + local),
            "rank": str(int(launch["dp-rank-start"]) + local),
        }
        found.append({str(n): {**launch, **own}[name] for n, name in enumerate(ARGUMENTS_OF_THE_TEMPLATE, start=1)})
    return found


def assert_same_proxy(plan: LaunchPlan, words: Sequence[str]) -> None:
    assert plan.entry.kind == "router"
    assert plan.entry.argv[1].rpartition("/")[2] == words[1]
    assert list(plan.entry.argv[2:]) == words[2:]


def single_node_cases() -> list[tuple[Path, dict[str, Any]]]:
    files = sorted((SHARED / "single_node").glob("*.yaml"))
    return [(path, case) for path in files for case in yamlio.load(path).data["test_cases"]]


SINGLE = single_node_cases() if SHARED.is_dir() else []


@pytest.mark.parametrize(("path", "case"), SINGLE, ids=[case["name"] for _, case in SINGLE])
def test_qwen3_next_on_one_node(path: Path, case: dict[str, Any], tmp_path: Path) -> None:
    plan = plan_of(path, tmp_path, case=case["name"])
    env = {name: str(text) for name, text in case["envs"].items()} | {"SERVER_PORT": "8000"}
    given = [filled(word, env) for word in (*case["server_cmd"], *case.get("server_cmd_extra", ()))]
    (process,) = plan.processes
    assert_same(process, Upstream(env, ["vllm", "serve", case["model"], *given]))
