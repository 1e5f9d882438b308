"""The docker command: finds the subcommand, and what stands in the way of all of them (rights, daemon)."""

from __future__ import annotations

import sys

from provision.rehearsal.node import Node, is_root, user
from provision.rehearsal.standins.docker import api, containers, copying, images, system
from provision.rehearsal.standins.docker.errors import DockerError
from provision.rehearsal.standins.faulty import maybe_hang

_COMMANDS = {
    "pull": images.pull,
    "images": images.listing,
    "image ls": images.listing,
    "image list": images.listing,
    "image inspect": images.inspect,
    "image pull": images.pull,
    "image rm": images.remove,
    "image tag": images.tag,
    "image save": images.save,
    "image load": images.load,
    "tag": images.tag,
    "rmi": images.remove,
    "save": images.save,
    "load": images.load,
    "run": containers.run,
    "create": containers.create,
    "ps": containers.ps,
    "inspect": containers.inspect,
    "logs": containers.logs,
    "stop": containers.stop,
    "kill": containers.kill,
    "rm": containers.remove,
    "wait": containers.wait,
    "start": containers.start,
    "restart": containers.restart,
    "rename": containers.rename,
    "exec": containers.execute,
    "cp": copying.copy,
    "info": system.info,
    "version": system.version,
    "system info": system.info,
    "system df": system.disk_usage,
    "system dial-stdio": api.dial,
    "login": system.login,
}
_ALIASES = {
    "container": ("run", "create", "ps", "ls", "inspect", "logs", "stop", "kill", "rm", "wait", "start", "exec", "cp")
}
_SOCKET = "unix:///var/run/docker.sock"


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run one docker command; the exit status is the real client's."""
    maybe_hang(node, name)
    try:
        if name == "podman":
            from provision.rehearsal.standins.docker import podman

            return podman.dispatch(node, argv, _dispatch)
        return _dispatch(node, argv)
    except DockerError as error:
        sys.stdout.flush()
        sys.stderr.write(error.message + "\n")
        return error.exit
    except BrokenPipeError:
        return 1


def _dispatch(node: Node, argv: list[str]) -> int:
    if argv[:1] in (["--version"], ["-v"]):
        sys.stdout.write(f"Docker version {system.version_of(node)}, build {system.BUILD}\n")
        return 0
    command, rest = _command(argv)
    if command == "version":
        return system.version(node, rest, problem=_problem(node))
    problem = _problem(node)
    if problem:
        prefix = "docker: " if command == "run" else ""
        raise DockerError(prefix + problem, 125 if command == "run" else 1)
    return _COMMANDS[command](node, rest)


def _command(argv: list[str]) -> tuple[str, list[str]]:
    words = argv[:]
    if words[:1] == ["container"] and words[1:2] and words[1] in _ALIASES["container"]:
        words = ["ps" if words[1] == "ls" else words[1], *words[2:]]
    for size in (2, 1):
        if " ".join(words[:size]) in _COMMANDS and len(words) >= size:
            return " ".join(words[:size]), words[size:]
    if not words:
        raise DockerError("Usage:  docker [OPTIONS] COMMAND", 0)
    raise DockerError(f"docker: unknown command: docker {words[0]}\n\nRun 'docker --help' for more information")


def _problem(node: Node) -> str:
    """Why the daemon can't be talked to, in the client's words; empty when it can."""
    if node.state.get("docker/daemon") == "down":
        return f"Cannot connect to the Docker daemon at {_SOCKET}. Is the docker daemon running?"
    if not is_root() and user() not in node.state.get("docker/group").split():
        return (
            f"permission denied while trying to connect to the Docker daemon socket at {_SOCKET}: "
            'Get "http://%2Fvar%2Frun%2Fdocker.sock/v1.47/info": dial unix /var/run/docker.sock: connect: permission denied'
        )
    return ""
