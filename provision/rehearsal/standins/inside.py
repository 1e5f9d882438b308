"""Commands of a container that are no server: ``bash`` and ``sh`` in the container's file system, ``pip``, ``python3``."""

from __future__ import annotations

import os
import sys

from provision.rehearsal.node import Node
from provision.rehearsal.rewrite import map_path, rewrite
from provision.rehearsal.standins import packages
from provision.rehearsal.standins.packages import filesystem
from provision.rehearsal.standins.process import become

_EXAMPLES = "/vllm-workspace/vllm-ascend/examples/disaggregated_prefill_v1/"
_PROXIES = ("load_balance_proxy_server_example.py", "load_balance_proxy_layerwise_server_example.py")
_INTERACTIVE = (
    "bash: cannot set terminal process group (-1): Inappropriate ioctl for device\nbash: no job control in this shell\n"
)


def main(node: Node, name: str, argv: list[str]) -> int:
    """Run the command called ``name``."""
    if name in ("pip", "pip3"):
        return _pip(node, argv)
    if name.startswith("python"):
        return _python(node, argv)
    if name == "torchrun":
        return _python(node, ["-m", "torch.distributed.run", *argv])
    return _shell(node, argv)


def _shell(node: Node, argv: list[str]) -> int:
    """``bash -lic TEXT …``: the real sh, with the container's paths mapped; -i complains as without a terminal."""
    count = next((i for i, word in enumerate(argv) if not word.startswith("-")), len(argv))
    letters = "".join(word.lstrip("-") for word in argv[:count] if not word.startswith("--"))
    words = argv[count:]
    root = filesystem()
    if "i" in letters:
        sys.stderr.write(_INTERACTIVE)
        sys.stderr.flush()
    if "c" in letters and words:
        return become("/bin/sh", ["/bin/sh", "-c", rewrite(words[0], root, limits=False), *words[1:]])
    if words and "s" not in letters:
        return become("/bin/sh", ["/bin/sh", *(map_path(word, root) for word in words)])
    from provision.rehearsal.standins.shell import map_input

    map_input(root, node.root)
    return become("/bin/sh", ["/bin/sh", "-s", *words])


def _pip(node: Node, argv: list[str]) -> int:
    found = packages.versions(node, str(packages.container().config["image"]))
    found.pop("cann", None)
    if argv[:1] == ["check"]:
        sys.stdout.write("No broken requirements found.\n")
        return 0
    if argv[:1] in (["list"], ["freeze"]):
        return _list(found, frozen=argv[0] == "freeze" or "--format=freeze" in argv)
    return _show(found, [word for word in argv[1:] if not word.startswith("-")] if argv[:1] == ["show"] else [])


def _list(found: dict[str, str], *, frozen: bool) -> int:
    rows = [f"{name}=={version}" if frozen else f"{name:<29} {version}" for name, version in sorted(found.items())]
    head = [] if frozen else [f"{'Package':<29} Version", f"{'-' * 29} {'-' * 24}"]
    sys.stdout.write("\n".join([*head, *rows]) + "\n")
    return 0


def _show(found: dict[str, str], wanted: list[str]) -> int:
    """``pip show``: what is there is shown, what isn't is warned of; none at all is a failure."""
    names = {name: name.replace("_", "-").lower() for name in wanted}
    missing = [name for name, known in names.items() if known not in found]
    if missing or not wanted:
        sys.stderr.write(f"WARNING: Package(s) not found: {', '.join(missing)}\n")
    blocks = []
    for known in names.values():
        if known in found:
            where, editable = packages.location_of(known)
            block = f"Name: {known.replace('-', '_')}\nVersion: {found[known]}\nLocation: {where}"
            blocks.append(block + (f"\nEditable project location: {editable}" if editable else ""))
    sys.stdout.write("\n---\n".join(blocks) + ("\n" if blocks else ""))
    return 0 if blocks else 1


def _python(node: Node, argv: list[str]) -> int:
    """The real interpreter with the image's packages."""
    from provision.rehearsal.standins.interpreter import run

    if argv[:2] == ["-m", "pip"]:
        return _pip(node, argv[2:])
    if argv and argv[0].startswith(_EXAMPLES) and argv[0].rpartition("/")[2] in _PROXIES:
        return _example(node, argv)
    image = str(packages.container().config["image"])

    def prepare(text: str) -> None:
        from provision.rehearsal.standins.imports import install

        install(node, packages.versions(node, image), text)

    return run(argv, filesystem(), packages.python_of(image), prepare)


def _example(node: Node, argv: list[str]) -> int:
    """A program of the image's own folder, which isn't there as a file."""
    if not node.is_npu:
        sys.stderr.write(f"python3: can't open file '{argv[0]}': [Errno 2] No such file or directory\n")
        return 2
    from provision.rehearsal.standins.proxies import prefill_decode

    try:
        return prefill_decode.run(node, argv[0], argv[1:])
    except ValueError as error:
        sys.stderr.write(f"Traceback (most recent call last):\nValueError: {error}\n")
        return 1


def visible(node: Node) -> list[int]:
    """Davinci numbers that the container was given, in order."""
    config = packages.container()
    if config.config["privileged"] and not config.devices:
        return list(range(node.dies))
    return sorted(int(path[12:]) for path in config.devices if path[12:].isdigit())


def access(node: Node) -> str:
    """Why the driver can't be used from this container, in the driver's words; empty when it can."""
    config = packages.container()
    if node.state.get("smoke/fails") == "driver" or node.state.get("npu/driver") == "broken":
        return "dcmi model initialized failed, because the device is used. ret is -8020"
    given = set(config.devices)
    needed = {"/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"}
    libraries = os.path.join(filesystem(), "usr/local/Ascend/driver/lib64")
    if (not config.config["privileged"] and not needed <= given) or not os.path.isdir(libraries):
        return "DrvMngGetConsoleLogLevel failed. (g_conLogLevel=3)\ndcmi module initialize failed. ret is -8005"
    return _held(node, given) and (
        "DrvMngGetConsoleLogLevel failed. (ret=4)\ndcmi model initialized failed, because the device is used. ret is -8020"
    )


def _held(node: Node, given: set[str]) -> str:
    """A die of ours that another running container was given before; a die belongs to one container."""
    from provision.rehearsal.standins.docker.store import Store

    own = packages.container()
    for other in Store(node).containers():
        shared = sorted(path for path in given & set(other.devices) if path[12:].isdigit())
        if shared and other.id != own.id and other.running and not own.config["privileged"]:
            return shared[0]
    return ""
