"""What docker says when it refuses: the words and exit statuses of the real client and daemon."""

from __future__ import annotations


class DockerError(Exception):
    """Printed on stderr as it is; ``exit`` is the client's exit status."""

    def __init__(self, message: str, exit: int = 1) -> None:
        super().__init__(message)
        self.message = message
        self.exit = exit


class DaemonError(DockerError):
    """An answer of the daemon."""

    def __init__(self, message: str, exit: int = 1) -> None:
        super().__init__(f"Error response from daemon: {message}", exit)
