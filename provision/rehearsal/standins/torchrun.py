"""``torchrun`` and ``python3 -m torch.distributed.run`` of an image: one process a rank, with the ranks' environment."""

from __future__ import annotations

import os
import subprocess
import sys

_NAMES = {"nnodes": "1", "node_rank": "0", "nproc_per_node": "1", "master_addr": "127.0.0.1", "master_port": "29500"}


def _options(argv: list[str]) -> tuple[dict[str, str], list[str]]:
    """Options as given with dashes or underscores, and the program with its own arguments."""
    found, rest = dict(_NAMES), list(argv)
    while rest and rest[0].startswith("--"):
        name, given, value = rest.pop(0)[2:].partition("=")
        found[name.replace("-", "_")] = value if given else rest.pop(0)
    return found, rest


def main(argv: list[str]) -> int:
    """Run all ranks of this node; the first that fails says how."""
    given, program = _options(argv)
    local, node = int(given["nproc_per_node"]), int(given["node_rank"])
    ranks = []
    for number in range(local):
        environment = {
            **os.environ, "RANK": str(node * local + number), "LOCAL_RANK": str(number), "LOCAL_WORLD_SIZE": str(local),
            "WORLD_SIZE": str(local * int(given["nnodes"])), "MASTER_ADDR": given["master_addr"],
            "MASTER_PORT": given["master_port"],
        }  # fmt: skip
        ranks.append(subprocess.Popen(["python3", *program], env=environment))
    return next((status for status in [rank.wait() for rank in ranks] if status), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
