"""A server without a container engine (``install.method: source``): a process of the node's own, in a venv.

The launch script hands it to ``templates/engine/supervise.py``, under systemd or in a session of its own. What a
container is to the rest of this tool, a run folder is here: ``<state_dir>/<cluster>/run/<process>`` holds labels, log
and exit status, and ``transport/engine.py`` answers from it what our scripts ask ``docker``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from provision.inventory.model import Settings
from provision.resources import shipped
from provision.serve.plan import Process

KEEPER = "supervise.py"

TOOLKIT_ENVIRONMENT = (
    "/usr/local/Ascend/ascend-toolkit/set_env.sh",
    "/usr/local/Ascend/cann/set_env.sh",
    "/usr/local/Ascend/ascend-toolkit/latest/set_env.sh",
)
"""What sets the library paths of CANN, wherever its version has it: the first of these, as templates/install/cann.sh
takes it for the build."""

NNAL_ENVIRONMENT = "/usr/local/Ascend/nnal/atb/set_env.sh"
"""The same of ATB, after it [vllm-ascend installation guide]."""

_HUB = "/root/.cache"
"""Where the clients of the hubs keep repositories by themselves."""

Mode = Literal["start", "stay", "try"]


@dataclass(frozen=True, slots=True)
class Native:
    """What the template must know of a process that has no container."""

    mode: Mode
    run: str
    keeper: str
    python: str
    supervisor: str
    description: str


def is_native(settings: Settings) -> bool:
    """Whether servers run without a container engine."""
    return settings.install.method == "source"


def of_process(process: Process, settings: Settings, mode: Mode) -> Native:
    """The run folder and what keeps it."""
    return Native(
        mode=mode,
        run=run_folder(settings, process.name),
        keeper=keeper_path(settings),
        python=f"{settings.venv}/bin/python",
        supervisor=settings.install.source.supervisor,
        description=f"{process.name} of vLLM cluster {settings.cluster}",
    )


def run_folder(settings: Settings, process: str) -> str:
    """Where a node keeps what it knows of one process."""
    return f"{settings.state_dir}/{settings.cluster}/run/{process}"


def keeper_path(settings: Settings) -> str:
    """Where the program that keeps processes lies on a node, beside the launch scripts."""
    return f"{settings.state_dir}/{settings.cluster}/launch/{KEEPER}"


@cache
def keeper_text() -> str:
    """The program itself. It is in no digest: a running server has a copy of its own."""
    return (shipped("templates") / "engine" / KEEPER).read_text(encoding="utf-8")


def environment(process: Process, settings: Settings) -> dict[str, str]:
    """Variables of a server that a container has without being told: where the hubs' repositories are."""
    if process.kind != "server" or not settings.model.repository or settings.model.cache == _HUB:
        return {}
    return {
        "HF_HOME": f"{settings.model.cache}/huggingface",
        "MODELSCOPE_CACHE": f"{settings.model.cache}/modelscope",
    }


def needs_cann(process: Process, settings: Settings) -> bool:
    """Whether the process loads libraries of CANN."""
    return settings.hardware != "cpu" and process.kind != "router"


def start_command(process: Process, settings: Settings, command: str) -> str:
    """What the process's shell runs: ``command``, in the environment of CANN where there are NPUs."""
    if not needs_cann(process, settings):
        return command
    found = f"for f in {' '.join(TOOLKIT_ENVIRONMENT)}; do if test -f $f; then . $f; break; fi; done"
    return f"{found}; . {NNAL_ENVIRONMENT}; {command}"


def placed(text: str, places: Mapping[str, str]) -> str:
    """``text`` with the paths of companions in a container as they are on the node."""
    for inside, path in places.items():
        text = text.replace(inside, path)
    return text
