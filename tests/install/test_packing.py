"""What a bundle is gathered from: archives of images, and an inventory without secrets."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from provision.errors import ConfigError, UsageError
from provision.install import packing
from tests.install.test_bundle import CONTENTS

CONFIG = json.dumps({"architecture": "arm64", "os": "linux"}).encode()
CONFIG_ID = hashlib.sha256(CONFIG).hexdigest()
FAKE = """\
#!/bin/sh
# An engine that has one image, of {platform}, under {ref}; what it pulls it has afterwards.
echo "docker $*" >>"$0.log"
case $1 in
image)
  for last; do :; done
  [ "$last" = "{ref}" ] || grep -qx "$last" "$0.pulled" 2>/dev/null || {{ echo 'No such image' >&2; exit 1; }}
  case $4 in
  *Os*) echo {platform} ;;
  *Id*) echo sha256:1234 ;;
  *Size*) echo 4096 ;;
  *RepoDigests*) echo '["mirror.example/image@sha256:aa"]' ;;
  esac ;;
pull) case $4 in mirror*) echo "$4" >>"$0.pulled" ;; *) echo 'dial tcp: no route' >&2; exit 1 ;; esac ;;
save) echo "an archive of $2" ;;
esac
"""


def engine(folder: Path, ref: str, platform: str) -> Path:
    program = folder / "docker"
    program.write_text(FAKE.format(ref=ref, platform=platform))
    program.chmod(0o755)
    return program


def saved(
    folder: Path, ref: str, sources: list[str], platform: str = "linux/arm64"
) -> subprocess.CompletedProcess[str]:
    script = packing.saving_script(str(folder / "out"), "servers.tar", ref, sources, platform)
    shell = shutil.which("dash") or "sh"
    return subprocess.run(
        [shell, "-c", script], env={"PATH": f"{folder}:/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )


def test_an_image_that_is_there_is_saved_without_a_pull_and_once(tmp_path: Path) -> None:
    program = engine(tmp_path, "repo/image:1", "linux/arm64")
    logs = [saved(tmp_path, "repo/image:1", ["repo/image:1"]).stdout for _ in range(2)]
    first, again = (packing.saved(log, ["mirror.example/image"]) for log in logs)
    assert first == again
    log = Path(f"{program}.log").read_text()
    assert "docker pull" not in log
    assert log.count("docker save") == 1
    archive = (tmp_path / "out/servers.tar").read_bytes()
    assert archive == b"an archive of repo/image:1\n"
    assert (again.size, again.sha256) == (len(archive), hashlib.sha256(archive).hexdigest())
    assert (again.id, again.platform, again.unpacked, again.digest) == ("sha256:1234", "linux/arm64", 4096, "sha256:aa")


def test_one_that_is_not_there_is_pulled_for_the_platform_from_who_has_it(tmp_path: Path) -> None:
    program = engine(tmp_path, "other", "linux/arm64")
    done = saved(tmp_path, "", ["quay.example/image:1", "mirror.example/image:1"])
    assert done.returncode == 0, done.stderr
    log = Path(f"{program}.log").read_text()
    assert "docker pull --platform linux/arm64 quay.example/image:1" in log
    assert "docker save mirror.example/image:1" in log


def test_a_pull_for_another_machine_gives_the_name_back(tmp_path: Path) -> None:
    program = engine(tmp_path, "mirror.example/image:1", "linux/amd64")
    program.write_text(program.read_text().replace("save) ", "tag) ;;\nsave) "))
    saved(tmp_path, "mirror.example/image:1", ["mirror.example/image:1"])
    assert "docker tag sha256:1234 mirror.example/image:1" in Path(f"{program}.log").read_text()


def test_none_that_answers_and_one_of_another_platform_are_errors(tmp_path: Path) -> None:
    engine(tmp_path, "other", "linux/arm64")
    assert saved(tmp_path, "", ["quay.example/image:1"]).returncode == 1
    done = saved(tmp_path, "", ["mirror.example/image:1"], platform="linux/amd64")
    assert done.returncode == 1
    assert "is an image for linux/arm64, not for linux/amd64" in done.stdout
    assert not (tmp_path / "out/servers.tar").exists()


SKOPEO = """\
#!/bin/sh
echo "skopeo $*" >>"$0.log"
case "$1 $*" in
inspect*quay*) echo 'manifest unknown' >&2; exit 1 ;;
inspect*) printf '{}' ;;
copy*) for last; do :; done; echo layers >"${last#docker-archive:}" ;;
esac
"""
RAW = hashlib.sha256(b"{}").hexdigest()


def test_skopeo_copies_by_the_digest_that_was_asked_for_and_once(tmp_path: Path) -> None:
    program = tmp_path / "skopeo"
    program.write_text(SKOPEO)
    program.chmod(0o755)
    sources = ["quay.example/image:1", "mirror.example:5000/image:1"]
    script = packing.copying_script(str(tmp_path / "out"), "servers.tar", sources, "linux/arm64")
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    shell = shutil.which("dash") or "sh"
    logs = [
        subprocess.run([shell, "-c", script], env=env, capture_output=True, text=True, check=True).stdout for _ in "12"
    ]
    first, again = (packing.saved(log, ["mirror.example:5000/image"]) for log in logs)
    assert first == again
    assert (first.digest, first.platform, first.size) == (f"sha256:{RAW}", "linux/arm64", 7)
    copies = [line for line in Path(f"{program}.log").read_text().splitlines() if " copy " in line]
    assert copies == [
        "skopeo copy --override-os linux --override-arch arm64 "
        f"docker://mirror.example:5000/image@sha256:{RAW} docker-archive:servers.tar.part"
    ]


@pytest.mark.parametrize("log", ["", "== id sha256:1\n", "saved 12\nthe daemon died\n"])
def test_a_log_that_does_not_say_all_is_an_error(log: str) -> None:
    with pytest.raises(ConfigError, match="did not say"):
        packing.saved(log, [])


def test_the_digest_is_that_of_the_first_repository() -> None:
    digests = ("mirror/a@sha256:1", "quay.io/a@sha256:2")
    assert packing.digest_in(digests, ["quay.io/a", "mirror/a"]) == "sha256:2"
    assert packing.digest_in(digests, ["elsewhere/a"]) == ""


# ---- what an archive says of itself


def archive(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return path


def test_an_archive_of_docker_tells_its_ids_and_platform(tmp_path: Path) -> None:
    manifest = json.dumps([{"Config": f"{CONFIG_ID}.json", "RepoTags": None, "Layers": []}]).encode()
    old = archive(tmp_path / "old.tar", {"manifest.json": manifest, f"{CONFIG_ID}.json": CONFIG})
    assert packing.archive_ids(old) == ((f"sha256:{CONFIG_ID}",), "linux/arm64")
    blob = f"blobs/sha256/{CONFIG_ID}"
    index = json.dumps({"manifests": [{"digest": "sha256:beef"}]}).encode()
    layout = {"manifest.json": json.dumps([{"Config": blob}]).encode(), blob: CONFIG, "index.json": index}
    new = archive(tmp_path / "new.tar", layout)
    assert packing.archive_ids(new) == ((f"sha256:{CONFIG_ID}", "sha256:beef"), "linux/arm64")


@pytest.mark.parametrize("files", [{}, {"manifest.json": b"[]"}, {"manifest.json": b'[{"Config": "none.json"}]'}])
def test_an_archive_of_another_form_tells_nothing(tmp_path: Path, files: dict[str, bytes]) -> None:
    assert packing.archive_ids(archive(tmp_path / "x.tar", files)) == ((), "")
    (tmp_path / "text").write_text('{"rehearsal-images": []}')
    assert packing.archive_ids(tmp_path / "text") == ((), "")


# ---- the inventory


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("all: {vars: {ansible_user: root, ansible_ssh_private_key_file: ~/.ssh/id}}", []),
        ("all: {vars: {ansible_password: hunter2}}", ["ansible_password"]),
        ("all: {vars: {ansible_become_pass: 12345}}", ["ansible_become_pass"]),
        ("all: {vars: {ansible_become_password: {env: PASSWORD}}}", []),
        ("all: {vars: {ansible_password: \"{{ lookup('env', 'X') }}\"}}", []),
        ("all: {vars: {qnext: {serve: {api_key: {file: ~/key}}}}}", []),
        ("all: {vars: {qnext: {serve: {api_key: sk-123}}}}", ["api_key"]),
        ("all: {vars: {qnext: {serve: {secret_env: {HF: hf_x, OK: {command: pass hf}}}}}}", ["HF"]),
        ("all: {vars: {qnext: {install: {source: {index: 'https://me:pw@pypi.example/simple'}}}}}", ["index"]),
        ("all: {vars: {qnext: {install: {source: {extra_indexes: ['https://me:pw@x/simple']}}}}}", ["extra_indexes"]),
        ("all: {vars: {qnext: {model: {source: {token: hf_abc}}}}}", ["token"]),
        ("all: {vars: {qnext: {install: {source: {index: 'https://glpat-1@x/simple'}}}}}", ["index"]),
        ("all: {vars: {qnext: {serve: {env: {AWS_SECRET_ACCESS_KEY: abc}}}}}", ["AWS_SECRET_ACCESS_KEY"]),
        ("all: {vars: {qnext: {install: {source: {env: {HTTPS_PROXY: 'me:pw@proxy:3128'}}}}}}", ["HTTPS_PROXY"]),
        ("all: {vars: {api-key: sk-1}}", ["api-key"]),
        ("all: {vars: {x: 'ssh://git@host/a.git', image: 'vllm:1@sha256:ab', p: 'mail@host'}}", []),
        ("all: {vars: {max_tokens: 5, tokenizer: /data/t, proxy: 'http://proxy:3128'}}", []),
    ],
)
def test_secrets_that_stand_as_they_are(tmp_path: Path, text: str, found: list[str]) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(text)
    places = packing.open_secrets(path)
    assert [place.split()[-1] for place in places] == found
    assert all(place.startswith(f"{path}:1:") for place in places)


def test_the_variables_beside_an_inventory_belong_to_it(tmp_path: Path) -> None:
    for name in ("cluster.yaml", "group_vars/all/one.yml", "host_vars/node1.yml", "host_vars/.swp", "other.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = packing.inventory_files(tmp_path / "cluster.yaml")
    assert sorted(found) == ["cluster.yaml", "group_vars/all/one.yml", "host_vars/node1.yml"]


# ---- writing


def test_what_cannot_be_written_has_no_name_and_a_remedy(tmp_path: Path) -> None:
    part = tmp_path / "work/images/servers.tar"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x")
    given = packing.parts(tmp_path / "work", {})
    with pytest.raises(UsageError) as caught:
        packing.write_tar(tmp_path / "no folder/prod.tar", CONTENTS, given)
    assert "what was gathered is kept" in caught.value.hint
    part.unlink()
    with pytest.raises(OSError, match="No such file"):
        packing.write_tar(tmp_path / "prod.tar", CONTENTS, given)
    assert not (tmp_path / "prod.tar").exists()
