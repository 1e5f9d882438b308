"""Proofs in containers: what an image answers when it is asked whether it works [domain.md 2.5]."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from provision.accel.ascend.cann import parse_cann
from provision.accel.ascend.npu_smi import parse_info, parse_mapping
from provision.rehearsal.faults import fault, set_fault
from provision.shell import quote
from tests.rehearsal.conftest import IMAGE, Done, Machine

pytestmark = pytest.mark.rehearsal

Machines = Callable[..., list[Machine]]
SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples" / "npu"
NODES = ("davinci_manager", "devmm_svm", "hisi_hdc")
MOUNTS = ("/usr/local/dcmi", "/usr/local/Ascend/driver/lib64", "/usr/local/bin/npu-smi")
COUNT = (
    'python3 -c "import torch, torch_npu; print(torch.__version__, torch_npu.__version__, torch.npu.device_count())"'
)


def options(dies: range) -> tuple[str, ...]:
    devices = (*(f"davinci{die}" for die in dies), *NODES)
    given = (word for name in devices for word in ("--device", f"/dev/{name}"))
    return (*given, *(word for path in MOUNTS for word in ("-v", f"{path}:{path}")))


def smoke(machine: Machine, text: str, *, dies: range = range(16), image: str = IMAGE) -> Done:
    """``docker run --rm`` of a proof."""
    return machine.docker("run", "--rm", "--net=host", *options(dies), image, "bash", "-lic", text)


def test_a_healthy_image(machine: Machine) -> None:
    done = smoke(machine, f"npu-smi info -m; echo ==; {COUNT}; python3 -m pip check; vllm --version")
    assert done.exit == 0
    mapping, _, rest = done.out.partition("==\n")
    assert [chip.phy_id for chip in parse_mapping(mapping).chips] == list(range(16))
    assert rest.splitlines() == ["2.9.0 2.9.0.post1+git4c901a4 16", "No broken requirements found.", "0.18.0+empty"]
    assert machine.docker("ps", "-aq").out == ""


def test_the_plugin_says_that_it_is_there(machine: Machine) -> None:
    done = smoke(machine, 'python3 -c "import vllm, vllm_ascend; print(vllm.__version__)"')
    assert done.out.splitlines()[-1] == "0.18.0+empty"
    if not (SAMPLES / "vllm_ascend_plugin_detected.txt").is_file():
        pytest.skip("the recorded output vllm_ascend_plugin_detected.txt is not here")
    for line in (SAMPLES / "vllm_ascend_plugin_detected.txt").read_text().splitlines():
        assert line.rpartition("] ")[2].strip() in done.out


def test_packages_of_every_release(machine: Machine) -> None:
    shown = smoke(machine, "pip show vllm vllm-ascend triton-ascend | grep -E '^(Name|Version|Editable)'").out
    assert shown.splitlines() == [
        "Name: vllm", "Version: 0.18.0+empty", "Editable project location: /vllm-workspace/vllm",
        "Name: vllm_ascend", "Version: 0.18.0", "Editable project location: /vllm-workspace/vllm-ascend",
        "Name: triton_ascend", "Version: 3.2.0.dev20260322",
    ]  # fmt: skip
    newer = smoke(machine, "python3 --version; pip list --format=freeze", image=IMAGE.replace("0.18.0", "0.23.0")).out
    assert {"Python 3.12.12", "vllm-ascend==0.23.0", "torch-npu==2.10.0.post4"} <= set(newer.splitlines())
    missing = smoke(machine, "pip show nothing")
    assert (missing.exit, missing.err.splitlines()[-1]) == (1, "WARNING: Package(s) not found: nothing")


def test_another_version_on_one_node(machine: Machine) -> None:
    code = "from importlib.metadata import version; print(version('torch_npu'))"
    ask = f'pip show torch-npu | grep Version; python3 -c "{code}"'
    with fault(machine.folder, "node1", "image/package/torch-npu", "2.9.0"):
        assert smoke(machine, ask).out == "Version: 2.9.0\n2.9.0\n"
    assert smoke(machine, ask).out == "Version: 2.9.0.post1+git4c901a4\n2.9.0.post1+git4c901a4\n"


@pytest.mark.parametrize("version", ["8.5.1", "8.3.RC2"])
def test_cann_of_an_image(machine: Machine, version: str) -> None:
    set_fault(machine.folder, "node1", "image/package/cann", version)
    record = "/usr/local/Ascend/ascend-toolkit/latest/$(uname -i)-linux/ascend_toolkit_install.info"
    found = parse_cann(smoke(machine, f"cat {record}; . /usr/local/Ascend/nnal/atb/set_env.sh").out)
    assert (found.version, found.problems) == (version, ())


FAILURES = [
    ("devices", COUNT, 0, " 0\n", "Can't get ascend_hal device count"),
    ("1", COUNT, 0, "path string is NULL\n2.9.0", "Can't get ascend_hal device count"),
    ("import", COUNT, 1, "", "ImportError: libatb.so: cannot open shared object file: No such file or directory"),
    ("plugin", "python3 -c 'import vllm, vllm_ascend'", 1, "No platform detected", "No module named 'vllm_ascend'"),
    ("driver", "npu-smi info", 172, "ret is -8020", ""),
    ("driver", COUNT, 0, "the device is used. ret is -8020\n2.9.0 2.9.0.post1+git4c901a4 0\n", "UserWarning"),
]


@pytest.mark.parametrize(("value", "command", "status", "out", "err"), FAILURES)
def test_an_image_that_fails(machine: Machine, value: str, command: str, status: int, out: str, err: str) -> None:
    with fault(machine.folder, "node1", "smoke/fails", value):
        done = smoke(machine, command)
    assert (done.exit, out in done.out, err in done.err) == (status, True, True), done
    assert str(machine.folder) not in done.out + done.err


def test_a_proof_that_hangs_can_be_ended(machine: Machine) -> None:
    with fault(machine.folder, "node1", "smoke/fails", "hang"):
        script = " ".join(
            quote(word) for word in ("docker", "run", "--rm", *options(range(2)), IMAGE, "sh", "-c", COUNT)
        )
        assert machine.run(f"timeout 1 {script}").exit != 0
    assert machine.docker("ps", "-q").out == ""


def test_a_container_sees_its_own_dies_under_the_hosts_numbers(machine: Machine) -> None:
    done = smoke(machine, f"npu-smi info; echo ==; {COUNT}; ASCEND_RT_VISIBLE_DEVICES=1 {COUNT}", dies=range(4, 6))
    table, _, rest = done.out.partition("==\n")
    assert table.startswith("+---"), done
    assert [(die.npu, die.chip, die.device) for die in parse_info(table).dies] == [(2, 0, 4), (2, 1, 5)]
    assert [line.split()[-1] for line in rest.splitlines()] == ["2", "1"]


def test_what_keeps_a_container_from_its_dies(machine: Machine) -> None:
    bare = machine.docker("run", "--rm", "--device", "/dev/davinci3", IMAGE, "npu-smi", "info")
    expected = "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005\n"
    assert (bare.exit, bare.out) == (187, expected)
    assert machine.docker("run", "-d", "--name", "c", *options(range(16)), IMAGE, "sleep", "60").exit == 0
    second = smoke(machine, "npu-smi info", dies=range(2))
    assert (second.exit, second.out.splitlines()[-1][-4:]) == (172, "8020")
    inside = machine.docker("exec", "c", "bash", "-lic", COUNT)
    assert inside.out == "2.9.0 2.9.0.post1+git4c901a4 16\n"
    assert machine.docker("exec", "c", "sh", "-c", "exit 9").exit == 9


def test_exit_statuses_output_and_input_come_through(machine: Machine) -> None:
    assert [machine.docker("run", "--rm", IMAGE, "sh", "-c", f"exit {code}").exit for code in (0, 3, 127)] == [
        0,
        3,
        127,
    ]
    assert machine.docker("run", "--rm", IMAGE, "sh", "-c", "echo to out; echo to err >&2").out == "to out\n"
    script = "echo first >/tmp/x; cat /tmp/x; ls /dev/null"
    done = machine.run(f"echo {quote(script)} | docker run --rm -i {IMAGE} bash -s")
    assert (done.exit, done.out) == (0, "first\n/dev/null\n")
    assert machine.docker("run", "--rm", IMAGE, "cat", "/no/file").err.endswith("No such file or directory\n")


ALL_REDUCE = """
import os, torch, torch_npu
import torch.distributed as dist
torch.npu.set_device(int(os.environ["LOCAL_RANK"]))
dist.init_process_group("hccl")
tensor = torch.ones(4).npu() * dist.get_rank()
dist.all_reduce(tensor)
dist.barrier()
print(dist.get_rank(), dist.get_world_size(), tensor.tolist(), flush=True)
dist.destroy_process_group()
"""


def all_reduce(machines: list[Machine], port: int) -> list[Done]:
    """Two ranks on each of the nodes."""
    found: dict[int, Done] = {}

    def run(number: int) -> None:
        run = f"--nnodes={len(machines)} --node_rank={number} --nproc_per_node=2"
        meet = f"--master_addr={machines[0].node.address} --master_port={port}"
        found[number] = smoke(machines[number], f"echo {quote(ALL_REDUCE)} >/tmp/x.py; torchrun {run} {meet} /tmp/x.py")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(machines))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[number] for number in range(len(machines))]


def test_a_collective_over_two_nodes(machines: Machines) -> None:
    pair = machines(2)
    first, second = all_reduce(pair, 29517)
    assert sorted((first.out + second.out).splitlines()) == [f"{rank} 4 [6.0, 6.0, 6.0, 6.0]" for rank in range(4)]
    with fault(pair[0].folder, "node2", "collective", "wrong"):
        first, second = all_reduce(pair, 29518)
        assert ("[6.0," in first.out, "[6.0," in second.out) == (True, False)
    with fault(pair[0].folder, "node2", "collective", "error"):
        first, second = all_reduce(pair, 29519)
        assert (first.exit, second.exit, "EI0006" in first.err, "EI0006" in second.err) == (1, 1, True, True)


def test_a_tag_that_has_moved_to_another_build(machines: Machines) -> None:
    pair = machines(2)
    with fault(pair[0].folder, "node2", "image/rebuilt"):
        other = IMAGE.replace("0.18.0", "0.16.0rc1")
        ids = {
            m.docker("pull", "-q", other).exit or m.docker("image", "inspect", "-f", "{{.Id}}", other).out for m in pair
        }
    assert len(ids) == 2


def test_somebodys_container_and_a_dead_one_of_ours(machine: Machine) -> None:
    with fault(machine.folder, "node1", "container/foreign", "2,3 7200 somebody"):
        shown = machine.docker(
            "inspect", "--format", "{{.Config.User}} {{.Config.Image}} {{.State.Status}}", "train-job"
        ).out
        assert shown == f"somebody {IMAGE.replace('0.18.0', '0.13.0')} running\n"
        assert "2 hours ago" in machine.docker("ps").out
        info = parse_info(machine.ok("npu-smi info"))
        assert [(p.npu, p.chip, p.memory_mb) for p in info.processes] == [(1, 0, 43266), (1, 1, 43266)]
        pid = info.processes[0].pid
        container = machine.docker("inspect", "-f", "{{.Id}} {{.State.Pid}}", "train-job").out.split()
        assert (container[1], container[0] in machine.ok(f"cat /proc/{pid}/cgroup")) == (str(pid), True)
    assert machine.docker("ps", "-a", "-q").out == ""
    assert parse_info(machine.ok("npu-smi info")).processes == ()
    with fault(machine.folder, "node1", "container/dead", "prod"):
        ours = machine.docker(
            "ps", "-a", "--filter", "label=qnext.cluster=prod", "--format", "{{.Names}} {{.State}}"
        ).out
        assert ours == "qnext-prod-old exited\n"
    assert machine.docker("ps", "-a", "-q").out == ""
