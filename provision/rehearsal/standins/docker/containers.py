"""``docker run``, ``ps``, ``inspect``, ``logs``, ``stop``, ``kill``, ``rm``, ``wait``, ``exec``, ``start``, ``restart``."""

from __future__ import annotations

import os
import signal
import sys

from provision.clock import monotonic, sleep
from provision.rehearsal.node import CONTAINER, HERE, MARK, Node
from provision.rehearsal.rewrite import unmap
from provision.rehearsal.standins.docker import images, mounts, view
from provision.rehearsal.standins.docker.errors import DaemonError, DockerError
from provision.rehearsal.standins.docker.flags import Parsed, need_words, parse, table
from provision.rehearsal.standins.docker.programs import path_of
from provision.rehearsal.standins.docker.shim import timestamp
from provision.rehearsal.standins.docker.store import (
    Container,
    Json,
    Store,
    as_int,
    ended_file,
    still,
    strings,
    write_json,
)
from provision.rehearsal.standins.docker.template import render

_RUN = table(
    "-d,--detach", "-i,--interactive", "-t,--tty", "--rm", "--init", "--privileged", "--read-only", "-q,--quiet",
    "--name=", "-l,--label=", "--label-file=", "-e,--env=", "--env-file=", "--device=", "-v,--volume=", "--mount=",
    "--net=", "--network=", "--ipc=", "--pid=", "--shm-size=", "--ulimit=", "--entrypoint=", "-w,--workdir=",
    "-u,--user=", "-h,--hostname=", "-p,--publish=", "--restart=", "--cap-add=", "--cap-drop=", "--security-opt=",
    "--stop-timeout=", "--stop-signal=", "--log-driver=", "--log-opt=", "-m,--memory=", "--memory-swap=", "--cpus=",
    "--cpuset-cpus=", "--cpuset-mems=", "--gpus=", "--runtime=", "--pull=", "--platform=", "--add-host=", "--tmpfs=",
    "--group-add=", "--userns=", "--oom-score-adj=", "--pids-limit=", "--cidfile=", "--health-cmd=", "--no-healthcheck",
)  # fmt: skip
_EXEC = table("-d,--detach", "-i,--interactive", "-t,--tty", "--privileged", "-e,--env=", "-w,--workdir=", "-u,--user=")
_PS = table(
    "-a,--all", "-q,--quiet", "--no-trunc", "-f,--filter=", "--format=", "-n,--last=", "-l,--latest", "-s,--size"
)
_INSPECT = table("-f,--format=", "-s,--size", "--type=")
_LOGS = table("-f,--follow", "--since=", "--until=", "-n,--tail=", "-t,--timestamps", "--details")
_STOP = table("-t,--time=", "--timeout=", "-s,--signal=")
_RM = table("-f,--force", "-v,--volumes", "-l,--link")


def run(node: Node, argv: list[str]) -> int:
    """Create a container and start it; attached unless ``-d``."""
    parsed = parse(argv, _RUN, command="run", stop_at_word=True)
    need_words(parsed, 1, "run")
    try:
        image = _image(node, parsed)
        container = _create(node, parsed, image)
        if not parsed.has("detach"):
            return _attached(node, container, with_input=parsed.has("interactive"))
        _begin(node, container)
    except DaemonError as error:
        raise DockerError(
            f"docker: {error.message}\n\nRun 'docker run --help' for more information", max(error.exit, 125)
        ) from None
    except DockerError as error:
        raise DockerError(f"docker: {error.message}", 125) from None
    _say(container.id)
    return 0


def _attached(node: Node, container: Container, *, with_input: bool) -> int:
    """Start it and show what it says until it ends. It may remove itself at its end, so its log is opened before."""
    with open(os.path.join(container.folder, "log"), encoding="utf-8") as log:
        _begin(node, container, with_input=with_input)
        _pass_signals_on(container)
        view.print_lines(log, container, view.LogOptions(follow=True), out=sys.stdout, err=sys.stderr)
    return _ended_with(container)


def _pass_signals_on(container: Container) -> None:
    """An attached client hands signals to the container's first process, and goes on."""

    def forward(number: int, frame: object) -> None:
        state = container.state()
        if state["Running"]:
            _signal(as_int(state["Pid"]), number, group=False)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, forward)


def _ended_with(container: Container) -> int:
    """The exit status of a container that has ended, removed (``--rm``) or not."""
    try:
        with open(ended_file(container.folder), encoding="ascii") as file:
            status = int(file.read())
    except FileNotFoundError:
        return _exit_code(container)
    os.unlink(ended_file(container.folder))
    return status


def create(node: Node, argv: list[str]) -> int:
    """Create without starting."""
    parsed = parse(argv, _RUN, command="create", stop_at_word=True)
    need_words(parsed, 1, "create")
    _say(_create(node, parsed, _image(node, parsed)).id)
    return 0


def ps(node: Node, argv: list[str]) -> int:
    """List containers: running ones, with ``-a`` all."""
    parsed = parse(argv, _PS, command="ps")
    containers = Store(node).containers()
    wants_all = parsed.has("all") or any(f.startswith("status=") for f in parsed.all("filter"))
    chosen = [c for c in containers if (wants_all or c.running) and view.passes(c, parsed.all("filter"))]
    rows = [view.row(node, c, full=parsed.has("no-trunc")) for c in chosen]
    template = parsed.one("format")
    if parsed.has("quiet"):
        lines = [str(row["ID"]) for row in rows]
    elif template and not template.startswith("table"):
        lines = [render("{{json .}}" if template == "json" else template, row) for row in rows]
    else:
        lines = view.table_of(rows, template.removeprefix("table").strip())
    for line in lines:
        _say(line)
    return 0


def inspect(node: Node, argv: list[str]) -> int:
    """Containers, else images, by name; what isn't found is an error after the rest was printed."""
    parsed = parse(argv, _INSPECT, command="inspect")
    need_words(parsed, 1, "inspect")
    store, found, errors = Store(node), [], []
    for wanted in parsed.words:
        container = store.find(wanted) if parsed.one("type", "container") == "container" else None
        image = store.image(wanted) if container is None and parsed.one("type", "image") == "image" else None
        if container is not None:
            found.append(view.described(node, container))
        elif image is not None:
            found.append(images.described(image))
        else:
            errors.append(f"Error: No such object: {wanted}")
    images.show_inspected(found, parsed.one("format"))
    sys.stdout.flush()
    for error in errors:
        sys.stderr.write(error + "\n")
    return 1 if errors else 0


def logs(node: Node, argv: list[str]) -> int:
    """What PID 1 of a container wrote, each stream to its own."""
    parsed = parse(argv, _LOGS, command="logs")
    need_words(parsed, 1, "logs", exactly=True)
    container = Store(node).container(parsed.words[0])
    options = view.LogOptions(
        follow=parsed.has("follow"),
        since=view.moment(node, parsed.one("since")),
        until=view.moment(node, parsed.one("until")),
        tail=parsed.one("tail", "all"),
        timestamps=parsed.has("timestamps"),
    )
    view.print_logs(container, options, out=sys.stdout, err=sys.stderr)
    return 0


def stop(node: Node, argv: list[str]) -> int:
    """SIGTERM to PID 1, then SIGKILL to all of it after the time-out (10 s)."""
    parsed = parse(argv, _STOP, command="stop")
    need_words(parsed, 1, "stop")
    patience = float(parsed.one("timeout", parsed.one("time", "10")))
    return _each(node, parsed.words, lambda container: _stop(container, patience))


def kill(node: Node, argv: list[str]) -> int:
    """A signal to PID 1; SIGKILL takes the whole container."""
    parsed = parse(argv, table("-s,--signal="), command="kill")
    need_words(parsed, 1, "kill")
    wanted = parsed.one("signal", "KILL").upper().removeprefix("SIG")
    number = int(wanted) if wanted.isdigit() else int(getattr(signal, f"SIG{wanted}"))
    return _each(node, parsed.words, lambda container: _kill(container, number))


def remove(node: Node, argv: list[str]) -> int:
    """Remove containers; running ones only with ``-f``."""
    parsed = parse(argv, _RM, command="rm")
    need_words(parsed, 1, "rm")
    return _each(
        node, parsed.words, lambda container: _remove(container, force=parsed.has("force")), parsed.has("force")
    )


def wait(node: Node, argv: list[str]) -> int:
    """Block until containers end; print their exit statuses."""
    parsed = parse(argv, table(), command="wait")
    need_words(parsed, 1, "wait")
    for wanted in parsed.words:
        container = Store(node).container(wanted)
        while container.running:
            sleep(0.05)
        _say(str(container.state()["ExitCode"]))
    return 0


def start(node: Node, argv: list[str]) -> int:
    """Start containers that don't run."""
    parsed = parse(argv, table("-a,--attach", "-i,--interactive"), command="start")
    need_words(parsed, 1, "start")
    return _each(node, parsed.words, lambda container: None if container.running else _begin(node, container))


def restart(node: Node, argv: list[str]) -> int:
    """Stop, then start."""
    parsed = parse(argv, _STOP, command="restart")
    need_words(parsed, 1, "restart")

    def again(container: Container) -> None:
        _stop(container, float(parsed.one("timeout", parsed.one("time", "10"))))
        _begin(node, container)

    return _each(node, parsed.words, again)


def rename(node: Node, argv: list[str]) -> int:
    """Give a container another name."""
    parsed = parse(argv, table(), command="rename")
    need_words(parsed, 2, "rename", exactly=True)
    container = Store(node).container(parsed.words[0])
    _refuse_taken_name(Store(node), parsed.words[1])
    container.config["name"] = parsed.words[1]
    write_json(os.path.join(container.folder, "container.json"), container.config)
    return 0


def execute(node: Node, argv: list[str]) -> int:
    """A command inside a running container, with its environment."""
    parsed = parse(argv, _EXEC, command="exec", stop_at_word=True)
    need_words(parsed, 2, "exec")
    container = Store(node).container(parsed.words[0])
    if not container.running:
        raise DaemonError(f"container {container.id} is not running")
    environment = {**_strings(container.config["environment"]), **_environment(parsed, {})}
    command = [_program(container, parsed.words[1]), *parsed.words[2:]]
    import subprocess

    if parsed.has("detach"):
        null = subprocess.DEVNULL
        subprocess.Popen(command, env=environment, cwd=str(container.config["cwd"]), stdin=null, stdout=null, stderr=null,
                         start_new_session=True).returncode = 0  # fmt: skip
        return 0
    stdin = None if parsed.has("interactive") else subprocess.DEVNULL
    done = subprocess.run(command, env=environment, cwd=str(container.config["cwd"]), stdin=stdin, check=False)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


def _image(node: Node, parsed: Parsed) -> Json:
    image = Store(node).image(parsed.words[0])
    if image is None and parsed.one("pull", "missing") == "never":
        raise DaemonError(f"No such image: {parsed.words[0]}")
    return image or images.ensure(node, parsed.words[0])


def _create(node: Node, parsed: Parsed, image: Json) -> Container:
    store = Store(node)
    identity = os.urandom(32).hex()
    name = parsed.one("name") or f"rehearsal_{identity[:8]}"
    with store.locked():
        _refuse_taken_name(store, name)
        folder = os.path.join(store.folder, "containers", identity)
        os.makedirs(os.path.join(folder, "fs"))
        config = _config(node, parsed, image, identity, name, folder)
        mounts.furnish(node, folder, config)
        mounts.attach(node, folder, config)
        write_json(os.path.join(folder, "container.json"), config)
        write_json(os.path.join(folder, "state.json"), still("created"))
        with open(os.path.join(folder, "log"), "w", encoding="utf-8"):
            pass
    return Container(folder)


def _config(node: Node, parsed: Parsed, image: Json, identity: str, name: str, folder: str) -> Json:
    entrypoint = parsed.one("entrypoint")
    command = ([entrypoint] if entrypoint else []) + (parsed.words[1:] or ([] if entrypoint else ["/bin/bash"]))
    written = [unmap(word, node.root) for word in parsed.words[1:]]
    base = dict(pair.split("=", 1) for pair in strings(image["env"]))
    environment = {key: unmap(value, node.root) for key, value in _environment(parsed, base).items()}
    return {
        "id": identity, "name": name, "image": parsed.words[0], "image_id": image["id"], "created": timestamp(node),
        "labels": dict(_pair(unmap(label, node.root)) for label in parsed.all("label")),
        "env": [f"{key}={value}" for key, value in environment.items()],
        "environment": {**environment, **_own_environment(node, folder, path_of(node, parsed.words[0]))},
        "command": [command[0], *(unmap(word, node.root) for word in command[1:])],
        "written": written or ["/bin/bash"], "entrypoint": entrypoint or None, "cwd": os.path.join(folder, "fs"),
        "devices": mounts.devices(node, parsed), "binds": mounts.binds(node, parsed),
        "network": parsed.one("network", parsed.one("net", "default")), "ipc": parsed.one("ipc", "private"),
        "pid_mode": parsed.one("pid"), "shm_size": mounts.size(parsed.one("shm-size", "64m")),
        "ulimits": parsed.all("ulimit"), "privileged": parsed.has("privileged"), "tty": parsed.has("tty"),
        "interactive": parsed.has("interactive"), "workdir": parsed.one("workdir", "/workspace"),
        "restart": parsed.one("restart", "no"), "auto_remove": parsed.has("rm"), "attached": not parsed.has("detach"), "user": parsed.one("user"),
        "runtime": parsed.one("runtime", "runc"),
    }  # fmt: skip


def _own_environment(node: Node, folder: str, path: str) -> dict[str, str]:
    """What makes the process find the container's commands and folders instead of the machine's."""
    return {"PATH": path, "HOME": os.path.join(folder, "fs", "root"), "HOSTNAME": node.name, CONTAINER: folder,
            MARK: node.cluster_folder, HERE: node.name, "TMPDIR": os.path.join(folder, "fs", "tmp"), "LANG": "C.UTF-8"}  # fmt: skip


def _environment(parsed: Parsed, base: dict[str, str]) -> dict[str, str]:
    """Image, then env files, then ``-e``; a bare name takes its value from the caller."""
    environment = dict(base)
    for path in parsed.all("env-file"):
        try:
            with open(path, encoding="utf-8") as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            raise DockerError(f"open {path}: {str(error.strerror).lower()}") from None
        environment.update(_pair(line) for line in lines if line and not line.startswith("#") and "=" in line)
    for word in parsed.all("env"):
        if "=" in word:
            environment.update([_pair(word)])
        elif word in os.environ:
            environment[word] = os.environ[word]
    return environment


def _begin(node: Node, container: Container, *, with_input: bool = False) -> None:
    """Start the process through its supervisor and wait until it is on its way."""
    mounts.check_devices(node, strings(container.config["devices"]))
    command = strings(container.config["command"])
    command[0] = _program(container, command[0])
    container.config["command"] = command
    write_json(os.path.join(container.folder, "container.json"), container.config)
    import subprocess

    receive, report = os.pipe()
    child = subprocess.Popen(
        [os.path.join(node.folder, "shim"), container.folder, str(report)],
        pass_fds=(report,), start_new_session=True, stdin=None if with_input else subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env={MARK: node.cluster_folder, HERE: node.name, "PATH": _path(container)},
    )  # fmt: skip
    os.close(report)
    started = os.read(receive, 1)
    os.close(receive)
    child.returncode = 0
    if not started:
        raise DaemonError("failed to create task for container: failed to create shim task", 125)


def _path(container: Container) -> str:
    return _strings(container.config["environment"])["PATH"]


def _program(container: Container, word: str) -> str:
    """The program that a container's command names, of those its image has."""
    name = word.rpartition("/")[2]
    known = [path for folder in _path(container).split(":") if os.path.exists(path := os.path.join(folder, name))]
    if word.startswith(("/var/", "/data/", "/root/")) or not known:
        raise DaemonError(
            "failed to create task for container: failed to create shim task: OCI runtime create failed: runc create "
            f'failed: unable to start container process: error during container init: exec: "{word}": executable file '
            "not found in $PATH",
            127,
        )
    return known[0]


def _each(node: Node, words: list[str], do: object, lenient: bool = False) -> int:
    """Do it to every container named; print the name of each that succeeded, the errors of the others."""
    failed = False
    for wanted in words:
        try:
            container = Store(node).container(wanted)
            if callable(do):
                do(container)
            _say(wanted)
        except DockerError as error:
            gone = "No such container" in error.message
            sys.stderr.write(error.message + "\n")
            failed = failed or not (lenient and gone)
    return 1 if failed else 0


def _stop(container: Container, patience: float) -> None:
    state = container.state()
    if not state["Running"]:
        return
    _signal(as_int(state["Pid"]), signal.SIGTERM, group=False)
    if not _ended(container, patience):
        _kill(container, signal.SIGKILL)


def _kill(container: Container, number: int) -> None:
    state = container.state()
    if not state["Running"]:
        raise DaemonError(f"cannot kill container: {container.id}: container {container.id} is not running")
    _signal(as_int(state["Pid"]), number, group=number == signal.SIGKILL)
    if number == signal.SIGKILL:
        _ended(container, 5.0)


def _remove(container: Container, *, force: bool) -> None:
    if container.running:
        if not force:
            raise DaemonError(
                f'cannot remove container "{container.name}": container is running: '
                "stop the container before removing or force remove"
            )
        _kill(container, signal.SIGKILL)
    container.remove()


def _ended(container: Container, patience: float) -> bool:
    """Wait until the container's end is on record."""
    until = monotonic() + patience
    while monotonic() < until:
        if not os.path.isdir(container.folder) or not container.running:
            return True
        sleep(0.02)
    return False


def _signal(pid: int, number: int, *, group: bool) -> None:
    try:
        (os.killpg if group else os.kill)(pid, number)
    except ProcessLookupError:
        return


def _refuse_taken_name(store: Store, name: str) -> None:
    holder = next((c for c in store.containers() if c.name == name), None)
    if holder is not None:
        raise DaemonError(
            f'Conflict. The container name "/{name}" is already in use by container "{holder.id}". You have to remove '
            "(or rename) that container to be able to reuse that name."
        )


def _exit_code(container: Container) -> int:
    return as_int(container.state()["ExitCode"])


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key, value


def _strings(value: object) -> dict[str, str]:
    return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
