"""Groups are told by what the commands say, not by lists of roles or the order of the nodes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import Position
from provision.serve.importing.command import parse_serve
from provision.serve.importing.recipe import Recipe, Server, groups_of

HERE = Position("x", 1, 1)


def server(index: int, words: str, role: str = "") -> Server:
    return Server(index, parse_serve(["/m", *words.split()], HERE), {}, HERE, role)


def dp(size: int, local: int, start: int | None = None, address: str = "") -> str:
    words = f"--data-parallel-size {size} --data-parallel-size-local {local}"
    words += f" --data-parallel-address {address}" if address else ""
    return words if start is None else f"{words} --headless --data-parallel-start-rank {start}"


def test_prefill_nodes_without_address_are_groups_of_their_own() -> None:
    recipe = Recipe(
        "r",
        (
            server(0, dp(2, 2), "prefill"),
            server(1, dp(2, 2), "prefill"),
            server(2, dp(8, 4, address="$LOCAL_IP"), "decode"),
            server(3, dp(8, 4, 4, "$MASTER_IP"), "decode"),
        ),
        disaggregated=True,
    )
    found = [(g.name, g.role, g.topology, [s.index for s in g.servers]) for g in groups_of(recipe)]
    assert found == [
        ("prefill0", "prefill", "single", [0]),
        ("prefill1", "prefill", "single", [1]),
        ("", "decode", "data-parallel", [2, 3]),
    ]


@given(st.permutations(range(4)))
def test_the_order_of_the_nodes_does_not_matter(order: list[int]) -> None:
    nodes = [server(0, dp(4, 1))] + [server(n, dp(4, 1, n, "10.0.0.1")) for n in (1, 2, 3)]
    servers = tuple(replace(nodes[rank], index=index) for index, rank in enumerate(order))
    addresses = tuple(f"10.0.0.{rank + 1}" for rank in order)
    (group,) = groups_of(Recipe("r", servers, addresses=addresses))
    assert [addresses[each.index] for each in group.servers] == [f"10.0.0.{n}" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("commands", "topology"),
    [
        (["--tensor-parallel-size 4"], "single"),
        (["--distributed-executor-backend ray --tensor-parallel-size 16"], "ray"),
        (
            [
                f"--tensor-parallel-size 16 --nnodes 2 --master-addr a --node-rank {n}" + " --headless" * n
                for n in (0, 1)
            ],
            "tensor-parallel",
        ),
        (
            [
                f"--pipeline-parallel-size 2 --nnodes 2 --master-addr a --node-rank {n}" + " --headless" * n
                for n in (0, 1)
            ],
            "pipeline-parallel",
        ),
        (
            [f"{dp(2, 1, address='a')} --data-parallel-hybrid-lb --data-parallel-start-rank {n}" for n in (0, 1)],
            "hybrid-dp",
        ),
    ],
)
def test_topologies(commands: list[str], topology: str) -> None:
    (group,) = groups_of(Recipe("r", tuple(server(index, words) for index, words in enumerate(commands))))
    assert group.topology == topology
    assert [each.index for each in group.servers] == list(range(len(commands)))
