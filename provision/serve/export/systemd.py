"""systemd units, one a process: a node's containers under its own supervisor.

A unit runs its launch script in the foreground, so the script finds out at each start what only its node knows, and
what ends the container ends the unit. Before it, ``wait.sh`` waits for what the process needs of the others (the
head's port, the servers behind a router), on whatever node: units may be started in any order, on a boot too.
``serve.on_failure`` becomes ``Restart=``, and ``serve.restart_budget`` the limit on starts [systemd.service(5),
systemd.unit(5)].
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from provision.errors import ConfigError
from provision.inventory.model import Settings
from provision.resources import shipped
from provision.serve import native
from provision.serve.export.base import MARK, ExportFile, companions, earlier, gates, keepers, nodes, secret_lines
from provision.serve.launch import Launch
from provision.serve.plan import LaunchPlan, Process
from provision.serve.render import container_name, launch_folder, order, ready, render_foreground
from provision.shell import join

STOP_SECONDS = 60
"""How long a container may take to end before it is killed, as when this tool stops it."""

UNITS = "/etc/systemd/system"
_DAEMONS = {"docker": "docker.service", "nerdctl": "containerd.service"}
"""What must run before a container can start; podman needs nothing."""

_OF_PROCESSES = (
    ("KillMode", "mixed"),
    ("OOMPolicy", "continue"),
    ("LimitMEMLOCK", "infinity"),
    ("LimitNOFILE", "1048576"),
    ("TasksMax", "infinity"),
)
"""For a server without a container: its keeper is told to end, and passes it on; what is left is killed
[systemd.kill(5), systemd.exec(5)]."""

_SPECIAL = re.compile(r"[\s\"'\\;]")


def files(launch: Launch, settings: Mapping[str, Settings]) -> tuple[ExportFile, ...]:
    """A folder a node, with its units, scripts and what they read; and the README."""
    plan = launch.plan
    found: list[ExportFile] = []
    for _, processes in nodes(plan):
        folder = f"node{processes[0].node_index}/"
        for process in processes:
            own = settings[process.node]
            found.append(ExportFile(f"{folder}{unit_name(plan, process)}", _unit(plan, process, own)))
            found.append(ExportFile(f"{folder}{_script_name(process)}", _script(plan, process, own), executable=True))
            found += companions(process, folder)
        found += keepers(settings[processes[0].node], folder)
        if any(list(gates(plan, process)) for process in processes):
            found.append(ExportFile(f"{folder}wait.sh", _waiting(), executable=True))
    return (*found, ExportFile("README.txt", _readme(launch, settings)))


def unit_name(plan: LaunchPlan, process: Process) -> str:
    return f"{container_name(plan.cluster, process.name)}.service"


def word(text: str) -> str:
    """``text`` as one word of ``ExecStart=`` that systemd takes literally: ``%`` starts a specifier, ``$`` a variable,
    and quotes and backslashes are its own. Raises ``ConfigError`` for a line break or a control character."""
    if not text.isprintable():
        raise ConfigError(f"a unit cannot hold the control characters of {text!r}", hint="name it without them")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if _SPECIAL.search(text) or not text else escaped


def _words(*words: str) -> str:
    return " ".join(word(each) for each in words)


def _script_name(process: Process) -> str:
    return f"{process.name}.foreground.sh"


def _waiting() -> str:
    return (shipped("templates") / "launch" / "wait.sh").read_text(encoding="utf-8")


def _script(plan: LaunchPlan, process: Process, settings: Settings) -> str:
    what = "the server" if _native(settings) else "the container"
    header = [
        f"Process {process.name} (rank {process.rank}) of cluster {plan.cluster}, for node {process.node}.",
        f"{MARK} --format systemd.",
        "",
        f"Run by {unit_name(plan, process)}: stays until {what} ends.",
    ]
    return render_foreground(plan, process, settings, header)


# ---- the unit


def _unit(plan: LaunchPlan, process: Process, settings: Settings) -> str:
    sections = {
        "Unit": [*_about(plan, process, settings)],
        "Service": [*_service(plan, process, settings)],
        "Install": [("WantedBy", "multi-user.target")],
    }
    lines = [f"# {MARK} --format systemd."]
    for name, entries in sections.items():
        lines += ["", f"[{name}]", *(f"{key}={value}" for key, value in entries)]
    return "\n".join(lines) + "\n"


def _about(plan: LaunchPlan, process: Process, settings: Settings) -> Iterator[tuple[str, str]]:
    serve = settings.serve
    before = " ".join(unit_name(plan, other) for other in earlier(plan, process))
    yield "Description", f"{process.name} of cluster {plan.cluster} ({plan.topology})"
    daemon = "" if _native(settings) else _DAEMONS.get(settings.install.engine, "")
    yield "After", " ".join(filter(None, (daemon, "network-online.target", before)))
    yield "Wants", "network-online.target"
    if daemon:
        yield "Requires", daemon
    if serve.on_failure == "restart-group":
        yield "StartLimitIntervalSec", "infinity"
        yield "StartLimitBurst", str(serve.restart_budget + 1)


def _service(plan: LaunchPlan, process: Process, settings: Settings) -> Iterator[tuple[str, str]]:
    folder, container = launch_folder(settings), container_name(plan.cluster, process.name)
    docker = f"/usr/bin/env {settings.install.engine}"
    contained = not _native(settings)
    waiting = [gate.url for gate in gates(plan, process)]
    patience = round(settings.serve.ready_timeout)
    yield "Type", "exec"
    if contained:
        yield "ExecStartPre", f"-{docker} rm -f {container}"
    if waiting:
        yield "ExecStartPre", _words("/bin/bash", f"{folder}/wait.sh", str(patience), *waiting)
    yield "ExecStart", _words("/bin/sh", f"{folder}/{_script_name(process)}")
    if contained:
        yield "ExecStop", f"-{docker} stop -t {STOP_SECONDS} {container}"
    else:
        yield from _OF_PROCESSES
    yield "SuccessExitStatus", "143"
    yield "TimeoutStartSec", str((patience if waiting else 0) + 2 * STOP_SECONDS)
    yield "TimeoutStopSec", str(STOP_SECONDS + 30)
    if settings.serve.on_failure == "restart-group":
        yield "Restart", "on-failure"
        yield "RestartSec", "10"
    else:
        yield "Restart", "no"


def _native(settings: Settings) -> bool:
    return native.is_native(settings)


# ---- what people read


def _readme(launch: Launch, settings: Mapping[str, Settings]) -> str:
    plan = launch.plan
    lines = [f"systemd units of cluster {plan.cluster}: {plan.served_name}, topology {plan.topology}", ""]
    earlier_one = "what is left of an earlier run" if _native(settings[plan.entry.node]) else "an earlier container"
    lines += [f"A unit removes {earlier_one} of its name when it starts. On each node, as root and in its own folder:"]
    for node, processes in nodes(plan):
        lines += ["", f"  {node}, folder node{processes[0].node_index}:", *_installing(plan, processes, settings[node])]
    lines += [*secret_lines(launch, settings), "", *_starting(plan, settings), "", *_restarting(plan, settings), ""]
    lines += [*ready(plan), "", f"{MARK} --format systemd."]
    return "\n".join(lines) + "\n"


def _logs(settings: Settings) -> str:
    if _native(settings):
        return "or the file log of its run folder"
    return f"or {settings.install.engine} logs CONTAINER"


def _installing(plan: LaunchPlan, processes: Sequence[Process], settings: Settings) -> Iterator[str]:
    scripts = [_script_name(process) for process in processes]
    scripts += ["wait.sh"] if any(list(gates(plan, process)) for process in processes) else []
    beside = [each.path for process in processes for each in companions(process, "")]
    beside += [each.path for each in keepers(settings, "")]
    target = launch_folder(settings)
    yield f"    {join(['install', '-D', '-m', '0755', '-t', target, *scripts])}"
    if beside:
        yield f"    {join(['install', '-D', '-m', '0644', '-t', target, *beside])}"
    yield f"    {join(['install', '-m', '0644', '-t', UNITS, *(unit_name(plan, each) for each in processes)])}"
    yield "    systemctl daemon-reload"


def _starting(plan: LaunchPlan, settings: Mapping[str, Settings]) -> Iterator[str]:
    yield "Then start them, on each node: each waits by itself for what it needs of the others, in this order:"
    yield ""
    yield from order(plan)
    yield ""
    for node, processes in nodes(plan):
        yield f"  {node}: systemctl start --no-block {' '.join(unit_name(plan, each) for each in processes)}"
    yield ""
    logs = _logs(settings[plan.entry.node])
    yield f"The same with enable starts them on each boot. Logs: journalctl -fu UNIT, {logs}."


def _restarting(plan: LaunchPlan, settings: Mapping[str, Settings]) -> Iterator[str]:
    serve = settings[plan.entry.node].serve
    if serve.on_failure == "restart-group":
        again = f"A unit that fails is started again, {serve.restart_budget} times"
        yield f"{again}; systemctl reset-failed UNIT allows more."
    else:
        yield "A unit that fails stays down (serve.on_failure: fail)."
    together = [names for names in plan.units if len(names) > 1]
    if together:
        yield "systemd knows one node only: where one of these fails, stop and start all of them, on every node:"
        yield from (f"  {' '.join(names)}" for names in together)
