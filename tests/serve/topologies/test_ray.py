"""Ray: who starts what, and the launch script with a ``ray`` that says what it is told to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from provision.resources import shipped
from provision.serve.build import build_plan
from provision.serve.lint import lint
from provision.serve.plan import Wave
from tests.serve.clusters import pairs, settings

SHELLS = [[path] for name in ("dash", "bash") if (path := shutil.which(name))]
SHELLS += [[path, "sh"] for path in [shutil.which("busybox")] if path]
RAY = """\
#!/bin/sh
echo "ray $*" >>"$LOG"
case $1 in
status) cat "$LOG.status" ;;
start) exit ${START:-0} ;;
esac
"""
STATUS = """\
======== Autoscaler status: 2026-11-24 12:21:33.123456 ========
Node status
---------------------------------------------------------------
Active:
{nodes}Pending:
 1 not_yet
Recent failures:
 (no failures)

Resources
---------------------------------------------------------------
Total Usage:
 0.0/320.0 CPU
{resources}
"""


class Container:
    """A place with a ``ray``, where time stands still."""

    def __init__(self, folder: Path, shell: list[str]) -> None:
        self.log, self.bin, self.shell = folder / "log", folder / "bin", shell
        self.bin.mkdir()
        for name, text in {"ray": RAY, "sleep": "#!/bin/sh\n", "vllm": '#!/bin/sh\necho "vllm $*" >>"$LOG"\n'}.items():
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)

    def has(self, nodes: int, **resources: int) -> None:
        """What ``ray status`` says."""
        listed = "".join(f" 1 node_{n}\n" for n in range(nodes)) or " (no active nodes)\n"
        lines = "\n".join(f" 0.0/{count}.0 {name}" for name, count in resources.items())
        self.log.with_name("log.status").write_text(STATUS.format(nodes=listed, resources=lines))

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        script = shipped("templates") / "ray" / "ray.sh"
        variables = {"PATH": f"{self.bin}:/usr/bin:/bin", "LOG": str(self.log), **environment}
        return subprocess.run([*self.shell, str(script), *words], capture_output=True, text=True, env=variables)

    def head(self, npus: int = 16, seconds: int = 300) -> subprocess.CompletedProcess[str]:
        return self.run("head", "10.0.0.1", "6379", "2", str(npus), str(seconds), "vllm", "serve", "/a b", "--x")

    @property
    def done(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture(params=SHELLS, ids=lambda shell: Path(shell[0]).name)
def container(tmp_path: Path, request: pytest.FixtureRequest) -> Container:
    return Container(tmp_path, request.param)


def test_a_whole_cluster_is_served(container: Container) -> None:
    container.has(2, NPU=16)
    done = container.head()
    assert (done.returncode, done.stderr) == (0, "qnext: Ray has 16 of 16 NPU and all 2 nodes\n")
    assert container.done == [
        "ray start --head --node-ip-address=10.0.0.1 --port=6379 --disable-usage-stats",
        "ray status --address=10.0.0.1:6379",
        "vllm serve /a b --x",
    ]


def test_on_cpu_no_npu_is_asked_for(container: Container) -> None:
    container.has(2)
    assert container.head(npus=0).returncode == 0


def test_a_node_that_never_joins_is_missed(container: Container) -> None:
    container.has(1, NPU=8)
    done = container.head(seconds=0)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "qnext: Ray has 8 of 16 NPU; waiting for 1 of 2 nodes",
        "qnext: Ray is incomplete after 0 s: 8 of 16 NPU, 1 of 2 nodes have not joined; their workers' logs say why",
    ]
    assert not any(line.startswith("vllm") for line in container.done)


def test_npus_that_ray_takes_for_gpus_are_named(container: Container) -> None:
    container.has(2, NPU=8, GPU=8)
    done = container.head()
    assert done.returncode == 1
    assert "Ray counts 8 GPU and 8 of 16 NPU" in done.stderr
    assert "RAY_OVERRIDE_RESOURCES: '{\"NPU\": 8}'" in done.stderr


def test_devices_that_no_node_brought_are_not_waited_for(container: Container) -> None:
    container.has(2)
    done = container.head()
    assert done.returncode == 1
    assert "qnext: Ray has 0 of 16 NPU though all 2 nodes have joined" in done.stderr
    assert done.stderr.count("qnext: Ray has 0 of 16 NPU\n") == 1, "what doesn't change is said once"


def test_a_head_that_does_not_start_ends_it(container: Container) -> None:
    done = container.run("head", "10.0.0.1", "6379", "2", "16", "300", "vllm", START="7")
    assert done.returncode == 7
    assert len(container.done) == 1


def test_a_worker_stays_in_the_foreground(container: Container) -> None:
    done = container.run("worker", "10.0.0.2", "10.0.0.1:6379", "vllm", "serve", "/model")
    assert (done.returncode, done.stderr) == (0, "qnext: joins Ray at 10.0.0.1:6379\n")
    assert container.done == [
        "ray start --address=10.0.0.1:6379 --node-ip-address=10.0.0.2 --disable-usage-stats --block"
    ]


def test_another_word_is_refused(container: Container) -> None:
    assert container.run("tail").returncode == 2


def test_the_head_waits_for_all_devices_of_the_engine() -> None:
    given = settings("atlas-800-a2", topology="ray", tensor_parallel_size=8, pipeline_parallel_size=3, ready_timeout=60)
    plan = build_plan(pairs(given, 3))
    head, *workers = plan.processes
    assert head.argv[:9] == ("sh", "/qnext/ray.sh", "head", "10.0.0.1", "6379", "3", "24", "60", "vllm")
    assert [worker.argv[3:5] for worker in workers] == [("10.0.0.2", "10.0.0.1:6379"), ("10.0.0.3", "10.0.0.1:6379")]
    assert plan.waves == (Wave(("head",), "port:ray"), Wave(("worker1", "worker2")))
    assert all(process.env["RAY_EXPERIMENTAL_NOSET_ASCEND_RT_VISIBLE_DEVICES"] == "1" for process in plan.processes)
    assert [each.name for each in workers[0].files] == ["ray.sh"]
    assert plan.entry.serves
    assert not any(worker.serves for worker in workers)


def test_one_engine_over_nodes_has_no_data_parallel() -> None:
    found = lint(pairs(settings("cpu", topology="ray", data_parallel_size=2), 2))
    assert any("topology ray is one engine" in violation.reason for violation in found if violation.severity == "fail")
