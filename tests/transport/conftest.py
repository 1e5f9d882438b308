"""Servers for the tests of this folder, each started once a worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.inventory.model import Connection
from provision.transport.pool import Pool
from tests.bench import sshd
from tests.transport.servers import Door, asyncssh_server, host, openssh


@pytest.fixture(scope="session")
def openssh_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    if sshd.available() is None:
        pytest.skip("no sshd on this machine: apt-get install openssh-server")
    with openssh(tmp_path_factory.mktemp("openssh")) as door:
        yield door


@pytest.fixture(scope="session")
def asyncssh_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with asyncssh_server(tmp_path_factory.mktemp("asyncssh")) as door:
        yield door


@pytest.fixture(scope="session")
def groupless_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    with asyncssh_server(tmp_path_factory.mktemp("groupless"), leads=False) as door:
        yield door


@pytest.fixture(
    params=[
        "local",
        pytest.param("openssh", marks=pytest.mark.rehearsal),
        pytest.param("asyncssh", marks=pytest.mark.rehearsal),
        pytest.param("groupless", marks=pytest.mark.rehearsal),
    ]
)
def node(request: pytest.FixtureRequest) -> Iterator[object]:
    """A connected transport of each kind."""
    if request.param == "local":
        there = host(Connection(kind="local"))
    else:
        there = request.getfixturevalue(f"{request.param}_door").host()
    with Pool([there]) as pool:
        yield pool.get(there)


@pytest.fixture
def script_log(tmp_path: Path) -> Path:
    return tmp_path / "log"
