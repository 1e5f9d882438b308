"""Pasted commands as recipes: docker run, exports, scripts for several nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import ConfigError
from provision.serve.importing.docker import braces
from provision.serve.importing.recipe import Notes, groups_of

from .recipes import HEAD, WORKER, pasted, refusal

DRIVER = """\
  --device /dev/davinci_manager --device /dev/devmm_svm --device /dev/hisi_hdc \\
  -v /usr/local/dcmi:/usr/local/dcmi -v /usr/local/bin/npu-smi:/usr/local/bin/npu-smi \\
  -v /usr/local/Ascend/driver/lib64/:/usr/local/Ascend/driver/lib64/ \\
  -v /usr/local/Ascend/driver/version.info:/usr/local/Ascend/driver/version.info \\
  -v /etc/ascend_install.info:/etc/ascend_install.info \\
"""
DOCKER = (
    "export IMAGE=quay.io/ascend/vllm-ascend:v0.18.0-a3\n"
    "docker run -itd --rm --name my-vllm --net=host --shm-size=500G --privileged \\\n"
    + DRIVER
    + "  --device=/dev/davinci{0..3} -e A=1 --env B='two words' -v /data/weights:/models \\\n"
    + "  $IMAGE bash -c 'export C=3; vllm serve /models/Some-Model --port 9000 --tensor-parallel-size 4'\n"
)


def test_docker_run() -> None:
    notes = Notes()
    (server,) = pasted(DOCKER, notes=notes).servers
    assert server.env == {"A": "1", "B": "two words", "C": "3"}
    assert server.command.model == "/models/Some-Model"
    assert server.command.text("port") == "9000"
    box = server.container
    assert (box.image, box.name, box.privileged) == ("quay.io/ascend/vllm-ascend:v0.18.0-a3", "my-vllm", True)
    assert (box.shm_size, box.devices, box.mounts) == ("500g", (0, 1, 2, 3), {"/models": "/data/weights"})
    assert [note.text for note in notes.found if note.warning] == []


def test_docker_run_then_serve_inside() -> None:
    docker = f"docker run --rm -v /root/.cache:/root/.cache \\\n{DRIVER}  -it img:1 bash\n"
    text = docker + "export X=1\nvllm serve Qwen/M -tp 2\n"
    (server,) = pasted(text).servers
    assert (server.env, server.container.image, server.command.number("tensor-parallel-size")) == (
        {"X": "1"},
        "img:1",
        2,
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--ulimit nofile=1024", "--ulimit nofile=1024 has no place"),
        ("--cap-add SYS_PTRACE", "--cap-add SYS_PTRACE has no place"),
        ("-p 8080:8000", "the inner port is the one to ask"),
        ("--network bridge", "the host's network"),
        ("-v /a:/b", "-v /a:/b has no place"),
        ("--mount type=bind,source=/a,target=/b", "-v /a:/b has no place"),
        ("--device /dev/fuse", "--device /dev/fuse has no place"),
        ("--shm-size lots", "--shm-size lots is not understood"),
        ("--env-file missing.env", "--env-file missing.env can't be read"),
        ("-e FROM_OUTSIDE", "-e FROM_OUTSIDE takes the value of the shell"),
        ("--strange=1", "--strange 1 has no place"),
    ],
)
def test_what_has_no_place_is_told(words: str, told: str) -> None:
    notes = Notes()
    (server,) = pasted(f"docker run {words} img:1 vllm serve /data/m\n", notes=notes).servers
    assert server.container.image == "img:1"
    (note,) = notes.found
    assert told in note.text
    assert str(note).startswith("node0.sh:1:1: ")


def test_environment_files_and_the_shell() -> None:
    text = "export T=5\ndocker run --env-file e.env -e T img:1 vllm serve /data/m\n"
    (server,) = pasted(text, files={"e.env": "# no\nA=1\n\nB=x y\n"}).servers
    assert server.env == {"A": "1", "B": "x y", "T": "5"}


def test_two_nodes_in_one_paste_or_two_files() -> None:
    for recipe in (pasted(HEAD, WORKER), pasted(HEAD + WORKER)):
        head, worker = recipe.servers
        assert (head.headless, worker.headless) == (False, True)
        assert recipe.addresses == ("10.0.0.1", "10.0.0.2")
        (group,) = groups_of(recipe)
        assert (group.topology, group.data_parallel) == ("data-parallel", 4)
        assert worker.env == {"HCCL_IF_IP": "10.0.0.2", "GLOO_SOCKET_IFNAME": "eth1", "HCCL_BUFFSIZE": "200"}


def test_placeholders_are_no_addresses() -> None:
    texts = [text.replace("10.0.0.1", "xxxx").replace("10.0.0.2", "xxxx") for text in (HEAD, WORKER)]
    recipe = pasted(*texts)
    assert recipe.addresses == ()
    assert len(groups_of(recipe)) == 1


def test_lines_that_say_something_else_are_told() -> None:
    notes = Notes()
    text = "#!/bin/bash\nset -e\nsysctl -w a=1\nA=$(hostname) B=1 vllm serve /data/m --port 1 > log 2>&1 &\n"
    (server,) = pasted(text, notes=notes).servers
    assert server.env == {"B": "1"}
    assert [o.name for o in server.command.options] == ["port"]
    assert server.command.text("port") == "1"
    assert [note.text for note in notes.found] == [
        "this line is left out: sysctl -w a=1",
        "A=$(hostname) needs a shell: left out",
    ]


def test_a_secret_in_a_line_that_is_left_out_is_not_shown() -> None:
    notes = Notes()
    pasted("huggingface-cli login --token hf_secret123\nvllm serve /data/m\n", notes=notes)
    assert "hf_secret123" not in str(notes.found)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "node0.sh:1:1: no vllm serve is started here"),
        ("docker run\n", "node0.sh:1:1: docker run without an image"),
        ("\nvllm serve --port 1\n", "node0.sh:2:1: no model is named"),
    ],
)
def test_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        pasted(text)
    assert str(caught.value) == says
    assert caught.value.hint


def test_braces() -> None:
    assert list(braces("/dev/davinci{0..2}")) == ["/dev/davinci0", "/dev/davinci1", "/dev/davinci2"]
    assert list(braces("a{1,x}b")) == ["a1b", "axb"]
    assert list(braces("{}")) == ["{}"]


@given(st.text(alphabet="vllmserv dockrun-'\"\\\n$(){}|&;<>=/# \t:0e", max_size=60))
def test_any_paste_is_read_or_refused(text: str) -> None:
    error = refusal(lambda: pasted("vllm serve /data/m " + text))
    assert error is None or error.where is not None
