"""Other clusters' folders and the ports in their launch scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from provision.facts.clusters import Clusters, OtherCluster, PlannedPort


def test_others_and_their_ports(look: Any, tmp_path: Path) -> None:
    state = tmp_path / "it's state"
    for name, script in {
        "ours": "--port 8000",
        "blue": "vllm serve \\\n  --port 8000 \\\n  --data-parallel-rpc-port=13389 \\\n  --report 12\n",
        "empty": "",
    }.items():
        (state / name / "launch").mkdir(parents=True)
        (state / name / "launch" / "head.sh").write_text(script)
    (state / "a file").touch()
    value = look(Clusters(str(state), "ours"))
    assert value.others == (
        OtherCluster("blue", (PlannedPort(8000, "port", "head"), PlannedPort(13389, "data-parallel-rpc-port", "head"))),
        OtherCluster("empty"),
    )
    assert value.holders(8000) == (("blue", PlannedPort(8000, "port", "head")),)
    assert value.holders(9000) == ()
    assert value.problems == ()


def test_no_folder_no_clusters(look: Any, tmp_path: Path) -> None:
    assert look(Clusters(str(tmp_path / "none"), "ours")).others == ()
