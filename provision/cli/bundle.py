"""``bundle``: what a cluster without a network needs, made where there is one, and loaded where there is none."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import provision
from provision.cli.options import inventory_option, json_option, load_hosts, print_json, verbose_option
from provision.errors import ConfigError, ProvisionError, UsageError
from provision.resources import shipped
from provision.secrets import redact

if TYPE_CHECKING:
    from provision.install.bundle import Bundle, BundledImage, Contents
    from provision.inventory.model import Inventory, Settings

ENGINES = ("docker", "podman", "nerdctl")
_STEP = 10
"""Percent between two lines of progress."""


@click.group("bundle", short_help="Make, verify, show and load what a cluster without a network needs.")
def command() -> None:
    """Everything that nodes without a network need, in one file with checksums.

    \b
    Examples:
      qnext-provision bundle create -i cluster.yaml -o prod.tar --platform linux/arm64
      qnext-provision bundle verify prod.tar
      qnext-provision bundle load prod.tar -i cluster.yaml
    """


# ---- load


def _load() -> click.Command:
    """The playbook, with the bundle as an argument in place of an option."""
    from provision.cli.playbook import playbook_command

    made = playbook_command(shipped("playbooks") / "bundle" / "bundle-load.yaml")
    made.name, made.short_help = "load", "Bring a bundle onto the nodes, verified first."
    made.help = (made.help or "").replace("bundle-load -i", "bundle load prod.tar -i")
    made.params = [click.Argument(["bundle"]) if p.name == "bundle" else p for p in made.params]
    return made


command.add_command(_load())


# ---- verify and show

_bundle = click.argument("path", metavar="BUNDLE", type=click.Path(path_type=Path))


@command.command("verify", short_help="Compare every checksum of a bundle.")
@_bundle
@json_option
def verify(path: Path, as_json: bool) -> int:
    """Read every byte of a bundle and compare the checksums. Exit status 1 where something is wrong; it is named."""
    from provision.install.bundle import Bundle

    bundle = Bundle.open(path)
    problems = bundle.verify(_Telling("verifying"))
    if as_json:
        print_json({"ok": not problems, "problems": problems, "files": len(bundle.contents.files)})
    elif problems:
        click.echo("\n".join(f"{path}: {problem}" for problem in problems))
    else:
        files = bundle.contents.files
        click.echo(f"{path}: all {len(files)} files, {_size(bundle.contents, '')}, are as they were made")
    return 1 if problems else 0


@command.command("show", short_help="Show what is in a bundle.")
@_bundle
@json_option
def show(path: Path, as_json: bool) -> None:
    """Show what a bundle holds and for which cluster, by its index; verify compares the checksums."""
    from provision.install.bundle import Bundle

    bundle = Bundle.open(path)
    if as_json:
        print_json(json.loads(bundle.contents.text()))
    else:
        click.echo("\n".join(_shown(bundle)))


def _shown(bundle: Bundle) -> Iterator[str]:
    contents = bundle.contents
    yield f"{bundle.path}, made {contents.made} by {contents.by}"
    yield f"for        {contents.cluster}, {contents.hardware}, {contents.platform or 'any platform'}"
    for image in contents.images:
        yield f"image      {image.written} {image.digest} ({image.platform}, {_size(contents, image.path)})"
    if contents.source:
        yield f"wheels     {len(contents.below('wheels'))} files, {_size(contents, 'wheels/')}, key {contents.source}"
    if contents.model:
        yield f"weights    {contents.model}, {len(contents.below('weights'))} files, {_size(contents, 'weights/')}"
    for folder in ("inventory", "playbooks", "templates", "tool"):
        if files := contents.below(folder):
            yield f"{folder:<10} {len(files)} files"
    yield f"in all     {len(contents.files)} files, {_size(contents, '')}"


def _size(contents: Contents, start: str) -> str:
    from provision.amounts import size_text

    return size_text(sum(file.size for file in contents.files if file.path.startswith(start)))


# ---- create


@command.command("create", short_help="Gather images, wheels and weights into one file, with checksums.")
@inventory_option
@click.option("-o", "--out", required=True, help="The tar to write; a name that ends in /: a folder.")
@click.option("--image/--no-image", "images", default=True, show_default=True, help="The images of servers and router.")
@click.option("--weights", type=click.Path(path_type=Path), help="Folder here of the model's files, to be put in too.")
@click.option("--wheels", type=click.Path(path_type=Path), help="Folder here of the wheels of a source build.")
@click.option(
    "--via", metavar="NODE", help="Node that pulls and saves images, and has the wheels, in place of this machine."
)
@click.option(
    "--platform", metavar="OS/ARCH", help="Platform of the nodes, as linux/arm64. Default: the nodes are asked."
)
@click.option("--no-inventory", is_flag=True, help="Leave the inventory out.")
@click.option("--tool", is_flag=True, help="This tool as a wheel, with all that it depends on, for pip install.")
@click.option(
    "--tool-python", metavar="VERSION", help="Python of the machine that --tool is for, as 3.11. Default: this."
)
@click.option("--tool-platform", metavar="TAG", help="Its platform, as manylinux2014_aarch64. Default: this one.")
@verbose_option
def create(inventory_path: Path, out: str, verbose: int, **wanted: Any) -> int:
    """Make a bundle on a machine with a network, for nodes without one: the images that the inventory names, the wheels
    of a source build, weights, playbooks and templates, the inventory.

    Images are pulled here by skopeo, docker, podman or nerdctl, or on a node by --via. What was gathered is kept beside
    OUT until the bundle is whole, so that running it again goes on. No secret gets into it.

    \b
    Examples:
      qnext-provision bundle create -i cluster.yaml -o prod.tar --platform linux/arm64
      qnext-provision bundle create -i cluster.yaml -o prod.tar --via atlas-1 --weights /data/Qwen3-Next
      qnext-provision bundle create -i cluster.yaml -o /media/disk/prod/ --tool
    """
    inventory, _ = load_hosts(inventory_path, None)
    _refuse(out, inventory, wanted)
    making = _Making(inventory_path, inventory, Path(out), verbose, **wanted)
    making.gather()
    making.write(folder=out.endswith("/"))
    return 0


def _refuse(out: str, inventory: Inventory, wanted: Mapping[str, Any]) -> None:
    """What can be known to be wrong before anything is moved."""
    if Path(out).exists():
        raise UsageError(f"{out} exists", hint="remove it, or name another one with -o")
    if wanted["platform"] and not _PLATFORM.fullmatch(wanted["platform"]):
        raise UsageError(f"--platform {wanted['platform']} is no platform", hint="linux/arm64 or linux/amd64")
    if wanted["via"] and wanted["via"] not in {host.name for host in inventory.hosts}:
        known = ", ".join(host.name for host in inventory.hosts[:8])
        raise UsageError(f"--via {wanted['via']} is no host of the inventory", hint=f"hosts are: {known}")
    if inventory.settings.install.method == "source" and not (wanted["via"] or wanted["wheels"]):
        raise UsageError("method source needs the wheels", hint="--via NODE of the one that built, or --wheels DIR")
    for name in ("weights", "wheels"):
        if wanted[name] and not wanted[name].is_dir():
            raise UsageError(f"--{name} {wanted[name]} is no folder here", hint="correct the path")


_PLATFORM = re.compile(r"linux/(arm64|amd64)")


@dataclass(frozen=True, slots=True)
class _Making:
    """A bundle on its way. ``work`` beside it holds what was gathered."""

    inventory_path: Path
    inventory: Inventory
    out: Path
    verbose: int
    images: bool
    weights: Path | None
    wheels: Path | None
    via: str | None
    platform: str | None
    no_inventory: bool
    tool: bool
    tool_python: str | None
    tool_platform: str | None

    @property
    def settings(self) -> Settings:
        return self.inventory.settings

    @property
    def work(self) -> Path:
        return self.out.with_name(f"{self.out.name}.work")

    @property
    def source(self) -> bool:
        return self.settings.install.method == "source"

    # ---- gathering

    def gather(self) -> None:
        """Have all that is no weights below ``work``. Raises ``ProvisionError``; what took long to gather stays."""
        self._forget()
        if not self.no_inventory:
            self._inventory()
        self._playbooks()
        if self.source and self.wheels:
            _copy_files(self.wheels, self.work / "wheels")
        from_node = self.via and (self.images or (self.source and not self.wheels))
        if from_node:
            self._by_node()
        elif self.images:
            self._by_hand()
        if self.tool:
            self._tool()

    def _forget(self) -> None:
        """What an earlier attempt gathered and this one does not want, or makes anew at once."""
        kept = {"images": self.images, "wheels": self.source, "tool": self.tool}
        for name in ("inventory", "playbooks", "templates", *(name for name, wanted in kept.items() if not wanted)):
            shutil.rmtree(self.work / name, ignore_errors=True)
        if self.wheels:
            shutil.rmtree(self.work / "wheels", ignore_errors=True)

    def _inventory(self) -> None:
        from provision.install.packing import inventory_files

        files = inventory_files(self.inventory_path)
        _require_no_secrets("the inventory holds", files.values(), "or leave the inventory out: --no-inventory")
        for name, path in files.items():
            _copy(path, self.work / "inventory" / name)

    def _playbooks(self) -> None:
        from provision.cli.main import playbook_folders

        own = shipped("playbooks")
        for folder in reversed(playbook_folders()):  # first found wins, so it is written last
            if folder.resolve() != own.resolve():
                _require_no_secrets(
                    f"playbooks of {folder} hold", sorted(folder.rglob("*.yaml")), "or keep them elsewhere"
                )
            _copy_files(folder, self.work / "playbooks", ".yaml")
        _copy_files(shipped("templates"), self.work / "templates")

    def _by_node(self) -> None:
        """By a playbook on that node alone: its record, progress and errors are those of every run."""
        from provision.cli.playbook import playbook_command

        save = playbook_command(shipped("playbooks") / "bundle" / "bundle-save.yaml")
        wheels = "--wheels" if self.source and not self.wheels else "--no-wheels"
        words = ["-i", str(self.inventory_path), "--limit", str(self.via), "--to", str(self.work), wheels]
        words += ["--images" if self.images else "--no-images", *["-v"] * self.verbose]
        words += ["--platform", self.platform] if self.platform else []
        status = save.main(words, prog_name="bundle create", standalone_mode=False)
        if status:
            raise ProvisionError(
                f"what the bundle needs could not be had from {self.via}", hint="correct that, run it again: it goes on"
            )

    def _by_hand(self) -> None:
        """By what this machine has: skopeo, or a container engine."""
        from provision.install import packing
        from provision.modules.bundle_save import image_sources, note, repositories, wanted_images

        engine = next((name for name in ("skopeo", *ENGINES) if shutil.which(name)), "")
        if not engine:
            raise UsageError(
                "there is no skopeo, docker, podman or nerdctl here to pull images with",
                hint="install one of them, or let a node do it: --via NODE",
            )
        folder, platform = self.work / "images", self._asked_platform()
        for ref, name in wanted_images(self.settings):
            sources = image_sources(self.settings, ref)
            script = (
                packing.copying_script(str(folder), name, sources, platform)
                if engine == "skopeo"
                else f'docker() {{ command {engine} "$@"; }}\n'
                + packing.saving_script(str(folder), name, "", sources, platform)
            )
            log = _run(["sh", "-c", script], f"{ref} by {engine}")
            note(folder / name, packing.saved(log, repositories(self.settings, ref)))

    def _asked_platform(self) -> str:
        """What kind of machine the nodes are. Raises ``UsageError`` where that is not the same, or nobody says."""
        if self.platform:
            return self.platform
        from provision.cli.nodes import looking
        from provision.facts.system import Os
        from provision.serve.compatibility import platform_for

        with looking(self.inventory_path, None, 64, self.verbose) as look:
            found = {platform_for(node.get(Os()).arch) for node in look.session.nodes}
        if len(found) != 1 or "" in found:
            said = f"the nodes are {', '.join(sorted(found))}" if found else "no node could be asked"
            raise UsageError(f"{said}: which platform is the bundle for?", hint="name it: --platform linux/arm64")
        return found.pop()

    def _tool(self) -> None:
        """This version as a wheel, and what it depends on, for another Python or platform where that is named."""
        folder = self.work / "tool"
        folder.mkdir(parents=True, exist_ok=True)
        root = Path(provision.__file__).resolve().parents[1]
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        own = str(root) if (root / "pyproject.toml").is_file() else f"qnext-provision=={provision.__version__}"
        _run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), own], "the tool's own wheel")
        target = ["--python-version", self.tool_python] if self.tool_python else []
        target += ["--platform", self.tool_platform] if self.tool_platform else []
        target += ["--only-binary=:all:"] if target else []
        wheel = next(folder.glob("qnext_provision-*.whl"))
        _run([*pip, "download", "--dest", str(folder), *target, str(wheel)], "what the tool depends on")

    # ---- writing

    def write(self, *, folder: bool) -> None:
        """Pack it, and say what it is."""
        from provision.install import packing

        given = packing.parts(self.work, self._weights())
        write = packing.write_folder if folder else packing.write_tar
        whole = write(self.out, self._contents(), given, _Telling("packing"))
        shutil.rmtree(self.work)
        click.echo(f"{self.out}: {len(whole.files)} files, {_size(whole, '')}")
        click.echo(f"then, where the nodes are: qnext-provision bundle load {self.out.name} -i cluster.yaml", err=True)

    def _weights(self) -> dict[str, Path]:
        from provision.install.weights import local_manifest

        if self.weights is None:
            return {}
        return {f"weights/{file.path}": self.weights / file.path for file in local_manifest(self.weights).files}

    def _contents(self) -> Contents:
        from provision.install.bundle import Contents

        images = tuple(self._bundled()) if self.images else ()
        return Contents(
            made=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            by=f"qnext-provision {provision.__version__}",
            cluster=self.settings.cluster,
            hardware=self.settings.hardware,
            platform=images[0].platform if images else self.platform or "",
            images=images,
            source=self.settings.install.source.key if self.source else "",
            model=self.settings.model.path if self.weights else "",
        )

    def _bundled(self) -> Iterator[BundledImage]:
        """Every image with what was told of it, compared with what its archive says itself."""
        from provision.install.bundle import BundledImage
        from provision.install.packing import archive_ids
        from provision.modules.bundle_save import noted, wanted_images

        install = self.settings.install
        for ref, name in wanted_images(self.settings):
            path = self.work / "images" / name
            told, (ids, platform) = noted(path), archive_ids(path)
            if told is None or (platform and platform != told.platform):
                raise ProvisionError(
                    f"{path} is for {platform or 'nobody knows what'}", hint=f"remove {self.work}, run again"
                )
            digest = told.digest or (install.pinned if ref == install.ref else "")
            if ref == install.ref and install.pinned not in ("", digest):
                raise ProvisionError(
                    f"{ref} has digest {digest}, and the inventory pins {install.pinned}",
                    hint=f"look which of them is meant; remove {self.work}, run again",
                )
            if ref == install.ref and not install.pinned and digest:
                click.echo(f"note: {install.image} is not pinned; to pin it: install.digest: {digest}", err=True)
            if ref == install.ref and not digest:
                click.echo(
                    f"note: {install.image} has no registry's digest where it was saved (it came there by docker load, "
                    "or from another node): an inventory that pins a digest will refuse this bundle. To have one, "
                    f"docker pull {install.image} there first, or pin install.digest before",
                    err=True,
                )
            known = tuple(dict.fromkeys([*ids, *([told.id] if told.id.startswith("sha256:") else [])]))
            if not known:
                raise ProvisionError(f"which image {path} holds can't be told", hint=f"remove {self.work}, run again")
            written = install.image if ref == install.ref else ref
            inside = f"images/{name}"
            yield BundledImage(inside, ref, written, known, digest, told.platform, told.unpacked)


# ---- small things


def _require_no_secrets(who: str, files: Iterable[Path], otherwise: str) -> None:
    """Raises ``ConfigError`` naming the places of secrets that stand in files as they are."""
    from provision.install.packing import open_secrets

    found = [place for path in files for place in open_secrets(path)]
    if found:
        raise ConfigError(
            f"{who} {len(found)} secret{'s' * (len(found) != 1)} as they are: {'; '.join(found[:5])}",
            hint=f"write {{env: NAME}} or {{file: PATH}} in their place, {otherwise}",
        )


def _run(words: Sequence[str], what: str) -> str:
    """Run a program of this machine, its output shown as it comes. Raises ``ProvisionError`` with its last lines."""
    click.echo(f"{what} …", err=True)
    lines: list[str] = []
    try:
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
            for line in child.stdout or ():
                lines.append(line.rstrip("\n"))
                if not line.startswith(("== ", "saved ")):
                    click.echo(f"  {redact(lines[-1])}", err=True)
    except OSError as error:
        raise UsageError(f"{words[0]}: {error.strerror or error}") from error
    if child.returncode:
        raise ProvisionError(
            f"{what}: {words[0]} ended with exit status {child.returncode}",
            hint="correct that, and run it again: what was gathered is kept",
            evidence="\n".join(lines[-12:]),
        )
    return "\n".join(lines)


def _copy_files(folder: Path, to: Path, suffix: str = "") -> None:
    """All plain files of a folder, those of Python's caches left out."""
    for path in sorted(folder.rglob(f"*{suffix}")):
        if path.is_file() and "__pycache__" not in path.parts:
            _copy(path, to / path.relative_to(folder))


def _copy(path: Path, to: Path) -> None:
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, to)
    except OSError as error:
        raise UsageError(
            f"{error.filename or to}: {error.strerror or error}", hint="is there room, may you write?"
        ) from None


class _Telling:
    """Progress on stderr: a line for every tenth of what takes long."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._next = _STEP

    def __call__(self, done: int, total: int) -> None:
        share = 100 * done // total if total else 100
        if total >= _LONG and share >= self._next:
            self._next = share - share % _STEP + _STEP
            click.echo(f"{self._what}: {share} %, {done / 1e9:.1f} of {total / 1e9:.1f} GB", err=True)


_LONG = 1_000_000_000
"""Bytes from which on progress is told."""
