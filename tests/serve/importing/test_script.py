"""Pasted commands as recipes: docker run, exports, scripts for several nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.errors import ConfigError
from provision.serve.importing.docker import braces
from provision.serve.importing.inventory import RELEASE
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


@pytest.mark.parametrize(
    "line",
    [
        "docker login -u me -p hunter2 quay.io",
        "curl -H 'Authorization: Bearer hunter2' http://10.0.0.1",
        "git clone https://me:hunter2@example.com/x",
        "mysql --password hunter2",
        "docker run --label token=hunter2 img:1",
    ],
)
def test_no_secret_of_any_kind_is_shown(line: str) -> None:
    notes = Notes()
    pasted(f"{line}\nvllm serve /data/m\n", notes=notes)
    assert notes.found
    assert "hunter2" not in str(notes.found)


def test_a_long_text_that_is_no_command_is_told_in_short() -> None:
    notes = Notes()
    pasted("".join(f"say {n}\n" for n in range(3000)) + "vllm serve /data/m\n", notes=notes)
    told = [note.text for note in notes.found]
    assert len(told) == 21
    assert told[-1] == "2980 more lines of node0.sh are left out"


def test_braces_that_stand_for_millions_end() -> None:
    notes = Notes()
    (server,) = pasted("docker run --device /dev/davinci{0..999}{0..9999} img:1 vllm serve /m\n", notes=notes).servers
    assert len(server.container.devices) <= 256


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"node0.sh:2:14: the control character #x0000 is not allowed"):
        pasted("A=1\nvllm serve /m\0x\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("vllm serve /m\u00a0--port\u00a08000\n", "no-break space (U+00A0)"),
        ("vllm serve /m --served-model-name \u201cm\u201d\n", "left double quotation mark (U+201C)"),
        ("vllm serve /m \u2013port 8000\n", "en dash (U+2013)"),
    ],
)
def test_characters_of_web_pages_are_told(text: str, told: str) -> None:
    notes = Notes()
    pasted(text, notes=notes)
    assert told in notes.found[0].text


def test_options_that_only_a_shell_can_tell_are_told_and_the_image_is_still_found() -> None:
    notes = Notes()
    text = "docker run $(for i in 0 1; do echo --device /dev/davinci$i; done) `cat o` -e A=1 img:1 vllm serve M"
    (server,) = pasted(text, notes=notes).servers
    assert (server.container.image, server.env, server.command.model) == ("img:1", {"A": "1"}, "M")
    assert next(note.text.partition(" $(")[0] for note in notes.found if note.warning) == "only a shell can tell"


def test_a_shell_in_a_container_is_where_the_next_lines_are_typed() -> None:
    notes = Notes()
    (server,) = pasted("docker run -d --name a img:1\ndocker exec -it a bash\nvllm serve M\n", notes=notes).servers
    assert server.container.image == "img:1"
    assert [note.text for note in notes.found if note.warning] == []


def test_the_release_that_upstreams_documents_leave_open() -> None:
    notes = Notes()
    text = "export IMAGE=quay.io/ascend/vllm-ascend:|vllm_ascend_version|-a3\ndocker run $IMAGE vllm serve M\n"
    (server,) = pasted(text, notes=notes).servers
    assert server.container.image == f"quay.io/ascend/vllm-ascend:{RELEASE}-a3"
    assert any("stands for a release" in note.text for note in notes.found)


def test_an_open_quote_is_told() -> None:
    notes = Notes()
    pasted("vllm serve M\nvllm serve 'N\n", notes=notes)
    assert any(str(note).endswith(":2:1: a quote that is opened here is never closed") for note in notes.found)


def test_a_shell_in_a_container_that_is_given_its_text() -> None:
    text = "docker run -d --name a -e A=1 img:1 sleep infinity\ndocker exec a bash -c 'vllm serve M -tp 2'\n"
    (server,) = pasted(text).servers
    assert (server.container.image, server.env) == ("img:1", {"A": "1"})
    assert server.command.number("tensor-parallel-size") == 2


@pytest.mark.parametrize(
    "inside",
    [
        "-e B=2 --env C=3 a vllm serve M",
        "-itd -eB=2 --env=C=3 a bash -c 'vllm serve M'",
        "-it -e B=2 -e C=3 a bash\nvllm serve M",
        "-e B=2 a env C=3 vllm serve M",
    ],
)
def test_what_an_exec_sets_is_the_servers(inside: str) -> None:
    notes = Notes()
    (server,) = pasted(
        f"docker run -d --name a -e A=1 img:1 sleep infinity\ndocker exec {inside}\n", notes=notes
    ).servers
    assert server.env == {"A": "1", "B": "2", "C": "3"}
    assert [note.text for note in notes.found if note.warning] == []


def test_what_an_exec_sets_is_not_the_next_ones() -> None:
    text = (
        "docker run -d --name a img:1 sleep infinity\ndocker exec -e B=2 a vllm serve M\ndocker exec a vllm serve N\n"
    )
    assert [server.env for server in pasted(text).servers] == [{"B": "2"}, {}]


def test_what_an_exec_cannot_hand_on_is_told() -> None:
    notes = Notes()
    text = "docker run -d --name a img:1\nX=1 docker exec -e Y -w /w a vllm serve M\ndocker exec a npu-smi info\n"
    (server,) = pasted(text, notes=notes).servers
    said = "\n".join(note.text for note in notes.found)
    assert server.env == {}
    for piece in (
        "X: set in the shell that runs docker",
        "-e Y takes the value",
        "--workdir /w has no place",
        "npu-smi",
    ):
        assert piece in said


def test_an_image_in_a_variable_that_nothing_sets() -> None:
    notes = Notes()
    (server,) = pasted("docker run $IMG vllm serve M\n", notes=notes).servers
    assert server.container.image == ""
    assert any("the image is not known: $IMG is set nowhere" in note.text for note in notes.found)
