"""The evidence of a live cluster: what a node sends, what is known of its processes, who is missing."""

from __future__ import annotations

import base64
import gzip
import io
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from provision.diagnose import live
from provision.errors import ConnectionLost
from provision.facts.docker import ContainersValue
from provision.facts.system import ClockValue
from provision.inventory.model import Connection, Host
from tests.modules import world

ANSWER = b"""\
==> stdout head
|2026-01-31T08:00:01.5Z INFO up
|==> stdout faked
|

==> plog head
--> debug/plog/plog-7_1.log 9000000
|[ERROR] HCCL(7,python3):2026-01-31-08:00:01.000.000 [a.cc:1] EI0006

--> debug/device-0/device-7_1.log 3
|dev

==> kernel
|[Sat Jan 31 08:00:00 2026] Out of memory: Killed process 7 (python3)

"""


def told(data: bytes) -> list[tuple[str, str, str, bool]]:
    return [(one.kind, one.process, one.name, one.cut) for one in live.texts_of(data)]


def test_a_nodes_answer() -> None:
    assert told(ANSWER) == [
        ("stdout", "head", "", False),
        ("plog", "head", "plog-7_1.log", True),
        ("device", "head", "device-7_1.log", False),
        ("kernel", "", "", False),
    ]
    assert next(live.texts_of(ANSWER)).text.splitlines()[1] == "==> stdout faked", "no log can look like a section"


def test_an_answer_that_breaks_off_anywhere() -> None:
    whole = told(ANSWER)
    for end in range(len(ANSWER)):
        broken = told(ANSWER[:end])
        assert broken[:-1] == whole[: max(len(broken) - 1, 0)]


def tree(*names: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for at, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 5, at
            tar.addfile(info, io.BytesIO(b"text\n"))
    return out.getvalue()


def test_the_newest_logs_of_a_container_that_ended() -> None:
    names = [f"log/debug/plog/plog-{n}_1.log" for n in range(live.PLOGS + 2)]
    packed = base64.encodebytes(tree("log/other.txt", *names)).replace(b"\n", b"\n=")

    found = list(live.texts_of(b"==> plog head\n=" + packed + b"\n"))

    assert [one.name for one in found] == [f"plog-{n}_1.log" for n in reversed(range(2, live.PLOGS + 2))]


def test_a_tree_that_breaks_off() -> None:
    packed = base64.encodebytes(tree("log/debug/plog/plog-1_1.log", "log/debug/plog/plog-2_1.log")[:1030])

    assert [name for _, _, name, _ in told(b"==> plog head\n=" + packed.replace(b"\n", b"\n="))] == ["plog-1_1.log"]


# ---- clusters


@dataclass
class Sending:
    """What a node's reading script gives; an error comes after it."""

    data: bytes = ANSWER
    error: Exception | None = None

    def __call__(self, script: str, *, deadline: float | None = None) -> Iterator[bytes]:
        yield from (self.data[at : at + 100] for at in range(0, len(self.data), 100))
        if self.error:
            raise self.error


def cluster(**changes: Any) -> Any:
    made = world.running(world.cluster(), **changes)
    for node in made.nodes:
        node.pipe = Sending(ANSWER.replace(b"head", b"worker1") if node.index else ANSWER)
        node.facts["clock"] = ClockValue(epoch=1000.0 + 90 * node.index, when=(999.0, 1001.0), utc_offset="+0530")
    return made


def hosts(made: Any, more: int = 0) -> list[Host]:
    count = len(made.nodes) + more
    return [
        Host(f"atlas-{n + 1}", n, ("all",), Connection(host=f"10.0.0.{n + 1}"), made.settings, {}) for n in range(count)
    ]


def test_processes_clocks_and_logs() -> None:
    ended = {"state": "exited", "exit_code": 137, "oom_killed": True, "started": "2026-01-31T08:00:00.123456789Z"}

    found = live.observe(cluster(worker1=ended), None)

    assert [(n.name, n.offset, n.zone, n.missing) for n in found.manifest.nodes] == [
        ("atlas-1", 0.0, 19800.0, ""),
        ("atlas-2", 90.0, 19800.0, ""),
    ]
    assert found.manifest.nodes[1].versions["vllm"] == "0.11.0", "what `report` shows of a live cluster"
    assert found.manifest.nodes[1].versions["docker"]
    assert "torch-npu" not in found.manifest.nodes[1].versions
    head, worker = found.manifest.processes
    assert (head.name, head.state, head.exit_code, head.unit) == ("head", "running", None, ("head", "worker1"))
    assert (worker.state, worker.exit_code, worker.oom_killed, worker.headless) == ("exited", 137, True, True)
    assert worker.started == pytest.approx(1769846400.123456 - 90)
    log = next(log for log in found.logs if log.process == "worker1")
    assert (log.node, log.exit_code, log.oom_killed, log.offset, log.zone) == ("atlas-2", 137, True, 90.0, 19800.0)
    assert {log.source for log in found.logs} == {"stdout", "plog", "device", "kernel"}


@pytest.mark.parametrize(("epoch", "offset"), [(100.0, 0.0), (100.4, 0.0), (99.4, -1.1), (102.0, 1.5), (None, None)])
def test_a_clock_that_may_be_ours_is_ours(epoch: float | None, offset: float | None) -> None:
    made = cluster()
    made.nodes[0].facts["clock"] = ClockValue(epoch=epoch, when=(100.0, 101.0))

    assert live.manifest_of(made, []).nodes[0].offset == (None if offset is None else pytest.approx(offset))


def test_logs_are_kept_in_the_run_directory() -> None:
    made = cluster()

    live.observe(made, None, keep=True)

    assert sorted(made.nodes[0].kept) == ["head.device-7_1.log", "head.log", "head.plog-7_1.log", "kernel.log"]


def test_packed_logs() -> None:
    made = cluster()
    made.nodes[0].pipe = Sending(gzip.compress(ANSWER))

    assert any("INFO up" in log.text for log in live.observe(made, None).logs if log.node == "atlas-1")


@pytest.mark.parametrize("data", [gzip.compress(ANSWER)[:90], ANSWER[:120], b""])
def test_a_connection_that_breaks_while_logs_are_read(data: bytes) -> None:
    made = cluster()
    made.nodes[1].pipe = Sending(data, ConnectionLost("the connection broke"))

    found = live.observe(made, None)

    assert [node.missing for node in found.manifest.nodes] == ["", "reading its logs broke off: the connection broke"]
    assert any(log.node == "atlas-1" for log in found.logs)


def test_damaged_bytes() -> None:
    made = cluster()
    made.nodes[1].pipe = Sending(b"\x1f\x8b\x08\x00" + b"x" * 300)

    assert "damaged" in live.observe(made, None).manifest.nodes[1].missing


def test_a_node_out_of_reach_and_one_that_was_not_looked_at() -> None:
    made = cluster()

    found = live.manifest_of(made, hosts(made, more=2), unreachable={"atlas-3": "connection refused"})

    assert [node.missing for node in found.nodes] == ["", "", "connection refused", "it was not looked at"]
    assert {process.state for process in found.processes if process.node in ("atlas-3", "atlas-4")} <= {"unknown"}


def test_without_a_plan_containers_tell_what_there_is() -> None:
    made = cluster()
    for node in made.nodes:
        node.facts["model-folder"] = ConnectionLost("weights could not be read")

    found = live.manifest_of(made, [])

    assert [(p.name, p.node, p.state, p.rank) for p in found.processes] == [
        ("head", "atlas-1", "running", 0),
        ("worker1", "atlas-2", "running", 1),
    ]


def test_docker_that_does_not_answer_is_no_missing_process() -> None:
    made = cluster()
    made.nodes[1].facts["containers"] = ContainersValue(problems=("the daemon is away",))

    found = live.manifest_of(made, [])

    assert found.nodes[1].missing == "docker does not answer: the daemon is away"
    assert [p.state for p in found.processes] == ["running", "unknown"]


def test_no_node_at_all() -> None:
    made = cluster()
    every = hosts(made)
    made.nodes.clear()

    found = live.manifest_of(made, every, unreachable={"atlas-1": "refused", "atlas-2": "refused"})

    assert [node.missing for node in found.nodes] == ["refused", "refused"]
    assert [process.state for process in found.processes] == ["unknown", "unknown"]


def test_the_script_in_a_plain_shell(tmp_path: Path) -> None:
    """With a docker that has one container that runs and one that ended."""
    (tmp_path / "docker").write_text(r"""#!/bin/sh
case "$*" in
"ps "*) echo "c1 head running"; echo "c2 worker1 exited" ;;
"logs "*c1) echo "2026-01-31T08:00:01Z one"; printf 'zero\000\n' >&2 ;;
"logs "*c2) printf '==> no end' ;;
"exec c1 sh -c "*) shift 2; HOME=$FAKE "$@" ;;
"inspect "*) echo "SECRET=x"; echo "ASCEND_PROCESS_LOG_PATH=/var/plogs" ;;
"cp c2:/var/plogs -") tar -C "$FAKE" -cf - ascend ;;
*) echo "docker $*: not expected" >&2; exit 1 ;;
esac
""")
    (tmp_path / "dmesg").write_text("#!/bin/sh\necho '[1.000000] Killed process 7 (python3)'; echo other\n")
    for name in ("docker", "dmesg"):
        (tmp_path / name).chmod(0o755)
    plog = tmp_path / "ascend/log/debug/plog/plog-7_1.log"
    plog.parent.mkdir(parents=True)
    plog.write_text("[ERROR] HCCL\n")
    own = world.settings().model_copy(update={"hardware": "atlas-800-a3"})

    done = subprocess.run(
        ["sh", "-c", live._script(own)],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "FAKE": str(tmp_path), "LC_ALL": "C"},
        capture_output=True,
        check=True,
    )

    unpacked = live._Unpacked()
    unpacked.take(done.stdout)
    found = [(one.kind, one.process, one.text.strip()) for one in live.texts_of(bytes(unpacked.data))]
    assert sorted(found[0][2].splitlines()) == ["2026-01-31T08:00:01Z one", "zero"]
    assert found[1:] == [
        ("plog", "head", "[ERROR] HCCL"),
        ("stdout", "worker1", "==> no end"),
        ("plog", "worker1", "[ERROR] HCCL"),
        ("kernel", "", "[1.000000] Killed process 7 (python3)"),
    ]
    assert done.stderr == b""
