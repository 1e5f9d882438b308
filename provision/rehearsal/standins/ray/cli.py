"""The ``ray`` command of a container: ``start``, ``stop``, ``status``, ``list nodes``, ``--version``."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn

from provision.clock import sleep
from provision.rehearsal.node import Node
from provision.rehearsal.standins.net import bound_to_all
from provision.rehearsal.standins.packages import container, versions
from provision.rehearsal.standins.process import alive, birth
from provision.rehearsal.standins.ray import session, show
from provision.rehearsal.standins.ray.control import ControlStore
from provision.rehearsal.standins.ray.lines import Json, Line, dial, rows
from provision.rehearsal.standins.ray.runtime import Options, join, lend, parse_resources, session_file

_VALUES = ("--node-ip-address", "--port", "--address", "--num-cpus", "--num-gpus", "--resources", "--temp-dir",
           "--dashboard-host", "--dashboard-port", "--object-manager-port", "--node-manager-port", "--min-worker-port",
           "--max-worker-port", "--object-store-memory", "--memory", "--ray-client-server-port", "--labels",
           "--node-name", "--include-dashboard", "--metrics-export-port", "--runtime-env-agent-port",
           "--dashboard-agent-grpc-port", "--dashboard-agent-listen-port", "--log-style", "--log-color")  # fmt: skip
_SWITCHES = ("--head", "--block", "--disable-usage-stats", "--enable-usage-stats", "--verbose", "-v", "--force", "-f")
_NO_INSTANCE = (
    "ConnectionError: Could not find any running Ray instance. Please specify the one to connect to by setting `--address` "
    "flag or `RAY_ADDRESS` environment variable."
)
_NO_STATUS = "No cluster status. It may take a few seconds for the Ray internal services to start up."
_LOST_SECONDS = 1.0
"""Stands for the minute in which a node tries to find its head again."""


class Refused(Exception):
    """What ray prints before it ends with ``exit``."""

    def __init__(self, message: str, exit: int = 1) -> None:
        super().__init__(message)
        self.exit = exit


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run one ray command."""
    try:
        return _dispatch(node, argv)
    except Refused as refused:
        sys.stdout.flush()
        sys.stderr.write(f"{refused}\n")
        return refused.exit


def _dispatch(node: Node, argv: list[str]) -> int:
    if argv[:1] == ["--version"]:
        _say(f"ray, version {versions(node, str(container().config['image']))['ray']}")
    elif argv[:1] == ["start"]:
        return _start(node, _parse(argv[1:]))
    elif argv[:1] == ["stop"]:
        _stop()
    elif argv[:1] == ["status"]:
        answer = _report(node, _parse(argv[1:]).get("--address", ""))
        _say(show.status(rows(answer["nodes"])) if answer["settled"] else _NO_STATUS)
    elif argv[:2] == ["list", "nodes"]:
        _say(show.table(rows(_report(node, _parse(argv[2:]).get("--address", ""))["nodes"])))
    elif argv[:1] == ["health-check"]:
        _report(node, _parse(argv[1:]).get("--address", ""))
    else:
        raise Refused(f"Usage: ray [OPTIONS] COMMAND [ARGS]...\n\nError: No such command '{' '.join(argv[:1])}'.", 2)
    return 0


def _parse(argv: list[str]) -> dict[str, str]:
    """Options by name. An unknown one is click's error."""
    found, rest = {}, list(argv)
    while rest:
        name, given, value = rest.pop(0).partition("=")
        if name in _SWITCHES:
            found[name] = "1"
        elif name not in _VALUES:
            raise Refused(f"Usage: ray start [OPTIONS]\n\nError: No such option: {name}", 2)
        elif not given and not rest:
            raise Refused(f"Usage: ray start [OPTIONS]\n\nError: Option '{name}' requires an argument.", 2)
        else:
            found[name] = value if given else rest.pop(0)
    return found


def _options(node: Node, given: dict[str, str]) -> Options:
    head = "--head" in given
    if head == ("--address" in given):
        raise Refused("Exception: `--address` is a required flag unless starting a head node with `--head`." if not head
                      else "Exception: Cannot specify `--address` together with `--head`.")  # fmt: skip
    try:
        resources = parse_resources(given.get("--resources", "{}"))
        gpus = int(given["--num-gpus"]) if "--num-gpus" in given else None
        port = int(given.get("--port", "6379"))
    except ValueError:
        raise Refused("Error: --resources is not a valid JSON string, or a number is none.") from None
    ip = given.get("--node-ip-address", node.address)
    address = f"{ip}:{port}" if head else given["--address"].removeprefix("ray://")
    return Options(head, ip, address, gpus, resources)


def _start(node: Node, given: dict[str, str]) -> int:
    """Start the runtime: in the foreground with ``--block``, else in the background of the container."""
    options = _options(node, given)
    if not options.head:
        options = _misled(node, options)
    if options.head and os.path.exists(session_file()) and dial(node.address, options.address) is not None:
        raise Refused(f"ConnectionError: Ray is trying to start at {options.address}, but is already running at "
                      f"{options.address}. Please specify a different port using the `--port` flag of `ray start` command.")  # fmt: skip
    if "--block" in given:
        line = _begin(node, options)
        _say("\n--block\n  This command will now block forever until terminated by a signal.\n  Running subprocesses are "
             "monitored and a message will be printed if any of them terminate unexpectedly. Subprocesses exit with SIGTERM "
             "will be treated as graceful, thus NOT reported.")  # fmt: skip
        _run(node, options, line)
    return _in_background(node, options)


def _misled(node: Node, options: Options) -> Options:
    """The faults of a worker that is late, or looks for the head at another address."""
    sleep(node.state.number("vllm/late_seconds"))
    wrong, port = node.state.get("vllm/wrong_address"), options.address.rpartition(":")[2]
    return options._replace(address=f"{wrong}:{port}") if wrong else options


def _begin(node: Node, options: Options) -> Line:
    """Everything that can fail, and what is printed when it hasn't."""
    _say(f"\nLocal node IP: {options.ip}")
    if options.ip != node.address:
        raise Refused("Exception: The current node timed out during startup. This could happen because some of the raylet "
                      f"failed to startup or the GCS has become overloaded. (node ip: {options.ip})")  # fmt: skip
    if options.head:
        _open_store(node, options)
    line = join(node, options)
    if line is None:
        raise Refused(f"[gcs_rpc_client.h:179] Failed to connect to GCS at address {options.address} within 5 seconds.\n"
                      f"RuntimeError: Failed to connect to GCS. Unable to connect to GCS (ray head) at {options.address}. Check "
                      "that (1) Ray with matching version started successfully at the specified address, (2) this node can "
                      "reach the specified address, and (3) there is no firewall setting preventing access.")  # fmt: skip
    os.makedirs(os.path.dirname(session_file()), exist_ok=True)
    with open(session_file(), "w", encoding="utf-8") as file:
        file.write(options.address)
    session.begin(os.path.dirname(session_file()), head=options.head, address=options.address, ip=options.ip)
    _say("\n--------------------\nRay runtime started.\n--------------------\n")
    if options.head:
        _say("Next steps\n  To add another node to this Ray cluster, run\n    ray start --address='"
             f"{options.address}'\n\n  To terminate the Ray runtime, run\n    ray stop\n\n  To view the status of the "
             "cluster, use\n    ray status")  # fmt: skip
    else:
        _say("To terminate the Ray runtime, run\n  ray stop")
    return line


def _open_store(node: Node, options: Options) -> None:
    port = int(options.address.rpartition(":")[2])
    try:
        ControlStore(node.address, port)
    except OSError as error:
        raise Refused(f"RuntimeError: Failed to start GCS.  Last 1 lines of error files:\n[grpc_server.cc:141:  Check failed: "
                      f"server_ Failed to start the grpc server. The specified port is {port}. {error.strerror}. Try running "
                      f"sudo lsof -i :{port} to check if there are other processes listening to the port.") from None  # fmt: skip
    bound_to_all(node, port)


def _run(node: Node, options: Options, line: Line) -> NoReturn:
    """Serve until told to stop, or, on a worker, as long as the head lives."""
    _remember()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    lend(node, line)
    sleep(_LOST_SECONDS)
    session.say(os.path.dirname(session_file()), "raylet", "E", "raylet.cc:412: Failed to get the system config from the GCS: "
                "the GCS is down; this raylet ends")  # fmt: skip
    _say("\nSome Ray subprocesses exited unexpectedly:\n  raylet [exit code=1]\n\nRemaining processes will be killed.")
    os._exit(1)


def _end(number: int, frame: object) -> NoReturn:
    with suppress(OSError):
        os.unlink(session_file())
    os._exit(0)


def _in_background(node: Node, options: Options) -> int:
    """The parent says how it went; the child has let go of its terminal, else whoever reads that would wait for ever."""
    receive, report = os.pipe()
    if os.fork():
        os.close(report)
        return int(os.read(receive, 1) or b"1")
    os.setsid()
    try:
        line = _begin(node, options)
    except Refused as refused:
        sys.stderr.write(f"{refused}\n")
        sys.stderr.flush()
        os._exit(refused.exit)
    sys.stdout.flush()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.write(report, b"0")
    os.close(report)
    _run(node, options, line)


def _pid_file() -> str:
    return os.path.join(os.path.dirname(session_file()), "raylet.pid")


def _remember() -> None:
    with open(_pid_file(), "w", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {birth(os.getpid())}\n")


def _stop() -> None:
    try:
        with open(_pid_file(), encoding="utf-8") as file:
            pid, born = file.read().split()
    except (OSError, ValueError):
        pid, born = "0", ""
    if not alive(int(pid), born):
        _say("Did not find any active Ray processes.")
        return
    os.kill(int(pid), signal.SIGTERM)
    while alive(int(pid), born):
        sleep(0.02)
    _say("Stopped all 6 Ray processes.")


def _report(node: Node, address: str) -> Json:
    """What the control store of this container's cluster tells."""
    address = address or os.environ.get("RAY_ADDRESS", "") or _session()
    if not address:
        raise Refused(_NO_INSTANCE)
    line = dial(node.address, address)
    if line is None:
        raise Refused(f"Ray cluster is not found at {address}")
    line.send(kind="status")
    answer = line.receive()
    line.close()
    if answer is None:
        raise Refused(f"Ray cluster is not found at {address}")
    return answer


def _session() -> str:
    try:
        with open(session_file(), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
