"""Keeps one server process where no container engine does: written by qnext-provision beside what it keeps.

    supervise.py FOLDER start|stay|try|exec [COMMAND …]

FOLDER/start holds the words of the launch script. start: run it and record all; stay: the same, and show the log;
try: run it in the foreground, record nothing; exec: run COMMAND in the environment of the one that runs.

FOLDER: about (JSON), labels, id, name, python; pid (pid, start time, boot) of this keeper; server (pid and start time
of the server, which leads a session of its own); log (time and text a line), log.1 to log.4; exit (status, whether for
want of memory, time).
"""

import ctypes
import json
import os
import pwd
import re
import resource
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress

LOG_SIZE, LOG_FILES = 100 * 1024 * 1024, 5
LINE = 256 * 1024
OWN = re.compile(r"(https?|all|no|ftp)_proxy|SSH_.*|XDG_.*|PYTHON.*|VIRTUAL_ENV|LC_.*|LANG|PATH|SUDO_.*", re.IGNORECASE)
KILLED = re.compile(r"\[ *(\d+)\.\d+\].*out of memory.*: Killed process (\d+) \(([^)]*)", re.IGNORECASE)
SERVERS = re.compile(r"vllm|python|EngineCore|ray|gcs_server|mooncake|nginx", re.IGNORECASE)


def parsed(words):
    """Options by name, each a list of values, and the command."""
    options = {}
    while words and words[0] != "--":
        name = words.pop(0)
        options.setdefault(name, []).append(words.pop(0))
    return options, words[1:]


def environment(options, identity):
    """What the server gets. What belongs to whoever ran the script (proxies, session, Python) is not its own."""
    venv = options["--venv"][0]
    found = {name: value for name, value in os.environ.items() if not OWN.fullmatch(name)}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    found.setdefault("HOME", pwd.getpwuid(os.getuid()).pw_dir)
    found.update(PATH=f"{venv}/bin:{path}", VIRTUAL_ENV=venv, LANG="C.UTF-8", QNEXT_RUN=identity)
    for file in options.get("--env-file", []):
        with open(file) as lines:
            found.update(line.rstrip("\n").split("=", 1) for line in lines if "=" in line and line[0] != "#")
    found.update(word.split("=", 1) for word in options.get("-e", []))
    return found


def raise_limits():
    for limit, wanted in ((resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY), (resource.RLIMIT_NOFILE, 1048576)):
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (wanted, wanted))


def write(folder, name, text, mode=0o644):
    path = os.path.join(folder, name)
    with open(os.open(path + "~", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        file.write(text)
    os.replace(path + "~", path)


def read(folder, name):
    with open(os.path.join(folder, name)) as file:
        return file.read()


def stamp():
    at = time.time_ns()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at // 10**9)) + f".{at % 10**9:09d}Z"


def boot():
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return "none"


def stat(pid):
    """What the kernel tells of a process from its state on: state, parent, group, session, …; the 20th is its start."""
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(") ")[2].split()


def identity_of_image(options):
    """By which equal venvs are known: written by whoever installed it."""
    try:
        with open(options["--venv"][0] + "/qnext.json") as file:
            return str(json.load(file)["id"])
    except (OSError, ValueError, KeyError):
        return ""


def describe(folder, options, identity):
    labels = options.get("--label", [])
    name = options["--name"][0]
    about = {
        "Id": identity,
        "Name": "/" + name,
        "Image": identity_of_image(options),
        "Created": stamp(),
        "RestartCount": 0,
        "Ref": options["--image"][0],
        "Labels": dict(label.split("=", 1) for label in labels),
        "Privileged": False,
        "Runtime": "native",
        "User": "",
        "Devices": [{"PathOnHost": path} for path in options.get("--device", [])],
    }
    write(folder, "about", json.dumps(about)[1:-1] + "\n")
    write(folder, "labels", "".join(label + "\n" for label in labels))
    write(folder, "name", name + "\n")
    write(folder, "python", sys.executable + "\n")
    write(folder, "id", identity + "\n")


class Log:
    """Lines with the time at which each came; a full disk loses lines, never the server."""

    def __init__(self, folder, show):
        self.path, self.show, self.rest, self.cut = os.path.join(folder, "log"), show, b"", False
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)

    def add(self, data, ended=False):
        *lines, self.rest = (self.rest + data).split(b"\n")
        if self.rest and (ended or len(self.rest) > LINE):
            lines, self.rest = [*lines, self.rest], b""
        if not lines:
            return
        at = stamp().encode()
        try:
            text = b"".join(at + b" " + line + b"\n" for line in lines)
            while text:
                text = text[os.write(self.file, text) :]
            if os.fstat(self.file).st_size > LOG_SIZE:
                self.turn()
        except OSError:
            pass
        if self.show:
            os.write(1, b"".join(line + b"\n" for line in lines))

    def turn(self):
        for number in range(LOG_FILES - 1, 0, -1):
            older = f"{self.path}.{number - 1}" if number > 1 else self.path
            if os.path.exists(older):
                os.replace(older, f"{self.path}.{number}")
        os.close(self.file)
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)


def kill_group(pid, number):
    with suppress(OSError):
        os.killpg(pid, number)


def kill_rest(session, identity):
    """What the server left behind: in its session, or with its mark in the environment, which a title may overwrite."""
    mark = f"QNEXT_RUN={identity}".encode()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    marked = mark in file.read().split(b"\0")
                if marked or stat(name)[3] == str(session):
                    os.kill(int(name), signal.SIGKILL)
            except OSError:
                pass


def oom_kills():
    """How many processes of our own unit the kernel has killed for want of memory; None without a unit."""
    try:
        with open("/proc/self/cgroup") as file:
            group = next(line.rstrip("\n").split(":", 2)[2] for line in file if line.startswith("0::"))
        if "/qnext-" not in group:
            return None
        with open(f"/sys/fs/cgroup{group}/memory.events") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, StopIteration, ValueError):
        return None


def out_of_memory(pid, since, kills):
    """Whether the kernel killed the server or a part of it for want of memory: by the unit's count, else by its log."""
    if kills is not None:
        return (oom_kills() or 0) > kills
    try:
        said = subprocess.run(["dmesg"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return False
    found = KILLED.finditer(said.decode("utf-8", "replace"))
    return any(int(m[1]) >= since and (int(m[2]) == pid or SERVERS.search(m[3])) for m in found)


def started(command, env, folder):
    """The server, in a session of its own; it ends with its keeper, as a container does with its shim."""
    keeper, library = os.getpid(), ctypes.CDLL(None)

    def prepare():
        library.prctl(1, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(137)
        raise_limits()

    work = os.path.join(folder, "work")
    os.makedirs(work, exist_ok=True)
    return subprocess.Popen(
        command,
        env=env,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=prepare,
    )


def follow(server, log):
    """Keep its output until it has ended, and a moment more for what it still had to say."""
    source = server.stdout.fileno()
    poll, ends = select.poll(), None
    poll.register(source, select.POLLIN)
    while ends is None or time.monotonic() < ends:
        if poll.poll(100):
            data = os.read(source, 65536)
            if not data:
                break
            log.add(data)
        if ends is None and server.poll() is not None:
            ends = time.monotonic() + 0.5
    log.add(b"", ended=True)
    return server.wait()


def keep(folder, options, command, show):
    identity = os.urandom(32).hex()
    own = f"{os.getpid()} {stat(os.getpid())[19]} {boot()}\n"
    with open("/proc/uptime") as file:
        since = int(float(file.read().split()[0]))
    kills, log = oom_kills(), Log(folder, show)
    describe(folder, options, identity)
    server = None
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: server and kill_group(server.pid, signal.SIGTERM))
    status, memory = 127, False
    try:
        server = started(command, environment(options, identity), folder)
        write(folder, "server", f"{server.pid} {stat(server.pid)[19]}\n")
        write(folder, "started", stamp() + "\n")
        write(folder, "pid", own)
        status = follow(server, log)
        kill_group(server.pid, signal.SIGKILL)
        kill_rest(server.pid, identity)
        memory = status != 0 and out_of_memory(server.pid, since, kills)
    except (OSError, subprocess.SubprocessError) as error:
        log.add(f"not started: {error}".encode(), ended=True)
        write(folder, "pid", own)
    status = status if status >= 0 else 128 - status
    write(folder, "exit", f"{status} {'true' if memory else 'false'} {stamp()}\n")
    return status


def main():
    folder, mode = sys.argv[1:3]
    options, command = parsed(read(folder, "start").split("\0")[:-1])
    if mode in ("start", "stay"):
        os.umask(0o022)
        return keep(folder, options, command, mode == "stay")
    env = environment(options, read(folder, "id").strip() if mode == "exec" else "")
    if mode == "exec":
        command = [*command[: command.index("qnext") + 1], *sys.argv[3:]]
    else:
        del env["QNEXT_RUN"]
        raise_limits()
    sys.stdout.flush()
    return os.execvpe(command[0], command, env)


sys.exit(main())
