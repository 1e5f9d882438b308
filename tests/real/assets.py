"""Build and keep what the real tier serves: a vLLM image in a registry's store, tiny models.

The image is assembled without a Docker daemon: debootstrap makes the root, pip fills it
with vLLM's CPU build, and three layers, their configuration and manifests are written
straight into the folder layout of docker-registry's `filesystem` driver. A later run starts
docker-registry over that folder and there is nothing to import or to push. What nodes see
is an ordinary registry and an ordinary image. The wheels are kept beside it: where no
container runs a server, pip installs the same vLLM from them into a venv.

Everything lies in `$XDG_CACHE_HOME/qnext-provision/real/<digest>` (default `~/.cache`),
where the digest covers the recipe: a changed recipe builds beside the old one. A build
happens under another name and is renamed when complete, under a lock, so that two runs
neither build twice nor see half of one.

    python -m tests.real.assets            build if needed, print the folder
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from .wheels import complete_cpu_build

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE / "image-requirements.txt"
MAKE_MODELS = HERE / "make_models.py"
PLUGIN = HERE / "cpu_plugin.py"
WHEELS = HERE / "wheels.py"

SITE = "usr/local/lib/python3.11/dist-packages"
"""Where the image's own Python looks first, so that no path file is needed."""

Say = Callable[[str], None]


class AssetsError(RuntimeError):
    """A build step failed; the message says which, with the end of its output."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides what is built, besides the files named in `digest`.

    Raise `version` when the steps themselves change.
    """

    version: int = 1
    suite: str = "bookworm"
    packages: tuple[str, ...] = (
        "ca-certificates",
        "curl",
        "iproute2",
        "libgomp1",
        "libnuma1",
        "procps",
        "python3",
        "python3-pip",
    )
    prune: tuple[str, ...] = (
        f"{SITE}/include",
        f"{SITE}/nixl_ep",
        f"{SITE}/nixl_ep_cu12",
        f"{SITE}/ray/dashboard/client",
        f"{SITE}/ray/jars",
        f"{SITE}/ray/rllib",
        f"{SITE}/torch/include",
        f"{SITE}/torch/test",
        "usr/share/doc",
        "usr/share/locale",
        "usr/share/man",
        "var/cache/apt",
        "var/lib/apt/lists",
    )
    layers: tuple[str, ...] = ("", f"{SITE}/torch", "usr/local")
    """Roots of the layers; a file belongs to the longest that holds it."""
    env: tuple[str, ...] = (
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG=C.UTF-8",
        "TORCHDYNAMO_DISABLE=1",  # without it and without g++: dead at the first token
        "VLLM_USE_AOT_COMPILE=0",  # else the warm-up fails, with dynamo off and without --enforce-eager
        "HF_HUB_OFFLINE=1",
        "VLLM_NO_USAGE_STATS=1",
        "DO_NOT_TRACK=1",
    )
    images: tuple[tuple[str, str, str], ...] = (
        ("ascend/vllm-ascend", "v0.18.0-a3", "amd64"),
        ("ascend/vllm-ascend", "v0.18.0", "amd64"),
        ("ascend/vllm-cpu", "v0.32.0", "amd64"),
        ("ascend/vllm-ascend", "v0.18.0-a3-wrong-arch", "arm64"),
    )
    """Repository, tag and the architecture that the configuration claims; one root for all."""
    build_tools: tuple[str, ...] = (
        "cmake==4.4.5",
        "pip==26.3",
        "setuptools-scm==10.3.4",
        "vcs-versioning==2.6.0",
        "wheel==0.48.0",
    )
    """What else a package index holds that packages are built from."""
    image_only: tuple[str, ...] = ("nixl-", "nixl_cu12-", "opencv_python_headless-", "ray-", "vllm_router-")
    """Beginnings of the wheels that a server in a venv does without, and which are not kept."""

    def digest(self) -> str:
        """Return 16 hex digits that change with anything that the build depends on."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode())
        for file in (REQUIREMENTS, MAKE_MODELS, PLUGIN, WHEELS):
            digest.update(file.read_bytes())
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Assets:
    """Where the finished things lie; all of it is to be read only."""

    folder: Path

    @property
    def registry(self) -> Path:
        """Return the root folder for docker-registry's `filesystem` driver."""
        return self.folder / "registry"

    @property
    def wheels(self) -> Path:
        """Return the folder of wheels from which pip installs `vllm==0.32.0+cpu`, without a network."""
        return self.folder / "wheels"

    @property
    def models(self) -> Mapping[str, Path]:
        """Return the model folders by name: `Qwen3-Next-Tiny` and `Qwen3-Tiny`."""
        return {path.name: path for path in sorted((self.folder / "models").iterdir())}

    @property
    def image_id(self) -> str:
        """Return what `docker image inspect --format {{.Id}}` prints for the amd64 images."""
        return (self.folder / "image-id").read_text().strip()


def cache_folder() -> Path:
    """Return the folder that holds finished builds, the lock, and running clusters' disks."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "qnext-provision" / "real"


def ensure(recipe: Recipe | None = None, say: Say | None = None) -> Assets:
    """Return the assets, building them first when this recipe was never built here.

    Takes about two minutes on two cores when cold (needs root, debootstrap and the package
    registries), and a few milliseconds when warm.
    """
    recipe = recipe or Recipe()
    say = say or tell
    base = cache_folder()
    base.mkdir(parents=True, exist_ok=True)
    final = base / recipe.digest()
    if final.is_dir():
        return Assets(final)
    with locked(base / "lock", say):
        if not final.is_dir():
            build(recipe, base, final, say)
    return Assets(final)


def build(recipe: Recipe, base: Path, final: Path, say: Say) -> None:
    """Build below `base` and rename to `final`; call with the lock held."""
    for leftover in base.glob("building-*"):
        say(f"removing {leftover.name}, left by a build that was interrupted")
        shutil.rmtree(leftover)
    work = Path(tempfile.mkdtemp(prefix="building-", dir=base))
    work.chmod(0o755)
    started = time.monotonic()
    try:
        root, out = work / "root", work / "out"
        out.mkdir()
        with step(say, f"Debian root ({recipe.suite})"):
            make_root(root, recipe, work)
        with step(say, "wheels of vLLM and its requirements"):
            download_wheels(root, recipe, work)
        with step(say, "vLLM and its requirements"):
            install_vllm(root, work)
            keep_wheels(work / "wheels", recipe, out / "wheels")
        with step(say, "tiny models"):
            make_models(root, out / "models")
        with step(say, "byte code, and pruning"):
            compile_all(root, work)
            for path in recipe.prune:
                shutil.rmtree(root / path, ignore_errors=True)
        with step(say, "image layers in the registry's store"):
            (out / "image-id").write_text(write_images(root, recipe, out / "registry"))
        out.rename(final)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"assets are ready after {time.monotonic() - started:.0f} s: {final}")


# --- the root ---------------------------------------------------------------------------


def make_root(root: Path, recipe: Recipe, work: Path) -> None:
    """Debootstrap a minimal Debian from the mirror that this machine's apt uses."""
    packages = ",".join(recipe.packages)
    command = ["debootstrap", "--variant=minbase", f"--include={packages}"]
    run([*command, recipe.suite, str(root), apt_mirror(recipe.suite)], work)


def apt_mirror(suite: str) -> str:
    """Return the first mirror with `suite` in apt's sources, in either of its two formats.

    Raises `AssetsError` when there is none: then this is another Debian, or none.
    """
    etc = Path("/etc/apt")
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*.list"))]
    for file in filter(Path.is_file, files):
        for line in file.read_text().splitlines():
            words = re.sub(r"\[[^]]*\]", "", line).split()
            if words[:1] == ["deb"] and words[2:3] == [suite]:
                return words[1]
    for file in sorted((etc / "sources.list.d").glob("*.sources")):
        for stanza in file.read_text().split("\n\n"):
            fields = dict(line.split(":", 1) for line in stanza.splitlines() if line[:1].isalpha() and ":" in line)
            if suite in fields.get("Suites", "").split():
                return fields["URIs"].split()[0]
    raise AssetsError(f"apt's sources name no mirror with {suite}; the real tier needs Debian 12")


def download_wheels(root: Path, recipe: Recipe, work: Path) -> None:
    """Fetch the pinned wheels with the image's own pip, run by the host's /usr/bin/python3.

    That interpreter is Debian 12's 3.11, like the image's, whichever Python runs the tests;
    and outside a chroot pip keeps this machine's configuration, certificates and wheels.
    """
    wanted = ["-r", str(REQUIREMENTS), *recipe.build_tools]
    pip(["download", "--no-deps", "--only-binary", ":all:", "--dest", str(work / "wheels"), *wanted], root, work)


def install_vllm(root: Path, work: Path) -> None:
    """Install all of image-requirements.txt from the wheels that are there."""
    target = work / "site"
    options = ["--no-deps", "--no-compile", "--no-warn-script-location", "--root-user-action=ignore"]
    options += ["--no-index", "--find-links", str(work / "wheels")]
    pip(["install", *options, "--target", str(target), "-r", str(REQUIREMENTS)], root, work)
    version = (target / "torch/version.py").read_text()
    if "+cpu" not in version:
        raise AssetsError("pip brought a torch that is not the CPU build: its +cpu wheel is missing here")
    site = root / SITE
    site.mkdir(parents=True, exist_ok=True)
    for script in (target / "bin").iterdir():
        script.rename(root / "usr/local/bin" / script.name)
    (target / "bin").rmdir()
    for entry in target.iterdir():
        entry.rename(site / entry.name)
    call_it_vllm(site)
    add_plugin(site)


def pip(arguments: Sequence[str], root: Path, work: Path) -> None:
    """Run the image's pip outside the image."""
    scratch = work / "tmp"
    scratch.mkdir(exist_ok=True)
    packages = root / "usr/lib/python3/dist-packages"
    environment = {"PYTHONPATH": str(packages), "TMPDIR": str(scratch)}
    run(["/usr/bin/python3", "-m", "pip", *arguments], work, environment)


def keep_wheels(source: Path, recipe: Recipe, output: Path) -> None:
    """Keep the wheels that a server in a venv needs, and complete them."""
    source.rename(output)
    for wheel in output.iterdir():
        if wheel.name.startswith(recipe.image_only):
            wheel.unlink()
        else:
            wheel.chmod(0o644)
    complete_cpu_build(output)


def call_it_vllm(site: Path) -> None:
    """Add metadata under the name `vllm`: vLLM itself looks for it, with `cpu` in the version."""
    [source] = site.glob("vllm_cpu-*.dist-info")
    version = source.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu"
    copy = site / f"vllm-{version}.dist-info"
    shutil.copytree(source, copy)
    (copy / "RECORD").unlink()  # one owner of the files is enough
    lines = (copy / "METADATA").read_text().split("\n")
    new = {"Name:": "Name: vllm", "Version:": f"Version: {version}"}
    (copy / "METADATA").write_text("\n".join(new.get(line.split(" ")[0], line) for line in lines))


def add_plugin(site: Path) -> None:
    """Install `cpu_plugin.py` as a plugin of vLLM's, which finds those by their entry points."""
    shutil.copy(PLUGIN, site / PLUGIN.name)
    metadata = site / f"{PLUGIN.stem}-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PLUGIN.stem}\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[vllm.general_plugins]\n{PLUGIN.stem} = {PLUGIN.stem}:register\n")


def compile_all(root: Path, work: Path) -> None:
    """Compile all modules, or else each container would do so at its start (10 s and more)."""
    newer_python = "py312"  # torch ships a file for Python 3.12 that 3.11 can't compile
    options = ["-q", "-j", "2", "-x", newer_python]
    chroot(root, ["python3", "-m", "compileall", *options, f"/{SITE}"], work)


def make_models(root: Path, output: Path) -> None:
    """Run `make_models.py` with the image's torch and transformers."""
    inside = root / "models-out"
    shutil.copy(MAKE_MODELS, root / MAKE_MODELS.name)
    try:
        chroot(root, ["python3", f"/{MAKE_MODELS.name}", "/models-out"], root.parent)
        shutil.move(inside, output)
    finally:
        (root / MAKE_MODELS.name).unlink()
        shutil.rmtree(inside, ignore_errors=True)
    for file in output.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)


# --- the image --------------------------------------------------------------------------


@dataclass(frozen=True)
class Layer:
    """One compressed layer: `digest` names the blob, `diff_id` the tar inside it."""

    digest: str
    diff_id: str
    size: int


def write_images(root: Path, recipe: Recipe, store: Path) -> str:
    """Write all images of the recipe into the registry store; return the amd64 image id."""
    blobs = store / "docker/registry/v2/blobs/sha256"
    blobs.mkdir(parents=True)
    with ThreadPoolExecutor(2) as pool:
        layers = list(pool.map(lambda top: write_layer(root, top, recipe, blobs), recipe.layers))
    ids: dict[str, str] = {}
    for repository, tag, architecture in recipe.images:
        config = put_blob(blobs, image_config(recipe, layers, architecture))
        ids[architecture] = config.digest
        manifest = put_blob(blobs, image_manifest(config, layers))
        links = [f"_layers/{part.digest.replace(':', '/')}" for part in (config, *layers)]
        links.append(f"_manifests/revisions/{manifest.digest.replace(':', '/')}")
        links.append(f"_manifests/tags/{tag}/index/{manifest.digest.replace(':', '/')}")
        for link in links:
            write_link(store, repository, link, "sha256:" + link.rsplit("/", 1)[1])
        write_link(store, repository, f"_manifests/tags/{tag}/current", manifest.digest)
    return ids["amd64"]


def write_layer(root: Path, top: str, recipe: Recipe, blobs: Path) -> Layer:
    """Pack one layer reproducibly; gzip -1 is the balance between packing and pulling."""
    inner = [other for other in recipe.layers if other != top and other.startswith(top)]
    command = ["tar", "-C", str(root), "--sort=name", "--numeric-owner", "--create"]
    command += [f"--exclude=./{path}" for path in inner]
    if not top:
        command += [f"--exclude=./{path}/*" for path in ("dev", "proc", "sys", "tmp", "run")]
    command.append(f"./{top}" if top else ".")
    packed = blobs / f"packing-{hashlib.sha256(top.encode()).hexdigest()[:8]}"
    plain = hashlib.sha256()
    with (
        packed.open("wb") as file,
        subprocess.Popen(command, stdout=subprocess.PIPE) as tar,
        subprocess.Popen(["gzip", "-1", "-n"], stdin=subprocess.PIPE, stdout=file) as gzip,
    ):
        assert tar.stdout is not None
        assert gzip.stdin is not None
        for chunk in chunks(tar.stdout):
            plain.update(chunk)
            gzip.stdin.write(chunk)
    if tar.returncode or gzip.returncode:
        raise AssetsError(f"packing the layer {top or '/'} failed")
    digest = hashlib.sha256()
    with packed.open("rb") as file:
        for chunk in chunks(file):
            digest.update(chunk)
    size = packed.stat().st_size
    keep_blob(blobs, packed, digest.hexdigest())
    return Layer(f"sha256:{digest.hexdigest()}", f"sha256:{plain.hexdigest()}", size)


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """Read a stream by the mebibyte."""
    while chunk := file.read(1 << 20):
        yield chunk


def image_config(recipe: Recipe, layers: Sequence[Layer], architecture: str) -> bytes:
    """Return the configuration, whose digest is the image id that Docker shows."""
    stamp = "2026-01-01T00:00:00Z"
    return as_json(
        {
            "architecture": architecture,
            "os": "linux",
            "created": stamp,
            "config": {
                "Env": list(recipe.env),
                "Cmd": ["/bin/bash"],
                "WorkingDir": "/workspace",
                "Labels": {"org.opencontainers.image.title": "vLLM's CPU build, for rehearsals"},
            },
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
            "history": [{"created": stamp, "created_by": "tests/real/assets.py"} for _ in layers],
        }
    )


def image_manifest(config: Layer, layers: Sequence[Layer]) -> bytes:
    """Return the manifest (schema 2) that a tag points at."""
    kind = "application/vnd.docker.{}"
    return as_json(
        {
            "schemaVersion": 2,
            "mediaType": kind.format("distribution.manifest.v2+json"),
            "config": {
                "mediaType": kind.format("container.image.v1+json"),
                "size": config.size,
                "digest": config.digest,
            },
            "layers": [
                {
                    "mediaType": kind.format("image.rootfs.diff.tar.gzip"),
                    "size": layer.size,
                    "digest": layer.digest,
                }
                for layer in layers
            ],
        }
    )


def as_json(value: object) -> bytes:
    """Serialise the same value to the same bytes, always."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def put_blob(blobs: Path, content: bytes) -> Layer:
    """Store a small blob."""
    hexdigest = hashlib.sha256(content).hexdigest()
    temporary = blobs / "putting"
    temporary.write_bytes(content)
    keep_blob(blobs, temporary, hexdigest)
    return Layer(f"sha256:{hexdigest}", "", len(content))


def keep_blob(blobs: Path, file: Path, hexdigest: str) -> None:
    """Move a file to where the registry's store expects the blob of this digest."""
    folder = blobs / hexdigest[:2] / hexdigest
    folder.mkdir(parents=True, exist_ok=True)
    file.rename(folder / "data")


def write_link(store: Path, repository: str, link: str, digest: str) -> None:
    """Write one of the store's link files, which make a blob part of a repository."""
    folder = store / "docker/registry/v2/repositories" / repository / link
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "link").write_text(digest)


# --- running things ---------------------------------------------------------------------


def chroot(root: Path, command: Sequence[str], work: Path) -> None:
    """Run a command in the image's root: nothing is mounted, so nothing can stay mounted."""
    environment = ["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/bin", "HOME=/root"]
    quiet = ["PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore"]
    run(["chroot", str(root), *environment, *quiet, *command], work)


def run(command: Sequence[str], work: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a build step with its output in `work/log`; raise `AssetsError` with the end of it."""
    log = work / "log"
    with log.open("ab") as file:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            check=False,
        )
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise AssetsError(f"{' '.join(command[:6])} … ended with {done.returncode}:\n{tail}")


@contextlib.contextmanager
def step(say: Say, name: str) -> Iterator[None]:
    """Say that a step begins and how long it took, so that a CI log shows life."""
    say(f"building: {name} …")
    started = time.monotonic()
    yield
    say(f"building: {name}: {time.monotonic() - started:.0f} s")


@contextlib.contextmanager
def locked(path: Path, say: Say) -> Iterator[None]:
    """Hold an exclusive lock on a file; it ends with the process, however that ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another run holds the lock; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def tell(line: str) -> None:
    """Write a progress line to the process's own stderr, past pytest's capture."""
    if sys.__stderr__ is not None:
        sys.__stderr__.write(f"real tier: {line}\n")
        sys.__stderr__.flush()


if __name__ == "__main__":
    sys.stdout.write(f"{ensure().folder}\n")
