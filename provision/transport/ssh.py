"""SSH, over fabric and paramiko: the only file that imports them.

fabric's ``Connection`` is what a server is opened through: it runs the handshake and the login (key, agent, password,
keyboard-interactive, two factors) and puts a jump host's channel under it. Its ``run`` is not used, because its
time-out leaves the remote process alive, its ``env=`` isn't quoted, and it polls. What makes this fast, measured:

* curve25519 and ed25519 before everything else (a post-quantum exchange costs 90 ms of CPU, this one 5), AES-GCM;
* a key is read once a run, host keys are looked up in a dictionary, nobody searches for agents or keys unless asked;
* TCP_NODELAY before the first byte (opening a channel: 0.3 ms, not 44), a window of 16 MiB;
* an exec's script follows the request without waiting for its confirmation: one round trip less for every exec;
* the reader thread wakes once a second when idle, not ten times: 512 connections may wait for an hour.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import fabric
import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST
from paramiko.ssh_exception import IncompatiblePeer, NoValidConnectionsError

from provision.clock import monotonic, sleep
from provision.errors import (
    AuthenticationFailed,
    ConnectFailed,
    ConnectionLost,
    HostKeyChanged,
    HostKeyUnknown,
    RemoteError,
    Unreachable,
    UsageError,
)
from provision.inventory.model import Host
from provision.transport import known_hosts
from provision.transport.dial import DEAD_AFTER, Link, TurnedAway, dial, run_proxy
from provision.transport.engine import prologue
from provision.transport.known_hosts import Entry, KnownHosts, fingerprint
from provision.transport.remote import Heard, RemoteTransport
from provision.transport.target import SshConfig, Target, resolve

KEEPALIVE = 15
"""Seconds of silence after which a keep-alive is sent; the kernel gives up ``DEAD_AFTER`` seconds later."""

WINDOW = 16 * 1024 * 1024
PACKET = 128 * 1024
CHANNEL_TIMEOUT = 20.0
"""Seconds for a server to answer the request for a channel."""

_CHUNK = 1024 * 1024
_SMALL = 128 * 1024
_MUCH = 512 * 1024
_GLANCE = 0.2
_PARAMIKO_LOG = logging.getLogger("paramiko")
_PARAMIKO_LOG.addHandler(logging.NullHandler())


def _first(preferred: Sequence[str], known: Iterable[str], *, last: Sequence[str] = ()) -> tuple[str, ...]:
    """``known`` with ``preferred`` before and ``last`` behind the others; nothing that isn't known."""
    known = tuple(known)
    rest = [name for name in known if name not in preferred and name not in last]
    order = [*preferred, *rest, *last]
    return tuple(name for name in order if name in known)


_Base: Any = paramiko.Transport
"""paramiko's class, with the attributes that its type stubs keep quiet about."""


class _Tuned(paramiko.Transport):
    """paramiko's protocol engine with this file's choices."""

    _active_check_timeout = 1.0
    _preferred_kex = _first(["curve25519-sha256@libssh.org"], _Base._preferred_kex, last=["mlkem768x25519-sha256"])
    _preferred_ciphers = _first(["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"], _Base._preferred_ciphers)

    def __init__(self, sock: Any, key_types: Sequence[str], timeout: float) -> None:
        super().__init__(sock, default_window_size=WINDOW, default_max_packet_size=PACKET)
        self._preferred_keys = _first(["ssh-ed25519"], _Base._preferred_keys)
        if key_types:
            self._preferred_keys = _first(key_types, self._preferred_keys)
        self.handshake_timeout = timeout
        self.clear_to_send_timeout = DEAD_AFTER

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """Plain keys only: a certificate couldn't be looked up in known_hosts."""
        return tuple(self._preferred_keys)


# ---- what is read once a run


@functools.lru_cache(maxsize=8)
def _ssh_config(path: str | None) -> paramiko.SSHConfig | None:
    """The parsed ssh config; None where there is none. ``path``: as ``Connection.ssh_config``."""
    if path == "none":
        return None
    files = [Path(path)] if path else [Path("~/.ssh/config"), Path("/etc/ssh/ssh_config")]
    lines = [line for file in files for line in _config_lines(file.expanduser(), depth=0)]
    if path and not Path(path).expanduser().is_file():
        raise UsageError(f"ssh config {path}: no such file")
    if not any(line.strip() and not line.lstrip().startswith("#") for line in lines):
        return None
    config = paramiko.SSHConfig()
    try:
        config.parse(io.StringIO("\n".join(lines)))
    except (paramiko.ConfigParseError, ValueError) as error:
        raise UsageError(f"{' + '.join(map(str, files))}: {error}") from error
    return config


def _config_lines(file: Path, *, depth: int) -> list[str]:
    """A file's lines with ``Include`` done, which paramiko doesn't know; the block around one goes on after it."""
    try:
        text = file.read_text("utf-8", "replace")
    except OSError:
        return []
    lines, block = [], "Host *"
    for line in text.splitlines():
        words = line.replace("=", " ", 1).split()
        keyword = words[0].lower() if words else ""
        if keyword in ("host", "match"):
            block = line
        if keyword == "include" and depth < 16:
            for pattern in words[1:]:
                for found in _included(pattern, file):
                    lines += _config_lines(found, depth=depth + 1)
            lines.append(block)
        else:
            lines.append(line)
    return [*lines, "Host *"]


def _included(pattern: str, file: Path) -> list[Path]:
    path = Path(pattern.strip('"')).expanduser()
    base = Path("/etc/ssh") if file.is_relative_to("/etc/ssh") else Path("~/.ssh").expanduser()
    path = path if path.is_absolute() else base / path
    return sorted(path.parent.glob(path.name))


def config_for(path: str | None) -> SshConfig:
    """The look-up that ``target.resolve`` wants."""

    def look_up(host: str) -> Mapping[str, str | list[str]]:
        config = _ssh_config(path)
        return config.lookup(host) if config else {}

    return look_up


def _fabric_config() -> fabric.Config:
    """fabric's defaults, with no files of its own looked for: ssh config is our business, and read once.

    One for each connection: connections write to their configuration, and a shared one fails under threads.
    """
    return fabric.Config(lazy=True, overrides={"load_ssh_configs": False})


@functools.lru_cache(maxsize=64)
def _key(path: str) -> paramiko.PKey | Exception:
    """The private key of a file, or why it can't be used."""
    try:
        return paramiko.PKey.from_path(path)
    except Exception as error:  # paramiko and cryptography raise whatever they like on a malformed file
        return error


def _keys(target: Target) -> list[paramiko.PKey]:
    """The usable keys of a target. Raises ``AuthenticationFailed`` where the operator named one that isn't."""
    usable: list[paramiko.PKey] = []
    trouble: AuthenticationFailed | None = None
    for path in target.keys:
        key = _key(path)
        if isinstance(key, Exception):
            trouble = trouble or _key_trouble(path, key)
        else:
            usable.append(key)
    if trouble and target.explicit and not usable and not _agent_has_keys(target):
        raise trouble
    return usable


def _agent_has_keys(target: Target) -> bool:
    if not target.agent or "SSH_AUTH_SOCK" not in os.environ:
        return False
    agent = paramiko.Agent()
    try:
        return bool(agent.get_keys())
    finally:
        agent.close()


def _key_trouble(path: str, error: Exception) -> AuthenticationFailed:
    if isinstance(error, FileNotFoundError):
        return AuthenticationFailed(
            f"key file {path}: no such file", hint="correct ansible_ssh_private_key_file (or IdentityFile)"
        )
    if isinstance(error, OSError):
        return AuthenticationFailed(
            f"key file {path}: {error.strerror or error}", hint=f"who may read it? `ls -l {path}`"
        )
    if isinstance(error, paramiko.PasswordRequiredException) or "assword" in str(error) or "encrypted" in str(error):
        return AuthenticationFailed(
            f"key file {path} is protected by a passphrase",
            hint=f"let an agent hold it: `eval $(ssh-agent); ssh-add {path}`",
        )
    return AuthenticationFailed(
        f"key file {path} holds no private key that can be read ({error})",
        hint="is it the .pub file, or cut short? `ssh-keygen -y -f` must print its public part",
    )


# ---- host keys


class _Verifier(paramiko.MissingHostKeyPolicy):
    """Says yes or no to a server's key. paramiko asks it every time, as it is given no known hosts of its own."""

    def __init__(self, target: Target, known: KnownHosts, deadline: float) -> None:
        self._target = target
        self._known = known
        self._deadline = deadline
        self.entries = known.find(target.key_names) if target.policy != "off" else []

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        # Login comes next, and may take what is left of the time to connect.
        client.get_transport().auth_timeout = max(1.0, self._deadline - monotonic())
        if self._target.policy != "off":
            self._verify(key.get_name(), key.asbytes())

    def key_types(self) -> list[str]:
        """Algorithms for which a key is known: asked for first, or the server shows another key than the known one."""
        types = [entry.kind for entry in self.entries if not entry.revoked]
        wanted: list[str] = []
        for kind in dict.fromkeys(types):
            wanted += ["rsa-sha2-512", "rsa-sha2-256"] if kind == "ssh-rsa" else [kind]
        return wanted

    def _verify(self, kind: str, blob: bytes) -> None:
        matching = [entry for entry in self.entries if entry.key == blob]
        for entry in matching:
            if entry.revoked:
                raise self._changed(kind, blob, entry, f"is revoked in {entry.where}")
        if matching:
            return
        others = [entry for entry in self.entries if not entry.revoked]
        if others:
            known = next((entry for entry in others if entry.kind == kind), others[0])
            raise self._changed(kind, blob, known, "is not the known one: possible attack, or a node installed anew")
        if self._target.policy == "strict":
            raise self._unknown(kind, blob)
        self._accept(kind, blob)

    def _accept(self, kind: str, blob: bytes) -> None:
        try:
            entry = known_hosts.append(self._target.new_keys_file, self._target.key_names[0], kind, blob)
        except OSError as error:
            raise HostKeyUnknown(
                f"{self._target.address}: its new key cannot be written to {self._target.new_keys_file}: {error}",
                hint="make that file writable, or name another: -o UserKnownHostsFile in ansible_ssh_common_args",
            ) from error
        self._known.add(self._target.key_names[:1], entry)

    def _changed(self, kind: str, blob: bytes, known: Entry, what: str) -> HostKeyChanged:
        return HostKeyChanged(
            f"{self._target.address}: its {kind} key {fingerprint(blob)} {what}; "
            f"known: {known.kind} {fingerprint(known.key)} ({known.where})",
            hint="compare with the node's console (`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`); "
            f"if the change is yours: `ssh-keygen -R '{self._target.key_names[0]}' -f {known.file}`, "
            "then add the new key",
        )

    def _unknown(self, kind: str, blob: bytes) -> HostKeyUnknown:
        port = f"-p {self._target.port} " if self._target.port != known_hosts.DEFAULT_PORT else ""
        return HostKeyUnknown(
            f"{self._target.address}: its {kind} key {fingerprint(blob)} is not known "
            f"(looked in {', '.join(self._target.known_hosts)})",
            hint=f"compare the fingerprint, then `ssh-keyscan {port}-t ed25519 {self._target.host} >> "
            f"{self._target.new_keys_file}`; or accept new keys on first contact: "
            "ansible_ssh_common_args: -o StrictHostKeyChecking=accept-new",
        )


# ---- opening


class Opened:
    """An open, verified, logged-in connection to one server, jump host or node. Close it when done."""

    def __init__(self, connection: fabric.Connection, link: Link | None) -> None:
        self.connection = connection
        self.transport: Any = connection.transport
        self._link = link

    @property
    def alive(self) -> bool:
        return bool(self.transport.is_active())

    def close(self) -> None:
        """Quick: the reader thread is woken instead of waited for."""
        self.transport.active = False
        _shut(self.transport, self._link)


def _shut(transport: paramiko.Transport | None, link: Link | None) -> None:
    """End a connection, opened or half-way. A jump host's channel has no link; closing it wakes the reader as well."""
    if transport is not None:
        channel = transport.sock
        transport.packetizer.close() if link is None else None
        if link is None and hasattr(channel, "shutdown_read"):
            channel.close()
    if link is not None:
        link.close()
    if transport is not None and transport.is_alive():
        transport.join(timeout=2.0)


def target_of(host: Host) -> Target:
    """The server that a host of the inventory is, with the operator's ssh config applied."""
    return resolve(host.connection, config_for(host.connection.ssh_config))


def open_target(target: Target, jump: Opened | None = None) -> Opened:
    """Connect, verify the host key and log in, within ``target.timeout``. Raises an ``Unreachable``.

    ``jump`` is the open connection to ``target.via``, where there is one.
    """
    deadline = monotonic() + target.timeout
    keys = _keys(target)
    verifier = _Verifier(target, known_hosts.load(target.known_hosts), deadline)
    link = None if jump else _link(target)
    connection = fabric.Connection(
        host=target.host,
        user=target.user,
        port=target.port,
        gateway=jump.connection if jump else False,
        config=_fabric_config(),
        connect_kwargs=_login(target, keys, verifier, link, deadline),
    )
    connection.client.set_missing_host_key_policy(verifier)
    try:
        connection.open()
    except Exception as error:
        failure = _failure(target, error, connection, link, deadline)
        _shut(connection.client.get_transport(), link)
        raise failure from error
    connection.transport.set_keepalive(KEEPALIVE)
    return Opened(connection, link)


def _link(target: Target) -> Link:
    if target.proxy_command:
        return run_proxy(target.proxy_command)
    return dial(target.host, target.port, target.timeout)


def _login(
    target: Target, keys: list[paramiko.PKey], verifier: _Verifier, link: Link | None, deadline: float
) -> dict[str, object]:
    left = max(1.0, deadline - monotonic())
    types = verifier.key_types()
    arguments: dict[str, object] = {
        "transport_factory": lambda sock, **_: _Tuned(sock, types, left),
        "timeout": left,
        "banner_timeout": left,
        "channel_timeout": left,
        "allow_agent": target.agent,
        "look_for_keys": False,
    }
    if link:
        arguments["sock"] = link.socket
    if keys:
        arguments["pkey"] = keys[0]
        arguments["key_filename"] = [path for path in target.keys if _key(path) in keys[1:]]
    if target.password:
        arguments["password"] = target.password.reveal()
    return arguments


def _failure(
    target: Target, error: Exception, connection: fabric.Connection, link: Link | None, deadline: float
) -> Unreachable:
    """What went wrong, in the words of our tree."""
    if isinstance(error, Unreachable):
        return error
    if isinstance(error, paramiko.ChannelException):
        return ConnectFailed(
            f"{target.address}: the jump host cannot reach it ({error.text or 'refused'})",
            hint="does it resolve and answer from the jump host, and does its sshd allow TCP forwarding?",
        )
    if isinstance(error, paramiko.AuthenticationException) and not _timed_out(error):
        return _not_let_in(target, error, connection)
    if isinstance(error, IncompatiblePeer):
        return ConnectFailed(
            f"{target.address}: no common algorithms ({error})", hint="its sshd is too old or too strict"
        )
    if isinstance(error, NoValidConnectionsError | OSError) and error.errno:
        return ConnectFailed(f"{target.address}: {error.strerror or error}")
    if "no auth" in str(error).lower() or "No authentication methods" in str(error):
        return _not_let_in(target, error, connection)
    return _no_handshake(target, error, link, deadline)


def _timed_out(error: Exception) -> bool:
    return "timeout" in str(error).lower() or "timed out" in str(error).lower()


def _no_handshake(target: Target, error: Exception, link: Link | None, deadline: float) -> ConnectFailed:
    said = link.explain() if link else ""
    if target.proxy_command and said:
        return ConnectFailed(f"{target.address}: the proxy command failed: {said.splitlines()[-1]}", evidence=said)
    if monotonic() >= deadline - 0.05 or _timed_out(error):
        return ConnectFailed(
            f"{target.address}: connected, but no SSH handshake within {target.timeout:g} s",
            hint="is it an SSH port? a hung or overloaded node also looks like this",
        )
    return TurnedAway(
        f"{target.address}: the connection was closed during the SSH handshake ({str(error) or type(error).__name__})",
        hint="sshd may be full (MaxStartups), starting, or refusing this address (hosts.deny, fail2ban)",
    )


def _not_let_in(target: Target, error: Exception, connection: fabric.Connection) -> AuthenticationFailed:
    offered = getattr(error, "allowed_types", None) or _methods(connection, target.user)
    tried = [f"key {path}" for path in target.keys] + ["agent"] * target.agent + ["password"] * bool(target.password)
    hint = f"check with `ssh -v -p {target.port} {target.user}@{target.host}`"
    if target.keys and (not offered or "publickey" in offered):
        wanted = f"put {target.keys[0]}.pub into ~{target.user}/.ssh/authorized_keys on the node"
        hint = f"{wanted}, or correct ansible_user; {hint}"
    elif not target.keys and not target.password:
        hint = f"set ansible_ssh_private_key_file or ansible_password; {hint}"
    elif target.password and not {"password", "keyboard-interactive"} & set(offered):
        hint = f"the server takes no passwords: set ansible_ssh_private_key_file; {hint}"
    offers = f"; it offers: {', '.join(offered)}" if offered else ""
    return AuthenticationFailed(
        f"{target.address} did not let user {target.user} in (tried: {', '.join(tried) or 'nothing'}{offers})",
        hint=hint,
    )


def _methods(connection: fabric.Connection, user: str) -> list[str]:
    """Which ways to log in a server offers, asked after a refusal."""
    transport = connection.client.get_transport()
    try:
        transport.auth_none(user)
    except paramiko.BadAuthenticationType as error:
        return [str(name) for name in error.allowed_types]
    except Exception:  # it closed the door meanwhile: then nobody can tell
        return []
    return []


# ---- the transport


class SSHTransport(RemoteTransport):
    """A node over SSH. Made by ``open``."""

    def __init__(self, host: Host, opened: Opened, target: Target) -> None:
        password = host.connection.become_password
        super().__init__(
            host.name,
            sudo=host.connection.become and target.user != "root",
            sudo_password=password.reveal if password else None,
            prologue=prologue(host.settings),
        )
        self._opened = opened

    @classmethod
    def open(cls, host: Host, *, target: Target | None = None, jump: Opened | None = None) -> SSHTransport:
        """Connect to a host, through jump hosts where its connection says so. One attempt; the pool repeats it.

        ``jump``: an open connection to ``target.via``, to be shared; without it the jump hosts are opened for this one,
        and stay open as long as the process.
        """
        target = target or target_of(host)
        if target.via and jump is None:
            jump = open_chain(target.via)
        try:
            return cls(host, open_target(target, jump), target)
        except Unreachable as error:
            error.node = host.name
            raise

    @property
    def alive(self) -> bool:
        return self._opened.alive

    def open_tcp(self, host: str, port: int, *, timeout: float) -> socket.socket:
        """See ``Transport.open_tcp``."""
        try:
            channel = self._opened.transport.open_channel(
                "direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout
            )
        except paramiko.ChannelException as error:
            if error.code == 1:
                raise PermissionError(
                    f"administratively prohibited: sshd of {self._name} forbids TCP forwarding"
                ) from error
            raise ConnectionRefusedError(
                f"connection refused: nothing answers on {host}:{port} of {self._name}"
            ) from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            if not self.alive:
                raise self._broken(str(error)) from error
            if "Timeout" in str(error):
                raise TimeoutError(f"{host}:{port} of {self._name}: no answer within {timeout:g} s") from error
            raise ConnectionRefusedError(f"{host}:{port} of {self._name}: connection refused ({error})") from error
        channel.settimeout(timeout)
        return cast("socket.socket", channel)

    def close(self) -> None:
        """Close the connection; running commands end with ``ConnectionLost``."""
        self._opened.close()

    def _start(self, command: str) -> _ChannelSession:
        return _ChannelSession(self._channel(), command, self._broken)

    def _channel(self) -> Any:
        """A session channel. sshd may still be busy clearing away earlier ones: a refusal is tried again."""
        for wait in (0.02, 0.1, 0.5, 2.0, 0.0):
            try:
                return self._opened.transport.open_session(timeout=CHANNEL_TIMEOUT)
            except (paramiko.SSHException, EOFError, OSError) as error:
                # Of two refusals at the same time paramiko tells only one as what it is, a ChannelException.
                if not self.alive or "Timeout" in str(error) or not isinstance(error, paramiko.SSHException):
                    raise self._broken(str(error) or type(error).__name__) from error
                refusal = error
            sleep(wait)
        raise RemoteError(
            f"sshd opens no more sessions on this connection ({refusal})",
            node=self._name,
            hint="raise MaxSessions in the node's sshd_config to its default, 10",
        )

    def _broken(self, reason: str) -> ConnectionLost:
        self._opened.transport.active = False
        threading.Thread(target=self._opened.close, daemon=True).start()
        return ConnectionLost(
            f"the SSH connection broke: {reason}",
            node=self._name,
            hint="is the node up? what runs there ends at its deadline",
        )


def open_chain(target: Target) -> Opened:
    """Open a server behind any number of jump hosts, each verified."""
    return open_target(target, open_chain(target.via) if target.via else None)


class _Wake(threading.Event):
    """Wakes the one who reads a channel, at its end, or (``eager``) at any output, or when much is waiting.

    One event for two pipes: paramiko clears a pipe's event when that pipe is empty, which must not hide the other.
    """

    def __init__(self, channel: Any) -> None:
        super().__init__()
        self._channel = channel
        self.eager = False

    def set(self) -> None:
        channel = self._channel
        if self.eager or channel.eof_received or channel.closed or _waiting(channel) > _MUCH:
            super().set()

    def clear(self) -> None:
        """Not now; see ``rest``."""

    def rest(self) -> None:
        super().clear()


def _waiting(channel: Any) -> int:
    # The pipes' own len() takes their lock, which whoever sets this event holds.
    return len(channel.in_buffer._buffer) + len(channel.in_stderr_buffer._buffer)


class _ChannelSession:
    """A ``Session`` over one channel."""

    def __init__(self, channel: Any, command: str, broken: Callable[[str], ConnectionLost]) -> None:
        self._channel = channel  # a paramiko.Channel; Any, as the stubs leave out what is needed here
        self._broken = broken
        self._wake = _Wake(channel)
        channel.in_buffer.set_event(self._wake)
        channel.in_stderr_buffer.set_event(self._wake)
        self._guarded(self._request, command)

    def _request(self, command: str) -> None:
        """Ask for the command without waiting for the answer; a refusal shows as the channel's end."""
        message = paramiko.Message()
        message.add_byte(cMSG_CHANNEL_REQUEST)
        message.add_int(self._channel.remote_chanid)
        message.add_string("exec")
        message.add_boolean(True)
        message.add_string(command)
        self._channel._event_pending()
        self._channel.transport._send_user_message(message)

    def send(self, data: bytes, *, end: bool) -> None:
        if len(data) <= _SMALL:
            self._guarded(self._write, data, end)
        else:  # in a thread of its own: the node may answer before it has read all
            threading.Thread(target=self._write_quietly, args=(data, end), daemon=True).start()

    def _write_quietly(self, data: bytes, end: bool) -> None:
        try:
            self._write(data, end)
        except (paramiko.SSHException, EOFError, OSError):
            return  # the reading side notices, and says why

    def _write(self, data: bytes, end: bool) -> None:
        view = memoryview(data)
        while view:
            sent = self._channel.send(bytes(view[:_SMALL]))
            if not sent:
                return
            view = view[sent:]
        if end:
            self._channel.shutdown_write()

    def receive(self, timeout: float, *, eager: bool = False) -> Heard:
        channel, self._wake.eager = self._channel, eager
        if not (eager and self._ready()):
            self._wake.wait(max(0.0, timeout if eager else min(timeout, _GLANCE)))
        self._wake.rest()
        ended = bool(channel.eof_received or channel.closed)
        out = channel.recv(_CHUNK) if channel.recv_ready() else b""
        err = channel.recv_stderr(_CHUNK) if channel.recv_stderr_ready() else b""
        ended = ended and not self._ready()
        if ended and not (out or err):
            self._check_alive()
        return Heard(out, err, ended)

    def _ready(self) -> bool:
        return bool(self._channel.recv_ready() or self._channel.recv_stderr_ready())

    def _check_alive(self) -> None:
        """At a session's end: was it the session's, or the connection's? The reader thread closes channels first."""
        transport = self._channel.transport
        if self._channel.closed and not self._channel.status_event.is_set():
            transport.join(timeout=0.2)
        if not transport.is_active():
            raise self._broken(str(transport.get_exception() or "closed by the other side"))

    def status(self) -> int | None:
        self._check_alive()
        if not self._channel.status_event.wait(5.0):
            return None
        status = int(self._channel.exit_status)
        return status if status >= 0 else None

    def finish(self) -> None:
        until = monotonic() + _GLANCE
        while not self._channel.closed and (left := until - monotonic()) > 0:
            self._wake.rest()
            if not self._channel.closed:
                self._wake.wait(left)

    def close(self) -> None:
        try:
            self._channel.close()
        except (paramiko.SSHException, EOFError, OSError):
            return

    def _guarded(self, do: Callable[..., None], *arguments: object) -> None:
        try:
            do(*arguments)
        except (paramiko.SSHException, EOFError, OSError) as error:
            if self._channel.transport.is_active() and self._channel.closed:
                return  # the session ended before it read all: what it said, and its status, tell why
            raise self._broken(str(error) or type(error).__name__) from error
