"""An SSH server by asyncssh, a second implementation to test against.

``python -m tests.transport.async_server FOLDER KIND``: it makes its keys in FOLDER, prints its port, and serves until
it is terminated. KIND ``no-session`` gives commands no session, hence no process group, of their own, as a careless
server may.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncssh

USER = "tester"
PASSWORD = "open sesame"


async def serve(folder: Path, *, session: bool) -> None:
    """Listen, and tell where."""
    import asyncssh

    asyncssh.set_debug_level(2)

    key = asyncssh.generate_private_key("ssh-ed25519")
    host_key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(folder / "id")
    key.write_public_key(folder / "id.pub")

    class Login(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return True

        def password_auth_supported(self) -> bool:
            return True

        def validate_password(self, username: str, password: str) -> bool:
            return username == USER and password == PASSWORD

        def public_key_auth_supported(self) -> bool:
            return True

        def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
            return username == USER and key == asyncssh.read_public_key(folder / "id.pub")

        def connection_requested(self, *_: object) -> bool:
            return True

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(
            "sh", "-c", process.command or "exit 9", stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=session
        )
        await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
        status = await child.wait()
        await process.stdout.drain()
        process.exit(status if status >= 0 else 128 - status)

    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        server_factory=Login,
        process_factory=run,
        encoding=None,
    )
    kind, blob = host_key.export_public_key().decode().split()[:2]
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{server.get_port()} {kind} {blob}\n")
    sys.stdout.write(f"{server.get_port()}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), session=sys.argv[2] == "session"))
