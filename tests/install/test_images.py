"""Images as arithmetic: sources, digests and progress; and the scripts, run by a real sh with a docker on PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from provision.install import images
from provision.install.images import Asked, Layers, Progress, Wanted
from provision.inventory.model import Install

ONE, TWO = "one.example/a", "two.example/b"
D1, D2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
SHELLS = [shell for shell in ("dash", "bash") if shutil.which(shell)]


@pytest.mark.parametrize(
    ("install", "expected"),
    [
        (
            {"image": "quay.io/a/b:v1", "mirrors": ["m.example/a/b/", "quay.io/a/b"]},
            Wanted("quay.io/a/b:v1", "v1", "", ("quay.io/a/b", "m.example/a/b")),
        ),
        (
            {"image": f"quay.io/a/b:v1@{D1}", "mirror_order": "race", "pull_retries": 0},
            Wanted(f"quay.io/a/b:sha256-{'1' * 64}", "v1", D1, ("quay.io/a/b",), race=True, retries=0),
        ),
        (
            {"image": f"localhost:5000/b@{D1}"},
            Wanted(f"localhost:5000/b:sha256-{'1' * 64}", "", D1, ("localhost:5000/b",)),
        ),
        ({"image": "localhost:5000/b", "engine": "podman"},
         Wanted("localhost:5000/b", "latest", "", ("localhost:5000/b",), api=False)),
    ],
)  # fmt: skip
def test_what_the_inventory_wants(install: dict[str, object], expected: Wanted) -> None:
    assert images.servers(Install.model_validate(install)) == expected


def test_another_image_comes_from_its_own_repository_alone() -> None:
    install = Install(image="quay.io/a/b:v1", mirrors=("m.example/a/b",), pull_retries=1)
    assert images.other("nginx:1.27", install) == Wanted("nginx:1.27", "1.27", "", ("nginx",), retries=1)
    assert images.other(f"nginx@{D1}", install).digest == D1


@pytest.mark.parametrize(
    ("held", "digest"),
    [
        ([], ""),
        ([[f"{ONE}@{D1}"], [f"{TWO}@{D1}", f"else/x@{D2}"]], D1),
        ([[f"{ONE}@{D1}"], [f"{ONE}@{D2}"]], ""),
        ([[f"{ONE}@{D1}", f"{TWO}@{D2}"]], ""),
        ([[f"else/x@{D2}"]], ""),
        ([[]], ""),
        ([[], [f"{ONE}@{D1}"]], D1),
    ],
)
def test_the_digest_that_nodes_hold(held: list[list[str]], digest: str) -> None:
    assert images.known_digest(Wanted("r:1", "1", "", (ONE, TWO)), held) == digest


def test_names_of_jobs_stay_names() -> None:
    assert images.job_name("quay.io/a/b:v1") == "pull-quay.io-a-b-v1"
    long = images.job_name(f"{'very-long.example/' * 5}b:sha256-{'1' * 64}")
    assert len(long) <= 100
    assert long.endswith("1" * 64)


# ---- the scripts, with a docker that answers as the real one does

DOCKER = r"""#!/bin/sh
# "system dial-stdio" reads a request to its empty line and answers by what lies in the folder api; "pull" by pull.
cd "$(dirname "$0")" || exit
echo "$*" >>calls
case "$1 $2" in
"system dial-stdio")
  [ ! -e no-api ] || { echo "docker: 'dial-stdio' is not a docker command." >&2; exit 1; }
  IFS=' ' read -r method path version
  while IFS= read -r line && [ "$line" != "$(printf '\r')" ]; do
    case $line in X-Registry-Auth:*) echo "$line" >>auth ;; esac
  done
  name=$(echo "$method $path" | tr '/?&=:' '_____')
  echo "$method $path" >>asked
  if [ -e "api/$name" ]; then cat "api/$name"; else
    printf 'HTTP/1.0 404 Not Found\r\n\r\n{"message":"manifest unknown: manifest unknown"}\n'; fi ;;
pull*) grep -qxF "$2" pull && echo "Status: Downloaded newer image for $2" ||
  { echo "Error response from daemon: Get \"https://$2\": dial tcp: i/o timeout" >&2; exit 1; } ;;
"image inspect") cat held ;;
esac
"""


@dataclass
class Desk:
    """A folder with a docker in it."""

    folder: Path
    shell: str

    def asked_for(self, ref: str, digest: str) -> None:
        """The registry tells this digest for a reference."""
        told = {"Descriptor": {"mediaType": "x", "digest": digest, "size": 1}, "Platforms": []}
        body = json.dumps(told, separators=(",", ":"))
        self._answer(f"GET /distribution/{ref}/json", f"HTTP/1.0 200 OK\r\n\r\n{body}\n")

    def gives(self, repository: str, tag: str, *lines: Mapping[str, object], status: str = "200 OK") -> None:
        """The daemon's answer to a pull."""
        text = "".join(json.dumps(line, separators=(",", ":")) + "\r\n" for line in lines)
        request = f"POST /images/create?fromImage={repository}&tag={tag}"
        self._answer(request, f"HTTP/1.0 {status}\r\nApi-Version: 1.41\r\n\r\n{text}")

    def _answer(self, request: str, text: str) -> None:
        name = request.translate(str.maketrans("/?&=:", "_____"))
        (self.folder / "api" / name).write_bytes(text.encode())

    def run(self, script: str, **environment: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder}:{os.environ['PATH']}"
        own = {"PATH": path, "HOME": str(self.folder), **environment}
        return subprocess.run([self.shell, "-c", script], env=own, capture_output=True, text=True, check=False)

    def told(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(params=SHELLS)
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    (tmp_path / "api").mkdir()
    (tmp_path / "pull").touch()
    (tmp_path / "held").write_text(f'["{ONE}@{D1}","{TWO}@{D1}"]\n')
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    return Desk(tmp_path, request.param)


WANTED = Wanted("r:1", "1", D1, (ONE, TWO), retries=0)
DONE = {"status": "Status: Downloaded newer image for x"}


def layer(status: str, current: int = 0, total: int = 0, name: str = "0123456789ab") -> dict[str, object]:
    detail = {"current": current, "total": total} if total else {}
    return {"status": status, "progressDetail": detail, "progress": "[\u003e ]", "id": name}


def test_the_first_that_answers_tells_the_digest(desk: Desk) -> None:
    desk.asked_for(f"{TWO}:1", D1)

    done = desk.run(images.ask_script(replace(WANTED, digest="")))

    refused = ((ONE, "manifest unknown: manifest unknown"),)
    assert images.asked(done.stdout) == Asked(TWO, D1, refused), done.stderr
    (desk.folder / "no-api").touch()
    assert images.asked(desk.run(images.ask_script(WANTED)).stdout) == Asked(able=False)


def test_a_pull_goes_on_to_the_source_that_has_it(desk: Desk) -> None:
    desk.gives(ONE, D1, {"message": f"manifest for {ONE}@{D1} not found: manifest unknown"}, status="404 Not Found")
    desk.asked_for(f"{ONE}:1", D2)
    samples = [layer("Downloading", n << 20, 400 << 20) for n in range(1, 401)]
    desk.gives(TWO, D1, layer("Pulling fs layer"), *samples, layer("Download complete"), layer("Pull complete"), DONE)

    done = desk.run(images.pull_script(WANTED))

    assert done.returncode == 0, done.stdout + done.stderr
    assert images.refusals(done.stdout) == ((ONE, f"serves {D2} as 1 instead of {D1}: refused"),)
    assert (images.source_of(done.stdout), images.digest_of(done.stdout)) == (TWO, D1)
    assert done.stdout.count(": Downloading") <= 21, "bytes are sampled: the log stays small"
    assert desk.told("calls")[-1] == f"tag {TWO}@{D1} r:1"


def test_what_may_pass_is_tried_again_and_all_causes_are_told(desk: Desk) -> None:
    error = {"errorDetail": {"message": "unexpected EOF"}, "error": "unexpected EOF"}
    desk.gives(
        ONE, D1, layer("Pulling fs layer"), layer("Retrying in 5 seconds"), layer("Retrying in 4 seconds"), error
    )

    done = desk.run(images.pull_script(replace(WANTED, retries=2), first_pause=0))

    assert done.returncode == 1
    assert done.stdout.count(f"pulling {ONE}") == 3
    assert done.stdout.count(f"pulling {TWO}") == 1, "no such image: not asked again"
    assert done.stdout.count("Retrying") == 3
    assert images.failures(done.stdout) == ((ONE, "unexpected EOF"), (TWO, "manifest unknown: manifest unknown"))


def test_a_full_disk_ends_it_at_once(desk: Desk) -> None:
    full = "failed to register layer: write /x: no space left on device"
    desk.gives(ONE, D1, layer("Pulling fs layer"), {"errorDetail": {"message": full}, "error": full})

    done = desk.run(images.pull_script(replace(WANTED, retries=5), first_pause=0))

    assert images.failures(done.stdout) == ((ONE, full), (TWO, "not asked"))
    assert len(desk.told("asked")) == 1


def test_content_under_another_digest_gets_no_name(desk: Desk) -> None:
    desk.gives(ONE, D1, DONE)
    (desk.folder / "held").write_text(f'["{ONE}@{D2}"]\n')

    done = desk.run(images.pull_script(replace(WANTED, sources=(ONE,))))

    assert done.returncode == 1
    assert f"{D1} was asked for: refused" in images.failures(done.stdout)[0][1]
    assert not any(call.startswith("tag") for call in desk.told("calls"))


def test_an_answer_that_breaks_off_is_no_success(desk: Desk) -> None:
    desk.gives(ONE, D1, layer("Pulling fs layer"), layer("Downloading", 1, 9))
    assert images.failures(desk.run(images.pull_script(WANTED)).stdout)[0] == (
        ONE,
        "the answer of the daemon broke off",
    )


def test_without_that_way_docker_pull_itself_does_it(desk: Desk) -> None:
    (desk.folder / "no-api").touch()
    (desk.folder / "pull").write_text(f"{TWO}:1\n")

    done = desk.run(images.pull_script(replace(WANTED, digest="")))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "i/o timeout" in images.refusals(done.stdout)[0][1]
    assert images.digest_of(done.stdout) == D1, "it is what docker holds that tells the digest"


def test_the_race_is_won_by_who_answers(desk: Desk) -> None:
    desk.asked_for(f"{TWO}@{D1}", D1)
    desk.gives(TWO, D1, DONE)
    desk.gives(ONE, D1, DONE)

    done = desk.run(images.pull_script(replace(WANTED, race=True)))

    assert done.returncode == 0, done.stderr
    assert f"pulling {ONE}" not in done.stdout


def test_the_race_does_not_wait_for_the_slowest(desk: Desk) -> None:
    desk.asked_for(f"{TWO}@{D1}", D1)
    desk.gives(TWO, D1, DONE)
    docker = desk.folder / "docker"
    slow = "  case $path in *one.example*json) exec sleep 3 ;; esac\n  name=$(echo"
    docker.write_text(docker.read_text().replace("  name=$(echo", slow))
    before = time.monotonic()

    done = desk.run(images.pull_script(replace(WANTED, race=True)))

    assert done.returncode == 0, done.stderr
    assert f"pulling {ONE}" not in done.stdout
    assert time.monotonic() - before < 2.5


LOGIN = {"auths": {"one.example": {"auth": "bWU6cGEic1xz"}, "https://index.docker.io/v1/": {"auth": "YTpi"}}}


@pytest.mark.parametrize(
    ("config", "repository", "user"),
    [
        (LOGIN, ONE, {"username": "me", "password": 'pa"s\\s', "serveraddress": "one.example"}),
        (LOGIN, "library/nginx", {"username": "a", "password": "b", "serveraddress": "https://index.docker.io/v1/"}),
        (LOGIN, TWO, None),
        (None, ONE, None),
    ],
)
def test_a_kept_login_goes_along(desk: Desk, config: object, repository: str, user: Mapping[str, str] | None) -> None:
    import base64

    if config:
        (desk.folder / ".docker").mkdir()
        (desk.folder / ".docker/config.json").write_text(json.dumps(config, indent="\t"))
    done = desk.run(images.ask_script(replace(WANTED, sources=(repository,))))

    sent = [json.loads(base64.urlsafe_b64decode(line.split()[1])) for line in desk.told("auth")]
    assert sent == ([user] if user else []), done.stderr
    assert desk.told("asked"), done.stdout


@pytest.mark.parametrize(
    "config",
    [
        {"auths": {"one.example": {}}, "credsStore": "pass"},
        {"credHelpers": {"one.example": "ecr-login"}},
        {"auths": {"one.example": {"auth": "YTpi", "identitytoken": "t"}}},
    ],
)
def test_what_only_dockers_client_knows_is_left_to_it(desk: Desk, config: object) -> None:
    (desk.folder / ".docker").mkdir()
    (desk.folder / ".docker/config.json").write_text(json.dumps(config, indent="\t"))
    (desk.folder / "pull").write_text(f"{ONE}@{D1}\n")

    assert not images.asked(desk.run(images.ask_script(replace(WANTED, sources=(ONE,)))).stdout).able
    assert desk.run(images.pull_script(WANTED)).returncode == 0
    assert not desk.told("asked")


# ---- progress

A, B = "a" * 12, "b" * 12


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", Layers(exact=True)),
        (f"{A}: Already exists\n{B}: Downloading 5 of 20\n", Layers(2, 1, 0, 5, 20, True)),
        (f"{A}: Downloading 5 of 20\n{A}: Download complete\n{B}: Waiting\n", Layers(2, 0, 1, 20, 20, False)),
        (f"{A}: Downloading 5 of 20\n{A}: Extracting 3 of 20\n", Layers(1, 0, 1, 20, 20, True)),
        (f"{A}: Pull complete\n{B}: Download complete\n", Layers(2, 1, 1, 0, 0, False)),
    ],
)
def test_layers(log: str, expected: Layers) -> None:
    assert images.layers(log) == expected


def test_progress_tells_layers_bytes_rate_and_what_is_left() -> None:
    moments = iter((0.0, 10.0, 20.0))
    progress = Progress(now=lambda: next(moments))
    assert progress("").text == "starting"
    assert progress(f"pulling {ONE}@{D1}\n").text == f"asking {ONE}"
    log = f"pulling {ONE}@{D1}\n{A}: Already exists\n{B}: Downloading 1000000000 of 15300000000\n"
    assert progress(log).text == f"1 of 2 layers, 1.0 of 15.3 GB, from {ONE}"
    shown = progress(log + f"{B}: Downloading 2000000000 of 15300000000\n")
    assert shown.text == f"1 of 2 layers, 2.0 of 15.3 GB, 100 MB/s, 2 min left, from {ONE}"
    assert shown.fraction == pytest.approx((2 * 2 / 15.3 + 0.5) / 3)
    done = progress(log + f"{B}: Extracting 5 of 15300000000\n")
    assert done.text == f"1 of 2 layers, 15.3 of 15.3 GB, unpacking, from {ONE}"
    assert progress(log + "waiting 6 s, then attempt 2 of 4\n").text == "waiting 6 s, then attempt 2 of 4"


def test_progress_without_bytes_counts_layers() -> None:
    shown = Progress()(f"pulling {ONE}:1\n{A}: Pull complete\n{B}: Download complete\n")
    assert (shown.fraction, shown.text) == (0.75, f"1 of 2 layers, from {ONE}:1")
