"""The SSH servers of a rehearsal: one a node, all in one event loop.

A session runs in a real shell in a process group of its own, as with sshd: it goes on when the connection breaks, and
the channel closes when the command and everything that holds its output have ended. The node's root is taken out of
what is printed. Forwarded connections to 127.0.0.1 or the node's address reach the node's own loopback address.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Awaitable
from pathlib import Path

import asyncssh

from provision.rehearsal import booting
from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import LineMapper, Unmapper, rewrite
from provision.rehearsal.standins.net import Socket, listeners, live_files
from provision.rehearsal.standins.shell import MAPPED
from provision.rehearsal.standins.system import login_environment

MAX_SESSIONS = 10
"""Channels with a command on one connection: OpenSSH's default."""

_CHUNK = 65536
_POLL = 0.05
_SHELL_ON_STDIN = re.compile(r"\bsh -s\b|\bsh\s*$")
_RESTRICT = re.compile(r"^restrict(?=[, ])(?!.*,port-forwarding)")
_RESTRICTED = "no-pty,no-port-forwarding,no-agent-forwarding,no-X11-forwarding"
_STATE_EVERY = 20
"""Polls between two looks at all state: for files that somebody wrote by hand."""

_PORTS_EVERY = 4
"""Polls between two looks at the ports while commands run."""


class NodeServer:
    """One node's sshd."""

    def __init__(self, node: Node, *, port: int, keys: Path) -> None:
        self.node = node
        self._port = port
        self._keys = keys
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._listening: tuple[bool, str] = (False, "")
        self._taken: dict[int, asyncio.Server] = {}
        self._running: set[asyncio.Task[int]] = set()
        self._ports_seen: list[Socket] | None = None
        self._booting: asyncio.Task[None] | None = None
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self.logins: dict[str, list[str]] = {}

    async def follow_state(self) -> None:
        """Bring listeners in line with the node's state."""
        state = self.node.state
        if state.get("boot/requested") and self._booting is None:
            self._booting = asyncio.create_task(self._boot())
        off = state.get("ssh/stopped") or self._booting is not None
        wanted = (not off, state.get("ssh/host_key"))
        if wanted != self._listening:
            await self._relisten(*wanted)
        if state.get("ssh/drop_now"):
            state.clear("ssh/drop_now")
            self.drop_all()
        await self._take_ports()

    async def _boot(self) -> None:
        """The machine goes down with all that runs on it, and comes up again as another boot: see ``booting``."""
        if self.node.state.get("boot/ignored"):
            self.node.state.clear("boot/requested")
        else:
            await self._relisten(False, "")
            self.drop_all()
            await asyncio.to_thread(booting.go_down, self.node)
            await asyncio.sleep(self.node.state.number("boot/seconds", booting.SECONDS))
            while self.node.state.get("boot/never"):
                await asyncio.sleep(_POLL)
            await asyncio.to_thread(booting.come_up, self.node)
        self._booting = None

    def drop_all(self) -> None:
        """Cut every connection without a word, as a dead router does."""
        for connection in list(self.connections):
            connection.abort()

    async def close(self) -> None:
        """Stop listening and cut what is open."""
        if self._booting is not None:
            self._booting.cancel()
            await asyncio.gather(self._booting, return_exceptions=True)
        await self._relisten(False, "")
        self.drop_all()
        for server in self._taken.values():
            server.close()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _relisten(self, on: bool, key: str) -> None:
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()
            self._acceptor = None
        if on:
            self._acceptor = await asyncssh.listen(
                self.node.address, self._port, server_factory=lambda: _Login(self), line_editor=False,
                server_host_keys=[str(self._keys / f"host_{self.node.name}{'_other' if key else ''}")], encoding=None,
                process_factory=self._serve, sftp_factory=self._sftp, login_timeout=20, reuse_address=True,
                server_version="OpenSSH_9.6p1",
            )  # fmt: skip
        self._listening = (on, key)

    async def _take_ports(self) -> None:
        wanted = {int(key.removeprefix("port/")) for key in self.node.state.all("port/")}
        for port in wanted - self._taken.keys():
            with contextlib.suppress(OSError):
                self._taken[port] = await asyncio.start_server(lambda r, w: w.close(), self.node.address, port)
        for port in self._taken.keys() - wanted:
            self._taken.pop(port).close()

    def authorized(self, user: str) -> list[bytes]:
        """Keys that may log in; every user of the node has the same."""
        known = {"root", "operator", "sudoer", "deploy"}
        return [(self._keys / "id_ed25519.pub").read_bytes()] if user in known else []

    def own_keys(self, user: str) -> list[str]:
        """The lines of the user's own authorized_keys; ``restrict`` in the words that were before it."""
        path = Path(login_environment(self.node, user)["HOME"], ".ssh/authorized_keys")
        try:
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        return [_RESTRICT.sub(_RESTRICTED, line) for line in lines]

    def _sftp(self, channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=self.node.root.encode())

    async def _serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """One command of one session."""
        self._log(process)
        self.refresh_ports()
        task = asyncio.create_task(_Command(self, process).run())
        self._running.add(task)
        try:
            status = await task
        finally:
            self._running.discard(task)
        if status >= 0:
            process.exit(status)
        else:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        self._drop_after_execs(process)

    def refresh_ports(self) -> None:
        """Bring what the node knows of its listening sockets up to date, where they changed."""
        found = listeners(self.node)
        if found == self._ports_seen:
            return
        for path, text in live_files(self.node, found).items():
            target = os.path.join(self.node.root, path)
            with open(f"{target}~", "w", encoding="ascii") as file:
                file.write(text)
            os.replace(f"{target}~", target)
        self._ports_seen = found

    def refresh_ports_while_busy(self) -> None:
        """A command that waits for a port sees it come."""
        if self._running:
            self.refresh_ports()

    def _drop_after_execs(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        left = int(self.node.state.number("ssh/drop_after_execs", -1))
        if left < 0:
            return
        self.node.state.set("ssh/drop_after_execs", str(left - 1))
        if left <= 1:
            self.node.state.clear("ssh/drop_after_execs")
            self.drop_all()

    def drop_at(self, data: bytes) -> bool:
        """Whether ``data`` of a session's input is the moment at which the connection is to break."""
        text = self.node.state.get("ssh/drop_at")
        if not text or text.encode() not in data:
            return False
        self.node.state.clear("ssh/drop_at")
        return True

    def drop_after(self, sent: int) -> bool:
        """Whether the connection is to break after ``sent`` more bytes of output."""
        left = self.node.state.number("ssh/drop_after_bytes", -1)
        if left < 0:
            return False
        self.node.state.set("ssh/drop_after_bytes", str(int(left) - sent))
        if left - sent > 0:
            return False
        self.node.state.clear("ssh/drop_after_bytes")
        return True

    def _log(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        """Every exec, one line: what the exec-count test reads."""
        user = process.get_extra_info("username")
        with open(os.path.join(self.node.folder, "execs.log"), "a", encoding="utf-8", errors="replace") as file:
            file.write(f"{time.time():.3f} {user} {process.command!r}\n")


class _Login(asyncssh.SSHServer):
    """One connection: who may come in, and where forwarded connections go."""

    def __init__(self, server: NodeServer) -> None:
        self._server = server
        self._connection: asyncssh.SSHServerConnection | None = None
        self._sessions = 0

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._server.connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._server.connections.discard(self._connection)

    def begin_auth(self, username: str) -> bool:
        keys = asyncssh.SSHAuthorizedKeys()
        for line in self._server.own_keys(username):
            with contextlib.suppress(ValueError):  # as sshd does with lines that it doesn't understand
                keys.load(line)
        if self._connection is not None:
            self._connection.set_authorized_keys(keys)
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return any(key == asyncssh.import_public_key(text) for text in self._server.authorized(username))

    def password_auth_supported(self) -> bool:
        return bool(self._server.node.state.get("ssh/password"))

    def validate_password(self, username: str, password: str) -> bool:
        return bool(self._server.authorized(username)) and password == self._server.node.state.get("ssh/password")

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Awaitable[asyncssh.SSHTCPSession[bytes]]:
        if self._connection is None:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "no connection")
        node = self._server.node
        if node.state.get("ssh/forwarding"):
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")
        own = dest_host in ("localhost", "127.0.0.1", "::1", "0.0.0.0", node.name, node.address)
        # asyncssh takes the awaitable of a forwarder here, as its example does; its annotation names a session only.
        return self._connection.forward_connection(node.address if own else dest_host, dest_port)  # type: ignore[return-value]


class _Command:
    """A command of a session: process, pumps, end."""

    def __init__(self, server: NodeServer, session: asyncssh.SSHServerProcess[bytes]) -> None:
        self._server = server
        self._session = session
        self._node = server.node
        self._disk_full = bool(server.node.state.get("disk/full"))

    async def run(self) -> int:
        """Start it, carry bytes, return its status (negative: the signal that ended it)."""
        process = await asyncio.create_subprocess_exec(
            *self._argv(), cwd=self._home(), env=self._environment(), start_new_session=True,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        feeding = asyncio.create_task(self._feed(process, process.stdin))
        try:
            await asyncio.gather(
                self._drain(process.stdout, self._session.stdout), self._drain(process.stderr, self._session.stderr)
            )
            return await process.wait()
        except asyncio.CancelledError:
            await self._end(process)
            raise
        finally:
            feeding.cancel()
            process.stdin.close()

    def _argv(self) -> list[str]:
        shell = f"{self._node.root}/bin/sh"
        command = self._session.command
        if command is None:
            return [shell, "-s"]
        limit = "trap '' XFSZ; ulimit -f 0; " if self._disk_full else ""
        return ["/bin/sh", "-c", limit + rewrite(command, self._node.root)]

    def _home(self) -> str:
        user = str(self._session.get_extra_info("username"))
        return login_environment(self._node, user)["HOME"]

    def _environment(self) -> dict[str, str]:
        user = str(self._session.get_extra_info("username"))
        peer = self._session.get_extra_info("peername") or ("127.0.0.1", 0)
        local = self._session.get_extra_info("sockname") or (self._node.address, 22)
        ends = {"SSH_CONNECTION": f"{peer[0]} {peer[1]} {local[0]} {local[1]}"}
        mapped = {MAPPED: "1"} if _reads_script(self._session.command) else {}
        return {**login_environment(self._node, user), **ends, **mapped}

    async def _feed(self, process: asyncio.subprocess.Process, stdin: asyncio.StreamWriter) -> None:
        """Carry the session's input to the command, and its signals."""
        mapper = LineMapper(self._node.root) if _reads_script(self._session.command) else None
        while True:
            try:
                data = await self._session.stdin.read(_CHUNK)
            except asyncssh.SignalReceived as received:
                self._signal(process, received.signal)
                continue
            except (asyncssh.BreakReceived, asyncssh.TerminalSizeChanged):
                continue
            if not data:
                break
            if self._server.drop_at(data):
                self._server.drop_all()
            with contextlib.suppress(ConnectionError):
                stdin.write(mapper.feed(data) if mapper else data)
                await stdin.drain()
        with contextlib.suppress(ConnectionError):
            if mapper:
                stdin.write(mapper.finish())
            stdin.close()

    async def _drain(self, source: asyncio.StreamReader, target: asyncssh.SSHWriter[bytes]) -> None:
        """Carry one stream of output; when the session is gone, swallow it."""
        unmapper = Unmapper(self._node.root, disk_full=self._disk_full)
        while data := await source.read(_CHUNK):
            await self._send(unmapper.feed(data), target)
        await self._send(unmapper.finish(), target)

    async def _send(self, data: bytes, target: asyncssh.SSHWriter[bytes]) -> None:
        if not data or self._session.channel.is_closing():
            return
        if self._server.drop_after(len(data)):
            self._server.drop_all()
            return
        with contextlib.suppress(ConnectionError, asyncssh.Error, OSError):
            target.write(data)
            await target.drain()

    @staticmethod
    async def _end(process: asyncio.subprocess.Process) -> None:
        """The server goes down for good, and what runs for a session with it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    @staticmethod
    def _signal(process: asyncio.subprocess.Process, name: str) -> None:
        with contextlib.suppress(ProcessLookupError, ValueError, KeyError):
            os.killpg(process.pid, signal.Signals[f"SIG{name}"])


def _reads_script(command: str | None) -> bool:
    """Whether the command is a shell that reads a script from the session: that is mapped here, where it's cheap."""
    return command is None or _SHELL_ON_STDIN.search(command) is not None


async def serve(servers: list[NodeServer], folder: Path, stop: asyncio.Event, started: asyncio.Event) -> None:
    """Run all nodes until ``stop``. Raises OSError where an address is taken."""
    try:
        for server in servers:
            await server.follow_state()
        started.set()
        turn, applied = 0, ""
        while not stop.is_set():
            wanted = _generation(folder)
            if wanted != applied or turn % _STATE_EVERY == 0:
                for server in servers:
                    await server.follow_state()
                _acknowledge(folder, wanted)
                applied = wanted
            if turn % _PORTS_EVERY == 0:
                for server in servers:
                    server.refresh_ports_while_busy()
            turn += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _POLL)
    finally:
        for server in servers:
            await server.close()


def _generation(folder: Path) -> str:
    """The number of the last change to any node's state."""
    try:
        return (folder / "generation").read_text()
    except FileNotFoundError:
        return ""


def _acknowledge(folder: Path, generation: str) -> None:
    applied = folder / "applied"
    if generation and (not applied.exists() or applied.read_text() != generation):
        applied.write_text(generation)
